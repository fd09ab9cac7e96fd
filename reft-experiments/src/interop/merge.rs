//! An adapter merged into its model: linear maps that compute at once what map and adapter compute together.
//!
//! | adapter | `W'` | `b'` |
//! |---|---|---|
//! | LoRA | `W + s B A` | `b` |
//! | DoRA | `m ⊙ V / ‖V‖`, `V = W + s B A` | `b` |
//! | VeRA | `W + diag(b) B diag(d) A` | `b` |
//! | IA3 on a map's output, on a map's input | `diag(l) W`, `W diag(l)` | `l ⊙ b`, `b` |
//! | an affine `Φ(y) = M y + c` on all tokens of a linear component | `M W` | `M b + c` |
//! | full finetuning, `BitFit` | what was trained | what was trained |

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use reft_core::AdaptSpec;
use reft_core::adapt_config::AdaptMethod;
use reft_core::adaptations::dora::DoraSpec;
use reft_core::adaptations::ia3::Ia3Spec;
use reft_core::adaptations::joint::{JointSpec, MemberSpec, StagedSpec};
use reft_core::adaptations::lora::{LoraBias, LoraSpec};
use reft_core::adaptations::own_weights::{BitFit, Full};
use reft_core::adaptations::reft::ReftSpec;
use reft_core::adaptations::vera::VeraSpec;
use reft_core::interventions::low_rank::{self, EditSource, LowRank};
use reft_core::interventions::red::Red;
use reft_core::layers::Layers;
use reft_core::positions::Positions;
use reft_core::site::{Component, Dims, LayerId, Site};
use reft_models::weights::Weights;
use tch::{Kind, Tensor};

use super::NamedTensors;
use super::names::ModuleNaming;

/// A map of a model, f32.
pub struct MergedMap {
    /// `[out, in]`.
    pub weight: Tensor,
    /// `[out]`.
    pub bias: Option<Tensor>,
}

/// What changes of a checkpoint.
pub struct Merged<'a> {
    weights: &'a Weights,
    naming: ModuleNaming,
    dims: &'a Dims,
    maps: BTreeMap<String, MergedMap>,
    /// Whole tensors, by their names in the checkpoint.
    whole: NamedTensors,
}

impl<'a> Merged<'a> {
    /// Merges an adapter.
    ///
    /// # Errors
    /// When it cannot be merged, with the reason.
    pub fn new(
        spec: &AdaptSpec,
        tensors: &NamedTensors,
        (weights, naming, dims): (&'a Weights, ModuleNaming, &'a Dims),
    ) -> Result<Self> {
        let mut merged = Self { weights, naming, dims, maps: BTreeMap::new(), whole: NamedTensors::new() };
        merged.add(spec, tensors)?;
        Ok(merged)
    }

