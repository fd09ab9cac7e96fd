//! Colours: Okabe and Ito's for things that are told apart, one scale of blues for what is more or less. All of them differ in
//! lightness too, and lines and marks never differ by colour alone.

use std::fmt::Write;

use super::mark::SHAPES;

/// A selector within an SVG, a property, its colour on white and on black.
const COLOURS: [(&str, &str, &str, &str); 9] = [
    ("text", "fill", "#1f2328", "#e8e6e1"),
    (".soft", "fill", "#57606a", "#a7adb5"),
    (".axis", "stroke", "#8c939c", "#6e757e"),
    (".grid", "stroke", "#e6e8eb", "#2a2e34"),
    (".halo", "stroke", "#ffffff", "#14161a"),
    (".slot", "stroke", "#c9ced4", "#454b53"),
    (".bar", "fill", "#3a6ea5", "#7fb0e3"),
    (".chance", "stroke", "#1f2328", "#e8e6e1"),
    (".hollow", "fill", "#ffffff", "#14161a"),
];

/// Methods in the order of their first appearance, on white and on black.
const METHODS: [(&str, &str); SHAPES.len()] = [
    ("#0072b2", "#56a8e0"),
    ("#d55e00", "#f08a3c"),
    ("#00805f", "#2fbf94"),
    ("#b0568b", "#dd8fbd"),
    ("#a67400", "#e6b93a"),
    ("#2c2f33", "#e4e2dd"),
    ("#5b4fc0", "#a59bf2"),
    ("#8a8f96", "#8f959c"),
];

/// Scores from the lowest fifth to the highest, on white and on black.
pub const STEPS: [(&str, &str); 5] = [
    ("#b3c7dd", "#46607d"),
    ("#86a8cc", "#537da8"),
    ("#5686b8", "#6f9fd0"),
    ("#2d629b", "#9cc4ee"),
    ("#0b3a6b", "#cfe4fb"),
];

/// The winner.
const WINNER: (&str, &str) = ("#d55e00", "#ff9b4a");

/// What does not depend on light or dark.
const FIXED: &str = "svg text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;\
font-size:12px;font-variant-numeric:tabular-nums}svg .line{fill:none;stroke-width:1.5;stroke-linejoin:round}\
svg .axis,svg .grid{stroke-width:1;fill:none}svg .slot{stroke-width:3}svg .halo{stroke-width:4;paint-order:stroke;\
stroke-linejoin:round}svg .faint{opacity:.6}svg .bold{stroke-width:3}svg .printed{stroke-width:1.6}\
svg .chance{stroke-width:2}svg .scored{stroke-width:5}";

/// Rules on white, or on black.
fn rules(dark: bool) -> String {
    let pick = |light: &'static str, black: &'static str| if dark { black } else { light };
    let mut css = String::new();
    for (selector, property, light, black) in COLOURS {
        let _ = write!(css, "svg {selector}{{{property}:{}}}", pick(light, black));
    }
    let paired = |css: &mut String, name: &str, (light, black): (&'static str, &'static str)| {
        let colour = pick(light, black);
        let _ = write!(css, "svg .s{name}{{stroke:{colour}}}svg .f{name}{{fill:{colour}}}");
    };
    METHODS.into_iter().enumerate().for_each(|(index, pair)| paired(&mut css, &index.to_string(), pair));
    STEPS.into_iter().enumerate().for_each(|(index, pair)| paired(&mut css, &format!("q{index}"), pair));
    paired(&mut css, "w", WINNER);
    css
}

/// The style of charts for paper and for pictures.
pub fn on_white() -> String {
    format!("{FIXED}{}", rules(false))
}

/// The style of charts for screens, light or dark as the reader's are.
pub fn on_screen() -> String {
    format!("{}@media screen and (prefers-color-scheme:dark){{{}}}", on_white(), rules(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance (WCAG 2).
    fn luminance(colour: &str) -> f64 {
        let part = |at: usize| {
            let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).expect("hexadecimal")) / 255.0;
            if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
    }

    fn contrast(a: &str, b: &str) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn text_and_marks_stand_out_on_both_grounds() {
        for (selector, property, light, dark) in COLOURS.into_iter().take(2) {
            let both = contrast(light, "#ffffff").min(contrast(dark, "#14161a"));
            assert!(property == "fill" && both >= 4.5, "{selector}: {both}");
        }
        for (light, dark) in METHODS.into_iter().chain([WINNER]) {
            let both = contrast(light, "#ffffff").min(contrast(dark, "#14161a"));
            assert!(both >= 3.0, "{light} {dark}: {both}");
        }
        let rising = |colours: [&str; 5]| colours.map(luminance).is_sorted();
        let light = STEPS.map(|(light, _)| light);
        assert!(rising(STEPS.map(|(_, dark)| dark)) && light.map(luminance).is_sorted_by(|a, b| a >= b));
    }
}
