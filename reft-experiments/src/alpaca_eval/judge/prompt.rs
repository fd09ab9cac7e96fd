//! Prompt template of a judge, and the parsing of its replies.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;
use sha2::{Digest, Sha256};

use crate::suggest::did_you_mean;

/// Our own words, used unless the user gives others.
const OWN: &str = include_str!("prompt.txt");

static PLACEHOLDER: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\{([A-Za-z_][A-Za-z0-9_]*)\}").expect("a fixed pattern"));

/// The marks around what a judge thinks.
const MARK: &str = "(?:seed:)?(?:think|thinking|thought|reason|reasoning)";

static THOUGHT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(&format!(r"(?is)<{MARK}>.*?</{MARK}>")).expect("a fixed pattern"));
static THOUGHT_BEGIN: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(&format!("(?i)<{MARK}>")).expect("a fixed pattern"));
static THOUGHT_END: LazyLock<Regex> = LazyLock::new(|| Regex::new(&format!("(?i)</{MARK}>")).expect("a fixed pattern"));

/// Which of the two outputs a judge sees first. Judges favour one place, so each output stands in it half of the time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PresentationOrder {
    /// The reference's output is `a`.
    ReferenceFirst,
    /// The model's output is `a`.
    ModelFirst,
}

impl PresentationOrder {
    /// Drawn for each instruction; the same in every run with this seed.
    pub fn of(instruction: &str, seed: u64) -> Self {
        let digest = Sha256::new().chain_update(seed.to_le_bytes()).chain_update(instruction).finalize();
        if digest[0] & 1 == 0 { Self::ReferenceFirst } else { Self::ModelFirst }
    }

    /// A name that keeps its meaning in files.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ReferenceFirst => "reference first",
            Self::ModelFirst => "model first",
        }
    }
}

/// A template that does not show what is to be judged.
#[derive(Debug, thiserror::Error)]
pub enum JudgePromptError {
    /// Not readable.
    #[error("{path}: {reason}: check the path and its permissions")]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        reason: std::io::Error,
    },
    /// A placeholder that nothing is put in.
    #[error("{path}: unknown placeholder {{{name}}}{hint}: use {{instruction}}, {{output_a}} and {{output_b}}")]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What stands between the braces.
        name: String,
        /// The placeholder that was meant, perhaps.
        hint: String,
    },
    /// A placeholder is not there.
    #[error("{path}: placeholder {{{name}}} is missing: use {{instruction}}, {{output_a}} and {{output_b}}")]
    Missing {
        /// The file.
        path: PathBuf,
        /// The placeholder.
        name: &'static str,
    },
}

/// What is put in a template.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Slot {
    Instruction,
    OutputA,
    OutputB,
}

impl Slot {
    const ALL: [Self; 3] = [Self::Instruction, Self::OutputA, Self::OutputB];

