//! When an exact-match verdict is settled before the answer is complete.
//!
//! A right answer is the task's trigger followed by the expected text and nothing else. Of a text that is still growing
//! it is settled that it will be wrong as soon as something else follows the trigger, or the tokens left cannot spell
//! what is missing any more. Tokens need not be whole characters, so what is missing is counted in bytes; where the
//! vocabulary's bytes are not known, or do not spell an answer, no answer is given up for want of tokens.

use std::collections::HashMap;

/// What a right answer must contain.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ExpectedAnswer<'a> {
    /// What comes before the answer. Its first occurrence counts.
    pub trigger: &'a str,
    /// The answer, up to white space around it.
    pub answer: &'a str,
}

/// Shown for a character of which bytes are missing.
const INCOMPLETE: char = '\u{FFFD}';

impl ExpectedAnswer<'_> {
    /// Whether what follows the trigger is something else already. The text may end in the middle of a character, then
    /// shown as U+FFFD.
    fn missed(&self, said: &str) -> bool {
        let Some((_, answer)) = said.trim_end_matches(INCOMPLETE).split_once(self.trigger) else { return false };
        let (answer, expected) = (answer.trim_start(), self.answer.trim());
        // An answer with such a character itself cannot be told from an incomplete one.
        !expected.contains(INCOMPLETE) && !expected.starts_with(answer) && answer.trim_end() != expected
    }
}

/// Fewest tokens; none where the vocabulary cannot spell it.
type TokenCount = Option<usize>;

/// The fewest tokens that spell each ending of a text, whatever else they say.
struct ShortestSpelling {
    text: Vec<u8>,
    /// Tokens that spell the text from byte `i` on, when everything before it was said; they may say more after it.
    from: Vec<TokenCount>,
    /// Tokens that spell all of it when nothing was.
    fresh: TokenCount,
}

impl ShortestSpelling {
    /// `after` says how many tokens are needed once the text's last token has said these bytes behind the text.
    fn new(text: &[u8], vocabulary: &[Vec<u8>], after: impl Fn(&[u8]) -> TokenCount) -> Self {
        let vocabulary = touching(text, vocabulary);
        let one_more = |tokens: usize| tokens + 1;
        let mut from: Vec<TokenCount> = vec![None; text.len()];
        for at in (0..text.len()).rev() {
            let rest = &text[at..];
            let spelled = |token: &&[u8]| match token.strip_prefix(rest) {
                Some(behind) => after(behind).map(one_more),
                None if rest.starts_with(token) => from[at + token.len()].map(one_more),
                None => None,
            };
            from[at] = vocabulary.iter().filter_map(spelled).min();
        }
        // The first token may say something before, and all of the text or its beginning at its end.
        let begun = |token: &&[u8]| ends(token, text).filter_map(|said| from[said]).min().map(one_more);
        let whole = |token: &&[u8]| {
            let places = (0..token.len()).filter(|&at| token[at..].starts_with(text));
            places.filter_map(|at| after(&token[at + text.len()..])).min().map(one_more)
        };
        let fresh = vocabulary.iter().flat_map(|token| [begun(token), whole(token)]).flatten();
        let fresh = fresh.chain(from.first().copied().flatten()).min();
        Self { text: text.to_vec(), from, fresh }
    }

    /// Tokens that are still needed after this was said, the text not among it.
    fn missing(&self, said: &[u8]) -> TokenCount {
        ends(said, &self.text).filter_map(|at| self.from[at]).chain(self.fresh).min()
    }
}

/// Lengths of the beginnings of `text` that `said` ends with.
fn ends<'t>(said: &'t [u8], text: &'t [u8]) -> impl Iterator<Item = usize> + 't {
    (1..text.len()).filter(move |&at| said.ends_with(&text[..at]))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window == part)
}

/// Tokens that touch a text: others say nothing of it.
fn touching<'v>(text: &[u8], vocabulary: &'v [Vec<u8>]) -> Vec<&'v [u8]> {
    let touches = |token: &&[u8]| {
        let overlaps = ends(token, text).next().is_some() || ends(text, token).next().is_some();
        !token.is_empty() && (overlaps || contains(text, token) || contains(token, text))
    };
    vocabulary.iter().map(Vec::as_slice).filter(touches).collect()
}

/// Settles verdicts for the answers of one task.
pub struct Verdicts<'a>(HashMap<ExpectedAnswer<'a>, ShortestSpelling>);

