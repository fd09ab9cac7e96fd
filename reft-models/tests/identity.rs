//! A model is what its port reads of it: containers, buffers and copies of tied weights do not count, every weight does.

use std::collections::BTreeMap;
use std::path::Path;

use reft_core::base_model::{BaseModel, Match};
use reft_core::site::{Dims, Mlp};
use reft_core::testing::golden_dir;
use reft_models::encoder::Encoder;
use reft_models::identity::{Identity, is_legacy, tensors_read};
use reft_models::registry;
use reft_models::weights::Weights;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;

type Stored = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn stored(model: &str) -> Stored {
    let bytes = std::fs::read(golden_dir().join("models").join(model).join("model.safetensors")).expect("a tiny model");
    let file = SafeTensors::deserialize(&bytes).expect("whole");
    let tensor =
        |(name, view): (String, TensorView<'_>)| (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec()));
    file.tensors().into_iter().map(tensor).collect()
}

fn save(folder: &Path, model: &str, tensors: &Stored) {
    std::fs::copy(golden_dir().join("models").join(model).join("config.json"), folder.join("config.json"))
        .expect("copied");
    let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
        (name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).expect("bytes of that shape"))
    });
    safetensors::serialize_to_file(views, None, &folder.join("model.safetensors")).expect("writable");
}

/// The identity of a golden model with its tensors changed.
fn changed(model: &str, change: impl FnOnce(&mut Stored)) -> Identity {
    let folder = TempDir::new().expect("a folder");
    let mut tensors = stored(model);
    change(&mut tensors);
    save(folder.path(), model, &tensors);
    Identity::of(&Weights::open(folder.path()).expect("a model")).expect("an identity")
}

fn floats(shape: Vec<usize>, value: f32) -> (Dtype, Vec<usize>, Vec<u8>) {
    let bytes = value.to_le_bytes().repeat(shape.iter().product());
    (Dtype::F32, shape, bytes)
}

#[test]
fn tensors_recorded_without_a_checkpoint_are_those_that_a_port_reads() {
    for name in ["llama1", "llama3", "llama-tied", "llama1-bin", "bert", "roberta"] {
        let weights = Weights::open(&golden_dir().join("models").join(name)).expect("a tiny model");
        let listed = tensors_read(&weights).expect("a port");
        let tied = weights.config()["tie_word_embeddings"] == true;
        let unused = |name: &str| {
            name.contains("rotary_emb") || name.contains("position_ids") || (tied && name == "lm_head.weight")
        };
        let of_head = |name: &str| name.contains("pooler") || name.starts_with("classifier");
        let expected: Vec<&str> = weights.names().into_iter().filter(|name| !unused(name) && !of_head(name)).collect();
        assert_eq!(listed.iter().map(String::as_str).collect::<Vec<_>>(), expected, "{name}");
        // Afterwards tensors are read again.
        let kind = Kind::Float;
        match registry::load(&weights, kind, Device::Cpu) {
            Ok(decoder) => assert!(decoder.parameters() > 0),
            Err(_) => assert!(Encoder::load(&weights, kind, Device::Cpu).expect("an encoder").dims().layers > 0),
        }
    }
}

#[test]
fn buffers_and_a_tied_head_written_out_are_the_same_model() {
    for model in ["llama-tied", "bert"] {
        let same = changed(model, |_| ());
        assert!(!is_legacy(&same.weights));
        let buffers = changed(model, |tensors| {
            tensors.insert("model.layers.0.self_attn.rotary_emb.inv_freq".to_owned(), floats(vec![8], 0.5));
            tensors.insert("embeddings.position_ids".to_owned(), floats(vec![1, 8], 1.0));
            tensors.insert("cls.predictions.bias".to_owned(), floats(vec![3], 1.0));
        });
        assert_eq!(buffers, same, "{model}");
    }
    let with_head = changed("llama-tied", |tensors| {
        let embedding = tensors["model.embed_tokens.weight"].clone();
        tensors.insert("lm_head.weight".to_owned(), embedding);
    });
    assert_eq!(with_head, changed("llama-tied", |_| ()));
}

#[test]
fn an_encoder_is_the_same_with_and_without_its_prefix_and_its_old_names() {
    let same = changed("bert", |_| ());
    let renamed = changed("bert", |tensors| {
        let rename = |name: &str| {
            let bare = name.strip_prefix("bert.").unwrap_or(name);
            bare.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        };
        *tensors = std::mem::take(tensors).into_iter().map(|(name, tensor)| (rename(&name), tensor)).collect();
    });
    assert_eq!((renamed.weights, renamed.sketch), (same.weights, same.sketch));
}

