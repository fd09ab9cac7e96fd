//! A table as a chart: a row for each task, a mark for each method, hollow where the paper prints it.

use maud::{Markup, html};

use super::{ReportRow, ReportTable};
use crate::report::data::{Data, number};
use crate::report::draw::legend::legend;
use crate::report::draw::mark::{Anchor, SHAPES, label, looks, point, rule};
use crate::report::draw::number::percent;
use crate::report::draw::scale::{Domain, Scale};
use crate::report::draw::{Drawing, text};
use crate::report::figure::Figure;
use crate::score::grade::Unit;
use crate::tables::table::unit_of_title;

/// A mark for a row of the CSV.
#[derive(Clone)]
struct ComparisonMark {
    row: usize,
    task: String,
    score: f64,
    sd: Option<f64>,
    series: usize,
    says: String,
}

/// What marks of one look are.
#[derive(Clone)]
struct MarkSeries {
    name: String,
    /// The number of its colour and shape, that of our row of the same name for a printed one.
    look: usize,
    printed: bool,
}

/// The chart of the columns in one unit; `None` where they have no score.
pub fn figure(name: &str, table: &ReportTable, unit: Unit, caption: Markup) -> Option<Figure> {
    let series = series(table);
    let columns: Vec<String> =
        table.columns.iter().filter(|column| unit_of_title(column) == unit).map(Clone::clone).collect();
    let mut data = Data::new(&["task", "model", "method", "score", "sd", "n", "origin"]);
    let mut marks = Vec::new();
    for (column, task) in table.columns.iter().enumerate().filter(|(_, task)| columns.contains(task)) {
        for (index, row) in table.rows.iter().enumerate() {
            let Some(score) = row.scores.get(column).copied().flatten() else { continue };
            let sd = row.sd.filter(|_| column + 1 == table.columns.len());
            let cells = [task, &row.model, &row.method, &number(Some(score)), &number(sd), &row.n, &row.origin];
            let number = data.push(cells.map(Clone::clone).to_vec());
            let says = format!("{}: {task} {}", series[index].name, unit.with(score));
            marks.push(ComparisonMark { row: number, task: task.clone(), score, sd, series: index, says });
        }
    }
    if marks.is_empty() {
        return None;
    }
    let averages = table.rows.iter().zip(&series).filter_map(|(row, series)| {
        Some(format!("{} {}", series.name, percent(Some(row.scores.last().copied().flatten()?))))
    });
    let alt = match unit {
        Unit::Percent => format!("Scores by task; averages in %: {}", averages.collect::<Vec<_>>().join(", ")),
        Unit::Loss(_) | Unit::AddedTime => format!("{unit} by task, less is better"),
    };
    let draw = Box::new(move |width| draw(&columns, &series, &marks, unit, width));
    Some(Figure { name: name.to_owned(), alt, caption, data, draw })
}

fn series(table: &ReportTable) -> Vec<MarkSeries> {
    let several = table.rows.windows(2).any(|pair| pair[0].model != pair[1].model);
    let title = |row: &ReportRow| if several { format!("{}, {}", row.model, row.method) } else { row.method.clone() };
    let mut different: Vec<String> = Vec::new();
    for title in table.rows.iter().map(title) {
        if !different.contains(&title) {
            different.push(title);
        }
    }
    let looks = looks(&different);
    let one = |row: &ReportRow| {
        let title = title(row);
        let look = different.iter().position(|known| *known == title).map_or(0, |index| looks[index]);
        let name = if row.printed() { format!("{title} (printed)") } else { title };
        MarkSeries { name, look, printed: row.printed() }
    };
    table.rows.iter().map(one).collect()
}

/// The look of a mark: filled for ours, an outline for what is printed.
fn class(series: &MarkSeries) -> String {
    let look = series.look;
    if series.printed { format!("printed hollow s{look}") } else { format!("f{look}") }
}

fn draw(columns: &[String], series: &[MarkSeries], marks: &[ComparisonMark], unit: Unit, width: f64) -> Drawing {
    let there = series.iter().enumerate().filter(|(index, _)| marks.iter().any(|mark| mark.series == *index));
    let sign = |series: &MarkSeries| html! { path class=(class(series)) d=(SHAPES[series.look]) {} };
    let (key, top) = legend(&there.map(|(_, series)| (sign(series), series.name.clone())).collect::<Vec<_>>(), width);
    let left = columns.iter().map(|column| text::width(column)).fold(0.0, f64::max).min(0.35 * width) + 12.0;
    let slot = (9.0 * series.len() as f64 + 10.0).max(28.0);
    let (first, last) = (top + 8.0, top + 8.0 + slot * columns.len() as f64);
    let scores = || marks.iter().map(|mark| mark.score);
    let (low, high) = (scores().fold(0.0, f64::min), scores().fold(1.0, f64::max));
    let domain = match unit {
        Unit::Percent => Domain::Linear(1.06 * low, 1.06 * high),
        Unit::Loss(_) | Unit::AddedTime => Domain::linear(scores()),
    };
    let x = Scale { column: "score".to_owned(), domain, pixels: [left, width - 14.0] };
    let y = Scale { column: "task".to_owned(), domain: Domain::Band(columns.to_vec()), pixels: [first, last] };
    let place = |mark: &ComparisonMark, score: f64| {
        let aside = (mark.series as f64 + 0.5) / series.len() as f64 - 0.5;
        Some((x.at(score)?, y.middle(&mark.task)? + 0.8 * slot * aside))
    };
    let drawn = |mark: &ComparisonMark| {
        let series = &series[mark.series];
        let whisker = mark.sd.and_then(|sd| place(mark, mark.score - sd).zip(place(mark, mark.score + sd)));
        html! {
            @if let Some((from, to)) = whisker { (rule(from, to, &format!("line s{}", series.look))) }
            @if let Some(at) = place(mark, mark.score) {
                (point(at, mark.row, series.look, &class(series), &mark.says))
            }
        }
    };
    let read_back = |scale: &Scale| serde_json::to_string(scale).expect("plain data");
    let body = html! {
        (key) (axes(&x, &y, unit, left))
        g data-x=(read_back(&x)) data-y=(read_back(&y)) { @for mark in marks { (drawn(mark)) } }
    };
    Drawing { height: last + 40.0, body }
}

/// A line between two tasks, a heavier one above the average, and numbers below.
fn axes(x: &Scale, y: &Scale, unit: Unit, left: f64) -> Markup {
    let ([start, end], [top, bottom]) = (x.pixels, y.pixels);
    let ticks = y.ticks(1.0);
    let count = ticks.len();
    html! {
        @for tick in x.ticks(56.0) {
            (rule((tick.at, top), (tick.at, bottom), "grid"))
            (label((tick.at, bottom + 17.0), Anchor::Middle, "soft", &tick.label))
        }
        @for (index, tick) in ticks.iter().enumerate() {
            (label((left - 10.0, tick.at + 4.0), Anchor::End, "", &text::shortened(&tick.label, left - 12.0)))
            @if index > 0 {
                @let average = unit == Unit::Percent && index + 1 == count;
                @let (above, class) = (tick.at - 0.5 * y.slot(), if average { "axis" } else { "grid" });
                (rule((0.0, above), (end, above), class))
            }
        }
        (rule((start, top), (start, bottom), "axis"))
        (rule((start, bottom), (end, bottom), "axis"))
        (label((end, bottom + 33.0), Anchor::End, "soft", &unit.to_string()))
    }
}
