//! `{% generation %}`: which characters of a rendered conversation the assistant says.
//!
//! The block is rendered between two characters that stand in no conversation (Unicode's noncharacters), which are taken out again.

use std::ops::Range;

use minijinja::value::Kwargs;
use minijinja::{Error, State, Value};

/// The function whose call block `{% generation %}` becomes: a scope of its own, as in transformers.
pub(super) const GENERATION: &str = "__generation__";

/// Two characters that none of these texts holds; none when every pair is taken.
pub(super) fn unused(texts: &[&str]) -> Option<[char; 2]> {
    let mut pairs = ('\u{FDD0}'..='\u{FDEF}').step_by(2).zip(('\u{FDD1}'..='\u{FDEF}').step_by(2));
    pairs.find(|&(open, close)| !texts.iter().any(|text| text.contains([open, close]))).map(|(a, b)| [a, b])
}

/// What the block says, between the marks.
pub(super) fn generation(state: &mut State, [open, close]: [char; 2], named: &Kwargs) -> Result<String, Error> {
    let said = named.get::<Value>("caller")?.call(state, &[])?;
    Ok(format!("{open}{said}{close}"))
}

/// The text without its marks, and the bytes of it that stood between them.
pub(super) fn taken_out(marked: &str, [open, close]: [char; 2]) -> (String, Vec<Range<usize>>) {
    let (mut text, mut said, mut begin) = (String::with_capacity(marked.len()), Vec::new(), 0);
    for c in marked.chars() {
        if c == open {
            begin = text.len();
        } else if c == close {
            said.push(begin..text.len());
        } else {
            text.push(c);
        }
    }
    (text, said)
}
