//! Processes that train together: libtorch's own c10d with Gloo.
//!
//! A [`ProcessGroup`] sums a tensor over all of its ranks (all-reduce) and gives all of them rank 0's (broadcast), which is all
//! that data-parallel training of an adaptation needs: the base model is frozen, so the gradient is one flat tensor of the
//! trainable parameters.

#![allow(unsafe_code)] // Foreign functions on a handle that the group owns, and on tensors that outlive the call.

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::NonNull;
use std::time::Duration;

use tch::{Device, Tensor};
use torch_sys::C_tensor;

unsafe extern "C" {
    fn reft_group_failure() -> *const c_char;
    fn reft_group_join(
        host: *const c_char,
        port: u16,
        rank: i32,
        size: i32,
        address: *const c_char,
        timeout_ms: i64,
    ) -> *mut c_void;
    fn reft_group_sum(group: *mut c_void, values: *const C_tensor) -> bool;
    fn reft_group_broadcast(group: *mut c_void, values: *const C_tensor) -> bool;
    fn reft_group_leave(group: *mut c_void);
}

/// Where the ranks of a group meet, and which of them this process is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rendezvous {
    /// The machine of rank 0.
    pub host: String,
    /// Where rank 0 listens there.
    pub port: u16,
    /// This process, from 0.
    pub rank: usize,
    /// Processes in all.
    pub size: usize,
}

/// A group that could not be joined, or has lost a rank.
#[derive(Debug, thiserror::Error)]
#[error(
    "rank {rank} of {size}: {doing}: {reason}: another process has ended or cannot be reached; its own message says why"
)]
pub struct GroupError {
    rank: usize,
    size: usize,
    doing: &'static str,
    reason: String,
}

/// Processes that have met.
#[derive(Debug)]
pub struct ProcessGroup {
    handle: NonNull<c_void>,
    rank: usize,
    size: usize,
}

impl ProcessGroup {
    /// Meets the other ranks; a rank that is missing for longer than `timeout` is an error, then and in every later sum.
    ///
    /// # Errors
    /// When one does not come, or the address cannot be used.
    pub fn join(at: &Rendezvous, timeout: Duration) -> Result<Self, GroupError> {
        let Rendezvous { host, port, rank, size } = at;
        // On one machine the loopback device serves; whichever name the machine has for itself need not resolve.
        let local = matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1");
        let address = CString::new(if local { host.as_str() } else { "" }).expect("no NUL in a name of this file");
        let error = |reason: String| GroupError { rank: *rank, size: *size, doing: "joining the group", reason };
        let host = CString::new(host.as_str()).map_err(|_| error("the host's name holds a NUL byte".to_owned()))?;
        let timeout = timeout.as_millis() as i64;
        let handle =
            unsafe { reft_group_join(host.as_ptr(), *port, *rank as i32, *size as i32, address.as_ptr(), timeout) };
        match NonNull::new(handle) {
            Some(handle) => Ok(Self { handle, rank: *rank, size: *size }),
            None => Err(error(failure())),
        }
    }

    /// Whether this is rank 0, which writes files and speaks for all.
    pub fn leads(&self) -> bool {
        self.rank == 0
    }

    /// This process among them, from 0.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// How many they are.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Adds a tensor `[N]` of every rank to this one's, in place, on any device: all ranks then hold the same bits. Gloo works in
    /// the memory of the CPU, so values of other devices travel through it.
    ///
    /// # Errors
    /// When a rank has ended or does not answer in time.
    pub fn sum(&self, values: &mut Tensor) -> Result<(), GroupError> {
        self.collective(values, "summing gradients", reft_group_sum)
    }

    /// Replaces a tensor `[N]` of any type by rank 0's, in place, on any device.
    ///
    /// # Errors
    /// When a rank has ended or does not answer in time.
    pub fn broadcast(&self, values: &mut Tensor) -> Result<(), GroupError> {
        self.collective(values, "waiting for rank 0", reft_group_broadcast)
    }

