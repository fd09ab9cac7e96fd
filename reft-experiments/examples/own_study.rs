//! A study of one's own: how many words one edit of the last prompt token learns to repeat, by its rank. What is learned, how it
//! is measured and what is drawn stand in this file. Registered once, it is named in the files of runs and figures, listed and
//! drawn like those that come with the program.
//!
//! `cargo run --example own_study [MODEL]`

use std::path::Path;

use reft_experiments::config::merge::merge;
use reft_experiments::config::read::resolve;
use reft_experiments::prelude::*;
use reft_experiments::run::session::Session;
use reft_experiments::run::{Claiming, Resume, Runner};
use reft_experiments::studies;
use reft_experiments::studies::edited::{EditedModel, StudyContext};
use reft_experiments::studies::lines::{Axes, CellResult, LineSeries};
use reft_experiments::studies::study::{
    MeasureSettings, Measurement, Study, StudyAnswer, StudyCell, StudyMeasure, StudySettings, as_task,
};
use reft_experiments::studies::training::EditTraining;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Words that an edit learns to repeat, for each rank.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EchoStudy {
    /// The words.
    pub words: Vec<String>,
    /// Ranks, each with a run of its own.
    pub ranks: Vec<i64>,
    /// How the edit is trained.
    pub training: EditTraining,
}

/// Words, each asked for once.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Echo {
    /// The words.
    pub words: Vec<String>,
}

impl Study for EchoStudy {
    fn cells(&self) -> Vec<StudyCell> {
        let task = as_task(&Echo { words: self.words.clone() });
        let cell = |rank: &i64| StudyCell {
            title: format!("echo, rank {rank}"),
            settings: json!({
                "adapt": {"reft": {"intervention": "loreft", "rank": rank, "positions": "l1"}},
                "data": {"train": [task], "eval": [task]},
                "train": self.training.settings(),
                "eval": {"max_new_tokens": 8},
            }),
        };
        self.ranks.iter().map(cell).collect()
    }

    fn lines(&self, done: &[Option<CellResult>]) -> Vec<LineSeries> {
        let point = |(&rank, result): (&i64, &Option<CellResult>)| result.as_ref()?.share(rank as f64, Echo::KEY);
        let points = self.ranks.iter().zip(done).filter_map(point).collect();
        vec![LineSeries { panel: format!("{} words", self.words.len()), name: "ours".to_owned(), points }]
    }
}

impl StudySettings for EchoStudy {
    const KEY: &'static str = "echo";
    const TITLE: &'static str = "words repeated, by rank";
    const AXES: Option<Axes> = Some(Axes::of_shares("words", "rank", "repeated"));
    type Measure = Echo;

    fn example() -> Self {
        let training = EditTraining::new(30, 2, 2e-2);
        Self { words: ["sun", "sea"].map(str::to_owned).to_vec(), ranks: vec![1, 4], training }
    }
}

impl StudyMeasure for Echo {
    fn name(&self) -> String {
        Self::KEY.to_owned()
    }

    fn examples(&self, context: &StudyContext<'_>) -> Result<Vec<Example>> {
        let example = |word: &String| -> Result<Example> {
            let mut ids = context.encode(&format!("Say {word}:"))?;
            let prompt = ids.len();
            ids.extend(context.tokenizer.encode(&format!(" {word}"), Specials::None)?);
            ids.push(context.end()?);
            Ok(Example { ids, prompt, name: word.clone(), lost: 0 })
        };
        self.words.iter().map(example).collect()
    }

    fn measure(&self, edited: &EditedModel<'_>) -> Result<Measurement> {
        let context = &edited.context;
        let prompts = self.words.iter().map(|word| context.encode(&format!("Say {word}:")));
        let prompts = prompts.collect::<Result<Vec<_>, _>>()?;
        let prompts: Vec<&[i64]> = prompts.iter().map(Vec::as_slice).collect();
        let answers = edited.answers(&prompts, context.max_new_tokens)?;
        let one = |(ids, word): (&Vec<i64>, &String)| -> Result<StudyAnswer> {
            let (asked, said) = (format!("Say {word}:"), context.decode(ids)?);
            let correct = said.trim() == word;
            Ok(StudyAnswer { asked, said, expected: word.clone(), correct })
        };
        Ok(Measurement::counted(answers.iter().zip(&self.words).map(one).collect::<Result<_>>()?))
    }
}

impl MeasureSettings for Echo {
    const KEY: &'static str = "echo";
    const ORIGIN: &'static str = "made by this example";
}

/// The lines of a study, from runs in this folder.
///
/// # Errors
/// When the model cannot be loaded.
pub fn run(model: &str, folder: &Path, study: &EchoStudy) -> Result<Vec<LineSeries>> {
    // A second registration of the key is refused.
    studies::register::<EchoStudy>()?;
    let (mut session, mut done) = (Session::from_env(), Vec::new());
    for StudyCell { title, settings } in study.cells() {
        let mut tree = json!({"model": model, "dtype": "f32", "seed": 42});
        merge(&mut tree, settings);
        let plan = resolve(tree, &title)?;
        let runner = Runner { root: folder, resume: Resume::Never, claiming: Claiming::ByRunner, title, turn: None };
        let (record, _) = runner.execute(&plan, &mut session)?;
        done.push(Some(CellResult { run: record.id.to_string(), scores: record.scores }));
    }
    let lines = study.lines(&done);
    for point in lines.iter().flat_map(|line| &line.points) {
        println!("rank {}: {:.0} % of {} words", point.x, 100.0 * point.y, point.n.unwrap_or_default());
    }
    Ok(lines)
}

fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let model = std::env::args().nth(1).unwrap_or("smollm2".to_owned());
    run(&model, folder.path(), &EchoStudy::example()).map(|_| ())
}
