//! How many cores this process may use.

use std::collections::BTreeSet;
use std::path::Path;

use super::Env;
use super::cgroup::Cgroups;

/// Cores for this process: those that its affinity mask leaves (a core's hardware threads count once, as in libtorch: they
/// share the units that products need), no more than the quota of its control groups and Slurm's allocation.
pub fn usable(root: &Path, env: Env<'_>) -> usize {
    let limits = [affinity(root), Cgroups::of(root).cores().map(|cores| cores.round() as usize), slurm(env)];
    let fallback = || std::thread::available_parallelism().map_or(1, usize::from);
    limits.into_iter().flatten().min().unwrap_or_else(fallback).max(1)
}

/// Cores of the affinity mask.
fn affinity(root: &Path) -> Option<usize> {
    let status = std::fs::read_to_string(root.join("proc/self/status")).ok()?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let topology = |cpu: usize| {
        let folder = root.join(format!("sys/devices/system/cpu/cpu{cpu}/topology"));
        let siblings = std::fs::read_to_string(folder.join("thread_siblings_list")).ok();
        siblings.map_or_else(|| cpu.to_string(), |siblings| siblings.trim().to_owned())
    };
    let cores: BTreeSet<String> = cpus(list)?.into_iter().map(topology).collect();
    Some(cores.len())
}

/// A list of the kernel, such as `0-3,8`.
fn cpus(list: &str) -> Option<Vec<usize>> {
    let mut all = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        all.extend(first.trim().parse::<usize>().ok()?..=last.trim().parse::<usize>().ok()?);
    }
    Some(all)
}

/// What Slurm gave each of this job's tasks.
fn slurm(env: Env<'_>) -> Option<usize> {
    env("SLURM_CPUS_PER_TASK")?.trim().parse().ok().filter(|&cpus| cpus > 0)
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    const FOUR_CORES: [(&str, &str); 5] = [
        ("proc/self/status", "Name:\treft\nCpus_allowed_list:\t0-4,7\n"),
        ("sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "0,4\n"),
        ("sys/devices/system/cpu/cpu4/topology/thread_siblings_list", "0,4\n"),
        ("sys/devices/system/cpu/cpu3/topology/thread_siblings_list", "3,7\n"),
        ("sys/devices/system/cpu/cpu7/topology/thread_siblings_list", "3,7\n"),
    ];

    fn cores(files: &[(&str, &str)], variables: &[(&str, &str)]) -> usize {
        usable(testing::tree(files).path(), &testing::env(variables))
    }

    #[test]
    fn cores_of_the_affinity_mask_count_once() {
        assert_eq!(cores(&FOUR_CORES, &[]), 4);
    }

    #[test]
    fn quotas_and_slurm_limit_them_further() {
        assert_eq!(cores(&FOUR_CORES, &[("SLURM_CPUS_PER_TASK", "3")]), 3);
        assert_eq!(cores(&FOUR_CORES, &[("SLURM_CPUS_PER_TASK", "64")]), 4);
        let quota = |max: &str| {
            let mount = ("proc/self/mountinfo", "1 1 0:1 / /cg rw - cgroup2 none rw\n");
            let files = [&FOUR_CORES[..], &[mount, ("proc/self/cgroup", "0::/\n"), ("cg/cpu.max", max)]].concat();
            cores(&files, &[])
        };
        assert_eq!([quota("max 100000"), quota("200000 100000"), quota("10000 100000")], [4, 2, 1]);
    }
}
