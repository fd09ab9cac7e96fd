//! Answers side by side, for people to read.

use std::fmt::Write;

use crate::run::prediction::Prediction;

/// What several systems answered to the rows of one task, all in the same order.
pub struct SampleAnswers {
    /// Whose they are.
    pub system: String,
    /// Row by row.
    pub predictions: Vec<Prediction>,
}

/// The first `count` rows of a task as Markdown.
pub fn side_by_side(task: &str, systems: &[SampleAnswers], count: usize) -> String {
    let mut text = format!("## {task}\n");
    let rows = systems.iter().map(|system| system.predictions.len()).min().unwrap_or(0).min(count);
    for row in 0..rows {
        let first = &systems[0].predictions[row];
        let _ = write!(text, "\n### {}\n\n{}\n", row + 1, quoted(&first.instruction));
        if !first.input.is_empty() {
            let _ = write!(text, "\n{}\n", quoted(&first.input));
        }
        if !first.expected.is_empty() {
            let _ = write!(text, "\nExpected: {}\n", first.expected.lines().last().unwrap_or_default());
        }
        for SampleAnswers { system, predictions } in systems {
            let Prediction { said, correct, expected, .. } = &predictions[row];
            let verdict = match (expected.is_empty(), correct) {
                (true, _) | (false, None) => "",
                (false, Some(true)) => " (right)",
                (false, Some(false)) => " (wrong)",
            };
            let _ = write!(text, "\n**{system}**{verdict}\n\n{}\n", quoted(said));
        }
    }
    text
}

fn quoted(text: &str) -> String {
    text.trim().lines().map(|line| format!("> {line}").trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_system_stands_under_every_question() {
        let prediction = |said: &str, correct| Prediction {
            instruction: "How many?".to_owned(),
            said: said.to_owned(),
            answer: said.to_owned(),
            expected: "4".to_owned(),
            input: String::new(),
            correct: Some(correct),
            cut: false,
            likelihood: None,
        };
        let answers = |system: &str, said: &str, correct| SampleAnswers {
            system: system.to_owned(),
            predictions: vec![prediction(said, correct), prediction("later", false)],
        };
        let text = side_by_side("gsm8k", &[answers("base", "2 + 1\n3", false), answers("LoReFT", "4", true)], 1);
        assert_eq!(
            text,
            "## gsm8k\n\n### 1\n\n> How many?\n\nExpected: 4\n\n**base** (wrong)\n\n> 2 + 1\n> 3\n\n**LoReFT** \
             (right)\n\n> 4\n"
        );
    }
}
