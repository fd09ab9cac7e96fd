//! "Did you mean": the known word nearest to a mistyped one.

/// ` (did you mean `x`?)`, or nothing when no known word is near.
pub fn did_you_mean<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let near = known.into_iter().map(|word| (strsim::damerau_levenshtein(given, word), word)).min();
    match near {
        Some((distance, word)) if distance <= 1 + word.len() / 4 => format!(" (did you mean `{word}`?)"),
        _ => String::new(),
    }
}
