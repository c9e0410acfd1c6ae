//! Which answers there are, in memory: what is not here costs no look at the disk, and the one that was given least recently
//! makes room for the next.

use std::sync::Arc;

use lru::LruCache;

use super::entry::Entry;
use super::key::Key;

/// What is known of an answer without reading it.
#[derive(Debug)]
pub(super) struct Slot {
    /// What it takes in the store.
    footprint: u64,
    expires_at_us: i64,
    /// The answer itself until it is on the disk.
    waiting: Option<Arc<Entry>>,
}

/// Where an answer is.
#[derive(Debug)]
pub(super) enum Place {
    Memory(Arc<Entry>),
    Disk,
}

/// All answers, bounded by what they take together.
#[derive(Debug)]
pub(super) struct Index {
    slots: LruCache<Key, Slot>,
    taken: u64,
    bound: u64,
}

impl Index {
    pub(super) fn new(bound: u64) -> Index {
        Index { slots: LruCache::unbounded(), taken: 0, bound }
    }

    /// Where the answer is that `key` names, which counts as given again now.
    pub(super) fn find(&mut self, key: &Key, now_us: i64) -> Option<Place> {
        let slot = self.slots.get(key)?;
        if slot.expires_at_us <= now_us {
            return None;
        }
        Some(slot.waiting.as_ref().map_or(Place::Disk, |entry| Place::Memory(Arc::clone(entry))))
    }

    /// Takes an answer in that is not on the disk yet, and returns those that have to go for it; `None` if it is larger than
    /// all of the room.
    pub(super) fn put(&mut self, key: Key, entry: &Arc<Entry>) -> Option<Vec<Key>> {
        let (footprint, expires_at_us) = (entry.card.footprint, entry.card.expires_at_us);
        self.enter(key, Slot { footprint, expires_at_us, waiting: Some(Arc::clone(entry)) })
    }

    /// Notes an answer that is on the disk, unless a newer one is here already.
    pub(super) fn know(&mut self, key: Key, footprint: u64, expires_at_us: i64) -> Option<Vec<Key>> {
        if self.slots.contains(&key) {
            return Some(Vec::new());
        }
        self.enter(key, Slot { footprint, expires_at_us, waiting: None })
    }

    fn enter(&mut self, key: Key, slot: Slot) -> Option<Vec<Key>> {
        if slot.footprint > self.bound {
            return None;
        }
        self.taken += slot.footprint;
        if let Some(old) = self.slots.put(key, slot) {
            self.taken -= old.footprint;
        }
        let mut gone = Vec::new();
        while self.taken > self.bound
            && let Some((key, slot)) = self.slots.pop_lru()
        {
            self.taken -= slot.footprint;
            gone.push(key);
        }
        Some(gone)
    }

    /// Notes that `entry` is on the disk, unless another has taken its place meanwhile.
    pub(super) fn is_written(&mut self, key: &Key, entry: &Arc<Entry>) {
        if let Some(slot) = self.slots.peek_mut(key)
            && slot.waiting.as_ref().is_some_and(|waiting| Arc::ptr_eq(waiting, entry))
        {
            slot.waiting = None;
        }
    }

    /// Forgets an answer; whether there was one.
    pub(super) fn remove(&mut self, key: &Key) -> bool {
        let Some(slot) = self.slots.pop(key) else { return false };
        self.taken -= slot.footprint;
        true
    }

    /// Forgets an answer that was removed from the disk, unless a newer one is on its way there.
    pub(super) fn is_removed(&mut self, key: &Key) {
        if self.slots.peek(key).is_some_and(|slot| slot.waiting.is_none()) {
            self.remove(key);
        }
    }

    /// Whether there is an answer, which does not count as given again.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.slots.contains(key)
    }

    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.taken = 0;
    }

    /// How many answers there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// What they take in the store together.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::tests::entry;
    use super::super::key::Parts;
    use super::*;

    fn key(name: &str) -> Key {
        Parts::of_tenant(name).key()
    }

    #[test]
    fn the_answer_given_least_recently_makes_room() {
        let small = Arc::new(entry("acme", b"x"));
        let mut index = Index::new(3 * small.card.footprint);
        for name in ["a", "b", "c"] {
            assert_eq!(index.put(key(name), &small), Some(Vec::new()));
        }
        assert!(matches!(index.find(&key("a"), 0), Some(Place::Memory(_))));
        assert_eq!(index.put(key("d"), &small), Some(vec![key("b")]));
        assert_eq!(index.put(key("d"), &small), Some(Vec::new()), "its own place");
        assert_eq!((index.len(), index.taken()), (3, 3 * small.card.footprint));
        let huge = Arc::new(entry("acme", &[0; 100_000]));
        assert_eq!(index.put(key("e"), &huge), None);
        assert_eq!(index.len(), 3, "nothing goes for what does not fit");
    }

    #[test]
    fn an_answer_is_in_memory_until_it_is_written_and_gone_once_it_is_too_old() {
        let (mut index, kept) = (Index::new(1 << 20), Arc::new(entry("acme", b"x")));
        index.put(key("a"), &kept);
        index.is_written(&key("a"), &Arc::new(entry("acme", b"x")));
        assert!(matches!(index.find(&key("a"), 0), Some(Place::Memory(_))), "another's writing does not count");
        index.is_written(&key("a"), &kept);
        assert!(matches!(index.find(&key("a"), 0), Some(Place::Disk)));
        index.know(key("b"), 1_000, 50);
        assert!(index.find(&key("b"), 49).is_some() && index.find(&key("b"), 50).is_none());
        assert!(index.remove(&key("a")) && !index.remove(&key("a")));
        assert_eq!(index.taken(), 1_000);
    }
}
