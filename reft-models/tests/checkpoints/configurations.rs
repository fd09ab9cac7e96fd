//! `config.json` of a Llama: both styles of rotary settings, what may be missing, what is refused and by which name.

use reft_core::testing::{Tol, assert_close};
use serde_json::{Value, json};

use crate::folder::{Folder, check_message};

/// The configuration that transformers 5 writes for the model whose older configuration this is.
fn as_transformers_5(mut folder: Folder) -> Folder {
    let mut rope = folder.config["rope_scaling"].take();
    if rope.is_null() {
        rope = json!({"rope_type": "default"});
    }
    rope["rope_theta"] = folder.config["rope_theta"].take();
    let written = json!({"rope_parameters": rope, "dtype": "float32", "transformers_version": "5.12.1"});
    folder = folder.set("rope_theta", Value::Null).set("rope_scaling", Value::Null).set("torch_dtype", Value::Null);
    written.as_object().expect("an object").iter().fold(folder, |folder, (key, value)| folder.set(key, value.clone()))
}

#[test]
fn both_styles_of_rotary_settings_give_the_same_logits() {
    for name in ["llama1", "llama3"] {
        let old = Folder::golden(name).write();
        let new = as_transformers_5(Folder::golden(name)).write();
        assert_close(name, &new.logits(), &old.logits(), Tol::Exact);
    }
    // The settings matter: what would be read with the base passed over is another model.
    let plain = Folder::golden("llama3").set("rope_theta", Value::Null).set("rope_scaling", Value::Null).write();
    let moved = (plain.logits() - Folder::golden("llama3").write().logits()).abs().max();
    assert!(f64::try_from(moved).expect("a number") > 0.1);
}

#[test]
fn what_is_null_or_missing_has_the_familys_default() {
    let expected = Folder::golden("llama1").write().logits();
    let absent = [
        "model_type",
        "torch_dtype",
        "rope_scaling",
        "rope_theta",
        "rms_norm_eps",
        "hidden_act",
        "head_dim",
        "num_key_value_heads",
        "tie_word_embeddings",
        "attention_bias",
        "mlp_bias",
        "max_position_embeddings",
        "use_cache",
    ];
    for value in [None, Some(Value::Null)] {
        let mut folder = Folder::golden("llama1");
        for key in absent {
            let keys = folder.config.as_object_mut().expect("an object");
            keys.remove(key);
            if let Some(null) = &value {
                keys.insert(key.to_owned(), null.clone());
            }
        }
        let folder = folder.write();
        assert_close("without", &folder.logits(), &expected, Tol::Exact);
        assert_eq!(folder.load().expect("loaded").context(), 2048, "LlamaConfig's");
    }
    for architectures in [Value::Null, json!([])] {
        let folder = Folder::golden("llama1").set("architectures", architectures).write();
        assert_close("by model_type", &folder.logits(), &expected, Tol::Exact);
    }
    assert_eq!(Folder::golden("llama1").write().load().expect("loaded").context(), 256);
}

#[test]
fn keys_that_change_nothing_are_passed_over() {
    let harmless = json!({
        "_name_or_path": "x/y", "_attn_implementation_autoset": true, "auto_map": {"AutoConfig": "c.C"}, "cls_token_id": 3,
        "dtype": "bfloat16", "eos_token_id": [2, 5], "finetuning_task": null, "gradient_checkpointing": false,
        "id2label": {"0": "LABEL_0"}, "is_llama_config": true, "layer_types": ["full_attention", "full_attention"],
        "pretraining_tp": 1, "problem_type": null, "pruned_heads": {}, "quantization_config": null, "rope_interleaved": false,
        "sliding_window": null, "temperature": 1.0, "transformers.js_config": {}, "unsloth_version": "2025.1", "top_k": 50,
        "use_sliding_window": false, "is_decoder": false, "task_specific_params": null, "partial_rotary_factor": 1.0,
    });
    let keys = harmless.as_object().expect("an object");
    let folder = keys.iter().fold(Folder::golden("llama1"), |folder, (key, value)| {
        // Nulls stay in the file.
        let mut folder = folder;
        folder.config[key] = value.clone();
        folder
    });
    let expected = Folder::golden("llama1").write().logits();
    assert_close("with harmless keys", &folder.write().logits(), &expected, Tol::Exact);
}

