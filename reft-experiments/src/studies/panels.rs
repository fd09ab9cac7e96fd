//! Small charts side by side with lines in each, as the paper draws figures 3 to 11.

use std::collections::BTreeMap;

use maud::html;

use crate::report::data::Data;
use crate::report::draw::legend::legend;
use crate::report::draw::mark::{line, point};
use crate::report::draw::panel::{Axis, Panel};
use crate::report::draw::scale::Domain;
use crate::report::draw::{Drawing, mark};
use crate::report::figure::Figure;

/// Pixels of a panel's height, and the least of its width.
const HEIGHT: f64 = 190.0;
const LEAST: f64 = 170.0;

/// A line in a panel.
#[derive(Clone, PartialEq, Debug)]
pub struct LineSeries {
    /// The panel.
    pub panel: String,
    /// Whose line it is.
    pub name: String,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
}

/// What the axes and panels are.
#[derive(Clone, Debug)]
pub struct Axes {
    /// What a panel is: `tokens`.
    pub panel: &'static str,
    /// What is to the right.
    pub x: &'static str,
    /// What is up.
    pub y: &'static str,
    /// Values from below to above; as the lines need where there are none.
    pub range: Option<(f64, f64)>,
}

/// The figure of these lines; `printed` are the paper's, which go into the CSV with their source and are not drawn.
pub fn figure(name: &str, title: &str, axes: Axes, series: Vec<LineSeries>, printed: &[LineSeries]) -> Figure {
    let mut data = Data::new(&["source", axes.panel, "line", axes.x, axes.y]);
    let mut rows = Vec::new();
    for (source, lines) in [("ours", &series[..]), ("paper", printed)] {
        for one in lines {
            let first = data.len();
            for (x, y) in &one.points {
                data.push(vec![source.to_owned(), one.panel.clone(), one.name.clone(), x.to_string(), y.to_string()]);
            }
            if source == "ours" {
                rows.push(first..data.len());
            }
        }
    }
    let (alt, caption) = (title.to_owned(), html! { (title) });
    let draw = move |width: f64| drawing(width, &axes, &series, &rows);
    Figure { name: name.to_owned(), alt, caption, data, draw: Box::new(draw) }
}

fn drawing(width: f64, axes: &Axes, series: &[LineSeries], rows: &[std::ops::Range<usize>]) -> Drawing {
    let mut panels: Vec<&str> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    for one in series {
        if !panels.contains(&one.panel.as_str()) {
            panels.push(&one.panel);
        }
        if !names.contains(&one.name) {
            names.push(one.name.clone());
        }
    }
    let across = ((width / LEAST) as usize).clamp(1, panels.len().max(1));
    let each = width / across as f64;
    let looks: BTreeMap<String, usize> = names.iter().cloned().zip(mark::looks(&names)).collect();
    let signs: Vec<_> = names
        .iter()
        .map(|name| (point((0.0, 0.0), 0, looks[name], &format!("f{}", looks[name]), name), name.clone()))
        .collect();
    let (signs, below) = if names.len() > 1 { legend(&signs, width) } else { (html! {}, 0.0) };
    let ys = || series.iter().flat_map(|one| one.points.iter().map(|(_, y)| *y));
    let chart = |(place, name): (usize, &&str)| {
        let at = ((place % across) as f64 * each, below + (place / across) as f64 * HEIGHT);
        let mine = || series.iter().zip(rows).filter(|(one, _)| one.panel == **name);
        let xs = mine().flat_map(|(one, _)| one.points.iter().map(|(x, _)| *x));
        let x = Axis { column: axes.x, domain: Domain::linear(xs), title: axes.x.to_owned() };
        let domain = axes.range.map_or_else(|| Domain::linear(ys()), |(low, high)| Domain::Linear(low, high));
        let y = Axis { column: axes.y, domain, title: format!("{} {name}: {}", axes.panel, axes.y) };
        let panel = Panel::new(at, (each, HEIGHT), x, y);
        let marks = mine().map(|(one, rows)| {
            let look = looks[&one.name];
            let corners: Vec<(f64, f64)> = one.points.iter().filter_map(|&(x, y)| panel.at(x, y)).collect();
            html! {
                (line(&corners, rows, &format!("s{look}"), &one.name))
                @for (row, (&at, (x, y))) in rows.clone().zip(corners.iter().zip(&one.points)) {
                    (point(at, row, look, &format!("f{look}"), &format!("{}: {x}, {y:.3}", one.name)))
                }
            }
        });
        panel.with(&html! { @for mark in marks { (mark) } })
    };
    let charts: Vec<_> = panels.iter().enumerate().map(chart).collect();
    let lines = panels.len().div_ceil(across) as f64;
    Drawing { height: below + lines * HEIGHT, body: html! { (signs) @for chart in &charts { (chart) } } }
}
