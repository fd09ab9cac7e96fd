//! Speed and memory, ours and the peer's (pyreft, and peft for LoRA), on the same rows in one run, as ratios.
//!
//! Every measurement is a process of its own, so that peak memory is that job's. Training is timed by update (median),
//! so that loading and the first updates do not count; the rest by wall clock.

pub mod gemm;
pub mod ours;
pub mod overhead;
pub mod peer;
pub mod plot;
pub mod report;
pub mod scaling;
pub mod trained;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tch::Device;

use crate::config::dtype::DtypeChoice;
use crate::config::plan::{DeviceSpec, Dtype};

/// What is timed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum BenchmarkKind {
    /// Updates; unpadded tokens a second.
    Train,
    /// Commonsense answers; examples a second.
    Eval,
    /// One sequence at a time; new tokens a second.
    Decode,
}

/// What is trained or answers, on both sides.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum BenchmarkMethod {
    /// The base model alone
    None,
    /// `LoReFT` at the job's positions and layers; the peer is pyreft
    Loreft,
    /// `LoRA` on the query and value maps of the job's layers; the peer is peft
    Lora,
}

impl BenchmarkMethod {
    /// Its name on both command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Loreft => "loreft",
            Self::Lora => "lora",
        }
    }

    /// Whose program it is compared with.
    pub fn peer(self) -> &'static str {
        if self == Self::Lora { "peft" } else { "pyreft" }
    }
}

/// One thing to measure.
#[derive(Clone, PartialEq, Debug, clap::Args)]
pub struct BenchmarkJob {
    /// What is timed
    #[arg(value_enum)]
    pub kind: BenchmarkKind,
    /// Type of the base weights: auto (bf16 where its products are fast, else f32), f32 or bf16
    #[arg(long, default_value = "auto", value_parser = on_cpu)]
    pub dtype: Dtype,
    /// cpu, cuda or cuda:1
    #[arg(long, default_value = "cpu", value_parser = device)]
    pub device: DeviceSpec,
    /// Edited tokens
    #[arg(long, default_value = "f7+l7")]
    pub positions: String,
    /// `all`, or layers separated by commas
    #[arg(long, default_value = "all")]
    pub layers: String,
    /// Dimension of the subspace
    #[arg(long, default_value_t = 8)]
    pub rank: i64,
    /// Adapters of that rank that are trained jointly, each at its part of the layers
    #[arg(long, default_value_t = 1)]
    pub adapters: usize,
    /// Rows in one update, or sequences that run together
    #[arg(long, default_value_t = 16)]
    pub batch: usize,
    /// Timed updates; two more come first
    #[arg(long, default_value_t = 4)]
    pub steps: usize,
    /// New tokens of an answer at most
    #[arg(long, default_value_t = 32)]
    pub new: usize,
    /// Rows, after the first, that are used
    #[arg(long, default_value_t = 64)]
    pub rows: usize,
    /// What is trained or answers
    #[arg(long, value_enum, default_value = "loreft")]
    pub method: BenchmarkMethod,
    /// A folder with a trained adapter (`adapter`) and its export for the peer (`peer`) [default: an untrained one]
    #[arg(long)]
    pub trained: Option<PathBuf>,
    /// Tokens that our decoding guesses at once
    #[arg(long, default_value_t = 8)]
    pub lookahead: usize,
}

/// The type that this is on the processor here.
fn on_cpu(text: &str) -> Result<Dtype, String> {
    text.parse::<DtypeChoice>().map(|choice| choice.on(DeviceSpec(Device::Cpu)))
}

fn device(text: &str) -> Result<DeviceSpec, String> {
    DeviceSpec::try_from(text.to_owned())
}

/// Updates before the timed ones.
pub const UNTIMED: usize = 2;

impl BenchmarkJob {
    /// Training of `LoReFT` as the paper's table 1 has it.
    pub fn training(dtype: Dtype) -> Self {
        Self {
            kind: BenchmarkKind::Train,
            dtype,
            device: DeviceSpec(Device::Cpu),
            positions: "f7+l7".to_owned(),
            layers: "all".to_owned(),
            rank: 8,
            adapters: 1,
            batch: 16,
            steps: 4,
            new: 32,
            rows: 128,
            method: BenchmarkMethod::Loreft,
            trained: None,
            lookahead: 8,
        }
    }

