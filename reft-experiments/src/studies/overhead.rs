//! Figure 11: what edits cost while generating, by rank, layers, positions, length of the prompt, and new tokens.
//!
//! Each prompt is continued with and without the edits, one after the other, in an order that alternates; the measure is the
//! difference within such a pair, so that what disturbs the machine for longer than a pair cancels. Medians with quartiles.

use std::num::NonZeroUsize;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use reft_core::adaptation::{Mode, Step};
use reft_models::decode::{Decoding, Generator, Stopping};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::book::Book;
use super::distinct::Distinct;
use super::edited::{EditedModel, StudyContext};
use super::lines::{Axes, CellResult, LineSeries, SeriesPoint};
use super::study::{MeasureSettings, Measurement, Study, StudyCell, StudyMeasure, StudySettings, as_task};
use crate::data::encode::Example;
use crate::data::source::DataSources;
use crate::score::outcome::Score;

/// Time that edits add to an answer, by rank, layers, positions, length of the prompt, and new tokens.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Overhead {
    /// Tokens of a prompt, of several lengths.
    pub prompt_tokens: Distinct<NonZeroUsize>,
    /// New tokens, no fewer.
    pub new_tokens: NonZeroUsize,
    /// Pairs of runs of each prompt.
    pub repetitions: NonZeroUsize,
    /// The layer of the panels that do not vary it, the first of several.
    pub layer: usize,
    /// Ranks, at one layer and the last token.
    pub ranks: Vec<NonZeroUsize>,
    /// Numbers of layers, rank 8, last token.
    pub layers: Vec<NonZeroUsize>,
    /// Numbers of last tokens, one layer, rank 8.
    pub positions: Vec<NonZeroUsize>,
    /// Tokens of the only prompt, one layer, rank 8, last token.
    #[serde(default)]
    pub prompts: Vec<NonZeroUsize>,
    /// New tokens, likewise.
    #[serde(default)]
    pub answers: Vec<NonZeroUsize>,
}

/// Prompts of the excerpt, each continued with and without the run's edits, one after the other.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddedTime {
    /// Tokens of a prompt.
    pub prompt_tokens: Distinct<NonZeroUsize>,
    /// Pairs of runs of each prompt. An answer has `eval.max_new_tokens`, no fewer.
    pub repetitions: NonZeroUsize,
}

/// The rank where another setting varies.
const RANK: NonZeroUsize = NonZeroUsize::new(8).expect("not 0");

/// One setting of the edits and of what they are used on.
#[derive(Clone)]
struct PanelSetting {
    rank: NonZeroUsize,
    layers: NonZeroUsize,
    positions: NonZeroUsize,
    prompts: Distinct<NonZeroUsize>,
    answer: NonZeroUsize,
}

impl Overhead {
    /// The panels: their names, and their settings by value.
    fn panels(&self) -> Vec<(&'static str, Vec<(f64, PanelSetting)>)> {
        let base = || PanelSetting {
            rank: RANK,
            layers: NonZeroUsize::MIN,
            positions: NonZeroUsize::MIN,
            prompts: self.prompt_tokens.clone(),
            answer: self.new_tokens,
        };
        let of = |values: &[NonZeroUsize], vary: &dyn Fn(NonZeroUsize) -> PanelSetting| -> Vec<(f64, PanelSetting)> {
            values.iter().map(|&value| (value.get() as f64, vary(value))).collect()
        };
        vec![
            ("rank", of(&self.ranks, &|rank| PanelSetting { rank, ..base() })),
            ("layers", of(&self.layers, &|layers| PanelSetting { layers, ..base() })),
            ("positions", of(&self.positions, &|positions| PanelSetting { positions, ..base() })),
            ("prompt tokens", of(&self.prompts, &|tokens| PanelSetting { prompts: [tokens].into(), ..base() })),
            ("new tokens", of(&self.answers, &|answer| PanelSetting { answer, ..base() })),
        ]
    }

    fn settings(&self, setting: &PanelSetting) -> Value {
        let layers: Vec<usize> = (self.layer..self.layer + setting.layers.get()).collect();
        let positions = format!("l{}", setting.positions);
        let measure = AddedTime { prompt_tokens: setting.prompts.clone(), repetitions: self.repetitions };
        json!({
            "adapt": {"reft": {"intervention": "loreft", "rank": setting.rank, "positions": positions, "layers": layers}},
            "data": {"train": [], "eval": [as_task(&measure)]},
            "eval": {"max_new_tokens": setting.answer},
        })
    }
}

impl Study for Overhead {
    /// A run for each value of each panel; its edits are as they begin.
    fn cells(&self) -> Vec<StudyCell> {
        let panels = self.panels();
        let all = panels.iter().flat_map(|(panel, settings)| settings.iter().map(move |one| (panel, one)));
        let cell = |(panel, (value, setting)): (&&str, &(f64, PanelSetting))| StudyCell {
            title: format!("{panel} {value}"),
            settings: self.settings(setting),
        };
        all.map(cell).collect()
    }

