//! Paths as a shell would read them. Settings never pass through one, and `--runs=~/x` passes through it unchanged.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A path with `~` replaced by the home folder.
pub fn home(path: &Path) -> PathBuf {
    under(path, std::env::var_os("HOME"))
}

fn under(path: &Path, home: Option<OsString>) -> PathBuf {
    match (path.strip_prefix("~"), home.filter(|home| !home.is_empty())) {
        (Ok(rest), Some(home)) => Path::new(&home).components().chain(rest.components()).collect(),
        _ => path.to_owned(),
    }
}

/// A path or a name in a setting, with `~` replaced.
///
/// # Errors
/// When a variable of the environment stands in it, which is not expanded.
pub fn setting(text: &str) -> Result<String, String> {
    if text.contains('$') {
        return Err(format!(
            "`{text}`: variables of the environment are not replaced in settings: write the path itself"
        ));
    }
    if text.starts_with('~') { Ok(home(Path::new(text)).display().to_string()) } else { Ok(text.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tilde_is_the_home_folder_only_as_the_whole_first_part() {
        let home = |path: &str| under(Path::new(path), Some("/home/me".into())).display().to_string();
        let cases = [("~/a/b", "/home/me/a/b"), ("~", "/home/me"), ("a/~", "a/~"), ("~you/a", "~you/a"), ("a~", "a~")];
        for (path, expected) in cases {
            assert_eq!(home(path), expected);
        }
        assert_eq!(under(Path::new("~/a"), None), Path::new("~/a"));
    }

    #[test]
    fn variables_are_refused_by_name() {
        assert_eq!(setting("org/name").as_deref(), Ok("org/name"));
        for text in ["$MODEL", "${HOME}/m", "a/$X"] {
            assert!(setting(text).expect_err(text).starts_with(&format!("`{text}`: variables of the environment")));
        }
    }
}
