//! Workers as job arrays of Slurm: an array for each rung and one for the test runs, each after the one before. Where trials
//! depend on each other, one array of workers that stay until the sweep is done.
//!
//! A task does pieces of work of its rung, and what is left of those before. Which ones it finds in the sweep's folder, as any
//! worker does: what was decided is frozen there, and a task that is repeated finds its piece done or goes on with it. It never
//! waits for another, because nothing of a rung depends on other pieces of it. Nothing is asked of Slurm's accounting.

use std::num::NonZeroUsize;
use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::config::ConfigError;
use crate::config::read::{typed_at, written};
use crate::sweep::folder::{Survey, Sweep, WorkerAction};
use crate::sweep::search::SearchMethod;
use crate::sweep::view::RunView;
use crate::sweep::work::WorkLimit;

/// What the cluster is asked for, by the names of `sbatch`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// `--partition`.
    pub partition: Option<String>,
    /// `--account`.
    pub account: Option<String>,
    /// `--gres` of a task, such as `gpu:1`.
    pub gres: Option<String>,
    /// `--time` of a task. One that needs longer goes on from its checkpoint.
    pub time: Option<String>,
    /// `--mem` of a task.
    pub mem: Option<String>,
    /// `--cpus-per-task`.
    #[serde(default = "one")]
    pub cpus_per_task: NonZeroUsize,
    /// Tasks that run at once at most.
    #[serde(default = "four")]
    pub throttle: NonZeroUsize,
    /// Pieces of work that a task does at most, one after the other. Short ones then wait in the queue once, and share the model
    /// and what training cannot change of it.
    #[serde(default = "one")]
    pub pieces_per_task: NonZeroUsize,
    /// Seconds before the end of its time at which a task is told, stops and stands in the queue again.
    #[serde(default = "two_minutes")]
    pub warning: u32,
    /// Further options of `sbatch`, each as it is written there.
    #[serde(default)]
    pub options: Vec<String>,
    /// Lines of shell before the work, such as `module load cuda`.
    #[serde(default)]
    pub setup: Vec<String>,
}

/// Keys that are passed on by their own name.
const NAMED: [&str; 5] = ["partition", "account", "gres", "time", "mem"];

/// Options that every script has, so that a second one would undo it.
const SET_HERE: [(&str, &str); 8] = [
    ("array", "throttle and pieces_per_task"),
    ("cpus-per-task", "cpus_per_task"),
    ("partition", "partition"),
    ("account", "account"),
    ("gres", "gres"),
    ("time", "time"),
    ("mem", "mem"),
    ("signal", "warning"),
];

/// What is wrong with an option of `sbatch`, if anything is.
fn own_option(option: &str) -> Option<String> {
    if !option.starts_with('-') {
        return Some(format!("`{option}` is no option: write it as for sbatch, such as --{option}=..."));
    }
    let long = |name: &str| {
        option
            .split_whitespace()
            .any(|part| part.strip_prefix("--").is_some_and(|rest| rest.split('=').next() == Some(name)))
    };
    let (name, key) = SET_HERE.iter().find(|(name, _)| long(name))?;
    Some(format!("--{name} is written by this program: use the key {key}"))
}

/// Leads from a key that is not known to where all options of `sbatch` have a place.
fn towards_options(error: ConfigError) -> ConfigError {
    match error {
        ConfigError::Unknown { place, key, suggestion } => {
            let option = key.replace('_', "-");
            let suggestion = format!("{suggestion}; any other option of sbatch goes under options: [--{option}=...]");
            ConfigError::Unknown { place, key, suggestion }
        }
        other => other,
    }
}

fn one() -> NonZeroUsize {
    NonZeroUsize::MIN
}

fn four() -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(3)
}

fn two_minutes() -> u32 {
    120
}

/// One array.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stage {
    /// Its name, such as `rung-0`.
    pub name: String,
    /// Its tasks.
    pub tasks: usize,
    /// How long each of them works.
    pub until: WorkLimit,
}

/// What the tasks work on, by absolute paths.
#[derive(Clone, Copy, Debug)]
pub struct SlurmWork<'a> {
    /// This program.
    pub program: &'a Path,
    /// The sweep's folder.
    pub folder: &'a Path,
    /// The folder of all runs.
    pub runs: &'a Path,
}

