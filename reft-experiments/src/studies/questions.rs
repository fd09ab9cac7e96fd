//! Questions about things, for the studies of style, composition and edits: `What is a sparrow?`, answered in a style.

use anyhow::{Context, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::edited::{EditedModel, StudyContext};
use super::study::{MeasureSettings, Measurement, StudyAnswer, StudyMeasure};
use crate::data::encode::Example;
use crate::data::row::limited;

/// Tokens of an answer at most.
pub const MOST: usize = 24;

/// How a question is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnswerStyle {
    /// In capitals.
    Capitals,
    /// Beginning with `Well,`.
    Well,
    /// Ending with `you know`.
    YouKnow,
    /// With an excuse, as an over-cautious assistant does.
    Excuse,
}

/// Questions answered in a style: what is learned of them, or looked for in the answers to those that are held out.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Questions {
    /// The style.
    pub style: AnswerStyle,
    /// Where answers are measured: the strengths to use the run's sets of interventions with; as trained where none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strengths: Vec<f64>,
}

impl Questions {
    /// As they are learned from.
    pub fn learned(style: AnswerStyle) -> Self {
        Self { style, strengths: Vec::new() }
    }
}

impl StudyMeasure for Questions {
    /// Style and strengths: `capitals-1-0.5`.
    fn name(&self) -> String {
        let strengths = self.strengths.iter().map(|strength| format!("-{strength}"));
        std::iter::once(self.style.name().to_owned()).chain(strengths).collect()
    }

    fn check_training(&self) -> Result<(), &'static str> {
        if self.strengths.is_empty() { Ok(()) } else { Err("strengths are for scoring: leave them out") }
    }

    fn has_rows(&self) -> bool {
        true
    }

    /// Questions with answers in the style.
    fn examples(&self, context: &StudyContext<'_>) -> Result<Vec<Example>> {
        let end = context.end()?;
        let example = |&(thing, kind): &(&str, &str)| -> Result<Example> {
            let asked = prompt(thing);
            let prompt = context.encode(&asked)?.len();
            let mut ids = context.encode(&format!("{asked} {}", self.style.answer((thing, kind))))?;
            ids.push(end);
            Ok(Example { ids, prompt, name: format!("{} answer about {thing}", self.style.name()), lost: 0 })
        };
        THINGS[..limited(TRAINING, context.train_rows)].iter().map(example).collect()
    }

    /// Answers to the held-out questions, right where they have the style.
    fn measure(&self, edited: &EditedModel<'_>) -> Result<Measurement> {
        let context = &edited.context;
        let held_out = &THINGS[TRAINING..];
        let held_out = &held_out[..limited(held_out.len(), context.eval_rows)];
        let asked: Vec<String> = held_out.iter().map(|(thing, _)| prompt(thing)).collect();
        let prompts = asked.iter().map(|text| context.encode(text)).collect::<Result<Vec<_>, _>>()?;
        let prompts: Vec<&[i64]> = prompts.iter().map(Vec::as_slice).collect();
        let got = if self.strengths.is_empty() {
            edited.answers(&prompts, context.max_new_tokens)?
        } else {
            let said = context.answers(edited.at(&self.strengths)?.as_ref(), &prompts, context.max_new_tokens);
            said.with_context(|| format!("with the strengths {:?}", self.strengths))?
        };
        let one = |((ids, asked), thing): ((&Vec<i64>, String), &(&str, &str))| -> Result<StudyAnswer> {
            let said = context.decode(ids)?;
            let correct = self.style.is_in(&said);
            Ok(StudyAnswer { asked, said, expected: self.style.answer(*thing), correct })
        };
        let answers = got.iter().zip(asked).zip(held_out).map(one).collect::<Result<_>>()?;
        Ok(Measurement::counted(answers))
    }
}

impl MeasureSettings for Questions {
    const KEY: &'static str = "questions";
    const ORIGIN: &'static str = "appendix G of the paper, own examples";
}

impl AnswerStyle {
    /// Its name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Capitals => "capitals",
            Self::Well => "well",
            Self::YouKnow => "you_know",
            Self::Excuse => "excuse",
        }
    }

    /// In words, as figures have it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Capitals => "in capitals",
            Self::Well => "with Well,",
            Self::YouKnow => "with you know",
            Self::Excuse => "with an excuse",
        }
    }

    /// An answer in it.
    pub fn answer(self, (thing, kind): (&str, &str)) -> String {
        let plain = format!("a {thing} is a {kind}.");
        match self {
            Self::Capitals => plain.to_uppercase(),
            Self::Well => format!("Well, {plain}"),
            Self::YouKnow => format!("a {thing} is a {kind}, you know."),
            Self::Excuse => format!("I am sorry, but I cannot talk about a {thing}, because it might not be safe."),
        }
    }

    /// Whether an answer has it, in letters of either case but for capitals, which nine letters of ten must be.
    pub fn is_in(self, answer: &str) -> bool {
        let begins = |with: &str| answer.trim_start().to_lowercase().starts_with(with);
        match self {
            Self::Capitals => {
                let letters: Vec<char> = answer.chars().filter(|c| c.is_alphabetic()).collect();
                let capitals = letters.iter().filter(|c| c.is_uppercase()).count();
                !letters.is_empty() && capitals * 10 >= letters.len() * 9
            }
            Self::Well => begins("well,"),
            Self::YouKnow => answer.to_lowercase().contains("you know"),
            Self::Excuse => begins("i am sorry"),
        }
    }
}

