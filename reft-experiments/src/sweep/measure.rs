//! The objective value that trials are compared by.

use serde::{Deserialize, Serialize};

use crate::config::plan::RunPlan;
use crate::score::grade::Unit;
use crate::score::metric;
use crate::score::scoring::Scoring;
use crate::tasks::TaskId;
use crate::tasks::labelled::LabelledTask;

/// What a trial is judged by, on the dev rows of `data.eval`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialMetric {
    /// Right answers in %, or what a user's data set is scored by: the mean over tasks.
    #[default]
    Accuracy,
    /// Answers preferred to a reference's in %, the mean over tasks; needs a judge (`reft judge`).
    WinRate,
    /// What GLUE measures the one task of an encoder by, in %: Matthews' or Pearson's correlation, or accuracy.
    Glue,
}

impl TrialMetric {
    /// The name in messages, for runs on the tasks of this one.
    pub fn name(self, run: &RunPlan) -> String {
        match (self, labelled(run)) {
            (Self::Accuracy, _) => {
                let mut names: Vec<String> = run.data.eval.iter().map(|&id| scored_by(id)).collect();
                names.dedup();
                names.join(" and ")
            }
            (Self::WinRate, _) => "win rate".to_owned(),
            (Self::Glue, Some(task)) => task.metric().to_string(),
            (Self::Glue, None) => "a metric of GLUE".to_owned(),
        }
    }

    /// What a run's score is measured in.
    ///
    /// # Errors
    /// When its tasks are measured in different units, which have no mean: in which, and what to do.
    pub fn unit(self, run: &RunPlan) -> Result<Unit, String> {
        let unit = |id: &TaskId| id.task().own().map_or(Unit::Percent, |set| set.scoring.unit());
        let mut units = run.data.eval.iter().map(unit);
        let first = units.next().unwrap_or(Unit::Percent);
        if self == Self::WinRate || units.all(|unit| unit == first) {
            return Ok(first);
        }
        let said = run.data.eval.iter().map(|&id| format!("{} by {}", id.key(), scored_by(id)));
        Err(format!(
            "{} have no mean to choose by: score all data sets alike, or make a sweep for each",
            said.collect::<Vec<_>>().join(", ")
        ))
    }

    /// Whether the tasks that a run scores are measured so.
    ///
    /// # Errors
    /// If not: what they are measured by.
    pub fn fits(self, run: &RunPlan) -> Result<(), String> {
        let judged = |judged: bool| run.data.eval.iter().all(|id| id.task().judged() == judged);
        let fits = match (self, labelled(run)) {
            (Self::Glue, task) => task.is_some(),
            (Self::Accuracy, Some(task)) => task.metric() == metric::Metric::Accuracy,
            (Self::WinRate, Some(_)) => false,
            (Self::Accuracy, None) => judged(false),
            (Self::WinRate, None) => judged(true),
        };
        let tasks = || run.data.eval.iter().map(|id| id.key()).collect::<Vec<_>>().join(", ");
        let reason = || {
            format!(
                "{} is not how {} is scored: accuracy for tasks with right answers, win_rate for judged ones, glue for an \
                 encoder's",
                if self == Self::Accuracy { "accuracy".to_owned() } else { self.name(run) },
                tasks()
            )
        };
        if fits { Ok(()) } else { Err(reason()) }
    }
}

/// What a task is scored by, in a word.
fn scored_by(id: TaskId) -> String {
    match id.task().own().map(|set| &set.scoring) {
        Some(graded @ (Scoring::WordsF1 | Scoring::RougeL | Scoring::Bleu | Scoring::Nll | Scoring::Perplexity)) => {
            graded.to_string()
        }
        Some(Scoring::Choices) => "acc".to_owned(),
        _ => metric::Metric::Accuracy.to_string(),
    }
}

/// The labelled task that a run scores, if it is one.
fn labelled(run: &RunPlan) -> Option<&'static dyn LabelledTask> {
    run.data.eval.first().and_then(|id| id.task().labelled())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::read::resolve;
    use crate::score::grade::Grade;

    #[test]
    fn a_score_of_the_users_has_its_own_name_and_unit_and_different_ones_have_no_mean() {
        let set = |name: &str, score: &str| json!({"name": name, "file": format!("{name}.jsonl"), "prompt": "q", "completion": "a", "score": score});
        let of = |sets: Vec<serde_json::Value>| {
            resolve(json!({"data": {"train": sets.clone(), "eval": sets}}), "a test").expect("valid")
        };
        let metric = TrialMetric::Accuracy;
        let (loss, words) =
            (of(vec![set("a", "nll"), set("b", "nll")]), of(vec![set("c", "exact"), set("d", "rouge_l")]));
        assert_eq!((metric.name(&loss), metric.unit(&loss)), ("nll".to_owned(), Ok(Unit::Loss(Grade::Nll))));
        assert_eq!((metric.name(&words), metric.unit(&words)), ("accuracy and rouge_l".to_owned(), Ok(Unit::Percent)));
        for scores in [["nll", "exact"], ["nll", "perplexity"]] {
            let mixed = of(vec![set("e", scores[0]), set("f", scores[1])]);
            let reason = metric.unit(&mixed).expect_err("refused");
            assert!(reason.starts_with("e by nll, f by ") && reason.contains("a sweep for each"), "{reason}");
        }
    }

    #[test]
    fn a_metric_fits_the_tasks_that_are_measured_by_it() {
        let (accuracy, win_rate, glue) = (TrialMetric::Accuracy, TrialMetric::WinRate, TrialMetric::Glue);
        let cases = [
            (vec!["arc_e", "boolq"], vec![accuracy], "a metric of GLUE"),
            (vec!["alpaca_2k"], vec![win_rate], "a metric of GLUE"),
            (vec!["arc_e", "alpaca_2k"], vec![], "a metric of GLUE"),
            (vec!["cola"], vec![glue], "Matthews correlation"),
            (vec!["stsb"], vec![glue], "Pearson correlation"),
            (vec!["mrpc"], vec![accuracy, glue], "accuracy"),
        ];
        for (tasks, fitting, name) in cases {
            let run = resolve(json!({"data": {"train": tasks, "eval": tasks}}), "a test").expect("valid");
            for metric in [accuracy, win_rate, glue] {
                assert_eq!(metric.fits(&run).is_ok(), fitting.contains(&metric), "{metric:?} {tasks:?}");
            }
            assert_eq!(glue.name(&run), name);
        }
        let run = resolve(json!({"data": {"train": ["cola"], "eval": ["cola"]}}), "a test").expect("valid");
        let reason = accuracy.fits(&run).expect_err("refused");
        assert!(reason.starts_with("accuracy is not how cola is scored") && reason.contains("glue for"), "{reason}");
    }
}