    /// For each panel the median difference in milliseconds by value, and its quartiles as lines of their own.
    fn lines(&self, done: &[Option<CellResult>]) -> Vec<LineSeries> {
        let mut done = done.iter();
        let mut series = Vec::new();
        for (panel, settings) in self.panels().into_iter().filter(|(_, settings)| !settings.is_empty()) {
            let mut lines: [Vec<SeriesPoint>; 3] = Default::default();
            for ((value, _), result) in settings.iter().zip(done.by_ref().take(settings.len())) {
                let Some(result) = result else { continue };
                let score = result.scores.get(AddedTime::KEY);
                let Some(&score @ Score::Timed { added_ms, quartiles_ms: [low, high], .. }) = score else { continue };
                for (line, at) in lines.iter_mut().zip([added_ms, low, high]) {
                    line.push(result.point(*value, at, score));
                }
            }
            for (name, points) in ["median", "first quartile", "third quartile"].into_iter().zip(lines) {
                series.push(LineSeries { panel: panel.to_owned(), name: name.to_owned(), points });
            }
        }
        series
    }

    fn is_timed(&self) -> bool {
        true
    }

    fn check(&self) -> Result<(), (&'static str, String)> {
        let shortest = self.prompt_tokens.iter().min();
        match self.positions.iter().zip(shortest).find(|(positions, shortest)| positions > shortest) {
            Some((positions, shortest)) => Err((
                "positions",
                format!("{positions} tokens are edited, and the shortest of prompt_tokens has {shortest}"),
            )),
            None => Ok(()),
        }
    }
}

impl StudySettings for Overhead {
    const KEY: &'static str = "overhead";
    const TITLE: &'static str = "what edits cost while generating (figure 11)";
    const AXES: Option<Axes> = Some(Axes { panel: "by", x: "value", y: "ms more", range: None, log: false });
    type Measure = AddedTime;

    fn example() -> Self {
        let count = |count: usize| NonZeroUsize::new(count).expect("not 0");
        Self {
            prompt_tokens: [count(8)].into(),
            new_tokens: count(2),
            repetitions: count(2),
            layer: 1,
            ranks: vec![count(1)],
            layers: vec![count(2)],
            positions: vec![count(1), count(2)],
            prompts: vec![count(4)],
            answers: vec![count(1)],
        }
    }
}

impl StudyMeasure for AddedTime {
    fn name(&self) -> String {
        Self::KEY.to_owned()
    }

    fn material(&self, sources: &DataSources) -> Result<String> {
        Book::Excerpt.text(sources)
    }

    fn check_training(&self) -> Result<(), &'static str> {
        Err("nothing is trained where time is measured: leave it empty")
    }

    fn check_measure(&self, context: &StudyContext<'_>) -> Result<()> {
        let (text, longest) = (context.encode(context.material)?.len(), self.prompt_tokens.iter().max());
        match longest.filter(|tokens| tokens.get() > text) {
            Some(tokens) => bail!("a prompt of {tokens} tokens, where the text has {text}: take fewer"),
            None => Ok(()),
        }
    }

    fn examples(&self, _: &StudyContext<'_>) -> Result<Vec<Example>> {
        Ok(Vec::new())
    }

    fn measure(&self, edited: &EditedModel<'_>) -> Result<Measurement> {
        let context = &edited.context;
        let text = context.encode(context.material)?;
        let step = edited.adaptation.begin(Mode::Eval);
        let milliseconds = |adaptation: Option<&dyn Step>, prompt: &[i64]| milliseconds(context, adaptation, prompt);
        let (mut added, mut plain) = (Vec::new(), Vec::new());
        for tokens in self.prompt_tokens.iter().map(|tokens| tokens.get()) {
            let prompt = text.get(..tokens).with_context(|| format!("a prompt of {tokens} tokens: take fewer"))?;
            // The first run of a length pays for memory that later ones find.
            milliseconds(None, prompt)?;
            for repetition in 0..self.repetitions.get() {
                let edits_first = repetition % 2 == 0;
                let first = milliseconds(edits_first.then_some(step.as_ref()), prompt)?;
                let second = milliseconds((!edits_first).then_some(step.as_ref()), prompt)?;
                let (with, without) = if edits_first { (first, second) } else { (second, first) };
                added.push(with - without);
                plain.push(without);
            }
        }
        let [low, added_ms, high] = [0.25, 0.5, 0.75].map(|share| quantile(&mut added, share));
        let (plain_ms, n) = (quantile(&mut plain, 0.5), added.len());
        let score = Score::Timed { added_ms, quartiles_ms: [low, high], plain_ms, n };
        Ok(Measurement { score, answers: Vec::new() })
    }
}

impl MeasureSettings for AddedTime {
    const KEY: &'static str = "overhead";
    const ORIGIN: &'static str = "appendix H of the paper";
}

/// Time of one answer, of `eval.max_new_tokens`.
fn milliseconds(context: &StudyContext<'_>, adaptation: Option<&dyn Step>, prompt: &[i64]) -> Result<f64> {
    let decoding = Decoding { lookahead: 0, ..Decoding::default() };
    let stop = Stopping { max_new: context.max_new_tokens, ends: Vec::new() };
    let (model, seed) = (context.model, context.seed.0);
    let generator = Generator { model, adaptation, batch: 1, stop, decoding: &decoding, seed };
    let begin = Instant::now();
    generator.run(&[prompt], &|_, _| false)?;
    Ok(1e3 * begin.elapsed().as_secs_f64())
}

/// The value below which this share of the values lies.
fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = share * (values.len() - 1) as f64;
    let (low, high) = (values[place.floor() as usize], values[place.ceil() as usize]);
    low + (high - low) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_interpolated() {
        let mut values = [4.0, 1.0, 3.0, 2.0];
        assert!((quantile(&mut values, 0.5) - 2.5).abs() < 1e-12);
        assert!((quantile(&mut values, 0.25) - 1.75).abs() < 1e-12);
        assert!((quantile(&mut [7.0], 0.75) - 7.0).abs() < 1e-12);
    }
}