impl<'a> Verdicts<'a> {
    /// For these answers, said in tokens of these bytes each; none where they are not known.
    pub fn new(sought: impl Iterator<Item = ExpectedAnswer<'a>>, vocabulary: Option<&[Vec<u8>]>) -> Self {
        let mut spellings = HashMap::new();
        let Some(vocabulary) = vocabulary else { return Self(spellings) };
        for sought in sought {
            spellings.entry(sought).or_insert_with(|| spelling(&sought, vocabulary));
        }
        Self(spellings)
    }

    /// Whether an answer that may grow by `left` more tokens can only be wrong. `bytes` are those of its tokens, `said`
    /// is its text so far, from which nothing is taken away any more.
    pub fn hopeless(&self, sought: &ExpectedAnswer<'a>, said: &str, bytes: &[u8], left: usize) -> bool {
        let out_of_reach = |spelling: &ShortestSpelling| spelling.missing(bytes).is_some_and(|tokens| tokens > left);
        sought.missed(said)
            || (!said.contains(sought.trigger)
                && !contains(bytes, sought.trigger.as_bytes())
                && self.0.get(sought).is_some_and(out_of_reach))
    }
}

/// The tokens of trigger and answer, with anything between them that a token may say beside their beginning or end.
fn spelling(sought: &ExpectedAnswer<'_>, vocabulary: &[Vec<u8>]) -> ShortestSpelling {
    let answer = sought.answer.trim().as_bytes();
    let of_answer = ShortestSpelling::new(answer, vocabulary, |_| Some(0));
    let after = |behind: &[u8]| {
        if contains(behind, answer) { Some(0) } else { of_answer.missing(behind) }
    };
    ShortestSpelling::new(sought.trigger.as_bytes(), vocabulary, after)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::score::answers;

    const SOUGHT: ExpectedAnswer<'_> = ExpectedAnswer { trigger: "the answer is ", answer: "a12" };
    const VOCABULARY: &[&str] =
        &["the", " answer", " is", " ", "a", "1", "2", "12", " a12", "s the", "is a", "the answer", "x", "\n", "e "];

    fn vocabulary() -> Vec<Vec<u8>> {
        VOCABULARY.iter().map(|&token| token.into()).collect()
    }

    /// Whether an answer in these tokens is right, and whether it would have been given up on the way.
    fn judge(sought: &ExpectedAnswer<'_>, vocabulary: &[Vec<u8>], tokens: &[Vec<u8>]) -> (bool, bool) {
        let verdicts = Verdicts::new([*sought].into_iter(), Some(vocabulary));
        let given_up = (0..=tokens.len()).any(|n| {
            let bytes = tokens[..n].concat();
            verdicts.hopeless(sought, &String::from_utf8_lossy(&bytes), &bytes, tokens.len() - n)
        });
        let said = tokens.concat();
        (answers::after(&String::from_utf8_lossy(&said), sought.trigger).trim() == sought.answer.trim(), given_up)
    }

    #[test]
    fn decoding_may_stop_once_the_right_answer_is_out_of_reach() {
        let vocabulary = vocabulary();
        let verdicts = Verdicts::new([SOUGHT].into_iter(), Some(&vocabulary));
        let hopeless = |said: &str, left: usize| verdicts.hopeless(&SOUGHT, said, said.as_bytes(), left);
        // "the answer", " is", " a12" in this vocabulary.
        assert!(!hopeless("", 3) && hopeless("", 2));
        assert!(!hopeless("x the answer is", 1) && hopeless("x the answer is", 0));
        assert!(hopeless("the answer is a2", 9) && !hopeless("the answer is a1", 0));
        assert!(!hopeless("the answer is a12 ", 9) && hopeless("the answer is a12 x", 9));
    }

    #[test]
    fn an_answer_that_the_vocabulary_cannot_spell_is_never_given_up_for_want_of_tokens() {
        let sought = ExpectedAnswer { trigger: "the answer is ", answer: "是" };
        let vocabulary = vocabulary();
        for known in [Some(vocabulary.as_slice()), None] {
            let verdicts = Verdicts::new([sought].into_iter(), known);
            assert!(!verdicts.hopeless(&sought, "the", b"the", 0));
            assert!(verdicts.hopeless(&sought, "the answer is x", b"the answer is x", 9), "something else was said");
        }
    }

    #[test]
    fn a_character_in_three_tokens_is_waited_for() {
        let bytes: Vec<Vec<u8>> = (0..=255u8).map(|byte| vec![byte]).chain([b"the answer is ".to_vec()]).collect();
        let sought = ExpectedAnswer { trigger: "the answer is ", answer: "是" };
        let tokens: Vec<Vec<u8>> =
            [b"the answer is ".to_vec()].into_iter().chain("是".bytes().map(|b| vec![b])).collect();
        assert_eq!(judge(&sought, &bytes, &tokens), (true, false));
        let verdicts = Verdicts::new([sought].into_iter(), Some(&bytes));
        assert!(!verdicts.hopeless(&sought, "", b"", 4) && verdicts.hopeless(&sought, "", b"", 3));
    }

    /// Cases of the property tests, by a seed that a failure prints; `REFT_TEST_SEED` repeats one.
    fn random_cases(cases: u32, check: impl Fn(&mut ChaCha8Rng)) {
        let given = std::env::var("REFT_TEST_SEED").ok().map(|seed| seed.parse().expect("a number"));
        let seed: u64 = given.unwrap_or_else(rand::random);
        eprintln!("REFT_TEST_SEED={seed}");
        (0..cases).for_each(|case| check(&mut ChaCha8Rng::seed_from_u64(seed.wrapping_add(case.into()))));
    }

    /// A text of a few random characters of one to four bytes, white space among them.
    fn text(rng: &mut ChaCha8Rng, most: usize) -> String {
        let blocks: [(u32, u32); 8] = [
            (0x20, 0x7E),
            (0xA0, 0x17F),
            (0x300, 0x36F),
            (0x600, 0x6FF),
            (0x2000, 0x200A),
            (0x3000, 0x3050),
            (0x4E00, 0x4F00),
            (0x1F600, 0x1F64F),
        ];
        let letter = |rng: &mut ChaCha8Rng| {
            let (first, last) = blocks[rng.random_range(0..blocks.len())];
            char::from_u32(rng.random_range(first..=last)).unwrap_or('x')
        };
        (0..rng.random_range(1..=most)).map(|_| letter(rng)).collect()
    }

    /// The bytes of a text in random tokens, which often end in the middle of a character.
    fn tokens(rng: &mut ChaCha8Rng, text: &[u8]) -> Vec<Vec<u8>> {
        let mut tokens = vec![Vec::new()];
        for &byte in text {
            if rng.random_bool(0.5) {
                tokens.push(Vec::new());
            }
            tokens.last_mut().expect("one").push(byte);
        }
        tokens.retain(|token| !token.is_empty());
        tokens
    }

    #[test]
    fn a_right_answer_in_any_letters_and_tokens_is_never_given_up() {
        random_cases(3000, |rng| {
            let (trigger, answer) = (text(rng, 6), text(rng, 4));
            let sought = ExpectedAnswer { trigger: &trigger, answer: &answer };
            let around = [" ", "", "\u{3000}", "\n"];
            let [before, between, behind] = std::array::from_fn(|_| around[rng.random_range(0..around.len())]);
            let said = format!("{before}{trigger}{between}{answer}{behind}");
            let spelled = tokens(rng, said.as_bytes());
            // The vocabulary: these tokens, others of the same text, and every byte or not.
            let mut vocabulary = [spelled.clone(), tokens(rng, said.as_bytes())].concat();
            if rng.random_bool(0.5) {
                vocabulary.extend((0..=255u8).map(|byte| vec![byte]));
            }
            let (right, given_up) = judge(&sought, &vocabulary, &spelled);
            // What follows the trigger may be white space of the answer itself, or hold the trigger again.
            assert!(!(right && given_up), "{sought:?} in {spelled:?}");
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn answers_that_were_stopped_early_would_have_been_wrong(
            head in prop::collection::vec(prop::sample::select(VOCABULARY), 0..3),
            body in prop::sample::subsequence(vec!["the answer", "the", " answer", " is", " a12", " ", "a", "12"], 0..8),
            tail in prop::collection::vec(prop::sample::select(VOCABULARY), 0..3),
        ) {
            let tokens: Vec<Vec<u8>> = [head, body, tail].concat().into_iter().map(Into::into).collect();
            prop_assert_ne!(judge(&SOUGHT, &vocabulary(), &tokens), (true, true), "{:?}", tokens);
        }
    }
}
