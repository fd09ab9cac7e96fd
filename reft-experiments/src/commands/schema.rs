//! `reft schema`: the JSON Schema of run files, for editors that complete and check YAML.

use anyhow::Result;

use crate::config::schema::run_schema;

/// Print the JSON Schema of run files.
#[derive(Debug, clap::Args)]
pub struct Args {}

impl Args {
    /// Prints the schema.
    ///
    /// # Errors
    /// None.
    pub fn run(self) -> Result<()> {
        println!("{}", serde_json::to_string_pretty(&run_schema())?);
        Ok(())
    }
}
