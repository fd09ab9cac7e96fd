//! The tables made here, each beside what the paper prints.

mod comparison;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use maud::{Markup, html};

use super::figure::Figure;
use super::link::Links;
use super::{ReportSources, Section, listed};
use crate::score::grade::Unit;
use crate::tables::paper::PrintedRow;
use crate::tables::spec::TableSpec;
use crate::tables::table::{RowOrigin, unit_of_title};

/// `results/PROFILE/NAME.csv`, with the same table in Markdown beside it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableFile {
    /// The profile it was made with.
    pub profile: String,
    /// Such as `table1`.
    pub name: String,
    /// Its figures.
    pub csv: PathBuf,
}

/// The origin of rows of this project.
const OURS: &str = "ours";

/// A row as the CSV has it.
#[derive(Clone, PartialEq, Debug)]
pub struct ReportRow {
    /// Base model.
    pub model: String,
    /// Method.
    pub method: String,
    /// Trained numbers in percent of the model's.
    pub params: Option<f64>,
    /// One for each column of the table, the average last.
    pub scores: Vec<Option<f64>>,
    /// Sample standard deviation of the average.
    pub sd: Option<f64>,
    /// Runs; empty in the paper's rows, which do not say theirs.
    pub n: String,
    /// Whose it is.
    pub origin: String,
}

impl ReportRow {
    /// Whether it is this project's.
    pub fn ours(&self) -> bool {
        self.origin == OURS
    }

    /// Whether a publication prints it; the row for guessing is neither.
    pub fn printed(&self) -> bool {
        !self.ours() && self.origin != RowOrigin::Chance.to_string()
    }
}

/// A table as its CSV has it.
#[derive(Clone, PartialEq, Debug)]
pub struct ReportTable {
    /// Columns with scores, the average last.
    pub columns: Vec<String>,
    /// Rows.
    pub rows: Vec<ReportRow>,
}

/// Every table below a folder of profiles: by profile, then by number.
pub fn find(results: &Path) -> Vec<TableFile> {
    let name = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let of_profile = |folder: PathBuf| {
        let csv =
            |path: &PathBuf| path.extension().is_some_and(|ending| ending == "csv") && name(path).starts_with("table");
        let mut files = listed(&folder).into_iter().filter(csv).collect::<Vec<_>>();
        files.sort_by_key(|path| (name(path)["table".len()..].parse::<u32>().unwrap_or(u32::MAX), name(path)));
        files.into_iter().map(move |csv| TableFile { profile: name(&folder), name: name(&csv), csv })
    };
    listed(results).into_iter().flat_map(of_profile).collect()
}

/// Reads a table's CSV.
///
/// # Errors
/// When it is missing or no such table.
pub fn read(path: &Path) -> Result<ReportTable> {
    let place = || format!("{}: not a table: make it again with `reft table`", path.display());
    let mut reader = csv::Reader::from_path(path).with_context(place)?;
    let heads: Vec<String> = reader.headers().with_context(place)?.iter().map(str::to_owned).collect();
    let at = |name: &str| heads.iter().position(|head| head == name).with_context(place);
    let (params, average, sd, n, origin) = (at("params_percent")?, at("avg")?, at("sd")?, at("n")?, at("origin")?);
    let (model, method) = (at("model")?, at("method")?);
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.with_context(place)?;
        let text = |index: usize| record.get(index).unwrap_or_default().to_owned();
        let number = |index: usize| text(index).parse::<f64>().ok();
        rows.push(ReportRow {
            model: text(model),
            method: text(method),
            params: number(params),
            scores: (params + 1..=average).map(number).collect(),
            sd: number(sd),
            n: if text(origin) == OURS { text(n) } else { String::new() },
            origin: text(origin),
        });
    }
    Ok(ReportTable { columns: heads[params + 1..=average].to_vec(), rows })
}

