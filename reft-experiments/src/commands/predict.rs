//! `reft predict`: the rows of a file, answered by a trained model.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use reft_core::suggest::did_you_mean;
use serde_json::{Map, Value};
use tch::Device;

use super::conditions::Conditions;
use super::{BaseArgs, place};
use crate::config::plan::DeviceSpec;
use crate::data::own::cells;
use crate::data::own::column_template::ColumnTemplate;
use crate::data::own::spec::DataSpec;
use crate::machine::fast;
use crate::run::predict::{Answered, Line, Request};
use crate::run::saved_task::SavedTask;

/// Arguments of `reft predict`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The rows: JSON, JSON lines, CSV, TSV, parquet, or a folder of them, with the columns that the model was trained on
    file: PathBuf,
    /// Folder of a trained adapter, or of a run that trained a head alone
    #[arg(long)]
    adapter: PathBuf,
    /// Write the answers to this file instead of showing them
    #[arg(long)]
    out: Option<PathBuf>,
    /// Replace a file that is at --out
    #[arg(long, requires = "out")]
    overwrite: bool,
    /// How they are written [default: by the ending of --out, else jsonl]
    #[arg(long)]
    format: Option<PredictionFormat>,
    /// Which of the tasks that it was trained on the rows are of [default: the first]
    #[arg(long)]
    task: Option<String>,
    /// What the model is given, where the file has other columns than the training file: a column, or a template
    #[arg(long)]
    prompt: Option<String>,
    /// What an answer is compared with
    #[arg(long)]
    answer: Option<String>,
    /// What an encoder reads
    #[arg(long)]
    text: Option<String>,
    /// The second of two texts
    #[arg(long)]
    pair: Option<String>,
    /// The column of labels, if there is one
    #[arg(long)]
    label: Option<String>,
    /// New tokens of an answer at most [default: as in training]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    max_new: Option<u32>,
    #[command(flatten)]
    base: BaseArgs,
}

/// A format of answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum PredictionFormat {
    /// A JSON object a line
    Jsonl,
    /// A table, with a column for each class' probability
    Csv,
}

impl Args {
    /// Answers the rows, and says what they come to where the file has the right answers.
    ///
    /// # Errors
    /// When the rows, the adapter or the model cannot be read, or the answers cannot be written.
    pub fn run(self) -> Result<()> {
        let format = self.format()?;
        if !self.file.exists() {
            bail!("{}: there is no such file or folder", self.file.display());
        }
        let mut kept = SavedTask::read(&self.adapter)?;
        kept.tokenizer = self.base.tokenizer.unwrap_or(kept.tokenizer);
        let spec = self.spec(&kept)?;
        if kept.labels.is_some() && self.max_new.is_some() {
            bail!("--max-new: {} gives labels, not words: leave it out", self.adapter.display());
        }
        self.out.as_ref().map_or(Ok(()), |out| self.check_out(out))?;
        let name = spec.name();
        let device = self.base.device.unwrap_or(DeviceSpec(Device::Cpu));
        let dtype = self.base.dtype.unwrap_or_default().on(device);
        let chat_template = self.base.chat_template()?;
        let request = Request {
            chat_template: chat_template.as_deref(),
            kept: &kept,
            spec,
            folder: &self.adapter,
            rows: &self.file,
            model: self.base.model.as_deref(),
            dtype,
            device,
            max_new: self.max_new.map(|tokens| tokens as usize),
            named: self.named(),
        };
        let Answered { lines, score, too_long, model, seed } = request.answer()?;
        fast::say(dtype, device);
        if let Some(cut) = &too_long {
            eprintln!("{cut}");
        }
        let text = match format {
            PredictionFormat::Jsonl => jsonl(&lines),
            PredictionFormat::Csv => csv(&lines)?,
        };
        match &self.out {
            None => print!("{text}"),
            Some(out) => {
                let written = crate::atomic::write(out, text.as_bytes());
                written.with_context(|| format!("{}: cannot be written", out.display()))?;
                eprintln!("{} answers in {}", lines.len(), out.display());
            }
        }
        if let Some(score) = score {
            let rows = ("own".to_owned(), seed);
            eprintln!("{}", Conditions::here(&model, Some(&self.adapter), rows, (dtype, device)));
            eprintln!("{}", super::score_line(&name, score));
            let unknown = lines.iter().filter(|line| line.expected.is_none()).count();
            if unknown > 0 {
                eprintln!("{unknown} of {} rows have no answer that they could be compared with", lines.len());
            }
            if self.was_trained_on(&kept) {
                let rows = self.file.display();
                eprintln!("{rows}: the model was trained on rows of this file: the score says little about others");
            }
        }
        Ok(())
    }

    /// Refuses a place where no file can be written, the rows' own file and the adapter's folder, before rows are answered.
    fn check_out(&self, out: &Path) -> Result<()> {
        let (place, shown) = (|path: &Path| path.canonicalize().ok(), out.display());
        if out.parent().and_then(place).is_some_and(|folder| Some(folder) == place(&self.adapter)) {
            bail!("--out {shown}: this is the adapter's folder, whose files it needs: name another place");
        }
        place::check_new_file("--out", out, &self.file, self.overwrite)
    }

    /// Whether the rows are of a file that the model was trained on, or of a copy of one.
    fn was_trained_on(&self, kept: &SavedTask) -> bool {
        let size = |file: &Path| file.metadata().ok().filter(std::fs::Metadata::is_file).map(|data| data.len());
        let same = |file: &Path| {
            let place = |file: &Path| file.canonicalize().ok();
            place(file).is_some_and(|there| Some(there) == place(&self.file))
                || size(file).is_some_and(|there| Some(there) == size(&self.file))
                    && std::fs::read(file)
                        .ok()
                        .is_some_and(|there| std::fs::read(&self.file).is_ok_and(|ours| ours == there))
        };
        kept.tasks.iter().any(|task| same(Path::new(&task.file)))
    }

