//! What the program says, and what becomes of it when the stream is closed or full: a log on a full disk must not end a run whose results
//! lie elsewhere, and `reft results | head` is no defect.
//!
//! The macros here take the place of the standard library's of the same names, which panic then.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// Errors that are for want of room, and what to do about them.
const ROOM: [ErrorKind; 2] = [ErrorKind::StorageFull, ErrorKind::QuotaExceeded];

macro_rules! eprintln {
    ($($text:tt)*) => { $crate::say::note(format_args!("{}\n", format_args!($($text)*))) };
}

#[cfg(feature = "program")]
macro_rules! eprint {
    ($($text:tt)*) => { $crate::say::note(format_args!($($text)*)) };
}

#[cfg(feature = "program")]
macro_rules! println {
    ($($text:tt)*) => { $crate::say::aloud(format_args!("{}\n", format_args!($($text)*))) };
}

#[cfg(feature = "program")]
macro_rules! print {
    ($($text:tt)*) => { $crate::say::aloud(format_args!($($text)*)) };
}

/// Whether this process leaves what it has to say to another that says the same.
static HUSHED: AtomicBool = AtomicBool::new(false);

/// From now on this process says nothing on standard error but why it ends.
pub fn hush() {
    HUSHED.store(true, Ordering::Relaxed);
}

/// To standard error, unless another process says the same.
pub fn note(text: Arguments<'_>) {
    if !HUSHED.load(Ordering::Relaxed) {
        aside(text);
    }
}

/// To standard error, as far as it takes it.
pub fn aside(text: Arguments<'_>) {
    let _ = std::io::stderr().write_fmt(text);
}

/// To standard output. When that takes no more, the program ends: quietly if its reader is gone.
#[cfg(feature = "program")]
pub(crate) fn aloud(text: Arguments<'_>) {
    match std::io::stdout().write_fmt(text) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            aside(format_args!("error: standard output: {error}: free some space there and repeat the command\n"));
            std::process::exit(1);
        }
    }
}

/// An error and its causes in one line. What the line says already is not said again, and for want of room there is one
/// remedy whatever the error is otherwise about.
pub fn in_a_line(error: &anyhow::Error) -> String {
    let add = |line: String, cause: String| match (line.is_empty(), line.contains(&cause)) {
        (true, _) => cause,
        (false, true) => line,
        (false, false) => format!("{line}: {cause}"),
    };
    let line = error.chain().map(ToString::to_string).fold(String::new(), add);
    let Some(full) = no_room(error).map(ToString::to_string) else { return line };
    let end = line.find(&full).map_or(line.len(), |at| at + full.len());
    format!("{}: free some space there and repeat the command", &line[..end])
}

/// What could not be written because the disk, or the user's part of it, is full.
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
    fn a_cause_is_said_once_and_want_of_room_with_its_remedy() {
        let full = || RecordError::Io { path: "r.json".into(), source: Error::from_raw_os_error(28) };
        let error = Err::<(), _>(full()).context("trial 3").expect_err("an error");
        assert_eq!(
            in_a_line(&error),
            "trial 3: r.json: No space left on device (os error 28): free some space there and repeat the command"
        );
        assert!(no_room(&error).is_some());
        let error =
            Err::<(), _>(Error::from_raw_os_error(13)).context("r.json: cannot be written").expect_err("an error");
        assert_eq!(in_a_line(&error), "r.json: cannot be written: Permission denied (os error 13)");
        assert!(no_room(&error).is_none());
    }
}
