//! A run, resolved: every setting has its value. This is what is hashed, saved beside the run and printed.

mod study;

use reft_core::AdaptSpec;
use reft_models::decode::Decoding;
use reft_models::tokenizer::TokenizerVersion;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Device;

pub use super::kind::{AnsweredBy, LabelLearning, RunKind};
use super::parity::{self, Parity, ParityPoint};
use crate::data::split::{Selection, Split};
pub use crate::machine::device::{DeviceSpec, Dtype};
use crate::tasks::labelled::LabelledTask;
use crate::tasks::template::PromptTemplate;
use crate::tasks::{DataKind, TaskId};
use crate::train::objectives::ObjectiveSpec;
use crate::train::schedule::SchedulerType;

/// Which rows are scored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EvalSplit {
    /// Rows held out of the training set, for choosing settings. They are then not trained on.
    Dev,
    /// Test rows, for a setting that was chosen before.
    Test(Selection),
}

impl EvalSplit {
    /// The split that is trained on when this one is scored.
    pub fn training(&self) -> Split {
        match self {
            Self::Dev => Split::TrainWithoutDev,
            Self::Test(_) => Split::Train,
        }
    }

    /// The split that is scored.
    pub fn scored(&self) -> Split {
        match self {
            Self::Dev => Split::Dev,
            Self::Test(selection) => Split::Test(selection.clone()),
        }
    }
}

/// `data:` what is learned and scored.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataPlan {
    /// `embedded` rows of this project, or the `real` data sets.
    pub source: DataKind,
    /// Tasks to train on, jointly.
    pub train: Vec<TaskId>,
    /// Tasks to score, each on its own.
    pub eval: Vec<TaskId>,
    /// Training rows of each task at most; 0 for all.
    pub train_rows: usize,
    /// Scored rows of each task at most; 0 for all.
    pub eval_rows: usize,
    /// Which rows are scored.
    pub eval_split: EvalSplit,
    /// Tokens of a row at most.
    pub max_length: usize,
    /// How a question is put to the model.
    pub template: PromptTemplate,
    /// A file with the chat template to use in place of the model's own, or for a model that has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_template: Option<String>,
    /// How rows with labels (GLUE) are learned: by an encoder's head, or by a causal model as text.
    #[serde(default, skip_serializing_if = "LabelLearning::is_default")]
    pub labels: LabelLearning,
}

impl DataPlan {
    /// Which rows are scored, in a word: `own` where all are of the user's data sets.
    pub fn rows(&self) -> String {
        let rows = if self.eval.is_empty() { &self.train } else { &self.eval };
        let own = !rows.is_empty() && rows.iter().all(|id| id.task().own().is_some());
        if own { "own".to_owned() } else { self.source.to_string() }
    }
}

/// `train:` how parameters move.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainPlan {
    /// What is minimised on a causal model: cross-entropy of the output tokens (eq. 4) if it is left out. Encoders have the loss
    /// of their head.
    #[serde(default, skip_serializing_if = "ObjectiveSpec::is_default")]
    pub objective: ObjectiveSpec,
    /// Passes over the training rows.
    pub epochs: u64,
    /// Peak learning rate.
    pub lr: f64,
    /// Rows in one update.
    pub batch_size: usize,
    /// Tokens in one pass at most; a larger batch is accumulated over several passes.
    pub micro_batch_tokens: usize,
    /// How the learning rate goes on after the warm-up.
    #[serde(default, skip_serializing_if = "SchedulerType::is_default")]
    pub schedule: SchedulerType,
    /// Part of the updates in which the learning rate rises.
    pub warmup_ratio: f64,
    /// Weight decay of matrices; biases, gains and orthonormal bases do not decay ([`reft_core::decay`]).
    pub weight_decay: f64,
    /// Largest norm of the gradient.
    pub clip: f64,
    /// In which points the run does what the authors' library did where that differs from the paper's text.
    #[serde(default)]
    pub parity: Parity,
    /// Whether the dropout that an encoder was made with is on in training, as in the reference; interventions have their
    /// own. Language models here have none.
    pub model_dropout: bool,
    /// Dev rows of the trained tasks that a causal model is validated on while it is trained: the parameters with the lowest
    /// loss on them are kept. None to train to the end. Encoders choose an epoch by their task's metric always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<ValidationPlan>,
    /// Updates between two checkpoints.
    pub checkpoint_every: u64,
    /// Gradient checkpointing: blocks that form a group whose states are computed again in the backward pass; 0 keeps all.
    pub recompute_blocks: usize,
    /// Whether what training cannot change is computed once. Results stay the same up to rounding.
    pub frozen_cache: bool,
    /// Memory that this may take, in MiB.
    pub frozen_memory_mib: usize,
    /// Room in a temporary file after that, in MiB.
    pub frozen_disk_mib: usize,
}

