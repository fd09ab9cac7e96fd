//! Legends of charts: colours and shapes with their names, wrapped to the width.

use maud::{Markup, html};

use super::mark::{Anchor, label};
use super::{px, text};

/// Height of a line in pixels.
const LINE: f64 = 20.0;
/// Room for a sign before its name.
const SIGN: f64 = 20.0;
/// Room after a name.
const GAP: f64 = 16.0;

/// Signs with their names from the top left of a chart; a sign is drawn around the origin, 16 pixels wide at most. Also
/// says how high all of it is.
pub fn legend(items: &[(Markup, String)], width: f64) -> (Markup, f64) {
    let (mut x, mut y) = (0.0, LINE / 2.0);
    let mut placed = Vec::new();
    for (sign, name) in items {
        let name = text::shortened(name, width - SIGN);
        let wide = SIGN + text::width(&name);
        if x > 0.0 && x + wide > width {
            (x, y) = (0.0, y + LINE);
        }
        placed.push(html! {
            g transform=(format!("translate({} {})", px(x + 8.0), px(y))) { (sign) }
            (label((x + SIGN, y + 4.0), Anchor::Start, "soft", &name))
        });
        x += wide + GAP;
    }
    let height = if items.is_empty() { 0.0 } else { y + LINE / 2.0 };
    (html! { @for item in &placed { (item) } }, height)
}
