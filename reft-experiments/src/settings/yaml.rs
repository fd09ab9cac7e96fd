//! YAML as a tree with the line of every key.
//!
//! Read from the parser's events, so that the line of a value is known when it does not fit, a key that is there twice is an
//! error, and anchors, aliases and merge keys (`<<`) do what they do elsewhere. Plain words are resolved by YAML 1.2's core
//! schema, with two exceptions: `010` and `1_000` stay texts, because parsers disagree about them, and a user who wants a number
//! decides (`reft_core::value_reader`).

mod scalar;

use std::collections::{BTreeMap, HashMap};

use granit_parser::{ErrorKind, Event, Options, Parser, ScalarStyle, ScanError, Span};
use scalar::{no_tag, scalar};
use serde_json::{Map, Value};

/// A text that is no YAML, or more than one reading of it is possible.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct YamlError {
    /// Where, from 1.
    pub line: usize,
    /// What is wrong and what to do.
    pub reason: String,
}

/// A parsed document.
#[derive(Clone, PartialEq, Debug)]
pub struct Document {
    /// Its values.
    pub tree: Value,
    /// The line of every key and list item, by its full name (`data.train[0]`).
    pub lines: BTreeMap<String, usize>,
}

/// Values of a document at most, aliases counted as often as they are used: a few lines of aliases can stand for billions.
const MOST_VALUES: usize = 100_000;

/// Sections within sections at most.
const DEEPEST: usize = 64;

/// The only document of a text.
///
/// # Errors
/// When it is not YAML, or a key is there twice.
pub fn parse(text: &str) -> Result<Document, YamlError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let parser = Parser::new_from_str_with_options(text, options());
    let mut builder = Builder { events: parser, text, anchors: HashMap::new(), values: 0 };
    let root = builder.document()?;
    let mut lines = BTreeMap::new();
    let tree = root.map_or(Value::Null, |root| root.value("", &mut lines));
    Ok(Document { tree, lines })
}

/// Comments are not values.
fn options() -> Options {
    let mut options = Options::default();
    options.emit_comments = false;
    options
}

/// A value with its line.
#[derive(Clone, Debug)]
struct Node {
    line: usize,
    kind: NodeKind,
}

#[derive(Clone, Debug)]
enum NodeKind {
    Scalar(Value),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    fn value(self, key: &str, lines: &mut BTreeMap<String, usize>) -> Value {
        lines.insert(key.to_owned(), self.line);
        match self.kind {
            NodeKind::Scalar(value) => value,
            NodeKind::List(items) => {
                let numbered = items.into_iter().enumerate();
                Value::Array(numbered.map(|(item, node)| node.value(&format!("{key}[{item}]"), lines)).collect())
            }
            NodeKind::Map(entries) => {
                let mut map = Map::new();
                for (name, node) in entries {
                    let full = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                    map.insert(name, node.value(&full, lines));
                }
                Value::Object(map)
            }
        }
    }

    fn size(&self) -> usize {
        match &self.kind {
            NodeKind::Scalar(_) => 1,
            NodeKind::List(items) => 1 + items.iter().map(Self::size).sum::<usize>(),
            NodeKind::Map(entries) => 1 + entries.iter().map(|(_, node)| node.size()).sum::<usize>(),
        }
    }
}

struct Builder<'t> {
    events: Parser<'t, granit_parser::StrInput<'t>>,
    text: &'t str,
    /// What aliases stand for.
    anchors: HashMap<usize, Node>,
    values: usize,
}

fn error<T>(line: usize, reason: impl Into<String>) -> Result<T, YamlError> {
    Err(YamlError { line, reason: reason.into() })
}

