//! Charts as SVG: scales, axes and marks, in the page's own classes so that colours follow light, dark and print.
//!
//! Every mark says which row of the chart's CSV it stands for, and every axis which column it shows and how numbers become
//! pixels. A test reads both back.

pub mod ink;
pub mod legend;
pub mod mark;
pub mod number;
pub mod panel;
pub mod raster;
pub mod scale;
pub mod text;

use maud::Markup;

/// A chart of some width.
pub struct Drawing {
    /// Height in pixels.
    pub height: f64,
    /// Its elements.
    pub body: Markup,
}

/// A pixel coordinate, to a tenth.
pub fn px(value: f64) -> String {
    let rounded = (10.0 * value).round() / 10.0;
    // Minus zero would be written with its sign.
    if rounded == 0.0 { "0".to_owned() } else { rounded.to_string() }
}
