//! A rectangle with a horizontal and a vertical axis.

use maud::{Markup, html};

use super::mark::{Anchor, label, rule};
use super::scale::{Domain, Scale};
use super::text;

/// Room for the vertical axis' numbers, in pixels.
const LEFT: f64 = 50.0;
/// Room above for the title.
const TOP: f64 = 24.0;
/// Room below for numbers and what they are.
const BOTTOM: f64 = 38.0;
/// Room for the half of the last number that stands over.
const RIGHT: f64 = 14.0;

/// A panel of a chart.
pub struct Panel {
    /// From left to right.
    pub x: Scale,
    /// From the bottom up.
    pub y: Scale,
    title: String,
    below: String,
}

/// A column and its values, as an axis shows them.
pub struct Axis {
    /// The CSV's column.
    pub column: &'static str,
    /// Its values.
    pub domain: Domain,
    /// What it is, in words.
    pub title: String,
}

impl Panel {
    /// A panel with its top left corner at `at`, of this size with all its text.
    pub fn new(at: (f64, f64), size: (f64, f64), x: Axis, y: Axis) -> Self {
        let ((left, top), (width, height)) = (at, size);
        let scale = |axis: Axis, pixels| Scale { column: axis.column.to_owned(), domain: axis.domain, pixels };
        let (below, title) = (x.title.clone(), y.title.clone());
        let x = scale(x, [left + LEFT, left + width - RIGHT]);
        let y = scale(y, [top + height - BOTTOM, top + TOP]);
        Self { x, y, title, below }
    }

    /// Where a pair of numbers is; none where an axis cannot show it.
    pub fn at(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        Some((self.x.at(x)?, self.y.at(y)?))
    }

    /// The axes with these marks on them.
    pub fn with(&self, marks: &Markup) -> Markup {
        let (x, y) = (&self.x, &self.y);
        let ([left, right], [bottom, top]) = (x.pixels, y.pixels);
        let read_back = |scale: &Scale| serde_json::to_string(scale).expect("plain data");
        html! {
            (label((left - LEFT, top - 10.0), Anchor::Start, "", &text::shortened(&self.title, right - left + LEFT)))
            @for tick in y.ticks(26.0) {
                (rule((left, tick.at), (right, tick.at), "grid"))
                (label((left - 6.0, tick.at + 4.0), Anchor::End, "soft", &tick.label))
            }
            @for tick in x.ticks(64.0) {
                (rule((tick.at, bottom), (tick.at, bottom + 4.0), "axis"))
                @let middle = text::inside(&tick.label, tick.at, right + RIGHT);
                (label((middle, bottom + 17.0), Anchor::Middle, "soft", &tick.label))
            }
            (rule((left, bottom), (right, bottom), "axis"))
            (label((right, bottom + 33.0), Anchor::End, "soft", &self.below))
            g data-x=(read_back(x)) data-y=(read_back(y)) { (marks) }
        }
    }
}
