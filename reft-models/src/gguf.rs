//! A GGUF file: de-quantised on reading, llama.cpp's names and row order turned into Hugging Face's.

mod block;
mod config;
mod dialect;
mod header;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, json};
use tch::Tensor;

use self::block::Storage;
use self::config::GgufContext;
use self::dialect::{DIALECTS, GgufDialect};
use self::header::{Entry, Header, Metadata};
use crate::container::{Container, Encoding, FileKind, PageCache, WeightsError, bytes_of, open_error};
use crate::mapped::{Mapped, mapped};
use crate::raw_config::RawConfig;

/// GGUF files, for lists.
pub(crate) fn file_kind() -> FileKind {
    let names = |names: &mut dyn Iterator<Item = &'static str>| names.collect::<Vec<_>>().join(", ");
    let read = names(&mut block::READ.iter().map(|(_, name, _)| *name));
    let unread = names(&mut block::UNREAD.iter().map(|(_, name)| *name));
    FileKind::new(
        "*.gguf",
        format!("{read}, made f32, f16 or bf16 as they are read; not {unread}; one file, not split ones"),
    )
}

/// What GGUF files call a model of this architecture; none where such files are not read.
pub fn architecture_of(hugging_face: &str) -> Option<&'static str> {
    DIALECTS.iter().find(|dialect| dialect.hugging_face == hugging_face).map(|dialect| dialect.architecture)
}

/// A GGUF file of a decoder.
pub struct GgufFile {
    path: PathBuf,
    file: Mapped,
    header: Header,
    dialect: &'static GgufDialect,
    /// Hugging Face name to llama.cpp's.
    names: BTreeMap<String, String>,
}

