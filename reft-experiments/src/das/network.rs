//! A tiny Llama that computes hierarchical equality, with its variables planted where they can be looked for.
//!
//! It is trained on inputs and, at the same time, on interchanges (interchange-intervention training): at the site of the
//! plant the variables live in the rows of fixed orthonormal matrices, `WX` at the position of `X` and `YZ` at that of `Z`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use rand_chacha::ChaCha8Rng;
use reft_core::AdaptSpec;
use reft_core::adapt_config::LentTensors;
use reft_core::adaptation::{Adaptation, Mode, OverlapError, Step};
use reft_core::adaptations::nothing::NoAdaptation;
use reft_core::base_model::BaseModel;
use reft_core::rng::Seed;
use reft_core::site::{Dims, LayerId, Mlp};
use reft_models::identity::Identity;
use reft_models::model::Decoder;
use reft_models::registry;
use reft_models::weights::Weights;
use serde_json::json;
use tch::{Device, Kind, Tensor};

use super::equality::{self, VOCABULARY, Variable};
use super::search::{ExchangePlace, InterchangePair};
use crate::run::session::base_model;
use crate::train::interchange::{Counterfactual, Interchanges};
use crate::train::learner::{Learner, UpdateRules};
use crate::train::model_with_loss::{ModelWithLoss, TokenRow};
use crate::train::schedule::Schedule;

/// Blocks of the network.
pub const LAYERS: usize = 3;
const WIDTH: i64 = 64;
const MLP: i64 = 128;
const HEADS: i64 = 4;
/// Rows of each planted subspace.
pub const PLANTED_RANK: i64 = 4;
/// The block behind which the variables are planted.
pub const PLANTED: LayerId = LayerId(1);

/// Updates of a round of training; each round has the learning rate's whole schedule.
const UPDATES: u64 = 2000;
/// Rounds at most. One is enough mostly, but not for every rounding of a processor.
const ROUNDS: u64 = 4;
/// Mean loss of a round's last updates at which the variables are where they are planted.
const LEARNED: f64 = 0.1;
/// Updates that it is the mean of.
const COUNTED: u64 = 50;
const BATCH: usize = 128;
const RATE: f64 = 3e-3;

/// The network's dimensions.
pub const DIMS: Dims = Dims {
    layers: LAYERS,
    width: WIDTH,
    heads: HEADS,
    kv_heads: HEADS,
    head_width: WIDTH / HEADS,
    mlp_width: MLP,
    vocab: VOCABULARY,
    mlp: Mlp::Gated,
};

/// Writes the network's configuration into a checkpoint folder.
fn write_config(folder: &Path) -> Result<()> {
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": WIDTH,
        "intermediate_size": MLP, "max_position_embeddings": 16, "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS, "num_key_value_heads": HEADS, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
        "tie_word_embeddings": false, "torch_dtype": "float32", "vocab_size": VOCABULARY, "attention_bias": false,
        "mlp_bias": false,
    });
    std::fs::write(folder.join("config.json"), config.to_string()).context("config.json")
}

/// Writes an untrained network as a checkpoint folder.
fn write_fresh(folder: &Path, seed: Seed) -> Result<()> {
    write_config(folder)?;
    let _guard = seed.seed_libtorch("network", 0);
    let normal = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu)) / (shape[1] as f64).sqrt();
    let ones = || Tensor::ones([WIDTH], (Kind::Float, Device::Cpu));
    let mut tensors = vec![
        ("model.embed_tokens.weight".to_owned(), normal(&[VOCABULARY, WIDTH])),
        ("model.norm.weight".to_owned(), ones()),
        ("lm_head.weight".to_owned(), normal(&[VOCABULARY, WIDTH])),
    ];
    for layer in 0..LAYERS {
        let name = |rest: &str| format!("model.layers.{layer}.{rest}.weight");
        for part in ["q_proj", "k_proj", "v_proj", "o_proj"] {
            tensors.push((name(&format!("self_attn.{part}")), normal(&[WIDTH, WIDTH])));
        }
        tensors.push((name("mlp.gate_proj"), normal(&[MLP, WIDTH])));
        tensors.push((name("mlp.up_proj"), normal(&[MLP, WIDTH])));
        tensors.push((name("mlp.down_proj"), normal(&[WIDTH, MLP])));
        tensors.push((name("input_layernorm"), ones()));
        tensors.push((name("post_attention_layernorm"), ones()));
    }
    write(folder, &tensors)
}

fn write(folder: &Path, tensors: &[(String, Tensor)]) -> Result<()> {
    Tensor::write_safetensors(tensors, folder.join("model.safetensors")).context("model.safetensors")
}

/// The planted subspaces, one set of interventions for each variable.
fn plant(model: &dyn Decoder, seed: Seed) -> Result<Box<dyn Adaptation>> {
    // Rank and component are the same, so the sets are told apart by the tokens that a pass names.
    let set = json!({"intervention": "dii", "rank": PLANTED_RANK, "layers": [PLANTED.0], "positions": "given"});
    let spec: AdaptSpec = serde_json::from_value(json!({ "refts": [set, set] }))?;
    Ok(spec.build(model.dims(), seed, Device::Cpu)?)
}

/// What the network learns from at once: inputs with answers, and interchanges.
struct Batch {
    plain: Vec<Counterfactual>,
    interchanged: Vec<Counterfactual>,
}

