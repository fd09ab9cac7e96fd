//! A share by row and column, as coloured cells with the number in each.

use maud::{Markup, html};

use crate::report::data::Data;
use crate::report::draw::mark::{Anchor, label};
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

    fn cell(&self, row: usize, column: usize, width: f64) -> Markup {
        let value = self.value(row, column);
        let (x, y) = (LEFT + column as f64 * width, TOP + row as f64 * CELL);
        let step = self.step(value);
        let says = format!(
            "{} {}, {} {}: {:.3}",
            self.rows.0, self.rows.1[row], self.columns.0, self.columns.1[column], value
        );
        // Dark cells need light numbers: those are drawn in the ground's colour.
        let class = if step > 2 { "hollow" } else { "" };
        html! {
            rect x=(px(x)) y=(px(y)) width=(px(width - 1.0)) height=(px(CELL - 1.0)) class=(format!("fq{step}"))
                data-row=(row * self.columns.1.len() + column) { title { (says) } }
            text x=(px(x + width / 2.0)) y=(px(y + CELL / 2.0 + 4.0)) text-anchor="middle" class=(class) {
                (format!("{value:.2}"))
            }
        }
    }

    fn draw(&self, width: f64) -> Drawing {
        let (rows, columns) = (self.rows.1.len(), self.columns.1.len());
        let cell = ((width - LEFT) / columns.max(1) as f64).min(90.0);
        let bottom = TOP + rows as f64 * CELL;
        let body = html! {
            (label((0.0, 14.0), Anchor::Start, "", &self.title))
            @for (row, name) in self.rows.1.iter().enumerate() {
                (label((LEFT - 8.0, TOP + (row as f64 + 0.5) * CELL + 4.0), Anchor::End, "soft", name))
                @for column in 0..columns { (self.cell(row, column, cell)) }
            }
            @for (column, name) in self.columns.1.iter().enumerate() {
                (label((LEFT + (column as f64 + 0.5) * cell, bottom + 16.0), Anchor::Middle, "soft", name))
            }
            (label((LEFT, bottom + 34.0), Anchor::Start, "soft", &format!("{} across, {} down", self.columns.0, self.rows.0)))
        };
        Drawing { height: bottom + BOTTOM, body }
    }

    /// The figure with its numbers.
    pub fn figure(self, name: &str) -> Figure {
        let mut data = Data::new(&[&self.rows.0, &self.columns.0, "accuracy"]);
        for (row, row_name) in self.rows.1.iter().enumerate() {
            for (column, column_name) in self.columns.1.iter().enumerate() {
                data.push(vec![row_name.clone(), column_name.clone(), self.value(row, column).to_string()]);
            }
        }
        let caption = html! { (self.title) };
        let alt = self.title.clone();
        Figure { name: name.to_owned(), alt, caption, data, draw: Box::new(move |width| self.draw(width)) }
    }
}