impl GgufFile {
    /// Reads the header.
    ///
    /// # Errors
    /// When the file is missing, truncated, or holds no family that is read.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        std::fs::metadata(path).map_err(|error| open_error(path, format!("{error}: check the path")))?;
        let file = mapped(path)?;
        let bytes = file.bytes().map_err(|reason| open_error(path, reason))?;
        let header = Header::parse(bytes).map_err(|reason| {
            let advice = "download it again, or choose a file in a common type such as F16, Q8_0 or Q4_K_M";
            open_error(path, format!("truncated, or no GGUF file that can be read ({reason}): {advice}"))
        })?;
        let length = bytes.len();
        if header.tensors.values().any(|entry| header.end(entry).is_none_or(|end| end > length as u64)) {
            return Err(open_error(path, format!("truncated ({length} bytes): download it again")));
        }
        let dialect = dialect_of(path, &header)?;
        let names = header.tensors.keys().filter_map(|name| Some((dialect.name(name)?, name.clone())));
        let names = names.collect();
        Ok(Self { path: path.to_owned(), file, header, dialect, names })
    }

    /// A metadata value of a kind.
    fn value<'a, T>(
        &'a self,
        key: &str,
        kind: &str,
        of: impl Fn(&'a Metadata) -> Option<T>,
    ) -> Result<T, WeightsError> {
        let missing = || open_error(&self.path, format!("metadata `{key}` is missing: not a complete model file"));
        let value = self.header.metadata.get(key).ok_or_else(missing)?;
        of(value).ok_or_else(|| open_error(&self.path, format!("metadata `{key}` is not {kind}")))
    }

    /// A metadata list, all of one kind.
    fn list<'a, T>(
        &'a self,
        key: &str,
        kind: &str,
        of: impl Fn(&'a Metadata) -> Option<T>,
    ) -> Result<Vec<T>, WeightsError> {
        self.value(key, &format!("a list of {kind}"), |value| value.list()?.iter().map(&of).collect())
    }

    /// A metadata string.
    ///
    /// # Errors
    /// When the file lacks it or holds something else.
    pub fn text(&self, key: &str) -> Result<String, WeightsError> {
        self.value(key, "a text", Metadata::text).map(str::to_owned)
    }

    /// A metadata list of strings.
    ///
    /// # Errors
    /// When the file lacks it or holds something else.
    pub fn texts(&self, key: &str) -> Result<Vec<String>, WeightsError> {
        self.list(key, "texts", |item| item.text().map(str::to_owned))
    }

    /// A metadata number; GGUF writers differ in the width they give it.
    ///
    /// # Errors
    /// When the file lacks it or holds something else.
    pub fn integer(&self, key: &str) -> Result<i64, WeightsError> {
        self.value(key, "a number", Metadata::integer)
    }

    /// A metadata list of numbers.
    ///
    /// # Errors
    /// When the file lacks it or holds something else.
    pub fn integers(&self, key: &str) -> Result<Vec<i64>, WeightsError> {
        self.list(key, "numbers", Metadata::integer)
    }

    /// A metadata list of scores.
    ///
    /// # Errors
    /// When the file lacks it or holds something else.
    pub fn scores(&self, key: &str) -> Result<Vec<f32>, WeightsError> {
        self.list(key, "scores", |item| item.float().map(|score| score as f32))
    }

    /// Whether the file has this key.
    pub fn has(&self, key: &str) -> bool {
        self.header.metadata.contains_key(key)
    }

    /// A metadata switch; off when the file does not say.
    ///
    /// # Errors
    /// When it is something else.
    pub fn switch(&self, key: &str) -> Result<bool, WeightsError> {
        if self.has(key) { self.value(key, "true or false", Metadata::bool) } else { Ok(false) }
    }

    /// The configuration in Hugging Face's terms.
    ///
    /// # Errors
    /// When the metadata is incomplete, wrong, or says something that changes results and is not understood.
    pub fn config(&self) -> Result<serde_json::Value, WeightsError> {
        let (section, prefix) = (self.section(), format!("{}.", self.dialect.architecture));
        let vocab = self.header.tensors.get("token_embd.weight").and_then(|entry| entry.shape.first());
        let [one, short, long] = config::DIVISORS.map(|name| self.numbers(name));
        let known = GgufContext {
            names: [self.dialect.hugging_face, self.dialect.architecture],
            vocab: vocab.copied(),
            has: &|name| self.header.tensors.contains_key(name),
            ends: ["tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id"].map(|key| self.integer(key).ok()),
            divisors: [one?, short?, long?],
        };
        Ok(config::translated(&RawConfig::within(&self.path, &prefix, &section), &known)?)
    }

    /// The model's own metadata. A number that is none becomes a text, which no reader of numbers takes.
    fn section(&self) -> Map<String, serde_json::Value> {
        let own = |key: &String| key.strip_prefix(self.dialect.architecture)?.strip_prefix('.').map(str::to_owned);
        let json = |value: &Metadata| match *value {
            Metadata::Float(number) if number.is_finite() => json!(number),
            Metadata::Bool(switch) => json!(switch),
            Metadata::Text(ref text) => json!(text),
            ref other => other.integer().map_or_else(|| json!(other.to_string()), |number| json!(number)),
        };
        self.header.metadata.iter().filter_map(|(key, value)| Some((own(key)?, json(value)))).collect()
    }

    /// The numbers of a tensor that Hugging Face's layout does not have; none where there is no such tensor.
    fn numbers(&self, theirs: &str) -> Result<Option<Vec<f64>>, WeightsError> {
        if !self.header.tensors.contains_key(theirs) {
            return Ok(None);
        }
        let (path, name) = (self.path.clone(), theirs.to_owned());
        let tensor = self.dequantised(theirs).map_err(|reason| WeightsError::Damaged { path, name, reason })?;
        let values = Vec::<f32>::try_from(tensor.flatten(0, -1)).expect("f32 values");
        Ok(Some(values.into_iter().map(f64::from).collect()))
    }

    /// A tensor as llama.cpp ordered it, f32.
    fn dequantised(&self, theirs: &str) -> Result<Tensor, String> {
        let (entry, stored) = self.stored(theirs)?;
        Ok(entry.storage.dequantised(stored).reshape(&entry.shape))
    }

    /// A tensor's bytes as they lie in the file.
    fn stored(&self, theirs: &str) -> Result<(&Entry, &[u8]), String> {
        let entry = self.header.tensors.get(theirs).ok_or("not in the file")?;
        let begin = (self.header.data_begins + entry.offset) as usize;
        let stored = self.file.bytes()?.get(begin..begin + entry.size as usize);
        Ok((entry, stored.ok_or("the file ends within it")?))
    }

    /// Query heads and key/value heads; as many when the file does not say.
    fn heads(&self) -> Result<[i64; 2], WeightsError> {
        let key = |name: &str| format!("{}.attention.{name}", self.dialect.architecture);
        let heads = self.integer(&key("head_count"))?;
        Ok([heads, self.integer(&key("head_count_kv")).unwrap_or(heads)])
    }
}

