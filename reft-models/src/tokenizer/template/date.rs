//! `strftime_now`: the date as a template writes it.

use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::{Error, ErrorKind};
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// The time that templates see, UTC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Clock(OffsetDateTime);

/// A date that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is not a date: write YEAR-MONTH-DAY, such as 2025-03-09")]
pub struct ClockError(String);

impl Clock {
    /// The present time.
    pub fn now() -> Self {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self::at(seconds).unwrap_or(Self(OffsetDateTime::UNIX_EPOCH))
    }

    /// So many seconds after the beginning of 1970; none beyond the calendar.
    pub fn at(seconds: u64) -> Option<Self> {
        let seconds = i64::try_from(seconds).ok()?;
        OffsetDateTime::from_unix_timestamp(seconds).ok().map(Self)
    }

    /// `2025-03-09`, at midnight, or `2025-03-09T08:07:06`.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Self, ClockError> {
        parse(text.trim()).map(Self).ok_or_else(|| ClockError(text.to_owned()))
    }

    /// The date as `2025-03-09`.
    pub fn date(self) -> String {
        let date = self.0.date();
        format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
    }

    /// The time by C's `strftime`, in the C locale.
    pub(super) fn format(self, format: &str) -> Result<String, Error> {
        let mut out = String::new();
        let mut rest = format.chars();
        while let Some(c) = rest.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            let (pad, directive) = match rest.next() {
                Some(flag @ ('-' | '_' | '0')) => (Some(flag), rest.next()),
                other => (None, other),
            };
            let unknown =
                || Error::new(ErrorKind::InvalidOperation, format!("strftime_now: `{format}` is not known here"));
            let field = directive.and_then(|directive| self.field(directive)).ok_or_else(unknown)?;
            out.push_str(&field.padded(pad));
        }
        Ok(out)
    }

    fn field(self, directive: char) -> Option<Field> {
        let (date, time) = (self.0.date(), self.0.time());
        let day = date.weekday().number_days_from_sunday();
        let month = u8::from(date.month());
        let half = (time.hour() + 11) % 12 + 1;
        let number = |value: u16, width: usize| Field::Number { value: i64::from(value), width, fill: '0' };
        let composed = |format: &str| self.format(format).ok().map(Field::Text);
        Some(match directive {
            'a' => Field::Text(DAYS[usize::from(day)][..3].to_owned()),
            'A' => Field::Text(DAYS[usize::from(day)].to_owned()),
            'b' | 'h' => Field::Text(MONTHS[usize::from(month) - 1][..3].to_owned()),
            'B' => Field::Text(MONTHS[usize::from(month) - 1].to_owned()),
            'd' => number(date.day().into(), 2),
            'e' => Field::Number { value: date.day().into(), width: 2, fill: ' ' },
            'm' => number(month.into(), 2),
            'y' => number(date.year().rem_euclid(100) as u16, 2),
            'Y' => Field::Number { value: date.year().into(), width: 1, fill: '0' },
            'C' => number((date.year() / 100) as u16, 2),
            'G' => Field::Number { value: date.to_iso_week_date().0.into(), width: 1, fill: '0' },
            'H' => number(time.hour().into(), 2),
            'I' => number(half.into(), 2),
            'k' => Field::Number { value: time.hour().into(), width: 2, fill: ' ' },
            'l' => Field::Number { value: half.into(), width: 2, fill: ' ' },
            'M' => number(time.minute().into(), 2),
            'S' => number(time.second().into(), 2),
            'f' => Field::Text("000000".to_owned()),
            'p' => Field::Text(if time.hour() < 12 { "AM" } else { "PM" }.to_owned()),
            'P' => Field::Text(if time.hour() < 12 { "am" } else { "pm" }.to_owned()),
            'j' => number(date.ordinal(), 3),
            'u' => number(date.weekday().number_from_monday().into(), 1),
            'w' => number(day.into(), 1),
            'U' => number(date.sunday_based_week().into(), 2),
            'W' => number(date.monday_based_week().into(), 2),
            'V' => number(date.iso_week().into(), 2),
            's' => Field::Number { value: self.0.unix_timestamp(), width: 1, fill: '0' },
            // A time without a zone, as Python's `datetime.now()` is.
            'z' | 'Z' => Field::Text(String::new()),
            'D' | 'x' => composed("%m/%d/%y")?,
            'F' => composed("%Y-%m-%d")?,
            'T' | 'X' => composed("%H:%M:%S")?,
            'R' => composed("%H:%M")?,
            'r' => composed("%I:%M:%S %p")?,
            'c' => composed("%a %b %e %H:%M:%S %Y")?,
            'n' => Field::Text("\n".to_owned()),
            't' => Field::Text("\t".to_owned()),
            '%' => Field::Text("%".to_owned()),
            _ => return None,
        })
    }
}

/// One field before it is padded.
enum Field {
    Text(String),
    Number { value: i64, width: usize, fill: char },
}

impl Field {
    /// `-` takes padding away, `_` pads with spaces, `0` with zeros.
    fn padded(&self, flag: Option<char>) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number { value, width, fill } => {
                let fill = match flag {
                    Some('-') => return value.to_string(),
                    Some('_') => ' ',
                    Some(_) => '0',
                    None => *fill,
                };
                if fill == ' ' { format!("{value:width$}") } else { format!("{value:0width$}") }
            }
        }
    }
}

fn parse(text: &str) -> Option<OffsetDateTime> {
    let (date, time) = match text.split_once(['T', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut parts = date.splitn(3, '-');
    let year: u16 = number(parts.next()?)?;
    let month = Month::try_from(number::<u8>(parts.next()?)?).ok()?;
    let date = Date::from_calendar_date(year.into(), month, number(parts.next()?)?).ok()?;
    let time = match time {
        Some(time) => {
            let parts = time.split(':').map(number).collect::<Option<Vec<u8>>>()?;
            let [hour, minute, second] = parts[..] else { return None };
            Time::from_hms(hour, minute, second).ok()?
        }
        None => Time::MIDNIGHT,
    };
    Some(PrimitiveDateTime::new(date, time).assume_utc())
}

/// Digits alone.
fn number<N: std::str::FromStr>(text: &str) -> Option<N> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_strftime_writes_them() {
        let clock = Clock::parse("2024-02-05T13:04:09").expect("a time");
        // By Python's datetime(2024, 2, 5, 13, 4, 9).strftime.
        let cases = [
            ("%d %b %Y", "05 Feb 2024"),
            ("%A, %B %d, %Y", "Monday, February 05, 2024"),
            ("%-d/%-m/%y %I:%M:%S %p", "5/2/24 01:04:09 PM"),
            ("%a %e|%_m|%j|%U %W %V|%u%w", "Mon  5| 2|036|05 06 06|11"),
            ("%F %T %H %-H 100%%", "2024-02-05 13:04:09 13 13 100%"),
            ("%c", "Mon Feb  5 13:04:09 2024"),
        ];
        for (format, expected) in cases {
            assert_eq!(clock.format(format).expect(format), expected);
        }
        assert!(clock.format("%Q").is_err() && clock.format("%").is_err());
        assert_eq!(Clock::at(86_400).expect("within the calendar").date(), "1970-01-02");
    }

    #[test]
    fn what_is_no_date_is_refused() {
        assert_eq!(Clock::parse("2024-02-29").expect("a leap year").date(), "2024-02-29");
        for wrong in ["", "2023-02-29", "today", "2024-2", "2024-01-01T25:00:00", "2024-01-01T10:00", "-1-01-01"] {
            assert!(Clock::parse(wrong).is_err(), "{wrong}");
        }
    }
}
