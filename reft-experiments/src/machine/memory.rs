//! How much memory this process can still take.

use std::path::Path;

use super::Env;
use super::cgroup::Cgroups;

/// Who limits it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum MemoryLimit {
    /// What the machine has.
    Machine,
    /// A control group: a container, a service, a job of a cluster.
    Cgroup,
    /// What was asked of Slurm with `--mem` or `--mem-per-cpu`.
    Slurm,
}

impl std::fmt::Display for MemoryLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Machine => "this machine",
            Self::Cgroup => "the memory limit of this container or job (control group)",
            Self::Slurm => "this Slurm job's --mem",
        })
    }
}

/// Memory that is left.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct AvailableMemory {
    /// Bytes.
    pub bytes: usize,
    /// Whose limit is met first.
    pub limit: MemoryLimit,
}

impl AvailableMemory {
    /// With so many bytes more, which this process holds already.
    #[must_use]
    pub fn plus(self, bytes: usize) -> Self {
        Self { bytes: self.bytes + bytes, ..self }
    }
}

/// The memory left to this process on a machine whose file system has this root; none where nothing is known.
pub fn available(root: &Path, env: Env<'_>) -> Option<AvailableMemory> {
    let machine =
        kib(root, "proc/meminfo", "MemAvailable:").map(|bytes| AvailableMemory { bytes, limit: MemoryLimit::Machine });
    let cgroup = Cgroups::of(root).memory().map(|bytes| AvailableMemory { bytes, limit: MemoryLimit::Cgroup });
    let held = kib(root, "proc/self/status", "VmRSS:").unwrap_or(0);
    let slurm =
        slurm(env).map(|bytes| AvailableMemory { bytes: bytes.saturating_sub(held), limit: MemoryLimit::Slurm });
    [machine, cgroup, slurm].into_iter().flatten().min()
}

/// A line `KEY 12 kB` of a file of `/proc`, in bytes; none where the system does not say it.
pub fn kib(root: &Path, file: &str, key: &str) -> Option<usize> {
    let text = std::fs::read_to_string(root.join(file)).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().strip_suffix(" kB")?.parse::<usize>().ok().map(|kib| kib << 10)
}

/// Bytes that Slurm gave this job on this node; none outside a job, and none for a whole node, which is said by 0.
fn slurm(env: Env<'_>) -> Option<usize> {
    env("SLURM_JOB_ID")?;
    let number = |name: &str| env(name)?.trim().parse::<usize>().ok().filter(|&number| number > 0);
    let of_cpus = || {
        let cpus = number("SLURM_CPUS_ON_NODE").or_else(|| number("SLURM_CPUS_PER_TASK")).unwrap_or(1);
        Some(number("SLURM_MEM_PER_CPU")? * cpus)
    };
    number("SLURM_MEM_PER_NODE").or_else(of_cpus).map(|mib| mib << 20)
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    const MACHINE: [(&str, &str); 2] = [
        ("proc/meminfo", "MemTotal: 9000 kB\nMemAvailable:    8192 kB\n"),
        ("proc/self/status", "VmRSS:\t    1024 kB\n"),
    ];

    fn left(files: &[(&str, &str)], variables: &[(&str, &str)]) -> Option<(usize, MemoryLimit)> {
        let available = available(testing::tree(files).path(), &testing::env(variables));
        available.map(|AvailableMemory { bytes, limit }| (bytes, limit))
    }

    #[test]
    fn the_least_of_machine_control_group_and_slurm_is_left() {
        assert_eq!(left(&[], &[]), None);
        assert_eq!(left(&MACHINE, &[]), Some((8 << 20, MemoryLimit::Machine)));
        let group = |max: &str| {
            let mount = ("proc/self/mountinfo", "1 1 0:1 / /cg rw - cgroup2 none rw\n");
            let files = [mount, ("proc/self/cgroup", "0::/\n"), ("cg/memory.max", max), ("cg/memory.current", "24")];
            left(&[&MACHINE[..], &files].concat(), &[])
        };
        assert_eq!(group("1024"), Some((1000, MemoryLimit::Cgroup)));
        assert_eq!(group("99999999"), Some((8 << 20, MemoryLimit::Machine)));
        assert_eq!(group("max"), Some((8 << 20, MemoryLimit::Machine)));
    }

    #[test]
    fn slurm_tells_what_was_asked_for_within_a_job_only() {
        let slurm = |variables: &[(&str, &str)]| left(&MACHINE, &[&[("SLURM_JOB_ID", "7")], variables].concat());
        assert_eq!(slurm(&[("SLURM_MEM_PER_NODE", "4")]), Some((3 << 20, MemoryLimit::Slurm)));
        assert_eq!(
            slurm(&[("SLURM_MEM_PER_CPU", "2"), ("SLURM_CPUS_ON_NODE", "3")]),
            Some((5 << 20, MemoryLimit::Slurm))
        );
        assert_eq!(slurm(&[("SLURM_MEM_PER_NODE", "0")]), Some((8 << 20, MemoryLimit::Machine)));
        assert_eq!(left(&MACHINE, &[("SLURM_MEM_PER_NODE", "4")]), Some((8 << 20, MemoryLimit::Machine)));
    }
}
