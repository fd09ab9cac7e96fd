//! Checkpoint formats: what GGUF's names and row order mean, which types are read, what is refused and where.

use std::fs;
use std::path::{Path, PathBuf};

use reft_core::testing::{Tol, assert_close, golden_dir};
use reft_models::identity::Identity;
use reft_models::weights::Weights;
use safetensors::tensor::{Dtype, TensorView};
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;

use self::gguf_writer::{Metadata, Stored};

mod gguf_writer;

fn model(name: &str) -> PathBuf {
    golden_dir().join("models").join(name)
}

fn open(path: &Path) -> Weights {
    Weights::open(path).unwrap_or_else(|error| panic!("{error}"))
}

fn read(weights: &Weights, name: &str) -> Tensor {
    let shape = weights.shape(name).unwrap_or_else(|| panic!("{name} is not in {}", weights.path().display()));
    weights.tensor(name, shape, Kind::Float, Device::Cpu).unwrap_or_else(|error| panic!("{error}"))
}

fn check_same(path: &Path, expected: &Weights) {
    let weights = open(path);
    assert_eq!(weights.names(), expected.names(), "{}", path.display());
    for name in expected.names() {
        let what = format!("{}: {name}", path.display());
        assert_close(&what, &read(&weights, name), &read(expected, name), Tol::Exact);
    }
    let of = |weights: &Weights| Identity::of(weights).expect("a model");
    let (ours, theirs) = (of(&weights), of(expected));
    assert_eq!((ours.weights, ours.sketch), (theirs.weights, theirs.sketch), "{}", path.display());
}

/// llama.cpp's name for one of Hugging Face's.
fn llama_cpp_name(name: &str) -> String {
    let parts = [
        ("model.layers.", "blk."),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("post_attention_layernorm", "ffn_norm"),
        ("input_layernorm", "attn_norm"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
    ];
    parts.iter().fold(name.to_owned(), |name, (theirs, ours)| name.replace(theirs, ours))
}

/// Row order as llama.cpp's converter writes it: the halves of a head interleaved.
fn interleave(tensor: &Tensor, heads: i64) -> Tensor {
    let (rows, width) = tensor.size2().expect("a matrix");
    tensor.reshape([heads, 2, rows / heads / 2, width]).transpose(1, 2).reshape([rows, width])
}

/// A Hugging Face folder written anew as GGUF, with `extra` metadata and `more` tensors.
fn write_gguf(source: &Weights, path: &Path, extra: &[(&str, Metadata)], more: &[(&str, Stored)]) {
    let number = |key: &str| source.config()[key].as_i64().expect("a number");
    let count = |key: &str| Metadata::U32(number(key) as u32);
    let float = |key: &str| Metadata::F32(source.config()[key].as_f64().expect("a number") as f32);
    let mut metadata = vec![
        ("general.architecture", Metadata::String("llama".to_owned())),
        ("llama.embedding_length", count("hidden_size")),
        ("llama.feed_forward_length", count("intermediate_size")),
        ("llama.block_count", count("num_hidden_layers")),
        ("llama.attention.head_count", count("num_attention_heads")),
        ("llama.attention.head_count_kv", count("num_key_value_heads")),
        ("llama.attention.layer_norm_rms_epsilon", float("rms_norm_eps")),
        ("llama.rope.freq_base", float("rope_theta")),
        ("llama.context_length", count("max_position_embeddings")),
    ];
    metadata.retain(|(key, _)| extra.iter().all(|(other, _)| other != key));
    metadata.extend(extra.iter().cloned());
    let tensors: Vec<(String, Stored)> = source
        .names()
        .into_iter()
        .map(|name| {
            let tensor = match name {
                _ if name.contains("q_proj") => interleave(&read(source, name), number("num_attention_heads")),
                _ if name.contains("k_proj") => interleave(&read(source, name), number("num_key_value_heads")),
                _ => read(source, name),
            };
            (llama_cpp_name(name), Stored::f32(&tensor))
        })
        .collect();
    let metadata: Vec<(&str, &Metadata)> = metadata.iter().map(|(key, value)| (*key, value)).collect();
    let tensors = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
    let tensors: Vec<_> = tensors.chain(more.iter().map(|(name, tensor)| (*name, tensor))).collect();
    gguf_writer::write(path, &metadata, &tensors);
}

#[test]
fn a_gguf_file_gives_hugging_faces_names_rows_and_configuration() {
    let folder = TempDir::new().expect("a folder");
    for name in ["llama1", "llama3", "llama-tied"] {
        let expected = open(&model(name));
        let path = folder.path().join(format!("{name}.gguf"));
        write_gguf(&expected, &path, &[], &[]);
        check_same(&path, &expected);
        let keys = [
            "architectures",
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "num_attention_heads",
            "num_key_value_heads",
            "head_dim",
            "vocab_size",
            "max_position_embeddings",
            "tie_word_embeddings",
            "rope_theta",
        ];
        for key in keys {
            assert_eq!(open(&path).config()[key], expected.config()[key], "{name}: {key}");
        }
    }
}

/// A folder with one safetensors file of these tensors, each of four bytes in all.
fn stored_as(tensors: &[(&str, Dtype)]) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("config.json"), "{}").expect("written");
    let bytes = [0x00, 0x3c, 0x80, 0x3f];
    let views = tensors.iter().map(|&(name, dtype)| {
        let count = bytes.len() * 8 / dtype.bitsize();
        (name, TensorView::new(dtype, vec![count], &bytes).expect("a view"))
    });
    let views: Vec<_> = views.collect();
    let file = folder.path().join("model.safetensors");
    safetensors::serialize_to_file(views, None, &file).expect("written");
    folder
}

