//! Tells the program which code it was built from: a hash of sources, and the git revision. Both are kept in records for
//! information; what names a run is `RESULTS_VERSION` in `src/store/environment.rs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

/// Sources, relative to the workspace, that take part in what a run computes. Tables and commands do not.
const DECIDING: [&str; 10] = [
    "reft-core/src",
    "reft-models/kernels",
    "reft-models/src",
    "reft-experiments/src/train",
    "reft-experiments/src/data",
    "reft-experiments/src/tasks",
    "reft-experiments/src/score",
    "reft-experiments/src/run",
    "reft-experiments/src/config",
    "Cargo.lock",
];

fn main() -> std::io::Result<()> {
    let root = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("..");
    let mut hash = Sha256::new();
    for entry in DECIDING {
        println!("cargo:rerun-if-changed={}", root.join(entry).display());
        for file in files(&root.join(entry))? {
            hash.update(file.strip_prefix(&root).unwrap_or(&file).to_string_lossy().as_bytes());
            hash.update(fs::read(&file)?);
        }
    }
    println!("cargo:rustc-env=REFT_CODE_HASH={:.16x}", hash.finalize());
    println!("cargo:rerun-if-changed={}", root.join(".git/HEAD").display());
    println!("cargo:rerun-if-changed={}", root.join(".git/index").display());
    println!("cargo:rustc-env=REFT_GIT_REVISION={}", revision(&root));
    Ok(())
}

/// All files below a path, sorted.
fn files(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut entries: Vec<PathBuf> =
        fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    entries.sort();
    entries.iter().map(|entry| files(entry)).collect::<Result<Vec<_>, _>>().map(|nested| nested.concat())
}

/// The commit, with `-dirty` when tracked files differ from it; `unknown` outside git.
fn revision(root: &Path) -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(root).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    let dirty = git(&["status", "--porcelain", "--untracked-files=no"]).is_none_or(|changes| !changes.is_empty());
    if dirty { format!("{commit}-dirty") } else { commit }
}
