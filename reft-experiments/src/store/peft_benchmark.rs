//! A record as a result file of peft's method comparison (`huggingface/peft`, `method_comparison`), whose `processing.py` reads it.
//!
//! That benchmark measures an accelerator's memory over a run. Of it a record has the process's peak, which stands for the
//! maximum; average and 99th percentile are not measured and 0. Versions of Python packages are null: none was used.

use std::time::{SystemTime, UNIX_EPOCH};

use reft_core::AdaptSpec;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use super::record::{Record, Score};
use crate::config::plan::{Dtype, EvalSplit, RunPlan};
use crate::score::grade::Unit;
use crate::train::observe::StepInfo;
use crate::train::schedule::SchedulerType;

/// The result file of a run; `trace` are its updates, and `done` is when it was complete.
pub fn result(record: &Record, trace: &[StepInfo], done: SystemTime) -> Value {
    let cost = record.cost;
    let bytes = cost.peak_memory_mib << 20;
    json!({
        "run_info": {
            "created_at": date(done),
            "total_time": cost.train_seconds + cost.eval_seconds,
            "experiment_name": name(record),
            "peft_branch": "main",
            "train_config": train_config(&record.plan, trace),
            "peft_config": record.plan.adapt.as_ref().and_then(peft_config),
            "error_msg": "",
        },
        "train_info": {
            "accelerator_memory_reserved_avg": 0,
            "accelerator_memory_max": bytes,
            "accelerator_memory_reserved_99th": 0,
            "train_time": cost.train_seconds,
            "file_size": cost.adapter_bytes.unwrap_or(0),
            "num_trainable_params": record.parameters.trainable + record.parameters.head,
            "num_total_params": record.parameters.base + record.parameters.trainable + record.parameters.head,
            "status": "success",
            "metrics": [metrics(record, trace)],
        },
        "meta_info": meta_info(record),
    })
}

/// `METHOD/MODEL-RUN`, as the benchmark's experiments are called.
pub fn name(record: &Record) -> String {
    let method = record.plan.adapt.as_ref().map_or("base", AdaptSpec::key);
    let model = record.plan.model.rsplit('/').next().unwrap_or_default();
    format!("{method}/{model}-{}", record.id)
}

fn date(done: SystemTime) -> String {
    let seconds = done.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (hour, minute, second) = at.to_hms();
    format!("{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}+00:00", at.year(), u8::from(at.month()), at.day())
}

/// The settings by the benchmark's keys; those of ours that it has no key for are not in it.
fn train_config(plan: &RunPlan, trace: &[StepInfo]) -> Value {
    let dtype = match plan.dtype {
        Dtype::F32 => "float32",
        Dtype::Bf16 => "bfloat16",
        Dtype::F16 => "float16",
    };
    let scheduler = match plan.train.schedule {
        SchedulerType::Constant => Value::Null,
        SchedulerType::Linear => json!("linear"),
        SchedulerType::Cosine => json!("cosine"),
    };
    json!({
        "model_id": plan.model,
        "dtype": dtype,
        "max_seq_length": plan.data.max_length,
        "batch_size": plan.train.batch_size,
        "batch_size_eval": plan.eval.batch_size,
        "max_steps": trace.len(),
        "eval_steps": trace.len(),
        "compile": false,
        "use_gc": plan.train.recompute_blocks > 0,
        "query_template": query_template(plan),
        "seed": plan.seed,
        "grad_norm_clip": plan.train.clip,
        "optimizer_type": "AdamW",
        "optimizer_kwargs": {"lr": plan.train.lr, "weight_decay": plan.train.weight_decay},
        "lr_scheduler": scheduler,
        "use_amp": false,
        "autocast_adapter_dtype": true,
        "generation_kwargs": {"max_new_tokens": plan.eval.max_new_tokens},
        "attn_implementation": null,
        "init_kv_cache_prefix": null,
    })
}

/// How a question is put: the template of a user's data set, or the task's own.
fn query_template(plan: &RunPlan) -> String {
    let own = plan.data.train.first().and_then(|id| id.task().own());
    own.and_then(|set| set.spec.prompt.clone()).unwrap_or_else(|| "{query}".to_owned())
}

/// The method with its settings, by this program's names; none for full finetuning, as the benchmark has it.
fn peft_config(adapt: &AdaptSpec) -> Option<Value> {
    if adapt.key() == "full" {
        return None;
    }
    let written = serde_json::to_value(adapt).expect("plain data");
    let mut config = Map::from_iter([("peft_type".to_owned(), json!(adapt.key().to_uppercase()))]);
    match &written[adapt.key()] {
        Value::Object(settings) => config.extend(settings.clone()),
        other => config.extend([("members".to_owned(), other.clone())]),
    }
    Some(config.into())
}

/// The last entry of the benchmark's list, from which its tables are made.
fn metrics(record: &Record, trace: &[StepInfo]) -> Value {
    // Losses are no accuracies.
    let fraction = |score: &Score| (score.unit() == Unit::Percent).then(|| score.figure() / 100.0);
    let split = match record.plan.data.eval_split {
        EvalSplit::Dev => "valid",
        EvalSplit::Test(_) => "test",
    };
    let tokens: usize = trace.iter().map(|info| info.update.tokens).sum();
    let mut metrics = json!({
        "step": trace.len(),
        "train loss": trace.last().map(|info| info.update.loss),
        "train samples": null,
        "train total tokens": tokens,
        "test accuracy": null,
    });
    let fractions: Option<Vec<f64>> = record.scores.values().map(fraction).collect();
    let fractions = fractions.filter(|fractions| !fractions.is_empty());
    let mean = fractions.map(|fractions| fractions.iter().sum::<f64>() / fractions.len() as f64);
    metrics[format!("{split} accuracy")] = json!(mean);
    for (task, score) in &record.scores {
        metrics[format!("{split} accuracy {task}")] = json!(fraction(score));
    }
    metrics
}

fn meta_info(record: &Record) -> Value {
    let environment = &record.environment;
    let packages = ["transformers", "peft", "datasets", "bitsandbytes", "torch"];
    let mut versions = Map::new();
    for package in packages {
        versions.insert(format!("{package}-version"), Value::Null);
        versions.insert(format!("{package}-commit-hash"), Value::Null);
    }
    json!({
        "model_info": {"sha": environment.weights_fingerprint, "created_at": null},
        "dataset_info": {
            (record.plan.data.rows()): {"sha": environment.data_fingerprint, "created_at": null},
        },
        "package_info": versions,
        "system_info": {
            "system": std::env::consts::OS,
            "machine": std::env::consts::ARCH,
            "processor": environment.processor,
            "accelerator": String::from(record.plan.device),
        },
        "pytorch_info": format!("reft {} (git {})", env!("CARGO_PKG_VERSION"), environment.git_revision),
    })
}
