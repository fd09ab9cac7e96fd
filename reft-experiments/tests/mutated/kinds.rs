//! The kinds of files that the program reads: a valid folder of each, which of its files are mutated, and the reader.

use std::path::{Path, PathBuf};

use reft_core::AdaptSpec;
use reft_core::adapter_file::{self, SavedAdapter};
use reft_core::base_model::BaseModel;
use reft_core::hooks::NoHooks;
use reft_core::layout::{Extent, Layout};
use reft_core::rng::Seed;
use reft_core::testing::golden_dir;
use reft_experiments::config::read::run_plan;
use reft_experiments::data::json_rows;
use reft_experiments::data::need::{AnswerNeed, Need};
use reft_experiments::sweep::spec::SweepSpec;
use reft_experiments::tables::spec::TableSpec;
use reft_models::attention::PastKeyValues;
use reft_models::encoder::{Encoder, EncoderPass};
use reft_models::model::Pass;
use reft_models::registry;
use reft_models::tokenizer::{Message, Role, Specials, Tokenizer};
use reft_models::weights::Weights;
use serde_json::json;
use tch::{Device, Kind as Type, Tensor};

use crate::support::Dir;

/// One kind of input.
pub struct Kind {
    /// What it is called in the tally.
    pub name: &'static str,
    /// Files below the folder, with their bytes.
    files: Vec<(String, Vec<u8>)>,
    /// Those of them that are mutated.
    pub mutable: Vec<String>,
    /// Reads the folder and works with what it holds.
    pub read: fn(&Path) -> Result<(), String>,
}

