//! `reft bench`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use reft_models::hub;
use reft_models::tokenizer::Specials;
use reft_models::weights::Weights;
use tch::Device;

use crate::bench::overhead::OverheadPoint;
use crate::bench::report::{self, Measured};
use crate::bench::{
    BenchmarkJob, BenchmarkKind, BenchmarkMethod, BenchmarkResult, SummaryLine, lines, ours, overhead, peer, plot,
    scaling, trained,
};
use crate::config::dtype::DtypeChoice;
use crate::config::plan::{DeviceSpec, Dtype};
use crate::data::row::Row;
use crate::data::source::DataSources;
use crate::data::split::Split;
use crate::interop::{NamedTensors, model_folder};
use crate::machine::fast;
use crate::run::session::LoadedDecoder;
use crate::tasks::commonsense::ARC_E;
use crate::tasks::{DataKind, Task};

/// Arguments of `reft bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The Python that has pyreft (`scripts/peer.sh` installs one)
    #[arg(long, default_value = ".venv-peer/bin/python")]
    peer: PathBuf,
    /// Base model
    #[arg(long, default_value = "smollm2")]
    model: String,
    /// Where the summary goes
    #[arg(long, default_value = "results/bench")]
    out: PathBuf,
    /// Folder of all runs, for the adapter that some jobs answer with
    #[arg(long, default_value = "runs")]
    runs: PathBuf,
    /// Only jobs whose name has this in it, and nothing beside them: --only LoRA
    #[arg(long)]
    only: Option<String>,
}

/// Arguments of `reft bench-job`: one measurement of ours, as a JSON line.
#[derive(Debug, clap::Args)]
pub struct JobArgs {
    #[command(flatten)]
    job: BenchmarkJob,
    /// Base model
    #[arg(long, default_value = "smollm2")]
    model: String,
    /// JSON file of rows
    #[arg(long)]
    data: PathBuf,
}

impl JobArgs {
    /// Measures.
    ///
    /// # Errors
    /// When the model or the rows cannot be read.
    pub fn run(self) -> Result<()> {
        println!("{}", serde_json::to_string(&ours::run(&self.job, &self.model, &self.data)?)?);
        Ok(())
    }
}

/// What both sides work on.
struct Bench {
    args: Args,
    /// The model as a folder that the peer reads.
    folder: PathBuf,
    /// All rows; each job gets its own number of them.
    rows: Vec<Row>,
    scratch: tempfile::TempDir,
}

impl Args {
    /// Runs both sides of every job in turn and writes the summary.
    ///
    /// # Errors
    /// When either side fails.
    pub fn run(self) -> Result<()> {
        let program = self.peer.display().to_string();
        ensure!(self.peer.exists(), "{program}: not found: run `make bench`, or scripts/peer.sh, which installs it");
        let scratch = tempfile::tempdir()?;
        let folder = scratch.path().join("model");
        let weights = Weights::open(&hub::locate(&self.model)?)?;
        model_folder::write(&weights, (&NamedTensors::new(), &serde_json::Map::new()), &folder, usize::MAX)?;
        drop(weights);
        let (rows, source) = rows();
        let adapter = scratch.path().join("trained");
        let bench = Bench { args: self, folder, rows, scratch };
        let dtype = DtypeChoice::Auto.on(DeviceSpec(Device::Cpu));
        let wanted = |line: &SummaryLine| bench.args.only.as_ref().is_none_or(|part| line.name.contains(part.as_str()));
        let lines: Vec<SummaryLine> = lines(dtype, &adapter).into_iter().filter(wanted).collect();
        let first = lines.first().context("no job has this in its name")?;
        if lines.iter().any(|line| line.job.trained.is_some()) {
            let record = trained::prepare(&bench.args.model, source, &bench.args.runs, &adapter)?;
            super::print_record(&record);
        }
        let mut measured = Vec::new();
        for line in &lines {
            measured.extend(bench.compare(line)?);
        }
        let about = bench.about(source, first.job.steps);
        if bench.args.only.is_some() {
            print!("{}", report::markdown(&measured, &about));
            return Ok(());
        }
        measured.push(bench.overhead(dtype)?);
        report::write(&measured, &about, &bench.args.out)?;
        plot::ratios(&measured, &bench.args.out)?;
        let loaded = LoadedDecoder::open(&bench.args.model, dtype, DeviceSpec(Device::Cpu))?;
        let layers = loaded.decoder.dims().layers;
        bench.edits(&loaded)?;
        drop(loaded);
        bench.scaling(dtype, layers)
    }
}

/// Real rows where they are at hand, those of this project otherwise.
fn rows() -> (Vec<Row>, DataKind) {
    let sources = DataSources::from_env();
    match ARC_E.rows(DataKind::Real, &Split::Train, &sources) {
        Ok(rows) => (rows, DataKind::Real),
        Err(_) => (ARC_E.rows(DataKind::Embedded, &Split::Train, &sources).unwrap_or_default(), DataKind::Embedded),
    }
}

impl Bench {
    /// What the figures are of.
    fn about(&self, source: DataKind, updates: usize) -> String {
        format!(
            "{} rows of ARC-Easy ({source}), {}, seed 0, {} with {} threads, both sides in one run of `make bench`; \
             medians of {updates} updates; code {}",
            self.rows.len(),
            self.args.model,
            fast::processor().name,
            tch::get_num_threads(),
            crate::store::environment::CODE_HASH
        )
    }

