//! What trials are compared by.

use serde::{Deserialize, Serialize};

use crate::config::plan::RunPlan;
use crate::score::metric;
use crate::tasks::labelled::LabelledTask;

/// What a trial is judged by, on the dev rows of `data.eval`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialMetric {
    /// Right answers in %, the mean over tasks.
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
            (Self::Accuracy, _) => "accuracy".to_owned(),
            (Self::WinRate, _) => "win rate".to_owned(),
            (Self::Glue, Some(task)) => task.metric().to_string(),
            (Self::Glue, None) => "a metric of GLUE".to_owned(),
        }
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
                self.name(run),
                tasks()
            )
        };
        if fits { Ok(()) } else { Err(reason()) }
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