/// How the file's family is written.
fn dialect_of(path: &Path, header: &Header) -> Result<&'static GgufDialect, WeightsError> {
    let key = "general.architecture";
    let architecture = header.metadata.get(key).and_then(Metadata::text);
    let missing = || open_error(path, format!("metadata `{key}` is missing: not a complete model file"));
    let architecture = architecture.ok_or_else(missing)?;
    DIALECTS.iter().find(|dialect| dialect.architecture == architecture).ok_or_else(|| {
        let known: Vec<&str> = DIALECTS.iter().map(|dialect| dialect.architecture).collect();
        open_error(
            path,
            format!("architecture `{architecture}` is not read from GGUF files: there is {}", known.join(", ")),
        )
    })
}

/// Bytes of a file before its tensors: the model's settings and its vocabulary.
///
/// # Errors
/// When the file is missing, truncated, or no GGUF file of a decoder.
pub(crate) fn header(path: &Path) -> Result<Vec<u8>, WeightsError> {
    let file = GgufFile::open(path)?;
    let bytes = file.file.bytes().map_err(|reason| open_error(path, reason))?;
    Ok(bytes[..bytes.len().min(file.header.data_begins as usize)].to_vec())
}

impl Container for GgufFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn shapes(&self) -> BTreeMap<String, Vec<i64>> {
        let shape = |(ours, theirs): (&String, &String)| {
            let stored = &self.header.tensors[theirs].shape;
            let shape = self.dialect.change(ours).map_or_else(|| stored.clone(), |change| change.undone_shape(stored));
            (ours.clone(), shape)
        };
        self.names.iter().map(shape).collect()
    }

    fn others(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    fn read(&self, name: &str) -> Result<Tensor, String> {
        let tensor = self.dequantised(self.names.get(name).ok_or("not in the file")?)?;
        match self.dialect.change(name) {
            Some(change) => change.undone(&tensor, self.heads().map_err(|error| error.to_string())?),
            None => Ok(tensor),
        }
    }

    fn release(&self, name: &str, cache: PageCache) {
        if let Some(Entry { offset, size, .. }) = self.names.get(name).and_then(|own| self.header.tensors.get(own)) {
            let begin = (self.header.data_begins + offset) as usize;
            self.file.release(begin..begin + *size as usize, cache);
        }
    }

    fn encoding(&self, name: &str) -> Option<Encoding> {
        Some(match self.header.tensors.get(self.names.get(name)?)?.storage {
            Storage::Plain(kind) => Encoding::Plain(kind),
            Storage::Blocks(block) => Encoding::Quantised(format!("{block:?}")),
        })
    }

    /// Blocks of quantised values are taken as they lie in the file, in llama.cpp's order of rows.
    fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>, String> {
        match self.encoding(name).ok_or("not in the file")? {
            Encoding::Plain(kind) => bytes_of(&self.read(name)?, kind).map(Cow::Owned),
            Encoding::Quantised(_) => self.stored(&self.names[name]).map(|(_, stored)| Cow::Borrowed(stored)),
        }
    }
}
