//! Our side of a job.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use reft_core::AdaptSpec;
use reft_core::adaptation::{Adaptation, Mode, Step};
use reft_core::adapter_file::SavedAdapter;
use reft_core::rng::Seed;
use reft_models::decode::{Decoding, Generator, Stopping, undecided};
use reft_models::tokenizer::Specials;
use serde_json::json;
use tch::Device;

use super::{BenchmarkJob, BenchmarkKind, BenchmarkMethod, BenchmarkResult, UNTIMED, gemm, trained};
use crate::config::plan::{AnsweredBy, EvalPlan};
use crate::data::encode::{Example, Text, encode};
use crate::data::row::Row;
use crate::run::answering::evaluation::Evaluator;
use crate::run::memory::ModelPasses;
use crate::run::session::LoadedDecoder;
use crate::store::environment::peak_memory_mib;
use crate::tasks::Task;
use crate::tasks::commonsense::ARC_E;
use crate::tasks::template::PromptTemplate;
use crate::train::activation_cache::CacheBudget;
use crate::train::causal::Causal;
use crate::train::frozen::FrozenForward;
use crate::train::learner::{Learner, UpdateRules};

const MAX_LENGTH: usize = 512;
const SEED: Seed = Seed(0);

/// Measures a job on the rows of a file.
///
/// # Errors
/// When the model or the rows cannot be read.
pub fn run(job: &BenchmarkJob, model: &str, rows: &Path) -> Result<BenchmarkResult> {
    let passes = match job.kind {
        BenchmarkKind::Train => ModelPasses::ForwardAndBackward,
        BenchmarkKind::Eval | BenchmarkKind::Decode => ModelPasses::Forward,
    };
    let loaded = LoadedDecoder::open_for(model, job.dtype, job.device, passes)?;
    let text = std::fs::read_to_string(rows).with_context(|| rows.display().to_string())?;
    let rows: Vec<Row> = serde_json::from_str(&text).with_context(|| rows.display().to_string())?;
    let mut adaptation = adaptation(job, &loaded)?;
    let mut outcome = match job.kind {
        BenchmarkKind::Train => train(job, &loaded, adaptation.as_mut(), &rows)?,
        BenchmarkKind::Eval | BenchmarkKind::Decode => {
            let step = (job.method != BenchmarkMethod::None).then(|| adaptation.begin(Mode::Eval));
            let rows = rows.get(..job.rows).context("too few rows")?;
            match job.kind {
                BenchmarkKind::Eval => evaluate(job, &loaded, step.as_deref(), rows)?,
                BenchmarkKind::Train | BenchmarkKind::Decode => decode(job, &loaded, step.as_deref(), rows)?,
            }
        }
    };
    outcome.peak_mib = outcome.peak_mib.max(peak_memory_mib() as f64);
    Ok(outcome)
}

/// What the job trains or answers with: untrained, or read from the job's folder.
fn adaptation(job: &BenchmarkJob, loaded: &LoadedDecoder) -> Result<Box<dyn Adaptation>> {
    if let Some(folder) = &job.trained {
        return Ok(SavedAdapter::read(&folder.join(trained::OURS))?.onto(&loaded.base, job.device.0)?);
    }
    let listed: Result<Vec<usize>, _> = job.layers.split(',').map(str::parse).collect();
    let layers = listed.unwrap_or_else(|_| (0..loaded.decoder.dims().layers).collect());
    let part = |first: usize| layers.iter().skip(first).step_by(job.adapters).copied().collect::<Vec<_>>();
    let spec = |layers: Vec<usize>| match job.method {
        BenchmarkMethod::Lora => {
            json!({"lora": {"rank": job.rank, "alpha": 2 * job.rank, "components": ["q", "v"], "layers": layers}})
        }
        BenchmarkMethod::None | BenchmarkMethod::Loreft => {
            json!({"reft": {"intervention": "loreft", "rank": job.rank, "positions": job.positions, "layers": layers}})
        }
    };
    let member = |first| json!({"adapt": spec(part(first))});
    let spec = if job.adapters == 1 {
        spec(layers.clone())
    } else {
        json!({"joint": (0..job.adapters).map(member).collect::<Vec<_>>()})
    };
    let spec: AdaptSpec = serde_json::from_value(spec)?;
    Ok(spec.build(loaded.decoder.dims(), SEED, job.device.0)?)
}

fn examples(loaded: &LoadedDecoder, rows: &[Row]) -> Result<Vec<Example>> {
    let text = |(index, row): (usize, &Row)| Text {
        prompt: ARC_E.prompt(row),
        completion: ARC_E.completion(row),
        name: format!("row {index}"),
    };
    let texts: Vec<Text> = rows.iter().enumerate().map(text).collect();
    let tokenizer = &loaded.tokenizer;
    let tokenise = |text: &str| tokenizer.encode(text, Specials::AsModel);
    Ok(encode(&texts, &tokenizer.eos_text(), MAX_LENGTH, tokenise)?)
}

