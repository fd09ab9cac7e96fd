//! Scalars of YAML: what a plain or quoted word is read as.

use granit_parser::{ScalarStyle, Tag};
use serde_json::{Number, Value};

use super::{YamlError, error};

/// Refuses a tag unless it says what is known anyway.
pub(super) fn no_tag(tag: Option<&Tag>, own: &str, line: usize) -> Result<(), YamlError> {
    match tag.map(Tag::core_suffix) {
        None => Ok(()),
        Some(Some(suffix)) if suffix == own => Ok(()),
        Some(_) => error(line, "a tag (!) before this value is not supported: leave it out"),
    }
}

/// A word, quoted or not, by its tag if it has one.
pub(super) fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>, line: usize) -> Result<Value, YamlError> {
    let quoted = style != ScalarStyle::Plain;
    match tag.map(Tag::core_suffix) {
        Some(Some("str")) => Ok(Value::String(text.to_owned())),
        Some(Some("int" | "float" | "bool" | "null")) => Ok(plain(text)),
        Some(_) => error(line, "a tag (!) before this value is not supported: leave it out"),
        None if quoted => Ok(Value::String(text.to_owned())),
        None => Ok(plain(text)),
    }
}

/// A plain word by the core schema.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number)
}

fn number(text: &str) -> Option<Number> {
    let radix = |digits: &str, radix: u32| u64::from_str_radix(digits, radix).ok().map(Number::from);
    if let Some(digits) = text.strip_prefix("0x").filter(|digits| !digits.starts_with('+')) {
        return radix(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o").filter(|digits| !digits.starts_with('+')) {
        return radix(digits, 8);
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let begins = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let known = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
    if !begins || !unsigned.chars().all(known) || !unsigned.contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        let ambiguous = unsigned.len() > 1 && unsigned.starts_with('0');
        let signed = text.strip_prefix('+').unwrap_or(text);
        let whole = signed.parse::<i64>().map(Number::from).or_else(|_| signed.parse::<u64>().map(Number::from));
        return if ambiguous { None } else { whole.ok() };
    }
    text.parse::<f64>().ok().and_then(Number::from_f64)
}
