//! The figures made here, drawn anew from their CSVs.

pub mod axes;
pub mod heat_map;
pub mod panels;
pub mod size_map;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use maud::html;

use self::axes::OURS;
use self::heat_map::HeatMap;
use self::panels::PrintedSeries;
use self::size_map::SizeMap;
use super::Section;
use super::figure::Figure;
use super::link::Links;
use super::listed;
use super::tables::{Notes, marked};
use crate::studies::lines::{Axes, LineSeries, SeriesPoint};

/// `results/PROFILE/NAME.csv`, or one folder deeper, that is no table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FigureFile {
    /// The name of the chart on the page: `quick-figure3`.
    pub name: String,
    /// Its numbers.
    pub csv: PathBuf,
}

/// A CSV's cells.
struct FigureCsv {
    heads: Vec<String>,
    lines: Vec<Vec<String>>,
}

impl FigureCsv {
    fn read(path: &Path) -> Result<Self> {
        let place = || format!("{}: cannot be read", path.display());
        let mut reader = csv::Reader::from_path(path).with_context(place)?;
        let heads = reader.headers().with_context(place)?.iter().map(str::to_owned).collect();
        let line = |record: csv::Result<csv::StringRecord>| Ok(record?.iter().map(str::to_owned).collect());
        let lines = reader.records().map(line).collect::<csv::Result<_>>().with_context(place)?;
        Ok(Self { heads, lines })
    }

    fn axes(&self) -> Option<Axes> {
        axes::all().find(|axes| self.heads == axes.columns())
    }

    /// The lines of a figure, ours and printed ones; none where a number is damaged.
    fn series(&self) -> Option<(Vec<LineSeries>, Vec<PrintedSeries>)> {
        let (mut ours, mut printed): (Vec<LineSeries>, Vec<PrintedSeries>) = (Vec::new(), Vec::new());
        for line in &self.lines {
            let [source, panel, name, x, y, n, run] = line.as_slice() else { return None };
            let point = SeriesPoint { x: x.parse().ok()?, y: y.parse().ok()?, n: n.parse().ok(), run: run.clone() };
            let is = |one: &&mut LineSeries| one.panel == *panel && one.name == *name;
            let found = if source == OURS {
                ours.iter_mut().find(is)
            } else {
                printed.iter_mut().filter(|(from, _)| from == source).map(|(_, one)| one).find(is)
            };
            if let Some(one) = found {
                one.points.push(point);
                continue;
            }
            let one = LineSeries { panel: panel.clone(), name: name.clone(), points: vec![point] };
            if source == OURS { ours.push(one) } else { printed.push((source.clone(), one)) }
        }
        Some((ours, printed))
    }

    fn figure(&self, name: &str, title: &str) -> Option<Figure> {
        if let Some(axes) = self.axes() {
            let (ours, printed) = self.series()?;
            return Some(panels::figure(name, title, axes, ours, &printed));
        }
        let edits = SizeMap::of_csv(title.to_owned(), &self.heads, &self.lines).map(|map| map.figure(name));
        edits.or_else(|| HeatMap::of_csv(title.to_owned(), &self.heads, &self.lines).map(|map| map.figure(name)))
    }
}

/// Every figure below a folder of profiles: by profile, then by name.
pub fn find(results: &Path) -> Vec<FigureFile> {
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut found = Vec::new();
    for profile in listed(results) {
        let below =
            listed(&profile).into_iter().flat_map(|path| if path.is_dir() { listed(&path) } else { vec![path] });
        for csv in below.filter(|path| path.extension().is_some_and(|ending| ending == "csv")) {
            let deeper = csv.parent().filter(|folder| **folder != profile).map(|folder| format!("{}-", stem(folder)));
            let name = format!("{}-{}{}", stem(&profile), deeper.unwrap_or_default(), stem(&csv));
            // Tables and whatever else lies there have other columns.
            if FigureCsv::read(&csv).is_ok_and(|read| read.figure(&name, "").is_some()) {
                found.push(FigureFile { name, csv });
            }
        }
    }
    found.sort_by_key(|file| (number(&file.name), file.name.clone()));
    found
}

/// The number at the end of a name, so that figure 10 comes after figure 9; those without come last.
fn number(name: &str) -> u32 {
    let letters = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
    name[letters.len()..].parse().unwrap_or(u32::MAX)
}

/// The section about all figures.
pub fn section(files: &[FigureFile], links: &Links) -> Section {
    let (mut figures, mut parts) = (Vec::new(), Vec::new());
    for file in files {
        let notes = Notes::read(&file.csv.with_extension("md"));
        let title = notes.title.clone().unwrap_or_else(|| file.name.clone());
        let Some(figure) = FigureCsv::read(&file.csv).ok().and_then(|read| read.figure(&file.name, &title)) else {
            continue;
        };
        parts.push(html! {
            h3 { (title) }
            (figure.html())
            ul class="note" { @for line in &notes.lines { li { (marked(line)) } } }
            @if let Some(to) = links.to(&file.csv) {
                p class="note" { "Drawn from " a href=(to) { (file.csv.display()) } ", where what the paper prints stands too." }
            }
        });
        figures.push(figure);
    }
    let body = html! {
        @if parts.is_empty() { p { "No figure yet: make one with " code { "make figure3" } "." } }
        @for part in &parts { (part) }
    };
    Section { id: "figures".to_owned(), title: "Figures".to_owned(), body, figures, files: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_come_in_the_order_of_their_numbers() {
        let mut names = ["quick-style", "quick-figure10", "quick-figure9"];
        names.sort_by_key(|name| number(name));
        assert_eq!(names, ["quick-figure9", "quick-figure10", "quick-style"]);
    }
}
