//! A share by row and column, as coloured cells with the number in each.

use maud::{Markup, html};

use crate::report::data::Data;
use crate::report::draw::mark::{Anchor, label, title};
use crate::report::draw::scale::{Domain, Scale};
use crate::report::draw::{Drawing, ink, px};
use crate::report::figure::Figure;

/// Pixels beside the cells for the rows' names, and above for the title.
const LEFT: f64 = 60.0;
const TOP: f64 = 30.0;
/// Pixels below for the columns' names and what they are.
const BOTTOM: f64 = 44.0;
const CELL: f64 = 30.0;

/// Cells of numbers from 0 to 1.
#[derive(Clone, PartialEq, Debug)]
pub struct HeatMap {
    /// What the numbers are.
    pub title: String,
    /// What a row is, and their names from the top down.
    pub rows: (String, Vec<String>),
    /// What a column is, and their names from the left.
    pub columns: (String, Vec<String>),
    /// The numbers, row after row.
    pub values: Vec<f64>,
    /// What guessing reaches: the lightest colour is there, the darkest at 1.
    pub chance: f64,
}

impl HeatMap {
    fn value(&self, row: usize, column: usize) -> f64 {
        self.values[row * self.columns.1.len() + column]
    }

    /// A fifth of the way from chance to 1.
    fn step(&self, value: f64) -> usize {
        let part = (value - self.chance) / (1.0 - self.chance).max(f64::EPSILON);
        ((part * ink::STEPS.len() as f64).max(0.0) as usize).min(ink::STEPS.len() - 1)
    }

    fn cell(&self, row: usize, column: usize, at: (f64, f64), width: f64) -> Markup {
        let value = self.value(row, column);
        let step = self.step(value);
        let says = format!(
            "{} {}, {} {}: {:.3}",
            self.rows.0, self.rows.1[row], self.columns.0, self.columns.1[column], value
        );
        // Dark cells need light numbers: those are drawn in the ground's colour.
        let class = if step > 2 { "hollow" } else { "" };
        let number = row * self.columns.1.len() + column;
        html! {
            rect x=(px(0.5 - 0.5 * width)) y=(px(0.5 - 0.5 * CELL)) width=(px(width - 1.0)) height=(px(CELL - 1.0))
                class=(format!("fq{step}")) transform=(format!("translate({} {})", px(at.0), px(at.1))) data-row=(number) {
                title { (says) }
            }
            text x=(px(at.0)) y=(px(at.1 + 4.0)) text-anchor="middle" class=(class) { (format!("{value:.2}")) }
        }
    }

    fn draw(&self, width: f64) -> Drawing {
        let (rows, columns) = (self.rows.1.len(), self.columns.1.len());
        let cell = ((width - LEFT) / columns.max(1) as f64).min(90.0);
        let (title, pushed) = title(&self.title, width);
        let top = TOP + pushed;
        let bottom = top + rows as f64 * CELL;
        let band = |(name, words): &(String, Vec<String>), pixels| Scale {
            column: name.clone(),
            domain: Domain::Band(words.clone()),
            pixels,
        };
        let x = band(&self.columns, [LEFT, LEFT + cell * columns as f64]);
        let y = band(&self.rows, [top, bottom]);
        let read_back = |scale: &Scale| serde_json::to_string(scale).expect("plain data");
        let body = html! {
            (title)
            g data-x=(read_back(&x)) data-y=(read_back(&y)) {
                @for (row, down) in y.ticks(1.0).iter().enumerate() {
                    (label((LEFT - 8.0, down.at + 4.0), Anchor::End, "soft", &down.label))
                    @for (column, across) in x.ticks(1.0).iter().enumerate() {
                        (self.cell(row, column, (across.at, down.at), cell))
                    }
                }
            }
            @for across in x.ticks(1.0) { (label((across.at, bottom + 16.0), Anchor::Middle, "soft", &across.label)) }
            (label((LEFT, bottom + 34.0), Anchor::Start, "soft", &format!("{} across, {} down", self.columns.0, self.rows.0)))
        };
        Drawing { height: bottom + BOTTOM, body }
    }

    /// A map as its CSV has it; none of another CSV, or of a damaged one.
    pub fn of_csv(title: String, heads: &[String], lines: &[Vec<String>]) -> Option<Self> {
        let [row, column, accuracy, chance] = heads else { return None };
        if (accuracy.as_str(), chance.as_str()) != ("accuracy", "chance") {
            return None;
        }
        let names = |at: usize| {
            let mut names: Vec<String> = Vec::new();
            for line in lines {
                if !names.contains(&line[at]) {
                    names.push(line[at].clone());
                }
            }
            names
        };
        let (rows, columns) = (names(0), names(1));
        let values = lines.iter().map(|line| line[2].parse().ok()).collect::<Option<Vec<f64>>>()?;
        let chance = lines.first()?[3].parse().ok()?;
        let whole = values.len() == rows.len() * columns.len();
        whole.then(|| Self { title, rows: (row.clone(), rows), columns: (column.clone(), columns), values, chance })
    }

    /// The figure with its numbers.
    pub fn figure(self, name: &str) -> Figure {
        let mut data = Data::new(&[&self.rows.0, &self.columns.0, "accuracy", "chance"]);
        for (row, row_name) in self.rows.1.iter().enumerate() {
            for (column, column_name) in self.columns.1.iter().enumerate() {
                let cells = [row_name, column_name, &self.value(row, column).to_string(), &self.chance.to_string()];
                data.push(cells.map(String::clone).to_vec());
            }
        }
        let caption = html! { (self.title) };
        let alt = self.title.clone();
        Figure { name: name.to_owned(), alt, caption, data, draw: Box::new(move |width| self.draw(width)) }
    }
}
