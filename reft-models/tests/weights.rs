//! Checkpoints in every container, whole and damaged.

use std::path::Path;

use reft_core::testing::golden_dir;
use reft_models::identity::Identity;
use reft_models::registry;
use reft_models::weights::Weights;
use tch::{Device, Kind};

fn open(name: &str) -> Weights {
    Weights::open(&golden_dir().join("models").join(name)).expect("a tiny model")
}

#[test]
fn golden_containers_hold_equal_tensors() {
    let reference = open("llama1");
    for name in ["llama1-sharded", "llama1-bin", "llama1-bin-single"] {
        let other = open(name);
        assert_eq!(other.names(), reference.names(), "{name}");
        for tensor in reference.names() {
            let shape = reference.shape(tensor).expect("listed");
            let read = |weights: &Weights| weights.tensor(tensor, shape, Kind::Float, Device::Cpu).expect("readable");
            assert_eq!(read(&other), read(&reference), "{name}: {tensor}");
        }
        let of = |weights: &Weights| Identity::of(weights).expect("a model");
        assert_eq!(of(&other).weights, of(&reference).weights, "{name}");
        assert_eq!(of(&other).sketch, of(&reference).sketch, "{name}");
    }
    let of = |name: &str| Identity::of(&open(name)).expect("a model").weights;
    assert_ne!(of("llama3"), of("llama1"));
}

fn copy(from: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for entry in std::fs::read_dir(golden_dir().join("models").join(from)).expect("a tiny model") {
        let path = entry.expect("readable").path();
        std::fs::copy(&path, folder.path().join(path.file_name().expect("a file"))).expect("copied");
    }
    folder
}

fn truncate(path: &Path, to: u64) {
    std::fs::File::options().write(true).open(path).and_then(|file| file.set_len(to)).expect("truncated");
}

/// What opening and loading a damaged folder says.
fn complaint(folder: &Path) -> String {
    let weights = match Weights::open(folder) {
        Ok(weights) => weights,
        Err(error) => return error.to_string(),
    };
    registry::load(&weights, Kind::Float, Device::Cpu).err().expect("it is damaged").to_string()
}

#[test]
fn damage_is_reported_with_file_and_remedy() {
    let check = |from: &str, damage: &dyn Fn(&Path), expected: &[&str]| {
        let folder = copy(from);
        damage(folder.path());
        let said = complaint(folder.path());
        assert!(expected.iter().all(|part| said.contains(part)), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    };
    let tensors = |folder: &Path| folder.join("model.safetensors");
    check(
        "llama1",
        &|folder| truncate(&tensors(folder), 100_000),
        &["model.safetensors: truncated or damaged", "download it again"],
    );
    check(
        "llama1",
        &|folder| std::fs::remove_file(tensors(folder)).expect("there"),
        &["holds no weights", "pytorch_model.bin"],
    );
    check(
        "llama1",
        &|folder| std::fs::remove_file(folder.join("config.json")).expect("there"),
        &["config.json", "Hugging Face"],
    );
    check(
        "llama1-bin-single",
        &|folder| truncate(&folder.join("pytorch_model.bin"), 50_000),
        &["pytorch_model.bin: truncated or damaged"],
    );
    let shard = "model-00002-of-00008.safetensors";
    check(
        "llama1-sharded",
        &|folder| std::fs::remove_file(folder.join(shard)).expect("there"),
        &[shard, "download complete"],
    );
    let edit = |from: &'static str, to: &'static str| {
        move |folder: &Path| {
            let path = folder.join("config.json");
            let text = std::fs::read_to_string(&path).expect("there");
            assert!(text.contains(from));
            std::fs::write(&path, text.replace(from, to)).expect("writable");
        }
    };
    check(
        "llama1",
        &edit("\"hidden_size\": 64", "\"hidden_size\": 128"),
        &["embed_tokens.weight` has shape [512, 64]", "needs [512, 128]"],
    );
    check("llama1", &edit("\"num_hidden_layers\": 4", "\"num_hidden_layers\": 5"), &["model.layers.4", "is missing"]);
    check("llama1", &edit("LlamaForCausalLM", "FooForCausalLM"), &["FooForCausalLM", "there is LlamaForCausalLM"]);
    check(
        "llama3",
        &edit("\"rope_type\": \"llama3\"", "\"rope_type\": \"mrope\""),
        &["rope type `mrope` is not supported"],
    );
}

#[test]
fn a_truncated_gguf_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.gguf");
    for bytes in [&b"GGUF"[..], b"GGUF\x03\0\0\0\xff\0\0\0\0\0\0\0\xff\0\0\0\0\0\0\0", b"nothing of the kind"] {
        std::fs::write(&path, bytes).expect("writable");
        let said = Weights::open(&path).err().expect("it is no model").to_string();
        assert!(said.contains("model.gguf: truncated, or no GGUF file"), "{said}");
    }
}
