//! Edits of a prompt as discs: tokens downwards, layers to the right, the area how large an edit is beside its state, the
//! number its angle to it.

use maud::{Markup, html};

use crate::report::data::{Data, number};
use crate::report::draw::mark::{Anchor, label, rule, title};
use crate::report::draw::scale::{Domain, Scale};
use crate::report::draw::{Drawing, px, text};
use crate::report::figure::Figure;

/// Pixels of a token's line, and above and below all of them.
const LINE: f64 = 24.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 30.0;
/// Pixels of the largest disc's radius.
const RADIUS: f64 = 10.0;

/// Columns of the CSV.
const HEADS: [&str; 6] = ["token", "layer", "edit", "state", "relative", "degrees"];

/// An edit.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct EditMark {
    /// Its token's place.
    pub row: usize,
    /// Its layer's place.
    pub column: usize,
    /// Its length.
    pub size: f64,
    /// The state's length.
    pub of: f64,
    /// Degrees between the two.
    pub angle: Option<f64>,
}

/// A prompt's edits.
#[derive(Clone, PartialEq, Debug)]
pub struct SizeMap {
    /// What is drawn.
    pub title: String,
    /// The tokens, each with its position.
    pub rows: Vec<String>,
    /// The layers.
    pub columns: Vec<String>,
    /// The edits.
    pub marks: Vec<EditMark>,
}

impl SizeMap {
    fn draw(&self, width: f64) -> Drawing {
        let left = self.rows.iter().map(|row| text::width(row)).fold(0.0, f64::max).min(0.4 * width) + 14.0;
        let (title, pushed) = title(&self.title, width);
        let top = TOP + pushed;
        let bottom = top + LINE * self.rows.len() as f64;
        let right = width.min(left + 90.0 * self.columns.len() as f64);
        let band = |names: &[String], column: &str, pixels| Scale {
            column: column.to_owned(),
            domain: Domain::Band(names.to_vec()),
            pixels,
        };
        let x = band(&self.columns, "layer", [left, right]);
        let y = band(&self.rows, "token", [top, bottom]);
        let largest = self.marks.iter().map(|mark| mark.size / mark.of).fold(f64::MIN_POSITIVE, f64::max);
        let read_back = |scale: &Scale| serde_json::to_string(scale).expect("plain data");
        let body = html! {
            (title)
            @for tick in y.ticks(1.0) {
                (label((left - 8.0, tick.at + 4.0), Anchor::End, "soft", &text::shortened(&tick.label, left - 10.0)))
                (rule((left, tick.at), (right, tick.at), "grid"))
            }
            @for tick in x.ticks(1.0) { (label((tick.at, top - 8.0), Anchor::Middle, "soft", &tick.label)) }
            g data-x=(read_back(&x)) data-y=(read_back(&y)) {
                @for (row, (_, mark)) in self.lines().into_iter().enumerate() {
                    @if let Some(mark) = mark { (self.disc(mark, row, &x, &y, largest)) }
                }
            }
            (label((left, bottom + 20.0), Anchor::Start, "soft", &text::shortened(&self.legend(largest), width - left)))
        };
        Drawing { height: bottom + BOTTOM, body }
    }

    fn legend(&self, largest: f64) -> String {
        if self.marks.is_empty() {
            return "no token of this prompt is edited".to_owned();
        }
        format!("layer; area: size of the edit beside its state's, at most {largest:.2}; angle to the state")
    }

    fn disc(&self, mark: &EditMark, row: usize, x: &Scale, y: &Scale, largest: f64) -> Markup {
        let relative = mark.size / mark.of;
        let (token, layer) = (&self.rows[mark.row], &self.columns[mark.column]);
        let degrees = mark.angle.map_or(String::new(), |angle| format!("{angle:.0}°"));
        let says = format!("{token}, layer {layer}: {relative:.3} of the state, {degrees}");
        let (Some(across), Some(down)) = (x.middle(layer), y.middle(token)) else { return html! {} };
        let across = across - 14.0;
        let radius = RADIUS * (relative / largest).sqrt();
        let (r, d) = (px(radius), px(2.0 * radius));
        let round = format!("M-{r} 0a{r} {r} 0 1 0 {d} 0a{r} {r} 0 1 0-{d} 0Z");
        html! {
            path class="bar" d=(round) transform=(format!("translate({} {})", px(across), px(down))) data-row=(row) {
                title { (says) }
            }
            (label((across + RADIUS + 4.0, down + 4.0), Anchor::Start, "", &degrees))
        }
    }

    /// The marks in the order of the CSV: token by token, an empty line for each token without any.
    fn lines(&self) -> Vec<(usize, Option<&EditMark>)> {
        let of_row = |row: usize| {
            let mut marks: Vec<&EditMark> = self.marks.iter().filter(|mark| mark.row == row).collect();
            marks.sort_by_key(|mark| mark.column);
            let none = marks.is_empty().then_some((row, None));
            marks.into_iter().map(move |mark| (row, Some(mark))).chain(none)
        };
        (0..self.rows.len()).flat_map(of_row).collect()
    }

    /// A map as its CSV has it; none of another CSV, or of a damaged one.
    pub fn of_csv(title: String, heads: &[String], lines: &[Vec<String>]) -> Option<Self> {
        if heads != HEADS {
            return None;
        }
        let mut map = Self { title, rows: Vec::new(), columns: Vec::new(), marks: Vec::new() };
        let place = |names: &mut Vec<String>, name: &String| {
            names.iter().position(|known| known == name).unwrap_or_else(|| {
                names.push(name.clone());
                names.len() - 1
            })
        };
        for line in lines {
            let row = place(&mut map.rows, &line[0]);
            if line[1].is_empty() {
                continue;
            }
            let column = place(&mut map.columns, &line[1]);
            let number = |at: usize| line[at].parse::<f64>().ok();
            map.marks.push(EditMark { row, column, size: number(2)?, of: number(3)?, angle: number(5) });
        }
        Some(map)
    }

    /// The figure with its numbers.
    pub fn figure(self, name: &str) -> Figure {
        let mut data = Data::new(&HEADS);
        for (row, mark) in self.lines() {
            let measured = |of: fn(&EditMark) -> Option<f64>| number(mark.and_then(of));
            data.push(vec![
                self.rows[row].clone(),
                mark.map(|mark| self.columns[mark.column].clone()).unwrap_or_default(),
                measured(|mark| Some(mark.size)),
                measured(|mark| Some(mark.of)),
                measured(|mark| Some(mark.size / mark.of)),
                measured(|mark| mark.angle),
            ]);
        }
        let (alt, caption) = (self.title.clone(), html! { (self.title) });
        Figure { name: name.to_owned(), alt, caption, data, draw: Box::new(move |width| self.draw(width)) }
    }
}
