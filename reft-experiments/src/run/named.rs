//! A run that has begun: its name and its files; and what came of it.

use std::rc::Rc;

use reft_models::distributed::ProcessGroup;

use crate::config::plan::RunPlan;
use crate::store::environment::Environment;
use crate::store::record::{Record, Rung};
use crate::store::{RunId, RunPaths};

/// Name, files and environment of a run, once its folder exists.
pub struct NamedRun<'a> {
    /// Its plan.
    pub plan: &'a RunPlan,
    /// What else it depends on.
    pub environment: Environment,
    /// Its name.
    pub id: RunId,
    /// Its files.
    pub paths: RunPaths,
    /// What it is called for people: the generator of its answers.
    pub title: String,
    /// What stands before lines of progress.
    pub label: String,
    /// Whether it goes on from its checkpoint.
    pub resume: bool,
    /// The processes that train it together with this one.
    pub group: Option<Rc<ProcessGroup>>,
}

impl NamedRun<'_> {
    /// Whether this process speaks, selects and writes: the only one, or rank 0 of several.
    pub fn leads(&self) -> bool {
        self.group.as_ref().is_none_or(|group| group.leads())
    }
}

/// What came of executing a plan, or a part of it.
pub enum RunOutcome {
    /// All of it was done.
    Complete(Box<Record>),
    /// It was trained in part, and scored.
    Rung(Rung),
}
