//! The activation cache: what a forward pass computes below the first edit, which training cannot change, for each example; in memory,
//! and in a temporary file once that is used up.

use std::collections::HashMap;
use std::rc::Rc;

use tch::Tensor;

use super::spill::{SpillFile, SpilledTensor, bytes};
use crate::data::encode::{Example, ExampleDigest};

/// How much may be cached between updates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CacheBudget {
    /// Bytes in memory.
    pub memory: usize,
    /// Bytes in a temporary file, once memory is used up.
    pub disk: usize,
}

/// The part of one example that no parameter reaches.
#[derive(Debug)]
pub struct CachedExample {
    /// Input of the blocks from the frontier on, for the tokens from the first edited one on, `[n, D]`.
    pub h: Tensor,
    /// Keys and values of the tokens before, for these blocks, `[L, s, K, E]` each; none where `s` is 0.
    pub past: Option<(Tensor, Tensor)>,
}

/// Where it is.
#[derive(Debug)]
enum CacheLocation {
    Memory(Rc<CachedExample>),
    Disk { h: SpilledTensor, past: Option<(SpilledTensor, SpilledTensor)> },
}

/// The parts of a set of examples, by what these are: rows of two files can have one name.
#[derive(Debug)]
pub struct ActivationCache {
    budget: CacheBudget,
    places: HashMap<ExampleDigest, CacheLocation>,
    memory: usize,
    disk: usize,
    spill: Option<SpillFile>,
}

impl ActivationCache {
    /// Nothing yet.
    pub fn new(budget: CacheBudget) -> Self {
        Self { budget, places: HashMap::new(), memory: 0, disk: 0, spill: None }
    }

    /// Bytes of memory in use.
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// Bytes of the file in use.
    pub fn disk(&self) -> usize {
        self.disk
    }

    /// What is held and where, in words.
    pub fn describe(&self) -> String {
        let mib = |bytes: usize| bytes.div_ceil(1 << 20);
        let (memory, disk) = (mib(self.memory), mib(self.disk));
        format!("{} examples held, {memory} MiB in memory, {disk} MiB on disk", self.places.len())
    }

    /// The part of an example, if it is kept.
    pub fn get(&self, example: &Example) -> Option<Rc<CachedExample>> {
        match self.places.get(&example.digest())? {
            CacheLocation::Memory(base) => Some(Rc::clone(base)),
            // A file that cannot be read costs time, not the run: the part is computed again.
            CacheLocation::Disk { h, past } => {
                let get = |stored: &SpilledTensor| self.spill.as_ref()?.get(stored).ok();
                let past = match past {
                    None => None,
                    Some((keys, values)) => Some((get(keys)?, get(values)?)),
                };
                Some(Rc::new(CachedExample { h: get(h)?, past }))
            }
        }
    }

    /// Keeps the part of an example, in memory as long as there is room; whether it did.
    pub fn put(&mut self, example: &Example, base: CachedExample) -> bool {
        let digest = example.digest();
        if self.places.contains_key(&digest) {
            return true;
        }
        let size = bytes(&base.h) + base.past.as_ref().map_or(0, |(keys, values)| bytes(keys) + bytes(values));
        let place = if self.memory + size <= self.budget.memory {
            self.memory += size;
            CacheLocation::Memory(Rc::new(base))
        } else if self.disk + size <= self.budget.disk {
            match self.write(&base) {
                Ok(place) => {
                    self.disk += size;
                    place
                }
                Err(error) => {
                    eprintln!("frozen cache: no more is kept on disk ({error}); training goes on without");
                    return false;
                }
            }
        } else {
            return false;
        };
        self.places.insert(digest, place);
        true
    }

    fn write(&mut self, base: &CachedExample) -> std::io::Result<CacheLocation> {
        let spill = match &mut self.spill {
            Some(spill) => spill,
            none => none.insert(SpillFile::new()?),
        };
        let past = match &base.past {
            None => None,
            Some((keys, values)) => Some((spill.put(keys)?, spill.put(values)?)),
        };
        Ok(CacheLocation::Disk { h: spill.put(&base.h)?, past })
    }
}
