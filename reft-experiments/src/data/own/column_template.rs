//! Jinja templates over a row's columns.
//!
//! A text without `{{` or `{%` is the name of a column, which stands for its cell. Columns are variables; `row` holds all of
//! them, for names that are no identifiers: `{{ row["#1 String"] }}`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value as Jinja, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Output, State, UndefinedBehavior, escape_formatter};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde_json::Value;

use super::cell_row::CellRow;
use super::cells::text;
use super::fault::OwnDataError;
use crate::suggest::did_you_mean;

/// Steps that a template may take: one that loops over `range(10 ** 9)` ends with an error.
const FUEL: u64 = 20_000_000;

/// The variable that holds all columns.
const ROW: &str = "row";

static JINJA: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut jinja = Environment::new();
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build().expect("the usual signs");
    jinja.set_syntax(syntax);
    jinja.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    jinja.set_unknown_method_callback(method);
    jinja.set_formatter(printed);
    jinja.set_fuel(Some(FUEL));
    jinja
});

/// What a row's text, or list, is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ColumnTemplate {
    /// The cell of a column.
    Column(String),
    /// A template in Jinja.
    Jinja {
        /// The template.
        source: String,
        /// The columns that it names.
        columns: Vec<String>,
    },
}

impl ColumnTemplate {
    /// A template as a configuration has it.
    ///
    /// # Errors
    /// When it is not valid Jinja, in words.
    pub fn parse(source: &str) -> Result<Self, String> {
        if !source.contains("{{") && !source.contains("{%") {
            return Ok(Self::Column(source.to_owned()));
        }
        let unclosed = [("{{", "}}"), ("{%", "%}")];
        if let Some((open, close)) =
            unclosed.into_iter().find(|(open, close)| source.matches(open).count() > source.matches(close).count())
        {
            return Err(format!("`{open}` in {} has no `{close}`", shown(source)));
        }
        let template =
            JINJA.template_from_str(source).map_err(|error| format!("{}: {}", shown(source), reason(&error)))?;
        let is_column = |name: &String| name != ROW && JINJA.globals().all(|(global, _)| global != name);
        let mut columns: Vec<String> = template.undeclared_variables(false).into_iter().filter(is_column).collect();
        columns.sort();
        Ok(Self::Jinja { source: source.to_owned(), columns })
    }

    /// The same, but a text without `{{` or `{%` stands for itself.
    ///
    /// # Errors
    /// When it is not valid Jinja, in words.
    pub fn literal_or_parse(source: &str) -> Result<Self, String> {
        match Self::parse(source)? {
            Self::Column(text) => Ok(Self::Jinja { source: text, columns: Vec::new() }),
            template @ Self::Jinja { .. } => Ok(template),
        }
    }

    /// The columns that it names.
    pub fn columns(&self) -> &[String] {
        match self {
            Self::Column(name) => std::slice::from_ref(name),
            Self::Jinja { columns, .. } => columns,
        }
    }

    /// The text of a row.
    ///
    /// # Errors
    /// When the row lacks a cell that is printed, or the template cannot be rendered.
    pub fn render(&self, row: &CellRow) -> Result<String, OwnDataError> {
        match self {
            Self::Column(name) => match cell(row, name)? {
                value @ (Value::Array(_) | Value::Object(_)) => {
                    Err(row.fault(format!("column `{name}`: {}", no_text(value.is_array(), name))))
                }
                value => Ok(text(value)),
            },
            Self::Jinja { source, columns } => {
                let columns_and_row = Columns { cells: &row.cells, row: &row.cells };
                JINJA
                    .render_str(source, Jinja::from(Serde(columns_and_row)))
                    .map_err(|error| row.fault(failure(&reason(&error), source, &absent(row, columns))))
            }
        }
    }

    /// What stands before and behind the cell of the one column that can be printed without the others, once; none of any other
    /// template.
    pub fn around(&self) -> Option<(String, String)> {
        // No text of a template: of Unicode's private use.
        const CELL: &str = "\u{f0000}";
        let (source, columns) = match self {
            Self::Column(_) => return Some((String::new(), String::new())),
            Self::Jinja { source, columns } => (source, columns),
        };
        let alone = |column: &String| {
            let cells = BTreeMap::from([(column.as_str(), CELL)]);
            let rendered = JINJA.render_str(source, Jinja::from(Serde(&cells))).ok()?;
            let (before, behind) = rendered.split_once(CELL)?;
            (!behind.contains(CELL)).then(|| (before.to_owned(), behind.to_owned()))
        };
        let mut found = columns.iter().filter_map(alone);
        found.next().filter(|_| found.next().is_none())
    }