    fn file(&self, job: &BenchmarkJob) -> Result<PathBuf> {
        let count = if job.kind == BenchmarkKind::Train { job.trained() } else { job.rows };
        let rows = self.rows.get(..count).context("too few rows for this job")?;
        let path = self.scratch.path().join("rows.json");
        std::fs::write(&path, serde_json::to_vec(rows)?)?;
        Ok(path)
    }

    fn ours(&self, job: &BenchmarkJob, rows: &Path) -> Result<BenchmarkResult> {
        let mut command = Command::new(std::env::current_exe()?);
        let kind = serde_json::to_value(job.kind)?;
        command.args(["bench-job", kind.as_str().unwrap_or_default(), "--dtype", job.dtype.name()]);
        command.args(["--positions", &job.positions, "--layers", &job.layers, "--model", &self.args.model]);
        let numbers =
            [("--rank", job.rank as usize), ("--batch", job.batch), ("--steps", job.steps), ("--new", job.new)];
        let others = [("--rows", job.rows), ("--lookahead", job.lookahead), ("--adapters", job.adapters)];
        for (flag, number) in numbers.into_iter().chain(others) {
            command.args([flag, &number.to_string()]);
        }
        command.args(["--method", job.method.name(), "--device", &String::from(job.device)]).arg("--data").arg(rows);
        if let Some(folder) = &job.trained {
            command.arg("--trained").arg(folder);
        }
        peer::outcome(command)
    }

    /// A job's speed, and for training its memory.
    fn compare(&self, line: &SummaryLine) -> Result<Vec<Measured>> {
        eprintln!("{}, {}", line.name, line.job.dtype.name());
        let rows = self.file(&line.job)?;
        let theirs = peer::run(&line.job, &self.args.peer, &self.folder, &rows)?;
        let ours = self.ours(&line.job, &rows)?;
        let train = line.job.kind == BenchmarkKind::Train;
        let speed = Measured {
            job: line.name.to_owned(),
            dtype: line.job.dtype.name(),
            ours: ours.value,
            against: line.job.method.peer(),
            peer: theirs.value,
            ratio: ours.value / theirs.value,
            goal: format!(">= {}", line.goal),
            met: ours.value / theirs.value >= line.goal,
            unit: line.unit,
            gemm_share: Some(100.0 * ours.gemm_share),
            gemm_gflops: Some(ours.gflops),
        };
        let memory = Measured {
            job: format!("{}: peak memory", line.name),
            ours: ours.peak_mib,
            peer: theirs.peak_mib,
            ratio: ours.peak_mib / theirs.peak_mib,
            goal: "<= 0.5".to_owned(),
            met: ours.peak_mib / theirs.peak_mib <= 0.5,
            unit: "MiB",
            gemm_share: None,
            gemm_gflops: None,
            ..speed.clone()
        };
        Ok(if train { vec![speed, memory] } else { vec![speed] })
    }

    /// What edits of the prompt add to an answer.
    fn edits(&self, loaded: &LoadedDecoder) -> Result<()> {
        let text: String = self.rows.iter().take(8).map(|row| row.instruction.as_str()).collect();
        let ids = loaded.tokenizer.encode(&text, Specials::AsModel)?;
        let points = overhead::run(loaded, &ids, 32)?;
        for OverheadPoint { axis, value, plain_s, added_s, .. } in &points {
            println!("edits, {axis} {value}: {:.1} ms added to {plain_s:.2} s", 1000.0 * added_s);
        }
        report::csv(&points, &self.args.out.join("overhead.csv"))
    }

    /// Our cost by one setting at a time.
    fn scaling(&self, dtype: Dtype, layers: usize) -> Result<()> {
        let base = BenchmarkJob { steps: 2, ..BenchmarkJob::training(dtype) };
        let points = scaling::run(&base, layers, &self.rows, |job, rows| {
            let path = self.scratch.path().join("rows.json");
            std::fs::write(&path, serde_json::to_vec(rows)?)?;
            self.ours(job, &path)
        })?;
        report::csv(&points, &self.args.out.join("scaling.csv"))?;
        for series in points.chunk_by(|a, b| a.setting == b.setting) {
            println!(
                "by {}: time slope {:.2}, memory slope {:.2}",
                series[0].setting, series[0].slope, series[0].memory_slope
            );
        }
        plot::scaling(&points, &self.args.out)
    }

    /// Decoding with edits on the prompt against without, each the best of several turns.
    fn overhead(&self, dtype: Dtype) -> Result<Measured> {
        // Without guesses: how many come true depends on what is said, and edits change that.
        let edited = BenchmarkJob { lookahead: 0, ..BenchmarkJob::decoding(dtype) };
        let plain = BenchmarkJob { method: BenchmarkMethod::None, ..edited.clone() };
        let rows = self.file(&edited)?;
        let (mut with, mut without) = (0f64, 0f64);
        for _ in 0..3 {
            with = with.max(self.ours(&edited, &rows)?.value);
            without = without.max(self.ours(&plain, &rows)?.value);
        }
        Ok(Measured {
            job: "decode, batch 1, edited".to_owned(),
            dtype: edited.dtype.name(),
            ours: with,
            against: "ours unedited",
            peer: without,
            ratio: with / without,
            goal: ">= 0.99".to_owned(),
            met: with / without >= 0.99,
            unit: "new tokens/s",
            gemm_share: None,
            gemm_gflops: None,
        })
    }
}
