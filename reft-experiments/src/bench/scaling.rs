//! How the cost of an update grows with one setting at a time.

use anyhow::Result;
use serde::Serialize;

use super::Job;
use crate::data::row::Row;

/// One point of `scaling.csv`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Point {
    /// What is changed.
    pub setting: &'static str,
    /// To what.
    pub value: f64,
    /// Seconds of an update (median).
    pub step_s: f64,
    /// Exponent of the power law through the points of this setting: 1 is proportional, 0 no growth.
    pub slope: f64,
}

/// A change of one setting.
struct Change {
    value: f64,
    job: Job,
    /// How often each row's question is repeated.
    repeated: usize,
}

/// Makes a job's variant of a value.
type Vary = fn(&Job, usize, usize) -> (Job, usize);

/// Every setting with its values. A layer count means the last so many, all of which gradients must pass.
const SETTINGS: &[(&str, &[usize], Vary)] = &[
    ("layers", &[1, 4, 12, 30], |job, n, layers| {
        let last: Vec<String> = (layers - n.min(layers)..layers).map(|layer| layer.to_string()).collect();
        (Job { layers: last.join(","), ..job.clone() }, 1)
    }),
    ("rank", &[1, 8, 64], |job, n, _| (Job { rank: n as i64, ..job.clone() }, 1)),
    ("positions", &[2, 14, 28], |job, n, _| (Job { positions: format!("f{0}+l{0}", n / 2), ..job.clone() }, 1)),
    ("batch", &[4, 8, 16], |job, n, _| (Job { batch: n, ..job.clone() }, 1)),
    ("prompt length", &[1, 2, 3], |job, n, _| (job.clone(), n)),
];

/// Measures all points with `measure`, which gives the seconds of an update of a job on these rows.
///
/// # Errors
/// When a measurement fails.
pub fn run(
    base: &Job,
    layers: usize,
    rows: &[Row],
    mut measure: impl FnMut(&Job, &[Row]) -> Result<f64>,
) -> Result<Vec<Point>> {
    let mut points = Vec::new();
    for &(setting, values, vary) in SETTINGS {
        eprintln!("cost by {setting}");
        let mut measured = Vec::new();
        for &value in values {
            let (job, repeated) = vary(base, value, layers);
            let change = Change { value: value as f64, job, repeated };
            let count = change.job.batch * (change.job.steps + 2);
            let rows: Vec<Row> = rows.iter().take(count).map(|row| longer(row, change.repeated)).collect();
            measured.push((change.value, measure(&change.job, &rows)?));
        }
        let slope = slope(&measured);
        points.extend(measured.into_iter().map(|(value, step_s)| Point { setting, value, step_s, slope }));
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