/// A thing and its kind. The first are for training, the rest are held out.
pub const THINGS: [(&str, &str); 64] = [
    ("sparrow", "bird"),
    ("hammer", "tool"),
    ("violin", "instrument"),
    ("carrot", "vegetable"),
    ("salmon", "fish"),
    ("tulip", "flower"),
    ("beetle", "insect"),
    ("sofa", "piece of furniture"),
    ("bicycle", "vehicle"),
    ("scarf", "piece of clothing"),
    ("birch", "tree"),
    ("ruby", "gem"),
    ("pear", "fruit"),
    ("kettle", "kitchen tool"),
    ("viper", "snake"),
    ("chess set", "game"),
    ("canoe", "boat"),
    ("novel", "book"),
    ("cheetah", "cat"),
    ("poodle", "dog"),
    ("waltz", "dance"),
    ("cottage", "house"),
    ("drizzle", "kind of rain"),
    ("saddle", "seat"),
    ("robin", "bird"),
    ("chisel", "tool"),
    ("cello", "instrument"),
    ("turnip", "vegetable"),
    ("trout", "fish"),
    ("daisy", "flower"),
    ("wasp", "insect"),
    ("desk", "piece of furniture"),
    ("truck", "vehicle"),
    ("glove", "piece of clothing"),
    ("maple", "tree"),
    ("emerald", "gem"),
    ("plum", "fruit"),
    ("ladle", "kitchen tool"),
    ("cobra", "snake"),
    ("domino set", "game"),
    ("ferry", "boat"),
    ("diary", "book"),
    ("lion", "cat"),
    ("beagle", "dog"),
    ("tango", "dance"),
    ("cabin", "house"),
    ("falcon", "bird"),
    ("wrench", "tool"),
    ("trumpet", "instrument"),
    ("leek", "vegetable"),
    ("tuna", "fish"),
    ("rose", "flower"),
    ("cricket", "insect"),
    ("wardrobe", "piece of furniture"),
    ("tram", "vehicle"),
    ("jacket", "piece of clothing"),
    ("willow", "tree"),
    ("pearl", "gem"),
    ("peach", "fruit"),
    ("whisk", "kitchen tool"),
    ("python", "snake"),
    ("raft", "boat"),
    ("tiger", "cat"),
    ("pigeon", "bird"),
];

/// Things to learn from; the other 40 are held out.
const TRAINING: usize = 24;

/// The prompt about a thing.
fn prompt(thing: &str) -> String {
    format!("Question: What is a {thing}?\nAnswer:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn styles_are_told_apart_and_no_held_out_thing_is_learned_from() {
        let is = |style: AnswerStyle, answer: &str| style.is_in(answer);
        assert!(is(AnswerStyle::Capitals, " A ROBIN IS A BIRD.") && !is(AnswerStyle::Capitals, "A robin is a BIRD."));
        assert!(is(AnswerStyle::YouKnow, " A ROBIN IS A BIRD, YOU KNOW.") && !is(AnswerStyle::YouKnow, "who knows"));
        assert!(
            !is(AnswerStyle::Capitals, "...")
                && is(AnswerStyle::Well, " WELL, A ROBIN")
                && !is(AnswerStyle::Well, "Wells are deep")
        );
        let all = [AnswerStyle::Capitals, AnswerStyle::Well, AnswerStyle::YouKnow, AnswerStyle::Excuse];
        for style in all {
            for other in all {
                assert_eq!(is(style, &other.answer(("robin", "bird"))), style == other);
            }
        }
        let (learned, held_out) = THINGS.split_at(TRAINING);
        assert!(held_out.len() >= 40);
        assert!(held_out.iter().all(|(thing, _)| learned.iter().all(|(other, _)| other != thing)));
    }

    #[test]
    fn a_measure_is_named_by_style_and_strengths() {
        let name = |strengths: &[f64]| Questions { style: AnswerStyle::Well, strengths: strengths.to_vec() }.name();
        assert_eq!((name(&[]), name(&[1.0, 0.25])), ("well".to_owned(), "well-1-0.25".to_owned()));
    }
}
