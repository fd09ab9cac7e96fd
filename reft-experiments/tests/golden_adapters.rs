//! Folders that pyreft and peft saved: read, put on their base, compared by logits; written back, read again; merged.

#[path = "support/golden.rs"]
mod golden;

use std::path::{Path, PathBuf};

use golden::{Tensors, load_head};
use reft_core::adaptation::{Adaptation, Mode};
use reft_core::adapter_file;
use reft_core::layout::{Extent, Layout};
use reft_core::rng::Seed;
use reft_core::testing::{Tol, assert_close, golden_dir, golden_json, golden_tensors};
use reft_experiments::interop::merge::Merged;
use reft_experiments::interop::ours::{AdapterOnBase, LoadedBase, tensors_of};
use reft_experiments::interop::{self, ImportSettings, ImportedAdapter, model_folder, peft_export, pyreft_export};
use reft_experiments::train::head::ClassificationHead;
use reft_models::attention::PastKeyValues;
use reft_models::encoder::{DropoutRates, Encoder, EncoderPass};
use reft_models::model::{Decoder, Pass};
use reft_models::registry;
use reft_models::weights::Weights;
use serde_json::Value;
use tch::{Device, Kind, Tensor, no_grad};

const LOGITS: Tol = Tol::Absolute(1e-4);

/// A folder of a library with its base and what it must give.
struct Case {
    name: String,
    folder: PathBuf,
    model: PathBuf,
    json: Value,
    tensors: Tensors,
}

impl Case {
    fn base(&self) -> LoadedBase {
        LoadedBase::open(self.model.to_str().expect("a name")).expect("a base")
    }

    /// Logits of the real tokens of every row, or scores of the classes.
    fn logits(&self, model: &Path, adaptation: Option<&dyn Adaptation>, head: &Tensors) -> Vec<Tensor> {
        let weights = Weights::open(model).expect("a model");
        let step = adaptation.map(|adaptation| adaptation.begin(Mode::Eval));
        let (ids, mask) = (&self.tensors["input_ids"], &self.tensors["attention_mask"]);
        let decoder = registry::load(&weights, Kind::Float, Device::Cpu).ok();
        let row = |row: i64| {
            let len = mask.get(row).sum(Kind::Int64).int64_value(&[]);
            let ids = ids.get(row).narrow(0, 0, len);
            let layout = Layout::packed(&[Extent { len, prompt: len }]);
            let hooks = step.as_ref().map(|step| step.hooks(&layout).expect("disjoint"));
            let hooks = hooks.as_deref().unwrap_or(&reft_core::hooks::NoHooks);
            let own = step.as_ref().and_then(|step| step.weights());
            no_grad(|| {
                if let Some(model) = &decoder {
                    let own = own.map(|own| model.on(own).expect("its own"));
                    let model: &dyn Decoder = own.as_deref().unwrap_or(model.as_ref());
                    let mut pass = Pass { layout: &layout, hooks, cache: PastKeyValues::None, wanted: None };
                    return model.logits(&model.hidden(&ids, &mut pass));
                }
                let model = Encoder::load(&weights, Kind::Float, Device::Cpu).expect("an encoder");
                let own = own.map(|own| model.on(own).expect("its own"));
                let reading = EncoderPass { layout: &layout, hooks, mode: Mode::Eval };
                let first = own.as_ref().unwrap_or(&model).hidden(&ids, None, &reading).narrow(0, 0, 1);
                if head.is_empty() { model.classify(&first).expect("a head").get(0) } else { scores(head, &first) }
            })
        };
        (0..ids.size()[0]).map(row).collect()
    }

    fn expected(&self, name: &str) -> Vec<Tensor> {
        let (all, mask) = (&self.tensors[name], &self.tensors["attention_mask"]);
        let row = |row: i64| {
            let of_row = all.get(row);
            let len = mask.get(row).sum(Kind::Int64).int64_value(&[]);
            if of_row.dim() == 2 { of_row.narrow(0, 0, len) } else { of_row }
        };
        (0..all.size()[0]).map(row).collect()
    }

    fn check(&self, what: &str, got: &[Tensor], name: &str) {
        for (row, (got, expected)) in got.iter().zip(self.expected(name)).enumerate() {
            assert_close(&format!("{}: {what}, row {row}", self.name), got, &expected, LOGITS);
        }
    }

    fn put(&self, foreign: &ImportedAdapter) -> Box<dyn Adaptation> {
        let base = self.base();
        base.put(|lender| foreign.onto(base.dims(), lender, Device::Cpu))
            .unwrap_or_else(|error| panic!("{}: {error:#}", self.name))
    }

    fn read(&self, told: ImportSettings) -> ImportedAdapter {
        interop::read(&self.folder, told).unwrap_or_else(|error| panic!("{}: {error:#}", self.name))
    }

    /// Saves as ours, reads that, writes it for the library, reads that: the same tensors each time.
    fn check_round_trip(&self, foreign: &ImportedAdapter, told: ImportSettings) {
        let adaptation = self.put(foreign);
        let folder = tempfile::tempdir().expect("a folder");
        let base = self.base().base_model().expect("a base");
        let ours = folder.path().join("adapter");
        adapter_file::save(&ours, &base, &foreign.spec, adaptation.as_ref()).expect("saved");
        let opened = AdapterOnBase::open(&ours, None).unwrap_or_else(|error| panic!("{}: {error:#}", self.name));
        let written = folder.path().join("written");
        std::fs::create_dir(&written).expect("a folder");
        let outcome = if foreign.origin.library.starts_with("peft") {
            peft_export::write(&opened, &foreign.head, &written)
        } else {
            pyreft_export::write(&opened, &foreign.head, &written)
        };
        outcome.unwrap_or_else(|error| panic!("{}: {error:#}", self.name));
        let again = interop::read(&written, told).unwrap_or_else(|error| panic!("{}: {error:#}", self.name));
        assert_eq!(again.head.keys().collect::<Vec<_>>(), foreign.head.keys().collect::<Vec<_>>(), "{}", self.name);
        let again = self.put(&again);
        for (name, tensor) in tensors_of(adaptation.as_ref()) {
            assert_close(
                &format!("{}: {name}", self.name),
                &tensors_of(again.as_ref())[&name],
                &tensor,
                Tol::Absolute(1e-6),
            );
        }
    }

