//! When an exact-match verdict is settled before the answer is complete.
//!
//! A right answer is the task's trigger followed by the expected text and nothing else. Of a text that is still growing
//! it is settled that it will be wrong as soon as something else follows the trigger, or the tokens left cannot spell
//! what is missing any more.

use std::collections::HashMap;

/// What a right answer must contain.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Sought<'a> {
    /// What comes before the answer. Its first occurrence counts.
    pub trigger: &'a str,
    /// The answer, up to white space around it.
    pub answer: &'a str,
}

impl Sought<'_> {
    fn whole(&self) -> String {
        format!("{}{}", self.trigger, self.answer)
    }

    /// Whether what follows the trigger is something else already. The text may end in the middle of a character, then
    /// shown as U+FFFD.
    fn missed(&self, said: &str) -> bool {
        let Some((_, answer)) = said.trim_end_matches('\u{FFFD}').split_once(self.trigger) else { return false };
        let answer = answer.trim_start();
        !self.answer.starts_with(answer) && answer.trim_end() != self.answer
    }
}

/// The fewest tokens that spell each ending of a text, whatever else they say.
struct Spelling {
    text: String,
    /// Tokens that spell the text from byte `i` on, when everything before it was said.
    from: Vec<usize>,
    /// Tokens that spell all of it when nothing was.
    fresh: usize,
}

impl Spelling {
    fn new(text: String, vocabulary: &[String]) -> Self {
        // Few tokens say any part of it.
        let touches = |token: &&String| {
            let (before, after) = (ends(token, &text).next(), ends(&text, token).next());
            text.contains(token.as_str()) || token.contains(&text) || before.is_some() || after.is_some()
        };
        let vocabulary: Vec<&String> = vocabulary.iter().filter(touches).collect();
        let mut from = vec![usize::MAX / 2; text.len() + 1];
        from[text.len()] = 0;
        for at in (0..text.len()).rev().filter(|&at| text.is_char_boundary(at)) {
            let rest = &text[at..];
            for token in &vocabulary {
                let tokens = match rest.strip_prefix(token.as_str()) {
                    Some(left) => 1 + from[text.len() - left.len()],
                    None if token.starts_with(rest) => 1,
                    None => continue,
                };
                from[at] = from[at].min(tokens);
            }
        }
        // The first token may say something before, and the beginning of the text at its end.
        let begun = |token: &&String| ends(token, &text).map(|said| 1 + from[said]).min();
        let inside = vocabulary.iter().any(|token| token.contains(&text)).then_some(1);
        let fresh = vocabulary.iter().filter_map(begun).chain(inside).chain([from[0]]).min().unwrap_or(usize::MAX);
        Self { text, from, fresh }
    }

    /// Tokens that are still needed after this was said.
    fn missing(&self, said: &str) -> usize {
        if said.contains(&self.text) {
            return 0;
        }
        ends(said, &self.text).map(|at| self.from[at]).chain([self.fresh]).min().unwrap_or(self.fresh)
    }
}

/// Lengths of the beginnings of `text` that `said` ends with.
fn ends<'t>(said: &'t str, text: &'t str) -> impl Iterator<Item = usize> + 't {
    (1..text.len()).filter(move |&at| text.is_char_boundary(at) && said.ends_with(&text[..at]))
}

/// Settles verdicts for the answers of one task.
pub struct Verdicts<'a>(HashMap<Sought<'a>, Spelling>);

impl<'a> Verdicts<'a> {
    /// For these answers, said in tokens of this vocabulary. A token that is shown without a space that it may begin
    /// with stands for both.
    pub fn new(sought: impl Iterator<Item = Sought<'a>>, vocabulary: &[String]) -> Self {
        let spaced = vocabulary.iter().flat_map(|token| [token.clone(), format!(" {token}")]);
        let tokens: Vec<String> = spaced.filter(|token| !token.is_empty()).collect();
        let mut spellings = HashMap::new();
        for sought in sought {
            spellings.entry(sought).or_insert_with(|| Spelling::new(sought.whole(), &tokens));
        }
        Self(spellings)
    }

    /// Whether a text that may grow by `left` more tokens can only be wrong.
    pub fn hopeless(&self, sought: &Sought<'a>, said: &str, left: usize) -> bool {
        let out_of_reach = || self.0.get(sought).is_some_and(|spelling| spelling.missing(said) > left);
        sought.missed(said) || (!said.contains(sought.trigger) && out_of_reach())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::score::answers;

    const SOUGHT: Sought<'_> = Sought { trigger: "the answer is ", answer: "a12" };
    const VOCABULARY: &[&str] =
        &["the", " answer", " is", " ", "a", "1", "2", "12", " a12", "s the", "is a", "the answer", "x", "\n", "e "];

    fn vocabulary() -> Vec<String> {
        VOCABULARY.iter().map(|&token| token.to_owned()).collect()
    }

    fn right(said: &str) -> bool {
        answers::after(said, SOUGHT.trigger).trim() == SOUGHT.answer
    }

    #[test]
    fn a_verdict_falls_as_soon_as_it_can() {
        let verdicts = Verdicts::new([SOUGHT].into_iter(), &vocabulary());
        let hopeless = |said: &str, left: usize| verdicts.hopeless(&SOUGHT, said, left);
        // "the answer", " is", " a12" in this vocabulary.
        assert!(!hopeless("", 3) && hopeless("", 2));
        assert!(!hopeless("x the answer is", 1) && hopeless("x the answer is", 0));
        assert!(hopeless("the answer is a2", 9) && !hopeless("the answer is a1", 0));
        assert!(!hopeless("the answer is a12 ", 9) && hopeless("the answer is a12 x", 9));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_was_given_up_would_have_been_wrong(
            head in prop::collection::vec(prop::sample::select(VOCABULARY), 0..3),
            body in prop::sample::subsequence(vec!["the answer", "the", " answer", " is", " a12", " ", "a", "12"], 0..8),
            tail in prop::collection::vec(prop::sample::select(VOCABULARY), 0..3),
        ) {
            let verdicts = Verdicts::new([SOUGHT].into_iter(), &vocabulary());
            let tokens = [head, body, tail].concat();
            let given_up = (0..=tokens.len()).any(|n| verdicts.hopeless(&SOUGHT, &tokens[..n].concat(), tokens.len() - n));
            prop_assert!(!(given_up && right(&tokens.concat())), "{tokens:?}");
        }
    }
}
