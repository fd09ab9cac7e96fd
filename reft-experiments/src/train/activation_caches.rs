//! The LRU cache of activation caches, which the runs of one process share. The trials of a sweep differ in learning rates and ranks
//! far more often than in rows and layers, and a promoted trial needs the activations of its last rung again.

use std::cell::RefCell;
use std::rc::Rc;

use reft_core::adaptation::Frontier;

use super::activation_cache::{ActivationCache, CacheBudget};

/// What decides the cached activations of one model.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ActivationCacheKey {
    /// Blocks below the first edit.
    pub frontier: Frontier,
    /// First edited token, by prompt length.
    pub first_edited: Vec<i64>,
    /// Tokens in one pass at most: digits depend on which examples share one.
    pub tokens: usize,
    /// What may be kept.
    pub budget: CacheBudget,
    /// Hash of the examples.
    pub examples: [u8; 32],
}

/// Activation caches by key, as many as fit into the budget of one; the most recently used are at the end.
#[derive(Default, Debug)]
pub struct ActivationCaches(RefCell<Vec<(ActivationCacheKey, Rc<ActivationCache>)>>);

impl ActivationCaches {
    /// The activation cache of a key, which is then the most recently used.
    pub fn find(&self, key: &ActivationCacheKey) -> Option<Rc<ActivationCache>> {
        let mut sets = self.0.borrow_mut();
        let place = sets.iter().position(|(other, _)| other == key)?;
        let set = sets.remove(place);
        let kept = Rc::clone(&set.1);
        sets.push(set);
        Some(kept)
    }

    /// Drops the least recently used until `needed` more bytes fit into a budget, or nothing is left.
    pub fn make_room(&self, budget: CacheBudget, needed: usize) {
        let mut sets = self.0.borrow_mut();
        let (memory, disk) = (needed.min(budget.memory), needed.saturating_sub(budget.memory));
        let held = |sets: &[(ActivationCacheKey, Rc<ActivationCache>)], of: fn(&ActivationCache) -> usize| {
            sets.iter().map(|(_, kept)| of(kept)).sum::<usize>()
        };
        let fits = |sets: &[(ActivationCacheKey, Rc<ActivationCache>)]| {
            held(sets, ActivationCache::memory) + memory <= budget.memory
                && held(sets, ActivationCache::disk) + disk <= budget.disk
        };
        while !sets.is_empty() && !fits(&sets) {
            sets.remove(0);
        }
    }

    /// Drops everything.
    pub fn clear(&self) {
        self.0.borrow_mut().clear();
    }

    /// Keeps an activation cache for later runs.
    pub fn put(&self, key: ActivationCacheKey, kept: Rc<ActivationCache>) {
        self.0.borrow_mut().push((key, kept));
    }
}

#[cfg(test)]
mod tests {
    use reft_core::testing::normal;

    use super::*;
    use crate::data::encode::Example;
    use crate::train::activation_cache::CachedExample;

    /// A key of its own for each number of tokens.
    fn key(tokens: usize) -> ActivationCacheKey {
        let budget = CacheBudget { memory: 1000, disk: 0 };
        ActivationCacheKey { frontier: Frontier::NONE, first_edited: Vec::new(), tokens, budget, examples: [0; 32] }
    }

    /// 400 bytes.
    fn kept() -> Rc<ActivationCache> {
        let mut kept = ActivationCache::new(key(0).budget);
        let example = Example { ids: vec![1, 2], prompt: 1, name: "row".to_owned(), lost: 0 };
        assert!(kept.put(&example, CachedExample { h: normal(&[10, 10], 1), past: None }));
        Rc::new(kept)
    }

    #[test]
    fn the_least_recently_used_goes_when_room_is_needed() {
        let caches = ActivationCaches::default();
        for tokens in [1, 2] {
            caches.make_room(key(0).budget, 400);
            caches.put(key(tokens), kept());
        }
        assert_eq!(caches.find(&key(1)).map(|kept| kept.memory()), Some(400));
        caches.make_room(key(0).budget, 400);
        assert!(caches.find(&key(1)).is_some(), "used last");
        assert!(caches.find(&key(2)).is_none(), "used before");
        // More than the budget is never kept, so what is wanted beyond it leaves no room for others.
        caches.make_room(key(0).budget, 5000);
        assert!(caches.find(&key(1)).is_none());
    }
}