    /// The tensors that change, by their names in the checkpoint; some are new (biases).
    pub fn tensors(&self) -> NamedTensors {
        let map = |(module, map): (&String, &MergedMap)| {
            let weight = (format!("{module}.weight"), map.weight.shallow_clone());
            let bias = map.bias.as_ref().map(|bias| (format!("{module}.bias"), bias.shallow_clone()));
            std::iter::once(weight).chain(bias).collect::<Vec<_>>()
        };
        let whole = self.whole.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone()));
        self.maps.iter().flat_map(map).chain(whole).collect()
    }

    fn add(&mut self, spec: &AdaptSpec, tensors: &NamedTensors) -> Result<()> {
        if let Some(lora) = spec.get::<LoraSpec>() {
            return self.lora(lora, tensors);
        }
        if let Some(dora) = spec.get::<DoraSpec>() {
            everywhere(DoraSpec::KEY, dora.positions)?;
            let scale = dora.alpha / if dora.rslora { (dora.rank as f64).sqrt() } else { dora.rank as f64 };
            return self.each(&dora.components, &dora.layers, |at, map| {
                let [a, b, magnitude] = at.get(tensors, ["lora_A", "lora_B", "magnitude"])?;
                let turned = map.weight + b.matmul(a) * scale;
                let norms = turned.square().sum_dim_intlist(1i64, true, Kind::Float).sqrt();
                Ok(MergedMap { weight: turned * (magnitude.unsqueeze(1) / norms), bias: map.bias })
            });
        }
        if let Some(vera) = spec.get::<VeraSpec>() {
            everywhere(VeraSpec::KEY, vera.positions)?;
            let shared = |name: &str| tensors.get(name).with_context(|| format!("no tensor `{name}`"));
            let (first, second) = (shared("vera_A")?, shared("vera_B")?);
            return self.each(&vera.components, &vera.layers, |at, map| {
                let [d, b] = at.get(tensors, ["vera_lambda_d", "vera_lambda_b"])?;
                let size = map.weight.size();
                let (first, second) = (first.narrow(1, 0, size[1]), second.narrow(0, 0, size[0]));
                let added = (second * d).matmul(&first) * b.unsqueeze(1);
                Ok(MergedMap { weight: map.weight + added, bias: map.bias })
            });
        }
        if let Some(ia3) = spec.get::<Ia3Spec>() {
            return self.ia3(ia3, tensors);
        }
        if let Some(reft) = spec.get::<ReftSpec>() {
            return self.reft(reft, tensors);
        }
        if spec.get::<Full>().is_some() || spec.get::<BitFit>().is_some() {
            return self.own(tensors);
        }
        let members: &[MemberSpec] = match (spec.get::<JointSpec>(), spec.get::<StagedSpec>()) {
            (Some(joint), _) => &joint.0,
            (None, Some(staged)) => &staged.0,
            (None, None) => bail!(
                "{} cannot be merged: it is no change of the model's linear maps; answer with --adapter instead",
                spec.key()
            ),
        };
        let below = |prefix: String| {
            let strip = |(name, tensor): (&String, &Tensor)| {
                Some((name.strip_prefix(&prefix)?.to_owned(), tensor.shallow_clone()))
            };
            tensors.iter().filter_map(strip).collect::<NamedTensors>()
        };
        members.iter().enumerate().try_for_each(|(index, member)| {
            self.add(&member.adapt, &below(format!("{index}."))).with_context(|| format!("member {index}"))
        })
    }

    fn lora(&mut self, lora: &LoraSpec, tensors: &NamedTensors) -> Result<()> {
        everywhere(LoraSpec::KEY, lora.positions)?;
        let part = |name: &str| {
            let strip =
                |(key, tensor): (&String, &Tensor)| Some((key.strip_prefix(name)?.to_owned(), tensor.shallow_clone()));
            tensors.iter().filter_map(strip).collect::<NamedTensors>()
        };
        let prefix = match lora.bias {
            LoraBias::None | LoraBias::LoraOnly => "",
            LoraBias::All => "lora.",
        };
        let low_rank = part(prefix);
        let scale = lora.alpha / if lora.rslora { (lora.rank as f64).sqrt() } else { lora.rank as f64 };
        self.each(&lora.components, &lora.layers, |at, map| {
            let [a, b] = at.get(&low_rank, ["lora_A", "lora_B"])?;
            let bias = match lora.bias {
                LoraBias::LoraOnly => Some(at.get(&low_rank, ["bias"])?[0].shallow_clone()),
                LoraBias::None | LoraBias::All => map.bias,
            };
            Ok(MergedMap { weight: map.weight + b.matmul(a) * scale, bias })
        })?;
        match lora.bias {
            LoraBias::None | LoraBias::LoraOnly => Ok(()),
            LoraBias::All => self.own(&part("bias.")),
        }
    }

    fn ia3(&mut self, ia3: &Ia3Spec, tensors: &NamedTensors) -> Result<()> {
        everywhere(Ia3Spec::KEY, ia3.positions)?;
        for &component in &ia3.components {
            let (map_of, input) = match component {
                Component::MlpHidden => (Component::MlpOutput, true),
                Component::HeadOutput => (Component::AttentionOutput, true),
                component if component.is_linear() => (component, false),
                other => bail!("ia3 at {other} cannot be merged: no linear map gives it or reads it alone"),
            };
            for layer in ia3.layers.resolve(self.dims)? {
                let [scale] = SitePrefix(Site { layer, component }).get(tensors, ["ia3_l"])?;
                self.change(Site { layer, component: map_of }, |map| {
                    Ok(if input {
                        MergedMap { weight: map.weight * scale, ..map }
                    } else {
                        MergedMap { weight: map.weight * scale.unsqueeze(1), bias: map.bias.map(|bias| bias * scale) }
                    })
                })?;
            }
        }
        Ok(())
    }

    /// Edits of all tokens at a linear component, where `Φ` is affine.
    fn reft(&mut self, reft: &ReftSpec, tensors: &NamedTensors) -> Result<()> {
        if reft.component.is_linear() {
            everywhere(ReftSpec::KEY, reft.positions)?;
        } else {
            bail!(
                "edits of {} cannot be merged: it is the output of no linear map; those of query, key, value, gate, up, \
                 attention_output and mlp_output can, at positions all",
                reft.component
            );
        }
        for layer in reft.layers.resolve(self.dims)? {
            self.check_no_norm(Site { layer, component: reft.component })?;
        }
        let phi = reft.intervention.phi();
        let width = reft.component.width(self.dims);
        self.each(&[reft.component], &reft.layers, |at, map| {
            let (matrix, constant) = if let Some(low_rank) = phi.get::<LowRank>() {
                affine(*low_rank, at, tensors, width)?
            } else if phi.get::<Red>().is_some() {
                let [scale, bias] = at.get(tensors, ["both.scale", "both.bias"])?;
                (scale.diag(0), bias.shallow_clone())
            } else {
                bail!("this intervention cannot be merged: it is not known to be affine");
            };
            let moved = match map.bias {
                Some(bias) => matrix.mv(&bias) + constant,
                None => constant,
            };
            Ok(MergedMap { weight: matrix.matmul(&map.weight), bias: Some(moved) })
        })
    }

    /// Refuses a component whose map the model normalises before the edit.
    fn check_no_norm(&self, site: Site) -> Result<()> {
        let Some(module) = self.naming.module(site) else { return Ok(()) };
        let block = module.rsplitn(3, '.').nth(2).unwrap_or_default();
        let norm = match site.component {
            Component::Query => format!("{block}.self_attn.q_norm"),
            Component::Key => format!("{block}.self_attn.k_norm"),
            // Models that normalise what the MLP adds normalise what attention adds too.
            Component::AttentionOutput | Component::MlpOutput => format!("{block}.post_feedforward_layernorm"),
            _ => return Ok(()),
        };
        if self.weights.contains(&format!("{norm}.weight")) {
            bail!(
                "edits of {site} cannot be merged: the model normalises ({norm}) what the linear map gives before them"
            );
        }
        Ok(())
    }

    /// The model's own tensors, trained.
    fn own(&mut self, tensors: &NamedTensors) -> Result<()> {
        for (name, tensor) in tensors {
            let wrapped = ["roberta.", "bert."].map(|prefix| format!("{prefix}{name}"));
            let known = std::iter::once(name).chain(&wrapped).find(|name| self.weights.contains(name));
            let known = known.with_context(|| format!("tensor `{name}` is not in the checkpoint"))?;
            self.whole.insert(known.clone(), tensor.shallow_clone());
        }
        Ok(())
    }

    fn each(
        &mut self,
        components: &[Component],
        layers: &Layers,
        change: impl Fn(SitePrefix, MergedMap) -> Result<MergedMap>,
    ) -> Result<()> {
        let layers: Vec<LayerId> = layers.resolve(self.dims)?;
        for site in layers.iter().flat_map(|&layer| components.iter().map(move |&component| Site { layer, component }))
        {
            self.change(site, |map| change(SitePrefix(site), map))?;
        }
        Ok(())
    }

    fn change(&mut self, site: Site, change: impl FnOnce(MergedMap) -> Result<MergedMap>) -> Result<()> {
        let module = self.naming.module(site).with_context(|| format!("{site} is no module of this model"))?;
        let map = match self.maps.remove(&module) {
            Some(map) => map,
            None => self.stored(&module)?,
        };
        self.maps.insert(module, change(map)?);
        Ok(())
    }

    fn stored(&self, module: &str) -> Result<MergedMap> {
        let read = |name: &str| -> Result<Tensor> {
            let shape = self.weights.shape(name).with_context(|| {
                format!("tensor `{name}` is not in the checkpoint: its maps are named or joined otherwise than is known here")
            })?;
            Ok(self.weights.tensor(name, shape, Kind::Float, tch::Device::Cpu)?)
        };
        let bias = format!("{module}.bias");
        let bias = self.weights.contains(&bias).then(|| read(&bias)).transpose()?;
        Ok(MergedMap { weight: read(&format!("{module}.weight"))?, bias })
    }
}

