//! Charts as PNG. The font travels with the program: a machine without fonts draws the same letters.

use std::sync::Arc;

use anyhow::{Context, Result};
use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb};

/// Pixels of the picture for one of the chart's.
const SCALE: f32 = 2.0;

/// Draws an SVG on white.
///
/// # Errors
/// When the SVG is not one, or too large for memory.
pub fn png(svg: &str) -> Result<Vec<u8>> {
    let mut fonts = fontdb::Database::new();
    fonts.load_font_data(dejavu::sans::regular().to_vec());
    let options = Options { fontdb: Arc::new(fonts), font_family: "DejaVu Sans".to_owned(), ..Options::default() };
    let tree = Tree::from_str(svg, &options).context("the chart is not valid SVG")?;
    let size = tree.size();
    let (width, height) = ((size.width() * SCALE).ceil() as u32, (size.height() * SCALE).ceil() as u32);
    let mut picture = Pixmap::new(width, height).context("the chart is too large for a picture")?;
    picture.fill(Color::WHITE);
    resvg::render(&tree, Transform::from_scale(SCALE, SCALE), &mut picture.as_mut());
    picture.encode_png().context("the picture cannot be encoded")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pixels that are not white.
    fn drawn(body: &str) -> usize {
        let svg = format!("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"80\" height=\"20\">{body}</svg>");
        let picture = Pixmap::decode_png(&png(&svg).expect("a picture")).expect("valid");
        assert_eq!((picture.width(), picture.height()), (160, 40));
        picture.pixels().iter().filter(|pixel| pixel.red() < 128).count()
    }

    #[test]
    fn text_is_rendered_with_the_embedded_font() {
        let style = format!("<style>{}</style>", super::super::ink::on_white());
        assert_eq!(drawn(""), 0);
        let (m, i) =
            (drawn(&format!("{style}<text y=\"15\">m</text>")), drawn(&format!("{style}<text y=\"15\">i</text>")));
        assert!(m > i && i > 10, "{m} and {i} dark pixels");
    }
}
