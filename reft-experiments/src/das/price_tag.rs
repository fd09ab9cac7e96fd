//! Price tagging: does an amount lie between two bounds? The causal variable is `amount ≥ lower bound`.
//!
//! Lower bounds are uniform in [0.05, 9.95 − width], widths in [2.50, 7.50], amounts in [0.01, 9.99], two decimals. Regions of
//! base and source are drawn so that the counterfactual answer is yes or no with probability 1/2 each.

use anyhow::{Result, bail};
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use reft_models::tokenizer::{Specials, Tokenizer};

use super::search::InterchangePair;

/// Where an amount lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Region {
    Below,
    Inside,
    Above,
}

/// Regions of base and source after whose interchange of `amount ≥ lower bound` the answer is yes.
const YES: [(Region, Region); 4] = [
    (Region::Below, Region::Inside),
    (Region::Below, Region::Above),
    (Region::Inside, Region::Inside),
    (Region::Inside, Region::Above),
];
/// And no.
const NO: [(Region, Region); 5] = [
    (Region::Below, Region::Below),
    (Region::Inside, Region::Below),
    (Region::Above, Region::Below),
    (Region::Above, Region::Inside),
    (Region::Above, Region::Above),
];

/// The task in a model's tokens.
pub struct PriceTag<'a> {
    tokenizer: &'a Tokenizer,
    yes: i64,
    no: i64,
}

/// An amount and its bounds, in cents.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Tag {
    lower: u32,
    upper: u32,
    amount: u32,
}

impl Tag {
    fn drawn(rng: &mut ChaCha8Rng, region: Region) -> Self {
        loop {
            let width = rng.random_range(250..=750);
            let lower = rng.random_range(5..=995 - width);
            let (upper, amount) = (lower + width, rng.random_range(1..=999));
            let found = if amount < lower {
                Region::Below
            } else if amount <= upper {
                Region::Inside
            } else {
                Region::Above
            };
            if found == region {
                return Self { lower, upper, amount };
            }
        }
    }

    fn text(self) -> String {
        let dollars = |cents: u32| format!("{}.{:02}", cents / 100, cents % 100);
        let [lower, upper, amount] = [self.lower, self.upper, self.amount].map(dollars);
        format!(
            "Say Yes if the item costs between {lower} and {upper} dollars, and No if it does not.\nThe item costs {amount} \
             dollars.\nAnswer:"
        )
    }
}

impl<'a> PriceTag<'a> {
    /// The task for this tokenizer.
    ///
    /// # Errors
    /// When yes and no begin with the same token.
    pub fn new(tokenizer: &'a Tokenizer) -> Result<Self> {
        let first = |word: &str| -> Result<i64> {
            let (stem, whole) = ("Answer:", format!("Answer: {word}"));
            let known = tokenizer.encode(stem, Specials::None)?.len();
            match tokenizer.encode(&whole, Specials::None)?.get(known) {
                Some(&id) => Ok(id),
                None => bail!("the tokenizer makes no token of ` {word}`"),
            }
        };
        let (yes, no) = (first("Yes")?, first("No")?);
        if yes == no {
            bail!(
                "this tokenizer begins Yes and No with the same token, so one token cannot answer: take another model"
            );
        }
        Ok(Self { tokenizer, yes, no })
    }

    /// A question with its answer.
    ///
    /// # Errors
    /// The tokenizer's.
    pub fn example(&self, rng: &mut ChaCha8Rng) -> Result<(Vec<i64>, i64)> {
        let inside = rng.random();
        let outside = [Region::Below, Region::Above].choose(rng).copied().unwrap_or(Region::Below);
        let tag = Tag::drawn(rng, if inside { Region::Inside } else { outside });
        let ids = self.tokenizer.encode(&tag.text(), Specials::AsModel)?;
        Ok((ids, if inside { self.yes } else { self.no }))
    }

    /// A base, a source, and the answer once the variable has the source's value.
    ///
    /// # Errors
    /// The tokenizer's.
    pub fn pair(&self, rng: &mut ChaCha8Rng) -> Result<InterchangePair> {
        let yes = rng.random();
        let drawn = if yes { YES.choose(rng) } else { NO.choose(rng) };
        let (base, source) = *drawn.expect("there are some");
        let mut encode = |region| self.tokenizer.encode(&Tag::drawn(rng, region).text(), Specials::AsModel);
        Ok(InterchangePair {
            base: encode(base)?,
            sources: vec![encode(source)?],
            label: if yes { self.yes } else { self.no },
        })
    }
}

#[cfg(test)]
mod tests {
    use reft_core::rng::Seed;

    use super::*;

    #[test]
    fn regions_and_answers_follow_the_causal_model() {
        let mut rng = Seed(1).stream("test", 0);
        for (pairs, answer) in [(&YES[..], true), (&NO[..], false)] {
            for &(base, source) in pairs {
                // At least the lower bound, as in the source; at most the upper bound, as in the base.
                assert_eq!(source != Region::Below && base != Region::Above, answer, "{base:?} {source:?}");
            }
        }
        for region in [Region::Below, Region::Inside, Region::Above] {
            for _ in 0..100 {
                let Tag { lower, upper, amount } = Tag::drawn(&mut rng, region);
                assert!((250..=750).contains(&(upper - lower)) && upper <= 995 && lower >= 5);
                assert_eq!(region == Region::Below, amount < lower);
                assert_eq!(region == Region::Above, amount > upper);
            }
        }
    }
}
