//! Parquet's hybrid of run lengths and bit packing, for levels and for indices into a dictionary.
//!
//! Format: <https://parquet.apache.org/docs/file-format/data-pages/encodings/#RLE>.

/// Groups of eight values that are bit-packed under one header: as many as have a header of one byte.
const GROUPS: usize = 63;
/// A run shorter than this is cheaper bit-packed.
const SHORTEST_RUN: usize = 16;

/// The bits that values up to `most` need; at least one, since not all readers take none.
pub(super) fn width_of(most: u32) -> u32 {
    (u32::BITS - most.leading_zeros()).max(1)
}

/// Appends values of `width` bits each to `out`. The last group is filled up with zeros; readers know
/// the number of values.
pub(super) fn encode(values: &[u32], width: u32, out: &mut Vec<u8>) {
    let mut at = 0;
    // Where the values begin that shall be bit-packed.
    let mut packed = 0;
    while at < values.len() {
        let run = run_at(&values[at..]);
        if run >= SHORTEST_RUN {
            pack(&values[packed..at], width, out);
            put_run(values[at], run, width, out);
            at += run;
            packed = at;
        } else {
            // Groups have eight values, but for the last one of all.
            at = (at + 8).min(values.len());
        }
    }
    pack(&values[packed..], width, out);
}

/// Appends one value many times.
pub(super) fn put_run(value: u32, count: usize, width: u32, out: &mut Vec<u8>) {
    if count > 0 {
        put_varint((count as u64) << 1, out);
        out.extend_from_slice(&value.to_le_bytes()[..width.div_ceil(8) as usize]);
    }
}

/// How often the first value stands at the beginning.
fn run_at(values: &[u32]) -> usize {
    let Some(first) = values.first() else { return 0 };
    // Eight at a time, so that the compiler can compare them at once.
    let mut length = 0;
    for eight in values.chunks_exact(8) {
        if eight.iter().fold(0, |difference, value| difference | (value ^ first)) != 0 {
            break;
        }
        length += 8;
    }
    length + values[length..].iter().take_while(|value| *value == first).count()
}

/// Appends values bit-packed. All but the last call for some values must give whole groups of eight.
fn pack(values: &[u32], width: u32, out: &mut Vec<u8>) {
    for values in values.chunks(GROUPS * 8) {
        put_varint((values.len().div_ceil(8) as u64) << 1 | 1, out);
        for eight in values.chunks(8) {
            pack_eight(eight, width, out);
        }
    }
}

/// Appends eight values (fewer at the end) of `width` bits, the first in the lowest bits.
fn pack_eight(values: &[u32], width: u32, out: &mut Vec<u8>) {
    if width <= 16 {
        let bits = values.iter().rev().fold(0_u128, |bits, value| (bits << width) | u128::from(*value));
        out.extend_from_slice(&bits.to_le_bytes()[..width as usize]);
        return;
    }
    let end = out.len() + width as usize;
    let (mut bits, mut count) = (0_u64, 0);
    for value in values {
        bits |= u64::from(*value) << count;
        count += width;
        while count >= 8 {
            out.push(bits as u8);
            bits >>= 8;
            count -= 8;
        }
    }
    if count > 0 {
        out.push(bits as u8);
    }
    out.resize(end, 0);
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads what was encoded, by the text of the format.
    fn decode(mut bytes: &[u8], width: u32, count: usize) -> Vec<u32> {
        let mut values = Vec::new();
        while values.len() < count {
            let (mut header, mut shift) = (0_u64, 0);
            loop {
                let byte = bytes[0];
                bytes = &bytes[1..];
                header |= u64::from(byte & 0x7f) << shift;
                shift += 7;
                if byte < 0x80 {
                    break;
                }
            }
            let length = (header >> 1) as usize;
            if header & 1 == 0 {
                let size = width.div_ceil(8) as usize;
                let mut value = [0; 4];
                value[..size].copy_from_slice(&bytes[..size]);
                values.extend(std::iter::repeat_n(u32::from_le_bytes(value), length));
                bytes = &bytes[size..];
            } else {
                let size = length * width as usize;
                for index in 0..length * 8 {
                    let bit = |n: usize| u32::from(bytes[n / 8] >> (n % 8) & 1);
                    let first = index * width as usize;
                    values.push((0..width as usize).map(|n| bit(first + n) << n).sum());
                }
                bytes = &bytes[size..];
            }
        }
        assert!(values.len() < count + 8 && bytes.is_empty(), "{} of {count}", values.len());
        values.truncate(count);
        values
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let mut state = 1_u64;
        let mut random = move |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % bound
        };
        for width in 1..=32 {
            for _ in 0..200 {
                let mut values = Vec::new();
                for _ in 0..random(12) {
                    let most = (1_u64 << width) - 1;
                    if random(2) == 0 {
                        let value = (random(u64::from(u32::MAX)) & most) as u32;
                        values.extend(std::iter::repeat_n(value, random(700) as usize));
                    } else {
                        values.extend((0..random(700)).map(|_| (random(u64::from(u32::MAX)) & most) as u32));
                    }
                }
                let mut bytes = Vec::new();
                encode(&values, width, &mut bytes);
                assert_eq!(decode(&bytes, width, values.len()), values, "width {width}");
            }
        }
        assert_eq!([0, 1, 2, 255, 256, u32::MAX].map(width_of), [1, 1, 2, 8, 9, 32]);
    }
}
