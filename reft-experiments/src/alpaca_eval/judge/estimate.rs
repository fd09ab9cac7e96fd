//! Cost estimate of judging, before a request is sent.

use std::fmt;

/// Dollars for a million tokens.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Prices {
    /// Of prompts.
    pub input: f64,
    /// Of replies.
    pub output: f64,
}

/// What is left to ask. Tokens are guessed: one for four characters, and replies as long as they may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CostEstimate {
    /// Pairs in all.
    pub pairs: usize,
    /// Those that no reply is kept for.
    pub left: usize,
    /// Tokens of their prompts, about.
    pub tokens_in: u64,
    /// Tokens of their replies, at most.
    pub tokens_out: u64,
}

impl CostEstimate {
    /// What that costs.
    pub fn dollars(&self, prices: Prices) -> f64 {
        (self.tokens_in as f64 * prices.input + self.tokens_out as f64 * prices.output) / 1e6
    }
}

impl fmt::Display for CostEstimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pairs, left, tokens_in, tokens_out } = self;
        write!(
            f,
            "estimate: {left} of {pairs} pairs to judge, about {tokens_in} tokens in and at most {tokens_out} out"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_for_a_million_tokens() {
        let estimate = CostEstimate { pairs: 805, left: 800, tokens_in: 600_000, tokens_out: 12_800 };
        // 0.6 · 30 + 0.0128 · 60 = 18 + 0.768
        assert!((estimate.dollars(Prices { input: 30.0, output: 60.0 }) - 18.768).abs() < 1e-9);
        let said = "estimate: 800 of 805 pairs to judge, about 600000 tokens in and at most 12800 out";
        assert_eq!(estimate.to_string(), said);
    }
}
