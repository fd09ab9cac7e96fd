//! The summary as pictures.

use std::path::Path;

use anyhow::Result;
use maud::{Markup, html};

use super::report::Measured;
use super::scaling::ScalingPoint;
use crate::atomic;
use crate::report::data::Data;
use crate::report::draw::legend::legend;
use crate::report::draw::mark::{self, Anchor, label, line, point, rule};
use crate::report::draw::panel::{Axis, Panel};
use crate::report::draw::scale::{Domain, Scale};
use crate::report::draw::{Drawing, px, text};
use crate::report::figure::Figure;

/// Pixels of a bar with the space around it, of the bar alone, and of the scale below all bars.
const BAR: f64 = 26.0;
const THICK: f64 = 14.0;
const BELOW: f64 = 44.0;
/// The part of the width that the bars' names take.
const NAMES: f64 = 0.52;
/// Pixels of the chart of lines.
const HEIGHT: f64 = 360.0;

/// Ratios to the peer as bars, those of speed and of memory alike; the line is the peer.
///
/// # Errors
/// When a file cannot be drawn or written.
pub fn ratios(lines: &[Measured], folder: &Path) -> Result<()> {
    let mut data = Data::new(&["job", "dtype", "against", "ratio", "goal"]);
    for line in lines {
        data.push(vec![
            line.job.clone(),
            line.dtype.to_owned(),
            line.against.to_owned(),
            line.ratio.to_string(),
            line.goal.clone(),
        ]);
    }
    let lines = lines.to_vec();
    save("ratios", "ours / theirs, same run", data, Box::new(move |width| bars(&lines, width)), folder)
}

fn bars(lines: &[Measured], width: f64) -> Drawing {
    let bottom = lines.len() as f64 * BAR;
    let domain = Domain::log(lines.iter().map(|line| line.ratio).chain([1.0]));
    let scale = Scale { column: "ratio".to_owned(), domain, pixels: [NAMES * width, width - 14.0] };
    let peer = scale.at(1.0).unwrap_or(scale.pixels[0]);
    let bar = |(row, line): (usize, &Measured)| -> Markup {
        let (top, at) = (row as f64 * BAR, scale.at(line.ratio).unwrap_or(peer));
        let name = format!("{} {}: {:.2} (goal {})", line.job, line.dtype, line.ratio, line.goal);
        let class = if line.met { "f0" } else { "f1" };
        html! {
            (label((0.0, top + BAR / 2.0 + 4.0), Anchor::Start, "", &text::shortened(&name, NAMES * width - 8.0)))
            rect class=(class) x=(px(peer.min(at))) y=(px(top + (BAR - THICK) / 2.0)) width=(px((at - peer).abs()))
                height=(px(THICK)) data-row=(row) { title { (name) } }
        }
    };
    let body = html! {
        @for bar in lines.iter().enumerate().map(bar) { (bar) }
        (rule((peer, 0.0), (peer, bottom), "chance"))
        (rule((scale.pixels[0], bottom), (scale.pixels[1], bottom), "axis"))
        @for tick in scale.ticks(48.0) { (label((tick.at, bottom + 17.0), Anchor::Middle, "soft", &tick.label)) }
        (label((scale.pixels[1], bottom + 36.0), Anchor::End, "soft", "ratio (log scale)"))
    };
    Drawing { height: bottom + BELOW, body }
}

/// Seconds of an update by each setting, relative to its first value.
///
/// # Errors
/// When a file cannot be drawn or written.
pub fn scaling(points: &[ScalingPoint], folder: &Path) -> Result<()> {
    let mut data = Data::new(&["setting", "relative value", "relative seconds"]);
    let series: Vec<_> = points.chunk_by(|a, b| a.setting == b.setting).map(<[ScalingPoint]>::to_vec).collect();
    for (first, point) in series.iter().flat_map(|points| points.iter().map(|point| (&points[0], point))) {
        let [value, seconds] = relative(first, point).map(|part| part.to_string());
        data.push(vec![point.setting.to_owned(), value, seconds]);
    }
    let title = "cost of an update by one setting at a time";
    save("scaling", title, data, Box::new(move |width| slopes(&series, width)), folder)
}