    /// Decoding of one sequence at a time with its edits.
    pub fn decoding(dtype: Dtype) -> Self {
        Self { kind: BenchmarkKind::Decode, batch: 1, rows: 8, ..Self::training(dtype) }
    }

    /// Rows that a training job needs.
    pub fn trained(&self) -> usize {
        self.batch * (self.steps + UNTIMED)
    }
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct BenchmarkResult {
    /// Tokens, examples or new tokens a second, by the kind of job.
    pub value: f64,
    /// Peak memory of the process, MiB.
    pub peak_mib: f64,
    /// Seconds of an update; 0 where that is not what is timed.
    #[serde(default)]
    pub step_s: f64,
    /// Seconds of all updates, the first included, or of all answers.
    #[serde(default)]
    pub total_s: f64,
    /// Part of the time that the matrix products take by themselves, measured in the same process; 0 where it was not.
    /// Guesses can save passes, and with them products that are counted here.
    #[serde(default)]
    pub gemm_share: f64,
    /// Speed of those products.
    #[serde(default)]
    pub gflops: f64,
}

/// A line of the summary: a job, and what is asked of the ratio.
pub struct SummaryLine {
    /// Its name.
    pub name: &'static str,
    /// The job.
    pub job: BenchmarkJob,
    /// Least ratio of ours to the peer's.
    pub goal: f64,
    /// What is counted.
    pub unit: &'static str,
}

/// The comparison: one line a job, in the type that is fast here, and in f32 where that is another one. `trained` is the folder
/// of an adapter that has learned the form of the answers, so that they end.
pub fn lines(fast: Dtype, trained: &Path) -> Vec<SummaryLine> {
    let job = BenchmarkJob::training(fast);
    let one = BenchmarkJob { positions: "l1".to_owned(), layers: "15".to_owned(), rank: 4, ..job.clone() };
    let f32 = |job: &BenchmarkJob| BenchmarkJob { dtype: Dtype::F32, ..job.clone() };
    let eval = BenchmarkJob { kind: BenchmarkKind::Eval, rows: 64, ..job.clone() };
    let answering = BenchmarkJob { trained: Some(trained.to_owned()), ..eval.clone() };
    let lora = BenchmarkJob { method: BenchmarkMethod::Lora, ..job.clone() };
    let decode = BenchmarkJob::decoding(fast);
    let long = BenchmarkJob { batch: 16, rows: 16, new: 256, ..decode.clone() };
    let line = |name, job, goal, unit| SummaryLine { name, job, goal, unit };
    let in_f32 = vec![
        line("train, all layers f7+l7 rank 8", f32(&job), 2.3, "tokens/s"),
        line("train, layer 15 l1 rank 4", f32(&one), 12.0, "tokens/s"),
        line("train, all layers LoRA q v rank 8", f32(&lora), 1.0, "tokens/s"),
        line("evaluate, batch 16, trained adapter", f32(&answering), 3.0, "examples/s"),
        line("evaluate, batch 16, untrained adapter", f32(&eval), 2.3, "examples/s"),
    ];
    let in_bf16 = vec![
        line("train, all layers f7+l7 rank 8", job.clone(), 4.5, "tokens/s"),
        line("train, layer 15 l1 rank 4", one, 12.0, "tokens/s"),
        line("train, all layers LoRA q v rank 8", lora, 1.0, "tokens/s"),
        line("evaluate, batch 16, trained adapter", answering, 6.0, "examples/s"),
        line("evaluate, batch 16, untrained adapter", eval, 4.0, "examples/s"),
    ];
    let decoding = vec![
        line("decode, batch 16, 256 tokens each", long, 2.0, "new tokens/s"),
        line("decode, batch 1, no guesses", BenchmarkJob { lookahead: 0, ..decode.clone() }, 2.0, "new tokens/s"),
        line("decode, batch 1", decode, 2.0, "new tokens/s"),
    ];
    let halves = if fast == Dtype::F32 { Vec::new() } else { in_bf16 };
    halves.into_iter().chain(in_f32).chain(decoding).collect()
}
