//! `reft table`.
/// Arguments of `reft table`.
#[derive(Debug, clap::Args)]
pub struct Args {}
impl Args {
    /// x
    pub fn run(self) -> anyhow::Result<()> { Ok(()) }
}
