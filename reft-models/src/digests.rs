//! Digests of the tensors of a file: BLAKE3 over the bytes as they are stored, computed once.
//!
//! They are kept in the user's cache by the file's path, size, times and inode, so that a model of 13 GB is hashed when it is
//! used first and not again. The cache is a copy and never the truth: an entry that is missing, damaged or of another state
//! of the file is computed anew, and one that cannot be written costs time and is no error.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::container::{Container, Encoding, PageCache, WeightsError};
use crate::hub::cache_dir;

/// Values of a tensor that are sampled.
const SAMPLES: usize = 8;

/// Bytes from which on a tensor is hashed by several threads.
const PARALLEL: usize = 1 << 20;

/// Seconds in which a file that was changed twice may show one time of change.
const SETTLED: u64 = 2;

/// Format of an entry and of what is digested; entries of another version are computed anew.
const VERSION: u32 = 1;

/// A tensor as a file holds it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct TensorDigest {
    /// Its type, such as `bf16` or `Q4_K`.
    pub stored_as: String,
    /// BLAKE3 of its bytes, hexadecimal.
    pub digest: String,
    /// A few of its values as f32, by their bits: at places that depend on their number alone. None where it is quantised.
    pub sample: Option<Vec<u32>>,
}

/// What changes whenever a file does.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct FileStamp {
    size: u64,
    /// Of the last change of content and of the file itself, in s and ns since 1970. The second cannot be set back.
    times: [(i64, i64); 2],
    inode: u64,
    device: u64,
}

impl FileStamp {
    fn of(file: &Metadata) -> Self {
        let times = [(file.mtime(), file.mtime_nsec()), (file.ctime(), file.ctime_nsec())];
        Self { size: file.size(), times, inode: file.ino(), device: file.dev() }
    }

    /// Whether a later change would show, `now` seconds after 1970.
    fn settled(&self, now: u64) -> bool {
        self.times.iter().all(|(seconds, _)| seconds.saturating_add_unsigned(SETTLED) < now as i64)
    }
}

/// An entry of the cache.
#[derive(Serialize, Deserialize)]
struct DigestEntry {
    version: u32,
    path: PathBuf,
    stamp: FileStamp,
    tensors: BTreeMap<String, TensorDigest>,
    /// BLAKE3 of the rest, against damage.
    sum: String,
}

impl DigestEntry {
    fn new(path: &Path, stamp: FileStamp, tensors: BTreeMap<String, TensorDigest>) -> Self {
        let mut entry = Self { version: VERSION, path: path.to_owned(), stamp, tensors, sum: String::new() };
        entry.sum = entry.computed_sum();
        entry
    }

    fn computed_sum(&self) -> String {
        let Self { version, path, stamp, tensors, sum: _ } = self;
        let text = serde_json::to_vec(&(version, path, stamp, tensors)).expect("plain data");
        blake3::hash(&text).to_hex().to_string()
    }
}

/// The cached digests of a file.
struct FileDigests {
    /// The entry's own file.
    entry: PathBuf,
    /// The file that is digested, without links.
    path: PathBuf,
    stamp: FileStamp,
}

impl FileDigests {
    /// None when the file cannot be looked at.
    fn of(path: &Path) -> Option<Self> {
        let path = path.canonicalize().ok()?;
        let stamp = FileStamp::of(&fs::metadata(&path).ok()?);
        let name = blake3::hash(path.as_os_str().as_encoded_bytes()).to_hex();
        Some(Self { entry: cache_dir().join("digests").join(format!("{}.json", &name[..32])), path, stamp })
    }

    /// What is known of the file as it is now.
    fn read(&self) -> BTreeMap<String, TensorDigest> {
        let entry = || -> Option<DigestEntry> { serde_json::from_slice(&fs::read(&self.entry).ok()?).ok() };
        let sound = |entry: &DigestEntry| {
            entry.version == VERSION
                && entry.path == self.path
                && entry.stamp == self.stamp
                && entry.sum == entry.computed_sum()
        };
        entry().filter(sound).map(|entry| entry.tensors).unwrap_or_default()
    }

    /// Keeps digests, unless the file was changed meanwhile or a moment ago.
    fn write(&self, tensors: BTreeMap<String, TensorDigest>) -> std::io::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if FileStamp::of(&fs::metadata(&self.path)?) != self.stamp || !self.stamp.settled(now) {
            return Ok(());
        }
        let folder = self.entry.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        let entry = DigestEntry::new(&self.path, self.stamp.clone(), tensors);
        file.write_all(&serde_json::to_vec(&entry).expect("plain data"))?;
        file.persist(&self.entry).map(|_| ()).map_err(|error| error.error)
    }
}

/// The digests of these tensors of a file, from the cache where it knows them.
///
/// # Errors
/// When a tensor cannot be read.
pub(crate) fn of(
    container: &dyn Container,
    names: &BTreeSet<String>,
) -> Result<BTreeMap<String, TensorDigest>, WeightsError> {
    let cache = FileDigests::of(container.path());
    let mut known = cache.as_ref().map(FileDigests::read).unwrap_or_default();
    let unknown: Vec<&String> = names.iter().filter(|name| !known.contains_key(*name)).collect();
    if !unknown.is_empty() {
        for name in unknown {
            known.insert(name.clone(), compute(container, name)?);
        }
        // The next process computes what could not be kept.
        let _ = cache.map(|cache| cache.write(known.clone()));
    }
    known.retain(|name, _| names.contains(name));
    Ok(known)
}

