//! Small numbers for pairs of small numbers.

use hashbrown::HashMap;

/// Pairs of numbers below this are found by index; others by hash.
const DENSE: u32 = 64;

/// Gives every distinct pair a number, counting from 0 in the order of first sight.
///
/// Tags are combinations of few origins, rules and models, so that nearly every row is answered by
/// the table; the map is for policies with many sites and for hostile claims.
///
/// # Memory
/// 16 KiB, and about 30 bytes per pair beyond the table.
#[derive(Debug)]
pub(crate) struct Pairs {
    table: Vec<u32>,
    map: HashMap<(u32, u32), u32>,
    pairs: Vec<(u32, u32)>,
    /// The pair asked for last; neighbours are often alike.
    last: Option<((u32, u32), u32)>,
}

const ABSENT: u32 = u32::MAX;

impl Pairs {
    pub(crate) fn new() -> Self {
        Self {
            table: vec![ABSENT; (DENSE * DENSE) as usize],
            map: HashMap::new(),
            pairs: Vec::new(),
            last: None,
        }
    }

    /// The pair's number.
    pub(crate) fn number(&mut self, a: u32, b: u32) -> u32 {
        // The number of distinct pairs never exceeds the number of rows, which is below `u32::MAX`.
        let next = self.pairs.len() as u32;
        let number = if a < DENSE && b < DENSE {
            let slot = &mut self.table[(a * DENSE + b) as usize];
            if *slot == ABSENT {
                *slot = next;
            }
            *slot
        } else {
            match self.last {
                Some((pair, number)) if pair == (a, b) => return number,
                _ => {
                    let number = *self.map.entry((a, b)).or_insert(next);
                    self.last = Some(((a, b), number));
                    number
                }
            }
        };
        if number == next {
            self.pairs.push((a, b));
        }
        number
    }

    /// The pairs, each at its number.
    pub(crate) fn into_pairs(self) -> Vec<(u32, u32)> {
        self.pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_numbered_in_the_order_of_first_sight() {
        let mut pairs = Pairs::new();
        let seen = [(0, 0), (63, 63), (64, 0), (0, 64), (u32::MAX, u32::MAX), (0, 0), (64, 0), (63, 63)];
        let numbers: Vec<u32> = seen.iter().map(|(a, b)| pairs.number(*a, *b)).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 0, 2, 1]);
        assert_eq!(pairs.into_pairs(), seen[..5]);
    }
}