/// The section about all tables.
pub fn section(files: &[TableFile], sources: &ReportSources, links: &Links, complaints: &mut Vec<String>) -> Section {
    let mut figures = Vec::new();
    let mut parts = Vec::new();
    for file in files {
        match read(&file.csv) {
            Ok(table) => {
                let part = TablePart { file, table, notes: Notes::read(&file.csv.with_extension("md")), links };
                let drawn = part.figures();
                parts.push(part.html(&sources.tables, &drawn));
                figures.extend(drawn);
            }
            Err(error) => {
                let reason = format!("{error:#}");
                parts.push(html! { p { "This table could not be read: " (reason) } });
                complaints.push(reason);
            }
        }
    }
    let body = html! {
        @if parts.is_empty() {
            p { "No table in " code { (sources.results.display()) } ": make one with " code { "make table1" } "." }
        }
        @for part in &parts { (part) }
    };
    Section { id: "tables".to_owned(), title: "Tables".to_owned(), body, figures, files: Vec::new() }
}

/// What the Markdown of a table says around it: seeds, rows, types and devices, and how it was made.
#[derive(Default)]
pub(super) struct Notes {
    /// The first line, in bold there.
    pub title: Option<String>,
    /// The list below.
    pub lines: Vec<String>,
}

impl Notes {
    /// Of a table or a figure; nothing where there is no such file.
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let title = text.lines().next().and_then(|line| line.strip_prefix("**")?.strip_suffix("**"));
        let lines = text.lines().filter_map(|line| line.strip_prefix("- "));
        Self { title: title.map(str::to_owned), lines: lines.map(str::to_owned).collect() }
    }
}

/// A table in the section.
struct TablePart<'a> {
    file: &'a TableFile,
    table: ReportTable,
    notes: Notes,
    links: &'a Links,
}

impl TablePart<'_> {
    fn name(&self) -> String {
        format!("{}-{}", self.file.profile, self.file.name)
    }

    /// A chart of the columns in percent, and one for each kind of loss, on an axis of its own.
    fn figures(&self) -> Vec<Figure> {
        let mut units = vec![Unit::Percent];
        for unit in self.table.columns.iter().map(|column| unit_of_title(column)) {
            if !units.contains(&unit) {
                units.push(unit);
            }
        }
        units.into_iter().filter_map(|unit| self.figure(unit)).collect()
    }

    fn figure(&self, unit: Unit) -> Option<Figure> {
        let printed = self.table.rows.iter().any(ReportRow::printed);
        let percent = unit == Unit::Percent;
        let caption = html! {
            @if percent { "Scores in %" } @else { (unit) ", less is better" }
            ", a row for each column of the table" @if printed { "; hollow: as printed in the paper" } "."
            @if percent && self.table.rows.iter().any(|row| row.sd.is_some()) {
                " Whiskers of the average: one sample standard deviation over n seeds."
            }
        };
        let name = if percent { self.name() } else { format!("{}-{unit}", self.name()) };
        comparison::figure(&name, &self.table, unit, caption)
    }

    fn html(&self, tables: &Path, figures: &[Figure]) -> Markup {
        let title =
            self.notes.title.clone().unwrap_or_else(|| format!("{}, profile {}", self.file.name, self.file.profile));
        html! {
            h3 id=(format!("{}-table", self.name())) { (title) }
            (grid(&self.table))
            @if self.notes.lines.is_empty() {
                p class="note" {
                    "The table's Markdown is not beside its CSV: seeds, rows, types and devices are not known here."
                }
            }
            ul class="note" { @for line in &self.notes.lines { li { (marked(line)) } } }
            @for figure in figures { (figure.html()) }
            @if figures.is_empty() { p { "No score in this table yet, so there is nothing to draw." } }
            (self.beside(tables))
            @if let Some(to) = self.links.to(&self.file.csv) {
                p class="note" { "Read from " a href=(to) { (self.file.csv.display()) } "." }
            }
        }
    }

    /// What the paper prints, where the table does not hold it already.
    fn beside(&self, folder: &Path) -> Markup {
        if self.table.rows.iter().any(ReportRow::printed) {
            return html! { p { "Rows of the paper stand among ours where model and data are the same." } };
        }
        let rows = match printed(folder, &self.file.name) {
            Err(reason) => return html! { p { "The paper's figures could not be read: " (reason) } },
            Ok(rows) => rows,
        };
        let mut models: Vec<&str> =
            self.table.rows.iter().filter(|row| row.ours()).map(|row| row.model.as_str()).collect();
        models.dedup();
        let same = |row: &&PrintedRow| self.table.rows.iter().any(|ours| ours.method == row.method);
        let shown: Vec<ReportRow> = rows.iter().filter(same).map(|row| self.printed_row(row)).collect();
        html! {
            p {
                "The paper prints nothing for " (models.join(", "))
                " on these data, so there is nothing to compare with."
                @if shown.is_empty() { " It has no row for these methods." }
                @else { " What it prints for the same methods, with other models and the real data sets:" }
            }
            @if !shown.is_empty() { (grid(&ReportTable { columns: self.table.columns.clone(), rows: shown })) }
        }
    }

    fn printed_row(&self, row: &PrintedRow) -> ReportRow {
        let task = |name: &&String| *name != "avg" && !name.ends_with("_sd");
        // An average over tasks that are no columns here would stand beside averages over others.
        let whole = row.scores.keys().filter(task).all(|name| self.table.columns.contains(name));
        let average = |name: &str| row.scores.get(name).copied().filter(|_| whole);
        let score = |column: &String| if column == "avg" { average("avg") } else { row.scores.get(column).copied() };
        ReportRow {
            model: row.model.clone(),
            method: row.method.clone(),
            params: row.params_percent,
            scores: self.table.columns.iter().map(score).collect(),
            sd: average("avg_sd"),
            n: String::new(),
            origin: row.origin.clone(),
        }
    }
}

