//! Numbers and switches as people write them.

use serde_json::Value;

use super::error::ValueError;

/// `true`, `yes` and `on`, `false`, `no` and `off`, in any case.
pub fn switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => Some(true),
        "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// A value in a message.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => format!("`{text}`"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a section".to_owned(),
    }
}

/// No value where one is needed.
pub(super) fn nothing(what: &str) -> ValueError {
    ValueError::new(format!("has no value: write {what}, or leave the key out"))
}

fn not_a_number(value: &Value) -> ValueError {
    match value {
        Value::Null => nothing("a number"),
        other => ValueError::new(format!("{} is not a number", shown(other))),
    }
}

/// A finite number.
pub(super) fn real(value: &Value) -> Result<f64, ValueError> {
    match value {
        Value::Number(number) => number.as_f64().ok_or_else(|| not_a_number(value)),
        Value::String(text) => match plain(text)? {
            Some(digits) => {
                digits.parse::<f64>().ok().filter(|number| number.is_finite()).ok_or_else(|| too_large(text))
            }
            None => Err(not_a_number(value)),
        },
        other => Err(not_a_number(other)),
    }
}

fn too_large(text: &str) -> ValueError {
    ValueError::new(format!("{text} is too large"))
}

/// A whole number from `least` to `most`.
pub(super) fn whole(value: &Value, least: i128, most: i128) -> Result<i128, ValueError> {
    let exact = match value {
        Value::Number(number) => number.as_i64().map(i128::from).or(number.as_u64().map(i128::from)),
        Value::String(text) => plain(text)?.and_then(|digits| digits.parse().ok()),
        _ => None,
    };
    let number = match exact {
        Some(number) => number,
        None => without_fraction(real(value)?)?,
    };
    match number {
        number if number < least => Err(ValueError::new(format!("{number} is too small: at least {least}"))),
        number if number > most => Err(ValueError::new(format!("{number} is too large: at most {most}"))),
        number => Ok(number),
    }
}

fn without_fraction(number: f64) -> Result<i128, ValueError> {
    // Beyond 2^53 a float no longer tells neighbouring whole numbers apart.
    if number.abs() > 9_007_199_254_740_992.0 {
        return Err(too_large(&number.to_string()));
    }
    if number.fract() == 0.0 {
        return Ok(number as i128);
    }
    let (below, above) = (number.floor(), number.ceil());
    Err(ValueError::new(format!("{number} is not a whole number: write {below} or {above}")))
}

/// The decimal digits of a number in a text, underscores left out; none if it is no number.
fn plain(text: &str) -> Result<Option<String>, ValueError> {
    let text = text.trim();
    let digits = text.replace('_', "");
    let unsigned = digits.trim_start_matches(['+', '-']);
    let well_placed = !text.starts_with('_') && !text.ends_with('_') && !text.contains("__");
    let numeric = unsigned.contains(|c: char| c.is_ascii_digit())
        && unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.parse::<f64>().is_ok();
    if !numeric || !well_placed {
        return Ok(None);
    }
    let whole = unsigned.len() > 1 && unsigned.bytes().all(|byte| byte.is_ascii_digit());
    if whole && unsigned.starts_with('0') {
        let decimal = unsigned.trim_start_matches('0');
        let decimal = if decimal.is_empty() { "0" } else { decimal };
        let reason = format!("`{text}` may be read as octal: write {decimal}, without a leading zero");
        return Err(ValueError::new(reason));
    }
    Ok(Some(digits.trim_start_matches('+').to_owned()))
}
