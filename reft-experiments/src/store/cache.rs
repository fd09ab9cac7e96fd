//! `index.sqlite` beside the runs: what lists show of every record, so that ten thousand files need not be read again.
//!
//! It is a copy and never the truth: whatever is wrong with it, the records are read instead. It is never changed in place.
//! Who has read new records puts them into a copy of the file and renames that, so nobody waits for a lock and nobody needs
//! one, which not every shared file system keeps.

use std::collections::HashMap;
use std::fs::{Metadata, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rayon::prelude::*;
use rusqlite::{Connection, OpenFlags, params};

use super::claim::now;
use super::index::Entry;

/// Of the table and of what is kept in it; an index of another version is made anew.
const VERSION: i64 = 1;

const TABLE: &str = "CREATE TABLE records (folder TEXT PRIMARY KEY, modified INTEGER, changed INTEGER, size INTEGER, \
                     inode INTEGER, run TEXT, plan TEXT, scores TEXT, seconds REAL, sum INTEGER)";

/// Time in which a file that was written twice may look as if it had been written once.
const SETTLED: Duration = Duration::from_secs(2);

/// What changes whenever a file does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// Times of the last change of content and of the file itself, in ns since 1970.
    times: [i64; 2],
    /// Bytes.
    size: i64,
    /// The file's number.
    inode: i64,
}

impl Stamp {
    /// A file's present one.
    pub fn of(file: &Metadata) -> Self {
        let ns = |seconds: i64, ns: i64| seconds.saturating_mul(1_000_000_000).saturating_add(ns);
        let times = [ns(file.mtime(), file.mtime_nsec()), ns(file.ctime(), file.ctime_nsec())];
        Self { times, size: file.size() as i64, inode: file.ino() as i64 }
    }

    /// Whether a later change would be seen.
    fn settled(self) -> bool {
        self.times[0] / 1_000_000_000 < (now() - SETTLED.as_secs()) as i64
    }
}

/// A record's row.
struct Row {
    folder: String,
    stamp: Stamp,
    run: String,
    plan: String,
    scores: String,
    seconds: f64,
}

impl Row {
    fn new(folder: &str, stamp: Stamp, entry: &Entry) -> Self {
        Self {
            folder: folder.to_owned(),
            stamp,
            run: entry.id.to_string(),
            plan: entry.plan.to_string(),
            scores: serde_json::to_string(&entry.scores).expect("plain data"),
            seconds: entry.seconds,
        }
    }

    /// The database notices damage to its own structure; this is for damage to what it keeps.
    fn sum(&self) -> u32 {
        let Self { folder, stamp, run, plan, scores, seconds } = self;
        [folder, run, plan, scores]
            .iter()
            .fold(crc32c::crc32c(format!("{stamp:?} {seconds:?}").as_bytes()), |sum, text| {
                crc32c::crc32c_append(crc32c::crc32c_append(sum, &text.len().to_le_bytes()), text.as_bytes())
            })
    }

    /// The entry, as its record was parsed; none if that cannot be.
    fn entry(&self) -> Option<Entry> {
        let id = serde_json::from_value(self.run.clone().into()).ok()?;
        let plan = serde_json::from_str(&self.plan).ok()?;
        Some(Entry::new(id, plan, serde_json::from_str(&self.scores).ok()?, self.seconds))
    }
}

/// An index as it was found.
pub struct Cache {
    path: PathBuf,
    /// What it knows, by the run's folder.
    pub known: HashMap<String, (Stamp, Entry)>,
    /// Whether it can be added to.
    sound: bool,
}

impl Cache {
    /// The index below `runs`; an empty one if it is missing, damaged or of another version.
    pub fn read(runs: &Path) -> Self {
        let empty = Self::empty(runs);
        let Ok(rows) = rows(&empty.path) else { return empty };
        let known = |(row, sum): &(Row, u32)| {
            let entry = if row.sum() == *sum { row.entry() } else { None };
            Some((row.folder.clone(), (row.stamp, entry?)))
        };
        Self { known: rows.par_iter().filter_map(known).collect(), sound: true, ..empty }
    }

    /// One that knows nothing.
    pub fn empty(runs: &Path) -> Self {
        Self { path: runs.join("index.sqlite"), known: HashMap::new(), sound: false }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes it with these records, by their folders, and without those whose folders are `gone`. Records that were
    /// written a moment ago are left out.
    ///
    /// # Errors
    /// When the file system refuses; the index is then as it was.
    pub fn write<'e>(
        &self,
        new: impl Iterator<Item = (&'e str, Stamp, &'e Entry)>,
        gone: &[String],
    ) -> std::io::Result<()> {
        let rows: Vec<Row> = new
            .filter(|(_, stamp, _)| stamp.settled())
            .map(|(folder, stamp, entry)| Row::new(folder, stamp, entry))
            .collect();
        if rows.is_empty() && gone.is_empty() && (self.sound || !self.path.exists()) {
            return Ok(());
        }
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let file = tempfile::Builder::new().permissions(Permissions::from_mode(0o666)).tempfile_in(folder)?;
        if self.sound {
            std::fs::copy(&self.path, file.path())?;
        }
        fill(file.path(), !self.sound, &rows, gone).map_err(std::io::Error::other)?;
        file.as_file().sync_all()?;
        file.persist(&self.path).map(|_| ()).map_err(|error| error.error)
    }
}

/// All rows with the sums that were kept.
fn rows(path: &Path) -> rusqlite::Result<Vec<(Row, u32)>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    // Nobody writes to a file of this name, so nothing is locked.
    let database = Connection::open_with_flags_and_vfs(path, flags, "unix-none")?;
    if database.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))? != VERSION {
        return Err(rusqlite::Error::InvalidQuery);
    }
    let columns = "folder, modified, changed, size, inode, run, plan, scores, seconds, sum";
    let mut query = database.prepare(&format!("SELECT {columns} FROM records"))?;
    let row = |row: &rusqlite::Row<'_>| {
        let stamp = Stamp { times: [row.get(1)?, row.get(2)?], size: row.get(3)?, inode: row.get(4)? };
        let (run, plan, scores) = (row.get(5)?, row.get(6)?, row.get(7)?);
        Ok((Row { folder: row.get(0)?, stamp, run, plan, scores, seconds: row.get(8)? }, row.get(9)?))
    };
    query.query_map([], row)?.collect()
}

/// Puts rows into a database that nobody else knows of, and takes others out.
fn fill(path: &Path, new: bool, rows: &[Row], gone: &[String]) -> rusqlite::Result<()> {
    let mut database = Connection::open(path)?;
    // A file that was not filled to its end is never renamed.
    database.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA page_size = 16384")?;
    let transaction = database.transaction()?;
    if new {
        transaction.execute_batch(TABLE)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    let mut put =
        transaction.prepare("INSERT OR REPLACE INTO records VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?;
    for row in rows {
        let Row { folder, stamp: Stamp { times: [modified, changed], size, inode }, run, plan, scores, seconds } = row;
        put.execute(params![folder, modified, changed, size, inode, run, plan, scores, seconds, row.sum()])?;
    }
    let mut take = transaction.prepare("DELETE FROM records WHERE folder = ?1")?;
    for folder in gone {
        take.execute([folder])?;
    }
    drop((put, take));
    transaction.commit()?;
    database.close().map_err(|(_, error)| error)
}
