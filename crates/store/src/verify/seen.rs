//! Which messages and rows were seen, at a bit each.

use std::collections::HashMap;

/// Offsets of a chunk.
const CHUNK: i64 = 4096;
/// Rows of a message of which each has a layer of its own, in which offsets lie side by side.
const LAYERS: i32 = 16;
/// Further rows lie side by side for each message, in chunks of this many.
const WIDE: i32 = 512;
/// Chunks that were used last, which is where the next bit is likely to be.
const RECENT: usize = 8;

/// What a bit stands for beside its offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Layer {
    /// A message in a place: a zone's table, or quarantine.
    Place(u16),
    /// A row of a message, wherever it lies.
    Row(i32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    lane: u32,
    layer: Layer,
    chunk: i64,
}

/// A set of messages and rows.
///
/// # Memory
/// A bit for each message in each place and one for each row, since offsets are dense: each message is
/// somewhere. The worst that sparse offsets can do is a chunk of 512 bytes for one bit; from the seventeenth
/// row of a message on it is 64 bytes.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    index: HashMap<Key, u32>,
    chunks: Vec<[u64; 64]>,
    wide: HashMap<(u32, i64, i32), [u64; 8]>,
    recent: [Option<(Key, u32)>; RECENT],
}

impl Seen {
    /// Takes a bit in; whether it was there before.
    pub(crate) fn insert(&mut self, lane: u32, layer: Layer, offset: i64) -> bool {
        match layer {
            Layer::Row(row) if row >= LAYERS => {
                let bits = self.wide.entry((lane, offset, row / WIDE)).or_default();
                set(bits, usize::try_from(row % WIDE).unwrap_or(0))
            }
            _ => {
                let (key, bit) = place(lane, layer, offset);
                let at = match self.find(key) {
                    Some(at) => at,
                    None => {
                        let at = u32::try_from(self.chunks.len()).unwrap_or(u32::MAX);
                        self.chunks.push([0; 64]);
                        self.index.insert(key, at);
                        at
                    }
                };
                self.chunks.get_mut(at as usize).is_some_and(|chunk| set(chunk, bit))
            }
        }
    }

    /// Whether a message was seen in a place.
    pub(super) fn has(&mut self, lane: u32, place_index: u16, offset: i64) -> bool {
        self.contains(lane, Layer::Place(place_index), offset)
    }

    /// Whether a bit is in the set.
    pub(crate) fn contains(&mut self, lane: u32, layer: Layer, offset: i64) -> bool {
        if let Layer::Row(row) = layer
            && row >= LAYERS
        {
            let bits = self.wide.get(&(lane, offset, row / WIDE));
            return bits.is_some_and(|bits| is_set(bits, usize::try_from(row % WIDE).unwrap_or(0)));
        }
        let (key, bit) = place(lane, layer, offset);
        let chunk = self.find(key).and_then(|at| self.chunks.get(at as usize));
        chunk.is_some_and(|chunk| is_set(chunk, bit))
    }

    fn find(&mut self, key: Key) -> Option<u32> {
        let slot = match key.layer {
            Layer::Place(place) => usize::from(place) % RECENT,
            Layer::Row(row) => (row.unsigned_abs() as usize + RECENT / 2) % RECENT,
        };
        if let Some((known, at)) = self.recent[slot]
            && known == key
        {
            return Some(at);
        }
        let at = self.index.get(&key).copied()?;
        self.recent[slot] = Some((key, at));
        Some(at)
    }
}

fn place(lane: u32, layer: Layer, offset: i64) -> (Key, usize) {
    let key = Key { lane, layer, chunk: offset.div_euclid(CHUNK) };
    (key, usize::try_from(offset.rem_euclid(CHUNK)).unwrap_or(0))
}

fn is_set(bits: &[u64], bit: usize) -> bool {
    bits[bit / 64] & 1 << (bit % 64) != 0
}

fn set(bits: &mut [u64], bit: usize) -> bool {
    let mask = 1 << (bit % 64);
    let was = bits[bit / 64] & mask != 0;
    bits[bit / 64] |= mask;
    was
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Against a set of everything, over bits that lie close enough to meet often.
    #[test]
    fn it_is_a_set() {
        let mut seen = Seen::default();
        let mut model = HashSet::new();
        let mut state = 1_u64;
        for _ in 0..200_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let bits = state >> 33;
            let lane = u32::try_from(bits % 3).unwrap();
            let offset = i64::try_from(bits / 3 % 40).unwrap() * 257 - 5000;
            let layer = match bits / 120 % 3 {
                0 => Layer::Place(u16::try_from(bits / 360 % 3).unwrap()),
                1 => Layer::Row(i32::try_from(bits / 360 % 18).unwrap()),
                _ => Layer::Row(i32::try_from(bits / 360 % 2000).unwrap()),
            };
            if let Layer::Place(place) = layer {
                assert_eq!(seen.has(lane, place, offset), model.contains(&(lane, layer, offset)));
            }
            assert_eq!(seen.contains(lane, layer, offset), model.contains(&(lane, layer, offset)));
            assert_eq!(seen.insert(lane, layer, offset), !model.insert((lane, layer, offset)));
        }
        assert!(model.len() > 10_000);
    }
}
