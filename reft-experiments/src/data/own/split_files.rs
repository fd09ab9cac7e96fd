//! Which files of a data set are a split's own.

use std::path::{Path, PathBuf};

use super::fault::OwnDataError;
use super::folder;
use super::place::Place;
use super::portion::{Portion, Splits};

/// The files of each split. A split that has none of its own gets rows of the training files.
pub(super) struct SplitFiles {
    /// To train on.
    pub train: Vec<PathBuf>,
    /// To choose by.
    pub dev: Option<Vec<PathBuf>>,
    /// To report.
    pub test: Option<Vec<PathBuf>>,
}

impl SplitFiles {
    /// The files by what a description says of its splits, else by their customary names.
    ///
    /// # Errors
    /// When a named split has no file, or no file is left to train on.
    pub fn of(place: &Place, splits: &Splits) -> Result<Self, OwnDataError> {
        match place {
            Place::File(path) => of_file(path, splits),
            Place::Folder(_, files) | Place::Hub(_, files) => of_files(place.path(), files, splits),
        }
    }
}

fn of_file(path: &Path, splits: &Splits) -> Result<SplitFiles, OwnDataError> {
    if let Some(train) = &splits.train {
        let what = format!("split.train names files of a folder (`{train}`), and this is one file: leave it out");
        return Err(OwnDataError::file(path, what));
    }
    let held = |key: &str, portion: &Portion| match portion {
        Portion::Named(name) => beside(path, name).map(|file| Some(vec![file])).ok_or_else(|| {
            OwnDataError::file(
                path,
                format!("split.{key} names the file `{name}`, which is neither beside it nor here"),
            )
        }),
        Portion::Part(_) | Portion::Rows(_) => Ok(None),
    };
    Ok(SplitFiles { train: vec![path.to_owned()], dev: held("dev", &splits.dev)?, test: held("test", &splits.test)? })
}

fn of_files(place: &Path, files: &[PathBuf], splits: &Splits) -> Result<SplitFiles, OwnDataError> {
    let of = |beginning: &str| -> Result<Vec<PathBuf>, OwnDataError> {
        let found: Vec<PathBuf> = folder::named(files, beginning).into_iter().cloned().collect();
        if found.is_empty() {
            let what = format!("no file begins with `{beginning}`: name the split's files so, or correct split");
            return Err(OwnDataError::file(place, what));
        }
        Ok(found)
    };
    let dev = held(files, "dev", &splits.dev).map(of).transpose()?;
    let test = held(files, "test", &splits.test).map(of).transpose()?;
    let train = if let Some(beginning) = splits.train.as_deref().or_else(|| folder::customary(files, "train")) {
        of(beginning)?
    } else {
        let is_held = |file: &&PathBuf| [&dev, &test].into_iter().flatten().any(|held| held.contains(file));
        files.iter().filter(|file| !is_held(file)).cloned().collect()
    };
    Ok(SplitFiles { train, dev, test })
}

/// How the files of a held-out split begin; none where it gets rows of the training files. Files that say that they are a split's
/// are that split.
fn held<'p>(files: &[PathBuf], split: &str, portion: &'p Portion) -> Option<&'p str> {
    match portion {
        Portion::Named(name) => Some(name),
        Portion::Part(_) | Portion::Rows(_) => folder::customary(files, split),
    }
}

/// A file named beside another, or by a path of its own; none where there is none.
fn beside(file: &Path, name: &str) -> Option<PathBuf> {
    let neighbour = file.parent().unwrap_or(Path::new("")).join(name);
    [neighbour, PathBuf::from(name)].into_iter().find(|path| path.exists())
}

impl SplitFiles {
    /// In words, which files of a folder are which split's by their names, and which are not read; nothing where all are trained on.
    pub fn describe(&self, folder: &Path, files: &[PathBuf]) -> Option<String> {
        let name = |path: &PathBuf| path.strip_prefix(folder).unwrap_or(path).display().to_string();
        let list = |files: &[PathBuf]| files.iter().map(name).collect::<Vec<_>>().join(", ");
        let held = [("dev", &self.dev), ("test", &self.test)];
        let held =
            held.into_iter().filter_map(|(split, files)| Some(format!("{split} from {}", list(files.as_ref()?))));
        let used = |file: &&PathBuf| {
            let of = [Some(&self.train), self.dev.as_ref(), self.test.as_ref()];
            of.into_iter().flatten().any(|files| files.contains(file))
        };
        let unused: Vec<PathBuf> = files.iter().filter(|file| !used(file)).cloned().collect();
        let unused = (!unused.is_empty()).then(|| format!("not read: {}", list(&unused)));
        let parts: Vec<String> = held.chain(unused).collect();
        (!parts.is_empty()).then(|| {
            format!("{}: by the files' names, train from {}; {}", folder.display(), list(&self.train), parts.join("; "))
        })
    }
}