impl Cluster {
    /// Reads a cluster's file.
    ///
    /// # Errors
    /// When it is missing or not valid, or tasks would be told that their time ends before they began.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let written = written(path)?;
        let cluster: Self = typed_at(&written.tree, &written.places).map_err(towards_options)?;
        match cluster.wrong() {
            Some((key, reason)) => Err(ConfigError::value(&written.places, &key, reason)),
            None => Ok(cluster),
        }
    }

    /// The first value that cannot be meant, as its key and what to write.
    fn wrong(&self) -> Option<(String, String)> {
        if let (Some(time), warning) = (&self.time, self.warning)
            && seconds(time).is_some_and(|seconds| seconds <= u64::from(warning))
        {
            let reason = format!("{time} is over before warning: {warning} seconds begin: raise time");
            return Some(("time".to_owned(), reason));
        }
        if let Some(mem) = self.mem.as_ref().filter(|mem| mem.bytes().all(|byte| byte.is_ascii_digit())) {
            let reason = format!("{mem} has no unit, so Slurm would take MiB: write {mem}G or {mem}M");
            return Some(("mem".to_owned(), reason));
        }
        let named = [&self.partition, &self.account, &self.gres, &self.time, &self.mem];
        let named = NAMED.iter().zip(named).filter_map(|(key, value)| Some(((*key).to_owned(), value.as_ref()?)));
        let listed = |key: &'static str, values: &'_ [String]| {
            values.iter().enumerate().map(|(at, value)| (format!("{key}[{at}]"), value.clone())).collect::<Vec<_>>()
        };
        let options = listed("options", &self.options);
        let one_line =
            named.map(|(key, value)| (key, value.clone())).chain(options.clone()).chain(listed("setup", &self.setup));
        if let Some((key, _)) = one_line.into_iter().find(|(_, value)| value.contains('\n')) {
            return Some((key, "goes over several lines: write one".to_owned()));
        }
        options.into_iter().find_map(|(key, option)| Some((key, own_option(&option)?)))
    }

    /// The arrays that a sweep still needs.
    ///
    /// # Errors
    /// When files of the sweep cannot be read or written.
    pub fn stages(&self, sweep: &mut Sweep, survey: &Survey) -> Result<Vec<Stage>> {
        if matches!(sweep.spec.method, SearchMethod::Tpe(_)) {
            let stage = Stage { name: "search".to_owned(), tasks: self.throttle.get(), until: WorkLimit::Done };
            return Ok(if sweep.decide()? == WorkerAction::Done { Vec::new() } else { vec![stage] });
        }
        let (spec, mut room) = (&sweep.spec, survey.trials.len());
        let mut stages = Vec::new();
        let mut stage = |name: String, rung: Option<usize>, pieces: usize| {
            let most = self.pieces_per_task.get();
            // As many as may run at once even if fewer would do.
            let tasks = pieces.div_ceil(most).max(self.throttle.get()).min(pieces);
            stages.push(Stage { name, tasks, until: WorkLimit::Pieces { most, rung } });
        };
        for rung in 0..spec.halving.rungs {
            let past = |view: &&RunView| view.standing.scores.len() > rung || view.failure.is_some();
            let left = room.saturating_sub(survey.trials.iter().filter(past).count());
            stage(format!("rung-{rung}"), Some(rung), left);
            room = spec.halving.go_on(room);
        }
        let last = spec.last.as_ref().map_or(0, |last| last.seeds.len());
        let ended = survey.last.iter().filter(|view| view.complete || view.failure.is_some()).count();
        stage("test".to_owned(), None, last - ended.min(last));
        stages.retain(|stage| stage.tasks > 0);
        Ok(stages)
    }

    /// The script of a stage.
    pub fn script(&self, stage: &Stage, work: SlurmWork<'_>) -> String {
        let quoted = |path: &Path| format!("'{}'", path.display().to_string().replace('\'', r"'\''"));
        let mut options = vec![
            format!("--job-name=reft-{}", stage.name),
            format!("--array=0-{}%{}", stage.tasks.saturating_sub(1), self.throttle),
            format!("--cpus-per-task={}", self.cpus_per_task),
            format!("--output=\"{}/slurm-{}-%A_%a.log\"", work.folder.display(), stage.name),
            "--open-mode=append".to_owned(),
            "--requeue".to_owned(),
            format!("--signal=B:USR1@{}", self.warning),
        ];
        let values = [&self.partition, &self.account, &self.gres, &self.time, &self.mem];
        let named = NAMED.iter().zip(values);
        let given = named.filter_map(|(name, value)| value.as_ref().map(|value| format!("--{name}={value}")));
        options.extend(given.chain(self.options.iter().cloned()));
        let header: String = options.iter().map(|option| format!("#SBATCH {option}\n")).collect();
        let setup: String = self.setup.iter().map(|line| format!("{line}\n")).collect();
        let (program, folder, runs) = (quoted(work.program), quoted(work.folder), quoted(work.runs));
        let threads = self.cpus_per_task;
        let share = match stage.until {
            WorkLimit::Pieces { most, rung: Some(rung) } => format!(" --pieces {most} --rung {rung}"),
            WorkLimit::Pieces { most, rung: None } => format!(" --pieces {most}"),
            WorkLimit::Done | WorkLimit::Orphaned(_) => String::new(),
        };
        format!(
            "#!/bin/bash\n{header}{setup}export OMP_NUM_THREADS={threads} MKL_NUM_THREADS={threads} RAYON_NUM_THREADS={threads}\n\
             # Told that its time ends, the task stops, gives its claim up and stands in the queue again; the checkpoint stays.\n\
             again() {{\n  kill \"$worker\"; wait \"$worker\"\n  {program} sweep release {folder} --runs {runs}\n  scontrol \
             requeue \"$SLURM_JOB_ID\"\n}}\ntrap again USR1\n{program} sweep work {folder} --runs {runs}{share} &\nworker=$!\n\
             wait \"$worker\"\n"
        )
    }
}