impl Batch {
    fn drawn(rng: &mut ChaCha8Rng) -> Self {
        let plain = |_| {
            let (base, label) = equality::example(rng);
            Counterfactual { base, sources: Vec::new(), label, name: "input".to_owned() }
        };
        let plain = (0..BATCH).map(plain).collect();
        let interchanged = |index: usize| {
            let part = index % Variable::ALL.len();
            let variable = Variable::ALL[part];
            let pair: InterchangePair = equality::pair(rng, &[variable]);
            pair.at(&[ExchangePlace { part, back: variable.back() }])
        };
        let interchanged = (0..BATCH).map(interchanged).collect();
        Self { plain, interchanged }
    }
}

impl TokenRow for Batch {
    fn tokens(&self) -> usize {
        self.plain.iter().chain(&self.interchanged).map(TokenRow::tokens).sum()
    }

    fn name(&self) -> &'static str {
        "inputs and interchanges"
    }
}

/// Cross-entropy of the answers, with and without interchanges of the planted variables.
struct Planting<'a> {
    model: &'a dyn Decoder,
    plant: &'a dyn Adaptation,
}

impl ModelWithLoss for Planting<'_> {
    type Example = Batch;

    fn scored(&self, batch: &[&Batch]) -> usize {
        batch.len()
    }

    fn gradients(&self, step: &dyn Step, batch: &[&Batch]) -> Result<(f64, usize), OverlapError> {
        let weights = step.weights().expect("the network's own weights are trained");
        let model = self.model.on(weights).expect("the weights it lent");
        let interchanges = Interchanges { model: model.as_ref() };
        let planted = self.plant.begin(Mode::Eval);
        let (mut loss, mut tokens) = (0.0, 0);
        for batch in batch {
            for cases in [&batch.plain, &batch.interchanged] {
                let cases: Vec<&Counterfactual> = cases.iter().collect();
                let (part, seen) = interchanges.gradients(planted.as_ref(), &cases)?;
                (loss, tokens) = (loss + part, tokens + seen);
            }
        }
        Ok((loss / batch.len().max(1) as f64, tokens))
    }
}

/// Trains a network and writes it as a checkpoint folder, complete or not at all; the mean loss of its last updates.
///
/// # Errors
/// When something else is in the folder, or a file cannot be written.
pub fn train(folder: &Path, seed: Seed) -> Result<f64> {
    let untrained = tempfile::tempdir().context("a temporary folder")?;
    write_fresh(untrained.path(), seed)?;
    let weights = Weights::open(untrained.path())?;
    let model = registry::load(&weights, Kind::Float, Device::Cpu)?;
    let lent = registry::lend(&weights, Device::Cpu)?;
    let spec: AdaptSpec = serde_json::from_value(json!({"full": {}}))?;
    let mut adaptation = spec.build_on(model.dims(), &LentTensors(&lent), seed, Device::Cpu)?;
    let plant = plant(model.as_ref(), seed)?;
    let mut objective = Planting { model: model.as_ref(), plant: plant.as_ref() };
    let mut learner = Learner::new(&mut objective, adaptation.as_mut(), UpdateRules::default());
    let schedule = Schedule::linear(RATE, 0.05, UPDATES);
    let mut rng = seed.stream("network data", 0);
    let mut last = f64::INFINITY;
    for _ in 0..ROUNDS {
        if last <= LEARNED {
            break;
        }
        last = 0.0;
        for update in 0..UPDATES {
            let loss = learner.update(&[&Batch::drawn(&mut rng)], schedule.at(update))?.loss;
            last += if update + COUNTED >= UPDATES { loss / COUNTED as f64 } else { 0.0 };
        }
    }
    let step = adaptation.begin(Mode::Eval);
    let trained: &BTreeMap<String, Tensor> = step.weights().context("the network's own weights")?;
    let named: Vec<(String, Tensor)> =
        trained.iter().map(|(name, tensor)| (name.clone(), tensor.detach().contiguous())).collect();
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
    let fresh = tempfile::Builder::new().prefix(".network-").tempdir_in(parent)?;
    write_config(fresh.path())?;
    write(fresh.path(), &named)?;
    std::fs::rename(fresh.keep(), folder).with_context(|| folder.display().to_string())?;
    Ok(last)
}

/// A network with what an `R` on it says of it.
pub struct Network {
    /// The model.
    pub model: Box<dyn Decoder>,
    /// Its weights and sizes.
    pub base: BaseModel,
}

/// Reads a network's folder.
///
/// # Errors
/// When it is not one.
pub fn open(folder: &Path) -> Result<Network> {
    let weights = Weights::open(folder)?;
    let model = registry::load(&weights, Kind::Float, Device::Cpu)?;
    let identity = Identity::of(&weights)?;
    let base = base_model(folder.display().to_string(), &identity, model.dims());
    Ok(Network { model, base })
}

/// The share of inputs after which the answer is the most likely token.
///
/// # Errors
/// When an input cannot be run.
pub fn accuracy(model: &dyn Decoder, inputs: &[(Vec<i64>, i64)]) -> Result<f64> {
    let case = |(base, label): &(Vec<i64>, i64)| Counterfactual {
        base: base.clone(),
        sources: Vec::new(),
        label: *label,
        name: "input".to_owned(),
    };
    let cases: Vec<Counterfactual> = inputs.iter().map(case).collect();
    Ok(Interchanges { model }.accuracy(&NoAdaptation::new(model.options().1), &cases, BATCH)?)
}
