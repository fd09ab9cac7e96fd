//! Messages on standard output and standard error. A stream that is closed or full ends no run: the results may lie on another disk than
//! the log, and `reft results | head` closes the pipe early.
//!
//! The macros here replace the standard library's of the same names, which panic when a stream cannot be written.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// Errors of a full disk or quota.
const ROOM: [ErrorKind; 2] = [ErrorKind::StorageFull, ErrorKind::QuotaExceeded];

macro_rules! eprintln {
    ($($text:tt)*) => { $crate::console::stderr_unless_silenced(format_args!("{}\n", format_args!($($text)*))) };
}

#[cfg(feature = "program")]
macro_rules! eprint {
    ($($text:tt)*) => { $crate::console::stderr_unless_silenced(format_args!($($text)*)) };
}

#[cfg(feature = "program")]
macro_rules! println {
    ($($text:tt)*) => { $crate::console::stdout(format_args!("{}\n", format_args!($($text)*))) };
}

#[cfg(feature = "program")]
macro_rules! print {
    ($($text:tt)*) => { $crate::console::stdout(format_args!($($text)*)) };
}

/// Whether standard error is left to another process that prints the same.
static STDERR_SILENCED: AtomicBool = AtomicBool::new(false);

/// From now on this process prints nothing on standard error but the error that ends it.
pub fn silence_stderr() {
    STDERR_SILENCED.store(true, Ordering::Relaxed);
}

/// To standard error, unless another process prints the same.
pub fn stderr_unless_silenced(text: Arguments<'_>) {
    if !STDERR_SILENCED.load(Ordering::Relaxed) {
        stderr(text);
    }
}

/// To standard error; what cannot be written is dropped.
pub fn stderr(text: Arguments<'_>) {
    let _ = std::io::stderr().write_fmt(text);
}

/// To standard output. When that cannot be written, the program ends: without an error if the pipe was closed.
#[cfg(feature = "program")]
pub(crate) fn stdout(text: Arguments<'_>) {
    match std::io::stdout().write_fmt(text) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            stderr(format_args!("error: standard output: {error}: free some space there and repeat the command\n"));
            std::process::exit(1);
        }
    }
}

/// An error and its causes in one line, without causes that are part of what stands before them. An error of a full disk ends with one
/// remedy, whatever else it is about.
pub fn in_a_line(error: &anyhow::Error) -> String {
    let add = |line: String, cause: String| match (line.is_empty(), line.contains(&cause)) {
        (true, _) => cause,
        (false, true) => line,
        (false, false) => format!("{line}: {cause}"),
    };
    let line = error.chain().map(ToString::to_string).fold(String::new(), add);
    let Some(full) = no_room(error).map(ToString::to_string) else { return without_numbers(&line) };
    let end = line.find(&full).map_or(line.len(), |at| at + full.len());
    without_numbers(&format!("{}: free some space there and repeat the command", &line[..end]))
}

/// A line without the numbers that the standard library puts behind the system's words.
fn without_numbers(line: &str) -> String {
    let mut parts = line.split(" (os error ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |line, part| line + part.split_once(')').map_or("", |(_, rest)| rest))
}

/// The error of a full disk or quota among the causes.
pub(crate) fn no_room(error: &anyhow::Error) -> Option<&std::io::Error> {
    let mut io = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.find(|error| ROOM.contains(&error.kind()))
}

#[cfg(test)]
mod tests {
    use std::io::Error;

    use anyhow::Context;

    use super::*;
    use crate::store::record::RecordError;

    #[test]
    fn causes_are_not_repeated_and_a_full_disk_has_its_remedy() {
        let full = || RecordError::Io { path: "r.json".into(), source: Error::from_raw_os_error(28) };
        let error = Err::<(), _>(full()).context("trial 3").expect_err("an error");
        assert_eq!(
            in_a_line(&error),
            "trial 3: r.json: No space left on device: free some space there and repeat the command"
        );
        assert!(no_room(&error).is_some());
        let error =
            Err::<(), _>(Error::from_raw_os_error(13)).context("r.json: cannot be written").expect_err("an error");
        assert_eq!(in_a_line(&error), "r.json: cannot be written: Permission denied");
        assert!(no_room(&error).is_none());
    }
}
