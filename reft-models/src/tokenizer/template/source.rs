//! A template's source with what minijinja lacks in its own terms: `{% generation %}` blocks, and `%` between any two
//! values, which in Python formats texts.
//!
//! Only expressions are rewritten: `a % b` becomes a call of the function [`PERCENT`]. Text, comments and raw blocks stay.

use std::ops::Range;

use super::marks::GENERATION;

/// The function that stands for `%`.
pub(super) const PERCENT: &str = "__percent__";

/// Words that an operand of `%` cannot hold.
const KEYWORDS: [&str; 18] = [
    "and", "call", "elif", "else", "filter", "for", "from", "if", "import", "in", "include", "is", "macro", "not",
    "or", "return", "set", "with",
];

/// Operators of more than one character, the longest first.
const LONG: [&str; 6] = ["**", "//", "==", "!=", "<=", ">="];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum LexemeKind {
    Name,
    Literal,
    Operator,
}

/// A token of an expression: its kind and its bytes in the source.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Lexeme {
    kind: LexemeKind,
    at: Range<usize>,
}

/// The source as minijinja reads it.
pub(super) fn in_minijinja(source: &str) -> String {
    let mut out = String::new();
    let mut rest = source;
    while let Some(at) = begin(rest) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let len = match &rest[..2] {
            "{#" => rest.find("#}").map_or(rest.len(), |end| end + 2),
            _ if raw(rest) => raw_end(rest),
            _ => {
                let len = tag_end(rest);
                out.push_str(&tag(&rest[..len]));
                rest = &rest[len..];
                continue;
            }
        };
        out.push_str(&rest[..len]);
        rest = &rest[len..];
    }
    out + rest
}

/// Whether the template says which words are the assistant's.
pub(super) fn has_generation(source: &str) -> bool {
    in_minijinja(source).contains(GENERATION)
}

/// Where the first tag or comment begins.
fn begin(text: &str) -> Option<usize> {
    ["{{", "{%", "{#"].into_iter().filter_map(|open| text.find(open)).min()
}

/// The statement's name, in a tag of the form `{% name`.
fn statement(tag: &str) -> &str {
    let Some(inner) = tag.strip_prefix("{%") else { return "" };
    let inner = inner.trim_start_matches(['-', '+']).trim_start();
    let end = inner.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(inner.len());
    &inner[..end]
}

fn raw(text: &str) -> bool {
    statement(text) == "raw"
}

/// Bytes of a raw block up to its end tag's beginning.
fn raw_end(text: &str) -> usize {
    let ends = text.match_indices("{%").map(|(at, _)| at);
    ends.into_iter().find(|&at| statement(&text[at..]) == "endraw").map_or(text.len(), |at| at + 2)
}

/// Bytes of the tag that the text begins with: to its closing braces outside of literals and brackets.
fn tag_end(text: &str) -> usize {
    let close = if text.starts_with("{{") { "}}" } else { "%}" };
    let (mut at, mut depth) = (2, 0usize);
    while let Some(c) = text[at..].chars().next() {
        if depth == 0 && text[at..].starts_with(close) {
            return at + 2;
        }
        match c {
            '\'' | '"' => at = literal_end(text, at),
            '(' | '[' | '{' => (at, depth) = (at + 1, depth + 1),
            ')' | ']' | '}' => (at, depth) = (at + 1, depth.saturating_sub(1)),
            _ => at += c.len_utf8(),
        }
    }
    text.len()
}

/// Where the literal text that begins at `at` ends.
fn literal_end(text: &str, at: usize) -> usize {
    let quote = text.as_bytes()[at];
    let mut escaped = false;
    for (offset, byte) in text.bytes().enumerate().skip(at + 1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            byte if byte == quote => return offset + 1,
            _ => {}
        }
    }
    text.len()
}

