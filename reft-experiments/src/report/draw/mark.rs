//! What stands for a row of a chart's CSV: a point, or a line through several.

use std::ops::Range;

use maud::{Markup, html};

use super::px;

/// Pixels from one line of text to the next.
const LEADING: f64 = 16.0;

/// A chart's title in as many lines as its width takes, and the pixels that those beyond the first push the chart down.
pub fn title(text: &str, width: f64) -> (Markup, f64) {
    let lines = super::text::wrapped(text, width);
    let down = |line: usize| LEADING * line as f64;
    let markup = html! {
        @for (line, text) in lines.iter().enumerate() { (label((0.0, 14.0 + down(line)), Anchor::Start, "", text)) }
    };
    (markup, down(lines.len().saturating_sub(1)))
}

/// Outlines around the origin, about as large as each other: a look is one of them, with the colour of the same number.
pub const SHAPES: [&str; 8] = [
    "M-4.2 0a4.2 4.2 0 1 0 8.4 0a4.2 4.2 0 1 0-8.4 0Z",
    "M0-5.4L5.4 0L0 5.4L-5.4 0Z",
    "M-3.8-3.8h7.6v7.6h-7.6Z",
    "M0-5L5 3.8H-5Z",
    "M0 5L5-3.8H-5Z",
    "M-1.6-5h3.2v3.4h3.4v3.2h-3.4v3.4h-3.2v-3.4h-3.4v-3.2h3.4Z",
    "M-2.2-5h4.4L5 0L2.2 5h-4.4L-5 0Z",
    "M-5-1.5h10v3h-10Z",
];

/// Methods that look the same in every chart, in the order of [`SHAPES`].
const KNOWN: [&[&str]; SHAPES.len()] = [
    &["LoReFT"],
    &["DiReFT"],
    &["NoReFT", "BitFit"],
    &["OrthoDiReFT", "RED"],
    &["ConsReFT"],
    &["LobiReFT", "Full finetuning"],
    &[],
    &["base model", "Head only"],
];

/// The look of each of these methods: its own where it has one that is not taken, else one that is free.
pub fn looks(methods: &[String]) -> Vec<usize> {
    let own = |method: &String| {
        let is =
            |known: &&str| method == known || method.strip_prefix(known).is_some_and(|rest| rest.starts_with(" ("));
        KNOWN.iter().position(|names| names.iter().any(is))
    };
    let mut looks: Vec<Option<usize>> = Vec::new();
    for method in methods {
        let look = own(method).filter(|look| !looks.contains(&Some(*look)));
        looks.push(look);
    }
    for index in 0..looks.len() {
        if looks[index].is_none() {
            looks[index] = (0..SHAPES.len()).find(|look| !looks.contains(&Some(*look)));
        }
    }
    looks.into_iter().map(|look| look.unwrap_or(SHAPES.len() - 1)).collect()
}

/// A point for row `row`, with what it says when pointed at.
pub fn point(at: (f64, f64), row: usize, shape: usize, class: &str, says: &str) -> Markup {
    let place = format!("translate({} {})", px(at.0), px(at.1));
    html! { path class=(class) d=(SHAPES[shape]) transform=(place) data-row=(row) { title { (says) } } }
}

/// A small round point for row `row`.
pub fn dot(at: (f64, f64), row: usize, class: &str) -> Markup {
    let place = format!("translate({} {})", px(at.0), px(at.1));
    let round = "M-2.6 0a2.6 2.6 0 1 0 5.2 0a2.6 2.6 0 1 0-5.2 0Z";
    html! { path class=(class) d=(round) transform=(place) data-row=(row) {} }
}

fn points(points: &[(f64, f64)]) -> String {
    points.iter().map(|&(x, y)| format!("{},{}", px(x), px(y))).collect::<Vec<_>>().join(" ")
}

/// A line with a corner for each of these rows.
pub fn line(corners: &[(f64, f64)], rows: &Range<usize>, class: &str, says: &str) -> Markup {
    let rows = format!("{} {}", rows.start, rows.len());
    html! { polyline class=(format!("line {class}")) points=(points(corners)) data-rows=(rows) { title { (says) } } }
}

/// A line for one row with a corner on each axis that it reaches.
pub fn across(corners: &[(f64, f64)], row: usize, class: &str, says: &str) -> Markup {
    html! { polyline class=(format!("line {class}")) points=(points(corners)) data-row=(row) { title { (says) } } }
}

/// A straight line that stands for nothing.
pub fn rule(from: (f64, f64), to: (f64, f64), class: &str) -> Markup {
    html! { path class=(class) d=(format!("M{} {}L{} {}", px(from.0), px(from.1), px(to.0), px(to.1))) {} }
}

/// Where a text's given point is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Anchor {
    /// Its beginning.
    Start,
    /// Its middle.
    Middle,
    /// Its end.
    End,
}

/// A line of text with its baseline at `at`.
pub fn label(at: (f64, f64), anchor: Anchor, class: &str, text: &str) -> Markup {
    let anchor = match anchor {
        Anchor::Start => "start",
        Anchor::Middle => "middle",
        Anchor::End => "end",
    };
    html! { text x=(px(at.0)) y=(px(at.1)) text-anchor=(anchor) class=(class) { (text) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_methods_keep_their_colours_and_others_take_free_ones() {
        let of = |methods: &[&str]| looks(&methods.iter().map(|&method| method.to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["base model", "DiReFT", "LoReFT (e=3)"]), [7, 1, 0]);
        assert_eq!(of(&["custom", "LoReFT", "LoReFT (1K)", "LoReFTX"]), [1, 0, 2, 3]);
        let many: Vec<String> = (0..10).map(|index| format!("method {index}")).collect();
        assert_eq!(looks(&many), [0, 1, 2, 3, 4, 5, 6, 7, 7, 7]);
    }
}
