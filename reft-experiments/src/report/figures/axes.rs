//! Axes of the figures that are made of lines.

/// Source of our own lines.
pub const OURS: &str = "ours";

/// What the axes and panels are.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Axes {
    /// What a panel is: `tokens`.
    pub panel: &'static str,
    /// What is to the right.
    pub x: &'static str,
    /// What is up.
    pub y: &'static str,
    /// Values from below to above; as the lines need where there are none.
    pub range: Option<(f64, f64)>,
    /// Whether equal ratios are equally far to the right; every panel has its own scale from below then.
    pub log: bool,
}

impl Axes {
    /// Figure 1.
    pub const PARAMETERS: Self = Self { panel: "table", x: "parameters in %", y: "score", range: None, log: true };

    /// Figures 3 to 8.
    pub const MEMORISED: Self =
        Self { panel: "tokens", x: "layer", y: "recovered", range: Some((-0.1, 1.1)), log: false };

    /// Figures 9 and 10.
    pub const PAIRS: Self = Self { panel: "pairs", x: "layer", y: "right", range: Some((-0.1, 1.1)), log: false };

    /// Figure 11.
    pub const OVERHEAD: Self = Self { panel: "by", x: "value", y: "ms more", range: None, log: false };

    /// Appendix G.1.
    pub const COMPOSITION: Self =
        Self { panel: "part", x: "strength", y: "rate", range: Some((-0.1, 1.1)), log: false };

    /// Appendix G.2.
    pub const STYLE: Self = Self { panel: "style", x: "strength", y: "rate", range: Some((-0.1, 1.1)), log: false };

    /// Those of every figure.
    pub const ALL: [Self; 6] =
        [Self::PARAMETERS, Self::MEMORISED, Self::PAIRS, Self::OVERHEAD, Self::COMPOSITION, Self::STYLE];

    /// The columns of a figure's CSV.
    pub fn columns(&self) -> [&'static str; 7] {
        ["source", self.panel, "line", self.x, self.y, "n", "run"]
    }
}