    /// Keys of what is right whose columns are named here, and so must be there.
    fn named(&self) -> Vec<&'static str> {
        let keys = [("answer", &self.answer), ("label", &self.label)];
        keys.into_iter().filter(|(_, given)| given.is_some()).map(|(key, _)| key).collect()
    }

    fn format(&self) -> Result<PredictionFormat> {
        let ending = self.out.as_ref().and_then(|out| out.extension()).and_then(|ending| ending.to_str());
        match (self.format, ending) {
            (Some(format), _) => Ok(format),
            (None, Some("csv")) => Ok(PredictionFormat::Csv),
            (None, Some("jsonl" | "ndjson" | "json") | None) => Ok(PredictionFormat::Jsonl),
            (None, Some(other)) => {
                bail!("--out: .{other} is no known ending: name the file .jsonl or .csv, or give --format")
            }
        }
    }

    /// The task of the rows, with the columns that are named here.
    fn spec(&self, kept: &SavedTask) -> Result<DataSpec> {
        let place = self.adapter.display();
        let names = || kept.tasks.iter().map(DataSpec::name).collect::<Vec<_>>();
        let found = match &self.task {
            None => kept.tasks.first(),
            Some(task) => kept.tasks.iter().find(|spec| spec.name() == *task),
        };
        let Some(spec) = found else {
            match &self.task {
                Some(task) if !kept.tasks.is_empty() => {
                    let near = did_you_mean(task, names().iter().map(String::as_str));
                    bail!("{place}: --task {task}: it was trained on {}{near}", names().join(", "))
                }
                _ => bail!(
                    "{place}: it was trained on a task that has no templates of its own: score it with `reft eval`"
                ),
            }
        };
        let mut spec = DataSpec { file: self.file.display().to_string(), ..spec.clone() };
        let given = [
            ("--prompt", &self.prompt, &mut spec.prompt),
            ("--text", &self.text, &mut spec.text),
            ("--pair", &self.pair, &mut spec.pair),
            ("--label", &self.label, &mut spec.label),
        ];
        for (flag, given, setting) in given {
            if let Some(given) = given {
                let Some(trained) = setting else {
                    bail!("{flag}: the model was trained on rows without it: leave it out");
                };
                let put = in_place_of(trained, &super::unescaped(given));
                if put != *given {
                    eprintln!("{flag}: {put:?}, as in training around the column");
                }
                *setting = Some(put);
            }
        }
        if let Some(answer) = &self.answer {
            spec.answer = Some(super::unescaped(answer));
            // What is learned need not be there: of choices it is the right one, else the answer stands for it.
            spec.completion = spec.completion.filter(|_| spec.choices.is_some()).or_else(|| spec.answer.clone());
        }
        Ok(spec)
    }
}

/// A column with what the template of training has around its one column; a template as it is.
fn in_place_of(trained: &str, given: &str) -> String {
    let around = || ColumnTemplate::parse(trained).ok()?.around();
    match around() {
        Some((before, behind)) if !given.contains(['{', '}']) && (!before.is_empty() || !behind.is_empty()) => {
            format!("{before}{{{{ row[{given:?}] }}}}{behind}")
        }
        _ => given.to_owned(),
    }
}

fn jsonl(lines: &[Line]) -> String {
    lines.iter().map(|line| serde_json::to_string(line).expect("plain data") + "\n").collect()
}

/// A table: every key is a column, of an object or a list every entry.
fn csv(lines: &[Line]) -> Result<String> {
    let rows: Vec<Vec<(String, String)>> = lines.iter().map(|line| flat(&line.object())).collect();
    let mut columns: Vec<&str> = Vec::new();
    for (name, _) in rows.iter().flatten() {
        if !columns.contains(&name.as_str()) {
            columns.push(name);
        }
    }
    let mut table = csv::Writer::from_writer(Vec::new());
    table.write_record(&columns)?;
    for row in &rows {
        let cell = |column: &&str| row.iter().find(|(name, _)| name == column).map_or("", |(_, text)| text.as_str());
        table.write_record(columns.iter().map(cell))?;
    }
    Ok(String::from_utf8(table.into_inner().context("a table in memory")?)?)
}

fn flat(object: &Map<String, Value>) -> Vec<(String, String)> {
    let cells = |(key, value): (&String, &Value)| match value {
        Value::Object(inner) => {
            inner.iter().map(|(name, value)| (format!("{key}.{name}"), cells::text(value))).collect()
        }
        Value::Array(list) => {
            (0..).zip(list).map(|(at, value): (usize, _)| (format!("{key}.{at}"), cells::text(value))).collect()
        }
        value => vec![(key.clone(), cells::text(value))],
    };
    object.iter().flat_map(cells).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::predict::Said;

    #[test]
    fn a_table_has_a_column_for_every_key_and_class() {
        let class = |row, name: &str, expected: Option<&str>| Line {
            row,
            said: Said::Class(name.to_owned(), vec![("a".to_owned(), 0.25), ("b".to_owned(), 0.75)]),
            expected: expected.map(str::to_owned),
            correct: expected.map(|expected| expected == name),
        };
        let lines = [class(1, "b", None), class(2, "b", Some("a"))];
        let table = csv(&lines).expect("a table");
        assert_eq!(
            table,
            "row,prediction,probabilities.a,probabilities.b,expected,correct\n1,b,0.25,0.75,,\n2,b,0.25,0.75,a,false\n"
        );
        let first = r#"{"row":1,"prediction":"b","probabilities":{"a":0.25,"b":0.75}}"#;
        assert_eq!(jsonl(&lines).lines().next(), Some(first));
    }
}
