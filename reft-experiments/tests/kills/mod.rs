//! Sweeps whose processes are killed while they work.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::sweeps::progress;

/// Child processes of a process.
fn children(parent: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn kill(pid: u32) {
    Command::new("kill").args(["-9", &pid.to_string()]).stderr(Stdio::null()).status().expect("kill is there");
}

/// Starts a driver that writes below `runs` so many times, and kills it, its workers, or both at another moment each time.
pub fn killed_time_and_again(start: &dyn Fn() -> Child, runs: &Path, times: usize) {
    for kills in 0..times {
        let mut driver = start();
        let (began, from) = (Instant::now(), progress(runs));
        // A few updates further each time, or before anything was written.
        while progress(runs) < from + 3 * (kills % 4) {
            assert!(began.elapsed() < Duration::from_mins(2), "no progress");
            if driver.try_wait().expect("a child").is_some() {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        let workers = children(driver.id());
        // Worker, driver, or both: an orphan ends its trial while the next driver works already.
        if kills % 3 != 0 {
            workers.iter().take(1 + kills % 2).for_each(|&worker| kill(worker));
        }
        if kills % 3 == 1 {
            thread::sleep(Duration::from_millis(300));
        }
        kill(driver.id());
        driver.wait().expect("reaped");
    }
}
