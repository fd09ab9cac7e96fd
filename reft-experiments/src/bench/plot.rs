//! The summary as pictures.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::report::Measured;
use super::scaling::ScalingPoint;

const SIZE: (u32, u32) = (960, 520);

/// Ratios to the peer as bars, those of speed and of memory alike; the line is the peer.
///
/// # Errors
/// When the file cannot be written.
pub fn ratios(lines: &[Measured], path: &Path) -> Result<()> {
    draw(path, |root| {
        let most = lines.iter().map(|line| line.ratio).fold(1.0, f64::max) * 1.3;
        let count = lines.len() as f64;
        let mut chart = ChartBuilder::on(root)
            .caption("ours / pyreft, same run", ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(40)
            .build_cartesian_2d((0.1..most).log_scale(), 0.0..count)?;
        chart.configure_mesh().disable_y_mesh().disable_y_axis().x_desc("ratio (log scale)").draw()?;
        for (index, line) in lines.iter().enumerate() {
            let (top, color) = (count - index as f64, if line.met { BLUE.mix(0.5) } else { RED.mix(0.5) });
            let bar = Rectangle::new([(1.0, top - 0.85), (line.ratio, top - 0.15)], color.filled());
            chart.draw_series([bar])?;
            let label = format!("{} {}: {:.2} (goal {})", line.job, line.dtype, line.ratio, line.goal);
            chart.draw_series([Text::new(label, (0.12, top - 0.35), ("sans-serif", 14))])?;
        }
        Ok(())
    })
}

/// Seconds of an update by each setting, relative to its first value.
///
/// # Errors
/// When the file cannot be written.
pub fn scaling(points: &[ScalingPoint], path: &Path) -> Result<()> {
    draw(path, |root| {
        let mut chart = ChartBuilder::on(root)
            .caption("cost of an update by one setting at a time", ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(60)
            .build_cartesian_2d((1.0..80.0).log_scale(), (0.5..40.0).log_scale())?;
        chart.configure_mesh().x_desc("value / smallest value").y_desc("seconds / seconds there").draw()?;
        for (index, series) in points.chunk_by(|a, b| a.setting == b.setting).enumerate() {
            let color = Palette99::pick(index).to_rgba();
            let relative = series.iter().map(|p| (p.value / series[0].value, p.seconds / series[0].seconds));
            chart
                .draw_series(LineSeries::new(relative, color.stroke_width(2)).point_size(3))?
                .label(format!("{} (slope {:.2})", series[0].setting, series[0].slope))
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color));
        }
        chart.configure_series_labels().border_style(BLACK).background_style(WHITE).draw()?;
        Ok(())
    })
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw(path: &Path, picture: impl FnOnce(&Area<'_>) -> Result<(), Box<dyn std::error::Error>>) -> Result<()> {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    let drawn = root.fill(&WHITE).map_err(Into::into).and_then(|()| picture(&root)).and_then(|()| Ok(root.present()?));
    drawn.map_err(|error| anyhow!("{}: {error}", path.display()))
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
            peer: 1.0,
            ratio,
            goal: ">= 2".to_owned(),
            met: ratio >= 2.0,
            unit: "tokens/s",
            gemm_share: None,
            gemm_gflops: None,
        };
        let point = |setting, value, seconds| ScalingPoint { setting, value, seconds, slope: 1.0 };
        let (bars, lines) = (folder.path().join("ratios.svg"), folder.path().join("scaling.svg"));
        ratios(&[line("train", 47.0), line("peak memory", 0.3)], &bars).expect("drawn");
        scaling(&[point("rank", 1.0, 2.0), point("rank", 4.0, 3.0), point("batch", 4.0, 1.0)], &lines).expect("drawn");
        let text = |path: &Path| std::fs::read_to_string(path).expect("written");
        assert!(text(&bars).contains("train bf16: 47.00") && text(&bars).contains("peak memory"));
        assert!(text(&lines).contains("rank (slope 1.00)") && text(&lines).contains("batch"));
    }
}
