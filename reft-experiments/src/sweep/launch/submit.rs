//! Submitting arrays to Slurm.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::slurm::{Cluster, SlurmWork, Stage};

impl Cluster {
    /// Submits the stages, each to begin when the one before has ended, however it did. `accepted` is told of each as soon as
    /// it has a number.
    ///
    /// # Errors
    /// When `sbatch` is missing or refuses; stages that were submitted stay.
    pub fn submit(&self, stages: &[Stage], work: SlurmWork<'_>, accepted: &mut dyn FnMut(&Stage, &str)) -> Result<()> {
        let mut before: Option<String> = None;
        for stage in stages {
            let path = work.folder.join(format!("slurm-{}.sh", stage.name));
            crate::atomic::write(&path, self.script(stage, work).as_bytes())
                .with_context(|| format!("{}: cannot be written", path.display()))?;
            let mut command = slurm("sbatch");
            command.arg("--parsable");
            if let Some(before) = &before {
                command.arg(format!("--dependency=afterany:{before}"));
            }
            let output =
                command.arg(&path).output().context("sbatch: cannot be started: submit on a machine with Slurm")?;
            let (said, reason) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            if !output.status.success() {
                bail!("{}: refused by sbatch: {}{}", path.display(), whole(&reason), self.remedy(&reason, stage));
            }
            let Some(job) = job_number(&said) else {
                bail!(
                    "{}: sbatch gave no job number, but said: {}: look for the job with squeue",
                    path.display(),
                    whole(&said)
                );
            };
            accepted(stage, job);
            before = Some(job.to_owned());
        }
        Ok(())
    }

    /// What to do about a refusal, where that is known.
    fn remedy(&self, reason: &str, stage: &Stage) -> String {
        if !reason.contains("Invalid job array specification") {
            return String::new();
        }
        let (tasks, pieces) = (stage.tasks, self.pieces_per_task);
        format!(": an array of {tasks} tasks is more than this site allows: raise pieces_per_task ({pieces} now)")
    }
}

/// A program of Slurm's. What an interactive job was given is no request of this one's: `SLURM_MEM_PER_CPU` beside `--mem` is
/// refused.
fn slurm(program: &str) -> Command {
    let mut command = Command::new(program);
    let given = std::env::vars_os().map(|(name, _)| name);
    let of_job = |name: &std::ffi::OsString| name.to_string_lossy().starts_with("SLURM_") && name != "SLURM_CONF";
    given.filter(of_job).for_each(|name| {
        command.env_remove(name);
    });
    command
}

/// The job's number in what `sbatch --parsable` said: `number` or `number;cluster`, after whatever else the site says.
fn job_number(said: &str) -> Option<&str> {
    let numbers = said.lines().map(str::trim).filter_map(|line| line.split(';').next());
    numbers.rev().find(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// All lines of a reason in one, without the program's name before each.
fn whole(reason: &str) -> String {
    let line = |line: &str| {
        let line = line.trim();
        let line = line.strip_prefix("sbatch: ").unwrap_or(line);
        line.strip_prefix("error: ").unwrap_or(line).trim().to_owned()
    };
    let lines: Vec<String> = reason.lines().map(line).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() { "no reason given".to_owned() } else { lines.join("; ") }
}

/// Tasks of an array at most on this site, where Slurm says so.
pub fn largest_array() -> Option<usize> {
    let output = slurm("scontrol").args(["show", "config"]).output().ok().filter(|output| output.status.success())?;
    max_array_size(&String::from_utf8_lossy(&output.stdout))
}

/// `MaxArraySize` is one more than the largest index, so it is the number of tasks that begin with index 0.
fn max_array_size(config: &str) -> Option<usize> {
    let value = config.lines().find_map(|line| line.trim().strip_prefix("MaxArraySize")?.trim().strip_prefix('='));
    value.and_then(|value| value.trim().parse().ok()).filter(|&size| size > 0)
}

/// Stages of more tasks than an array may have, as several of them. A task does whatever piece is left, so it makes no
/// difference which array it belongs to.
pub fn split(stages: Vec<Stage>, largest: Option<usize>) -> Vec<Stage> {
    let Some(largest) = largest else { return stages };
    let parts = |stage: Stage| {
        let parts = stage.tasks.div_ceil(largest);
        if parts < 2 {
            return vec![stage];
        }
        let tasks = |part: usize| largest.min(stage.tasks - part * largest);
        (0..parts)
            .map(|part| Stage {
                name: format!("{}-part-{}", stage.name, part + 1),
                tasks: tasks(part),
                ..stage.clone()
            })
            .collect()
    };
    stages.into_iter().flat_map(parts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::work::WorkLimit;

    #[test]
    fn a_job_s_number_is_found_below_banners() {
        let cases = [
            ("123\n", Some("123")),
            ("123;cluster\n", Some("123")),
            ("Welcome: 80 % used\n4001\n", Some("4001")),
            ("2026 maintenance\n77;east\n\nbye\n", Some("77")),
            ("12 jobs are waiting\n", None),
            ("", None),
        ];
        for (said, expected) in cases {
            assert_eq!(job_number(said), expected, "{said:?}");
        }
    }

    #[test]
    fn reasons_keep_all_their_lines() {
        let reason = "sbatch: error: QOSMaxSubmitJobPerUserLimit\n\nsbatch: Batch job submission failed\n";
        assert_eq!(whole(reason), "QOSMaxSubmitJobPerUserLimit; Batch job submission failed");
        assert_eq!(whole("\n"), "no reason given");
    }

    #[test]
    fn an_array_that_is_too_large_becomes_several() {
        assert_eq!(max_array_size("MaxArraySize            = 1001\nMaxJobCount = 9\n"), Some(1001));
        assert_eq!(max_array_size("MaxJobCount = 9\n"), None);
        let stage = |name: &str, tasks| Stage { name: name.to_owned(), tasks, until: WorkLimit::Done };
        let stages = vec![stage("rung-0", 25), stage("test", 3)];
        let parts =
            [stage("rung-0-part-1", 10), stage("rung-0-part-2", 10), stage("rung-0-part-3", 5), stage("test", 3)];
        assert_eq!(split(stages.clone(), Some(10)), parts);
        assert_eq!(split(stages.clone(), Some(25)), stages);
        assert_eq!(split(stages.clone(), None), stages);
    }
}
