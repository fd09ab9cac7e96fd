//! How trials' scores on dev rows develop in training.

use maud::{Markup, html};

use super::data::{Data, number};
use super::draw::Drawing;
use super::draw::legend::legend;
use super::draw::mark::{dot, line, rule};
use super::draw::panel::{Axis, Panel};
use super::draw::scale::Domain;
use super::figure::Figure;
use super::trial::{ReportTrial, TrialEnd};
use crate::score::grade::Unit;

/// A trial's curve: the rows of the CSV it is, and how it is drawn.
#[derive(Clone)]
struct Curve {
    first: usize,
    /// Percent of the training, and score.
    points: Vec<(f64, f64)>,
    kind: CurveKind,
    says: String,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum CurveKind {
    Pruned,
    Whole,
    Winner,
}

impl CurveKind {
    fn line(self) -> &'static str {
        match self {
            Self::Pruned => "faint sq1",
            Self::Whole => "sq4",
            Self::Winner => "bold sw",
        }
    }

    fn dot(self) -> &'static str {
        match self {
            Self::Pruned => "faint fq1",
            Self::Whole => "fq4",
            Self::Winner => "fw",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Pruned => "pruned, or not at its end",
            Self::Whole => "trained to its end",
            Self::Winner => "winner",
        }
    }
}

/// The chart; `None` where no trial has a score.
pub fn figure(
    name: &str,
    title: &str,
    unit: Unit,
    trials: &[ReportTrial],
    best: Option<usize>,
    caption: Markup,
) -> Option<Figure> {
    let mut data = Data::new(&["trial", "run", "state", "percent_of_training", "score", "n"]);
    let mut curves = Vec::new();
    for trial in trials.iter().filter(|trial| !trial.curve.is_empty()) {
        let first = data.len();
        for scored in &trial.curve {
            data.push(vec![
                trial.number.to_string(),
                trial.run.to_string(),
                trial.state.word(),
                number(Some(100.0 * scored.part)),
                number(Some(scored.score)),
                scored.n.map(|n| n.to_string()).unwrap_or_default(),
            ]);
        }
        let kind = match trial.state {
            _ if best == Some(trial.number) => CurveKind::Winner,
            TrialEnd::Complete => CurveKind::Whole,
            TrialEnd::Pruned(_) | TrialEnd::Failed(_) | TrialEnd::Open => CurveKind::Pruned,
        };
        let points = trial.curve.iter().map(|scored| (100.0 * scored.part, scored.score)).collect();
        let says = format!("trial {}, {}", trial.number, trial.state.word());
        curves.push(Curve { first, points, kind, says });
    }
    curves.sort_by_key(|curve| curve.kind);
    let scores = curves.iter().flat_map(|curve| &curve.points).map(|point| point.1);
    let best_score = scores.reduce(|best, score| if unit.better(score, best) { score } else { best });
    if curves.is_empty() {
        return None;
    }
    let alt = format!(
        "{title} of {} trials, {} trials drawn; the best is {}",
        trials.len(),
        curves.len(),
        best_score.map_or("–".to_owned(), |score| unit.digits(score))
    );
    let title = title.to_owned();
    let draw = Box::new(move |width| draw(&curves, &title, width));
    Some(Figure { name: name.to_owned(), alt, caption, data, draw })
}

fn draw(curves: &[Curve], title: &str, width: f64) -> Drawing {
    let kinds = [CurveKind::Winner, CurveKind::Whole, CurveKind::Pruned];
    let there = kinds.into_iter().filter(|kind| curves.iter().any(|curve| curve.kind == *kind));
    let sign = |kind: CurveKind| rule((-8.0, 0.0), (8.0, 0.0), &format!("line {}", kind.line()));
    let (key, top) = legend(&there.map(|kind| (sign(kind), kind.name().to_owned())).collect::<Vec<_>>(), width);
    let scores = Domain::linear(curves.iter().flat_map(|curve| &curve.points).map(|point| point.1));
    let x = Axis {
        column: "percent_of_training",
        domain: Domain::Linear(0.0, 102.0),
        title: "% of the training".to_owned(),
    };
    let y = Axis { column: "score", domain: scores, title: title.to_owned() };
    let height = if width > 500.0 { 320.0 } else { 280.0 };
    let panel = Panel::new((0.0, top + 4.0), (width, height), x, y);
    let drawn = |curve: &Curve| {
        let at: Vec<(f64, f64)> = curve.points.iter().filter_map(|&(x, y)| panel.at(x, y)).collect();
        html! {
            (line(&at, &(curve.first..curve.first + at.len()), curve.kind.line(), &curve.says))
            @for (row, place) in at.iter().enumerate() { (dot(*place, curve.first + row, curve.kind.dot())) }
        }
    };
    let marks = html! { @for curve in curves { (drawn(curve)) } };
    Drawing { height: top + 4.0 + height, body: html! { (key) (panel.with(&marks)) } }
}
