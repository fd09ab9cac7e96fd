//! Threads of OpenMP, which computes for libtorch and our kernels: how many, and what they do while they wait.
//!
//! libtorch's packages bring GNU's libgomp. Its threads spin for milliseconds at the end of every parallel part, so that the
//! next one starts at once. With another busy process on the machine the spinning thread keeps the core that the thread it
//! waits for would need: a generated token then takes several times as long. A short spin costs an idle machine nothing that
//! can be measured. libgomp reads `GOMP_SPINCOUNT` and `OMP_WAIT_POLICY` once, when it is loaded, which is before `main`: so
//! the program sets what the user did not and starts itself anew, once. `OMP_NUM_THREADS` goes the same way. Commands that are
//! waited for do so before the libraries are set up at all (`preinit.rs`).
//!
//! A program that calls this library sets these variables before it starts, or calls [`restart`] first.

use std::process::Command;

use super::{Env, cores, env, gpus, root};

/// How many threads OpenMP has.
pub const THREADS: &str = "OMP_NUM_THREADS";
/// The same for MKL alone, which libtorch takes over.
const MKL_THREADS: &str = "MKL_NUM_THREADS";
/// The same for rayon.
const RAYON_THREADS: &str = "RAYON_NUM_THREADS";
/// How often libgomp's threads look for new work before they sleep.
pub const SPIN: &str = "GOMP_SPINCOUNT";
/// `active` or `passive`: the portable way to say it, which the count overrides.
const POLICY: &str = "OMP_WAIT_POLICY";
/// Marks a process whose variables were chosen, and names those that were set by this program rather than by the user.
const CHOSEN: &str = "REFT_CHOSE";

/// About half a millisecond of looking: within a pass threads find their next work in that time, and a neighbour on the same core
/// loses little to it. Of 0, 1,000, 3,000, 10,000, 30,000 and libgomp's own 300,000, the first three cost an idle machine 10 to
/// 20 % of a token, 10,000 and more nothing that was measured; beside a busy process the last costs most.
const SPIN_COUNT: &str = "10000";

/// How many threads the user or a launcher asked for, rather than this program.
pub fn asked(env: Env<'_>) -> Option<usize> {
    let chosen = env(CHOSEN).is_some_and(|names| names.split(',').any(|name| name == THREADS));
    // A list has a number for each level of nesting.
    let number = |name: &str| env(name)?.split(',').next()?.trim().parse::<usize>().ok().filter(|&threads| threads > 0);
    number(THREADS).filter(|_| !chosen).or_else(|| number(MKL_THREADS).filter(|_| !chosen))
}

/// How threads wait: the variable to set for a process of so many threads, unless it is set already.
pub fn waiting(env: Env<'_>, threads: usize) -> Option<(&'static str, String)> {
    let told = env(SPIN).is_some() || env(POLICY).is_some();
    (threads > 1 && !told).then(|| (SPIN, SPIN_COUNT.to_owned()))
}

/// Variables to set for a process that may use so many cores: those that are not set yet.
fn missing(env: Env<'_>, cores: usize) -> Vec<(&'static str, String)> {
    let asked = asked(env);
    let threads = asked.is_none().then(|| (THREADS, cores.to_string()));
    threads.into_iter().chain(waiting(env, asked.unwrap_or(cores))).collect()
}

/// Variables to set for this process, which will be one of so many that divide the cores; none if it was started with them.
pub(super) fn variables(env: Env<'_>, processes: usize) -> Vec<(&'static str, String)> {
    if env(CHOSEN).is_some() {
        return Vec::new();
    }
    let cores = (cores::usable(root(), env) / processes.max(1)).max(1);
    let gpu = gpus::of_launched(env).map(|gpu| (gpus::VISIBLE, gpu));
    let mut variables: Vec<_> = missing(env, cores).into_iter().chain(gpu).collect();
    if !variables.is_empty() {
        let names: Vec<&str> = variables.iter().map(|(name, _)| *name).collect();
        variables.push((CHOSEN, names.join(",")));
    }
    variables
}

