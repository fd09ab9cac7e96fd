//! Links from the page to files elsewhere.

use std::path::{Path, PathBuf};

/// Finds files from the page's folder.
#[derive(Clone, Debug)]
pub struct Links {
    page: PathBuf,
}

impl Links {
    /// Links from a page in this folder, which need not exist yet.
    ///
    /// # Errors
    /// When the working folder is not known.
    pub fn from(folder: &Path) -> std::io::Result<Self> {
        Ok(Self { page: whole(folder)? })
    }

    /// The address of a file, relative to the page; none when there is no such file.
    pub fn to(&self, file: &Path) -> Option<String> {
        let path = pathdiff::diff_paths(whole(file).ok().filter(|path| path.exists())?, &self.page)?;
        Some(path.iter().map(|part| escaped(&part.to_string_lossy())).collect::<Vec<_>>().join("/"))
    }
}

/// The path from the root, links followed as far as it exists.
fn whole(path: &Path) -> std::io::Result<PathBuf> {
    let absolute = std::path::absolute(path)?;
    let mut missing = Vec::new();
    for part in absolute.ancestors() {
        match part.canonicalize() {
            Ok(there) => return Ok(missing.iter().rev().fold(there, |path, name| path.join(name))),
            Err(_) => missing.extend(part.file_name().map(Path::new)),
        }
    }
    Ok(absolute.clone())
}

/// A name with every byte that an address gives a meaning to as `%XX`.
fn escaped(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    name.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lead_from_the_page_to_files_that_exist() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("runs/a #1/record.json");
        crate::atomic::write(&file, b"{}").expect("writable");
        let links = Links::from(&folder.path().join("out/new")).expect("a folder");
        assert_eq!(links.to(&file).as_deref(), Some("../../runs/a%20%231/record.json"));
        assert_eq!(links.to(&folder.path().join("runs/b")), None);
    }
}