/// Keys with values, and what the message about the first wrong one must hold.
fn check_refused(name: &str, keys: &[(&str, Value)], parts: &[&str]) {
    let set = |folder: Folder, (key, value): &(&str, Value)| folder.set(key, value.clone());
    let folder = keys.iter().fold(Folder::golden(name), set).write();
    let Err(message) = folder.load() else { panic!("{keys:?} should be refused") };
    check_message(&format!("{keys:?}"), &message, &[&["config.json: "], parts].concat());
}

#[test]
fn what_changes_results_is_refused_by_name() {
    let cases: &[(&str, Value, &[&str])] = &[
        ("sliding_window", json!(4096), &["`sliding_window` (4096) is not understood", "remove the key if"]),
        ("attn_logit_softcapping", json!(50.0), &["`attn_logit_softcapping`"]),
        ("no_rope_layers", json!([1, 0]), &["`no_rope_layers` ([1,0])"]),
        ("num_local_experts", json!(8), &["`num_local_experts`"]),
        ("a_key_of_tomorrow", json!({"x": "y".repeat(500)}), &["`a_key_of_tomorrow`", "…"]),
        ("attention_dropout", json!(0.1), &["attention_dropout `0.1` is not supported: there is only 0"]),
        ("pretraining_tp", json!(2), &["pretraining_tp `2`", "only 1"]),
        ("partial_rotary_factor", json!(0.5), &["partial_rotary_factor `0.5`"]),
        ("rope_interleaved", json!(true), &["rope_interleaved `true`"]),
        ("layer_types", json!(["full_attention", "sliding_attention"]), &["layer_types", "only full_attention"]),
        ("residual_multiplier", json!(0.22), &["residual_multiplier `0.22`"]),
        ("attention_multiplier", json!(0.0156), &["`attention_multiplier` (0.0156)"]),
        ("is_decoder", json!(true), &["is_decoder `true`", "only false"]),
        ("hidden_act", json!("mish"), &["hidden_act `mish`", "silu"]),
        ("rope_scaling", json!({"type": "mrope", "factor": 4.0}), &["rope type `mrope`", "linear, dynamic, yarn"]),
        (
            "rope_parameters",
            json!({"rope_type": "mrope", "factor": 4.0}),
            &["rope type `mrope`", "llama3 and longrope"],
        ),
        ("rope_parameters", json!({"rope_theta": 5e5}), &["`rope_theta` and `rope_parameters.rope_theta` disagree"]),
        ("model_type", json!("mistral"), &["`architectures` and `model_type` disagree"]),
        ("architectures", json!("LlamaForCausalLM"), &["`architectures` is LlamaForCausalLM", "a list"]),
        ("attention_bias", json!("no"), &["`attention_bias` is no: true or false"]),
        ("tie_word_embeddings", json!(0), &["`tie_word_embeddings` is 0"]),
        ("rms_norm_eps", json!(0), &["`rms_norm_eps` is 0: a number above 0"]),
    ];
    for (key, value, parts) in cases {
        check_refused("llama1", &[(key, value.clone())], parts);
    }
    let quantised: &[(Value, &str)] = &[
        (json!({"quant_method": "gptq", "bits": 4}), "gptq, 4 bits"),
        (json!({"quant_method": "awq", "bits": 4}), "awq"),
        (json!({"quant_method": "bitsandbytes", "load_in_4bit": true}), "bitsandbytes"),
        (json!({"load_in_8bit": true}), "bitsandbytes"),
        (json!({"quant_method": "fp8"}), "fp8"),
        (json!({"bits": 3}), "names no method"),
    ];
    for (value, method) in quantised {
        let parts = ["quantised", method, "de-quantise it and save it anew"];
        check_refused("llama1", &[("quantization_config", value.clone())], &parts);
    }
    let unnamed = [("architectures", Value::Null), ("model_type", Value::Null)];
    check_refused(
        "llama1",
        &unnamed,
        &["neither architectures nor model_type", "\"model_type\" with \"llama\" or \"mistral\""],
    );
    let other = [("architectures", Value::Null), ("model_type", json!("mamba"))];
    check_refused("llama1", &other, &["model_type `mamba` has no port here: there is llama, mistral, qwen2"]);
}