/// Starts this program anew with the variables that are missing, if any are; returns if none are or it cannot. The cores are
/// divided among `processes` that will be started alike. Called before anything else is done; the process keeps its number.
pub fn restart(processes: usize) {
    let variables = variables(&env, processes);
    let Some((_, names)) = variables.last() else { return };
    let Err(reason) = std::env::current_exe().and_then(|program| {
        let mut command = Command::new(program);
        command.args(std::env::args_os().skip(1)).envs(variables.iter().cloned());
        Err::<(), _>(replace(&mut command))
    }) else {
        return;
    };
    eprintln!("warning: {names} cannot be set ({reason}): a busy machine may slow this down several times");
}

#[cfg(unix)]
fn replace(command: &mut Command) -> std::io::Error {
    use std::os::unix::process::CommandExt;
    if let Some(name) = std::env::args_os().next() {
        command.arg0(name);
    }
    command.exec()
}

#[cfg(not(unix))]
fn replace(_: &mut Command) -> std::io::Error {
    std::io::ErrorKind::Unsupported.into()
}

/// Gives rayon's pool as many threads as OpenMP has, unless `RAYON_NUM_THREADS` says how many.
pub fn limit_rayon() {
    if env(RAYON_THREADS).is_none() {
        let threads = usize::try_from(tch::get_num_threads()).unwrap_or(1);
        // It fails where a pool is there already, which then stays as it is.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    }
}

/// Takes what this program set out of the environment of a child that is not this program.
pub fn without_ours(command: &mut Command) {
    for name in env(CHOSEN).iter().flat_map(|names| names.split(',')) {
        command.env_remove(name);
    }
    command.env_remove(CHOSEN);
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn set(variables: &[(&str, &str)], cores: usize) -> String {
        let missing = missing(&testing::env(variables), cores);
        missing.iter().map(|(name, value)| format!("{name}={value} ")).collect::<String>().trim_end().to_owned()
    }

    #[test]
    fn unset_thread_variables_are_set_and_the_users_are_kept() {
        assert_eq!(set(&[], 4), "OMP_NUM_THREADS=4 GOMP_SPINCOUNT=10000");
        assert_eq!(set(&[], 1), "OMP_NUM_THREADS=1");
        assert_eq!(set(&[("OMP_NUM_THREADS", "8")], 4), "GOMP_SPINCOUNT=10000");
        assert_eq!(set(&[("OMP_NUM_THREADS", "2,4")], 1), "GOMP_SPINCOUNT=10000");
        assert_eq!(set(&[("OMP_NUM_THREADS", "1")], 4), "");
        assert_eq!(set(&[("MKL_NUM_THREADS", "1")], 4), "");
        assert_eq!(set(&[("OMP_WAIT_POLICY", "active")], 4), "OMP_NUM_THREADS=4");
        assert_eq!(set(&[("GOMP_SPINCOUNT", "5")], 4), "OMP_NUM_THREADS=4");
    }

    #[test]
    fn variables_set_by_the_program_itself_do_not_count_as_the_users() {
        let again = [("REFT_CHOSE", "OMP_NUM_THREADS,GOMP_SPINCOUNT"), ("OMP_NUM_THREADS", "4")];
        assert_eq!(variables(&testing::env(&again), 1), []);
        assert_eq!(asked(&testing::env(&again)), None);
        assert_eq!(asked(&testing::env(&[("REFT_CHOSE", "GOMP_SPINCOUNT"), ("OMP_NUM_THREADS", "4")])), Some(4));
    }

    #[test]
    fn a_child_that_is_another_program_keeps_the_user_s_variables_only() {
        let mut command = Command::new("true");
        without_ours(&mut command);
        assert!(command.get_envs().any(|(name, value)| name == CHOSEN && value.is_none()));
    }
}