/// `train.validation:` how a causal model is validated while it is trained.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ValidationPlan {
    /// Updates between two looks at the dev rows; 0 for one after every epoch.
    pub every: u64,
    /// Dev rows of each trained task at most; 0 for all. They are then not trained on, whichever rows are scored.
    pub rows: usize,
    /// Looks in a row without a lower loss after which training stops early; 0 for never.
    pub patience: u64,
}

/// `eval:` how answers are generated.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EvalPlan {
    /// How an answer is found: in words, or by likelihood where rows name the answers that there are.
    #[serde(default, skip_serializing_if = "AnsweredBy::is_default")]
    pub by: AnsweredBy,
    /// Sequences decoded together at most, every beam counted.
    pub batch_size: usize,
    /// New tokens of an answer at most.
    pub max_new_tokens: usize,
    /// Whether an answer stops growing once it can no longer become the right one. Verdicts stay the same. With several
    /// beams every answer grows to its end.
    pub early_verdict: bool,
    /// How tokens are chosen.
    pub decoding: Decoding,
}

/// The largest number of epochs, rows of a batch, tokens of a text or MiB that a plan may name.
const MOST: u64 = 1 << 24;

/// One run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunPlan {
    /// `smollm2`, a Hugging Face id, a folder, or a `.gguf` file.
    pub model: String,
    /// Which tokenizer of the model gives the ids; `slow` is what the paper's scripts read LLaMA with.
    #[serde(default, skip_serializing_if = "TokenizerVersion::is_fast")]
    pub tokenizer: TokenizerVersion,
    /// Type of the frozen weights: what came of `auto`, or what was asked for.
    pub dtype: Dtype,
    /// Where it computes.
    pub device: DeviceSpec,
    /// Decides initial values, shuffling and dropout.
    pub seed: u64,
    /// What is trained; none for the base model.
    pub adapt: Option<AdaptSpec>,
    /// What is learned and scored.
    pub data: DataPlan,
    /// How parameters move.
    pub train: TrainPlan,
    /// How answers are generated.
    pub eval: EvalPlan,
}

/// What a configuration leaves out, except for `dtype`: there it has `auto`, which depends on the machine. As a value it is the
/// type that every machine is fast enough with.
impl Default for RunPlan {
    fn default() -> Self {
        let task: TaskId = "arc_e".parse().expect("a registered task");
        Self {
            model: "smollm2".to_owned(),
            tokenizer: TokenizerVersion::Fast,
            dtype: Dtype::F32,
            device: DeviceSpec(Device::Cpu),
            seed: 42,
            adapt: None,
            data: DataPlan {
                source: DataKind::Embedded,
                train: vec![task],
                eval: vec![task],
                train_rows: 0,
                eval_rows: 0,
                eval_split: EvalSplit::Dev,
                max_length: 512,
                template: PromptTemplate::Task,
                chat_template: None,
                labels: LabelLearning::Head,
            },
            train: TrainPlan {
                objective: ObjectiveSpec::default(),
                epochs: 1,
                lr: 9e-4,
                batch_size: 16,
                micro_batch_tokens: 4096,
                schedule: SchedulerType::Linear,
                warmup_ratio: 0.1,
                weight_decay: 0.0,
                clip: 1.0,
                parity: Parity::default(),
                model_dropout: true,
                validation: None,
                checkpoint_every: 25,
                recompute_blocks: 0,
                frozen_cache: true,
                frozen_memory_mib: 4096,
                frozen_disk_mib: 16384,
            },
            eval: EvalPlan {
                by: AnsweredBy::Words,
                batch_size: 64,
                max_new_tokens: 32,
                early_verdict: true,
                decoding: Decoding::default(),
            },
        }
    }
}

