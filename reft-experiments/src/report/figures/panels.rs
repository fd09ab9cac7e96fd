//! Small charts side by side with lines in each, as the paper draws figures 1 and 3 to 11.

use std::collections::BTreeMap;

use maud::html;

use super::axes::OURS;
use crate::report::data::Data;
use crate::report::draw::legend::legend;
use crate::report::draw::mark::{line, point};
use crate::report::draw::panel::{Axis, Panel};
use crate::report::draw::scale::Domain;
use crate::report::draw::{Drawing, mark};
use crate::report::figure::Figure;
use crate::studies::lines::{Axes, LineSeries, SeriesPoint};

/// Pixels of a panel's height, and the least of its width.
const HEIGHT: f64 = 190.0;
const LEAST: f64 = 170.0;

/// What a publication printed, by its name.
pub type PrintedSeries = (String, LineSeries);

/// The figure of these lines; `printed` go into the CSV with their source and are not drawn.
pub fn figure(name: &str, title: &str, axes: Axes, series: Vec<LineSeries>, printed: &[PrintedSeries]) -> Figure {
    let mut data = Data::new(&axes.columns());
    let mut push = |source: &str, one: &LineSeries| {
        let first = data.len();
        for SeriesPoint { x, y, n, run } in &one.points {
            let n = n.map(|n| n.to_string()).unwrap_or_default();
            let cells = [source, &one.panel, &one.name, &x.to_string(), &y.to_string(), &n, run];
            data.push(cells.map(str::to_owned).to_vec());
        }
        first..data.len()
    };
    let rows: Vec<_> = series.iter().map(|one| push(OURS, one)).collect();
    for (source, one) in printed {
        push(source, one);
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
    let ys = || series.iter().flat_map(|one| one.points.iter().map(|point| point.y));
    let chart = |(place, name): (usize, &&str)| {
        let at = ((place % across) as f64 * each, below + (place / across) as f64 * HEIGHT);
        let mine = || series.iter().zip(rows).filter(|(one, _)| one.panel == **name);
        let xs = mine().flat_map(|(one, _)| one.points.iter().map(|point| point.x));
        let domain = if axes.log { Domain::log(xs) } else { Domain::linear(xs) };
        let x = Axis { column: axes.x, domain, title: axes.x.to_owned() };
        let own = || Domain::linear(mine().flat_map(|(one, _)| one.points.iter().map(|point| point.y)));
        let domain = match axes.range {
            Some((low, high)) => Domain::Linear(low, high),
            None if axes.log => own(),
            None => Domain::linear(ys()),
        };
        let y = Axis { column: axes.y, domain, title: format!("{} {name}: {}", axes.panel, axes.y) };
        let panel = Panel::new(at, (each, HEIGHT), x, y);
        let marks = mine().map(|(one, rows)| {
            let look = looks[&one.name];
            let there = one.points.iter().zip(rows.clone());
            let there: Vec<_> =
                there.filter_map(|(point, row)| Some((panel.at(point.x, point.y)?, point, row))).collect();
            let corners: Vec<(f64, f64)> = there.iter().map(|(at, ..)| *at).collect();
            html! {
                @if corners.len() == rows.len() { (line(&corners, rows, &format!("s{look}"), &one.name)) }
                @for (at, SeriesPoint { x, y, .. }, row) in there {
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
