//! `reft das`: interchange runs with a learned or given `R` on every layer and position asked for.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use reft_core::adaptation::Adaptation;
use reft_core::adaptations::reft::{ReftList, ReftSpec};
use reft_core::adapter_file::{self, SavedAdapter};
use reft_core::layers::Layers;
use reft_core::lender::NoLender;
use reft_core::rng::Seed;
use reft_core::site::{Component, Dims, LayerId};
use reft_models::model::Decoder;

use super::BaseArgs;
use super::collect::{component, layers};
use super::place::check_folder;
use crate::atomic;
use crate::config::plan::{DeviceSpec, Dtype};
use crate::das::equality::{self, TOKENS, Variable};
use crate::das::network;
use crate::das::price_tag::PriceTag;
use crate::das::search::{DasSettings, InterchangePair, accuracy};
use crate::machine::fast;
use crate::report::figures::heat_map::HeatMap;

/// Arguments of `reft das`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    task: DasTask,
}

#[derive(Debug, Subcommand)]
enum DasTask {
    #[command(allow_negative_numbers = true)]
    /// Hierarchical equality, on a tiny network that is trained for it: (W = X) = (Y = Z)
    Equality(EqualityArgs),
    #[command(allow_negative_numbers = true)]
    /// Price tagging, on a language model: does an amount lie between two bounds?
    PriceTag(PriceTagArgs),
}

#[derive(Debug, clap::Args)]
struct EqualityArgs {
    /// Folder of the network, which is trained and written there if there is none [default: the output's folder/network]
    #[arg(long)]
    network: Option<PathBuf>,
    /// The variable: wx, yz, or both, each from a source of its own into rows of its own of one R, where its second entity stands
    #[arg(long, default_value = "wx", value_parser = variables)]
    variable: SearchedVariables,
    #[command(flatten)]
    search: SearchArgs,
}

#[derive(Debug, clap::Args)]
struct PriceTagArgs {
    /// The last tokens of a prompt to look at
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=16))]
    last: u32,
    #[command(flatten)]
    base: BaseArgs,
    #[command(flatten)]
    search: SearchArgs,
}

#[derive(Debug, clap::Args)]
struct SearchArgs {
    /// Folder for iia.csv, iia.svg, iia.png and, as `basis`, the R that did best
    #[arg(long, short)]
    out: PathBuf,
    /// Layers to look at: all, or a list such as 0;5;-1
    #[arg(long, default_value = "all", value_parser = layers, allow_hyphen_values = true)]
    layers: Layers,
    /// Component to look at
    #[arg(long, default_value = "block_output", value_parser = component)]
    component: Component,
    /// Rows of R
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(i64).range(1..))]
    rank: i64,
    /// Folder of an R that an earlier search wrote: it is scored at its layer and not learned
    #[arg(long, conflicts_with_all = ["layers", "component", "rank", "pairs", "epochs", "rate"])]
    basis: Option<PathBuf>,
    /// Replace what an earlier search wrote in the folder of --out
    #[arg(long)]
    overwrite: bool,
    /// Pairs to learn from
    #[arg(long, default_value_t = 1024, value_parser = at_least_one)]
    pairs: usize,
    /// Other pairs to score on
    #[arg(long, default_value_t = 512, value_parser = at_least_one)]
    test_pairs: usize,
    /// Times over the pairs
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..))]
    epochs: u64,
    /// Pairs of an update
    #[arg(long, default_value_t = 64, value_parser = at_least_one)]
    batch: usize,
    /// Adam's learning rate
    #[arg(long, default_value_t = 0.03, value_parser = rate)]
    rate: f64,
    /// Decides pairs, network and the beginning of R
    #[arg(long, default_value_t = 42)]
    seed: u64,
}

/// The variables that are exchanged at once.
#[derive(Clone, Debug)]
struct SearchedVariables(Vec<Variable>);

impl SearchedVariables {
    /// `WX and YZ`.
    fn name(&self) -> String {
        self.0.iter().map(|variable| variable.name()).collect::<Vec<_>>().join(" and ")
    }

    /// The places to look at: every token for one variable, for several that of each where it is known first.
    fn positions(&self) -> Vec<(String, Vec<usize>)> {
        if let [_] = self.0.as_slice() {
            return TOKENS.iter().enumerate().map(|(at, name)| ((*name).to_owned(), vec![TOKENS.len() - at])).collect();
        }
        let backs: Vec<usize> = self.0.iter().map(|variable| variable.back()).collect();
        let names: Vec<&str> = backs.iter().map(|back| TOKENS[TOKENS.len() - back]).collect();
        vec![(names.join(" and "), backs)]
    }
}

fn variables(text: &str) -> Result<SearchedVariables, String> {
    if text.eq_ignore_ascii_case("both") {
        return Ok(SearchedVariables(Variable::ALL.to_vec()));
    }
    let found = Variable::ALL.into_iter().find(|variable| variable.name().eq_ignore_ascii_case(text));
    found
        .map(|variable| SearchedVariables(vec![variable]))
        .ok_or_else(|| format!("there is no variable `{text}`: choose wx, yz or both"))
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&pairs| pairs > 0).ok_or_else(|| "write a number of pairs, 1 or more".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| "write a learning rate above 0, such as 0.03".to_owned())
}

