//! A task of one's own: say the day after a day. Registered once, it is named in configurations, listed, trained on and scored
//! like those that come with the program.
//!
//! `cargo run --example own_task [MODEL]`

use std::path::Path;

use reft_experiments::config::read::resolve;
use reft_experiments::data::error::DataError;
use reft_experiments::data::row::Row;
use reft_experiments::data::source::DataSources;
use reft_experiments::data::split::Split;
use reft_experiments::prelude::*;
use reft_experiments::run::session::Session;
use reft_experiments::run::{Claiming, Resume, Runner};
use reft_experiments::score::scoring::Scoring;
use reft_experiments::store::record::Score;
use reft_experiments::tasks::description::{AnswerForm, Description};
use reft_experiments::tasks::{self, DataKind, Task};
use serde_json::json;

const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// Which day follows.
pub struct NextDay;

impl Task for NextDay {
    fn key(&self) -> &'static str {
        "next_day"
    }

    fn description(&self) -> Description {
        Description {
            title: "Next day",
            column: "next_day",
            about: "the day that follows a day of the week",
            origin: "made by this example",
            form: AnswerForm::OneOf(DAYS.len()),
        }
    }

    fn scoring(&self) -> &Scoring {
        &Scoring::Exact
    }

    fn example(&self) -> Row {
        day(0)
    }

    fn splits(&self, _: DataKind) -> Vec<&'static str> {
        vec!["train", "dev"]
    }

    fn rows(&self, _: DataKind, split: &Split, _: &DataSources) -> Result<Vec<Row>, DataError> {
        match split {
            Split::Train | Split::TrainWithoutDev => Ok((0..5).map(day).collect()),
            Split::Dev => Ok((5..7).map(day).collect()),
            Split::Test(_) => {
                let (task, split, remedy) = (self.key(), split.name(), "score its dev rows");
                Err(DataError::NoRows { task, split, remedy })
            }
        }
    }

    fn prompt(&self, row: &Row) -> String {
        format!("After {} comes", row.instruction)
    }

    fn completion(&self, row: &Row) -> String {
        format!(" {}", row.answer)
    }
}

/// The row of a day.
fn day(number: usize) -> Row {
    let [instruction, answer] = [number, number + 1].map(|day| DAYS[day % DAYS.len()].to_owned());
    Row { instruction, answer, ..Row::default() }
}

/// The score of a run that the task's name describes, and what guessing reaches.
///
/// # Errors
/// When the model cannot be loaded.
pub fn run(model: &str, folder: &Path) -> Result<(Score, Option<f64>)> {
    // A second registration of the key is refused.
    tasks::register(NextDay)?;
    let plan = resolve(
        json!({
            "model": model,
            "dtype": "f32",
            "adapt": {"reft": {"intervention": "loreft", "rank": 4, "positions": "l1"}},
            "data": {"train": ["next_day"], "eval": ["next_day"]},
            "train": {"epochs": 2, "lr": 4e-3},
            "eval": {"max_new_tokens": 4},
        }),
        "the example",
    )?;
    let (resume, claiming, title) = (Resume::Never, Claiming::ByRunner, "next day".to_owned());
    let runner = Runner { root: folder, resume, claiming, title, turn: None };
    let (record, _) = runner.execute(&plan, &mut Session::from_env())?;
    let score = record.scores["next_day"];
    println!("{:.0} % of {} rows are right", score.figure(), score.n());
    Ok((score, tasks::find("next_day").and_then(Task::guessing_rate)))
}

fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    run(&std::env::args().nth(1).unwrap_or("smollm2".to_owned()), folder.path()).map(|_| ())
}