#[test]
fn narrow_types_widen_and_whole_numbers_are_no_weights() {
    let folder =
        stored_as(&[("half", Dtype::F16), ("brain", Dtype::BF16), ("single", Dtype::F32), ("positions", Dtype::I32)]);
    let weights = open(folder.path());
    assert_eq!(weights.names(), ["brain", "half", "single"]);
    // The bytes 00 3c and 80 3f are one in f16 and in bf16; the other readings follow from the formats.
    let expected: [(&str, &[f32]); 3] =
        [("half", &[1.0, 1.875]), ("brain", &[0.007_812_5, 1.0]), ("single", &[1.001_831])];
    for (name, values) in expected {
        assert_close(name, &read(&weights, name), &Tensor::from_slice(values), Tol::F32);
    }
}

/// The error of opening `path` and reading everything in it must hold all `parts`, in one line.
fn check_refused(path: &Path, parts: &[&str]) {
    let outcome = Weights::open(path).and_then(|weights| {
        let read = |name: &str| weights.tensor(name, weights.shape(name).unwrap_or(&[]), Kind::Float, Device::Cpu);
        weights.names().into_iter().try_for_each(|name| read(name).map(|_| ()))
    });
    let message = outcome.expect_err(&format!("{} should be refused", path.display())).to_string();
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    assert_eq!(message.lines().count(), 1, "{message}");
}

/// A copy of a golden model.
fn copy(name: &str) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    for entry in fs::read_dir(model(name)).expect("a golden model") {
        let entry = entry.expect("an entry");
        fs::write(folder.path().join(entry.file_name()), fs::read(entry.path()).expect("readable")).expect("written");
    }
    folder
}

