//! A tiny encoder for the real program.

use reft_core::testing::golden_dir;

use crate::support::Dir;

/// Puts a golden encoder into a folder, under the tokenizer of the other model there.
pub fn add(dir: &Dir, golden: &str, name: &str) {
    let encoder = dir.path().join(name);
    std::fs::create_dir(&encoder).expect("writable");
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(golden_dir().join("models").join(golden).join(file), encoder.join(file)).expect("copied");
    }
    std::fs::copy(dir.path().join("model/tokenizer.json"), encoder.join("tokenizer.json")).expect("copied");
}