impl<'t> Builder<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Span), YamlError> {
        match self.events.next() {
            Some(Ok(event)) => Ok(event),
            Some(Err(cause)) => Err(self.words(&cause)),
            None => error(self.text.lines().count(), "the text ends too early"),
        }
    }

    /// The one document; none in a text without values.
    fn document(&mut self) -> Result<Option<Node>, YamlError> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root),
                Event::DocumentStart(..) if root.is_some() => {
                    return error(span.start.line(), "a second document begins here (---): keep one per file");
                }
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                event => root = Some(self.node(event, span, 0)?),
            }
        }
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, YamlError> {
        let line = span.start.line();
        self.values += 1;
        if depth > DEEPEST {
            return error(line, format!("sections within sections, more than {DEEPEST} deep: write it flatter"));
        }
        let (kind, anchor) = match event {
            Event::Alias(anchor) => return self.alias(anchor, line),
            Event::Scalar(text, style, anchor, tag) => {
                (NodeKind::Scalar(scalar(&text, style, tag.as_deref(), line)?), anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                no_tag(tag.as_deref(), "seq", line)?;
                (NodeKind::List(self.list(depth)?), anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                no_tag(tag.as_deref(), "map", line)?;
                (NodeKind::Map(self.map(depth)?), anchor)
            }
            _ => return error(line, "a value is missing here"),
        };
        let node = Node { line, kind };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn alias(&mut self, anchor: usize, line: usize) -> Result<Node, YamlError> {
        let Some(node) = self.anchors.get(&anchor) else {
            return error(line, "this alias (*) stands inside what it repeats: write the value itself");
        };
        self.values += node.size();
        if self.values > MOST_VALUES {
            return error(line, format!("aliases (*) repeat more than {MOST_VALUES} values: write fewer"));
        }
        Ok(Node { line, kind: node.kind.clone() })
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, YamlError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Vec<(String, Node)>, YamlError> {
        let mut entries: Vec<(String, usize, Node)> = Vec::new();
        let mut merged: Vec<(String, Node)> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let line = span.start.line();
            let key = match event {
                Event::MappingEnd => break,
                Event::Scalar(text, style, _, tag) => {
                    no_tag(tag.as_deref(), "str", line)?;
                    (text.into_owned(), style)
                }
                _ => return error(line, "a key is a list, a section or an alias here: write a word"),
            };
            let (event, span) = self.next()?;
            let mut node = self.node(event, span, depth + 1)?;
            if key == ("<<".to_owned(), ScalarStyle::Plain) {
                merge_key(node, line, &mut merged)?;
                continue;
            }
            if let Some((_, first, _)) = entries.iter().find(|(other, _, _)| *other == key.0) {
                return error(line, format!("`{}` is there twice, in line {first} too: keep one", key.0));
            }
            // A value below its key is looked for at the key.
            node.line = line;
            entries.push((key.0, line, node));
        }
        merged.retain(|(key, _)| !entries.iter().any(|(own, _, _)| own == key));
        Ok(entries.into_iter().map(|(key, _, node)| (key, node)).chain(merged).collect())
    }

    /// A syntax error in words that need no knowledge of YAML's grammar.
    fn words(&self, cause: &ScanError) -> YamlError {
        let (line, column) = (cause.marker().line(), cause.marker().col() + 1);
        let indent = |line: &usize| {
            let text = line.checked_sub(1).and_then(|index| self.text.lines().nth(index)).unwrap_or_default();
            text.chars().take_while(|c| c.is_whitespace()).any(|c| c == '\t')
        };
        if let Some(line) = [line, line + 1, line.saturating_sub(1)].into_iter().find(indent) {
            return YamlError { line, reason: "a tab before the text: indent with spaces".to_owned() };
        }
        let what = match cause.kind() {
            ErrorKind::UnclosedQuotedScalar => "a quote is not closed".to_owned(),
            ErrorKind::UnclosedFlowCollection { open } => format!("`{open}` is not closed"),
            ErrorKind::MismatchedFlowCollectionEnd { open, close } => format!("`{open}` is closed by `{close}`"),
            ErrorKind::MisplacedFlowCollectionEnd => "a closing bracket without an opening one".to_owned(),
            ErrorKind::UnexpectedEofFlowMapping
            | ErrorKind::UnexpectedEofImplicitFlowMapping
            | ErrorKind::ExpectedFlowMappingSeparator => "a `{` is not closed, or a comma is missing".to_owned(),
            ErrorKind::UnexpectedEofFlowSequence | ErrorKind::ExpectedFlowSequenceSeparator => {
                "a `[` is not closed, or a comma is missing".to_owned()
            }
            ErrorKind::UnknownAnchor => "this alias (*) names nothing that stands before it (&)".to_owned(),
            ErrorKind::MappingValueNotAllowed | ErrorKind::InvalidColonPlacement => {
                "a `:` that begins no value: look for a bracket that is not closed, for indentation, or put text with a colon \
                 in quotes"
                    .to_owned()
            }
            ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => "a key without `:`".to_owned(),
            ErrorKind::UnexpectedCharacter { character } => {
                format!("text cannot begin with {character:?}: put it in quotes")
            }
            ErrorKind::InvalidTrailingSingleQuotedScalar | ErrorKind::InvalidTrailingDoubleQuotedScalar => {
                "text after a closing quote: put the whole in quotes".to_owned()
            }
            ErrorKind::InvalidIndentation | ErrorKind::ExpectedBlockMappingKey => {
                "the indentation does not fit the lines above".to_owned()
            }
            _ => "not valid YAML here: look for indentation, colons, quotes and brackets".to_owned(),
        };
        YamlError { line, reason: format!("column {column}: {what}") }
    }
}

/// Adds what a merge key brings; what is there already wins.
fn merge_key(node: Node, line: usize, merged: &mut Vec<(String, Node)>) -> Result<(), YamlError> {
    match node.kind {
        NodeKind::Map(entries) => {
            for (key, node) in entries {
                if !merged.iter().any(|(other, _)| *other == key) {
                    merged.push((key, node));
                }
            }
            Ok(())
        }
        NodeKind::List(items) => items.into_iter().try_for_each(|item| merge_key(item, line, merged)),
        NodeKind::Scalar(_) => error(line, "`<<` brings in sections: write `<<: *name`, or a list of them"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tree(text: &str) -> Value {
        parse(text).unwrap_or_else(|error| panic!("{text}: {}: {error}", error.line)).tree
    }

    #[test]
    fn plain_words_are_resolved_and_quoted_ones_are_not() {
        let cases = [
            ("1e-3", json!(1e-3)),
            ("1E3", json!(1e3)),
            (".5", json!(0.5)),
            ("-4", json!(-4)),
            ("+4", json!(4)),
            ("0x10", json!(16)),
            ("0o17", json!(15)),
            ("0", json!(0)),
            ("1.0", json!(1.0)),
            ("18446744073709551615", json!(u64::MAX)),
            ("99999999999999999999", json!("99999999999999999999")),
            ("010", json!("010")),
            ("1_000", json!("1_000")),
            ("1.2.3", json!("1.2.3")),
            ("1-2", json!("1-2")),
            ("04:00:00", json!("04:00:00")),
            (".inf", json!(".inf")),
            ("yes", json!("yes")),
            ("True", json!(true)),
            ("~", json!(null)),
            ("~/m", json!("~/m")),
            ("\"1e-3\"", json!("1e-3")),
            ("'true'", json!("true")),
            ("!!str 5", json!("5")),
            ("!!float 5", json!(5)),
            ("a: |\n  two\n  lines\n", json!({"a": "two\nlines\n"})),
            ("\u{feff}a: 1\r\nb: 2\r\n", json!({"a": 1, "b": 2})),
            ("", json!(null)),
            ("# nothing\n", json!(null)),
            ("---\na: 1\n...\n", json!({"a": 1})),
        ];
        for (text, expected) in cases {
            assert_eq!(tree(text), expected, "{text}");
        }
    }

    #[test]
    fn aliases_and_merge_keys_do_what_they_do_elsewhere() {
        assert_eq!(tree("a: &x [1, 2]\nb: *x\n"), json!({"a": [1, 2], "b": [1, 2]}));
        let merged =
            "base: &base {lr: 1, rows: 2}\nmore: &more {rows: 3, seed: 4}\nrun:\n  <<: [*base, *more]\n  lr: 9\n";
        assert_eq!(tree(merged)["run"], json!({"lr": 9, "rows": 2, "seed": 4}));
        assert_eq!(tree("run: {<<: {lr: 1}, rows: 2}")["run"], json!({"lr": 1, "rows": 2}));
    }

    #[test]
    fn every_value_has_its_line() {
        let document = parse("a:\n  b: 1\n  c:\n    - 2\n    - d: 3\ne: {f: 4}\n").expect("valid");
        let lines = ["a", "a.b", "a.c", "a.c[0]", "a.c[1].d", "e.f"].map(|key| document.lines[key]);
        assert_eq!(lines, [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn what_is_no_yaml_is_said_with_its_line() {
        let deep = "[".repeat(100) + &"]".repeat(100);
        let many = "a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9]\n".to_owned()
            + &('b'..='h')
                .map(|name| {
                    format!("{name}: &{name} [{}]\n", vec![format!("*{}", (name as u8 - 1) as char); 9].join(", "))
                })
                .collect::<String>();
        let cases = [
            ("a:\n\tb: 1\n", 2, "a tab before the text: indent with spaces"),
            ("a: 1\nb: 2\na: 3\n", 3, "`a` is there twice, in line 1 too: keep one"),
            ("a: 1\n---\nb: 2\n", 2, "a second document begins here (---)"),
            ("a: {b: 1\n", 1, "column 4: `{` is not closed"),
            ("a: {b: 1]\n", 1, "`{` is closed by `]`"),
            ("a: [1, 2\nb: 3\n", 2, "look for a bracket that is not closed"),
            ("a: 'it's'\n", 1, "text after a closing quote"),
            ("a:\n  b: 1\n c: 2\n", 3, "the indentation does not fit the lines above"),
            ("a: \"b\nc: 1\n", 1, "a quote is not closed"),
            ("a: b: c\n", 1, "put text with a colon in quotes"),
            ("a: *b\n", 1, "names nothing that stands before it"),
            ("a: &a [*a]\n", 1, "stands inside what it repeats"),
            ("a: !env X\n", 1, "a tag (!) before this value is not supported"),
            ("[1]: 2\n", 1, "a key is a list, a section or an alias here"),
            ("a: 1\n<<: 2\n", 2, "`<<` brings in sections"),
            ("a: @b\n", 1, "text cannot begin with '@'"),
            (&deep, 1, "more than 64 deep"),
            (&many, 6, "repeat more than 100000 values"),
        ];
        for (text, line, expected) in cases {
            let error = parse(text).expect_err(expected);
            assert!(error.reason.contains(expected), "`{expected}` is not in: {error} ({text:?})");
            assert_eq!(error.line, line, "{text}: {error}");
        }
    }
}
