//! What this machine offers a run: which type is fast, how many cores it may use, how much memory is left.
//!
//! Every reader takes the root of the file system and the environment as arguments, so that tests put their own in place.

pub mod cgroup;
pub mod cores;
pub mod device;
pub mod fast;
pub mod gpus;
pub mod last_words;
pub mod launched;
pub mod memory;
pub mod openmp;
pub mod preinit;
pub mod probe;
pub mod processor;
pub mod product;

use std::path::Path;

/// A process's environment: the value of a variable, where it is set to anything.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The environment of this process. A variable that is set to nothing counts as not set, as in libgomp and oneDNN.
pub fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// The root of this machine's file system.
pub fn root() -> &'static Path {
    Path::new("/")
}

#[cfg(test)]
pub(crate) mod testing {
    //! Fake machines.

    use std::path::Path;

    /// A file system with these files.
    pub fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in files {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).expect("writable");
            std::fs::write(path, text).expect("writable");
        }
        root
    }

    /// An environment with these variables.
    pub fn env<'a>(variables: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    }
}
