//! The restart of `openmp.rs`, done before the constructors of the libraries run.
//!
//! libtorch's constructors register its operators, which takes a fifth of a second and would be done twice: by the process that starts
//! itself anew, and by the new one. The functions of an executable's `.preinit_array` are called by the loader before any constructor,
//! when nothing is known of the environment but the loader's arrays.

use std::ffi::CString;

use super::launched::LaunchedRank;
use super::openmp;

/// Commands whose user waits for the first word of a model. The others leave it to [`openmp::restart`], as do processes that a
/// launcher started, and those that start others.
const WAITED_FOR: [&str; 5] = ["eval", "generate", "inspect", "predict", "train"];

/// The environment to start with anew, with the variables that libgomp needs; none if none are missing. For
/// [`reft_models::process::start_anew`]; where that fails, [`openmp::restart`] tries again and says why.
pub fn changed(arguments: &[CString], environment: &[CString]) -> Option<Vec<CString>> {
    let is = |argument: &CString, text: &str| argument.as_bytes() == text.as_bytes();
    let command = arguments.get(1).filter(|given| WAITED_FOR.iter().any(|command| is(given, command)))?;
    let starts_others = is(command, "train") && arguments.iter().any(|given| given.as_bytes().starts_with(b"--nproc"));
    let value = |entry: &CString, name: &str| {
        let value = entry.to_str().ok()?.strip_prefix(name)?.strip_prefix('=')?;
        (!value.trim().is_empty()).then(|| value.to_owned())
    };
    let env = |name: &str| environment.iter().find_map(|entry| value(entry, name));
    if starts_others || !matches!(LaunchedRank::by(env), Ok(None)) {
        return None;
    }
    let variables = openmp::variables(&env, 1);
    let is_of = |entry: &CString, name: &str| {
        entry.as_bytes().strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"="))
    };
    let set = |entry: &&CString| !variables.iter().any(|(name, _)| is_of(entry, name));
    let new = variables.iter().filter_map(|(name, value)| CString::new(format!("{name}={value}")).ok());
    let all: Vec<CString> = environment.iter().filter(set).cloned().chain(new).collect();
    (!variables.is_empty()).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(all: &[&str]) -> Vec<CString> {
        all.iter().map(|text| CString::new(*text).expect("no NUL")).collect()
    }

    fn changed_to(arguments: &[&str], environment: &[&str]) -> Option<Vec<String>> {
        let changed = changed(&texts(arguments), &texts(environment))?;
        Some(changed.into_iter().map(|text| text.into_string().expect("UTF-8")).collect())
    }

    #[test]
    fn what_is_waited_for_starts_anew_with_the_variables_that_are_missing() {
        let started = changed_to(&["reft", "generate", "x"], &["HOME=/h", "OMP_NUM_THREADS=2", "GOMP_SPINCOUNT="]);
        let expected = ["HOME=/h", "OMP_NUM_THREADS=2", "GOMP_SPINCOUNT=10000", "REFT_CHOSE=GOMP_SPINCOUNT"];
        assert_eq!(started.expect("anew"), expected);
        let free = changed_to(&["reft", "train", "run.yaml"], &[]).expect("anew");
        assert!(
            free[0].starts_with("OMP_NUM_THREADS=") && free.last().is_some_and(|last| last.starts_with("REFT_CHOSE="))
        );
    }

    #[test]
    fn others_go_on() {
        let told = ["OMP_NUM_THREADS=2", "GOMP_SPINCOUNT=5"];
        for (arguments, environment) in [
            (&["reft", "generate"][..], &told[..]),
            (&["reft", "generate"], &["REFT_CHOSE=GOMP_SPINCOUNT"]),
            (&["reft", "list", "models"], &[]),
            (&["reft"], &[]),
            (&["reft", "train", "run.yaml", "--nproc", "2"], &[]),
            (&["reft", "train", "run.yaml"], &["RANK=0", "WORLD_SIZE=2", "MASTER_ADDR=localhost", "MASTER_PORT=1"]),
        ] {
            assert_eq!(changed_to(arguments, environment), None, "{arguments:?} {environment:?}");
        }
    }
}
