//! How wide text is, so that labels do not meet. Measured in the widest of the fonts that a reader may have.

use skrifa::instance::{LocationRef, Size};
use skrifa::{FontRef, MetadataProvider};

/// The font's height in charts, in pixels.
pub const SIZE: f64 = 12.0;

/// Width of a line of text in pixels.
pub fn width(text: &str) -> f64 {
    let Ok(font) = FontRef::new(dejavu::sans::regular()) else { return text.chars().count() as f64 * SIZE };
    let (letters, metrics) = (font.charmap(), font.glyph_metrics(Size::new(SIZE as f32), LocationRef::default()));
    let advance = |letter| letters.map(letter).and_then(|glyph| metrics.advance_width(glyph));
    text.chars().map(|letter| advance(letter).map_or(SIZE, f64::from)).sum()
}

/// The text, or its beginning and end around an ellipsis, at most `room` pixels wide.
pub fn shortened(text: &str, room: f64) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let letters: Vec<char> = text.chars().collect();
    let cut = |kept: usize| {
        let (head, tail) = (kept.div_ceil(2), kept / 2);
        let part = |range: &[char]| range.iter().collect::<String>();
        format!("{}…{}", part(&letters[..head]), part(&letters[letters.len() - tail..]))
    };
    let fitting = (0..letters.len()).rev().map(cut).find(|text| width(text) <= room);
    fitting.unwrap_or_default()
}

/// The text in lines of whole words, each at most `room` pixels wide; a word that is wider is [`shortened`].
pub fn wrapped(text: &str, room: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let longer = lines.last().map(|line| format!("{line} {word}")).filter(|longer| width(longer) <= room);
        match (longer, lines.last_mut()) {
            (Some(longer), Some(last)) => *last = longer,
            _ => lines.push(shortened(word, room)),
        }
    }
    lines
}

/// Where the middle of a text is that should be at `middle` and must lie between 0 and `end` pixels.
pub fn inside(text: &str, middle: f64, end: f64) -> f64 {
    let half = 0.5 * width(text);
    middle.min(end - half).max(half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_broken_between_words_and_none_is_lost() {
        let title = "edits of one prompt, by token and layer";
        let lines = wrapped(title, 120.0);
        assert!(lines.len() > 1 && lines.iter().all(|line| width(line) <= 120.0), "{lines:?}");
        assert_eq!(lines.join(" "), title);
        assert_eq!(wrapped(title, 1e4), [title]);
    }

    #[test]
    fn long_text_keeps_both_ends_and_fits() {
        assert!((width("mm") - 2.0 * width("m")).abs() < 1e-6 && width("i") < width("m"));
        assert_eq!(shortened("train.lr", 100.0), "train.lr");
        let cut = shortened("10;12;14;18;20;22;24;28", 80.0);
        assert!(cut.starts_with("10;") && cut.ends_with("28") && cut.contains('…') && width(&cut) <= 80.0, "{cut}");
        assert_eq!(shortened("anything", 1.0), "");
        let places = [0.0, 50.0, 99.0].map(|middle| inside("0.001", middle, 100.0) - middle);
        assert!(places[0] > 10.0 && places[1].abs() < 1e-12 && places[2] < -10.0, "{places:?}");
    }
}