    /// The value of a row, where the template is the name of a column or one expression in braces; none for any other text.
    ///
    /// # Errors
    /// When the row lacks the cell, or the expression cannot be evaluated.
    pub fn value(&self, row: &CellRow) -> Result<Option<Value>, OwnDataError> {
        let (source, columns) = match self {
            Self::Column(name) => return cell(row, name).cloned().map(Some),
            Self::Jinja { source, columns } => (source, columns),
        };
        let inner = source.trim().strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
        let Some(expression) = inner.filter(|inner| !inner.contains("{{") && !inner.contains("{%")) else {
            return Ok(None);
        };
        let variables = Jinja::from(Serde(Columns { cells: &row.cells, row: &row.cells }));
        let value = JINJA.compile_expression(expression).and_then(|compiled| compiled.eval(variables));
        match value {
            Ok(value) if !value.is_undefined() => Ok(serde_json::to_value(&value).ok()),
            Ok(_) => Err(row.fault(failure("nothing by that name", source, &absent(row, columns)))),
            Err(error) => Err(row.fault(failure(&reason(&error), source, &absent(row, columns)))),
        }
    }
}

/// Columns of a template that a row has no cell in.
fn absent<'c>(row: &CellRow, columns: &'c [String]) -> Vec<&'c str> {
    columns.iter().filter(|name| !row.cells.contains_key(*name)).map(String::as_str).collect()
}

/// Prints a value. Lists and objects are refused: what Python would print for them is not a text that a model should learn.
fn printed(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Jinja) -> Result<(), Error> {
    match value.kind() {
        kind @ (ValueKind::Seq | ValueKind::Map | ValueKind::Iterable) => {
            Err(Error::new(ErrorKind::BadSerialization, no_text(kind != ValueKind::Map, "x")))
        }
        _ => escape_formatter(out, state, value),
    }
}

/// Why a list, or else an object, by this name is not printed, and what to write.
fn no_text(is_list: bool, name: &str) -> String {
    if is_list {
        format!(
            "a list is no text: write {{{{ {name}[0] }}}} for the first entry of {name}, {{{{ {name} | join(', ') }}}} for all"
        )
    } else {
        format!(
            "an object is no text: write {{{{ {name}.key }}}} for an entry of {name}, {{{{ {name} | tojson }}}} for all"
        )
    }
}

/// Methods that values have in Python: of lists also `index`.
fn method(state: &mut State<'_, '_>, value: &Jinja, name: &str, arguments: &[Jinja]) -> Result<Jinja, Error> {
    match (value.kind(), name, arguments) {
        (ValueKind::Seq, "index", [wanted]) => {
            let found = value.try_iter()?.position(|item| item == *wanted);
            found
                .map(Jinja::from)
                .ok_or_else(|| Error::new(ErrorKind::InvalidOperation, format!("{wanted} is not in the list {value}")))
        }
        _ => unknown_method_callback(state, value, name, arguments),
    }
}

/// The variables of a template: every column, and `row` unless that is a column itself.
#[derive(serde::Serialize)]
struct Columns<'r> {
    row: &'r serde_json::Map<String, Value>,
    #[serde(flatten)]
    cells: &'r serde_json::Map<String, Value>,
}

fn cell<'r>(row: &'r CellRow, name: &str) -> Result<&'r Value, OwnDataError> {
    row.cells.get(name).ok_or_else(|| row.fault(format!("column `{name}` is empty: fill it in, or take the row out")))
}

/// Why a row cannot be rendered, and what to do.
fn failure(what: &str, source: &str, absent: &[&str]) -> String {
    match absent {
        [] => format!("the template {} cannot be rendered ({what}): correct the template or the row", shown(source)),
        names => format!(
            "column {} is empty and the template {} prints it: fill it in, take the row out, or write {{% if {} %}}",
            names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
            shown(source),
            names[0]
        ),
    }
}

/// A template in a message, short and on one line.
fn shown(source: &str) -> String {
    let short: String = source.chars().take(60).collect();
    let more = if short.len() < source.len() { "…" } else { "" };
    format!("`{}{more}`", short.escape_debug())
}

