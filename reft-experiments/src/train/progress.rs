//! Progress of a run: a bar with loss and remaining time on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::error::TrainError;
use super::observe::{Observer, StepInfo};

/// Time between two plain lines.
const QUIET: Duration = Duration::from_secs(15);

/// Progress of one run, on standard error.
#[derive(Debug)]
pub struct Progress {
    title: String,
    bar: Option<ProgressBar>,
    total: u64,
    first: u64,
    began: Instant,
    spoke: Option<Instant>,
    /// The last loss of dev rows, in words.
    dev: String,
}

impl Progress {
    /// Progress under this title.
    pub fn new(title: String) -> Self {
        Self { title, bar: None, total: 0, first: 0, began: Instant::now(), spoke: None, dev: String::new() }
    }

    fn left(&self, done: u64) -> Duration {
        let per_step = self.began.elapsed().as_secs_f64() / (done - self.first).max(1) as f64;
        Duration::from_secs((per_step * (self.total - done) as f64) as u64)
    }
}

impl Observer for Progress {
    fn start(&mut self, done: u64, total: u64) -> Result<(), TrainError> {
        (self.total, self.first, self.began) = (total, done, Instant::now());
        if std::io::stderr().is_terminal() {
            let style = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} {msg} eta {eta}");
            let bar =
                ProgressBar::new(total).with_style(style.expect("a fixed template")).with_prefix(self.title.clone());
            bar.set_position(done);
            bar.reset_eta();
            self.bar = Some(bar);
        } else {
            eprintln!("{}: step {done} of {total}", self.title);
        }
        Ok(())
    }

    fn step(&mut self, info: &StepInfo) -> Result<(), TrainError> {
        let done = info.step + 1;
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            if let Some(loss) = info.dev_loss {
                self.dev = format!(", dev loss {loss:.4}");
            }
            bar.set_message(format!("loss {:.4}{}", info.update.loss, self.dev));
            if done == self.total {
                bar.finish();
            }
        } else if done == self.total
            || info.dev_loss.is_some()
            || self.spoke.is_none_or(|spoke| spoke.elapsed() > QUIET)
        {
            let left = self.left(done).as_secs();
            let dev = info.dev_loss.map_or(String::new(), |loss| format!(", dev loss {loss:.4}"));
            let (title, total, loss) = (&self.title, self.total, info.update.loss);
            eprintln!("{title}: step {done} of {total}, loss {loss:.4}{dev}, {left} s left");
            self.spoke = Some(Instant::now());
        }
        Ok(())
    }
}
