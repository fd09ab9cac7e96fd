//! The two forms of a `.bin` file: where the pickle and the storages lie in it.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::ops::Range;

use zip::{CompressionMethod, ZipArchive};

use super::fault::PickleFault;
use super::kind;
use super::machine::{ByteReader, Heap, ObjectId, PickleObject, load};
use super::tensors::{StorageReference, check_dictionary};

/// PyTorch's number at the beginning of a legacy file, as a pickle writes it.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// How the file is laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PickleFormat {
    /// A zip archive, since PyTorch 1.6.
    Zip,
    /// Pickles and storages one after the other.
    Legacy,
}

/// A file's pickle and where its storages are.
pub(super) struct PickleContents {
    pub heap: Heap,
    pub root: ObjectId,
    pub storages: BTreeMap<String, Range<usize>>,
}

impl PickleFormat {
    /// By the first bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let begin = &bytes[..bytes.len().min(32)];
        if begin.windows(MAGIC.len()).any(|window| window == MAGIC) { Self::Legacy } else { Self::Zip }
    }

    /// An error in a user's words.
    pub fn describe(self, reason: PickleFault) -> String {
        let form = match self {
            Self::Zip => "",
            Self::Legacy => "of the form from before PyTorch 1.6, ",
        };
        let advice = "download it again, or save it anew as safetensors";
        match reason {
            PickleFault::Damaged(how) => format!("{form}truncated or damaged ({how}): {advice}"),
            PickleFault::NoDictionary(found) => format!(
                "{form}holds {found}, not a dictionary of tensors: save the model's state_dict(), best as safetensors"
            ),
            PickleFault::Unread(how) => format!("{form}{how}: save it anew as safetensors"),
        }
    }

    /// Reads the pickle and finds the storages.
    pub fn read(self, bytes: &[u8]) -> Result<PickleContents, PickleFault> {
        match self {
            Self::Zip => archive(bytes),
            Self::Legacy => legacy(bytes),
        }
    }
}

fn archive(bytes: &[u8]) -> Result<PickleContents, PickleFault> {
    let damaged = |error: zip::result::ZipError| PickleFault::Damaged(error.to_string());
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
    let mut entries = BTreeMap::new();
    for index in 0..archive.len() {
        let file = archive.by_index_raw(index).map_err(damaged)?;
        if file.compression() != CompressionMethod::Stored {
            return Err(PickleFault::Unread("a compressed archive, which PyTorch does not write"));
        }
        let name = file.name().map_err(damaged)?.into_owned();
        let start = file.data_start().and_then(|start| usize::try_from(start).ok());
        let length = usize::try_from(file.size()).ok();
        let range = start.zip(length).and_then(|(start, length)| Some(start..start.checked_add(length)?));
        let inside = range.filter(|range| range.end <= bytes.len());
        entries.insert(
            name.clone(),
            inside.ok_or_else(|| PickleFault::Damaged(format!("`{name}` lies outside the file")))?,
        );
    }
    let pickle = entries.keys().find(|name| *name == "data.pkl" || name.ends_with("/data.pkl"));
    let pickle = pickle.ok_or_else(|| PickleFault::Damaged("no data.pkl inside".to_owned()))?;
    let folder = pickle.trim_end_matches("data.pkl");
    let order = entries.get(&format!("{folder}byteorder")).and_then(|range| bytes.get(range.clone()));
    if order.is_some_and(|order| order != b"little") {
        return Err(PickleFault::Unread("written on a big-endian machine"));
    }
    let (heap, root) = load(&mut ByteReader::new(&bytes[entries[pickle].clone()], 0)).map_err(PickleFault::Damaged)?;
    check_dictionary(&heap, root)?;
    let data = format!("{folder}data/");
    let storage = |(name, range): (&String, &Range<usize>)| Some((name.strip_prefix(&data)?.to_owned(), range.clone()));
    Ok(PickleContents { heap, root, storages: entries.iter().filter_map(storage).collect() })
}

/// Pickles of the magic number, the protocol's version, facts of the machine, the dictionary, the list of storages; then
/// each storage with the number of its elements before it.
fn legacy(bytes: &[u8]) -> Result<PickleContents, PickleFault> {
    let mut reader = ByteReader::new(bytes, 0);
    let mut next = || load(&mut reader).map_err(PickleFault::Damaged);
    let ((_, _), (_, _), (facts, machine)) = (next()?, next()?, next()?);
    if let PickleObject::Dict(pairs) = facts.get(machine) {
        let big = |&(key, value): &(ObjectId, ObjectId)| {
            facts.text(key) == Some("little_endian") && *facts.get(value) == PickleObject::Bool(false)
        };
        if pairs.iter().any(big) {
            return Err(PickleFault::Unread("written on a big-endian machine"));
        }
    }
    let (heap, root) = next()?;
    check_dictionary(&heap, root)?;
    let (listed, keys) = next()?;
    let widths = element_widths(&heap);
    let mut storages = BTreeMap::new();
    for &id in listed.tuple(keys).unwrap_or_default() {
        let key = match listed.get(id) {
            PickleObject::Text(key) => key.clone(),
            PickleObject::Int(key) => key.to_string(),
            _ => return Err(PickleFault::Damaged("a storage without a name".to_owned())),
        };
        let count = reader.long().map_err(PickleFault::Damaged)?;
        let cut = || PickleFault::Damaged(format!("storage {key} lies outside the file"));
        let width = widths.get(&key).copied().ok_or_else(cut)?;
        let length = usize::try_from(count).ok().and_then(|count| count.checked_mul(width)).ok_or_else(cut)?;
        let start = reader.at;
        reader.take(length).map_err(|_| cut())?;
        storages.insert(key, start..start + length);
    }
    Ok(PickleContents { heap, root, storages })
}

/// Bytes of an element in each storage that a pickle refers to.
fn element_widths(heap: &Heap) -> BTreeMap<String, usize> {
    let references = (0..heap.all().count()).filter_map(|id| StorageReference::read(heap, id));
    let width = |class: &str| match class {
        "CharStorage" | "ByteStorage" | "BoolStorage" => Some(1),
        "ShortStorage" => Some(2),
        "IntStorage" => Some(4),
        "LongStorage" | "ComplexFloatStorage" => Some(8),
        other => kind(other).map(tch::Kind::elt_size_in_bytes),
    };
    references.filter_map(|reference| Some((reference.key.clone(), width(reference.class)?))).collect()
}
