//! Hierarchical equality: four entities `W X Y Z` and a query; the answer is `(W = X) = (Y = Z)`.
//!
//! The causal model has two variables between input and answer, `WX := (W = X)` and `YZ := (Y = Z)`. Base inputs are of the
//! four kinds `AB CD`, `AA BB`, `AA CD`, `AB CC`, with probability 1/4 each.

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::search::InterchangePair;

/// Answer token: the pairs are alike.
pub const TRUE: i64 = 0;
/// Answer token: they are not.
pub const FALSE: i64 = 1;
/// The query token, after the four entities.
const QUERY: i64 = 2;
/// The first entity's token.
const FIRST: i64 = 3;

/// Entities there are.
pub const ENTITIES: i64 = 8;
/// Tokens there are.
pub const VOCABULARY: i64 = FIRST + ENTITIES;
/// The tokens of an input.
pub const TOKENS: [&str; 5] = ["W", "X", "Y", "Z", "query"];

/// A variable of the causal model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Variable {
    /// `W = X`.
    Wx,
    /// `Y = Z`.
    Yz,
}

impl Variable {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Wx, Self::Yz];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wx => "WX",
            Self::Yz => "YZ",
        }
    }

    /// The token where its second entity stands, from the end (1: the last): the first at which a causal model can know it.
    pub fn back(self) -> usize {
        let at = match self {
            Self::Wx => 1,
            Self::Yz => 3,
        };
        TOKENS.len() - at
    }
}

/// Two entities, equal or not.
fn two(rng: &mut ChaCha8Rng, equal: bool) -> [i64; 2] {
    let all: Vec<i64> = (FIRST..FIRST + ENTITIES).collect();
    let drawn: Vec<i64> = all.choose_multiple(rng, 2).copied().collect();
    if equal { [drawn[0]; 2] } else { [drawn[0], drawn[1]] }
}

/// An input whose variables have these values.
fn input(rng: &mut ChaCha8Rng, wx: bool, yz: bool) -> Vec<i64> {
    [two(rng, wx), two(rng, yz)].concat().into_iter().chain([QUERY]).collect()
}

fn answer(wx: bool, yz: bool) -> i64 {
    if wx == yz { TRUE } else { FALSE }
}

/// An input with its answer.
pub fn example(rng: &mut ChaCha8Rng) -> (Vec<i64>, i64) {
    let (wx, yz) = (rng.random(), rng.random());
    (input(rng, wx, yz), answer(wx, yz))
}

/// A base, a source for each of these variables, and the answer once each variable has its source's value.
pub fn pair(rng: &mut ChaCha8Rng, variables: &[Variable]) -> InterchangePair {
    let (mut wx, mut yz): (bool, bool) = rng.random();
    let drawn: Vec<(bool, bool)> = variables.iter().map(|_| rng.random()).collect();
    let base = input(rng, wx, yz);
    let sources = drawn.iter().map(|&(wx, yz)| input(rng, wx, yz)).collect();
    for (variable, (source_wx, source_yz)) in variables.iter().zip(drawn) {
        match variable {
            Variable::Wx => wx = source_wx,
            Variable::Yz => yz = source_yz,
        }
    }
    InterchangePair { base, sources, label: answer(wx, yz) }
}

#[cfg(test)]
mod tests {
    use reft_core::rng::Seed;

    use super::*;

    #[test]
    fn answers_follow_the_causal_model_and_are_balanced() {
        let mut rng = Seed(1).stream("test", 0);
        let alike = |ids: &[i64]| (ids[0] == ids[1], ids[2] == ids[3]);
        let (mut yes, mut changed) = (0, 0);
        for _ in 0..2000 {
            let (ids, label) = example(&mut rng);
            let (wx, yz) = alike(&ids);
            assert_eq!(label, answer(wx, yz));
            yes += usize::from(label == TRUE);
            for variable in Variable::ALL {
                let pair = pair(&mut rng, &[variable]);
                let ((wx, yz), (source_wx, source_yz)) = (alike(&pair.base), alike(&pair.sources[0]));
                let expected = match variable {
                    Variable::Wx => answer(source_wx, yz),
                    Variable::Yz => answer(wx, source_yz),
                };
                assert_eq!(pair.label, expected);
                changed += usize::from(pair.label != answer(wx, yz));
            }
            let both = pair(&mut rng, &Variable::ALL);
            assert_eq!(both.label, answer(alike(&both.sources[0]).0, alike(&both.sources[1]).1));
        }
        assert!((900..1100).contains(&yes), "{yes} of 2000");
        assert!((1850..2150).contains(&changed), "{changed} of 4000");
    }
}