/// Times updates, once what cannot change is there (as it is after the first epoch).
fn train(
    job: &BenchmarkJob,
    loaded: &LoadedDecoder,
    adaptation: &mut dyn Adaptation,
    rows: &[Row],
) -> Result<BenchmarkResult> {
    let model = loaded.decoder.as_ref();
    let Some(rows) = rows.get(..job.trained()) else { bail!("too few rows") };
    let examples = examples(loaded, rows)?;
    let mut frozen = FrozenForward::new(model, adaptation, MAX_LENGTH, CacheBudget { memory: 4 << 30, disk: 0 });
    frozen.fill(&examples.iter().collect::<Vec<_>>(), 4096, &loaded.caches);
    let trained = examples.iter().map(|example| frozen.trained(example)).sum::<usize>() as f64;
    let blocks = model.dims().layers - adaptation.frontier().blocks;
    let mut objective = Causal::new(model, frozen, 4096);
    let mut learner = Learner::new(&mut objective, adaptation, UpdateRules::default());
    let (mut times, mut tokens) = (Vec::new(), 0.0);
    for batch in examples.chunks(job.batch) {
        let batch: Vec<&Example> = batch.iter().collect();
        let began = Instant::now();
        tokens += learner.update(&batch, 9e-4)?.tokens as f64;
        times.push(began.elapsed().as_secs_f64());
    }
    let peak_mib = peak_memory_mib() as f64;
    let total_s = times.iter().sum();
    let mut timed = times.split_off(UNTIMED);
    timed.sort_by(f64::total_cmp);
    let step_s = timed[timed.len() / 2];
    let per_step = |total: f64| total / (job.steps + UNTIMED) as f64;
    let outcome =
        BenchmarkResult { value: per_step(tokens) / step_s, peak_mib, step_s, total_s, ..BenchmarkResult::default() };
    if job.device.0 != Device::Cpu {
        return Ok(outcome);
    }
    let block = gemm::block(model.dims(), per_step(trained) as i64, job.dtype.kind(), true);
    let gemm_share = block.seconds * blocks as f64 / step_s;
    Ok(BenchmarkResult { gemm_share, gflops: block.operations / block.seconds / 1e9, ..outcome })
}

fn evaluate(
    job: &BenchmarkJob,
    loaded: &LoadedDecoder,
    adaptation: Option<&dyn Step>,
    rows: &[Row],
) -> Result<BenchmarkResult> {
    let decoding = Decoding { lookahead: job.lookahead, ..Decoding::default() };
    let (by, early_verdict) = (AnsweredBy::Words, true);
    let plan = &EvalPlan { by, batch_size: job.batch, max_new_tokens: job.new, early_verdict, decoding };
    let (max_length, template) = (MAX_LENGTH, PromptTemplate::Task);
    let evaluator = Evaluator { loaded, adaptation, plan, max_length, template, seed: SEED.0, tokens: 4096 };
    let began = Instant::now();
    let predictions = evaluator.answer(&ARC_E, rows)?.predictions;
    let total_s = began.elapsed().as_secs_f64();
    let said = |text: &str| loaded.tokenizer.encode(text, Specials::None).map(|ids| ids.len());
    let said: usize = predictions.iter().map(|prediction| said(&prediction.said)).sum::<Result<_, _>>()?;
    let asked = prompts(loaded, rows)?.iter().map(Vec::len).sum();
    Ok(BenchmarkResult { value: rows.len() as f64 / total_s, ..answered(job, loaded, asked, said, total_s) })
}

fn prompts(loaded: &LoadedDecoder, rows: &[Row]) -> Result<Vec<Vec<i64>>> {
    let encode = |row: &Row| loaded.tokenizer.encode(&ARC_E.prompt(row), Specials::AsModel);
    Ok(rows.iter().map(encode).collect::<Result<_, _>>()?)
}

/// What answers of `said` tokens to prompts of `asked` tokens cost, on a processor beside their matrix products alone.
fn answered(job: &BenchmarkJob, loaded: &LoadedDecoder, asked: usize, said: usize, total_s: f64) -> BenchmarkResult {
    if job.device.0 != Device::Cpu {
        return BenchmarkResult { total_s, ..BenchmarkResult::default() };
    }
    let cost = gemm::answers(loaded.decoder.dims(), job.dtype.kind(), asked, said, job.batch);
    let (gemm_share, gflops) = (cost.seconds / total_s, cost.operations / cost.seconds / 1e9);
    BenchmarkResult { total_s, gemm_share, gflops, ..BenchmarkResult::default() }
}

fn decode(
    job: &BenchmarkJob,
    loaded: &LoadedDecoder,
    adaptation: Option<&dyn Step>,
    rows: &[Row],
) -> Result<BenchmarkResult> {
    let prompts = prompts(loaded, rows)?;
    let prompts: Vec<&[i64]> = prompts.iter().map(Vec::as_slice).collect();
    let (stop, decoding) = (
        Stopping { max_new: job.new, ends: Vec::new() },
        &Decoding { lookahead: job.lookahead, ..Decoding::default() },
    );
    let model = loaded.decoder.as_ref();
    let generator = Generator { model, adaptation, batch: job.batch, stop, decoding, seed: SEED.0 };
    let began = Instant::now();
    let answers = generator.run(&prompts, &undecided)?;
    let total_s = began.elapsed().as_secs_f64();
    let asked = prompts.iter().map(|prompt| prompt.len()).sum();
    let said = answers.iter().map(|answer| answer.ids.len()).sum();
    Ok(BenchmarkResult { value: said as f64 / total_s, ..answered(job, loaded, asked, said, total_s) })
}
