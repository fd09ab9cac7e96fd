//! What was answered to each row, as `predictions-TASK.jsonl` keeps it: one form for causal models and encoders.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::alpaca_eval::outputs::ModelOutput;
use crate::data::json_fault::in_words;
use crate::data::text::{self, TextError};
use crate::score::grade::{Grade, Graded};
use crate::score::overlap_of_words::{bleu, rouge_l, words_f1};
use crate::score::scoring::Scoring;
use crate::store::record::Score;
use crate::tasks::TaskId;

/// One row's answer.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Prediction {
    /// What the model was asked; of a pair of texts the first.
    pub instruction: String,
    /// The row's further text; of a pair of texts the second.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub input: String,
    /// What a causal model said, special tokens left out; cut where it could no longer become right, if
    /// `eval.early_verdict`. Of an encoder the class by its name, or the score with three digits.
    pub said: String,
    /// The answer found in it; of an encoder the same as `said`.
    pub answer: String,
    /// The right answer.
    pub expected: String,
    /// Whether they agree; none where both are scores, whose correlation counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correct: Option<bool>,
    /// Whether the prompt of a causal model was longer than `data.max_length` and lost its end.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
    /// What completions or choices were scored by, where nothing is generated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub likelihood: Option<ByLikelihood>,
}

/// What a row is scored by where nothing is generated.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ByLikelihood {
    /// Log-likelihood of the completion, or of each choice, in nats.
    pub logs: Vec<f64>,
    /// Tokens that these are sums over.
    pub tokens: usize,
    /// Whether the choice that is likeliest for each of its characters is right; none of a completion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen_by_length: Option<bool>,
}

/// Predictions that cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum PredictionError {
    /// Not writable.
    #[error("{path}: {source}: check the path, its permissions and the space left")]
    Write {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// Not readable as a text.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A line that is no prediction.
    #[error(
        "{path}:{line}: {reason}: the file is damaged or holds something else; delete the run's folder to repeat the run"
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

/// A line as this version or an older one wrote it. Encoders' lines once had other keys, and neither `answer` nor
/// `correct`.
#[derive(Deserialize)]
struct PredictionLine {
    #[serde(alias = "text")]
    instruction: Option<String>,
    #[serde(default, alias = "second")]
    input: String,
    said: Option<String>,
    answer: Option<String>,
    expected: Option<String>,
    correct: Option<bool>,
    #[serde(default)]
    cut: bool,
    #[serde(default)]
    likelihood: Option<ByLikelihood>,
}

impl PredictionLine {
    /// The prediction; the key that is missing where there is none.
    fn prediction(self, task: TaskId) -> Result<Prediction, &'static str> {
        let Self { instruction, input, said, answer, expected, correct, cut, likelihood } = self;
        let (instruction, said) = (instruction.ok_or("instruction")?, said.ok_or("said")?);
        let expected = expected.ok_or("expected")?;
        let (answer, correct) = match task.task().labelled() {
            None => {
                (answer.ok_or("answer")?, if likelihood.is_some() { correct } else { Some(correct.ok_or("correct")?) })
            }
            Some(labelled) => {
                let agrees = labelled.labels().are_classes().then(|| said == expected);
                (answer.unwrap_or_else(|| said.clone()), correct.or(agrees))
            }
        };
        Ok(Prediction { instruction, input, said, answer, expected, correct, cut, likelihood })
    }
}

/// Predictions of a task that were kept.
///
/// # Errors
/// When the file is missing, or a line is no prediction.
pub fn load(path: &Path, task: TaskId) -> Result<Vec<Prediction>, PredictionError> {
    let text = text::read(path)?;
    let one = |(line, text): (usize, &str)| {
        let error = |reason| PredictionError::Line { path: path.to_owned(), line, reason };
        let parsed = serde_json::from_str::<PredictionLine>(text).map_err(|cause| {
            error(if cause.is_data() { "not a prediction".to_owned() } else { in_words(text, &cause).to_string() })
        })?;
        parsed.prediction(task).map_err(|key| error(format!("the prediction has no `{key}`")))
    };
    (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()).map(one).collect()
}

/// Keeps the predictions, one JSON object a line.
///
/// # Errors
/// When the file system refuses.
pub fn save(predictions: &[Prediction], path: &Path) -> Result<(), PredictionError> {
    let line = |prediction| serde_json::to_string(prediction).expect("plain data") + "\n";
    let lines: String = predictions.iter().map(line).collect();
    crate::atomic::write(path, lines.as_bytes())
        .map_err(|source| PredictionError::Write { path: path.to_owned(), source })
}

/// The predictions as a file of model outputs, to be judged.
pub fn outputs_of(predictions: &[Prediction], dataset: &str, generator: &str) -> Vec<ModelOutput> {
    let output = |prediction: &Prediction| ModelOutput {
        dataset: Some(dataset.to_owned()),
        instruction: prediction.instruction.clone(),
        output: prediction.answer.clone(),
        generator: generator.to_owned(),
    };
    predictions.iter().map(output).collect()
}

