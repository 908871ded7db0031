//! Device ids and what they stand for.

use std::fmt;
use std::hash::BuildHasher as _;
use std::sync::Arc;

use hashbrown::DefaultHashBuilder;

/// Bytes before an id: its length and its spot.
const HEAD: usize = 8;
/// Ids that are looked up together.
const TOGETHER: usize = 64;
/// Slots of an empty table.
const SLOTS: usize = 16;

/// The spot of each device id.
///
/// The records of a large fleet come in any order, so each look-up waits for memory twice: for a slot of the
/// table, and for an entry, where length, spot and id lie side by side. Ids are looked up many at a time, in steps
/// that do not depend on each other, so that a processor waits for all of them at once (benches/README.md).
pub(super) struct Devices {
    hasher: DefaultHashBuilder,
    /// Open addressing with linear probing, at most half full; its length is a power of two.
    slots: Vec<Slot>,
    count: usize,
    /// Entries: the id's length and the spot, four bytes each, and the id.
    entries: Vec<u8>,
}

/// Where an id's entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    /// Bits of the hash that do not choose the slot.
    tag: u32,
    /// Where the entry begins; [`EMPTY`] if there is none.
    at: u32,
}

const EMPTY: Slot = Slot { tag: 0, at: u32::MAX };

impl Default for Devices {
    fn default() -> Self {
        Self {
            hasher: DefaultHashBuilder::default(),
            slots: vec![EMPTY; SLOTS],
            count: 0,
            entries: Vec::new(),
        }
    }
}

impl fmt::Debug for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Devices").field("count", &self.count).finish_non_exhaustive()
    }
}

impl Devices {
    /// Gives ids a spot. One that has a spot keeps it.
    pub(super) fn extend(&mut self, ids: &[Arc<str>], spot: u32) {
        self.reserve(ids.len());
        for id in ids {
            let hash = self.hasher.hash_one(id.as_bytes());
            let Err(free) = self.find(hash, id) else { continue };
            // Policies have at most `MAX_BYTES` of text, of which each id and what parts it from the next take
            // two bytes or more and become nine or more here: together less than 4 GiB.
            self.slots[free] = Slot { tag: tag(hash), at: self.entries.len() as u32 };
            self.count += 1;
            self.entries.extend((id.len() as u32).to_le_bytes());
            self.entries.extend(spot.to_le_bytes());
            self.entries.extend(id.as_bytes());
        }
    }

    fn reserve(&mut self, more: usize) {
        let slots = ((self.count + more) * 2).next_power_of_two();
        if slots <= self.slots.len() {
            return;
        }
        let before = std::mem::replace(&mut self.slots, vec![EMPTY; slots]);
        for slot in before.into_iter().filter(|slot| *slot != EMPTY) {
            let Some((id, _)) = self.entry(slot) else { continue };
            let mut place = self.home(self.hasher.hash_one(id));
            while self.slots[place] != EMPTY {
                place = (place + 1) & (self.slots.len() - 1);
            }
            self.slots[place] = slot;
        }
    }

    fn home(&self, hash: u64) -> usize {
        hash as usize & (self.slots.len() - 1)
    }

    /// An id and its spot.
    fn entry(&self, slot: Slot) -> Option<(&[u8], u32)> {
        let (head, rest) = self.entries.get(slot.at as usize..)?.split_first_chunk::<HEAD>()?;
        let head = u64::from_le_bytes(*head);
        Some((rest.get(..head as u32 as usize)?, (head >> 32) as u32))
    }

    /// The spot of an id, or the slot that is free for it.
    fn find(&self, hash: u64, id: &str) -> Result<u32, usize> {
        let mut place = self.home(hash);
        loop {
            let slot = self.slots[place];
            if slot == EMPTY {
                return Err(place);
            }
            match self.entry(slot) {
                Some((known, spot)) if slot.tag == tag(hash) && known == id.as_bytes() => return Ok(spot),
                _ => place = (place + 1) & (self.slots.len() - 1),
            }
        }
    }

    /// Gives the spot of each id to `each`, in order.
    pub(super) fn spots<'t>(
        &self,
        ids: impl Iterator<Item = Option<&'t str>>,
        mut each: impl FnMut(Option<u32>),
    ) {
        let mut ids = ids.fuse();
        loop {
            let mut block: [Option<&str>; TOGETHER] = [None; TOGETHER];
            let mut count = 0;
            for (place, id) in block.iter_mut().zip(&mut ids) {
                *place = id;
                count += 1;
            }
            let block = &block[..count];
            let mut hashes = [0; TOGETHER];
            for (hash, id) in hashes.iter_mut().zip(block) {
                *hash = self.hasher.hash_one(id.unwrap_or_default().as_bytes());
            }
            let mut slots = [EMPTY; TOGETHER];
            for (slot, hash) in slots.iter_mut().zip(&hashes).take(count) {
                *slot = self.slots[self.home(*hash)];
            }
            let mut entries: [Option<(&[u8], u32)>; TOGETHER] = [None; TOGETHER];
            for (entry, slot) in entries.iter_mut().zip(&slots).take(count) {
                *entry = self.entry(*slot);
            }
            for (id, (hash, entry)) in block.iter().zip(hashes.iter().zip(entries)) {
                each(id.and_then(|id| match entry {
                    Some((known, spot)) if known == id.as_bytes() => Some(spot),
                    // No slot follows an empty one.
                    None => None,
                    Some(_) => self.find(*hash, id).ok(),
                }));
            }
            if count < TOGETHER {
                return;
            }
        }
    }
}

fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_byte_for_byte() {
        let mut devices = Devices::default();
        let ids =
            |from: u32| -> Vec<Arc<str>> { (from..from + 5000).map(|n| format!("cnc-{n}").into()).collect() };
        devices.extend(&ids(0), 0);
        devices.extend(&ids(5000), 7);
        devices.extend(&["".into(), "cnc".into(), "\u{421}NC-1".into()], u32::MAX);
        // The first one counts.
        devices.extend(&["cnc-0".into()], 3);
        let spots = |ids: &[&str]| {
            let mut spots = Vec::new();
            devices.spots(ids.iter().map(|id| Some(*id)), |spot| spots.push(spot));
            spots
        };
        let known: Vec<String> = (0..10_000).map(|n| format!("cnc-{n}")).collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let expected: Vec<_> = (0..10_000).map(|n| Some(if n < 5000 { 0 } else { 7 })).collect();
        for length in [0, 1, 63, 64, 65, 10_000] {
            assert_eq!(spots(&known[..length]), expected[..length]);
        }
        assert_eq!(spots(&["", "cnc", "\u{421}NC-1"]), [Some(u32::MAX); 3]);
        assert_eq!(spots(&["cnc-", "cnc-00", "CNC-1", "cnc-1 ", "nc-1", "cnc-10000"]), [None; 6]);
        let mut nobody = Vec::new();
        devices.spots([None].into_iter(), |spot| nobody.push(spot));
        assert_eq!(nobody, [None]);
    }
}
