//! What a description says that rows are made of.

use super::choices::Choices;
use super::column_template::ColumnTemplate;
use super::rows::RowParts;
use super::spec::{ChoiceTexts, DataSpec};
use crate::score::scoring::{Scoring, ScoringKind};

impl RowParts {
    /// What the rows of a described data set are made of.
    ///
    /// # Errors
    /// When keys are missing or contradict each other, or a template is not valid, in words that begin with the key.
    pub fn of(spec: &DataSpec) -> Result<Self, String> {
        match (&spec.prompt, &spec.messages, &spec.text) {
            (Some(prompt), ..) => completion(spec, prompt),
            (None, Some(messages), _) => {
                only(spec, &["messages", "turns"])?;
                Ok(Self::Conversation(template("messages", messages)?))
            }
            (None, None, Some(text)) => {
                only(spec, &["text", "pair", "label", "classes"])?;
                let label =
                    optional("label", spec.label.as_ref())?.ok_or("label: missing: name the column of labels")?;
                let pair = optional("pair", spec.pair.as_ref())?;
                Ok(Self::Labelled { text: template("text", text)?, pair, label })
            }
            (None, None, None) => {
                Err("prompt: missing: give prompt and completion, or messages, or text and label".to_owned())
            }
        }
    }

    /// The score where none is named.
    pub fn usual_score(&self) -> Scoring {
        match self {
            Self::Completion { choices: Some(_), .. } => Scoring::Choices,
            Self::Completion { choices: None, .. } | Self::Conversation(_) => Scoring::Nll,
            Self::Labelled { .. } => Scoring::Accuracy,
        }
    }

    /// Whether such rows have what a kind of score needs.
    pub fn fit(&self, kind: ScoringKind) -> bool {
        match self {
            Self::Completion { choices, .. } => match kind {
                ScoringKind::Answers | ScoringKind::Likelihood => true,
                ScoringKind::Choices => choices.is_some(),
                ScoringKind::Classes | ScoringKind::Numbers => false,
            },
            Self::Conversation(_) => matches!(kind, ScoringKind::Answers | ScoringKind::Likelihood),
            Self::Labelled { .. } => matches!(kind, ScoringKind::Classes | ScoringKind::Numbers),
        }
    }
}

/// A prompt with a completion, with choices, or with both.
fn completion(spec: &DataSpec, prompt: &str) -> Result<RowParts, String> {
    only(spec, &["prompt", "completion", "choices", "between", "answer"])?;
    let choices = spec.choices.as_ref().map(choices).transpose()?;
    let completion = optional("completion", spec.completion.as_ref())?;
    let answer = optional("answer", spec.answer.as_ref())?;
    if completion.is_none() && (choices.is_none() || answer.is_none()) {
        return Err("completion: missing: write what the model learns to say, such as \"{{ answer }}\"".to_owned());
    }
    let between = spec.between.clone().unwrap_or_else(|| " ".to_owned());
    Ok(RowParts::Completion { prompt: template("prompt", prompt)?, completion, choices, between, answer })
}

fn choices(written: &ChoiceTexts) -> Result<Choices, String> {
    match written {
        ChoiceTexts::Column(column) => Ok(Choices::Column(template("choices", column)?)),
        ChoiceTexts::Each(each) => {
            // A choice without braces is a text of its own, not a column: `[" no", " yes"]`.
            let each = each
                .iter()
                .map(|source| ColumnTemplate::literal_or_parse(source).map_err(|reason| format!("choices: {reason}")));
            Ok(Choices::Each(each.collect::<Result<_, _>>()?))
        }
    }
}

fn template(key: &str, source: &str) -> Result<ColumnTemplate, String> {
    ColumnTemplate::parse(source).map_err(|reason| format!("{key}: {reason}: correct the template"))
}

fn optional(key: &str, source: Option<&String>) -> Result<Option<ColumnTemplate>, String> {
    source.map(|source| template(key, source)).transpose()
}

/// Refuses keys that do not go with the first of these.
fn only(spec: &DataSpec, allowed: &[&str]) -> Result<(), String> {
    let given = [
        ("prompt", spec.prompt.is_some()),
        ("completion", spec.completion.is_some()),
        ("choices", spec.choices.is_some()),
        ("between", spec.between.is_some()),
        ("answer", spec.answer.is_some()),
        ("messages", spec.messages.is_some()),
        ("turns", spec.turns.is_some()),
        ("text", spec.text.is_some()),
        ("pair", spec.pair.is_some()),
        ("label", spec.label.is_some()),
        ("classes", spec.classes.is_some()),
    ];
    match given.iter().find(|(key, there)| *there && !allowed.contains(key)) {
        Some((key, _)) => Err(format!("{key}: does not go with {}: leave one of them out", allowed[0])),
        None => Ok(()),
    }
}