/// Right answers among the predictions.
pub fn count(predictions: &[Prediction]) -> Score {
    Score::Counts {
        correct: predictions.iter().filter(|prediction| prediction.correct == Some(true)).count(),
        n: predictions.len(),
        cut: predictions.iter().filter(|prediction| prediction.cut).count(),
    }
}

/// What these predictions of a user's data set come to.
pub fn graded(scoring: &Scoring, predictions: &[Prediction]) -> Score {
    let n = predictions.len();
    let mean = |of: fn(&str, &str) -> f64| {
        predictions.iter().map(|one| of(&one.said, &one.expected)).sum::<f64>() / n.max(1) as f64
    };
    let part = |right: usize| right as f64 / n.max(1) as f64;
    let nll = || {
        let by = || predictions.iter().filter_map(|one| one.likelihood.as_ref());
        let tokens: usize = by().map(|by| by.tokens).sum();
        -by().flat_map(|by| &by.logs).sum::<f64>() / tokens.max(1) as f64
    };
    let graded = |grade, value, second| {
        let cut = predictions.iter().filter(|one| one.cut).count();
        Score::Graded { grade, value, n, cut, second }
    };
    match scoring {
        Scoring::WordsF1 => graded(Grade::WordsF1, mean(words_f1), None),
        Scoring::RougeL => graded(Grade::RougeL, mean(rouge_l), None),
        Scoring::Bleu => {
            let pairs = predictions.iter().map(|one| (one.said.as_str(), one.expected.as_str()));
            graded(Grade::Bleu, bleu(pairs), None)
        }
        Scoring::Nll => graded(Grade::Nll, nll(), None),
        Scoring::Perplexity => graded(Grade::Perplexity, nll().exp(), None),
        Scoring::Choices => {
            let right = predictions.iter().filter(|one| one.correct == Some(true)).count();
            let by_length =
                |one: &&Prediction| one.likelihood.as_ref().is_some_and(|by| by.chosen_by_length == Some(true));
            let value = part(predictions.iter().filter(by_length).count());
            graded(Grade::Acc, part(right), Some(Graded { grade: Grade::AccNorm, value }))
        }
        Scoring::Exact
        | Scoring::Contains
        | Scoring::Regex(_)
        | Scoring::Number
        | Scoring::Letter
        | Scoring::Judge
        | Scoring::Accuracy
        | Scoring::F1Macro
        | Scoring::F1Micro
        | Scoring::Matthews
        | Scoring::Pearson
        | Scoring::Spearman => count(predictions),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(task: &str, text: &str) -> Result<Vec<Prediction>, String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("predictions.jsonl");
        std::fs::write(&path, text).expect("writable");
        load(&path, task.parse().expect("a task")).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_kept_is_read_again_and_older_lines_of_encoders_too() {
        let prediction = |correct, cut, input: &str| Prediction {
            instruction: "q \"1\"\n".to_owned(),
            input: input.to_owned(),
            said: "1".to_owned(),
            answer: "1".to_owned(),
            expected: "0".to_owned(),
            correct,
            cut,
            likelihood: None,
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("p.jsonl");
        for (task, all) in [
            ("arc_e", vec![prediction(Some(false), true, ""), prediction(Some(true), false, "more")]),
            ("stsb", vec![prediction(None, false, "second")]),
        ] {
            save(&all, &path).expect("writable");
            assert_eq!(load(&path, task.parse().expect("a task")).expect("valid"), all);
        }
        let old = r#"{"text":"a","second":"b","expected":"1","said":"1"}"#;
        let of = |task| read(task, old).expect("valid").remove(0);
        let mrpc = of("mrpc");
        assert_eq!((mrpc.instruction.as_str(), mrpc.input.as_str(), mrpc.answer.as_str()), ("a", "b", "1"));
        assert_eq!((mrpc.correct, of("stsb").correct), (Some(true), None));
    }

    #[test]
    fn a_line_that_is_no_prediction_is_named() {
        let good = r#"{"instruction":"q","said":"a","answer":"a","expected":"a","correct":true}"#;
        for (line, expected) in [
            ("{\"instruction\": \"q\"", "predictions.jsonl:2: the file or the line ends in the middle"),
            ("[1]", "predictions.jsonl:2: not a prediction"),
            (r#"{"instruction":"q","said":"a"}"#, "predictions.jsonl:2: the prediction has no `expected`"),
            (r#"{"instruction":"q","said":"a","answer":"a","expected":"a"}"#, ":2: the prediction has no `correct`"),
        ] {
            let error = read("arc_e", &format!("{good}\n{line}\n")).expect_err(line);
            assert!(error.contains(expected) && error.contains("repeat the run"), "{error}");
            assert!(!error.contains("permissions"), "{error}");
        }
    }
}