#[test]
fn a_truncated_file_is_refused_wherever_it_ends() {
    let gguf = TempDir::new().expect("a folder");
    write_gguf(&open(&model("llama1")), &gguf.path().join("model.gguf"), &[], &[]);
    let (single, shards, pickle, pickles) =
        (copy("llama1"), copy("llama1-sharded"), copy("llama1-bin-single"), copy("llama1-bin"));
    let files = [
        (&single, "", "model.safetensors"),
        (&shards, "", "model-00003-of-00008.safetensors"),
        (&pickle, "", "pytorch_model.bin"),
        (&pickles, "", "pytorch_model-00003-of-00008.bin"),
        (&gguf, "model.gguf", "model.gguf"),
    ];
    for (folder, opened, file) in files {
        let path = folder.path().join(file);
        let whole = fs::read(&path).expect("readable");
        for length in [0, 4, 100, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..length]).expect("written");
            check_refused(&folder.path().join(opened), &[file, "download it again"]);
        }
        fs::remove_file(&path).expect("removed");
        check_refused(&folder.path().join(opened), &[folder.path().to_str().expect("a name")]);
    }
}

#[test]
fn a_damaged_header_is_refused() {
    let folder = copy("llama1");
    let gguf = folder.path().join("model.gguf");
    write_gguf(&open(&model("llama1")), &gguf, &[], &[]);
    let whole = fs::read(&gguf).expect("readable");
    let name = b"token_embd.weight";
    let at = whole.windows(name.len()).position(|window| window == name).expect("in the header") + name.len() + 4;
    let mut huge = whole.clone();
    huge[at..at + 16].fill(0x7f);
    fs::write(&gguf, huge).expect("written");
    check_refused(&gguf, &["model.gguf", "download it again"]);
    fs::write(folder.path().join("config.json"), "{").expect("written");
    check_refused(folder.path(), &["config.json", "not valid JSON", "copy it again"]);
}

