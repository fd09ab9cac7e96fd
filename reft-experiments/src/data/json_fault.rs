//! What can be wrong with a JSON file of rows, in words for the person who brought it.

use serde_json::Error;

use super::need::AnswerNeed;

/// A fault, and the remedy.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// Nothing in it.
    #[error("the file has no rows: expected a JSON array or one JSON object a line, with instruction and answer")]
    NoRows,
    /// Neither an object nor a list.
    #[error(
        "not JSON, it begins with `{start}`: expected a JSON array or one JSON object a line, with instruction and answer"
    )]
    NotJson {
        /// How it begins.
        start: String,
    },
    /// Something that JSON does not have.
    #[error("`{found}` is not JSON: {remedy}")]
    Syntax {
        /// What stands there.
        found: String,
        /// What to write.
        remedy: &'static str,
    },
    /// A character that must be written as an escape.
    #[error("a text with a {found} as it is, which JSON has no place for: write it as an escape such as \\n or \\t")]
    Control {
        /// The character.
        found: &'static str,
    },
    /// The end comes too early.
    #[error(
        "the file or the line ends in the middle of a row: it is truncated; copy it again, or write one object a line"
    )]
    Truncated,
    /// Something follows the value.
    #[error("something follows the end of the JSON: write one array, or one object a line")]
    Further,
    /// A row that is something else.
    #[error("not an object: write every row as an object with instruction and answer")]
    NotObject,
    /// A value that is no text.
    #[error("{found} where a text belongs: write one text")]
    Nested {
        /// What it is.
        found: &'static str,
    },
    /// Half of a character that is written as two escapes.
    #[error("an escape such as \\ud83d that is half of a character: write the character itself")]
    HalfCharacter,
    /// A key that is there more than once.
    #[error("the key is there twice: keep one of them")]
    Twice,
    /// Two keys for the same.
    #[error("both `instruction` and `question` are there and differ: keep the one that is to be asked")]
    TwoQuestions,
    /// Columns instead of rows.
    #[error(
        "the file holds columns (`{key}` is a list), not rows: write an array of objects (in pandas: orient='records')"
    )]
    Columns {
        /// The first of them.
        key: String,
    },
    /// An object that is neither a row nor holds a list of rows.
    #[error(
        "one object without instruction (its keys are {keys}): expected a JSON array or one JSON object a line, with instruction and answer"
    )]
    NoList {
        /// Its keys.
        keys: String,
    },
    /// An object with several lists.
    #[error("an object with several lists ({keys}): keep the one that holds the rows")]
    Lists {
        /// Their keys.
        keys: String,
    },
    /// A row without a question.
    #[error(
        "the row has no instruction (its keys are {keys}): expected rows with instruction and answer, or question and answer"
    )]
    NoQuestion {
        /// Its keys.
        keys: String,
    },
    /// A row without what is needed of it.
    #[error("the row has no `{key}` (its keys are {keys}): write the right one under `{key}`, or take the row out")]
    Missing {
        /// The key.
        key: &'static str,
        /// The row's keys.
        keys: String,
    },
    /// The same, with the key there.
    #[error("`{key}` is {found}: write the right one, or take the row out")]
    Empty {
        /// The key.
        key: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// An answer that nothing can equal.
    #[error("`{key}` is `{found}`, which is no {form}, and nothing could equal it: correct it, or take the row out")]
    Form {
        /// The key.
        key: &'static str,
        /// What the task needs.
        form: AnswerNeed,
        /// What it is.
        found: String,
    },
}

/// Words that programs write where JSON has none, and what to write instead.
const WORDS: [(&str, &str); 9] = [
    ("NaN", "write null or a number"),
    ("nan", "write null or a number"),
    ("Infinity", "write null or a number"),
    ("-Infinity", "write null or a number"),
    ("inf", "write null or a number"),
    ("-inf", "write null or a number"),
    ("None", "write null"),
    ("True", "write true"),
    ("False", "write false"),
];

/// What stopped the parser.
pub fn in_words(text: &str, error: &Error) -> Fault {
    if error.is_eof() {
        return Fault::Truncated;
    }
    let bytes = text.as_bytes();
    let line = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum::<usize>();
    let at = (line + error.column().saturating_sub(1)).min(bytes.len().saturating_sub(1));
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.' | b'_');
    let start = at - bytes[..at].iter().rev().take_while(|byte| is_word(byte)).count();
    let end = at + bytes[at..].iter().take_while(|byte| is_word(byte)).count();
    let word = String::from_utf8_lossy(&bytes[start..end]).into_owned();
    let syntax = |found: String, remedy| Fault::Syntax { found, remedy };
    // Of a character in a text that must not stand there, the parser names the place or the one before.
    let control =
        [at, at + 1].into_iter().find(|&at| bytes.get(at).is_some_and(|&byte| byte < 0x20) && in_text(bytes, at));
    if let Some(at) = control {
        let found = match bytes[at] {
            b'\n' | b'\r' => "line break",
            b'\t' => "tab",
            _ => "control character",
        };
        return Fault::Control { found };
    }
    match (WORDS.iter().find(|(written, _)| *written == word), bytes.get(at)) {
        (Some((_, remedy)), _) => syntax(word, remedy),
        (None, Some(b'\'')) => syntax("'".to_owned(), "write keys and texts in double quotes"),
        (None, Some(b']' | b'}')) => syntax(format!(", {}", char::from(bytes[at])), "there is a comma too many"),
        (None, Some(_)) if word.starts_with(['0', '+', '.']) && word.len() > 1 => {
            syntax(word, "write a number such as 0.5, or a text in double quotes")
        }
        (None, _) => {
            let from = if start == end { at } else { start };
            let rest = String::from_utf8_lossy(&bytes[from..]);
            let found = rest.chars().take(12).map(|c| if c.is_control() { ' ' } else { c }).collect();
            syntax(found, "correct the file there, or write it with a JSON library")
        }
    }
}

/// Whether a byte is inside a text: after an odd number of quotes in its line or, after a line break, at its end.
fn in_text(text: &[u8], at: usize) -> bool {
    let start = text[..at].iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    let mut escaped = false;
    let quotes = text[start..at].iter().filter(|&&byte| {
        let quote = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        quote
    });
    quotes.count() % 2 == 1
}
