//! Training curves: loss, norm of the gradient, learning rate, and the score on watched rows where a run has one. A chart
//! for each model and set of training tasks, a line for each run, a colour and a sign for each method.

use std::collections::BTreeMap;

use maud::{Markup, html};
use rayon::prelude::*;

use super::Section;
use super::data::{Data, number};
use super::draw::Drawing;
use super::draw::legend::legend;
use super::draw::mark::{SHAPES, line, looks, point};
use super::draw::number::count;
use super::draw::panel::{Axis, Panel};
use super::draw::scale::Domain;
use super::figure::Figure;
use super::gather::ReportRun;
use super::traces::{Trace, trace};

/// Charts at most.
const CHARTS: usize = 12;
/// Lines of a chart at most.
const LINES: usize = 24;

/// A quantity: its column in the CSV, its title, and whether equal ratios are equally far apart.
const PANELS: [(&str, &str, bool); 4] = [
    ("loss", "loss", false),
    ("norm", "norm of the gradient", true),
    ("lr", "learning rate", false),
    ("watched", "score on the watched rows, %", false),
];

/// A line in a panel: the CSV's rows, from the first on, and the numbers there.
#[derive(Clone)]
struct PanelLine {
    first: usize,
    points: Vec<(f64, f64)>,
    look: usize,
    says: String,
}

/// The section about the training of all runs.
pub fn section(runs: &[ReportRun]) -> Section {
    let (trained, without): (Vec<&ReportRun>, Vec<&ReportRun>) =
        runs.iter().partition(|run| run.paths.metrics().exists());
    let mut groups: BTreeMap<[String; 3], Vec<&ReportRun>> = BTreeMap::new();
    for run in &trained {
        groups.entry([run.setting("model"), run.rows(), run.tasks("train")]).or_default().push(run);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, runs)| std::cmp::Reverse(runs.len()));
    let left: usize = groups.iter().skip(CHARTS).map(|(_, runs)| runs.len()).sum();
    let charts: Vec<(String, Option<Figure>)> =
        groups.iter().take(CHARTS).enumerate().map(|(index, (key, runs))| chart(index, key, runs)).collect();
    let body = html! {
        @if trained.is_empty() { p { "No run left a trace of its training." } }
        @for (title, figure) in &charts {
            h3 { (title) }
            @match figure { Some(figure) => (figure.html()), None => p { "These runs' traces are empty or damaged." } }
        }
        @if left > 0 { p { (count(left, "run")) " of " (groups.len() - CHARTS) " further kinds are not drawn." } }
        @if !without.is_empty() { p { (count(without.len(), "run")) " trained nothing, or kept no trace." } }
    };
    let figures = charts.into_iter().filter_map(|(_, figure)| figure).collect();
    Section { id: "training".to_owned(), title: "Training".to_owned(), body, figures, files: Vec::new() }
}

/// The chart of a kind of runs, with its title.
fn chart(index: usize, key: &[String; 3], runs: &[&ReportRun]) -> (String, Option<Figure>) {
    let [model, source, tasks] = key;
    let title = format!("{model} on {source} {tasks}");
    let mut shown: Vec<&ReportRun> = runs.iter().take(LINES).copied().collect();
    shown.sort_by_key(|run| (run.method.clone(), run.setting("seed"), run.entry.id.clone()));
    let mut methods: Vec<String> = shown.iter().map(|run| run.method.clone()).collect();
    methods.dedup();
    let looks = looks(&methods);
    let traces: Vec<Trace> = shown.par_iter().map(|run| trace(run)).collect();
    let mut data = Data::new(&["run", "method", "seed", "update", "updates", "loss", "norm", "lr", "watched"]);
    let mut panels: [Vec<PanelLine>; 4] = Default::default();
    for (run, trace) in shown.iter().zip(&traces) {
        let look = methods.iter().position(|method| *method == run.method).map_or(0, |method| looks[method]);
        write_down(run, look, trace, &mut data, &mut panels);
    }
    if panels[0].is_empty() {
        return (title, None);
    }
    let most = traces.iter().flat_map(|trace| &trace.stretches).map(|stretch| stretch.updates).max().unwrap_or(1);
    let alt = format!(
        "Loss, norm of the gradient and learning rate of {} of {title}, by method: {}",
        count(shown.len(), "run"),
        methods.join(", ")
    );
    let caption = caption(runs, &shown, most, !panels[3].is_empty());
    let draw = Box::new(move |width| draw(&methods, &looks, &panels, width));
    (title, Some(Figure { name: format!("training-{}", index + 1), alt, caption, data, draw }))
}

