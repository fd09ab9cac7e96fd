//! GPUs that the processes of one machine are dealt.

use std::path::Path;

use super::Env;
use super::launched::LaunchedRank;

/// Chooses the GPUs that a process sees.
pub const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";

/// GPUs of one machine that are looked for.
const MOST: usize = 64;

/// The GPUs that this process sees, as values of [`VISIBLE`].
pub fn visible() -> Vec<String> {
    if let Ok(visible) = std::env::var(VISIBLE) {
        return visible.split(',').map(str::trim).filter(|gpu| !gpu.is_empty()).map(str::to_owned).collect();
    }
    let exists = |number: &usize| Path::new(&format!("/dev/nvidia{number}")).exists();
    (0..MOST).take_while(exists).map(|number| number.to_string()).collect()
}

/// The GPU of the `local`-th process of this machine; none where it has one or none to see, which is then its own.
pub fn of_rank(gpus: &[String], local: usize) -> Option<&str> {
    if gpus.len() < 2 { None } else { gpus.get(local % gpus.len()).map(String::as_str) }
}

/// The GPU of this process, where torchrun or srun started several on this machine that see the same GPUs.
pub fn of_launched(env: Env<'_>) -> Option<String> {
    let started = LaunchedRank::by(env).ok()??;
    of_rank(&visible(), started.local).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_process_of_a_machine_has_a_gpu_of_its_own() {
        let gpus = ["4", "6"].map(str::to_owned);
        assert_eq!([0, 1, 2].map(|local| of_rank(&gpus, local)), [Some("4"), Some("6"), Some("4")]);
        assert_eq!((of_rank(&gpus[..1], 1), of_rank(&[], 1)), (None, None));
    }
}