/// The printed rows of a table.
fn printed(folder: &Path, name: &str) -> Result<Vec<PrintedRow>, String> {
    let spec = TableSpec::read(&folder.join(format!("{name}.yaml"))).map_err(|error| error.to_string())?;
    spec.printed(Path::to_path_buf).map_err(|error| error.to_string())
}

/// A line of Markdown with its code as such.
pub(super) fn marked(line: &str) -> Markup {
    html! {
        @for (index, part) in line.split('`').enumerate() {
            @if index % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// A figure with the digits of its column's unit, or a dash.
fn figure(column: &str, score: Option<f64>) -> String {
    score.filter(|score| score.is_finite()).map_or("–".to_owned(), |score| unit_of_title(column).digits(score))
}

/// Rows with columns of numbers, below the name of their model. Columns that say the same in every row are left out.
fn grid(table: &ReportTable) -> Markup {
    let average = table.columns.len() - 1;
    let spread = |row: &ReportRow| row.sd.map_or(String::new(), |sd| format!(" ± {sd:.1}"));
    let counted = table.rows.iter().any(|row| !row.n.is_empty());
    let whose = table.rows.iter().any(|row| !row.ours());
    let width = table.columns.len() + 2 + usize::from(counted) + usize::from(whose);
    html! {
        div class="scroll" { table {
            thead { tr {
                th { "method" }
                @for column in &table.columns { th class="n" { (column) } }
                @if counted { th class="n" { "n" } }
                th class="n" { "params %" }
                @if whose { th { "from" } }
            } }
            @for rows in table.rows.chunk_by(|a, b| a.model == b.model) { tbody {
                tr class="model" { th colspan=(width) { span { (rows[0].model) } } }
                @for row in rows { tr {
                    td { (row.method) }
                    @for (column, score) in row.scores.iter().enumerate() {
                        td class="n" { (figure(&table.columns[column], *score)) @if column == average { (spread(row)) } }
                    }
                    @if counted { td class="n" { (if row.n.is_empty() { "–" } else { &row.n }) } }
                    td class="n" { (row.params.map_or("–".to_owned(), |params| format!("{params:.4}"))) }
                    @if whose { td { (row.origin) } }
                } }
            } }
        } }
    }
}
