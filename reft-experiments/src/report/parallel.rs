//! Every trial of a sweep as a line through its settings and its scores. Axes lie one below the other: their names and values
//! are read without turning one's head, on a phone too, and a trial that was given up ends where it was.

use maud::{Markup, html};

use super::data::{Data, number};
use super::draw::ink::STEPS;
use super::draw::mark::{Anchor, across, label, rule};
use super::draw::number::setting;
use super::draw::scale::{Domain, Scale};
use super::draw::{Drawing, text};
use super::figure::Figure;
use super::trial::{ReportTrial, TrialEnd};
use crate::sweep::space::{Parameter, Values};

/// Pixels between two axes.
const APART: f64 = 66.0;
/// Pixels above the first, for its name.
const TOP: f64 = 26.0;
/// Pixels left and right of every axis.
const SIDE: f64 = 10.0;
/// The part of a word's slot that lines are spread over.
const SPREAD: f64 = 0.7;

/// A column of the CSV as an axis.
#[derive(Clone)]
struct ParallelAxis {
    title: String,
    column: String,
    domain: Domain,
    /// The lowest and the highest of the scores that lines are coloured by, if they are this axis'.
    colours: Option<(f64, f64)>,
}

/// What the drawing needs of a trial.
#[derive(Clone)]
struct TrialPolyline {
    row: usize,
    /// Values on the axes, as far as it came: a number, or a word with the place in its slot from -0.5 to 0.5.
    places: Vec<AxisValue>,
    step: usize,
    class: &'static str,
    says: String,
}

#[derive(Clone)]
enum AxisValue {
    Number(f64),
    Word(String, f64),
}

/// The chart of the trials that have a score; `None` where there are none.
pub fn figure(
    name: &str,
    space: &[Parameter],
    rungs: &[String],
    trials: &[ReportTrial],
    best: Option<usize>,
    caption: Markup,
) -> Option<Figure> {
    let data = data(space, rungs.len(), trials);
    let scored: Vec<&ReportTrial> = trials.iter().filter(|trial| trial.first().is_some()).collect();
    let all = scored.iter().flat_map(|trial| trial.rungs.iter().flatten()).map(|scored| scored.score);
    let scores = Domain::linear(all);
    let firsts = || scored.iter().filter_map(|trial| trial.first()).map(|scored| scored.score);
    let range = (!scored.is_empty())
        .then(|| (firsts().fold(f64::INFINITY, f64::min), firsts().fold(f64::NEG_INFINITY, f64::max)));
    let mut axes: Vec<ParallelAxis> = space.iter().map(of_setting).collect();
    axes.extend(rungs.iter().enumerate().map(|(rung, title)| ParallelAxis {
        title: title.clone(),
        column: format!("rung_{rung}"),
        domain: scores.clone(),
        colours: range.filter(|_| rung == 0),
    }));
    let lines = lines(space, &scored, best);
    if lines.is_empty() {
        return None;
    }
    let pruned = scored.iter().filter(|trial| matches!(trial.state, TrialEnd::Pruned(_))).count();
    let alt = format!(
        "{} trials through {} settings and {} scores; {pruned} were pruned{}",
        lines.len(),
        space.len(),
        rungs.len(),
        best.map_or(String::new(), |best| format!("; trial {best} won"))
    );
    let draw = Box::new(move |width| draw(&axes, &lines, width));
    Some(Figure { name: name.to_owned(), alt, caption, data, draw })
}

fn data(space: &[Parameter], rungs: usize, trials: &[ReportTrial]) -> Data {
    let mut columns: Vec<String> = ["trial", "run", "state", "reason"].map(str::to_owned).to_vec();
    columns.extend(space.iter().map(|parameter| parameter.key.clone()));
    (0..rungs).for_each(|rung| columns.extend([format!("rung_{rung}"), format!("n_{rung}")]));
    let mut data = Data::new(&columns.iter().map(String::as_str).collect::<Vec<_>>());
    for trial in trials {
        let reason = if let TrialEnd::Failed(reason) = &trial.state { reason.clone() } else { String::new() };
        let mut row = vec![trial.number.to_string(), trial.run.to_string(), trial.state.word(), reason];
        row.extend(space.iter().map(|parameter| trial.point.get(&parameter.key).map_or(String::new(), setting)));
        for scored in &trial.rungs {
            row.push(number(scored.map(|scored| scored.score)));
            row.push(scored.and_then(|scored| scored.n).map(|n| n.to_string()).unwrap_or_default());
        }
        data.push(row);
    }
    data
}

fn of_setting(parameter: &Parameter) -> ParallelAxis {
    let domain = match parameter.values {
        Values::Choices(ref choices) => Domain::Band(choices.iter().map(setting).collect()),
        Values::Range { low, high, log: true } => Domain::Log(low, high),
        Values::Range { low, high, log: false } => Domain::Linear(low, high),
        Values::Integers { low, high, log: true } => Domain::Log(low as f64, high as f64),
        Values::Integers { low, high, log: false } => Domain::Linear(low as f64, high as f64),
    };
    ParallelAxis { title: parameter.key.clone(), column: parameter.key.clone(), domain, colours: None }
}

