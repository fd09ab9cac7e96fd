//! Files of prompts.

use anyhow::{Result, bail};

use crate::data::json_rows;
use crate::data::need::Need;
use crate::data::own::cells::Format;
use crate::data::row::Row;
use crate::data::text::{self, MARK};

/// The prompts of a file: rows in one of the data formats (an instruction, and its input below it), else lines.
pub(super) fn prompts(path: &std::path::Path) -> Result<Vec<String>> {
    if path.extension().is_some_and(|extension| extension == "json" || extension == "jsonl") {
        return Ok(json_rows::read(path, Need::Question)?.iter().map(Row::question).collect());
    }
    if let Some(Format::Csv | Format::Tsv | Format::Parquet) = Format::of(path) {
        let shown = path.display();
        bail!(
            "{shown}: these are rows of a table: `reft predict --adapter ADAPTER {shown}` answers them; here prompts are lines of a \
             text, or rows of JSON with `instruction`"
        );
    }
    let text = text::read(path)?;
    // Files that were put together may have a byte order mark before any line.
    let lines = text.lines().map(|line| line.trim_start_matches(MARK));
    let prompts: Vec<String> = lines.filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    if prompts.is_empty() {
        bail!("{}: the file has no prompts: write one a line", path.display());
    }
    Ok(prompts)
}