/// A model, the pairs, and the positions that are looked at.
struct DasStudy<'a> {
    model: &'a dyn Decoder,
    base: &'a reft_core::base_model::BaseModel,
    train: Vec<InterchangePair>,
    test: Vec<InterchangePair>,
    /// Name of each position, and how far it is from the end (1: the last token), for each variable.
    positions: Vec<(String, Vec<usize>)>,
    title: String,
}

impl Args {
    /// Searches, prints the accuracies, and writes the heat map and the best `R`.
    ///
    /// # Errors
    /// When the model, the network or `R` is wrong, or a file cannot be written.
    pub fn run(self) -> Result<()> {
        match self.task {
            DasTask::Equality(args) => args.run(),
            DasTask::PriceTag(args) => args.run(),
        }
    }
}

impl EqualityArgs {
    fn run(self) -> Result<()> {
        let seed = Seed(self.search.seed);
        let folder = self.network.clone().unwrap_or_else(|| self.search.out.join("network"));
        if !folder.join("config.json").exists() {
            check_folder("--network", &folder)?;
            if folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
                bail!(
                    "--network {}: other files are there: name the folder of a network, or a new one",
                    folder.display()
                );
            }
            self.search.check(&network::DIMS, self.variable.0.len())?;
            let loss = network::train(&folder, seed)?;
            println!("{}: a network trained, mean loss of its last updates {loss:.4}", folder.display());
        }
        let network = network::open(&folder)?;
        let vocabulary = network.model.dims().vocab;
        if vocabulary != equality::VOCABULARY {
            bail!(
                "--network {}: a model of {vocabulary} tokens, where hierarchical equality has {}: name a network that reft das wrote, or a \
                 new folder",
                folder.display(),
                equality::VOCABULARY
            );
        }
        self.search.check(network.model.dims(), self.variable.0.len())?;
        let drawn = |name: &str, count: usize| {
            let mut rng = seed.stream(name, 0);
            (0..count).map(|_| equality::pair(&mut rng, &self.variable.0)).collect::<Vec<_>>()
        };
        let mut rng = seed.stream("das inputs", 0);
        let inputs: Vec<_> = (0..self.search.test_pairs).map(|_| equality::example(&mut rng)).collect();
        println!(
            "the network's own accuracy on {} inputs: {:.3}",
            inputs.len(),
            network::accuracy(network.model.as_ref(), &inputs)?
        );
        let study = DasStudy {
            model: network.model.as_ref(),
            base: &network.base,
            train: drawn("das train", self.search.pairs),
            test: drawn("das test", self.search.test_pairs),
            positions: self.variable.positions(),
            title: format!("interchange-intervention accuracy, {}", self.variable.name()),
        };
        self.search.run(&study)
    }
}

impl PriceTagArgs {
    fn run(self) -> Result<()> {
        let seed = Seed(self.search.seed);
        self.base.check_named()?;
        let opened = self.base.open(&[])?;
        let loaded = &opened.loaded;
        self.search.check(loaded.decoder.dims(), 1)?;
        let task = PriceTag::new(&loaded.tokenizer)?;
        let drawn = |name: &str, count: usize| {
            let mut rng = seed.stream(name, 0);
            (0..count).map(|_| task.pair(&mut rng)).collect::<Result<Vec<_>>>()
        };
        let mut rng = seed.stream("das inputs", 0);
        let inputs = (0..self.search.test_pairs).map(|_| task.example(&mut rng)).collect::<Result<Vec<_>>>()?;
        let own = network::accuracy(loaded.decoder.as_ref(), &inputs)?;
        println!("the model's own accuracy on {} questions: {own:.3}", inputs.len());
        if own < 0.8 {
            println!(
                "a model that cannot do the task has no such variable to find: read what follows with that in mind"
            );
        }
        let back = (1..=self.last as usize).rev();
        let study = DasStudy {
            model: loaded.decoder.as_ref(),
            base: &loaded.base,
            train: drawn("das train", self.search.pairs)?,
            test: drawn("das test", self.search.test_pairs)?,
            positions: back.map(|back| (format!("-{back}"), vec![back])).collect(),
            title: "interchange-intervention accuracy, amount >= lower bound".to_owned(),
        };
        self.search.run(&study)
    }
}

impl SearchArgs {
    fn search(&self) -> DasSettings {
        DasSettings {
            rank: self.rank,
            component: self.component,
            epochs: self.epochs,
            batch: self.batch,
            rate: self.rate,
            seed: Seed(self.seed),
        }
    }

