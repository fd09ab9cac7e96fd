//! Filters as transformers and Jinja2 have them, where minijinja has others or none.

use std::fmt::Write;

use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

/// How `tojson` writes.
struct JsonStyle {
    ensure_ascii: bool,
    /// A level's indentation, where every item has a line of its own.
    indent: Option<String>,
    between: String,
    after_key: String,
    sort_keys: bool,
}

/// Python's `json.dumps`, with `ensure_ascii` off: nothing is escaped for HTML.
#[allow(clippy::needless_pass_by_value)] // minijinja hands arguments over by value
pub(super) fn to_json(value: &Value, given: Rest<Value>, named: Kwargs) -> Result<String, Error> {
    let setting = |place: usize, name: &str| -> Result<Option<Value>, Error> {
        let value = match given.get(place) {
            Some(value) => Some(value.clone()),
            None => named.get::<Option<Value>>(name)?,
        };
        Ok(value.filter(|value| !value.is_none() && !value.is_undefined()))
    };
    let on = |value: Option<Value>| value.is_some_and(|value| value.is_true());
    let indent = setting(1, "indent")?.map(|indent| match indent.as_str() {
        Some(text) => text.to_owned(),
        None => " ".repeat(i64::try_from(indent).unwrap_or(0).clamp(0, 64) as usize),
    });
    let (between, after_key) = match setting(2, "separators")? {
        Some(pair) => {
            let parts: Vec<String> = pair.try_iter()?.map(|part| part.to_string()).collect();
            let [between, after_key] =
                <[String; 2]>::try_from(parts).map_err(|_| invalid("separators are not two texts"))?;
            (between, after_key)
        }
        None => (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned()),
    };
    let ensure_ascii = on(setting(0, "ensure_ascii")?);
    let sort_keys = on(setting(3, "sort_keys")?);
    named.assert_all_used()?;
    let mut out = String::new();
    JsonStyle { ensure_ascii, indent, between, after_key, sort_keys }.write(&mut out, value, 0)?;
    Ok(out)
}

/// Jinja2's `int`: what is no number is the default, or 0.
pub(super) fn int(value: &Value, default: Option<i64>) -> i64 {
    let text = value.as_str().map(|text| text.trim().replace('_', ""));
    let whole = text.as_ref().map_or_else(|| i64::try_from(value.clone()).ok(), |text| text.parse().ok());
    let real = || text.map_or_else(|| f64::try_from(value.clone()).ok(), |text| text.parse().ok());
    let whole = whole.or_else(|| real().filter(|real: &f64| real.is_finite()).map(|real| real as i64));
    whole.or(default).unwrap_or(0)
}

/// Jinja2's `truncate`, whose arguments need no names.
#[allow(clippy::needless_pass_by_value)] // minijinja hands arguments over by value
pub(super) fn truncate(state: &mut State, value: &Value, given: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let names = ["length", "killwords", "end", "leeway"];
    let mut all: Vec<(String, Value)> =
        names.iter().zip(given.iter()).map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    for name in names {
        all.extend(named.get::<Option<Value>>(name)?.map(|value| (name.to_owned(), value)));
    }
    named.assert_all_used()?;
    minijinja_contrib::filters::truncate(state, value, all.into_iter().collect())
}

fn invalid(reason: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("tojson: {reason}"))
}

impl JsonStyle {
    fn write(&self, out: &mut String, value: &Value, depth: usize) -> Result<(), Error> {
        match value.kind() {
            ValueKind::None => out.push_str("null"),
            ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => out.push_str(&number(value)),
            ValueKind::String => self.text(out, value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<Value> = value.try_iter()?.collect();
                self.items(out, ['[', ']'], depth, &items, |out, item| self.write(out, item, depth + 1))?;
            }
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.sort_keys {
                    keys.sort();
                }
                self.items(out, ['{', '}'], depth, &keys, |out, key| {
                    match key.as_str() {
                        Some(text) => self.text(out, text),
                        None => write!(out, "\"{}\"", plain(key)?).expect("a string grows"),
                    }
                    out.push_str(&self.after_key);
                    self.write(out, &value.get_item(key)?, depth + 1)
                })?;
            }
            kind => return Err(invalid(&format!("a value of type {kind} is no JSON"))),
        }
        Ok(())
    }

    fn items(
        &self,
        out: &mut String,
        [open, close]: [char; 2],
        depth: usize,
        items: &[Value],
        mut one: impl FnMut(&mut String, &Value) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if depth > 64 {
            return Err(invalid("nested too deeply"));
        }
        out.push(open);
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                out.push_str(&self.between);
            }
            self.line(out, depth + 1);
            one(out, item)?;
        }
        if !items.is_empty() {
            self.line(out, depth);
        }
        out.push(close);
        Ok(())
    }

    fn line(&self, out: &mut String, depth: usize) {
        if let Some(indent) = &self.indent {
            out.push('\n');
            out.push_str(&indent.repeat(depth));
        }
    }

    fn text(&self, out: &mut String, text: &str) {
        out.push('"');
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                c if (c as u32) < 0x20 || (self.ensure_ascii && (c as u32) > 0x7E) => {
                    c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| write!(out, "\\u{unit:04x}").expect("it grows"));
                }
                c => out.push(c),
            }
        }
        out.push('"');
    }
}

