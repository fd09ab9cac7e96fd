//! `reft read`: a steering vector from pairs of texts (appendix B), as an adapter folder like any other.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use reft_core::AdaptSpec;
use reft_core::adaptation::Adaptation;
use reft_core::adaptations::reft::ReftSpec;
use reft_core::adapter_file;
use reft_core::intervention::PhiSettings;
use reft_core::interventions::Phi;
use reft_core::interventions::steer::{Operator, Steer};
use reft_core::layers::{LayerIndex, Layers};
use reft_core::method::InterventionSpec;
use reft_core::positions::{Positions, PositionsError, Tying};
use reft_core::reading::{ReadingMethod, swaps};
use reft_core::rng::Seed;
use reft_core::site::{Component, Site};
use reft_models::model::Decoder;
use reft_models::tokenizer::Specials;
use tch::{Kind, Tensor, no_grad};

use super::collect::{component, layers, positions, sites};
use super::{BaseArgs, place};
use crate::collect::{Keep, StateRequest};
use crate::data::pairs;
use crate::run::context;
use crate::train::batches;

/// Tokens of one pass.
const TOGETHER: usize = 4096;

/// Arguments of `reft read`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// File of pairs: JSON rows {"positive": "...", "negative": "..."}
    pairs: PathBuf,
    /// Folder of the adapter to write
    #[arg(long, short)]
    out: PathBuf,
    /// Replace another adapter that is in this folder
    #[arg(long)]
    overwrite: bool,
    /// How the vector is computed: difference (one pair: activation addition; several: contrastive addition), pca,
    /// `pca_swapped` (`RepE`), `pca_uncentred`, or sequence (one pair, a vector for each token from the first)
    #[arg(long, default_value = "difference", value_parser = reading)]
    reading: VectorKind,
    /// Tokens whose states are read (their mean, where there are several)
    #[arg(long, default_value = "l1", value_parser = positions, value_name = "POSITIONS")]
    read_at: Positions,
    /// Layers that are read and steered: all, or a list such as 10;11;-5
    #[arg(long, value_parser = layers, allow_hyphen_values = true)]
    layers: Layers,
    /// Component that is read and steered
    #[arg(long, default_value = "block_output", value_parser = component)]
    component: Component,
    /// How the vector meets a state: linear, piecewise or projection
    #[arg(long, default_value = "linear", value_parser = operator)]
    operator: Operator,
    /// Tokens that are steered: prompt, l1, gen (each generated token), l1+gen, all; sequence has its own
    #[arg(long, value_parser = steered)]
    positions: Option<Positions>,
    /// What the edit is multiplied by, unless --strength of a later command says something else
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true, value_parser = strength)]
    strength: f64,
    /// Decides which pairs change their order (`pca_swapped`)
    #[arg(long, default_value_t = 42)]
    seed: u64,
    #[command(flatten)]
    base: BaseArgs,
}

/// How the vectors are computed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum VectorKind {
    /// One vector for all steered tokens.
    Reading(ReadingMethod),
    /// One for each of the first tokens of a prompt.
    Sequence,
}

fn reading(text: &str) -> Result<VectorKind, String> {
    let found =
        ReadingMethod::ALL.iter().find(|(name, _)| *name == text).map(|(_, reading)| VectorKind::Reading(*reading));
    let known = || ReadingMethod::ALL.map(|(name, _)| name).join(", ");
    found
        .or_else(|| (text == "sequence").then_some(VectorKind::Sequence))
        .ok_or_else(|| format!("there is no reading `{text}`: choose one of {}, sequence", known()))
}

fn operator(text: &str) -> Result<Operator, String> {
    match text {
        "linear" => Ok(Operator::Linear),
        "piecewise" => Ok(Operator::Piecewise),
        "projection" => Ok(Operator::Projection),
        _ => Err(format!("there is no operator `{text}`: choose linear, piecewise or projection")),
    }
}

