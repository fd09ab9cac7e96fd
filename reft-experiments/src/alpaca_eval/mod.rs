//! Instruction following as AlpacaEval measures it: a judge says which of two outputs is better, the model's or a
//! reference's. Outputs and annotations are files of the official tool: either program can go on from the other.

pub mod annotations;
#[cfg(feature = "program")]
pub mod judge;
pub mod list;
pub mod outputs;
#[cfg(feature = "program")]
pub mod win_rate;

/// A text without line breaks and of at most `most` characters, to be quoted in a message of one line.
#[cfg(feature = "program")]
fn one_line(text: &str, most: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= most { line } else { line.chars().take(most).chain(['…']).collect() }
}