    /// The merged model's own folder gives the adapter's logits, in one file and in shards.
    fn check_merged(&self, foreign: &ImportedAdapter) {
        let (base, adaptation) = (self.base(), self.put(foreign));
        let naming = base.naming().expect("names");
        let tensors = tensors_of(adaptation.as_ref());
        let merged = Merged::new(&foreign.spec, &tensors, (&base.weights, naming, base.dims()))
            .unwrap_or_else(|error| panic!("{}: {error:#}", self.name));
        let mut tensors = merged.tensors();
        for (name, tensor) in &foreign.head {
            tensors.insert(format!("classifier.{name}"), tensor.shallow_clone());
        }
        let folder = tempfile::tempdir().expect("a folder");
        for (name, shard) in [("whole", 1 << 30), ("shards", 100_000)] {
            let out = folder.path().join(name);
            model_folder::write(&base.weights, (&tensors, &serde_json::Map::new()), &out, shard)
                .unwrap_or_else(|error| panic!("{}: {error:#}", self.name));
            assert_eq!(out.join("model.safetensors.index.json").exists(), name == "shards", "{}", self.name);
            let got = self.logits(&out, None, &Tensors::new());
            self.check(name, &got, "logits");
            if self.tensors.contains_key("merged_logits") {
                self.check(name, &got, "merged_logits");
            }
        }
    }
}

/// Scores by a head with these tensors.
fn scores(head: &Tensors, first: &Tensor) -> Tensor {
    let named: Tensors = head.iter().map(|(name, t)| (format!("classifier.{name}"), t.shallow_clone())).collect();
    let made = ClassificationHead::new(first.size()[1], head["out_proj.bias"].size()[0], Seed(0), Device::Cpu);
    load_head(&made, &named, "");
    made.forward(first, DropoutRates::OFF).get(0)
}

/// The positions of a case's interventions, as one would write them.
fn positions(json: &Value) -> Option<String> {
    let interventions = json["interventions"].as_array()?;
    let of_group = |group: &str| {
        let entry = interventions.iter().find(|entry| entry["group"] == group)?;
        Some(entry["positions"][0].as_array()?.iter().filter_map(Value::as_u64).collect::<Vec<u64>>())
    };
    let all = of_group("both")
        .unwrap_or_else(|| [of_group("prefix"), of_group("suffix")].into_iter().flatten().flatten().collect());
    let prefix = all.iter().enumerate().take_while(|&(index, &position)| index as u64 == position).count();
    let part = |letter: &str, count: usize| (count > 0).then(|| format!("{letter}{count}"));
    Some([part("f", prefix), part("l", all.len() - prefix)].into_iter().flatten().collect::<Vec<_>>().join("+"))
}

#[test]
fn golden_adapter_folders_of_pyreft_and_peft() {
    let index = golden_json("adapters/cases.json");
    for name in index.as_array().expect("a list") {
        let name = name.as_str().or_else(|| name["case"].as_str()).expect("a name");
        let folder = golden_dir().join("adapters").join(name);
        let case = Case {
            name: name.to_owned(),
            model: folder.join("model"),
            json: golden_json(&format!("adapters/{name}/case.json")),
            tensors: golden_tensors(&format!("adapters/{name}/tensors.safetensors")),
            folder: folder.join("adapter"),
        };
        let positions = positions(&case.json).map(|text| text.parse().expect("positions"));
        let told = ImportSettings { positions, ..ImportSettings::default() };
        let foreign = case.read(told);
        let adaptation = case.put(&foreign);
        case.check("logits", &case.logits(&case.model, Some(adaptation.as_ref()), &foreign.head), "logits");
        case.check_round_trip(&foreign, told);
        if case.json["library"] == "peft" {
            case.check_merged(&foreign);
        }
    }
}

#[test]
fn golden_baselines_that_peft_saved_are_written_back_and_merged() {
    let mut merged = 0;
    for name in golden_json("baselines/cases.json").as_array().expect("a list").iter().filter_map(Value::as_str) {
        let json = golden_json(&format!("baselines/{name}/case.json"));
        let folder = golden_dir().join("baselines").join(name).join("adapter");
        if json["library"] != "peft" || !folder.join("adapter_config.json").exists() {
            continue;
        }
        let case = Case {
            name: name.to_owned(),
            model: golden_dir().join("baselines/models").join(json["base"].as_str().expect("a base")),
            tensors: golden_tensors(&format!("baselines/{name}/tensors.safetensors")),
            folder,
            json,
        };
        let foreign = case.read(ImportSettings::default());
        if case.json["config"]["bias"] != "all" {
            case.check_round_trip(&foreign, ImportSettings::default());
        }
        if !["prefix"].contains(&foreign.spec.key()) {
            case.check_merged(&foreign);
            merged += 1;
        }
    }
    assert!(merged > 0, "nothing to merge");
}