fn strength(text: &str) -> Result<f64, String> {
    // Edits are computed in f32.
    let finite = text.parse().ok().filter(|strength: &f64| (*strength as f32).is_finite());
    finite.ok_or_else(|| "write a finite number, such as 1 or -0.5".to_owned())
}

fn steered(text: &str) -> Result<Positions, String> {
    text.parse().map_err(|error: PositionsError| error.to_string())
}

/// The states of both sides at one site, `[n, d]`, pair by pair.
struct PairStates {
    site: Site,
    positive: Tensor,
    negative: Tensor,
}

impl Args {
    /// Reads the vectors, writes the adapter, and says how well they tell the two sides apart.
    ///
    /// # Errors
    /// When the model or the file of pairs is wrong, the pairs give no direction, or the folder cannot be written.
    pub fn run(self) -> Result<()> {
        self.base.check_named()?;
        place::check_folder("--out", &self.out)?;
        if !self.overwrite {
            place::check_no_adapter("--out", &self.out)?;
        }
        let opened = self.base.open(&[])?;
        let loaded = &opened.loaded;
        let model = loaded.decoder.as_ref();
        let pairs = pairs::read(&self.pairs)?;
        let encode = |(side, text): (&str, &String), row: usize| -> Result<Vec<i64>> {
            let ids = loaded.tokenizer.encode(text, Specials::AsModel)?;
            let what = format!("{}: row {}, {side}", self.pairs.display(), row + 1);
            context::check_prompt(&what, ids.len(), model.context())?;
            if ids.is_empty() {
                bail!("{what} has no tokens: write at least one character");
            }
            Ok(ids)
        };
        let mut sides = [Vec::new(), Vec::new()];
        for (row, pair) in pairs.iter().enumerate() {
            sides[0].push(encode(("positive", &pair.positive), row)?);
            sides[1].push(encode(("negative", &pair.negative), row)?);
        }
        let sites = sites(&[self.component], &self.layers, model.dims())?;
        let (spec, vectors) = match self.how()? {
            VectorKind::Reading(reading) => self.tied(reading, model, &sites, &sides)?,
            VectorKind::Sequence => self.sequence(model, &sites, &sides)?,
        };
        let spec = AdaptSpec::new(spec);
        let adaptation = spec.build(model.dims(), Seed(0), model.options().1)?;
        put(adaptation.as_ref(), &vectors);
        adapter_file::save(&self.out, &loaded.base, &spec, adaptation.as_ref())?;
        place::clear_beside(&self.out)?;
        println!("{}: use it with reft generate --adapter {0} --strength C", self.out.display());
        Ok(())
    }

    fn how(&self) -> Result<VectorKind> {
        match (self.reading, self.positions) {
            (VectorKind::Sequence, Some(_)) => {
                bail!("--positions: sequence steers the first tokens of a prompt; leave it out")
            }
            (VectorKind::Sequence, None) if self.operator != Operator::Linear => {
                bail!("--operator: sequence is added; leave it out")
            }
            (how, _) => Ok(how),
        }
    }

    fn spec(&self, sites: &[Site], positions: Positions, tying: Tying) -> Result<ReftSpec> {
        let layers = sites.iter().map(|site| LayerIndex::FromStart(site.layer.0)).collect();
        let phi = Phi::new(Steer { operator: self.operator });
        let named = Steer::names().into_iter().find(|named| named.settings.operator == self.operator);
        let intervention =
            named.map_or(Ok(InterventionSpec::Spelled(phi)), |named| InterventionSpec::named(named.key))?;
        Ok(ReftSpec {
            intervention,
            rank: 1,
            positions,
            layers: Layers::listed(layers)?,
            tying,
            component: self.component,
            strength: self.strength,
            ..<ReftSpec as reft_core::adapt_config::AdaptMethod>::example()
        })
    }

