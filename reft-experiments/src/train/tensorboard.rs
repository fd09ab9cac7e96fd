//! The trace of a run as TensorBoard events: length-prefixed protocol buffers with masked CRC-32C sums.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use prost::Message;

use super::error::TrainError;
use super::observe::{Metrics, Observer, StepInfo, at};

#[derive(Message)]
struct TensorBoardEvent {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "EventContent", tags = "3, 5")]
    what: Option<EventContent>,
}

#[derive(prost::Oneof)]
enum EventContent {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
}

#[derive(Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    values: Vec<SummaryValue>,
}

#[derive(Message)]
struct SummaryValue {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, tag = "2")]
    simple_value: f32,
}

/// An event as the file holds it.
fn record(event: &TensorBoardEvent) -> Vec<u8> {
    let data = event.encode_to_vec();
    let length = (data.len() as u64).to_le_bytes();
    let masked = |bytes: &[u8]| (crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)).to_le_bytes();
    [&length[..], &masked(&length), &data, &masked(&data)].concat()
}

fn step_event(info: &StepInfo) -> TensorBoardEvent {
    let value = |tag: &str, value: f64| SummaryValue { tag: tag.to_owned(), simple_value: value as f32 };
    let mut values = vec![
        value("train/loss", info.update.loss),
        value("train/gradient_norm", info.update.norm),
        value("train/lr", info.lr),
    ];
    values.extend(info.dev_loss.map(|loss| value("dev/loss", loss)));
    TensorBoardEvent { wall_time: now(), step: info.step as i64, what: Some(EventContent::Summary(Summary { values })) }
}

fn now() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

/// Writes the events of a run. A resumed run's file is written anew from the trace, so no update appears twice.
#[derive(Debug)]
pub struct TensorBoard {
    path: PathBuf,
    metrics: PathBuf,
    file: Option<File>,
}

impl TensorBoard {
    /// Events at `path`; `metrics` is the trace of the same run.
    pub fn new(path: PathBuf, metrics: PathBuf) -> Self {
        Self { path, metrics, file: None }
    }
}

impl Observer for TensorBoard {
    fn start(&mut self, done: u64, _: u64) -> Result<(), TrainError> {
        let version = EventContent::FileVersion("brain.Event:2".to_owned());
        let mut bytes = record(&TensorBoardEvent { wall_time: now(), step: 0, what: Some(version) });
        bytes.extend(Metrics::kept(&self.metrics, done).iter().flat_map(|info| record(&step_event(info))));
        crate::atomic::write(&self.path, &bytes).map_err(at(&self.path))?;
        self.file = Some(File::options().append(true).open(&self.path).map_err(at(&self.path))?);
        Ok(())
    }

    fn step(&mut self, info: &StepInfo) -> Result<(), TrainError> {
        match &mut self.file {
            Some(file) => file.write_all(&record(&step_event(info))).map_err(at(&self.path)),
            None => Ok(()),
        }
    }
}