/// A time as `sbatch` reads it: minutes, minutes:seconds, hours:minutes:seconds, or days-hours with what follows. None if it is
/// no such time, which `sbatch` will say.
fn seconds(time: &str) -> Option<u64> {
    let (days, clock) = time.split_once('-').map_or((None, time), |(days, clock)| (Some(days), clock));
    let number = |text: &str| text.parse::<u32>().ok().map(u64::from);
    let parts: Vec<u64> = clock.split(':').map(number).collect::<Option<_>>()?;
    let (hours, minutes, seconds) = match (days, parts.as_slice()) {
        (None, [minutes]) => (0, *minutes, 0),
        (None, [minutes, seconds]) => (0, *minutes, *seconds),
        (Some(_), [hours]) => (*hours, 0, 0),
        (Some(_), [hours, minutes]) => (*hours, *minutes, 0),
        (_, [hours, minutes, seconds]) => (*hours, *minutes, *seconds),
        _ => return None,
    };
    let days = days.map_or(Some(0), number)?;
    Some(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_sbatch() {
        let times = [("90", 5400), ("1:30", 90), ("02:00:01", 7201), ("1-0", 86400), ("1-2:30", 95400), ("0-0:0:5", 5)];
        for (time, expected) in times {
            assert_eq!(seconds(time), Some(expected), "{time}");
        }
        assert_eq!([seconds("soon"), seconds("UNLIMITED"), seconds("1:2:3:4"), seconds("x-1")], [None; 4]);
    }

    #[test]
    fn a_script_asks_for_what_the_file_says_and_goes_back_into_the_queue() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("c.yaml");
        let text = "partition: gpu\naccount: me\ngres: gpu:1\ntime: '02:00:00'\nmem: 40G\ncpus_per_task: 8\nthrottle: 6\n\
                    options: [--constraint=a100]\nsetup: [module load cuda]\n";
        std::fs::write(&path, text).expect("writable");
        let cluster = Cluster::read(&path).expect("valid");
        let work = SlurmWork { program: Path::new("/bin/reft"), folder: Path::new("/r/it's"), runs: Path::new("/r") };
        let stage = Stage { name: "rung-0".to_owned(), tasks: 24, until: WorkLimit::Pieces { most: 1, rung: Some(0) } };
        insta::assert_snapshot!(cluster.script(&stage, work));
        let said = [
            (
                "partitoin: gpu\n",
                "c.yaml:1: unknown key `partitoin` (did you mean `partition`?): there is partition, account,",
            ),
            ("cpus-per-task: 2\n", "c.yaml:1: unknown key `cpus-per-task` (did you mean `cpus_per_task`?)"),
            ("partition: a\nqos: normal\n", "c.yaml:2: unknown key `qos`"),
            ("gpus_per_node: 1\n", "any other option of sbatch goes under options: [--gpus-per-node=...]"),
            ("pieces_per_task: 0\n", "c.yaml:1: pieces_per_task: 0 is too small: at least 1"),
            ("throttle: 2.5\n", "c.yaml:1: throttle: 2.5 is not a whole number: write 2 or 3"),
            ("time: '2'\n", "c.yaml:1: time: 2 is over before warning: 120 seconds begin: raise time"),
            ("time: 00:01:00\n", "c.yaml:1: time: 00:01:00 is over before warning"),
            ("mem: 48\n", "c.yaml:1: mem: 48 has no unit, so Slurm would take MiB: write 48G or 48M"),
            ("mem: 4.5\n", "c.yaml:1: mem: 4.5 is a number: put it in quotes"),
            (
                "setup: module load cuda\n",
                "c.yaml:1: setup: `module load cuda` is not a list: write [module load cuda]",
            ),
            (
                "options: [exclusive]\n",
                "c.yaml:1: options[0]: `exclusive` is no option: write it as for sbatch, such as --exclusive=...",
            ),
            (
                "options:\n- -q x\n- --array=0-3\n",
                "c.yaml:3: options[1]: --array is written by this program: use the key throttle",
            ),
            ("partition: \"a\\nb\"\n", "c.yaml:1: partition: goes over several lines: write one"),
        ];
        for (text, expected) in said {
            std::fs::write(&path, text).expect("writable");
            let error = Cluster::read(&path).expect_err("refused").to_string();
            assert!(error.contains(expected), "`{expected}` is not in: {error}");
        }
    }

    #[test]
    fn times_and_texts_that_look_like_numbers_are_passed_on_as_they_are_written() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("c.yaml");
        for (text, time) in
            [("time: 04:00:00", "04:00:00"), ("time: 240", "240"), ("time: 1-0", "1-0"), ("time: 1:30:00", "1:30:00")]
        {
            std::fs::write(&path, text).expect("writable");
            let cluster = Cluster::read(&path).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(cluster.time.as_deref(), Some(time), "{text}");
        }
    }
}
