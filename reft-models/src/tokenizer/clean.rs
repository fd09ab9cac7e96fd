//! What transformers calls cleaning up: decoded texts without spaces before punctuation and contractions.

/// Replaced one after another.
const PAIRS: [(&str, &str); 10] = [
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
];

/// The text without them.
pub(super) fn up(text: &str) -> String {
    PAIRS.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}
