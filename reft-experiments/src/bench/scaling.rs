//! How the time of an update, or of a whole pass over the rows, and peak memory grow with one setting at a time.

use anyhow::Result;
use serde::Serialize;

use super::{BenchmarkJob, BenchmarkResult, UNTIMED};
use crate::data::row::Row;

/// One point of `scaling.csv`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ScalingPoint {
    /// What is changed.
    pub setting: &'static str,
    /// To what.
    pub value: f64,
    /// Seconds of an update (median), or of all updates where rows are added.
    pub seconds: f64,
    /// Exponent of the power law through the seconds of this setting: 1 is proportional, 0 no growth.
    pub slope: f64,
    /// Peak memory of the process, MiB: the model and what training adds.
    pub peak_mib: f64,
    /// The exponent of peak memory.
    pub memory_slope: f64,
}

/// One axis: what is changed, and what is timed.
struct ScalingAxis {
    name: &'static str,
    values: &'static [usize],
    /// A job's variant of a value, given the model's depth, and how often each row's question is then repeated.
    vary: fn(&BenchmarkJob, usize, usize) -> (BenchmarkJob, usize),
    timed: fn(&BenchmarkResult) -> f64,
}

/// Every axis. A layer count means the last so many, all of which gradients must pass; of several adapters each has its part of the
/// layers, and all are trained jointly.
const SETTINGS: &[ScalingAxis] = &[
    ScalingAxis {
        name: "layers",
        values: &[1, 4, 12, 30],
        vary: |job, n, layers| {
            let last: Vec<String> = (layers - n.min(layers)..layers).map(|layer| layer.to_string()).collect();
            (BenchmarkJob { layers: last.join(","), ..job.clone() }, 1)
        },
        timed: |outcome| outcome.step_s,
    },
    ScalingAxis {
        name: "rank",
        values: &[1, 8, 64],
        vary: |job, n, _| (BenchmarkJob { rank: n as i64, ..job.clone() }, 1),
        timed: |outcome| outcome.step_s,
    },
    ScalingAxis {
        name: "positions",
        values: &[2, 14, 28],
        vary: |job, n, _| (BenchmarkJob { positions: format!("f{0}+l{0}", n / 2), ..job.clone() }, 1),
        timed: |outcome| outcome.step_s,
    },
    ScalingAxis {
        name: "adapters",
        values: &[1, 3, 10],
        vary: |job, n, _| (BenchmarkJob { adapters: n, ..job.clone() }, 1),
        timed: |outcome| outcome.step_s,
    },
    ScalingAxis {
        name: "batch",
        values: &[4, 8, 16],
        vary: |job, n, _| (BenchmarkJob { batch: n, ..job.clone() }, 1),
        timed: |outcome| outcome.step_s,
    },
    ScalingAxis {
        name: "prompt length",
        values: &[1, 2, 3],
        vary: |job, n, _| (job.clone(), n),
        timed: |outcome| outcome.step_s,
    },
    ScalingAxis {
        name: "rows",
        values: &[64, 128, 256],
        vary: |job, n, _| (BenchmarkJob { steps: n / job.batch - UNTIMED, ..job.clone() }, 1),
        timed: |outcome| outcome.total_s,
    },
];

/// Measures all points with `measure`, which runs a job on these rows.
///
/// # Errors
/// When a measurement fails.
pub fn run(
    base: &BenchmarkJob,
    layers: usize,
    rows: &[Row],
    mut measure: impl FnMut(&BenchmarkJob, &[Row]) -> Result<BenchmarkResult>,
) -> Result<Vec<ScalingPoint>> {
    let mut points = Vec::new();
    for &ScalingAxis { name: setting, values, vary, timed } in SETTINGS {
        eprintln!("cost by {setting}");
        let mut measured = Vec::new();
        for &value in values {
            let (job, repeated) = vary(base, value, layers);
            let rows: Vec<Row> = rows.iter().take(job.trained()).map(|row| longer(row, repeated)).collect();
            let outcome = measure(&job, &rows)?;
            measured.push((value as f64, timed(&outcome), outcome.peak_mib));
        }
        let exponent = |of: fn(&(f64, f64, f64)) -> f64| {
            slope(&measured.iter().map(|point| (point.0, of(point))).collect::<Vec<_>>())
        };
        let (slope, memory_slope) = (exponent(|point| point.1), exponent(|point| point.2));
        let point =
            |(value, seconds, peak_mib)| ScalingPoint { setting, value, seconds, slope, peak_mib, memory_slope };
        points.extend(measured.into_iter().map(point));
    }
    Ok(points)
}

fn longer(row: &Row, times: usize) -> Row {
    Row { instruction: vec![row.instruction.as_str(); times].join("\n"), ..row.clone() }
}

/// Least squares through the logarithms.
fn slope(points: &[(f64, f64)]) -> f64 {
    let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
    let n = logs.len() as f64;
    let (mx, my) = (logs.iter().map(|p| p.0).sum::<f64>() / n, logs.iter().map(|p| p.1).sum::<f64>() / n);
    let along: f64 = logs.iter().map(|(x, y)| (x - mx) * (y - my)).sum();
    along / logs.iter().map(|(x, _)| (x - mx).powi(2)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_law_has_its_exponent() {
        let points: Vec<(f64, f64)> = [1.0, 2.0, 8.0].iter().map(|&x: &f64| (x, 3.0 * x.powf(1.5))).collect();
        assert!((slope(&points) - 1.5).abs() < 1e-12);
    }
}
