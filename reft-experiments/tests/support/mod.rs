//! A folder with a tiny model, and the real program run in it.

// Every test program uses a part of it.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
#[cfg(feature = "program")]
use std::process::{Command, Output};

use reft_core::testing::golden_dir;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, Tokenizer};

/// A temporary folder with the golden `llama-tied` as `model/` and a byte-level tokenizer that fits it.
pub struct Dir(tempfile::TempDir);

impl Dir {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let model = folder.path().join("model");
        std::fs::create_dir(&model).expect("writable");
        let golden = golden_dir().join("models/llama-tied");
        std::fs::copy(golden.join("model.safetensors"), model.join("model.safetensors")).expect("copied");
        // A token a byte makes long rows; rotary positions need no table.
        let config = std::fs::read_to_string(golden.join("config.json")).expect("there");
        let (short, long) = ("\"max_position_embeddings\": 256", "\"max_position_embeddings\": 4096");
        assert!(config.contains(short));
        std::fs::write(model.join("config.json"), config.replace(short, long)).expect("writable");
        tokenizer().save(model.join("tokenizer.json"), false).expect("writable");
        std::fs::write(model.join("tokenizer_config.json"), r#"{"eos_token": "<end>"}"#).expect("writable");
        Self(folder)
    }

    /// With twelve questions and answers in `faq.jsonl`.
    pub fn faq() -> Self {
        let dir = Self::new();
        let rows: String =
            (0..12).map(|n| format!("{{\"question\": \"what is {n}\", \"answer\": \"{n} it is\"}}\n")).collect();
        dir.write("faq.jsonl", &rows);
        dir
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).expect("writable");
        path
    }
}

#[cfg(feature = "program")]
impl Dir {
    /// The program, to be run in this folder without network, without the user's data, and in one thread: digits depend on
    /// how many there are.
    pub fn reft(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reft"));
        command.current_dir(self.path()).args(arguments);
        command
            .env("HF_HUB_OFFLINE", "1")
            .env("REFT_CACHE", self.path().join("cache"))
            .env_remove("REFT_DATA")
            .env("OMP_NUM_THREADS", "1");
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.reft(arguments).output().expect("the program starts")
    }
}

/// Standard output and standard error.
#[cfg(feature = "program")]
pub fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

fn tokenizer() -> Tokenizer {
    let mut alphabet: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    alphabet.sort_unstable();
    let vocabulary: Vocab = (3..).zip(alphabet).map(|(id, letter)| (letter.to_string(), id)).collect();
    let bpe = BPE::builder().vocab_and_merges(vocabulary, Vec::new()).build().expect("a vocabulary");
    let mut tokenizer = Tokenizer::new(bpe);
    tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, false, true)));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    tokenizer.add_special_tokens([AddedToken::from("<end>", true)]).expect("one token");
    tokenizer
}

/// A run of a few dozen updates.
#[allow(dead_code)] // not every test program trains
pub const RUN: &str = "
model: model
dtype: f32
adapt:
  reft: {intervention: loreft, rank: 2, positions: f2+l2, dropout: {p: 0.1}}
data: {train: [arc_e], eval: [arc_e], train_rows: 48, eval_rows: 4}
train: {epochs: 4, batch_size: 4, lr: 5e-3, checkpoint_every: 5}
eval: {max_new_tokens: 4}
";
