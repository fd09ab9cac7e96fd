//! `reft generate`.

use anyhow::Result;
use reft_core::adaptation::Mode;
use reft_models::decode::{Generator, Stopping, undecided};
use reft_models::tokenizer::Specials;

/// Arguments of `reft generate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The prompt
    prompt: String,
    #[command(flatten)]
    model: super::ModelArgs,
    /// New tokens at most
    #[arg(long, default_value_t = 128)]
    max_new: usize,
}

impl Args {
    /// Prints the continuation.
    ///
    /// # Errors
    /// When the model or the adapter is wrong.
    pub fn run(self) -> Result<()> {
        let (loaded, adaptation) = self.model.open()?;
        let step = adaptation.as_ref().map(|adaptation| adaptation.begin(Mode::Eval));
        let ids = loaded.tokenizer.encode(&self.prompt, Specials::AsModel)?;
        if ids.is_empty() {
            anyhow::bail!("the prompt is empty: give at least one character");
        }
        let stop = Stopping { max_new: self.max_new, eos: loaded.tokenizer.eos() };
        let generator = Generator { model: loaded.decoder.as_ref(), adaptation: step.as_deref(), batch: 1, stop };
        let answer = generator.run(&[&ids], &undecided)?.remove(0);
        println!("{}", loaded.tokenizer.decode(&answer, true)?);
        Ok(())
    }
}