#[test]
fn one_changed_weight_anywhere_is_another_model() {
    for model in ["llama-tied", "bert"] {
        let same = changed(model, |_| ());
        let weights = Weights::open(&golden_dir().join("models").join(model)).expect("a tiny model");
        for name in tensors_read(&weights).expect("a port") {
            let count = stored(model)[&name].2.len() / 4;
            for place in [0, count / 3, count - 1] {
                let other = changed(model, |tensors| {
                    tensors.get_mut(&name).expect("there").2[4 * place] ^= 1;
                });
                assert_ne!(other.weights, same.weights, "{model}: value {place} of {name}");
                assert_eq!((other.config, other.tokenizer), (same.config.clone(), same.tokenizer.clone()));
            }
        }
    }
}

/// The same values in another type.
fn cast(tensors: &mut Stored, dtype: Dtype, kind: Kind) {
    for (stored_as, shape, bytes) in tensors.values_mut() {
        let dims: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
        let narrow = Tensor::from_data_size(bytes, &dims, Kind::Float).to_kind(kind);
        let mut cast = vec![0; narrow.numel() * kind.elt_size_in_bytes()];
        narrow.copy_data_u8(&mut cast, narrow.numel());
        (*stored_as, *bytes) = (dtype, cast);
    }
}

#[test]
fn another_precision_is_recognised_and_further_training_is_not_taken_for_it() {
    let dims =
        Dims { layers: 1, width: 4, heads: 1, kv_heads: 1, head_width: 4, mlp_width: 4, vocab: 8, mlp: Mlp::Gated };
    let base = |identity: Identity| BaseModel {
        id: "m".to_owned(),
        fingerprint: identity.weights,
        dims,
        sketch: identity.sketch,
    };
    for model in ["llama-tied", "bert"] {
        let trained_on = base(changed(model, |_| ()));
        assert_eq!(trained_on.check(&base(changed(model, |_| ()))), Ok(Match::Same));
        for (dtype, kind) in [(Dtype::BF16, Kind::BFloat16), (Dtype::F16, Kind::Half)] {
            let narrow = base(changed(model, |tensors| cast(tensors, dtype, kind)));
            assert_eq!(trained_on.check(&narrow), Ok(Match::OtherPrecision), "{model} {dtype:?}");
            let further = base(changed(model, |tensors| {
                for (_, _, bytes) in tensors.values_mut() {
                    for four in bytes.chunks_exact_mut(4) {
                        let value = f32::from_le_bytes((&*four).try_into().expect("four bytes"));
                        four.copy_from_slice(&(value * 1.02).to_le_bytes());
                    }
                }
                cast(tensors, dtype, kind);
            }));
            assert!(trained_on.check(&further).is_err(), "{model} {dtype:?}");
        }
    }
}

#[test]
fn the_configuration_and_every_file_of_the_tokenizer_count() {
    let folder = TempDir::new().expect("a folder");
    let (model, path) = ("llama-tied", folder.path());
    save(path, model, &stored(model));
    let identity = || Identity::of(&Weights::open(path).expect("a model")).expect("an identity");
    let config = std::fs::read_to_string(path.join("config.json")).expect("there");
    let mut json: serde_json::Value = serde_json::from_str(&config).expect("JSON");
    let write = |json: &serde_json::Value, indented: bool| {
        let text = if indented { serde_json::to_string_pretty(json) } else { serde_json::to_string(json) };
        std::fs::write(path.join("config.json"), text.expect("JSON")).expect("writable");
    };
    let first = identity();
    write(&json, true);
    let indented = identity();
    write(&json, false);
    json["transformers_version"] = "99".into();
    assert!(first == indented && identity() == first);
    for theta in [10_001.0, 10_002.0] {
        json["rope_theta"] = theta.into();
        write(&json, false);
        assert_ne!(identity().config, first.config);
    }
    json["rope_scaling"] = serde_json::json!({"rope_type": "linear", "factor": 2.0});
    write(&json, false);
    let nested = identity().config;
    json["rope_scaling"]["factor"] = 3.0.into();
    write(&json, false);
    assert_ne!(identity().config, nested);

    let mut before = identity();
    let files =
        ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "vocab.txt", "generation_config.json"];
    for name in files {
        for content in [r#"{"chat_template": "a"}"#, r#"{"chat_template": "b"}"#] {
            std::fs::write(path.join(name), content).expect("writable");
            let now = identity();
            assert_ne!(now.tokenizer, before.tokenizer, "{name}");
            assert_eq!((&now.weights, &now.config), (&before.weights, &before.config));
            before = now;
        }
    }
}
