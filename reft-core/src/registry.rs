//! A table of entries, one for each thing that a key in a configuration can name. A program may extend it when it starts.
//!
//! Built-in entries stand in the table's own file. A program adds its own with [`Registry::add`]; from then on their keys
//! are parsed, listed and suggested like the others.

use std::sync::{PoisonError, RwLock};

/// An entry of a [`Registry`].
pub trait RegistryEntry: Send + Sync + 'static {
    /// The key in configurations.
    fn key(&self) -> &'static str;
}

/// A key that an entry has already.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is registered already: choose another key")]
pub struct KeyTaken(pub &'static str);

#[derive(Clone, Copy)]
struct RegistryTable<E: 'static> {
    entries: &'static [&'static E],
    keys: &'static [&'static str],
}

/// Entries by key, in the order in which they were registered. They live as long as the program.
pub struct Registry<E: 'static>(RwLock<RegistryTable<E>>);

impl<E: RegistryEntry> Registry<E> {
    /// A table that begins with these entries.
    pub fn new(entries: Vec<E>) -> Self {
        let registry = Self(RwLock::new(RegistryTable { entries: &[], keys: &[] }));
        for entry in entries {
            registry.add(entry).expect("built-in entries have different keys");
        }
        registry
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// When another entry has its key.
    pub fn add(&self, entry: E) -> Result<(), KeyTaken> {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if table.keys.contains(&entry.key()) {
            return Err(KeyTaken(entry.key()));
        }
        let keys: Vec<&'static str> = table.keys.iter().copied().chain([entry.key()]).collect();
        let entry: &'static E = Box::leak(Box::new(entry));
        let entries: Vec<&'static E> = table.entries.iter().copied().chain([entry]).collect();
        *table = RegistryTable { entries: entries.leak(), keys: keys.leak() };
        Ok(())
    }

    /// All entries.
    pub fn entries(&self) -> &'static [&'static E] {
        self.0.read().unwrap_or_else(PoisonError::into_inner).entries
    }

    /// Their keys.
    pub fn keys(&self) -> &'static [&'static str] {
        self.0.read().unwrap_or_else(PoisonError::into_inner).keys
    }

    /// The entry of a key.
    pub fn find(&self, key: &str) -> Option<&'static E> {
        self.entries().iter().copied().find(|entry| entry.key() == key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl RegistryEntry for &'static str {
        fn key(&self) -> &'static str {
            self
        }
    }

    #[test]
    fn entries_keep_their_order_and_no_key_is_given_twice() {
        let registry = Registry::new(vec!["b", "a"]);
        assert_eq!(registry.add("c"), Ok(()));
        assert_eq!(registry.add("a"), Err(KeyTaken("a")));
        assert_eq!(registry.keys(), ["b", "a", "c"]);
        assert_eq!(registry.find("c"), Some(&"c"));
        assert_eq!(registry.find("d"), None);
    }
}
