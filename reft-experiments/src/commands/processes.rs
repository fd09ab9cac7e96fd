//! `reft train` in several processes: joined to those that torchrun or srun started, or started here with `--nproc`.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, bail};
use reft_models::distributed::{GroupError, ProcessGroup, Rendezvous};

use crate::console;
use crate::machine::last_words::{LastWords, last_line};
use crate::machine::launched::{LaunchError, LaunchedRank};
use crate::machine::{env, gpus};
use crate::train::error::TrainError;
use crate::train::ranks::RanksError;

/// The flag that starts several.
const FLAG: &str = "--nproc";

/// How long the others are given to say why they ended, once one is gone.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The processes that train together with this one.
#[derive(Default)]
pub struct Processes {
    /// All of them; none where this process is alone.
    pub group: Option<Rc<ProcessGroup>>,
    /// Those that this one started.
    started: Vec<Rank>,
}

/// A process that this one started.
struct Rank {
    number: usize,
    child: Child,
    said: Option<LastWords>,
}

impl Processes {
    /// Meets the processes that a launcher started with this one, or starts `nproc` on this machine, this one being rank 0.
    ///
    /// # Errors
    /// When variables of a launcher contradict each other or the number, or processes do not start or come.
    pub fn meet(nproc: Option<usize>) -> Result<Self> {
        let launched = LaunchedRank::by(env)?;
        match (launched, nproc) {
            (None, None | Some(1)) => Ok(Self::default()),
            (None, Some(0)) => bail!("{FLAG} 0: at least 1"),
            (None, Some(size)) => Self::start(size),
            (Some(LaunchedRank { meeting, .. }), Some(nproc)) if nproc != meeting.size => {
                bail!("{FLAG} {nproc}: a launcher has started {} processes already: leave {FLAG} out", meeting.size)
            }
            (Some(started), _) => {
                if started.meeting.rank > 0 {
                    console::silence_stderr();
                }
                Ok(Self { group: Some(Rc::new(started.join()?)), started: Vec::new() })
            }
        }
    }

    fn start(size: usize) -> Result<Self> {
        let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
        let port = port.context("no free port on 127.0.0.1")?.port();
        let mut all = Self::default();
        for number in 1..size {
            all.started.push(Rank::start(number, size, port)?);
        }
        let meeting = Rendezvous { host: "127.0.0.1".to_owned(), port, rank: 0, size };
        match (LaunchedRank { meeting, local: 0 }).join() {
            Ok(group) => all.group = Some(Rc::new(group)),
            Err(error) => return Err(all.why(error.into())),
        }
        Ok(all)
    }

    /// Whether this process is rank 0, or the only one.
    pub fn lead(&self) -> bool {
        self.group.as_ref().is_none_or(|group| group.leads())
    }

    /// An error of this process; where it is that another has ended, why that one did.
    pub fn why(&mut self, error: Error) -> Error {
        if !error.chain().any(is_of_the_group) {
            return error;
        }
        let until = Instant::now() + LAST_WORDS;
        loop {
            // A rank that ended because another did says so; that other one is meant.
            let said = self.started.iter_mut().filter_map(Rank::ended).find(|said| !said.contains(ANOTHER));
            match said {
                Some(said) => return Error::msg(said),
                None if Instant::now() > until || self.started.is_empty() => return error,
                None => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }
}

/// Whether this is another process's end, as it was met or as training passed it on.
fn is_of_the_group(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.is::<GroupError>()
        || matches!(cause.downcast_ref(), Some(TrainError::Group(_)))
        || matches!(cause.downcast_ref(), Some(LaunchError::Group(_)))
        || matches!(cause.downcast_ref(), Some(RanksError::Group(_)))
}

/// Part of what a rank says that ended because another did.
const ANOTHER: &str = "another process has ended";

impl Rank {
    fn start(number: usize, size: usize, port: u16) -> Result<Self> {
        let program = std::env::current_exe().context("the program's own path is not known")?;
        let mut command = Command::new(&program);
        command.args(std::env::args_os().skip(1));
        let variables = [
            ("RANK", number.to_string()),
            ("LOCAL_RANK", number.to_string()),
            ("WORLD_SIZE", size.to_string()),
            ("MASTER_ADDR", "127.0.0.1".to_owned()),
            ("MASTER_PORT", port.to_string()),
        ];
        command.envs(variables);
        if let Some(gpu) = gpus::of_rank(&gpus::visible(), number) {
            command.env(gpus::VISIBLE, gpu);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("{}: cannot be started", program.display()))?;
        let said = child.stderr.take().map(LastWords::of);
        Ok(Self { number, child, said })
    }

    /// What it said when it ended, with its number; none while it runs, and once it was asked.
    fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok()??;
        let text = self.said.take()?.text();
        let said = last_line(&text).map_or(status.to_string(), |line| line.trim_start_matches("error: ").to_owned());
        (!status.success()).then(|| format!("rank {}: {said}", self.number))
    }
}

impl Drop for Rank {
    fn drop(&mut self) {
        // It has ended, or waits for a group that is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