    /// Refuses what cannot be searched for in a model of these dimensions, before anything is trained for it.
    fn check(&self, dims: &Dims, variables: usize) -> Result<()> {
        check_folder("--out", &self.out)?;
        if let Some(there) =
            ["iia.csv", "basis"].into_iter().find(|name| self.out.join(name).exists() && !self.overwrite)
        {
            bail!(
                "--out {}: {there} of another search is there: name another folder, or give --overwrite to replace it",
                self.out.display()
            );
        }
        for layer in self.layers.resolve(dims).context("--layers")? {
            let spec = self.search().spec(layer, variables)?;
            spec.config().trainable(dims, &NoLender).with_context(|| format!("--rank {}", self.rank))?;
        }
        match &self.basis {
            Some(basis) => SavedAdapter::read(basis).map(drop).context("--basis"),
            None => Ok(()),
        }
    }

    fn run(&self, study: &DasStudy<'_>) -> Result<()> {
        let (layers, values) = match &self.basis {
            Some(basis) => self.given(study, basis)?,
            None => self.learned(study)?,
        };
        let base_labels = study.test.iter().filter(|pair| pair.label == study.test[0].label).count();
        let share = base_labels as f64 / study.test.len() as f64;
        let map = HeatMap {
            title: study.title.clone(),
            rows: ("layer".to_owned(), layers.iter().map(ToString::to_string).collect()),
            columns: ("position".to_owned(), study.positions.iter().map(|(name, _)| name.clone()).collect()),
            values,
            chance: share.max(1.0 - share),
        };
        let about = format!("**{}**\n\n{}", map.title, self.notes(study));
        for (name, bytes) in map.figure("iia").files()?.into_iter().chain([("iia.md".to_owned(), about.into_bytes())]) {
            let path = self.out.join(name);
            atomic::write(&path, &bytes).with_context(|| format!("{}: cannot be written", path.display()))?;
        }
        println!("{}: iia.csv, iia.svg, iia.png", self.out.display());
        Ok(())
    }

    /// What the accuracies depend on, as a list.
    fn notes(&self, study: &DasStudy<'_>) -> String {
        let (kind, device) = study.model.options();
        let dtype = Dtype::of(kind).map_or("another type", Dtype::name);
        let device = String::from(DeviceSpec(device));
        let learned = match &self.basis {
            Some(basis) => format!("R of {}", basis.display()),
            None => format!(
                "R of rank {}, learned at each layer and position from {} pairs in {} epochs, batch {}, lr {}",
                self.rank,
                study.train.len(),
                self.epochs,
                self.batch,
                self.rate
            ),
        };
        format!(
            "- n = {} other pairs, seed {}\n- {learned}\n- model {}, base weights {dtype}, device {device} ({}), {} threads\n",
            study.test.len(),
            self.seed,
            study.base.id,
            fast::processor().name,
            tch::get_num_threads()
        )
    }

    /// Learns at every layer and position; the best R is kept as an adapter.
    fn learned(&self, study: &DasStudy<'_>) -> Result<(Vec<LayerId>, Vec<f64>)> {
        let layers = self.layers.resolve(study.model.dims())?;
        let search = self.search();
        let (mut values, mut best) = (Vec::new(), None::<(f64, Box<dyn Adaptation>, _)>);
        for &layer in &layers {
            for (name, backs) in &study.positions {
                let found = search.at(study.model, (layer, backs), &study.train, &study.test)?;
                println!("layer {layer}, {name}: {:.3}", found.accuracy);
                values.push(found.accuracy);
                if best.as_ref().is_none_or(|(accuracy, ..)| found.accuracy > *accuracy) {
                    best = Some((found.accuracy, found.adaptation, found.spec));
                }
            }
        }
        if let Some((_, adaptation, spec)) = best {
            adapter_file::save(&self.out.join("basis"), study.base, &spec, adaptation.as_ref())?;
        }
        Ok((layers, values))
    }

    /// Scores a given R at its layer and every position.
    fn given(&self, study: &DasStudy<'_>, path: &Path) -> Result<(Vec<LayerId>, Vec<f64>)> {
        let saved = SavedAdapter::read(path)?;
        let adapt = &saved.config.adapt;
        let sets = match (adapt.get::<ReftSpec>(), adapt.get::<ReftList>()) {
            (Some(one), _) => std::slice::from_ref(one),
            (None, Some(several)) => several.0.as_slice(),
            (None, None) => &[],
        };
        let interchanges = |set: &ReftSpec| set.intervention.phi().as_intervention().takes_source();
        let Some(first) = sets.first().filter(|_| sets.iter().all(interchanges)) else {
            bail!(
                "{}: the adapter is no interchange (dii): give the `basis` folder that a search wrote",
                path.display()
            );
        };
        let variables = study.test[0].sources.len();
        if sets.len() != variables {
            bail!("{}: an R for {} variables, where {variables} are exchanged", path.display(), sets.len());
        }
        let layers = first.layers.resolve(study.model.dims())?;
        let [_] = layers.as_slice() else { bail!("{}: {} layers, one is needed", path.display(), layers.len()) };
        let adaptation = saved.onto(study.base, study.model.options().1)?;
        let mut values = Vec::new();
        for (name, backs) in &study.positions {
            let accuracy = accuracy(study.model, adaptation.as_ref(), backs, &study.test, self.batch)?;
            println!("layer {}, {name}: {accuracy:.3}", layers[0]);
            values.push(accuracy);
        }
        Ok((layers, values))
    }
}