impl Kind {
    fn new(
        name: &'static str,
        folder: &Path,
        files: &[&str],
        mutable: &[&str],
        read: fn(&Path) -> Result<(), String>,
    ) -> Self {
        let bytes = |file: &&str| {
            let path = folder.join(file);
            ((*file).to_owned(), std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
        };
        let mutable = mutable.iter().map(|file| (*file).to_owned()).collect();
        Self { name, files: files.iter().map(bytes).collect(), mutable, read }
    }

    /// Writes the valid files.
    pub fn lay_out(&self, folder: &Path) {
        for (file, bytes) in &self.files {
            let path = folder.join(file);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
            std::fs::write(path, bytes).expect("writable");
        }
    }
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Every kind there is.
pub fn kinds() -> Vec<Kind> {
    let models = golden_dir().join("models");
    let model = Dir::new();
    let tokenizer = model.path().join("model");
    std::fs::write(tokenizer.join("chat_template.jinja"), CHAT).expect("writable");
    let data = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(data.path().join("rows.json"), ROWS).expect("writable");
    std::fs::write(data.path().join("rows.jsonl"), LINES).expect("writable");
    let adapter = tempfile::tempdir().expect("a temporary folder");
    save_adapter(&models.join("llama-tied"), &adapter.path().join("adapter"));
    let decoder = ["config.json", "model.safetensors"];
    let pickle = ["config.json", "pytorch_model.bin"];
    vec![
        Kind::new("run", &repository("configs/runs"), &["embedded-loreft.yaml"], &["embedded-loreft.yaml"], read_run),
        Kind::new("table", &repository("configs/tables"), &["table1.yaml"], &["table1.yaml"], read_table),
        Kind::new("sweep", &repository("configs/sweeps"), &["embedded.yaml"], &["embedded.yaml"], read_sweep),
        Kind::new("decoder config", &models.join("llama3"), &decoder, &["config.json"], read_decoder),
        Kind::new("decoder weights", &models.join("llama-tied"), &decoder, &["model.safetensors"], read_decoder),
        Kind::new("pickle", &models.join("llama1-bin-single"), &pickle, &["pytorch_model.bin"], read_decoder),
        Kind::new("encoder", &models.join("roberta"), &decoder, &["config.json", "model.safetensors"], read_encoder),
        Kind::new("tokenizer", &tokenizer, &TOKENIZER, &TOKENIZER, read_tokenizer),
        Kind::new("data", data.path(), &["rows.json", "rows.jsonl"], &["rows.json", "rows.jsonl"], read_data),
        Kind::new("adapter", adapter.path(), &ADAPTER, &ADAPTER, read_adapter),
    ]
}

const TOKENIZER: [&str; 3] = ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"];
const ADAPTER: [&str; 2] = ["adapter/adapter_config.json", "adapter/adapter_model.safetensors"];
const CHAT: &str =
    "{% for m in messages %}{{ m.role }}: {{ m.content | trim }}\n{% endfor %}{{ bos_token }}assistant: ";
const ROWS: &str = r#"[
  {"instruction": "Which one is a bird?", "input": "", "answer": "the correct answer is answer1", "output": "answer1"},
  {"instruction": "And which \u00e9 is 3?", "input": "x", "answer": "answer2", "output": "answer2", "n": 3}
]"#;
const LINES: &str =
    "{\"question\": \"1 + 1\", \"answer\": \"#### 2\"}\n{\"question\": \"2 + 2\", \"answer\": \"#### 4\"}\n";

fn read_run(folder: &Path) -> Result<(), String> {
    run_plan(Some(&folder.join("embedded-loreft.yaml")), &[]).map(drop).map_err(words)
}

fn read_table(folder: &Path) -> Result<(), String> {
    let path = folder.join("table1.yaml");
    let spec = TableSpec::read(&path).map_err(words)?;
    spec.profile("quick").and_then(reft_experiments::tables::spec::TableProfile::rows).map(drop).map_err(words)
}

fn read_sweep(folder: &Path) -> Result<(), String> {
    SweepSpec::read(&folder.join("embedded.yaml"), &[]).map(drop).map_err(words)
}

/// Ids that every golden model has.
const IDS: [i64; 4] = [5, 9, 3, 7];

fn read_decoder(folder: &Path) -> Result<(), String> {
    let weights = Weights::open(folder).map_err(words)?;
    let model = registry::load(&weights, Type::Float, Device::Cpu).map_err(words)?;
    let ids: Vec<i64> = IDS.iter().map(|id| id % model.dims().vocab).collect();
    let layout = Layout::packed(&[Extent { len: 4, prompt: 3 }]);
    let mut pass = Pass { layout: &layout, hooks: &NoHooks, cache: PastKeyValues::None, wanted: None };
    let _ = model.logits(&model.hidden(&Tensor::from_slice(&ids), &mut pass));
    Ok(())
}

fn read_encoder(folder: &Path) -> Result<(), String> {
    let weights = Weights::open(folder).map_err(words)?;
    let encoder = Encoder::load(&weights, Type::Float, Device::Cpu).map_err(words)?;
    if encoder.config().longest() < IDS.len() {
        return Ok(());
    }
    let ids: Vec<i64> = IDS.iter().map(|id| id % encoder.dims().vocab).collect();
    let layout = Layout::packed(&[Extent { len: 4, prompt: 4 }]);
    let reading = EncoderPass { layout: &layout, hooks: &NoHooks, mode: reft_core::Mode::Eval };
    let _ = encoder.hidden(&Tensor::from_slice(&ids), None, &reading);
    Ok(())
}

fn read_tokenizer(folder: &Path) -> Result<(), String> {
    let tokenizer = Tokenizer::open(folder).map_err(words)?;
    let ids = tokenizer.encode("A bird, \u{e9}\u{1f600} <end>", Specials::AsModel).map_err(words)?;
    let _ = tokenizer.decode(&ids, true).map_err(words)?;
    tokenizer.chat(&[Message { role: Role::User, content: "hello".to_owned() }]).map(drop).map_err(words)
}

fn read_data(folder: &Path) -> Result<(), String> {
    json_rows::read(&folder.join("rows.json"), Need::Answer(AnswerNeed::Text)).map_err(words)?;
    json_rows::read(&folder.join("rows.jsonl"), Need::Question).map(drop).map_err(words)
}

fn save_adapter(model: &Path, adapter: &Path) {
    let base = base(model);
    let reft = json!({"intervention": "loreft", "rank": 2, "positions": "f1+l1", "layers": [0, 1], "tying": "untied"});
    let spec: AdaptSpec = serde_json::from_value(json!({ "reft": reft })).expect("a specification");
    let built = spec.build(&base.dims, Seed(3), Device::Cpu).expect("it fits");
    adapter_file::save(adapter, &base, &spec, built.as_ref()).expect("writable");
}

fn base(model: &Path) -> BaseModel {
    let weights = Weights::open(model).expect("a golden model");
    let decoder = registry::load(&weights, Type::Float, Device::Cpu).expect("a golden model");
    BaseModel { id: "golden".to_owned(), fingerprint: "0".to_owned(), dims: *decoder.dims(), sketch: None }
}

fn read_adapter(folder: &Path) -> Result<(), String> {
    let saved = SavedAdapter::read(&folder.join("adapter")).map_err(words)?;
    let base = base(&golden_dir().join("models/llama-tied"));
    saved.onto(&base, Device::Cpu).map(drop).map_err(words)
}
