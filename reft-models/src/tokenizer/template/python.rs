//! Values, tests and methods as Python has them, where minijinja has others or none.

use std::fmt::{Formatter, Result as Written};
use std::sync::Arc;

use minijinja::value::{Enumerator, Object, ObjectRepr, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

/// Items of a range, at most.
const LONGEST: i64 = 100_000;

/// Adds them to an environment.
pub(super) fn add(environment: &mut Environment<'_>) {
    environment.set_unknown_method_callback(method);
    environment.add_function("range", range);
    environment.add_test("callable", |value: &Value| callable(value));
    environment.add_filter("escape", escape);
    environment.add_filter("e", escape);
}

/// A sequence that prints as Python prints it: `dict_keys(['role'])`, `range(0, 3)`.
#[derive(Debug)]
struct PythonSequence {
    items: Vec<Value>,
    printed: String,
}

impl PythonSequence {
    fn value(name: &str, items: Vec<Value>) -> Value {
        let printed = format!("{name}({})", Value::from(items.clone()));
        Value::from_object(Self { items, printed })
    }
}

impl Object for PythonSequence {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.items.get(key.as_usize()?).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.items.len())
    }

    fn render(self: &Arc<Self>, f: &mut Formatter<'_>) -> Written {
        f.write_str(&self.printed)
    }
}

/// Methods of texts, lists and dictionaries.
fn method(state: &mut State, value: &Value, method: &str, arguments: &[Value]) -> Result<Value, Error> {
    let said = unknown_method_callback(state, value, method, arguments)?;
    let view = match (value.kind(), method) {
        (ValueKind::Map, "keys") => "dict_keys",
        (ValueKind::Map, "items") => "dict_items",
        (ValueKind::Map, "values") => "dict_values",
        _ => return Ok(said),
    };
    Ok(PythonSequence::value(view, said.try_iter()?.collect()))
}

/// `range(end)`, `range(start, end)`, `range(start, end, step)`.
fn range(first: i64, end: Option<i64>, step: Option<i64>) -> Result<Value, Error> {
    let wrong = |reason: &str| Error::new(ErrorKind::InvalidOperation, format!("range: {reason}"));
    let (start, end) = end.map_or((0, first), |end| (first, end));
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(wrong("the step is 0"));
    }
    let (span, stride) = if step > 0 { (end.saturating_sub(start), step) } else { (start.saturating_sub(end), -step) };
    let len = if span > 0 { (span - 1) / stride + 1 } else { 0 };
    if len > LONGEST {
        return Err(wrong("too many items"));
    }
    let items = (0..len).map(|index| Value::from(start + index * step)).collect();
    let printed = if step == 1 { format!("range({start}, {end})") } else { format!("range({start}, {end}, {step})") };
    Ok(Value::from_object(PythonSequence { items, printed }))
}

/// Functions and macros.
fn callable(value: &Value) -> bool {
    value.kind() == ValueKind::Plain || (value.kind() == ValueKind::Map && value.to_string().starts_with("<macro "))
}

/// What markupsafe escapes, as it does.
fn escape(value: &Value) -> String {
    let mut out = String::new();
    for c in value.to_string().chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&#34;"),
            c => out.push(c),
        }
    }
    out
}
