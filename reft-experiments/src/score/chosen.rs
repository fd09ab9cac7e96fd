//! Choices by likelihood, as lm-evaluation-harness counts them: `acc` by the sum of a choice's log-probabilities, `acc_norm` by the
//! sum divided by the choice's length in characters, `acc_bytes` in bytes of UTF-8.

/// Which choice is likeliest, in three ways of counting; the first of equals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LikeliestChoice {
    /// By log-likelihood.
    pub plain: usize,
    /// By log-likelihood for each character.
    pub by_characters: usize,
    /// By log-likelihood for each byte.
    pub by_bytes: usize,
}

impl LikeliestChoice {
    /// Of log-likelihoods of choices, whose texts are without what stands between prompt and choice.
    pub fn of(logs: &[f64], choices: &[&str]) -> Self {
        let divided = |length: fn(&str) -> usize| {
            let logs = logs.iter().zip(choices).map(|(log, choice)| log / length(choice).max(1) as f64);
            likeliest(&logs.collect::<Vec<_>>())
        };
        Self {
            plain: likeliest(logs),
            by_characters: divided(|choice| choice.chars().count()),
            by_bytes: divided(str::len),
        }
    }
}

/// The place of the largest number; the first of equals, as numpy's `argmax`.
fn likeliest(numbers: &[f64]) -> usize {
    let larger = |best: usize, at: usize| if numbers[at] > numbers[best] { at } else { best };
    (0..numbers.len()).reduce(larger).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_decides_by_characters_and_by_bytes() {
        let chosen = LikeliestChoice::of(&[-3.0, -4.0, -6.1], &["ab", "abcd", "ééé"]);
        // By character -1.5, -1.0, -2.03; by byte -1.5, -1.0, -1.02.
        assert_eq!(chosen, LikeliestChoice { plain: 0, by_characters: 1, by_bytes: 1 });
        assert_eq!(LikeliestChoice::of(&[-2.0, -2.0], &["a", "b"]).plain, 0, "the first of equals");
        assert_eq!(
            LikeliestChoice::of(&[-4.0, -5.9], &["abcd", "ééé"]),
            LikeliestChoice { plain: 0, by_characters: 0, by_bytes: 1 }
        );
    }
}