/// The lines, those drawn last on top: pruned trials below, the winner above all.
fn lines(space: &[Parameter], scored: &[&ReportTrial], best: Option<usize>) -> Vec<TrialPolyline> {
    let first = |trial: &ReportTrial| trial.first().map_or(f64::NAN, |scored| scored.score);
    let mut order: Vec<&ReportTrial> = scored.to_vec();
    order.sort_by(|a, b| first(a).total_cmp(&first(b)).then(a.number.cmp(&b.number)));
    let low = order.first().map_or(0.0, |trial| first(trial));
    let high = order.last().map_or(0.0, |trial| first(trial));
    let step = |score: f64| ((score - low) / (high - low).max(1e-12) * STEPS.len() as f64) as usize;
    let line = |trial: &&ReportTrial| {
        let class = match &trial.state {
            _ if best == Some(trial.number) => "bold sw",
            TrialEnd::Complete => "",
            TrialEnd::Pruned(_) | TrialEnd::Failed(_) | TrialEnd::Open => "faint",
        };
        let words = space.iter().map_while(|parameter| place(parameter, trial, &order));
        let reached = trial.rungs.iter().map_while(|scored| Some(AxisValue::Number((*scored)?.score)));
        TrialPolyline {
            row: trial.number,
            places: words.chain(reached).collect(),
            step: step(first(trial)).min(STEPS.len() - 1),
            class,
            says: format!("trial {}, {}", trial.number, trial.state.word()),
        }
    };
    let mut lines: Vec<TrialPolyline> = order.iter().map(line).collect();
    lines.sort_by_key(|line| ["faint", "", "bold sw"].iter().position(|class| *class == line.class));
    lines
}

/// A trial's value of a setting. Trials with the same word lie side by side, in the order of their scores.
fn place(parameter: &Parameter, trial: &ReportTrial, order: &[&ReportTrial]) -> Option<AxisValue> {
    let value = trial.point.get(&parameter.key)?;
    if !matches!(parameter.values, Values::Choices(_)) {
        return value.as_f64().map(AxisValue::Number);
    }
    let same: Vec<usize> =
        order.iter().filter(|other| other.point.get(&parameter.key) == Some(value)).map(|other| other.number).collect();
    let rank = same.iter().position(|&number| number == trial.number)?;
    Some(AxisValue::Word(setting(value), (rank as f64 + 0.5) / same.len() as f64 - 0.5))
}

fn draw(axes: &[ParallelAxis], lines: &[TrialPolyline], width: f64) -> Drawing {
    let pixels = [SIDE, width - SIDE];
    let scale = |axis: &ParallelAxis| Scale { column: axis.column.clone(), domain: axis.domain.clone(), pixels };
    let scales: Vec<Scale> = axes.iter().map(scale).collect();
    let heights: Vec<f64> = (0..axes.len()).map(|index| TOP + APART * index as f64).collect();
    let corners = |line: &TrialPolyline| -> Vec<(f64, f64)> {
        let one = |((place, scale), y): ((&AxisValue, &Scale), &f64)| {
            let x = match place {
                AxisValue::Number(value) => scale.at(*value),
                AxisValue::Word(word, aside) => scale.middle(word).map(|middle| middle + SPREAD * aside * scale.slot()),
            };
            Some((x?, *y))
        };
        line.places.iter().zip(&scales).zip(&heights).map_while(one).collect()
    };
    let drawn = |line: &TrialPolyline| {
        let class =
            if line.class == "bold sw" { line.class.to_owned() } else { format!("{} sq{}", line.class, line.step) };
        across(&corners(line), line.row, &class, &line.says)
    };
    let read_back = serde_json::to_string(&scales).expect("plain data");
    let body = html! {
        @for (scale, y) in scales.iter().zip(&heights) { (below(scale, *y)) }
        g data-axes=(read_back) { @for line in lines { (drawn(line)) } }
        @for ((axis, scale), y) in axes.iter().zip(&scales).zip(&heights) { (above(axis, scale, *y)) }
    };
    Drawing { height: TOP + APART * (axes.len() - 1) as f64 + 30.0, body }
}

/// What lies under the lines: an axis, or the slots of its words.
fn below(scale: &Scale, y: f64) -> Markup {
    let [start, end] = scale.pixels;
    let half = 0.5 * (SPREAD + 0.1) * scale.slot();
    html! {
        @match scale.domain {
            Domain::Band(_) => {
                @for tick in scale.ticks(1.0) { (rule((tick.at - half, y), (tick.at + half, y), "slot")) }
            }
            Domain::Linear(..) | Domain::Log(..) => (rule((start, y), (end, y), "axis"))
        }
    }
}

/// What lies over the lines: names and values, and the colours of the axis that lines are coloured by.
fn above(axis: &ParallelAxis, scale: &Scale, y: f64) -> Markup {
    let [start, end] = scale.pixels;
    let words = matches!(scale.domain, Domain::Band(_));
    let room = if words { scale.slot() - 6.0 } else { end - start };
    let ticks = scale.ticks(64.0);
    html! {
        @if let Some(range) = axis.colours { (coloured(scale, range, y)) }
        (label((0.0, y - 12.0), Anchor::Start, "halo", &text::shortened(&axis.title, end)))
        @for tick in ticks {
            @if !words { (rule((tick.at, y), (tick.at, y + 4.0), "axis")) }
            @let name = text::shortened(&tick.label, room);
            (label((text::inside(&name, tick.at, end + SIDE), y + 17.0), Anchor::Middle, "halo soft", &name))
        }
    }
}

/// The scores that lines are coloured by, on their axis, in the colours of their fifths.
fn coloured(scale: &Scale, (low, high): (f64, f64), y: f64) -> Markup {
    let edge =
        |fifth: usize| scale.at(low + (high - low) * fifth as f64 / STEPS.len() as f64).unwrap_or(scale.pixels[0]);
    html! {
        @for fifth in 0..STEPS.len() {
            (rule((edge(fifth), y), (edge(fifth + 1), y), &format!("scored sq{fifth}")))
        }
    }
}