    /// One vector a site.
    fn tied(
        &self,
        reading: ReadingMethod,
        model: &dyn Decoder,
        sites: &[Site],
        sides: &[Vec<Vec<i64>>; 2],
    ) -> Result<(ReftSpec, Vec<Tensor>)> {
        let wanted = StateRequest { sites: sites.to_vec(), positions: self.read_at, keep: Keep::Mean };
        let [positive, negative] = [states(model, &wanted, &sides[0])?, states(model, &wanted, &sides[1])?];
        let swaps = swaps(sides[0].len(), Seed(self.seed));
        let mut vectors = Vec::new();
        println!("layer  length  pairs whose positive is the larger");
        for ((site, positive), (_, negative)) in positive.into_iter().zip(negative) {
            let sides = PairStates { site, positive, negative };
            let named = || format!("{}: layer {}", self.pairs.display(), site.layer);
            let vector = reading.vector(&sides.positive, &sides.negative, &swaps).with_context(named)?;
            println!("{}", sides.line(&vector));
            vectors.push(vector);
        }
        Ok((self.spec(sites, self.positions.unwrap_or(Positions::All), Tying::Tied)?, vectors))
    }

    /// A vector for each token.
    fn sequence(
        &self,
        model: &dyn Decoder,
        sites: &[Site],
        sides: &[Vec<Vec<i64>>; 2],
    ) -> Result<(ReftSpec, Vec<Tensor>)> {
        let ([positive], [negative]) = (sides[0].as_slice(), sides[1].as_slice()) else {
            bail!("{}: {} pairs, and sequence reads one: leave one", self.pairs.display(), sides[0].len());
        };
        if positive.len() != negative.len() {
            bail!(
                "{}: the positive text has {} tokens and the negative {}: fill the shorter up (with spaces) to the same number",
                self.pairs.display(),
                positive.len(),
                negative.len()
            );
        }
        let wanted = StateRequest { sites: sites.to_vec(), positions: Positions::Prompt, keep: Keep::Tokens };
        let [plus, minus] = [states(model, &wanted, &sides[0])?, states(model, &wanted, &sides[1])?];
        let difference = plus.into_iter().zip(minus).flat_map(|((_, plus), (_, minus))| (plus - minus).unbind(0));
        let prefix = u32::try_from(positive.len()).context("a text of that length")?;
        Ok((self.spec(sites, Positions::Ends { prefix, suffix: 0 }, Tying::PerPosition)?, difference.collect()))
    }
}

/// States of many texts at each site, in the order of the texts.
fn states(model: &dyn Decoder, wanted: &StateRequest, texts: &[Vec<i64>]) -> Result<Vec<(Site, Tensor)>> {
    let lengths: Vec<usize> = texts.iter().map(Vec::len).collect();
    let mut parts: Vec<Vec<(Site, Tensor)>> = Vec::new();
    for part in batches::micro(&lengths, TOGETHER) {
        let texts: Vec<&[i64]> = texts[part].iter().map(Vec::as_slice).collect();
        parts.push(wanted.of(model, None, &texts)?.at);
    }
    let joined = |(index, &site): (usize, &Site)| {
        let tensors: Vec<&Tensor> = parts.iter().map(|part| &part[index].1).collect();
        (site, Tensor::cat(&tensors, 0))
    };
    Ok(wanted.sites.iter().enumerate().map(joined).collect())
}

/// Puts the vectors into the adaptation, in the order of its tensors: by layer, then by token.
fn put(adaptation: &dyn Adaptation, vectors: &[Tensor]) {
    for (named, vector) in adaptation.named().iter().zip(vectors) {
        no_grad(|| named.tensor.shallow_clone().copy_(vector));
    }
}

impl PairStates {
    /// The layer, the vector's length, and how many pairs it tells apart.
    fn line(&self, vector: &Tensor) -> String {
        let larger = (&self.positive - &self.negative).matmul(vector).gt(0.0).sum(Kind::Int64).int64_value(&[]);
        let length = vector.norm().double_value(&[]);
        format!("{:5}  {length:6.3}  {larger} of {}", self.site.layer, self.positive.size()[0])
    }
}
