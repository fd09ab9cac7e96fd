//! What a trained model was trained for, beside its parameters: from it rows of other files are asked in the same way.

use std::path::{Path, PathBuf};

use reft_core::value_reader;
use reft_models::tokenizer::TokenizerVersion;
use serde::{Deserialize, Serialize};

use super::named::NamedRun;
use crate::config::plan::EvalPlan;
use crate::data::labels::{Labels, SavedLabels};
use crate::data::own::column_template::ColumnTemplate;
use crate::data::own::set::OwnSet;
use crate::data::own::spec::DataSpec;
use crate::data::row::Row;
use crate::data::source::DataSources;
use crate::data::split::Split;
use crate::data::text::{self, TextError};
use crate::store::RunId;
use crate::tasks::labelled::LabelledTask;
use crate::tasks::template::PromptTemplate;

/// Its name in the folder of an adapter, or beside a head that was trained alone.
const FILE: &str = "task.json";

/// What a model was trained for.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SavedTask {
    /// The run that trained it; files of earlier versions do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// The tasks, as configurations describe data sets; empty where no description says them.
    pub tasks: Vec<DataSpec>,
    /// What the outputs of an encoder's head stand for; none of causal models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<SavedLabels>,
    /// Tokens of a row at most.
    pub max_length: usize,
    /// How a question is put to a causal model.
    pub template: PromptTemplate,
    /// The chat template, where it is not the model's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_template: Option<String>,
    /// Which tokenizer of the model gives the ids.
    #[serde(default, skip_serializing_if = "TokenizerVersion::is_fast")]
    pub tokenizer: TokenizerVersion,
    /// How answers are generated.
    pub eval: EvalPlan,
}

/// A file that cannot be written or used.
#[derive(Debug, thiserror::Error)]
pub enum SavedTaskError {
    /// Not writable.
    #[error("{path}: {source}: check the path, its permissions and the space left")]
    Write {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// Not there.
    #[error(
        "{path}: there is no such file, which says what the model was trained for: adapters of earlier versions and of other \
         libraries have none; train anew, score rows by `eval` with a configuration, or answer prompts by `generate`"
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Not readable as a text.
    #[error(transparent)]
    Text(#[from] TextError),
    /// Not what this program writes there.
    #[error("{path}: {reason}: the file is damaged; copy it again or train anew")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl SavedTask {
    /// What a run trains for; `labels` are those of an encoder's head.
    pub fn of(run: &NamedRun<'_>, labels: Option<Labels>) -> Self {
        let plan = run.plan;
        let mut tasks: Vec<DataSpec> = Vec::new();
        for id in plan.data.train.iter().chain(&plan.data.eval) {
            let task = id.task();
            let described = match labels {
                Some(_) => task.labelled().map(LabelledTask::as_labelled),
                None => task.as_data(),
            };
            let new = described.map(|spec| DataSpec { name: Some(task.key().to_owned()), ..spec });
            tasks.extend(new.filter(|spec| !tasks.contains(spec)));
        }
        Self {
            run: Some(run.id.clone()),
            tasks,
            labels: labels.map(SavedLabels::from),
            max_length: plan.data.max_length,
            template: plan.data.template,
            chat_template: plan.data.chat_template.clone(),
            tokenizer: plan.tokenizer,
            eval: plan.eval.clone(),
        }
    }

    /// A prompt put as those were that a causal model was trained on: with what their template has around its one column. None
    /// where the prompt has that already, or where no single text makes a prompt (several data sets or columns,
    /// conversations, tasks with prompts of their own).
    pub fn completed(&self, prompt: &str) -> Option<String> {
        let [task] = self.tasks.as_slice() else { return None };
        let template = ColumnTemplate::parse(task.prompt.as_deref()?).ok()?;
        let (before, behind) = template.around()?;
        let whole = prompt.starts_with(&before) && prompt.ends_with(&behind);
        (!whole).then(|| format!("{before}{prompt}{behind}"))
    }

    /// The user's rows that it was trained on, as far as they can still be read, without those that were held out.
    pub fn trained_rows(&self, sources: &DataSources) -> Vec<Row> {
        let rows = |spec: &DataSpec| OwnSet::new(spec.clone()).ok()?.rows(&Split::TrainWithoutDev, sources).ok();
        self.tasks.iter().filter_map(rows).flatten().collect()
    }

    /// Whether it was trained on conversations.
    pub fn is_of_conversations(&self) -> bool {
        self.tasks.iter().any(|task| task.messages.is_some())
    }

    /// Writes it into a folder.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn save(&self, folder: &Path) -> Result<(), SavedTaskError> {
        let path = folder.join(FILE);
        let json = serde_json::to_vec_pretty(self).expect("plain data");
        crate::atomic::write(&path, &json).map_err(|source| SavedTaskError::Write { path, source })
    }

    /// Which tokenizer the adapter of a folder was trained with: the fast one where nothing is kept.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn tokenizer_of(folder: &Path) -> Result<TokenizerVersion, SavedTaskError> {
        let path = folder.join(FILE);
        if !path.exists() {
            return Ok(TokenizerVersion::Fast);
        }
        let text = text::read(&path)?;
        let kept = serde_json::from_str::<serde_json::Value>(&text);
        let version = kept.and_then(|mut kept| match kept["tokenizer"].take() {
            serde_json::Value::Null => Ok(TokenizerVersion::Fast),
            version => serde_json::from_value(version),
        });
        version.map_err(|error| SavedTaskError::Damaged { path, reason: error.to_string() })
    }

    /// That of a folder; none where nothing is kept.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn find(folder: &Path) -> Result<Option<Self>, SavedTaskError> {
        if folder.join(FILE).exists() { Self::read(folder).map(Some) } else { Ok(None) }
    }

    /// Reads that of a folder.
    ///
    /// # Errors
    /// When it is missing or damaged.
    pub fn read(folder: &Path) -> Result<Self, SavedTaskError> {
        let path = folder.join(FILE);
        if !path.exists() {
            return Err(SavedTaskError::Missing { path });
        }
        let text = text::read(&path)?;
        value_reader::read_json(&text).map_err(|error| SavedTaskError::Damaged { path, reason: error.to_string() })
    }
}
