//! Control groups: what a container, or a job of a cluster, may use of its machine.
//!
//! Version 2 has one hierarchy, version 1 one for each controller; both may be mounted, in whole or in part. A limit holds for
//! everything below it, so all groups from this process's up to the mount's root count.

use std::path::{Component, Path, PathBuf};

/// The interface of a group's files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum CgroupVersion {
    V1,
    V2,
}

/// A group.
#[derive(Clone, PartialEq, Eq, Debug)]
struct ControlGroup {
    folder: PathBuf,
    version: CgroupVersion,
}

/// The groups of this process that limit something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cgroups {
    memory: Vec<ControlGroup>,
    cpu: Vec<ControlGroup>,
}

/// A mounted hierarchy, from a line of `mountinfo`.
struct Mount<'t> {
    version: CgroupVersion,
    /// The group that the mount point shows.
    root: &'t str,
    point: String,
    /// Of version 1: its controllers, among other options.
    options: &'t str,
}

impl Cgroups {
    /// Of this process, on a machine whose file system has this root.
    pub fn of(root: &Path) -> Self {
        let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap_or_default();
        let (mounts, membership) = (read("proc/self/mountinfo"), read("proc/self/cgroup"));
        let mounts: Vec<Mount<'_>> = mounts.lines().filter_map(Mount::parse).collect();
        let groups = |controller: &str| {
            let mut groups = Vec::new();
            for mount in mounts.iter().filter(|mount| mount.has(controller)) {
                let member = membership.lines().find_map(|line| mount.member(line, controller));
                groups.extend(member.into_iter().flat_map(|path| mount.groups(root, path)));
            }
            groups
        };
        Self { memory: groups("memory"), cpu: groups("cpu") }
    }

    /// Bytes that this process can still take before a limit of memory is reached; none without a limit. File cache that the
    /// kernel gives up first does not count as taken.
    pub fn memory(&self) -> Option<usize> {
        self.memory.iter().filter_map(ControlGroup::memory).min()
    }

    /// Cores' worth of time that this process may use; none without a limit.
    pub fn cores(&self) -> Option<f64> {
        self.cpu.iter().filter_map(ControlGroup::cores).reduce(f64::min)
    }
}

impl<'t> Mount<'t> {
    /// `36 35 98:0 ROOT POINT OPTIONS … - TYPE SOURCE OPTIONS`.
    fn parse(line: &'t str) -> Option<Self> {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let mut kind = kind.split(' ');
        let version = match kind.next()? {
            "cgroup" => CgroupVersion::V1,
            "cgroup2" => CgroupVersion::V2,
            _ => return None,
        };
        Some(Self { version, root: place.next()?, point: unescaped(place.next()?), options: kind.nth(1).unwrap_or("") })
    }

    fn has(&self, controller: &str) -> bool {
        self.version == CgroupVersion::V2 || self.options.split(',').any(|option| option == controller)
    }

    /// The path in a line `NUMBER:CONTROLLERS:PATH` of `/proc/self/cgroup`, if it is about this hierarchy.
    fn member<'m>(&self, line: &'m str, controller: &str) -> Option<&'m str> {
        let mut parts = line.splitn(3, ':');
        let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let about = match self.version {
            CgroupVersion::V1 => controllers.split(',').any(|name| name == controller),
            CgroupVersion::V2 => number == "0" && controllers.is_empty(),
        };
        about.then_some(path)
    }

    /// The group at `path` and those around it, up to the mount's root. A path that the mount does not show, as in a
    /// container, stands for the root.
    fn groups(&self, root: &Path, path: &str) -> Vec<ControlGroup> {
        let point = root.join(self.point.trim_start_matches('/'));
        let below = Path::new(path).strip_prefix(self.root).unwrap_or(Path::new(""));
        let plain = below.components().all(|part| matches!(part, Component::Normal(_)));
        let below = if plain && point.join(below).is_dir() { below } else { Path::new("") };
        let version = self.version;
        below.ancestors().map(|part| ControlGroup { folder: point.join(part), version }).collect()
    }
}

/// A path of `mountinfo`, where spaces and the like are written as `\040`.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => whole.extend([char::from(byte)].into_iter().chain(part[3..].chars())),
            None => whole.extend(['\\'].into_iter().chain(part.chars())),
        }
    }
    whole
}

impl ControlGroup {
    fn number(&self, file: &str) -> Option<usize> {
        std::fs::read_to_string(self.folder.join(file)).ok()?.trim().parse().ok()
    }

    fn memory(&self) -> Option<usize> {
        let (limit, used, cache) = match self.version {
            CgroupVersion::V2 => ("memory.max", "memory.current", ["active_file", "inactive_file"]),
            CgroupVersion::V1 => {
                ("memory.limit_in_bytes", "memory.usage_in_bytes", ["total_active_file", "total_inactive_file"])
            }
        };
        // Version 2 says `max` for no limit, version 1 the largest number of pages.
        let limit = self.number(limit).filter(|&limit| limit < 1 << 60)?;
        let stat = std::fs::read_to_string(self.folder.join("memory.stat")).unwrap_or_default();
        let of = |name: &str| {
            let of_line = |line: &str| line.strip_prefix(name)?.trim().parse::<usize>().ok();
            stat.lines().find_map(of_line).unwrap_or(0)
        };
        let used = self.number(used)?.saturating_sub(cache.into_iter().map(of).sum());
        Some(limit.saturating_sub(used))
    }