/// Whether the cache knows the digests of these tensors of a file, so that [`of`] need not read them.
pub(crate) fn cached(container: &dyn Container, names: &BTreeSet<String>) -> bool {
    let known = FileDigests::of(container.path()).map(|cache| cache.read()).unwrap_or_default();
    names.iter().all(|name| known.contains_key(name))
}

fn compute(container: &dyn Container, name: &str) -> Result<TensorDigest, WeightsError> {
    let damaged =
        |reason: String| WeightsError::Damaged { path: container.path().to_owned(), name: name.to_owned(), reason };
    let encoding = container.encoding(name).ok_or_else(|| damaged("not in the file".to_owned()))?;
    let bytes = container.bytes(name).map_err(damaged)?;
    let mut hasher = blake3::Hasher::new();
    if bytes.len() < PARALLEL {
        hasher.update(&bytes)
    } else {
        hasher.update_rayon(&bytes)
    };
    let digest = hasher.finalize().to_hex().to_string();
    let (stored_as, sample) = match encoding {
        Encoding::Quantised(format) => (format, None),
        Encoding::Plain(kind) => (kind_name(kind).to_owned(), Some(sample(&bytes, kind))),
    };
    drop(bytes);
    // The model may be loaded next.
    container.release(name, PageCache::Kept);
    Ok(TensorDigest { stored_as, digest, sample })
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Double => "f64",
        Kind::Half => "f16",
        Kind::BFloat16 => "bf16",
        _ => "f32",
    }
}

/// Values at pseudo-random places, which depend on how many values there are and on nothing else.
fn sample(bytes: &[u8], kind: Kind) -> Vec<u32> {
    let size = kind.elt_size_in_bytes();
    let count = bytes.len() / size;
    if count == 0 {
        return Vec::new();
    }
    let mut places = blake3::Hasher::new().update(&(count as u64).to_le_bytes()).finalize_xof();
    let mut chosen = Vec::with_capacity(SAMPLES * size);
    for _ in 0..SAMPLES {
        let mut draw = [0; size_of::<u64>()];
        places.fill(&mut draw);
        let place = (u64::from_le_bytes(draw) % count as u64) as usize;
        chosen.extend_from_slice(&bytes[place * size..(place + 1) * size]);
    }
    let values = Tensor::from_data_size(&chosen, &[SAMPLES as i64], kind).to_kind(Kind::Float);
    Vec::<f32>::try_from(&values).expect("a flat f32 tensor").into_iter().map(f32::to_bits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest() -> BTreeMap<String, TensorDigest> {
        let digest = TensorDigest { stored_as: "f32".to_owned(), digest: "00ff".to_owned(), sample: Some(vec![1, 2]) };
        BTreeMap::from([("w".to_owned(), digest)])
    }

    #[test]
    fn an_entry_is_used_for_the_file_as_it_was_and_only_whole() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("model.safetensors");
        fs::write(&file, "1234").expect("writable");
        let look = || FileDigests { entry: folder.path().join("entry.json"), ..FileDigests::of(&file).expect("there") };
        let cache = look();
        assert_eq!(cache.read(), BTreeMap::new());
        let entry =
            serde_json::to_string(&DigestEntry::new(&cache.path, cache.stamp.clone(), digest())).expect("plain data");
        fs::write(&cache.entry, &entry).expect("writable");
        assert_eq!(look().read(), digest());
        for damaged in [entry.replace("00ff", "00fe"), entry[..entry.len() / 2].to_owned(), String::new()] {
            fs::write(&cache.entry, damaged).expect("writable");
            assert_eq!(look().read(), BTreeMap::new());
        }
        fs::write(&cache.entry, entry).expect("writable");
        fs::write(&file, "12345").expect("writable");
        assert_eq!(look().read(), BTreeMap::new(), "another size");
    }

    #[test]
    fn a_file_changed_a_moment_ago_is_not_remembered() {
        let stamp = FileStamp { size: 1, times: [(50, 0), (100, 0)], inode: 1, device: 1 };
        assert!(!stamp.settled(100) && !stamp.settled(102) && stamp.settled(103));
    }

    #[test]
    fn samples_lie_at_the_same_places_in_every_type() {
        let values: Vec<f32> = (0..1000).map(|n| n as f32 * 0.5).collect();
        let tensor = Tensor::from_slice(&values);
        let sampled = |kind| sample(&crate::container::bytes_of(&tensor, kind).expect("bytes"), kind);
        assert_eq!(sampled(Kind::Float), sampled(Kind::Half), "multiples of a half below 1,024 are exact in f16");
        assert_eq!(sampled(Kind::Float).len(), SAMPLES);
        assert!(sample(&[], Kind::Float).is_empty());
    }
}