fn relative(first: &ScalingPoint, point: &ScalingPoint) -> [f64; 2] {
    [point.value / first.value, point.seconds / first.seconds]
}

fn slopes(series: &[Vec<ScalingPoint>], width: f64) -> Drawing {
    let name = |points: &[ScalingPoint]| format!("{} (slope {:.2})", points[0].setting, points[0].slope);
    let look = |index: usize| index % mark::SHAPES.len();
    let signs: Vec<_> = series
        .iter()
        .enumerate()
        .map(|(index, points)| {
            let sign = point((0.0, 0.0), 0, look(index), &format!("f{}", look(index)), points[0].setting);
            (sign, name(points))
        })
        .collect();
    let (signs, below) = legend(&signs, width);
    let all = |part: usize| {
        let of = move |points: &Vec<ScalingPoint>| -> Vec<f64> {
            points.iter().map(|point| relative(&points[0], point)[part]).collect()
        };
        Domain::log(series.iter().flat_map(of))
    };
    let x = Axis { column: "relative value", domain: all(0), title: "value / smallest value".to_owned() };
    let y = Axis { column: "relative seconds", domain: all(1), title: "seconds / seconds there".to_owned() };
    let panel = Panel::new((0.0, below), (width, HEIGHT), x, y);
    let mut row = 0;
    let mut marks = Vec::new();
    for (index, points) in series.iter().enumerate() {
        let corners: Vec<_> = points
            .iter()
            .map(|point| relative(&points[0], point))
            .filter_map(|[value, seconds]| panel.at(value, seconds))
            .collect();
        marks.push(line(&corners, &(row..row + points.len()), &format!("s{}", look(index)), &name(points)));
        for (&at, measured) in corners.iter().zip(points) {
            let says = format!("{} {}: {:.3} s", measured.setting, measured.value, measured.seconds);
            marks.push(point(at, row, look(index), &format!("f{}", look(index)), &says));
            row += 1;
        }
    }
    let body = html! { (signs) (panel.with(&html! { @for mark in &marks { (mark) } })) };
    Drawing { height: below + HEIGHT, body }
}

/// Writes the picture; its numbers stand in a CSV of the comparison already.
fn save(name: &str, title: &str, data: Data, draw: Box<dyn Fn(f64) -> Drawing>, folder: &Path) -> Result<()> {
    let figure = Figure { name: name.to_owned(), alt: title.to_owned(), caption: html! { (title) }, data, draw };
    for (file, bytes) in figure.files()? {
        if !file.ends_with(".csv") {
            atomic::write(&folder.join(file), &bytes)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_hold_every_job_and_every_setting() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let line = |job: &str, ratio| Measured {
            job: job.to_owned(),
            dtype: "bf16",
            ours: ratio,
            against: "pyreft",
            peer: 1.0,
            ratio,
            goal: ">= 2".to_owned(),
            met: ratio >= 2.0,
            unit: "tokens/s",
            gemm_share: None,
            gemm_gflops: None,
        };
        let point = |setting, value, seconds| ScalingPoint {
            setting,
            value,
            seconds,
            slope: 1.0,
            peak_mib: 1.0,
            memory_slope: 0.0,
        };
        ratios(&[line("train", 47.0), line("peak memory", 0.3)], folder.path()).expect("drawn");
        let points = [point("rank", 1.0, 2.0), point("rank", 4.0, 3.0), point("batch", 4.0, 1.0)];
        scaling(&points, folder.path()).expect("drawn");
        let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("written");
        let (bars, lines) = (text("ratios.svg"), text("scaling.svg"));
        assert!(bars.contains("train bf16: 47.00") && bars.contains("peak memory"));
        assert_eq!(bars.matches("<rect").count(), 2);
        assert!(lines.contains("rank (slope 1.00)") && lines.contains("batch"));
        assert_eq!((lines.matches("data-rows=").count(), lines.matches("data-row=").count()), (2, 3 + 2));
        assert!(folder.path().join("ratios.png").is_file() && !folder.path().join("scaling.csv").exists());
    }
}