#[test]
fn sizes_that_no_model_has_are_refused_before_anything_is_allocated() {
    let sizes = [
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "vocab_size",
        "max_position_embeddings",
    ];
    for key in sizes {
        for value in
            [json!(0), json!(-4), json!(i64::MAX), json!(u64::MAX), json!(1e300), json!(64.5), json!("64"), json!([64])]
        {
            check_refused("llama1", &[(key, value)], &[&format!("`{key}` is "), "a whole number from 1 to"]);
        }
    }
    for key in ["hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size"] {
        check_refused("llama1", &[(key, Value::Null)], &[&format!("`{key}` is missing")]);
    }
    check_refused("llama1", &[("head_dim", json!(15))], &["odd width of 15"]);
    check_refused("llama1", &[("num_key_value_heads", json!(3))], &["4 num_attention_heads", "3 num_key_value_heads"]);
    let odd = [("head_dim", Value::Null), ("num_attention_heads", json!(7))];
    check_refused("llama1", &odd, &["hidden_size 64", "7 num_attention_heads"]);
}

#[test]
fn a_configuration_that_is_no_object_is_refused() {
    for config in [json!([]), json!("x"), json!(null)] {
        let mut folder = Folder::golden("llama1");
        folder.config = config;
        let message = folder.write().load().map(|_| ()).expect_err("no configuration");
        check_message("no object", &message, &["config.json: holds no keys and values"]);
    }
}

#[test]
fn weights_and_configuration_must_agree_on_what_there_is() {
    let bias = |folder: &Folder, name: &str| {
        let weight = &folder.tensors[&format!("model.layers.1.{name}.weight")];
        (format!("model.layers.1.{name}.bias"), weight.select(1, 0).contiguous())
    };
    // A bias that the configuration does not announce, as in checkpoints of neighbours.
    for name in ["self_attn.q_proj", "mlp.down_proj"] {
        let mut folder = Folder::golden("llama1");
        folder.tensors.extend([bias(&folder, name)]);
        let message = folder.write().load().map(|_| ()).expect_err("a bias");
        check_message(name, &message, &[&format!("model.layers.1.{name}.bias"), "may change results"]);
    }
    // Biases in only some of the parts.
    let mut folder = Folder::golden("llama1").set("attention_bias", json!(true));
    folder.tensors.extend([bias(&folder, "self_attn.q_proj")]);
    let message = folder.write().load().map(|_| ()).expect_err("only some");
    check_message("some biases", &message, &["self_attn.q_proj.bias` is missing"]);
    // All of them, as announced.
    let mut folder = Folder::golden("llama1").set("attention_bias", json!(true)).set("mlp_bias", json!(true));
    let weights: Vec<String> = folder.tensors.keys().filter(|name| name.contains("_proj")).cloned().collect();
    for name in weights {
        let bias = folder.tensors[&name].select(1, 0).contiguous() * 5.0;
        folder.tensors.insert(name.replace(".weight", ".bias"), bias);
    }
    let moved = (folder.write().logits() - Folder::golden("llama1").write().logits()).abs().max();
    assert!(f64::try_from(moved).expect("a number") > 0.1, "biases are used");
    // A norm of queries, and an adapter that is not merged.
    for name in ["self_attn.q_norm.weight", "self_attn.q_proj.lora_A.weight"] {
        let mut folder = Folder::golden("llama1");
        let tensor = folder.tensors["model.norm.weight"].copy();
        folder.tensors.insert(format!("model.layers.0.{name}"), tensor);
        let message = folder.write().load().map(|_| ()).expect_err("without a place");
        check_message(name, &message, &[name, "has no place"]);
    }
    // Buffers of older versions, and layers that the model no longer has.
    let mut folder = Folder::golden("llama1");
    let buffer = folder.tensors["model.norm.weight"].narrow(0, 0, 8).contiguous();
    folder.tensors.insert("model.layers.0.self_attn.rotary_emb.inv_freq".to_owned(), buffer.copy());
    folder.tensors.insert("model.layers.9.self_attn.q_norm.weight".to_owned(), buffer);
    assert_close("buffers", &folder.write().logits(), &Folder::golden("llama1").write().logits(), Tol::Exact);
}

#[test]
fn codes_of_a_quantisation_are_named_where_the_configuration_is_silent() {
    for (name, kind) in [
        ("model.layers.0.self_attn.q_proj.weight", tch::Kind::Uint8),
        ("model.layers.0.self_attn.q_proj.weight", tch::Kind::Int8),
        ("model.layers.0.self_attn.q_proj.qweight", tch::Kind::Int),
    ] {
        let mut folder = Folder::golden("llama1");
        let weight = folder.tensors.remove("model.layers.0.self_attn.q_proj.weight").expect("there");
        folder.tensors.insert(name.to_owned(), weight.to_kind(kind));
        let message = folder.write().load().map(|_| ()).expect_err("quantised");
        check_message(name, &message, &[name, "quantised", "save it anew"]);
    }
}
