//! One architecture's calls, found by name without searching.

/// A power of two, at least twice as large as the largest table.
const SLOTS: usize = 1024;
/// No entry.
const FREE: u16 = u16::MAX;

/// System calls with a hash table over their names that is made by the compiler.
pub(super) struct Table {
    /// Name and number, sorted by name.
    pub(super) entries: &'static [(&'static str, u32)],
    /// At the hash of a name or after it (linear probing): its place among the entries.
    slots: [u16; SLOTS],
}

impl Table {
    pub(super) const fn new(entries: &'static [(&'static str, u32)]) -> Self {
        assert!(entries.len() * 2 <= SLOTS);
        let mut slots = [FREE; SLOTS];
        let mut index = 0;
        let mut place = 0_u16;
        while index < entries.len() {
            let mut slot = hash(entries[index].0);
            while slots[slot] != FREE {
                slot = (slot + 1) % SLOTS;
            }
            slots[slot] = place;
            index += 1;
            place += 1;
        }
        Self { entries, slots }
    }

    pub(super) fn number(&self, name: &str) -> Option<u32> {
        let mut slot = hash(name);
        loop {
            // A free slot has no entry: the search is over.
            let &(known, number) = self.entries.get(usize::from(self.slots[slot]))?;
            if known == name {
                return Some(number);
            }
            slot = (slot + 1) % SLOTS;
        }
    }
}

/// The slot that a name is looked for at (FNV-1a). Whoever writes a profile can make names collide with a few entries of one
/// table, never with each other: nothing but the table's own names is ever in it.
const fn hash(name: &str) -> usize {
    let bytes = name.as_bytes();
    let mut hash = 0x811c_9dc5_u32;
    let mut index = 0;
    while index < bytes.len() {
        hash = (hash ^ bytes[index] as u32).wrapping_mul(0x0100_0193);
        index += 1;
    }
    // The upper bits depend on all of the name.
    (hash >> 16) as usize % SLOTS
}