    fn collective(
        &self,
        values: &mut Tensor,
        doing: &'static str,
        run: unsafe extern "C" fn(*mut c_void, *const C_tensor) -> bool,
    ) -> Result<(), GroupError> {
        let on_cpu = values.to_device(Device::Cpu).contiguous();
        if !unsafe { run(self.handle.as_ptr(), on_cpu.as_ptr()) } {
            return Err(GroupError { rank: self.rank, size: self.size, doing, reason: failure() });
        }
        if values.data_ptr() != on_cpu.data_ptr() {
            tch::no_grad(|| values.copy_(&on_cpu));
        }
        Ok(())
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        unsafe { reft_group_leave(self.handle.as_ptr()) }
    }
}

/// The first line of what c10d said last in this thread.
fn failure() -> String {
    let said = unsafe { CStr::from_ptr(reft_group_failure()) }.to_string_lossy();
    without_place(said.lines().next().unwrap_or_default()).to_owned()
}

/// A message of Gloo's without the place in its sources, which it begins with: `[/path/pair.cc:547] Connection closed by peer`.
fn without_place(said: &str) -> &str {
    let place = said.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    place.filter(|(place, _)| place.contains(".cc:")).map_or(said, |(_, what)| what)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn places_in_the_librarys_sources_are_left_out() {
        for (said, expected) in [
            (
                "[/tmp/gloo/pair.cc:547] Connection closed by peer [127.0.0.1]:57",
                "Connection closed by peer [127.0.0.1]:57",
            ),
            ("[127.0.0.1] refused", "[127.0.0.1] refused"),
            ("timed out", "timed out"),
        ] {
            assert_eq!(without_place(said), expected);
        }
    }

    fn free_port() -> u16 {
        TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr()).expect("a free port").port()
    }

    fn meeting(port: u16, rank: usize) -> Rendezvous {
        Rendezvous { host: "127.0.0.1".to_owned(), port, rank, size: 3 }
    }

    #[test]
    fn every_rank_holds_the_sum_and_what_rank_0_says() {
        let port = free_port();
        let of = move |rank: usize| {
            let group = ProcessGroup::join(&meeting(port, rank), Duration::from_mins(1)).expect("three ranks meet");
            let mut values = Tensor::from_slice(&[1.0f32, rank as f32]);
            group.sum(&mut values).expect("three ranks answer");
            let mut number = Tensor::from_slice(&[7 - rank as i64]);
            group.broadcast(&mut number).expect("three ranks answer");
            assert_eq!(number.int64_value(&[0]), 7);
            Vec::<f32>::try_from(&values).expect("two values")
        };
        let ranks: Vec<_> = (0..3).map(|rank| std::thread::spawn(move || of(rank))).collect();
        for rank in ranks {
            assert_eq!(rank.join().expect("no panic"), [3.0, 3.0]);
        }
    }

    #[test]
    fn a_rank_that_leaves_is_an_error_of_one_line() {
        let port = free_port();
        let join = move |rank: usize| {
            ProcessGroup::join(&meeting(port, rank), Duration::from_secs(30)).expect("three ranks meet")
        };
        // Rank 0, where the ranks meet, stays until rank 1 has its error; rank 2 leaves as soon as it has joined.
        let (failed, until_failed) = std::sync::mpsc::channel::<String>();
        let hosts = std::thread::spawn(move || {
            let group = join(0);
            let _ = group.sum(&mut Tensor::from_slice(&[1.0f32]));
            until_failed.recv()
        });
        let sums = std::thread::spawn(move || {
            let error = join(1).sum(&mut Tensor::from_slice(&[1.0f32])).expect_err("a rank has left");
            failed.send(error.to_string()).expect("rank 0 waits");
        });
        let leaves = std::thread::spawn(move || drop(join(2)));
        let said = hosts.join().expect("no panic").expect("rank 1 has an error");
        sums.join().expect("no panic");
        leaves.join().expect("no panic");
        assert!(said.starts_with("rank 1 of 3: summing gradients: ") && !said.contains('\n'), "{said}");
    }
}