    fn cores(&self) -> Option<f64> {
        let (quota, period) = match self.version {
            CgroupVersion::V2 => {
                let text = std::fs::read_to_string(self.folder.join("cpu.max")).ok()?;
                let mut numbers = text.split_whitespace().map(str::parse::<f64>);
                (numbers.next()?.ok()?, numbers.next()?.ok()?)
            }
            // Without a limit the quota is -1, which is no such number.
            CgroupVersion::V1 => (self.number("cpu.cfs_quota_us")? as f64, self.number("cpu.cfs_period_us")? as f64),
        };
        (quota > 0.0 && period > 0.0).then_some(quota / period)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::tree;
    use super::*;

    const V2: &str = "30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    const V1: &str = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      36 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n";

    fn cgroups(files: &[(&str, &str)]) -> (Option<usize>, Option<f64>) {
        let root = tree(files);
        let cgroups = Cgroups::of(root.path());
        (cgroups.memory(), cgroups.cores())
    }

    #[test]
    fn the_tightest_group_around_the_process_counts_and_file_cache_is_free() {
        let limits = cgroups(&[
            ("proc/self/mountinfo", V2),
            ("proc/self/cgroup", "0::/job/step\n"),
            ("sys/fs/cgroup/job/memory.max", "9000\n"),
            ("sys/fs/cgroup/job/memory.current", "8500\n"),
            ("sys/fs/cgroup/job/memory.stat", "anon 7000\ninactive_file 300\nactive_file 200\n"),
            ("sys/fs/cgroup/job/cpu.max", "150000 100000\n"),
            ("sys/fs/cgroup/job/step/memory.max", "max\n"),
            ("sys/fs/cgroup/job/step/memory.current", "10\n"),
            ("sys/fs/cgroup/job/step/cpu.max", "max 100000\n"),
        ]);
        assert_eq!(limits, (Some(1000), Some(1.5)));
        let tighter = cgroups(&[
            ("proc/self/mountinfo", V2),
            ("proc/self/cgroup", "0::/job/step\n"),
            ("sys/fs/cgroup/job/memory.max", "9000\n"),
            ("sys/fs/cgroup/job/memory.current", "100\n"),
            ("sys/fs/cgroup/job/step/memory.max", "400\n"),
            ("sys/fs/cgroup/job/step/memory.current", "500\n"),
        ]);
        assert_eq!(tighter, (Some(0), None));
    }

    #[test]
    fn a_container_shows_its_own_group_as_the_root() {
        for membership in ["0::/\n", "0::/../elsewhere\n", "0::/docker/0a1b\n"] {
            let limits = cgroups(&[
                ("proc/self/mountinfo", V2),
                ("proc/self/cgroup", membership),
                ("sys/fs/cgroup/memory.max", "4096"),
                ("sys/fs/cgroup/memory.current", "96"),
            ]);
            assert_eq!(limits, (Some(4000), None), "{membership}");
        }
        let part = "30 23 0:26 /docker/0a1b /sys/fs/cgr\\040oup ro - cgroup2 cgroup2 rw\n";
        let limits = cgroups(&[
            ("proc/self/mountinfo", part),
            ("proc/self/cgroup", "0::/docker/0a1b/inner\n"),
            ("sys/fs/cgr oup/inner/memory.max", "50"),
            ("sys/fs/cgr oup/inner/memory.current", "20"),
        ]);
        assert_eq!(limits, (Some(30), None));
    }

    #[test]
    fn version_1_has_a_hierarchy_for_each_controller() {
        let limits = cgroups(&[
            ("proc/self/mountinfo", V1),
            ("proc/self/cgroup", "8:memory:/slurm/job_7\n3:cpu,cpuacct:/slurm\n1:name=systemd:/x\n0::/\n"),
            ("sys/fs/cgroup/memory/slurm/job_7/memory.limit_in_bytes", "2000"),
            ("sys/fs/cgroup/memory/slurm/job_7/memory.usage_in_bytes", "1500"),
            (
                "sys/fs/cgroup/memory/slurm/job_7/memory.stat",
                "inactive_file 1\ntotal_inactive_file 200\ntotal_active_file 0\n",
            ),
            ("sys/fs/cgroup/memory/slurm/memory.limit_in_bytes", "9223372036854771712"),
            ("sys/fs/cgroup/memory/slurm/memory.usage_in_bytes", "100"),
            ("sys/fs/cgroup/cpu,cpuacct/slurm/cpu.cfs_quota_us", "400000"),
            ("sys/fs/cgroup/cpu,cpuacct/slurm/cpu.cfs_period_us", "100000"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000"),
        ]);
        assert_eq!(limits, (Some(700), Some(4.0)));
    }

    #[test]
    fn where_nothing_is_known_nothing_is_limited() {
        assert_eq!(cgroups(&[]), (None, None));
        assert_eq!(
            cgroups(&[("proc/self/mountinfo", "nonsense\n\n1 2 - cgroup\n"), ("proc/self/cgroup", "a:b\n")]),
            (None, None)
        );
    }
}