#[test]
fn what_would_be_misread_is_refused() {
    let folder = TempDir::new().expect("a folder");
    check_refused(folder.path(), &["config.json", "Hugging Face lays them out"]);
    fs::write(folder.path().join("config.json"), "{}").expect("written");
    check_refused(folder.path(), &["holds no weights", "model.safetensors"]);
    fs::write(folder.path().join("model.safetensors.index.json"), "{}").expect("written");
    check_refused(folder.path(), &["model.safetensors.index.json", "no weight_map"]);
    fs::write(folder.path().join("model.safetensors.index.json"), r#"{"weight_map": {"w": 1}}"#).expect("written");
    check_refused(folder.path(), &["model.safetensors.index.json", "`w`"]);
    fs::write(folder.path().join("model.safetensors.index.json"), r#"{"weight_map": {"w": "../w.safetensors"}}"#)
        .expect("written");
    check_refused(folder.path(), &["model.safetensors.index.json", "no file beside it for `w`"]);
    fs::write(folder.path().join("model.safetensors"), "version https://git-lfs.github.com/spec/v1").expect("written");
    check_refused(folder.path(), &["model.safetensors", "git lfs pull"]);
    check_refused(stored_as(&[("w", Dtype::F8_E4M3)]).path(), &["model.safetensors", "`w`", "F8_E4M3", "convert"]);

    let source = open(&model("llama1"));
    let gguf = folder.path().join("model.gguf");
    let mamba = [("general.architecture", Metadata::String("mamba".to_owned()))];
    write_gguf(&source, &gguf, &mamba, &[]);
    check_refused(&gguf, &["model.gguf", "`mamba`", "llama"]);
    write_gguf(&source, &gguf, &[("llama.attention.head_count", Metadata::U32(7))], &[]);
    check_refused(&gguf, &["model.gguf", "q_proj.weight", "heads"]);
}

#[test]
fn metadata_that_changes_results_and_is_not_understood_is_refused_by_name() {
    let folder = TempDir::new().expect("a folder");
    let (source, gguf) = (open(&model("llama1")), folder.path().join("model.gguf"));
    let text = |value: &str| Metadata::String(value.to_owned());
    let cases: &[(&str, Metadata, &[&str])] = &[
        ("llama.block_count", Metadata::U32(0), &["`llama.block_count` is 0", "from 1"]),
        ("llama.block_count", Metadata::I32(-2), &["`llama.block_count` is -2"]),
        ("llama.embedding_length", Metadata::U64(u64::MAX), &["`llama.embedding_length` is 18446744073709551615"]),
        ("llama.attention.head_count", Metadata::U32(0), &["`llama.attention.head_count` is 0"]),
        ("llama.attention.layer_norm_rms_epsilon", Metadata::F32(f32::NAN), &["layer_norm_rms_epsilon` is NaN"]),
        ("llama.rope.freq_base", Metadata::F32(f32::INFINITY), &["`llama.rope.freq_base` is inf"]),
        ("llama.rope.freq_base", text("10000"), &["`llama.rope.freq_base` is 10000: a number above 0"]),
        (
            "llama.attention.value_length",
            Metadata::U32(8),
            &["llama.attention.value_length `8`", "width of a head, 16"],
        ),
        ("llama.rope.dimension_count", Metadata::U32(8), &["width of a head"]),
        ("llama.expert_count", Metadata::U32(8), &["llama.expert_count `8`", "only 0"]),
        ("llama.attention.causal", Metadata::Bool(false), &["llama.attention.causal `false`"]),
        ("llama.attention.scale", Metadata::F32(0.5), &["`llama.attention.scale` (0.5) is not understood"]),
        ("llama.rope.scaling.yarn_log_multiplier", Metadata::F32(0.1), &["`llama.rope.scaling.yarn_log_multiplier`"]),
        (
            "llama.rope.scaling.factor",
            Metadata::F32(4.0),
            &["llama.rope.scaling.factor `4.0`", "without a scaling type"],
        ),
        ("llama.rope.scale_linear", Metadata::F32(2.0), &["llama.rope.scale_linear `2.0`"]),
    ];
    for (key, value, parts) in cases {
        let with_head_width = [(*key, value.clone()), ("llama.attention.key_length", Metadata::U32(16))];
        write_gguf(&source, &gguf, &with_head_width, &[]);
        check_refused(&gguf, &[&["model.gguf"], *parts].concat());
    }
    let harmless = [
        ("llama.vocab_size", Metadata::U32(512)),
        ("llama.rope.dimension_count", Metadata::U32(16)),
        ("llama.attention.value_length", Metadata::U32(16)),
        ("llama.rope.scaling.type", text("none")),
        ("llama.rope.scaling.finetuned", Metadata::Bool(false)),
        ("llama.expert_count", Metadata::U32(0)),
        ("general.license", text("mit")),
    ];
    write_gguf(&source, &gguf, &harmless, &[]);
    check_same(&gguf, &source);
    let linear = [("llama.rope.scaling.type", text("linear")), ("llama.rope.scaling.factor", Metadata::F32(4.0))];
    write_gguf(&source, &gguf, &linear, &[]);
    let scaling = serde_json::json!({"rope_type": "linear", "factor": 4.0});
    assert_eq!(open(&gguf).config()["rope_scaling"], scaling);
}

#[test]
fn a_file_that_shrinks_after_it_was_opened_is_an_error() {
    let folder = TempDir::new().expect("a temporary folder");
    for file in ["config.json", "model.safetensors"] {
        fs::copy(model("llama1").join(file), folder.path().join(file)).expect("writable");
    }
    let weights = open(folder.path());
    let _ = read(&weights, "model.norm.weight");
    let file = fs::OpenOptions::new().write(true).open(folder.path().join("model.safetensors")).expect("writable");
    file.set_len(100).expect("it shrinks");
    let shape = weights.shape("model.norm.weight").expect("there");
    let error = weights.tensor("model.norm.weight", shape, Kind::Float, Device::Cpu).expect_err("refused").to_string();
    assert!(
        error.contains("shrank") && error.contains("to 100 bytes") && error.contains("download it again"),
        "{error}"
    );
}
