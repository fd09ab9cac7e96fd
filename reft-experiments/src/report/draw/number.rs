//! Numbers as text.

use serde_json::Value;

/// At most four significant digits; powers of ten where a number is very small or large.
pub fn short(value: f64) -> String {
    let rounded: f64 = format!("{value:.3e}").parse().unwrap_or(value);
    let size = rounded.abs();
    if size != 0.0 && !(1e-3..1e6).contains(&size) { power(value) } else { rounded.to_string() }
}

/// At most four significant digits times a power of ten.
pub fn power(value: f64) -> String {
    let rounded: f64 = format!("{value:.3e}").parse().unwrap_or(value);
    format!("{rounded:e}")
}

/// A figure in percent, or a dash.
pub fn percent(value: Option<f64>) -> String {
    value.filter(|value| value.is_finite()).map_or("–".to_owned(), |value| format!("{value:.1}"))
}

/// A setting's value, as a run's configuration writes it; the description of a data set by its name.
pub fn setting(value: &Value) -> String {
    let named = value.as_str().or_else(|| value.get("name").filter(|_| value.get("file").is_some())?.as_str());
    named.map_or_else(|| value.to_string(), str::to_owned)
}

/// `1 run`, `2 runs`.
pub fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// A day, from seconds since 1970, in UTC.
pub fn day(seconds: u64) -> Option<String> {
    let date = time::OffsetDateTime::from_unix_timestamp(seconds.try_into().ok()?).ok()?.date();
    Some(format!("{}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let texts = [0.0009, 0.02, 12.3456, 0.0, -0.00002, 2_500_000.0].map(short);
        assert_eq!(texts, ["9e-4", "0.02", "12.35", "0", "-2e-5", "2.5e6"]);
        assert_eq!(
            (percent(Some(62.55)), percent(None), percent(Some(f64::NAN))),
            ("62.5".into(), "–".into(), "–".into())
        );
        assert_eq!((count(1, "run"), count(0, "run")), ("1 run".to_owned(), "0 runs".to_owned()));
        assert_eq!(day(1_795_516_291).as_deref(), Some("2026-11-24"));
    }
}