/// One tag, rewritten.
fn tag(text: &str) -> String {
    if let name @ ("generation" | "endgeneration") = statement(text) {
        let call = if name == "generation" { format!("call {GENERATION}()") } else { "endcall".to_owned() };
        return text.replacen(name, &call, 1);
    }
    let mut text = text.to_owned();
    while let Some(rewritten) = without_first_percent(&text) {
        text = rewritten;
    }
    text
}

/// The tag with its first `%` between operands as a call; none when there is no such `%`.
fn without_first_percent(text: &str) -> Option<String> {
    // A tag without an end is left for minijinja to name.
    let body = text.strip_suffix("}}").or_else(|| text.strip_suffix("%}"))?;
    let end = body.len() - usize::from(body.ends_with(['-', '+']));
    let inner = 2 + usize::from(text[2..].starts_with(['-', '+']))..end;
    let tokens = tokens(text, inner);
    let percent =
        tokens.iter().position(|token| token.kind == LexemeKind::Operator && &text[token.at.clone()] == "%")?;
    let (first, last) = (left(text, &tokens, percent)?, right(text, &tokens, percent)?);
    let (a, b) = (tokens[first].at.start, tokens[percent].at.start);
    let (c, d) = (tokens[percent].at.end, tokens[last].at.end);
    Some(format!("{}{PERCENT}(({}), ({})){}", &text[..a], &text[a..b], &text[c..d], &text[d..]))
}

fn tokens(text: &str, within: Range<usize>) -> Vec<Lexeme> {
    let mut tokens = Vec::new();
    let mut at = within.start;
    while at < within.end {
        let rest = &text[at..within.end];
        let Some(c) = rest.chars().next() else { break };
        let word = |allowed: fn(char) -> bool| rest.find(|c: char| !allowed(c)).unwrap_or(rest.len());
        let (kind, len) = match c {
            c if c.is_whitespace() => {
                at += c.len_utf8();
                continue;
            }
            '\'' | '"' => (LexemeKind::Literal, literal_end(text, at).min(within.end) - at),
            c if c.is_ascii_digit() => (LexemeKind::Literal, number_len(rest)),
            c if c.is_alphanumeric() || c == '_' => (LexemeKind::Name, word(|c| c.is_alphanumeric() || c == '_')),
            c => {
                let long = LONG.into_iter().find(|long| rest.starts_with(long)).map_or(c.len_utf8(), str::len);
                (LexemeKind::Operator, long)
            }
        };
        tokens.push(Lexeme { kind, at: at..at + len });
        at += len;
    }
    tokens
}

/// Bytes of a number: digits, a fraction (a point that a digit follows), an exponent.
fn number_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut len = 0;
    while let Some(&byte) = bytes.get(len) {
        let digit_next = bytes.get(len + 1).is_some_and(u8::is_ascii_digit);
        let exponent_sign = matches!(byte, b'+' | b'-') && matches!(bytes[len - 1], b'e' | b'E') && digit_next;
        if !(byte.is_ascii_alphanumeric() || byte == b'_' || (byte == b'.' && digit_next) || exponent_sign) {
            break;
        }
        len += 1;
    }
    len
}

/// The first token of the left operand: a chain of products, of which the first factor may have a sign.
fn left(text: &str, tokens: &[Lexeme], percent: usize) -> Option<usize> {
    let mut first = None;
    let mut at = percent;
    while let Some(before) = at.checked_sub(1) {
        let token = &tokens[before];
        let spelled = &text[token.at.clone()];
        match (token.kind, spelled) {
            (LexemeKind::Name, name) if KEYWORDS.contains(&name) || (before == 0 && text.starts_with("{%")) => break,
            (LexemeKind::Operator, ")" | "]" | "}") => at = opening(text, tokens, before)?,
            (LexemeKind::Operator, "-" | "+") => {
                let binary = before.checked_sub(1).is_some_and(|earlier| ends_operand(text, &tokens[earlier]));
                if binary {
                    break;
                }
                at = before;
            }
            (LexemeKind::Name | LexemeKind::Literal, _)
            | (LexemeKind::Operator, "." | "|" | "*" | "/" | "//" | "**") => at = before,
            (LexemeKind::Operator, _) => break,
        }
        first = Some(at);
    }
    first
}