    fn name(self) -> &'static str {
        match self {
            Self::Instruction => "instruction",
            Self::OutputA => "output_a",
            Self::OutputB => "output_b",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum TemplatePiece {
    Text(String),
    Slot(Slot),
}

/// A judge's prompt with places for an instruction and two outputs.
#[derive(Clone, Debug)]
pub struct JudgePrompt {
    text: String,
    pieces: Vec<TemplatePiece>,
}

impl Default for JudgePrompt {
    fn default() -> Self {
        Self::parse(OWN, Path::new("prompt.txt")).expect("a fixed text with every placeholder")
    }
}

impl JudgePrompt {
    /// The template of a file.
    ///
    /// # Errors
    /// When the file is not readable, or a placeholder is unknown or missing.
    pub fn read(path: &Path) -> Result<Self, JudgePromptError> {
        let text =
            std::fs::read_to_string(path).map_err(|reason| JudgePromptError::Io { path: path.to_owned(), reason })?;
        Self::parse(&text, path)
    }

    /// The template of a text, which is `path`'s in messages. Braces around anything but a name stay as they are.
    ///
    /// # Errors
    /// When a placeholder is unknown or missing.
    pub fn parse(text: &str, path: &Path) -> Result<Self, JudgePromptError> {
        let (mut pieces, mut end) = (Vec::new(), 0);
        for found in PLACEHOLDER.captures_iter(text) {
            let (whole, name) = (found.get_match(), &found[1]);
            let Some(slot) = Slot::ALL.into_iter().find(|slot| slot.name() == name) else {
                let hint = did_you_mean(name, Slot::ALL.map(Slot::name));
                return Err(JudgePromptError::Unknown { path: path.to_owned(), name: name.to_owned(), hint });
            };
            pieces.extend([TemplatePiece::Text(text[end..whole.start()].to_owned()), TemplatePiece::Slot(slot)]);
            end = whole.end();
        }
        pieces.push(TemplatePiece::Text(text[end..].to_owned()));
        match Slot::ALL.into_iter().find(|&slot| !pieces.contains(&TemplatePiece::Slot(slot))) {
            Some(missing) => Err(JudgePromptError::Missing { path: path.to_owned(), name: missing.name() }),
            None => Ok(Self { text: text.to_owned(), pieces }),
        }
    }

    /// The text with its placeholders.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The prompt. What is put in is not searched for placeholders.
    pub fn fill(&self, instruction: &str, output_a: &str, output_b: &str) -> String {
        let mut prompt = String::new();
        for piece in &self.pieces {
            prompt.push_str(match piece {
                TemplatePiece::Text(text) => text,
                TemplatePiece::Slot(Slot::Instruction) => instruction,
                TemplatePiece::Slot(Slot::OutputA) => output_a,
                TemplatePiece::Slot(Slot::OutputB) => output_b,
            });
        }
        prompt
    }
}

/// What a judge said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The first output is better.
    A,
    /// The second is.
    B,
    /// Neither is.
    Tie,
}

impl Verdict {
    /// The verdict in the last line of a reply that has words; none when it names no verdict, or more than one. What the
    /// judge thought between marks such as `<think>` is not part of what it says, and a thought that does not end has no
    /// verdict after it.
    pub fn parse(reply: &str) -> Option<Self> {
        let reply = THOUGHT.replace_all(reply, "");
        // Some templates open the thought themselves: only its end is in the reply.
        let reply = THOUGHT_END.split(&reply).last().unwrap_or_default();
        if THOUGHT_BEGIN.is_match(reply) {
            return None;
        }
        let line = reply.lines().rev().find(|line| line.contains(char::is_alphanumeric))?;
        let words: Vec<&str> = line.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
        let said: Vec<Self> = (0..words.len()).filter_map(|index| Self::word(&words, index)).collect();
        let (first, others) = said.split_first()?;
        others.iter().all(|other| other == first).then_some(*first)
    }

    fn word(words: &[&str], index: usize) -> Option<Self> {
        let inside = index > 0 && index + 1 < words.len();
        let before_tie = words.get(index + 1).is_some_and(|next| next.eq_ignore_ascii_case("tie"));
        match words[index] {
            // An article: "b is a better answer", "it is a tie".
            "a" if inside => None,
            "A" | "a" if before_tie => None,
            "A" | "a" => Some(Self::A),
            "B" | "b" => Some(Self::B),
            word if word.eq_ignore_ascii_case("tie") => Some(Self::Tie),
            _ => None,
        }
    }

