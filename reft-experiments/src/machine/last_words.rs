//! Output of a child process, read as it comes: a pipe that is not drained holds 64 KiB, then its writer waits.

use std::io::Read;
use std::thread::JoinHandle;

/// Bytes of a child's output that are kept: more than a line.
const KEPT: usize = 1 << 14;

/// The end of a child's output.
pub struct LastWords(JoinHandle<String>);

impl LastWords {
    /// Reads this output to its end, in a thread of its own.
    pub fn of(output: impl Read + Send + 'static) -> Self {
        Self(std::thread::spawn(move || last_of(output)))
    }

    /// The last bytes, once the output has ended.
    pub fn text(self) -> String {
        self.0.join().unwrap_or_default()
    }
}

/// The last line of a text that is not blank.
pub fn last_line(text: &str) -> Option<&str> {
    text.lines().rev().find(|line| !line.trim().is_empty())
}

/// Reads to the end and keeps the last bytes.
fn last_of(mut output: impl Read) -> String {
    let (mut kept, mut buffer) = (Vec::new(), [0; 1 << 12]);
    while let Ok(read @ 1..) = output.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..read]);
        kept.drain(..kept.len().saturating_sub(KEPT));
    }
    String::from_utf8_lossy(&kept).into_owned()
}