/// Whether a `-` after this token is a subtraction.
fn ends_operand(text: &str, token: &Lexeme) -> bool {
    let spelled = &text[token.at.clone()];
    match token.kind {
        LexemeKind::Literal => true,
        LexemeKind::Name => !KEYWORDS.contains(&spelled),
        LexemeKind::Operator => matches!(spelled, ")" | "]" | "}"),
    }
}

/// The last token of the right operand: a signed value with its attributes, indices, calls and filters.
fn right(text: &str, tokens: &[Lexeme], percent: usize) -> Option<usize> {
    let spelled = |at: usize| tokens.get(at).map(|token| &text[token.at.clone()]);
    let mut at = percent + 1;
    while matches!(spelled(at), Some("-" | "+")) {
        at += 1;
    }
    let opens = |at: usize| matches!(spelled(at), Some("(" | "[" | "{"));
    let mut last = if opens(at) { closing(text, tokens, at)? } else { at };
    tokens.get(last)?;
    loop {
        last = match spelled(last + 1) {
            Some("." | "|" | "**") if tokens.get(last + 2).is_some() => {
                if opens(last + 2) {
                    closing(text, tokens, last + 2)?
                } else {
                    last + 2
                }
            }
            Some("(" | "[") => closing(text, tokens, last + 1)?,
            Some(next) if next.starts_with(['\'', '"']) && tokens[last].kind == LexemeKind::Literal => last + 1,
            _ => return Some(last),
        };
    }
}

/// The bracket that opens what this one closes.
fn opening(text: &str, tokens: &[Lexeme], close: usize) -> Option<usize> {
    let mut depth = 0;
    for at in (0..=close).rev() {
        match &text[tokens[at].at.clone()] {
            ")" | "]" | "}" => depth += 1,
            "(" | "[" | "{" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// The bracket that closes what this one opens.
fn closing(text: &str, tokens: &[Lexeme], open: usize) -> Option<usize> {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match &text[token.at.clone()] {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_percent_and_generation_are_rewritten() {
        let cases = [
            ("50 % of {{ x }} {# a % b #}", "50 % of {{ x }} {# a % b #}"),
            ("{{ a + b % c }}", "{{ a + __percent__((b ), ( c)) }}"),
            ("{{ x.y[0](1) % (a, 'b')|f(2).z }}", "{{ __percent__((x.y[0](1) ), ( (a, 'b')|f(2).z)) }}"),
            ("{% if a % 2 == 0 %}", "{% if __percent__((a ), ( 2)) == 0 %}"),
            ("{%- set x = -7 % 3 -%}", "{%- set x = __percent__((-7 ), ( 3)) -%}"),
            ("{{ a - 7 % 3 }}", "{{ a - __percent__((7 ), ( 3)) }}"),
            ("{{ a % b % c }}", "{{ __percent__((__percent__((a ), ( b)) ), ( c)) }}"),
            (
                "{{ 'a %} % b' }}{%- generation -%}x{% endgeneration %}",
                "{{ 'a %} % b' }}{%- call __generation__() -%}x{% endcall %}",
            ),
            ("{% raw %}{{ a % b }}{% endraw %}{{ {'k': {}} }}", "{% raw %}{{ a % b }}{% endraw %}{{ {'k': {}} }}"),
        ];
        for (source, expected) in cases {
            assert_eq!(in_minijinja(source), expected);
        }
    }

    #[test]
    fn broken_templates_are_left_to_the_parser() {
        for source in
            ["{{", "{%", "{{ %", "{% % %}", "{{ a % }}", "{{ 'é", "{{ ) % ( }}", "{% generation", "{#", "{{ % }}é"]
        {
            let _ = in_minijinja(source);
        }
    }
}
