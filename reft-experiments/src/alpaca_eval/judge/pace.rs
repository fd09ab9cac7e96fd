//! Rate limit of requests, and back-off after refusals.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Times between requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestInterval {
    /// Between the beginnings of two requests, over all threads.
    pub interval: Duration,
    /// Before the second attempt, doubled before each further one; of each, between half and all is kept by chance.
    pub first_wait: Duration,
    /// No wait is longer.
    pub longest_wait: Duration,
    /// What a second lasts that the server asks to wait (`Retry-After`): less than a second in tests only.
    pub second: Duration,
}

impl RequestInterval {
    /// So many requests a minute at most.
    pub fn per_minute(requests: u32) -> Self {
        Self {
            interval: Duration::from_mins(1) / requests.max(1),
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_mins(5),
            second: Duration::from_secs(1),
        }
    }

    /// The wait after so many attempts in vain: what the server asked for, or a doubled wait, of which `part` is kept.
    pub fn wait(&self, failed: u32, asked_for: Option<u32>, part: f64) -> Duration {
        if let Some(seconds) = asked_for {
            return self.second.saturating_mul(seconds).min(self.longest_wait);
        }
        let doubled = 2u32.saturating_pow(failed.saturating_sub(1));
        self.first_wait.saturating_mul(doubled).min(self.longest_wait).mul_f64(part)
    }
}

/// Lets requests through one at a time, an interval apart.
#[derive(Debug)]
pub(super) struct RateLimiter {
    interval: Duration,
    next: Mutex<Instant>,
}

impl RateLimiter {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, next: Mutex::new(Instant::now()) }
    }

    /// Waits for one's turn.
    pub(super) fn pass(&self) {
        std::thread::sleep(self.turn(Instant::now()));
    }

    /// Takes the next turn; how long it is until then.
    fn turn(&self, now: Instant) -> Duration {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = now.max(*next);
        *next = turn + self.interval;
        turn - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let pace = RequestInterval::per_minute(60);
        let waits = [1, 2, 3, 4, 40].map(|failed| pace.wait(failed, None, 1.0).as_secs());
        assert_eq!(waits, [1, 2, 4, 8, 300]);
        assert_eq!(pace.wait(3, None, 0.5), Duration::from_secs(2));
    }

    #[test]
    fn a_wait_that_the_server_asks_for_is_kept_to() {
        let pace = RequestInterval::per_minute(60);
        assert_eq!(pace.wait(1, Some(17), 0.5), Duration::from_secs(17));
        assert_eq!(pace.wait(1, Some(u32::MAX), 0.5), pace.longest_wait);
        let quick = RequestInterval { second: Duration::from_millis(1), ..pace };
        assert_eq!(quick.wait(1, Some(17), 0.5), Duration::from_millis(17));
    }

    #[test]
    fn requests_of_all_threads_are_an_interval_apart() {
        let gate = RateLimiter::new(RequestInterval::per_minute(120).interval);
        let now = Instant::now() + Duration::from_secs(9);
        let waits = [0, 0, 0, 1250, 9000].map(|later| gate.turn(now + Duration::from_millis(later)).as_millis());
        assert_eq!(waits, [0, 500, 1000, 250, 0]);
    }
}
