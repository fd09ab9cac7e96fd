//! Processes that torchrun, srun or this program started together: which of them this one is, and where they meet.

use std::time::Duration;

use reft_models::distributed::{GroupError, ProcessGroup, Rendezvous};

/// How long a rank waits for another. A rank that has ended is noticed at once; this is for one that hangs, and has to be longer
/// than the slowest share of an update, and than rank 0's looks at dev rows.
const TIMEOUT: Duration = Duration::from_hours(1);

/// Variables that say which process this is, wrongly set.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// One is missing.
    #[error("{missing} is not set though {set} is: start the processes by torchrun or srun, or unset {set}")]
    Missing {
        /// The variable that is set.
        set: &'static str,
        /// The one that is not.
        missing: &'static str,
    },
    /// One holds no number that fits.
    #[error("{variable}={value}: {remedy}")]
    Value {
        /// The variable.
        variable: &'static str,
        /// What it holds.
        value: String,
        /// What it should hold.
        remedy: &'static str,
    },
    /// The others do not come.
    #[error(transparent)]
    Group(#[from] GroupError),
}

/// This process among those that were started together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LaunchedRank {
    /// Where they meet, and which of them this is.
    pub meeting: Rendezvous,
    /// Which of those on this machine it is: the number of its device.
    pub local: usize,
}

/// How a launcher names what a rank has to know.
struct Launcher {
    rank: &'static str,
    size: &'static str,
    local: &'static str,
}

/// torchrun's names, and those of `srun`, where they belong to a step of more than one task (a batch script is no such step).
const TORCHRUN: Launcher = Launcher { rank: "RANK", size: "WORLD_SIZE", local: "LOCAL_RANK" };
const SRUN: Launcher = Launcher { rank: "SLURM_PROCID", size: "SLURM_STEP_NUM_TASKS", local: "SLURM_LOCALID" };

impl LaunchedRank {
    /// What the environment says, `variable` giving a variable's value; none where this process was started alone.
    ///
    /// # Errors
    /// When variables are missing or contradict each other.
    pub fn by(variable: impl Fn(&'static str) -> Option<String>) -> Result<Option<Self>, LaunchError> {
        let Some(launcher) = [TORCHRUN, SRUN].into_iter().find(|launcher| variable(launcher.size).is_some()) else {
            return Ok(None);
        };
        let missing = |missing| LaunchError::Missing { set: launcher.size, missing };
        let number = |name: &'static str, remedy| {
            let value = variable(name).ok_or_else(|| missing(name))?;
            value.trim().parse::<usize>().map_err(|_| LaunchError::Value { variable: name, value, remedy })
        };
        let size = number(launcher.size, "give the number of processes")?;
        if size <= 1 {
            return Ok(None);
        }
        let rank = number(launcher.rank, "give a number from 0 to one less than the processes")?;
        if rank >= size {
            let remedy = "give a number from 0 to one less than the processes";
            return Err(LaunchError::Value { variable: launcher.rank, value: rank.to_string(), remedy });
        }
        let local = variable(launcher.local).map_or(Ok(rank), |_| number(launcher.local, "give a number from 0"))?;
        let (host, port) = meeting(&variable, &missing)?;
        Ok(Some(Self { meeting: Rendezvous { host, port, rank, size }, local }))
    }

    /// Meets the others.
    ///
    /// # Errors
    /// When they do not come.
    pub fn join(&self) -> Result<ProcessGroup, LaunchError> {
        Ok(ProcessGroup::join(&self.meeting, TIMEOUT)?)
    }
}

/// Where they meet: where `MASTER_ADDR` and `MASTER_PORT` say, else on the first machine of Slurm's step, at a port that differs
/// between jobs and steps.
fn meeting(
    variable: &impl Fn(&'static str) -> Option<String>,
    missing: &impl Fn(&'static str) -> LaunchError,
) -> Result<(String, u16), LaunchError> {
    let port = |value: String| {
        let remedy = "give a port, 1 to 65535";
        value.parse().map_err(|_| LaunchError::Value { variable: "MASTER_PORT", value, remedy })
    };
    let host = variable("MASTER_ADDR").or_else(|| variable("SLURM_STEP_NODELIST").map(|nodes| first_node(&nodes)));
    let host = host.ok_or_else(|| missing("MASTER_ADDR"))?;
    let port = if let Some(value) = variable("MASTER_PORT") {
        port(value)?
    } else {
        let number = |name| variable(name).and_then(|value| value.parse::<u64>().ok());
        let job = number("SLURM_JOB_ID").ok_or_else(|| missing("MASTER_PORT"))?;
        (20_000 + (job * 131 + number("SLURM_STEP_ID").unwrap_or(0)) % 20_000) as u16
    };
    Ok((host, port))
}

/// The first machine of a list such as `gpu[03-05,9],login1`.
fn first_node(list: &str) -> String {
    match list.split_once('[') {
        Some((stem, rest)) if !stem.contains(',') => {
            let number = rest.split(['-', ',', ']']).next().unwrap_or_default();
            format!("{stem}{number}")
        }
        _ => list.split(',').next().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn started(variables: &[(&'static str, &str)]) -> Result<Option<LaunchedRank>, LaunchError> {
        let variables: HashMap<&str, &str> = variables.iter().copied().collect();
        LaunchedRank::by(|name| variables.get(name).map(|&value| value.to_owned()))
    }

    #[test]
    fn torchrun_and_srun_say_which_process_this_is() {
        let torchrun =
            [("RANK", "1"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "1"), ("MASTER_ADDR", "a"), ("MASTER_PORT", "29500")];
        let meeting = Rendezvous { host: "a".to_owned(), port: 29_500, rank: 1, size: 2 };
        assert_eq!(started(&torchrun).expect("all is set"), Some(LaunchedRank { meeting, local: 1 }));
        let srun = [
            ("SLURM_PROCID", "5"),
            ("SLURM_STEP_NUM_TASKS", "8"),
            ("SLURM_LOCALID", "1"),
            ("SLURM_STEP_NODELIST", "gpu[03-04]"),
            ("SLURM_JOB_ID", "77"),
            ("SLURM_STEP_ID", "2"),
        ];
        let LaunchedRank { meeting, local } = started(&srun).expect("all is set").expect("eight tasks");
        assert_eq!((meeting.host.as_str(), meeting.rank, meeting.size, local), ("gpu03", 5, 8, 1));
        assert_eq!(started(&[("SLURM_STEP_NUM_TASKS", "1")]).expect("one task"), None);
        assert_eq!(started(&[("SLURM_PROCID", "0"), ("SLURM_NTASKS", "4")]).expect("a batch script"), None);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let said = |variables: &[(&'static str, &str)]| started(variables).expect_err("it cannot be used").to_string();
        assert!(said(&[("WORLD_SIZE", "2")]).starts_with("RANK is not set though WORLD_SIZE is"));
        assert!(said(&[("WORLD_SIZE", "2"), ("RANK", "2")]).starts_with("RANK=2: give a number from 0"));
        assert!(said(&[("WORLD_SIZE", "two"), ("RANK", "2")]).starts_with("WORLD_SIZE=two"));
        assert!(said(&[("WORLD_SIZE", "2"), ("RANK", "0")]).starts_with("MASTER_ADDR is not set"));
    }

    #[test]
    fn the_first_machine_of_a_list() {
        assert_eq!(first_node("gpu[03-05,9],login1"), "gpu03");
        assert_eq!(first_node("a1,b[2-3]"), "a1");
        assert_eq!(first_node("node7"), "node7");
    }
}
