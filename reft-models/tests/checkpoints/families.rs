//! `config.json` of the families beside Llama: what may be missing, what is refused and by which name.

use serde_json::{Value, json};

use crate::folder::{Folder, check_message};

/// Keys with values on a golden family, and what the message must hold.
fn check_refused(name: &str, keys: &[(&str, Value)], parts: &[&str]) {
    let set = |folder: Folder, (key, value): &(&str, Value)| folder.set(key, value.clone());
    let folder = keys.iter().fold(Folder::family(name), set).write();
    let Err(message) = folder.load() else { panic!("{name}, {keys:?} should be refused") };
    check_message(&format!("{name}, {keys:?}"), &message, &[&["config.json: "], parts].concat());
}

#[test]
fn what_changes_results_is_refused_by_name() {
    let cases: &[(&str, &str, Value, &[&str])] = &[
        ("mistral-window", "sliding_window", json!(-1), &["`sliding_window` is -1"]),
        ("mistral-window", "attention_bias", json!(true), &["`attention_bias` (true) is not understood"]),
        ("mistral-window", "layer_types", json!(["full_attention"]), &["`layer_types` is", "a list of 4 names"]),
        ("mistral-window", "layer_types", json!("chunked"), &["`layer_types` is chunked"]),
        ("qwen2", "layer_types", json!(vec!["sliding_attention"; 4]), &["`sliding_window` is missing"]),
        ("qwen2", "num_experts", json!(8), &["`num_experts` (8) is not understood"]),
        ("qwen3", "head_dim", json!(23), &["odd width of 23"]),
        ("gemma2", "use_bidirectional_attention", json!(true), &["use_bidirectional_attention `true`", "only false"]),
        ("gemma2", "query_pre_attn_scalar", json!(0), &["`query_pre_attn_scalar` is 0"]),
        ("gemma2", "hidden_activation", json!("quick_gelu"), &["hidden_activation `quick_gelu`", "gelu_pytorch_tanh"]),
        (
            "gemma3",
            "rope_parameters",
            json!({"full_attention": {"rope_theta": 1e6}}),
            &["sliding_attention` is missing"],
        ),
        ("gemma3", "vision_config", json!({"hidden_size": 8}), &["`vision_config`"]),
        ("phi3-longrope", "attention_bias", json!(true), &["attention_bias `true`", "only false"]),
        ("phi3-longrope", "resid_pdrop", json!(0.1), &["resid_pdrop `0.1`"]),
        ("olmo2", "clip_qkv", json!(8.0), &["clip_qkv `8.0`"]),
        ("smollm3", "no_rope_layers", json!([1, 0]), &["`no_rope_layers` is [1,0]", "a list of 4 numbers"]),
        ("smollm3", "no_rope_layers", json!([1, 2, 0, 1]), &["`no_rope_layers` is"]),
        ("gpt-neox", "hidden_dropout", json!(0.1), &["hidden_dropout `0.1`", "only 0"]),
        ("gpt-neox", "num_attention_heads", json!(7), &["hidden_size 64", "7 num_attention_heads"]),
        ("gpt2", "scale_attn_by_inverse_layer_idx", json!(true), &["scale_attn_by_inverse_layer_idx `true`"]),
        ("gpt2", "add_cross_attention", json!(true), &["add_cross_attention `true`"]),
        ("gpt2", "n_embd", Value::Null, &["`n_embd` is missing"]),
        ("llama-dynamic", "partial_rotary_factor", json!(0.5), &["partial_rotary_factor `0.5`", "only 1"]),
    ];
    for (name, key, value, parts) in cases {
        check_refused(name, &[(key, value.clone())], parts);
    }
}

#[test]
fn rope_settings_that_do_not_fit_the_heads_are_refused() {
    let longrope = |short: Value, long: Value| json!({"rope_type": "longrope", "rope_theta": 1e4, "short_factor": short, "long_factor": long});
    let cases: &[(Value, &[&str])] = &[
        (longrope(json!([1.0]), json!([1.0])), &["1 rotary divisors", "8 pairs"]),
        (longrope(json!([1.0, 2.0]), json!([1.0])), &["short_factor` has 2 numbers", "long_factor` 1"]),
        (longrope(json!([0.0]), json!([1.0])), &["short_factor` is [0.0]", "numbers above 0"]),
        (longrope(Value::Null, json!([1.0])), &["short_factor` is missing"]),
        (json!({"rope_type": "dynamic", "rope_theta": 1e4}), &["rope_parameters.factor` is missing"]),
        (json!({"rope_type": "yarn", "factor": 2.0, "mscale": "big"}), &["rope_parameters.mscale` is big"]),
    ];
    for (rope, parts) in cases {
        check_refused("phi3-longrope", &[("rope_parameters", rope.clone())], parts);
    }
}

/// A tensor that no part of the port reads, in families whose names are their own.
#[test]
fn tensors_without_a_place_are_refused_and_buffers_are_not() {
    for (name, tensor, place) in [
        ("gpt2", "transformer.h.1.attn.q_norm.weight", "gpt2"),
        ("gpt-neox", "gpt_neox.layers.1.attention.query_key_value.lora_A.weight", "gpt-neox"),
        ("olmo2", "model.layers.2.input_layernorm.weight", "olmo2"),
        ("qwen3", "model.layers.0.self_attn.q_proj.bias", "qwen3"),
    ] {
        let mut folder = Folder::family(name);
        folder.tensors.insert(tensor.to_owned(), reft_core::testing::normal(&[4], 1));
        let message = folder.write().load().map(|_| ()).expect_err("without a place");
        check_message(place, &message, &[tensor, "has no place"]);
    }
    let mut folder = Folder::family("gpt2");
    folder.tensors.insert("transformer.h.1.attn.masked_bias".to_owned(), reft_core::testing::normal(&[1], 1));
    assert!(folder.write().load().is_ok());
}

/// The configurations that tests of all families make random models of.
#[test]
fn every_example_is_a_small_model_of_its_family() {
    for family in reft_models::decoder::FAMILIES {
        let config = (family.example)();
        let tensors = reft_models::registry::tensors_of(&config).unwrap_or_else(|error| panic!("{error}"));
        let numbers: i64 = tensors.iter().map(|(_, shape)| shape.iter().product::<i64>()).sum();
        assert!((1000..20_000).contains(&numbers), "{}: {numbers} numbers", family.model_type);
        let mut folder = Folder::family("gpt2");
        folder.config = config;
        folder.tensors =
            tensors.into_iter().map(|(name, shape)| (name, reft_core::testing::normal(&shape, 5))).collect();
        let model = folder.write().load().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(model.parameters(), numbers, "{}", family.model_type);
    }
}