/// A key that is no text.
fn plain(key: &Value) -> Result<String, Error> {
    match key.kind() {
        ValueKind::None => Ok("null".to_owned()),
        ValueKind::Bool => Ok(if key.is_true() { "true" } else { "false" }.to_owned()),
        ValueKind::Number => Ok(number(key)),
        kind => Err(invalid(&format!("a key of type {kind} is no JSON key"))),
    }
}

/// A number as Python writes it.
fn number(value: &Value) -> String {
    if value.is_integer() {
        return value.to_string();
    }
    let number = f64::try_from(value.clone()).unwrap_or(f64::NAN);
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let magnitude = number.abs();
    if magnitude != 0.0 && !(1e-4..1e16).contains(&magnitude) {
        let short = format!("{number:e}");
        let (digits, exponent) = short.split_once('e').unwrap_or((&short, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        return format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
    }
    format!("{number:?}")
}

/// Words of a text.
pub(super) fn word_count(text: &str) -> usize {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty()).count()
}

/// A text in the middle of so many characters; of an odd rest, Python's `str.center` puts the larger half on the right
/// where the width is even, else on the left.
pub(super) fn center(text: &str, width: Option<usize>) -> Result<String, Error> {
    let width = width.unwrap_or(80);
    if width > 1 << 16 {
        return Err(Error::new(ErrorKind::InvalidOperation, "center: the width is too large"));
    }
    let room = width.saturating_sub(text.chars().count());
    let left = room / 2 + (room & width & 1);
    Ok(format!("{}{text}{}", " ".repeat(left), " ".repeat(room - left)))
}

#[cfg(test)]
mod tests {
    use minijinja::{Environment, context};

    use super::*;

    #[test]
    fn json_is_pythons() {
        let mut environment = Environment::new();
        environment.add_filter("tojson", to_json);
        // By Python's json.dumps.
        let cases = [
            ("{'b': [1, 2.0, true, none], 'a': '<é&\\'\"'}", "", r#"{"b": [1, 2.0, true, null], "a": "<é&'\""}"#),
            ("{'b': 1, 'a': {}}", "(sort_keys=true)", r#"{"a": {}, "b": 1}"#),
            ("'é😀\\x7f'", "(ensure_ascii=true)", r#""\u00e9\ud83d\ude00\u007f""#),
            ("[1, [2], []]", "(indent=2)", "[\n  1,\n  [\n    2\n  ],\n  []\n]"),
            ("[1, {'k': 2}]", "(separators=(',', ':'))", r#"[1,{"k":2}]"#),
            ("[1, 2]", "(indent='\\t', separators=(';', '='))", "[\n\t1;\n\t2\n]"),
            ("[1e20, 0.1, 1e16, 123456.0, 1e-5, -0.0]", "", "[1e+20, 0.1, 1e+16, 123456.0, 1e-05, -0.0]"),
        ];
        for (value, arguments, expected) in cases {
            let source = format!("{{{{ {value} | tojson{arguments} }}}}");
            assert_eq!(environment.render_str(&source, context! {}).expect(&source), expected, "{source}");
        }
        assert!(environment.render_str("{{ nothing | tojson }}", context! {}).is_err());
        assert!(environment.render_str("{{ 1 | tojson(wrong=1) }}", context! {}).is_err());
    }

    #[test]
    fn numbers_and_short_texts_are_jinja2s() {
        let mut environment = Environment::new();
        environment.add_filter("int", int);
        environment.add_filter("truncate", truncate);
        let cases = [
            ("'42' | int + 1", "43"),
            ("'x' | int", "0"),
            ("'x' | int(7)", "7"),
            ("3.7 | int", "3"),
            ("' -4.5 ' | int", "-4"),
            ("none | int", "0"),
            ("'long text here' | truncate(8)", "long..."),
            ("'long text here' | truncate(8, true)", "long ..."),
            ("'long text here' | truncate(length=8, end='!')", "long!"),
        ];
        for (source, expected) in cases {
            let said = environment.render_str(&format!("{{{{ {source} }}}}"), context! {}).expect(source);
            assert_eq!(said, expected, "{source}");
        }
    }

    #[test]
    fn texts_are_centred_and_counted() {
        for (text, width, expected) in [("ab", 6, "  ab  "), ("ab", 5, "  ab "), ("abc", 6, " abc  "), ("ab", 1, "ab")]
        {
            assert_eq!(center(text, Some(width)).expect("small"), expected);
        }
        assert_eq!(word_count("one two, three_4"), 3);
    }
}
