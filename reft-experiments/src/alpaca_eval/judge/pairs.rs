//! A model's outputs beside the reference's.

use std::collections::HashMap;

use crate::alpaca_eval::one_line;
use crate::alpaca_eval::outputs::ModelOutput;

/// Two outputs for one instruction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutputPair {
    /// The model's.
    pub model: ModelOutput,
    /// The reference's.
    pub reference: ModelOutput,
}

/// All pairs, in the order of the model's outputs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutputPairs {
    /// The pairs.
    pub pairs: Vec<OutputPair>,
    /// Instructions of the reference that the model did not answer.
    pub unanswered: usize,
}

/// Outputs that cannot be compared with anything.
#[derive(Debug, thiserror::Error)]
#[error(
    "{missing} of {all} instructions have no output in the reference, the first is `{first}`: \
     give the reference's outputs for the same instructions"
)]
pub struct PairError {
    /// Outputs without a reference.
    missing: usize,
    /// Outputs.
    all: usize,
    /// An instruction without a reference, shortened.
    first: String,
}

impl OutputPairs {
    /// Pairs outputs by instruction, in whatever order they come.
    ///
    /// # Errors
    /// When the reference lacks an instruction.
    pub fn new(outputs: Vec<ModelOutput>, reference: Vec<ModelOutput>) -> Result<Self, PairError> {
        let all = outputs.len();
        let mut reference: HashMap<String, ModelOutput> =
            reference.into_iter().map(|output| (output.instruction.clone(), output)).collect();
        let (mut pairs, mut missing) = (Vec::new(), Vec::new());
        for model in outputs {
            match reference.remove(&model.instruction) {
                Some(reference) => pairs.push(OutputPair { model, reference }),
                None => missing.push(model.instruction),
            }
        }
        match missing.first() {
            Some(first) => Err(PairError { missing: missing.len(), all, first: one_line(first, 60) }),
            None => Ok(Self { pairs, unanswered: reference.len() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs(generator: &str, instructions: &[&str]) -> Vec<ModelOutput> {
        let output = |instruction: &&str| ModelOutput {
            dataset: None,
            instruction: (*instruction).to_owned(),
            output: format!("{generator} to {instruction}"),
            generator: generator.to_owned(),
        };
        instructions.iter().map(output).collect()
    }

    #[test]
    fn outputs_are_paired_by_instruction() {
        let paired =
            OutputPairs::new(outputs("m", &["p", "q"]), outputs("r", &["q", "s", "p"])).expect("all are there");
        let said: Vec<_> =
            paired.pairs.iter().map(|pair| (pair.model.output.as_str(), pair.reference.output.as_str())).collect();
        assert_eq!(said, [("m to p", "r to p"), ("m to q", "r to q")]);
        assert_eq!(paired.unanswered, 1);
    }

    #[test]
    fn instructions_without_a_reference_are_counted() {
        let error =
            OutputPairs::new(outputs("m", &["p", "one\ntwo", "q"]), outputs("r", &["q"])).expect_err("two are missing");
        let expected = "2 of 3 instructions have no output in the reference, the first is `p`: ";
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}