impl RunPlan {
    /// The tokenizer, where it is another than the one that is taken unasked.
    pub fn asked_tokenizer(&self) -> Option<TokenizerVersion> {
        (!self.tokenizer.is_fast()).then_some(self.tokenizer)
    }

    /// What the run's model does with its rows.
    pub fn kind(&self) -> RunKind {
        if self.data.eval.first().is_some_and(|id| id.task().study().is_some()) {
            return RunKind::Study;
        }
        let labelled = self.data.eval.first().and_then(|id| id.task().labelled());
        match (self.data.labels, labelled) {
            (LabelLearning::Head, Some(task)) => RunKind::Encoder(task),
            (LabelLearning::Head, None) | (LabelLearning::Text, _) => RunKind::Causal,
        }
    }

    /// The split that is trained on: without the dev rows where settings or steps are chosen by them.
    pub fn training_split(&self) -> Split {
        match self.train.validation {
            Some(_) => Split::TrainWithoutDev,
            None => self.data.eval_split.training(),
        }
    }

    /// Whether anything is trained: an adaptation, or a head.
    pub fn trains(&self) -> bool {
        self.adapt.is_some() || self.kind().has_head()
    }

    /// Whether the rows that are scored depend on the seed, which splits the validation rows of a labelled task.
    pub fn splits_by_seed(&self) -> bool {
        self.data.eval.iter().any(|id| id.task().labelled().is_some_and(LabelledTask::splits_by_seed))
    }

    /// Whether the run follows pyreft in this point: runs that train interventions may.
    pub fn follows_pyreft(&self, point: ParityPoint) -> bool {
        self.train.parity.has(point) && self.adapt.as_ref().is_some_and(|adapt| !adapt.interventions().is_empty())
    }

    /// A number that is surely a slip, with its key. Estimates multiply these.
    fn too_large(&self) -> Option<(&'static str, u64)> {
        let (train, eval) = (&self.train, &self.eval);
        let sizes = [
            ("train.epochs", train.epochs),
            ("train.batch_size", train.batch_size as u64),
            ("train.recompute_blocks", train.recompute_blocks as u64),
            ("train.frozen_memory_mib", train.frozen_memory_mib as u64),
            ("train.frozen_disk_mib", train.frozen_disk_mib as u64),
            ("eval.batch_size", eval.batch_size as u64),
            ("eval.max_new_tokens", eval.max_new_tokens as u64),
            ("data.max_length", self.data.max_length as u64),
        ];
        sizes.into_iter().find(|&(_, size)| size > MOST)
    }

