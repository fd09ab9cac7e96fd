//! A tiny model of a family with random weights, as a checkpoint on disk and loaded.

use reft_core::adaptation::{Mode, Step};
use reft_core::hooks::{Hooks, NoHooks};
use reft_core::layout::{Extent, Layout, Padding};
use reft_core::lender::Lender;
use reft_core::site::Dims;
use reft_core::testing::{device, indices, normal};
use reft_models::attention::PastKeyValues;
use reft_models::encoder::{Encoder, EncoderConfig, EncoderFamily, EncoderPass};
use reft_models::families::{FamilyKind, ModelFamily};
use reft_models::lending::{LendingDecoder, LendingEncoder};
use reft_models::model::{Decoder, Pass};
use reft_models::raw_config::RawConfig;
use reft_models::registry;
use reft_models::weights::Weights;
use serde_json::Value;
use tch::{Kind, Tensor};
use tempfile::TempDir;

/// Token ids of a sequence and the length of its prompt.
pub type Sequence = (Vec<i64>, i64);

/// A model of either kind.
pub enum Model {
    /// Continues texts.
    Decoder(Box<dyn Decoder>),
    /// Reads texts.
    Encoder(Box<Encoder>),
}

impl Model {
    fn load(kind: FamilyKind, weights: &Weights, dtype: Kind) -> Self {
        match kind {
            FamilyKind::Decoder => Self::Decoder(registry::load(weights, dtype, device()).expect("a tiny decoder")),
            FamilyKind::Encoder => {
                Self::Encoder(Box::new(Encoder::load(weights, dtype, device()).expect("a tiny encoder")))
            }
        }
    }

    pub fn dims(&self) -> &Dims {
        match self {
            Self::Decoder(model) => model.dims(),
            Self::Encoder(model) => model.dims(),
        }
    }

    /// Logits of a decoder, or the last states of an encoder, at every token of every sequence, one after the other.
    pub fn output(&self, batch: &[Sequence], padding: Padding, step: Option<&dyn Step>) -> Tensor {
        let layout = layout(batch, padding);
        let hooks = step.map(|step| step.hooks(&layout).expect("disjoint"));
        let hooks = hooks.as_deref().unwrap_or(&NoHooks);
        match (self, step.and_then(Step::weights)) {
            (model, None) => model.hooked(batch, &layout, hooks),
            (Self::Decoder(model), Some(own)) => {
                Self::Decoder(model.on(own).expect("its own weights")).hooked(batch, &layout, hooks)
            }
            (Self::Encoder(model), Some(own)) => {
                Self::Encoder(Box::new(model.on(own).expect("its own weights"))).hooked(batch, &layout, hooks)
            }
        }
    }

    /// The same with these hooks.
    pub fn hooked(&self, batch: &[Sequence], layout: &Layout, hooks: &dyn Hooks) -> Tensor {
        let tokens: Vec<&[i64]> = batch.iter().map(|(ids, _)| ids.as_slice()).collect();
        let ids = layout.place(&tokens, device());
        let of_batch = batch.iter().enumerate();
        let rows = of_batch.flat_map(|(index, (ids, _))| (0..ids.len() as i64).map(move |at| (index, at)));
        let rows: Vec<i64> = rows.map(|(index, at)| layout.row(index, at).expect("in the pass")).collect();
        match self {
            Self::Decoder(model) => {
                let mut pass = Pass { layout, hooks, cache: PastKeyValues::None, wanted: None };
                model.logits(&model.hidden(&ids, &mut pass).index_select(0, &indices(&rows)))
            }
            Self::Encoder(model) => {
                let reading = EncoderPass { layout, hooks, mode: Mode::Eval };
                model.hidden(&ids, None, &reading).index_select(0, &indices(&rows))
            }
        }
    }
}

/// How a batch lies in a pass.
pub fn layout(batch: &[Sequence], padding: Padding) -> Layout {
    let extent = |(ids, prompt): &Sequence| Extent { len: ids.len() as i64, prompt: *prompt };
    Layout::new(&batch.iter().map(extent).collect::<Vec<_>>(), padding)
}

/// A tiny model in two types.
pub struct Fixture {
    pub model: Model,
    pub rounded: Model,
    weights: Weights,
    // Deleted when the fixture goes.
    _folder: TempDir,
}

impl Fixture {
    pub fn new(family: &ModelFamily) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let tensors = match family.kind {
            FamilyKind::Decoder => registry::tensors_of(&family.example).expect("an example"),
            FamilyKind::Encoder => encoder_tensors(&family.example),
        };
        let random: Vec<(String, Tensor)> = tensors
            .into_iter()
            .enumerate()
            .map(|(index, (name, shape))| {
                let values = random(&name, &shape, 100 + index as u64);
                (name, values)
            })
            .collect();
        Tensor::write_safetensors(&random, folder.path().join("model.safetensors")).expect("writable");
        std::fs::write(folder.path().join("config.json"), family.example.to_string()).expect("writable");
        let weights = Weights::open(folder.path()).expect("just written");
        let load = |dtype| Model::load(family.kind, &weights, dtype);
        Self { model: load(Kind::Float), rounded: load(Kind::BFloat16), weights, _folder: folder }
    }

    /// Runs `f` on what the model lends.
    pub fn lending<T>(&self, f: impl FnOnce(&dyn Lender) -> T) -> T {
        let weights = &self.weights;
        match &self.model {
            Model::Decoder(model) => f(&LendingDecoder { model: model.as_ref(), weights }),
            Model::Encoder(model) => f(&LendingEncoder { model, weights }),
        }
    }
}

/// Values of a size at which every part of the model matters: gains near 1, small biases, matrices that keep the norm.
fn random(name: &str, shape: &[i64], seed: u64) -> Tensor {
    let values = normal(shape, seed);
    match shape {
        [_] if name.ends_with("bias") => values * 0.1,
        [_] => values * 0.1 + 1.0,
        _ => values / (*shape.last().expect("a matrix") as f64).sqrt(),
    }
}

fn encoder_tensors(config: &Value) -> Vec<(String, Vec<i64>)> {
    let path = "config.json".as_ref();
    let raw = RawConfig::new(path, config).expect("a section");
    let family =
        EncoderFamily::ALL.into_iter().find(|family| config["model_type"] == family.name()).expect("an encoder");
    EncoderConfig::read(&raw, family).expect("an example").tensors()
}
