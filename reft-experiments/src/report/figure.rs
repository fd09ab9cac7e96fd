//! A chart on the page and beside it.

use anyhow::{Context, Result};
use maud::{Markup, html};

use super::data::Data;
use super::draw::{Drawing, ink, px, raster};

/// Pixels of a chart on a screen and on paper.
const WIDE: f64 = 720.0;
/// Pixels of a chart on a phone: it is drawn anew, not shrunk, so that its text stays readable.
const NARROW: f64 = 350.0;

/// Pixels around a chart in a file of its own.
const MARGIN: f64 = 12.0;

/// A chart with its data.
pub struct Figure {
    /// The name of its files, and its anchor on the page.
    pub name: String,
    /// What it shows, as alternative text for screen readers.
    pub alt: String,
    /// What it shows and how to read it, below it.
    pub caption: Markup,
    /// What is drawn.
    pub data: Data,
    /// Draws it for a width in pixels.
    pub draw: Box<dyn Fn(f64) -> Drawing>,
}

/// A file beside the page: its name and what is in it.
pub type PageFile = (String, Vec<u8>);

impl Figure {
    fn svg(&self, width: f64, margin: f64, style: &Markup) -> Markup {
        let Drawing { height, body } = (self.draw)(width);
        let [wide, high, start] = [width + 2.0 * margin, height + 2.0 * margin, -margin].map(px);
        html! {
            svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("{start} {start} {wide} {high}"))
                width=(wide) height=(high) role="img" aria-label=(self.alt) {
                title { (self.alt) } (style) (body)
            }
        }
    }

    /// The chart in the page, for both widths, one of which is shown.
    pub fn html(&self) -> Markup {
        let nothing = html! {};
        html! {
            figure id=(self.name) {
                div class="wide" { (self.svg(WIDE, 0.0, &nothing)) }
                div class="narrow" { (self.svg(NARROW, 0.0, &nothing)) }
                figcaption {
                    (self.caption) " "
                    span class="files" {
                        @for ending in ["csv", "svg", "png"] {
                            a href=(format!("{}.{ending}", self.name)) { (ending.to_uppercase()) } " "
                        }
                    }
                }
            }
        }
    }

    /// Its files: SVG, PNG and CSV.
    ///
    /// # Errors
    /// When it cannot be drawn as a picture.
    pub fn files(&self) -> Result<Vec<PageFile>> {
        let styled = |css: String| self.svg(WIDE, MARGIN, &html! { style { (maud::PreEscaped(css)) } }).into_string();
        let png = raster::png(&styled(ink::on_white())).with_context(|| format!("{}.png", self.name))?;
        let svg = styled(ink::on_screen()).into_bytes();
        let file = |ending: &str, bytes| (format!("{}.{ending}", self.name), bytes);
        Ok(vec![file("svg", svg), file("png", png), file("csv", self.data.csv())])
    }
}