    /// What cannot be run, as the key and what to do about it.
    ///
    /// # Errors
    /// The first setting that is out of range.
    pub fn check(&self) -> Result<(), (String, String)> {
        let TrainPlan {
            epochs,
            lr,
            batch_size,
            micro_batch_tokens,
            warmup_ratio,
            weight_decay,
            clip,
            checkpoint_every,
            ..
        } = self.train;
        let tasks = || self.data.train.iter().chain(&self.data.eval);
        let eval = &self.data.eval;
        let same = self.data.train == *eval;
        let checks = [
            ("train.epochs", epochs >= 1, format!("{epochs} is too few: at least 1")),
            ("train.lr", lr > 0.0 && lr.is_finite(), format!("{lr} is not a learning rate: above 0")),
            ("train.batch_size", batch_size >= 1, "0 rows make no update: at least 1".to_owned()),
            ("train.micro_batch_tokens", micro_batch_tokens >= 1, "0 tokens make no pass: at least 1".to_owned()),
            ("train.warmup_ratio", (0.0..1.0).contains(&warmup_ratio), format!("{warmup_ratio}: from 0 to below 1")),
            ("train.weight_decay", weight_decay >= 0.0, format!("{weight_decay}: 0 or more")),
            ("train.clip", clip > 0.0, format!("{clip}: above 0")),
            ("train.checkpoint_every", checkpoint_every >= 1, "at least 1".to_owned()),
            ("eval.batch_size", self.eval.batch_size >= 1, "at least 1".to_owned()),
            ("eval.max_new_tokens", self.eval.max_new_tokens >= 1, "at least 1".to_owned()),
            (
                "eval.by",
                self.eval.by.is_default() || self.data.eval.iter().all(|id| id.task().has_options()),
                "only tasks whose rows name the answers to choose from have a likeliest one: leave it out".to_owned(),
            ),
            ("data.max_length", self.data.max_length >= 2, "at least 2 tokens".to_owned()),
            (
                "data.eval",
                eval.iter().all(|one| eval.iter().all(|other| one == other || one.key() != other.key())),
                "two data sets have one name, which is their file's: give each a `name` of its own".to_owned(),
            ),
            (
                "data.eval",
                !eval.is_empty() || self.adapt.is_some(),
                "nothing is trained and nothing is scored: name at least one task".to_owned(),
            ),
            (
                "data.labels",
                self.data.labels == LabelLearning::Head || tasks().any(|id| id.task().labelled().is_some()),
                "no task here has labels: leave it out".to_owned(),
            ),
            (
                "data.train",
                self.adapt.is_none() || !self.data.train.is_empty() || matches!(self.kind(), RunKind::Study),
                "name at least one task".to_owned(),
            ),
            (
                "data.labels",
                self.data.labels == LabelLearning::Head
                    || !tasks().any(|id| id.task().labelled().is_some() && id.task().own().is_some()),
                "text is for tasks of this program: describe your data by prompt, choices and answer instead of text and \
                 label, and a causal model learns it"
                    .to_owned(),
            ),
            (
                "data.train",
                self.data.labels == LabelLearning::Text
                    || !tasks().any(|id| id.task().labelled().is_some())
                    || (self.data.train.len(), tasks().count()) == (1, 2) && same,
                "an encoder is trained and scored on one task with labels: name the same one in data.train and data.eval, or let a \
                 causal model learn them as text (data.labels: text)"
                    .to_owned(),
            ),
        ];
        if self.train.validation.is_some() && self.kind().has_head() {
            let remedy = "an encoder's epochs are chosen by its task's metric on validation rows: leave it out";
            return Err(("train.validation".to_owned(), remedy.to_owned()));
        }
        if !self.train.objective.is_default() && self.kind().has_head() {
            let remedy = "an encoder has the loss of its head: leave it out, or let a causal model learn the rows as text \
                          (data.labels: text)";
            return Err(("train.objective".to_owned(), remedy.to_owned()));
        }
        if let Err(remedy) = self.train.objective.objective().check() {
            return Err((format!("train.objective.{}", self.train.objective.key()), remedy));
        }
        study::check(self)?;
        if let Some((key, given)) = self.too_large() {
            return Err((key.to_owned(), format!("{given} is more than any run can have: {MOST} at most")));
        }
        if let Some((key, _, remedy)) = checks.into_iter().find(|(_, fine, _)| !fine) {
            return Err((key.to_owned(), remedy));
        }
        parity::check(self.train.parity, self.adapt.as_ref())?;
        self.eval.decoding.check().map_err(|(key, remedy)| (format!("eval.decoding.{key}"), remedy))
    }
}