/// A weight acts on every token.
fn everywhere(method: &str, positions: Positions) -> Result<()> {
    if positions == Positions::All {
        return Ok(());
    }
    bail!(
        "{method} at positions {positions} cannot be merged: a weight acts on every token, prompt and answer; only \
         positions all can"
    );
}

/// A site, as names of tensors begin.
#[derive(Clone, Copy)]
struct SitePrefix(Site);

impl SitePrefix {
    fn get<'t, const N: usize>(self, tensors: &'t NamedTensors, names: [&str; N]) -> Result<[&'t Tensor; N]> {
        let find = |name: &str| {
            let name = format!("{}.{name}", self.0);
            tensors.get(&name).with_context(|| format!("no tensor `{name}`: the adapter is of another kind"))
        };
        let found: Vec<&Tensor> = names.into_iter().map(find).collect::<Result<_>>()?;
        found.try_into().map_err(|_| anyhow::anyhow!("as many tensors as names"))
    }
}

/// `M` and `c` of `Φ(y) = y + Bᵀ(W y + b − [difference] B y) = M y + c`.
fn affine(phi: LowRank, at: SitePrefix, tensors: &NamedTensors, width: i64) -> Result<(Tensor, Tensor)> {
    if phi.activation != low_rank::SourceActivation::Identity {
        bail!("an intervention with an activation cannot be merged: it is not affine");
    }
    let [basis] = at.get(tensors, ["both.basis"])?;
    let rank = basis.size()[0];
    let like = (Kind::Float, basis.device());
    let source = match phi.source {
        EditSource::Affine | EditSource::Linear => at.get(tensors, ["both.weight"])?[0].shallow_clone(),
        EditSource::Constant => Tensor::zeros([rank, width], like),
    };
    let bias = match phi.source {
        EditSource::Affine | EditSource::Constant => at.get(tensors, ["both.bias"])?[0].shallow_clone(),
        EditSource::Linear => Tensor::zeros([rank], like),
    };
    let inner = if phi.difference { source - basis } else { source };
    Ok((Tensor::eye(width, like) + basis.tr().matmul(&inner), basis.tr().mv(&bias)))
}
