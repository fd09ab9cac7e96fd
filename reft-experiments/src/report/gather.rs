//! What is known of every complete run: what lists show, and where and when it was made.

use std::path::Path;
use std::time::UNIX_EPOCH;

use rayon::prelude::*;
use reft_core::method::InterventionSpec;
use reft_core::{AdaptSpec, adaptations};
use serde::Deserialize;
use serde_json::Value;

use super::draw::number::setting;
use crate::store::RunPaths;
use crate::store::entries::{RecordSummary, entries};
use crate::store::environment::Environment;
use crate::tasks::TaskId;

/// A complete run.
#[derive(Clone, Debug)]
pub struct ReportRun {
    /// Its plan and its scores.
    pub entry: RecordSummary,
    /// What was trained, as tables print it.
    pub method: String,
    /// What else it depended on; none in a record that does not say.
    pub environment: Option<Environment>,
    /// When its record was written, in seconds since 1970.
    pub written: u64,
    /// Its files.
    pub paths: RunPaths,
}

/// A record without what the index tells already.
#[derive(Deserialize)]
struct RecordDetails {
    environment: Option<Environment>,
}

/// All complete runs, the one written last first, and what is wrong with others.
pub fn gather(runs: &Path) -> (Vec<ReportRun>, Vec<String>) {
    match entries(runs) {
        Err(error) => (Vec::new(), vec![error.to_string()]),
        Ok((entries, damaged)) => {
            let mut all: Vec<ReportRun> = entries.into_par_iter().map(|entry| run(runs, entry)).collect();
            all.sort_by(|a, b| b.written.cmp(&a.written).then_with(|| a.entry.id.cmp(&b.entry.id)));
            (all, damaged)
        }
    }
}

fn run(runs: &Path, entry: RecordSummary) -> ReportRun {
    let paths = RunPaths::new(runs, &entry.id);
    let record = paths.record();
    let kept: Option<RecordDetails> = std::fs::read(&record).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let modified = std::fs::metadata(&record).and_then(|about| about.modified()).ok();
    let written = modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map_or(0, |since| since.as_secs());
    let method = method(&entry.plan);
    ReportRun { entry, method, environment: kept.and_then(|kept| kept.environment), written, paths }
}

/// What a plan trains, as tables print it. Plans of older versions are read as far as they go.
fn method(plan: &Value) -> String {
    let adapt = &plan["adapt"];
    let in_words = plan["data"]["labels"] == "text";
    let task = &plan["data"]["eval"][0];
    let labelled =
        || task.as_str().is_some_and(|name| name.parse::<TaskId>().is_ok_and(|id| id.task().labelled().is_some()));
    let head = || !in_words && (task.get("label").is_some() || labelled());
    match adapt.as_object().and_then(|map| map.iter().next()) {
        None if head() => "Head only".to_owned(),
        None => "base model".to_owned(),
        Some((key, settings)) => match serde_json::from_value::<AdaptSpec>(adapt.clone()) {
            Ok(spec) => spec.title(),
            Err(_) => title_of_older(key, settings),
        },
    }
}

/// Of an adaptation whose settings this version does not read: what its interventions are called, or the kind's title.
fn title_of_older(key: &str, settings: &Value) -> String {
    let sets = settings.as_array().map_or(std::slice::from_ref(settings), Vec::as_slice).iter();
    let named = |intervention: &Value| match intervention.as_str().map(InterventionSpec::named) {
        Some(Ok(method)) => method.title().to_owned(),
        Some(Err(_)) | None => "custom".to_owned(),
    };
    let titles: Vec<String> = sets.filter_map(|set| set.get("intervention")).map(named).collect();
    let kind = || adaptations::registry().find(key).map_or(key, |entry| entry.title).to_owned();
    if titles.is_empty() { kind() } else { titles.join(" + ") }
}

impl ReportRun {
    /// A setting in words; nothing where the plan has none of that name.
    pub fn setting(&self, key: &str) -> String {
        self.entry.setting(key).map_or(String::new(), setting)
    }

    /// The tasks of `data.train` or `data.eval`, joined.
    pub fn tasks(&self, key: &str) -> String {
        let listed = self.entry.plan["data"][key].as_array().map(Vec::as_slice).unwrap_or_default();
        listed.iter().map(setting).collect::<Vec<_>>().join("+")
    }

    /// Which rows: `own` where all are of the user's data sets, else `embedded` or `real`.
    pub fn rows(&self) -> String {
        let mut listed = ["eval", "train"].into_iter().filter_map(|key| self.entry.plan["data"][key].as_array());
        let tasks = listed.find(|tasks| !tasks.is_empty());
        let is_own = tasks.is_some_and(|tasks| tasks.iter().all(|task| task.get("file").is_some()));
        if is_own { "own".to_owned() } else { self.setting("data.source") }
    }

    /// The commit, or a word for not knowing it.
    pub fn commit(&self) -> &str {
        self.environment.as_ref().map_or("unknown", |environment| environment.git_revision.as_str())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_trained_has_the_name_of_the_tables() {
        let named = [
            (json!(null), "base model"),
            (json!({"reft": {"intervention": "ortho_direft", "rank": 4}}), "OrthoDiReFT"),
            (json!({"reft": {"intervention": {"low_rank": {}}}}), "custom"),
            (json!({"refts": [{"intervention": "loreft"}, {"intervention": "red"}]}), "LoReFT + RED"),
            (json!({"bitfit": {}}), "BitFit"),
            (json!({"later": 3}), "later"),
        ];
        for (adapt, expected) in named {
            assert_eq!(method(&json!({"adapt": adapt, "data": {"eval": ["arc_e"]}})), expected);
        }
        assert_eq!(method(&json!({"adapt": null, "data": {"eval": ["cola"]}})), "Head only");
    }
}