fn reason(error: &Error) -> String {
    let what = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    what.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What is wrong with a template of a key that names a column that no row has; none where every column is known.
pub fn unknown_column(key: &str, template: &ColumnTemplate, known: &[String]) -> Option<String> {
    let name = template.columns().iter().find(|name| !known.contains(name))?;
    let near = did_you_mean(name, known.iter().map(String::as_str));
    let listed = known.join(", ");
    Some(format!("{key} names the column `{name}`, which no row has{near}: the columns are {listed}"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    fn row(cells: Value) -> CellRow {
        let Value::Object(cells) = cells else { panic!("an object") };
        CellRow { file: Path::new("a.jsonl").into(), place: "row 1".to_owned(), cells }
    }

    fn render(source: &str, cells: Value) -> Result<String, String> {
        let template = ColumnTemplate::parse(source)?;
        template.render(&row(cells)).map_err(|error| error.to_string())
    }

    #[test]
    fn columns_are_variables_and_line_breaks_at_the_end_stay() {
        let cells = json!({"question": "Why?", "n": 3, "row id": 7, "list": ["a", "b"]});
        for (source, expected) in [
            ("{{ question }}\n", "Why?\n"),
            ("question", "Why?"),
            ("n", "3"),
            ("Q: {{ question.upper() }} {{ row['row id'] }}", "Q: WHY? 7"),
            ("{% for x in list %}{{ loop.index }}{{ x }}{% endfor %}", "1a2b"),
            ("{% if missing %}x{% endif %}{{ n + 1 }}", "4"),
            ("{{ missing | default('-') }}", "-"),
        ] {
            assert_eq!(render(source, cells.clone()).as_deref(), Ok(expected), "{source}");
        }
    }

    #[test]
    fn what_cannot_be_rendered_is_named_with_file_row_and_remedy() {
        let cells = json!({"question": "Why?", "list": ["a"], "object": {"a": 1}});
        for (source, parts) in [
            ("{{ answer }}", ["a.jsonl: row 1: column `answer` is empty", "write {% if answer %}"]),
            ("answer", ["a.jsonl: row 1: column `answer` is empty", "take the row out"]),
            ("list", ["column `list`: a list is no text", "{{ list[0] }}"]),
            ("{{ list }}", ["a list is no text", "join(', ')"]),
            ("{{ object }}", ["an object is no text", "x.key"]),
            ("{{ row['x'] }}", ["a.jsonl: row 1: the template", "correct the template or the row"]),
            ("{% for i in range(100000000) %}{% endfor %}", ["row 1: the template", "cannot be rendered"]),
        ] {
            let error = render(source, cells.clone()).expect_err(source);
            assert!(parts.iter().all(|part| error.contains(part)) && error.lines().count() == 1, "{error}");
        }
        assert!(ColumnTemplate::parse("{{ question").is_err(), "never closed");
    }

    #[test]
    fn an_expression_has_a_value_as_harnesses_write_it() {
        let cells = json!({"choices": {"text": ["sun", "moon"], "label": ["1", "2"]}, "key": "2", "n": 1});
        let value = |source: &str| {
            let template = ColumnTemplate::parse(source).expect("valid");
            template.value(&row(cells.clone())).map_err(|error| error.to_string())
        };
        for (source, expected) in [
            ("{{choices.text}}", Some(json!(["sun", "moon"]))),
            ("{{ choices.label.index(key) }}", Some(json!(1))),
            ("n", Some(json!(1))),
            ("{{ [key, n] }}\n", Some(json!(["2", 1]))),
            ("{{ key }}{{ n }}", None),
            ("no {% if n %}x{% endif %}", None),
        ] {
            assert_eq!(value(source).as_ref(), Ok(&expected), "{source}");
        }
        for (source, part) in [
            ("{{ choices.label.index(n) }}", "1 is not in the list"),
            ("{{ choices.texts }}", "cannot be rendered"),
            ("{{ absent }}", "column `absent` is empty"),
            ("absent", "column `absent` is empty"),
        ] {
            let error = value(source).expect_err(source);
            assert!(error.contains(part) && error.lines().count() == 1, "{error}");
        }
    }

    #[test]
    fn what_stands_around_the_column_that_can_stand_alone() {
        let around = |source: &str| ColumnTemplate::parse(source).expect("valid").around();
        let of = |before: &str, behind: &str| Some((before.to_owned(), behind.to_owned()));
        for (source, expected) in [
            ("question", of("", "")),
            ("Q: {{ question }}\n", of("Q: ", "\n")),
            ("{{ instruction }}{% if input %}\n\n{{ input }}{% endif %}\n", of("", "\n")),
            ("{{ question }} {{ context }}", None),
            ("{{ a | default('') }}{{ b | default('') }}", None),
            ("{{ a }}{{ a }}", None),
        ] {
            assert_eq!(around(source), expected, "{source}");
        }
    }

    #[test]
    fn a_column_that_no_row_has_is_answered_with_the_nearest() {
        let known = ["question".to_owned(), "answer".to_owned()];
        let template = ColumnTemplate::parse("{{ qestion }}").expect("valid");
        let said = unknown_column("prompt", &template, &known).expect("unknown");
        assert!(
            said.contains("prompt names the column `qestion`") && said.contains("did you mean `question`?"),
            "{said}"
        );
        let fine = ColumnTemplate::parse("{% set x = range(3) %}{{ row.question }}{{ answer }}{{ x }}").expect("valid");
        assert_eq!(unknown_column("prompt", &fine, &known), None);
    }
}
