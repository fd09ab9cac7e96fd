//! `reft generate`: one prompt, a file of prompts, or a conversation.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use reft_models::decode::Decoding;
use reft_models::decode::settings::Sampling;

use super::BaseArgs;
use super::as_trained::as_trained;
use super::chat_model::ChatModel;
use super::prompts::prompts;
use crate::run::saved_task::SavedTask;

/// Arguments of `reft generate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The prompt
    #[arg(required_unless_present_any = ["file", "chat"], conflicts_with_all = ["file", "chat"])]
    prompt: Option<String>,
    /// File of prompts: JSON rows with `instruction` and perhaps `input`, which follows it after an empty line; or one
    /// prompt a line. Answers come as JSON lines
    #[arg(long, conflicts_with = "chat")]
    file: Option<PathBuf>,
    /// Talk with the model, by its chat template
    #[arg(long)]
    chat: bool,
    /// Folder of a trained adapter; give several to compare their answers, or to switch between them in a conversation
    #[arg(long = "adapter", value_name = "ADAPTER")]
    adapters: Vec<PathBuf>,
    /// What the adapters' edits are multiplied by: 1 as they are, 0 nothing, -1 their negation; one for each set of
    /// interventions where there are several (`--strength 1,0`)
    #[arg(long, value_delimiter = ',', allow_negative_numbers = true, requires = "adapters", value_name = "C")]
    strength: Vec<f64>,
    /// Give the prompt as it is, without what the adapter's prompts in training had around their text
    #[arg(long, conflicts_with = "chat")]
    raw: bool,
    /// Show on stderr which tokens of the prompt are edited, and where
    #[arg(long)]
    show_edits: bool,
    #[command(flatten)]
    base: BaseArgs,
    #[command(flatten)]
    decoding: DecodingArgs,
}

/// How tokens are chosen; greedily unless something else is said.
#[derive(Debug, clap::Args)]
struct DecodingArgs {
    /// New tokens at most
    #[arg(long, default_value_t = 128, value_parser = max_new)]
    max_new: usize,
    /// Continuations followed side by side
    #[arg(long, default_value_t = 1)]
    beams: usize,
    /// Draw tokens by chance: below 1 prefers likely ones, 0 takes the most likely
    #[arg(long, allow_negative_numbers = true)]
    temperature: Option<f64>,
    /// Draw from the K most likely tokens
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Draw from the most likely tokens whose probabilities add up to P
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    top_p: Option<f64>,
    /// Above 1: tokens that occurred become less likely
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    repetition_penalty: f64,
    /// No N tokens in a row twice
    #[arg(long, value_name = "N", default_value_t = 0)]
    no_repeat_ngram: usize,
    /// A text that ends the answer, which is cut before it; may be given more than once
    #[arg(long)]
    stop: Vec<String>,
    /// Decides what is drawn
    #[arg(long, default_value_t = 42)]
    seed: u64,
}

/// A number of new tokens: each takes a row of the KV cache, which is made at the beginning.
fn max_new(text: &str) -> Result<usize, String> {
    const MOST: usize = 1 << 20;
    text.parse().ok().filter(|&tokens| tokens <= MOST).ok_or_else(|| format!("write a number from 0 to {MOST}"))
}

impl DecodingArgs {
    fn decoding(&self) -> Result<Decoding> {
        // At temperature 0 all probability is the most likely token's.
        let greedy = self.temperature == Some(0.0);
        let drawn = !greedy && (self.temperature.is_some() || self.top_k.is_some() || self.top_p.is_some());
        let sampling = Sampling {
            temperature: self.temperature.filter(|_| drawn).unwrap_or(1.0),
            top_k: self.top_k.unwrap_or(0),
            top_p: self.top_p.unwrap_or(1.0),
        };
        let decoding = Decoding {
            beams: self.beams,
            sample: drawn.then_some(sampling),
            repetition_penalty: self.repetition_penalty,
            no_repeat_ngram: self.no_repeat_ngram,
            stop: self.stop.clone(),
            ..Decoding::default()
        };
        match decoding.check() {
            Ok(()) => Ok(decoding),
            Err((key, remedy)) => bail!("--{}: {remedy}", key.trim_start_matches("sample.").replace('_', "-")),
        }
    }
}

impl Args {
    /// Prints the continuation, the answers or the conversation.
    ///
    /// # Errors
    /// When the model, an adapter or the file is wrong.
    pub fn run(self) -> Result<()> {
        let decoding = self.decoding.decoding()?;
        if let Some(strength) = self.strength.iter().find(|strength| !strength.is_finite()) {
            bail!("--strength: {strength} is no finite number");
        }
        self.adapters.iter().try_for_each(|adapter| says_words(adapter))?;
        let opened = self.base.open_with(&self.adapters, &self.strength)?;
        let (max_new, seed, show_edits) = (self.decoding.max_new, self.decoding.seed, self.show_edits);
        let speaker = ChatModel { opened, decoding, max_new, seed, show_edits };
        match (&self.prompt, &self.file) {
            (Some(prompt), _) => speaker.one(&self.as_trained(std::slice::from_ref(prompt))?[0]),
            (None, Some(file)) => {
                let prompts = prompts(file)?;
                speaker.file(file, &prompts, &self.as_trained(&prompts)?)
            }
            (None, None) => super::chat::talk(&speaker, &mut std::io::stdin().lock(), &mut std::io::stdout()),
        }
    }

    /// Prompts as they are given to the model.
    fn as_trained(&self, prompts: &[String]) -> Result<Vec<String>> {
        if self.raw { Ok(prompts.to_vec()) } else { as_trained(&self.adapters, prompts) }
    }
}

/// Refuses an encoder's adapter, which gives labels.
fn says_words(adapter: &Path) -> Result<()> {
    let labels = SavedTask::find(adapter)?.and_then(|task| task.labels);
    let shown = adapter.display();
    ensure!(
        labels.is_none(),
        "{shown}: it gives labels, not words: `reft predict --adapter {shown} FILE` labels the rows of a file"
    );
    Ok(())
}
