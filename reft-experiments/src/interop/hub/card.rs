//! The card of an adapter: what the hub shows of a repository.

use std::fmt::Write;

use reft_core::adapter_file::AdapterConfig;
use serde_json::{Map, Value, json};

use crate::interop::origin::AdapterOrigin;
use crate::store::record::{Record, Score};

/// What a card is made from.
#[derive(Clone, Copy, Debug)]
pub struct Card<'a> {
    /// `owner/name`.
    pub repository: &'a str,
    /// The adapter's configuration.
    pub adapter: &'a AdapterConfig,
    /// Where it comes from.
    pub origin: &'a AdapterOrigin,
    /// The run that it comes from, where it is at hand.
    pub record: Option<&'a Record>,
}

impl Card<'_> {
    /// The whole `README.md`.
    pub fn text(&self) -> String {
        let front = serde_saphyr::to_string(&Value::Object(self.front())).expect("plain data");
        let title = self.repository.rsplit('/').next().unwrap_or_default();
        let mut text = format!("---\n{}\n---\n\n# {title}\n\n", front.trim_end());
        let AdapterConfig { base_model, adapt, .. } = self.adapter;
        let _ = writeln!(text, "An adapter ({}) of `{}`, written by reft-rs.\n", adapt.title(), base_model.id);
        let written = serde_json::to_value(adapt).expect("plain data");
        let method = serde_saphyr::to_string(&written).expect("plain data");
        let _ = writeln!(text, "```yaml\n{}\n```\n", method.trim_end());
        self.facts(&mut text);
        self.scores(&mut text);
        // A path of the machine that it was trained on says nothing elsewhere.
        let model = if std::path::Path::new(&base_model.id).exists() { " --model MODEL" } else { "" };
        let _ = writeln!(
            text,
            "## Use\n\n```sh\nreft pull {} --out {title}\nreft generate \"a prompt\" --adapter {title}/adapter{model}\n```",
            self.repository
        );
        text
    }

    fn front(&self) -> Map<String, Value> {
        let adapt = &self.adapter.adapt;
        let mut front = Map::from_iter([
            ("library_name".to_owned(), json!("reft")),
            ("tags".to_owned(), json!(["reft", adapt.key(), "adapter"])),
        ]);
        let base = self.origin.base_model.as_deref().unwrap_or(&self.adapter.base_model.id);
        let base = base.split('@').next().unwrap_or(base);
        // The hub takes names of its own only; an alias or a path stands in the text.
        if base.parse::<super::HubRepository>().is_ok() && !std::path::Path::new(base).exists() {
            front.insert("base_model".to_owned(), json!(base));
        }
        for (key, value) in [("license", &self.origin.license), ("author", &self.origin.trained_by)] {
            front.extend(value.iter().map(|value| (key.to_owned(), json!(value))));
        }
        if !self.origin.data.is_empty() {
            front.insert("datasets".to_owned(), json!(self.origin.data));
        }
        front
    }

    fn facts(&self, text: &mut String) {
        let AdapterOrigin { library, trained_by, data, license, .. } = self.origin;
        let base = &self.adapter.base_model;
        let mut facts = vec![("base model", format!("{} (weights {})", base.id, base.fingerprint))];
        facts.push(("made with", library.clone()));
        facts.extend(trained_by.clone().map(|who| ("trained by", who)));
        facts.extend((!data.is_empty()).then(|| ("trained on", data.join(", "))));
        facts.push(("license", license.clone().unwrap_or_else(|| "not stated".to_owned())));
        if let Some(record) = self.record {
            let (plan, parameters) = (&record.plan, record.parameters);
            let train = &plan.train;
            facts.push(("trained parameters", format!("{} ({:.4} %)", parameters.trainable, parameters.percent())));
            facts.push((
                "training",
                format!(
                    "{} epochs, batches of {}, rate {}, seed {}, {} weights, {:.0} s",
                    train.epochs,
                    train.batch_size,
                    train.lr,
                    plan.seed,
                    plan.dtype.name(),
                    record.cost.train_seconds
                ),
            ));
            facts.push(("run", record.id.to_string()));
        }
        text.extend(facts.iter().map(|(name, value)| format!("- {name}: {value}\n")));
        text.push('\n');
    }

    fn scores(&self, text: &mut String) {
        let Some(record) = self.record.filter(|record| !record.scores.is_empty()) else { return };
        let split = serde_json::to_value(&record.plan.data.eval_split).expect("plain data");
        let split = if split == "dev" { "dev rows".to_owned() } else { "test rows".to_owned() };
        let _ = writeln!(text, "| task | score | metric | n |\n| --- | --- | --- | --- |");
        for (task, score) in &record.scores {
            let metric = match score {
                Score::Counts { .. } => "accuracy".to_owned(),
                Score::Measured { metric, .. } => metric.to_string(),
                Score::Graded { grade, .. } => grade.to_string(),
                Score::Timed { .. } => "added time in % of the time without edits".to_owned(),
            };
            let _ = writeln!(text, "| {task} | {:.2} | {metric} | {} |", score.figure(), score.n());
        }
        let _ = writeln!(text, "\nScored on {split} of {} data.\n", record.plan.data.source);
    }
}