fn write_down(run: &ReportRun, look: usize, trace: &Trace, data: &mut Data, panels: &mut [Vec<PanelLine>; 4]) {
    let seed = run.setting("seed");
    let says = format!("{}, seed {seed}, peak rate {}, run {}", run.method, run.setting("train.lr"), run.entry.id);
    let head = [run.entry.id.to_string(), run.method.clone(), seed];
    let first = data.len();
    for stretch in &trace.stretches {
        let cells = [stretch.update, stretch.updates as f64, stretch.loss, stretch.norm, stretch.lr];
        let cells = cells.map(|cell| number(Some(cell)));
        data.push(head.iter().cloned().chain(cells).chain([String::new()]).collect());
    }
    let second = data.len();
    for &(update, score) in &trace.watched {
        let cells =
            [number(Some(update)), "1".to_owned(), String::new(), String::new(), String::new(), number(Some(score))];
        data.push(head.iter().cloned().chain(cells).collect());
    }
    let lines = [
        trace.stretches.iter().map(|stretch| (stretch.update, stretch.loss)).collect(),
        trace.stretches.iter().map(|stretch| (stretch.update, stretch.norm)).collect(),
        trace.stretches.iter().map(|stretch| (stretch.update, stretch.lr)).collect(),
        trace.watched.clone(),
    ];
    for ((panel, points), first) in panels.iter_mut().zip(lines).zip([first, first, first, second]) {
        let points: Vec<(f64, f64)> = points;
        if !points.is_empty() {
            panel.push(PanelLine { first, points, look, says: says.clone() });
        }
    }
}

fn caption(runs: &[&ReportRun], shown: &[&ReportRun], most: usize, watched: bool) -> Markup {
    let several = |of: &dyn Fn(&ReportRun) -> String| {
        let mut values: Vec<String> = shown.iter().map(|run| of(run)).collect();
        values.sort();
        values.dedup();
        values.join(", ")
    };
    let seeds = several(&|run| run.setting("seed"));
    html! {
        (count(shown.len(), "run")) ", a line each; seed" @if seeds.contains(',') { "s" } " " (seeds)
        "; base weights " (several(&|run| run.setting("dtype"))) "; device " (several(&|run| run.setting("device"))) "."
        @if most > 1 { " Each point is the mean of up to " (most) " updates." }
        @if watched { " Watched rows are scored after every epoch and not trained on." }
        @if runs.len() > shown.len() {
            " Of " (runs.len()) " such runs only the " (shown.len()) " recorded last are drawn."
        }
    }
}

fn draw(methods: &[String], looks: &[usize], panels: &[Vec<PanelLine>; 4], width: f64) -> Drawing {
    let sign = |look: usize| html! { path class=(format!("f{look}")) d=(SHAPES[look]) {} };
    let items: Vec<(Markup, String)> =
        methods.iter().zip(looks).map(|(name, &look)| (sign(look), name.clone())).collect();
    let (key, top) = legend(&items, width);
    let there = PANELS.iter().zip(panels).filter(|(_, lines)| !lines.is_empty()).collect::<Vec<_>>();
    let columns = match there.len() {
        _ if width < 500.0 => 1,
        3 => 3,
        _ => 2,
    };
    let (wide, high) = ((width - 16.0 * (columns - 1) as f64) / columns as f64, 200.0);
    let placed = there.iter().enumerate().map(|(index, (about, lines))| {
        let at = ((wide + 16.0) * (index % columns) as f64, top + 6.0 + (high + 8.0) * (index / columns) as f64);
        panel(at, (wide, high), about, lines)
    });
    let placed: Vec<Markup> = placed.collect();
    let height = top + 6.0 + (high + 8.0) * placed.len().div_ceil(columns) as f64;
    Drawing { height, body: html! { (key) @for panel in &placed { (panel) } } }
}

fn panel(at: (f64, f64), size: (f64, f64), about: &(&'static str, &str, bool), lines: &[PanelLine]) -> Markup {
    let &(column, title, log) = about;
    let values = || lines.iter().flat_map(|line| &line.points).map(|point| point.1);
    let last = lines.iter().flat_map(|line| &line.points).map(|point| point.0).fold(1.0, f64::max);
    let domain = if log { Domain::log(values()) } else { Domain::linear(values()) };
    let x = Axis { column: "update", domain: Domain::Linear(0.0, 1.03 * last), title: "update".to_owned() };
    let scale = if log { " (log scale)" } else { "" };
    let panel = Panel::new(at, size, x, Axis { column, domain, title: format!("{title}{scale}") });
    let drawn = |line: &PanelLine| {
        let places = line.points.iter().enumerate().filter_map(|(row, &(x, y))| Some((row, panel.at(x, y)?)));
        let places: Vec<(usize, (f64, f64))> = places.collect();
        let look = line.look;
        html! {
            // A norm of 0 has no place on a logarithmic axis: the line goes on after it.
            @for part in places.chunk_by(|a, b| a.0 + 1 == b.0) {
                @let corners = part.iter().map(|(_, at)| *at).collect::<Vec<_>>();
                @let first = line.first + part[0].0;
                (self::line(&corners, &(first..first + part.len()), &format!("s{look}"), &line.says))
            }
            @if let Some((row, at)) = places.last() {
                (point(*at, line.first + row, look, &format!("f{look}"), &line.says))
            }
        }
    };
    let marks: Vec<Markup> = lines.iter().map(drawn).collect();
    panel.with(&html! { @for mark in &marks { (mark) } })
}
