//! Charts read back: what their marks say must be what their CSV says.

use std::collections::{BTreeMap, BTreeSet};

use roxmltree::{Document, Node};
use serde::Deserialize;

/// A CSV: rows by column.
pub type Csv = Vec<BTreeMap<String, String>>;

pub fn csv(bytes: &[u8]) -> Csv {
    let mut reader = csv::Reader::from_reader(bytes);
    reader.deserialize().map(|row| row.expect("a row")).collect()
}

/// An axis as the chart writes it down.
#[derive(Deserialize, Debug)]
struct Scale {
    column: String,
    domain: Domain,
    pixels: [f64; 2],
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
enum Domain {
    Linear(f64, f64),
    Log(f64, f64),
    Band(Vec<String>),
}

/// Half of what coordinates are rounded to, and a little.
const ROUNDED: f64 = 0.051;

impl Scale {
    fn of(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// Whether a pixel is where this text of the axis' column belongs.
    fn shows(&self, pixel: f64, text: &str) -> bool {
        let [start, end] = self.pixels;
        let part = match self.domain {
            Domain::Band(ref words) => {
                let slot = (end - start) / words.len() as f64;
                let word =
                    words.iter().position(|word| word == text).unwrap_or_else(|| panic!("{text}: not in {words:?}"));
                let middle = start + (word as f64 + 0.5) * slot;
                return (pixel - middle).abs() <= 0.5 * slot.abs();
            }
            Domain::Linear(low, high) => (number(text) - low) / (high - low),
            Domain::Log(low, high) => (number(text) / low).ln() / (high / low).ln(),
        };
        (start + part * (end - start) - pixel).abs() <= ROUNDED
    }
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is no number"))
}

fn place(node: Node<'_, '_>) -> (f64, f64) {
    let text = node.attribute("transform").expect("a place");
    let inner = text.trim_start_matches("translate(").trim_end_matches(')');
    let (x, y) = inner.split_once(' ').expect("two coordinates");
    (number(x), number(y))
}

fn corners(node: Node<'_, '_>) -> Vec<(f64, f64)> {
    let pair = |text: &str| text.split_once(',').map(|(x, y)| (number(x), number(y))).expect("two coordinates");
    node.attribute("points").expect("points").split(' ').filter(|text| !text.is_empty()).map(pair).collect()
}

/// Checks every mark of a chart against its CSV; gives how many columns' values were seen, by row.
pub fn check(name: &str, svg: &str, rows: &Csv) -> BTreeSet<(usize, String)> {
    let document = Document::parse(svg).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut seen = BTreeSet::new();
    for group in document.descendants() {
        if let (Some(x), Some(y)) = (group.attribute("data-x"), group.attribute("data-y")) {
            let scales = [Scale::of(x), Scale::of(y)];
            for (row, (x, y)) in group.descendants().filter(|node| *node != group).flat_map(points) {
                shown(name, rows, row, &scales[0], x, &mut seen);
                shown(name, rows, row, &scales[1], y, &mut seen);
            }
        } else if let (Some(x), Some(marks)) = (group.attribute("data-x"), group.attribute("data-marks")) {
            bars(name, group, rows, &Scale::of(x), &Scale::of(marks), &mut seen);
        } else if let Some(axes) = group.attribute("data-axes") {
            let axes: Vec<Scale> = serde_json::from_str(axes).expect("axes");
            for line in group.children().filter(Node::is_element) {
                let row: usize = line.attribute("data-row").expect("a row").parse().expect("a number");
                let corners = corners(line);
                let there = axes.iter().take_while(|axis| !rows[row][&axis.column].is_empty()).count();
                assert_eq!(corners.len(), there, "{name}, row {row}: the line ends elsewhere");
                for (axis, (x, _)) in axes.iter().zip(corners) {
                    shown(name, rows, row, axis, x, &mut seen);
                }
            }
        }
    }
    assert!(!seen.is_empty(), "{name}: nothing is drawn");
    seen
}

/// The rows that a mark stands for, with their places.
fn points(node: Node<'_, '_>) -> Vec<(usize, (f64, f64))> {
    if let Some(rows) = node.attribute("data-rows") {
        let (first, count) = rows.split_once(' ').expect("first and count");
        let (first, corners) = (first.parse::<usize>().expect("a number"), corners(node));
        assert_eq!(corners.len(), count.parse::<usize>().expect("a number"));
        return corners.into_iter().enumerate().map(|(index, at)| (first + index, at)).collect();
    }
    let row = node.attribute("data-row").map(|row| row.parse().expect("a number"));
    row.map(|row| (row, place(node))).into_iter().collect()
}

fn bars(name: &str, group: Node<'_, '_>, rows: &Csv, x: &Scale, marks: &Scale, seen: &mut BTreeSet<(usize, String)>) {
    let of = |node: Node<'_, '_>, key: &str| number(node.attribute(key).expect("an attribute"));
    for node in group.descendants() {
        if let Some(row) = node.attribute("data-row") {
            let row = row.parse().expect("a number");
            // A length is a difference of two rounded ends.
            shown(name, rows, row, x, (10.0 * (of(node, "x") + of(node, "width"))).round() / 10.0, seen);
        }
        if let Some(row) = node.attribute("data-chance") {
            let path = node.attribute("d").expect("a path");
            let at = path.trim_start_matches('M').split(' ').next().expect("a number");
            shown(name, rows, row.parse().expect("a number"), marks, number(at), seen);
        }
    }
}

fn shown(name: &str, rows: &Csv, row: usize, scale: &Scale, pixel: f64, seen: &mut BTreeSet<(usize, String)>) {
    let cell = &rows[row][&scale.column];
    assert!(scale.shows(pixel, cell), "{name}, row {row}: {} is {cell}, drawn at {pixel} on {scale:?}", scale.column);
    seen.insert((row, scale.column.clone()));
}

/// Every SVG of a page, with the anchor of its figure.
pub fn of_page(html: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for figure in html.split("<figure id=\"").skip(1) {
        let (name, rest) = figure.split_once('"').expect("an anchor");
        let rest = rest.split_once("</figure>").expect("an end").0;
        for svg in rest.split("<svg ").skip(1) {
            let body = svg.split_once("</svg>").expect("an end").0;
            all.push((name.to_owned(), format!("<svg {body}</svg>")));
        }
    }
    all
}
