//! `reft judge`.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::ProgressBar;

use crate::alpaca_eval::judge::client::{Client, Limits};
use crate::alpaca_eval::judge::endpoint::Endpoint;
use crate::alpaca_eval::judge::estimate::{CostEstimate, Prices};
use crate::alpaca_eval::judge::journal::Journal;
use crate::alpaca_eval::judge::pace::RequestInterval;
use crate::alpaca_eval::judge::pairs::{OutputPair, OutputPairs};
use crate::alpaca_eval::judge::prompt::JudgePrompt;
use crate::alpaca_eval::judge::{Judge, JudgeEvent};
use crate::alpaca_eval::win_rate::WinRate;
use crate::alpaca_eval::{annotations, outputs};

/// Arguments of `reft judge`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model's outputs, as `reft eval --out` writes them
    #[arg(long, value_name = "FILE")]
    outputs: PathBuf,
    /// The outputs to compare them with
    #[arg(long, value_name = "FILE")]
    reference: PathBuf,
    /// The judge's name at its server (`OPENAI_BASE_URL`, asked with the key in `OPENAI_API_KEY`)
    #[arg(long, value_name = "NAME")]
    judge_model: String,
    /// Where the annotations go; what is judged so far is kept beside it
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The judge's prompt, with `{instruction}`, `{output_a}` and `{output_b}` [default: our own]
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,
    /// Judge the first outputs only
    #[arg(long, value_name = "N")]
    limit: Option<NonZeroUsize>,
    /// Ask the judge; without it, only the estimate is shown
    #[arg(long)]
    yes: bool,
    /// Requests a minute at most
    #[arg(long, default_value = "60")]
    rpm: NonZeroU32,
    /// Requests at the same time at most
    #[arg(long, default_value = "4")]
    parallel: NonZeroUsize,
    /// Attempts for each question
    #[arg(long, default_value = "8")]
    attempts: NonZeroU32,
    /// Seconds for each attempt
    #[arg(long, default_value = "60")]
    timeout_s: NonZeroU64,
    /// Tokens of a reply at most
    #[arg(long, default_value = "16")]
    max_tokens: NonZeroU32,
    /// Decides which output is shown first
    #[arg(long, default_value = "0")]
    seed: u64,
    /// Dollars for a million tokens of prompts
    #[arg(long, requires = "price_out", value_parser = dollars)]
    price_in: Option<f64>,
    /// Dollars for a million tokens of replies
    #[arg(long, requires = "price_in", value_parser = dollars)]
    price_out: Option<f64>,
}

fn dollars(text: &str) -> Result<f64, String> {
    let amount = text.parse::<f64>().ok().filter(|amount| amount.is_finite() && *amount >= 0.0);
    amount.ok_or("write an amount of dollars such as 2.5".to_owned())
}

impl Args {
    /// Shows what judging costs and, if told to, has every pair judged.
    ///
    /// # Errors
    /// When a file is wrong, the judge cannot be asked, or nothing it said was understood.
    pub fn run(self) -> Result<()> {
        // An estimate needs no key. Who goes on hears of a missing key before anything else.
        let client = self.yes.then(|| self.client()).transpose()?;
        let judge = self.judge()?;
        let pairs = self.pairs()?;
        // Opened before anything is paid for: a folder that cannot be written is noticed now.
        let journal = Journal::open(&self.out.with_extension("journal.jsonl"))?;
        let estimate = judge.estimate(&pairs, &journal);
        eprintln!("{estimate}{}", self.cost(&estimate));
        let Some(client) = client else {
            eprintln!("nothing was asked: add --yes to have them judged by {}", self.judge_model);
            return Ok(());
        };
        self.annotate(&judge, &pairs, &journal, &client, estimate.left)
    }

    fn client(&self) -> Result<Client> {
        let limits = Limits {
            timeout: Duration::from_secs(self.timeout_s.get()),
            attempts: self.attempts.get(),
            pace: RequestInterval::per_minute(self.rpm.get()),
        };
        Ok(Client::new(Endpoint::from_env()?, limits))
    }

    fn judge(&self) -> Result<Judge> {
        Ok(Judge {
            model: self.judge_model.clone(),
            template: self.template.as_deref().map(JudgePrompt::read).transpose()?.unwrap_or_default(),
            max_tokens: self.max_tokens.get(),
            seed: self.seed,
        })
    }

    fn pairs(&self) -> Result<Vec<OutputPair>> {
        let (outputs, reference) = (outputs::read(&self.outputs)?, outputs::read(&self.reference)?);
        let OutputPairs { mut pairs, unanswered } =
            OutputPairs::new(outputs, reference).with_context(|| place(&self.reference))?;
        if unanswered > 0 {
            eprintln!("{}: {unanswered} of its instructions have no output, they are left out", place(&self.reference));
        }
        pairs.truncate(self.limit.map_or(pairs.len(), NonZeroUsize::get));
        Ok(pairs)
    }

    /// What is said of money, if prices are known.
    fn cost(&self, estimate: &CostEstimate) -> String {
        let prices = self.price_in.zip(self.price_out).map(|(input, output)| Prices { input, output });
        prices.map_or(String::new(), |prices| format!(", about ${:.2}", estimate.dollars(prices)))
    }

    /// Has the pairs judged, and writes what came out.
    fn annotate(
        &self,
        judge: &Judge,
        pairs: &[OutputPair],
        journal: &Journal,
        client: &Client,
        left: usize,
    ) -> Result<()> {
        let bar = ProgressBar::new(left as u64);
        let watch = |event: JudgeEvent<'_>| match event {
            JudgeEvent::Judged => bar.inc(1),
            JudgeEvent::Waiting { url, reason, wait } => {
                bar.suspend(|| eprintln!("{url}: {reason}: asking again in {:.1} s", wait.as_secs_f64()));
            }
        };
        let annotations = judge.run(pairs, journal, client, self.parallel.get(), &watch);
        bar.finish_and_clear();
        let annotations = annotations?;
        annotations::write(&self.out, &annotations)?;
        eprintln!("wrote {}", self.out.display());
        println!("{}", WinRate::of(&annotations).with_context(|| place(&self.out))?);
        Ok(())
    }
}

fn place(path: &Path) -> String {
    path.display().to_string()
}
