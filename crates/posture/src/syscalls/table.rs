//! One architecture's calls, found by name without searching.

/// A power of two, at least twice as large as the largest table.
const SLOTS: usize = 1024;
/// How many bits of a slot are the place of an entry; the others are of its hash, so that hardly any name is compared in vain.
const PLACE_BITS: u32 = 9;
const PLACE: u16 = (1 << PLACE_BITS) - 1;
/// No entry.
const FREE: u16 = u16::MAX;

/// A name that is looked for in several tables: what that takes is computed once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name<'a> {
    text: &'a str,
    hash: u32,
}

impl<'a> Name<'a> {
    /// The name of a system call, known or not.
    pub const fn new(text: &'a str) -> Self {
        // FNV-1a. Whoever writes a profile can choose names that meet entries of a table, but only a few of them: nothing but the
        // table's own names is ever in it.
        let bytes = text.as_bytes();
        let mut hash = 0x811c_9dc5_u32;
        let mut index = 0;
        while index < bytes.len() {
            hash = (hash ^ bytes[index] as u32).wrapping_mul(0x0100_0193);
            index += 1;
        }
        Self { text, hash }
    }

    /// As it is written.
    pub const fn text(&self) -> &'a str {
        self.text
    }

    const fn slot(&self) -> usize {
        // The upper bits depend on all of the name.
        (self.hash >> 16) as usize % SLOTS
    }

    const fn tag(&self) -> u16 {
        let [low, high, ..] = self.hash.to_le_bytes();
        u16::from_le_bytes([low, high]) & !PLACE
    }
}

/// System calls with a hash table over their names that is made by the compiler.
pub(super) struct Table {
    /// Name and number, sorted by name.
    pub(super) entries: &'static [(&'static str, u32)],
    /// At the slot of a name or after it (linear probing): a part of its hash, and its place among the entries.
    slots: [u16; SLOTS],
}

impl Table {
    pub(super) const fn new(entries: &'static [(&'static str, u32)]) -> Self {
        assert!(entries.len() * 2 <= SLOTS && entries.len() < PLACE as usize);
        let mut slots = [FREE; SLOTS];
        let mut place = 0_u16;
        while (place as usize) < entries.len() {
            let name = Name::new(entries[place as usize].0);
            let mut slot = name.slot();
            while slots[slot] != FREE {
                slot = (slot + 1) % SLOTS;
            }
            slots[slot] = name.tag() | place;
            place += 1;
        }
        Self { entries, slots }
    }

    pub(super) fn number(&self, name: &Name<'_>) -> Option<u32> {
        let mut slot = name.slot();
        loop {
            let found = self.slots[slot];
            if found == FREE {
                return None;
            }
            if found & !PLACE == name.tag() {
                let &(known, number) = self.entries.get(usize::from(found & PLACE))?;
                if known == name.text {
                    return Some(number);
                }
            }
            slot = (slot + 1) % SLOTS;
        }
    }
}
