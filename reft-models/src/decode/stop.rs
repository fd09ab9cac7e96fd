//! Texts that end an answer. They are looked for in the text and not among tokens: a stop text may begin in the middle of
//! a token and end in the middle of another.

/// Where the first of the stop texts begins in an answer; none where it has none of them.
pub fn find(stop: &[String], said: &str) -> Option<usize> {
    stop.iter().filter(|text| !text.is_empty()).filter_map(|text| said.find(text.as_str())).min()
}

/// An answer up to the first stop text.
pub fn cut<'t>(stop: &[String], said: &'t str) -> &'t str {
    &said[..find(stop, said).unwrap_or(said.len())]
}

/// The part of a growing answer that stays whatever follows: up to the first stop text, or to a beginning of one that the
/// answer ends with.
pub fn settled<'t>(stop: &[String], said: &'t str) -> &'t str {
    let said = cut(stop, said);
    let begun = |text: &String| {
        let beginnings = text.char_indices().map(|(at, _)| &text[..at]).skip(1);
        beginnings.filter(|beginning| said.ends_with(beginning)).map(str::len).max()
    };
    let held = stop.iter().filter_map(begun).max().unwrap_or(0);
    &said[..said.len() - held]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(stop: &[&str]) -> Vec<String> {
        stop.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn an_answer_is_cut_before_the_first_stop_text() {
        let stop = texts(&["\n\n", "Frage:", "。"]);
        for (said, expected) in [
            ("ja\n\nFrage: x", "ja"),
            ("ja. Frage:\n\n", "ja. "),
            ("是。不", "是"),
            ("nothing\n", "nothing\n"),
            ("\n\n", ""),
        ] {
            assert_eq!(cut(&stop, said), expected);
        }
        assert_eq!(cut(&texts(&[""]), "x"), "x", "an empty text is none");
    }

    #[test]
    fn a_possible_beginning_of_a_stop_text_is_held_back() {
        let stop = texts(&["\n\n", "###", "äöü"]);
        for (said, expected) in
            [("a\n", "a"), ("a ##", "a "), ("a #b", "a #b"), ("xäö", "x"), ("xö", "xö"), ("a###", "a"), ("", "")]
        {
            assert_eq!(settled(&stop, said), expected, "{said:?}");
        }
    }
}