    /// The preference that an annotation keeps.
    pub fn preference(self, order: PresentationOrder) -> f64 {
        match (self, order) {
            (Self::A, PresentationOrder::ReferenceFirst) | (Self::B, PresentationOrder::ModelFirst) => 1.0,
            (Self::A, PresentationOrder::ModelFirst) | (Self::B, PresentationOrder::ReferenceFirst) => 2.0,
            (Self::Tie, _) => 1.5,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_with_what_is_around_them() {
        let cases = [
            ("a", Some(Verdict::A)),
            (" B.\n", Some(Verdict::B)),
            ("**TIE**", Some(Verdict::Tie)),
            ("Both are fine, but A is vague.\n\nAnswer: b", Some(Verdict::B)),
            ("The better answer is (a)!\n```\n", Some(Verdict::A)),
            ("{\"answer\": \"b\"}", Some(Verdict::B)),
            ("It is a tie.", Some(Verdict::Tie)),
            ("A tie", Some(Verdict::Tie)),
            ("b is a better answer", Some(Verdict::B)),
            ("A. Yes, A", Some(Verdict::A)),
            ("B is better than A", None),
            ("I would call it a draw", None),
            ("Neither", None),
            ("a\nor perhaps not", None),
            ("", None),
            ("...", None),
            ("<think>\nb looks short. a is better?\n</think>\n\nb", Some(Verdict::B)),
            ("<Thinking>a</Thinking><think>b</think>Tie", Some(Verdict::Tie)),
            ("so a it is\n</think>\nb", Some(Verdict::B)),
            ("<think>\nb looks short.\na", None),
            ("<think>a</think>\n<think>b", None),
            ("<think>a</think>", None),
        ];
        for (reply, expected) in cases {
            assert_eq!(Verdict::parse(reply), expected, "{reply:?}");
        }
    }

    #[test]
    fn placeholders_within_substituted_texts_are_not_expanded() {
        let template = JudgePrompt::parse("{instruction}|{output_a}|{output_b}|{instruction}", Path::new("t.txt"));
        let filled = template.expect("valid").fill("{output_b}", "1", "{x}");
        assert_eq!(filled, "{output_b}|1|{x}|{output_b}");
        let json = "{\"q\": \"{instruction}\", \"ab\": [{output_a}, {output_b}], \"c\": {}}";
        let filled = JudgePrompt::parse(json, Path::new("t.txt")).expect("valid").fill("?", "1", "2");
        assert_eq!(filled, "{\"q\": \"?\", \"ab\": [1, 2], \"c\": {}}");
    }

    #[test]
    fn placeholders_are_checked() {
        let error = |text| JudgePrompt::parse(text, Path::new("t.txt")).expect_err(text).to_string();
        let unknown = error("{instruction} {output_1} {output_b}");
        assert!(unknown.starts_with("t.txt: unknown placeholder {output_1} (did you mean `output_"), "{unknown}");
        assert!(unknown.ends_with(": use {instruction}, {output_a} and {output_b}"), "{unknown}");
        let missing = error("{instruction} {output_a}");
        assert!(missing.starts_with("t.txt: placeholder {output_b} is missing: use "), "{missing}");
    }

    #[test]
    fn our_own_prompt_shows_everything_in_order() {
        let filled = JudgePrompt::default().fill("<the instruction>", "<the first>", "<the second>");
        let places: Vec<_> =
            ["<the instruction>", "<the first>", "<the second>", "tie"].iter().map(|part| filled.find(part)).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}");
    }

    #[test]
    fn orders_are_drawn_anew_for_every_instruction_and_seed() {
        let orders = |seed| {
            (0..64).map(|index| PresentationOrder::of(&format!("instruction {index}"), seed)).collect::<Vec<_>>()
        };
        assert_eq!(orders(1), orders(1));
        assert_ne!(orders(1), orders(2));
        let first = orders(1).iter().filter(|&&order| order == PresentationOrder::ModelFirst).count();
        assert!((16..=48).contains(&first), "{first} of 64");
    }

    #[test]
    fn a_preference_belongs_to_the_output_whatever_its_place() {
        for (order, reference, model) in [
            (PresentationOrder::ReferenceFirst, Verdict::A, Verdict::B),
            (PresentationOrder::ModelFirst, Verdict::B, Verdict::A),
        ] {
            let preferences = [reference, model, Verdict::Tie].map(|verdict| Some(verdict.preference(order)));
            assert_eq!(preferences, [Some(1.0), Some(2.0), Some(1.5)]);
        }
    }
}
