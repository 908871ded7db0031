//! Times in text, by one comparison for a date that was read before.

use super::digits::{are_digits, eight};
use super::simd::{Simd, Window, window};
use crate::time::{Instant, TimeFormat};

/// Reads the times of one field.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// The date last read, `YYYY-MM-DD` and six bytes that say nothing, and its first second.
    date: Window,
    midnight: i64,
}

/// Which ways to write a time a field takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Accepts {
    /// With an offset.
    zoned: bool,
    /// Without one.
    local: bool,
}

impl Accepts {
    pub(super) fn of(formats: &[TimeFormat]) -> Self {
        let local = formats.contains(&TimeFormat::Iso8601Local);
        Self { zoned: local || formats.contains(&TimeFormat::Rfc3339), local }
    }
}

/// Ten to the power of nine less the index.
const TO_NANOSECONDS: [u32; 10] =
    [1_000_000_000, 100_000_000, 10_000_000, 1_000_000, 100_000, 10_000, 1_000, 100, 10, 1];

/// The bytes of `00:00:00`.
const MIDNIGHT: u64 = u64::from_le_bytes(*b"00:00:00");

impl Clock {
    /// The time in `text[start..end]` as the first of `formats` that fits reads it, and whether its
    /// zone was assumed.
    #[inline(always)]
    pub(super) fn read<S: Simd>(
        &mut self,
        text: &[u8],
        start: usize,
        end: usize,
        accepts: Accepts,
        formats: &[TimeFormat],
    ) -> Option<(Instant, bool)> {
        match self.quick::<S>(text, start, end) {
            Some((instant, false)) if accepts.zoned => Some((instant, false)),
            Some((instant, true)) if accepts.local => Some((instant, true)),
            _ => self.slow(&text[start..end], formats),
        }
    }

    /// `YYYY-MM-DDThh:mm:ss`, then up to eight decimals, then `Z` or nothing, on the date last read.
    #[inline(always)]
    fn quick<S: Simd>(&self, text: &[u8], start: usize, end: usize) -> Option<(Instant, bool)> {
        let window = window(text, start)?;
        let time: &[u8; 8] = text.get(start + 11..)?.first_chunk()?;
        // Digits become 0 to 9, and the two colons 0.
        let time = u64::from_le_bytes(*time) ^ MIDNIGHT;
        let digits = are_digits(time) & (time & 0x0000_ff00_00ff_0000 == 0);
        let two = |at: u32| (time >> (8 * at) & 0xff) * 10 + (time >> (8 * at + 8) & 0xff);
        let (hour, minute, second) = (two(0), two(3), two(6));
        let same_date = S::equal(window, &self.date) & 0x3ff == 0x3ff;
        if !(same_date & (window[10] == b'T') & digits & (hour < 24) & (minute < 60) & (second < 60)) {
            return None;
        }
        let zoned = *text.get(end.wrapping_sub(1))? == b'Z';
        let after = end.checked_sub(start + 19 + usize::from(zoned))?;
        let nanoseconds = if after == 0 {
            0
        } else {
            let decimals = after - 1;
            let last: &[u8; 8] = text.get(start + 11 + after..)?.first_chunk()?;
            if text[start + 19] != b'.' || !(1..=8).contains(&decimals) {
                return None;
            }
            let value =
                (u64::from_le_bytes(*last) ^ 0x3030_3030_3030_3030) & (u64::MAX << (8 * (8 - decimals)));
            if !are_digits(value) {
                return None;
            }
            eight(value) as u32 * TO_NANOSECONDS[decimals]
        };
        let seconds = self.midnight + (hour * 3600 + minute * 60 + second) as i64;
        Some((Instant::new(seconds, nanoseconds)?, !zoned))
    }

    #[inline(never)]
    fn slow(&mut self, text: &[u8], formats: &[TimeFormat]) -> Option<(Instant, bool)> {
        let text = std::str::from_utf8(text).ok()?;
        let read = formats.iter().find_map(|format| format.read(text))?;
        // Only a date that this format read is a date of the calendar.
        let midnight = text.get(..10).map(|date| format!("{date}T00:00:00Z"));
        if let Some((instant, _)) = midnight.and_then(|text| TimeFormat::Rfc3339.read(&text)) {
            self.midnight = instant.seconds();
            self.date[..10].copy_from_slice(&text.as_bytes()[..10]);
        }
        Some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::super::simd::Base;
    use super::*;

    #[test]
    fn times_are_what_the_formats_read() {
        let formats = [TimeFormat::Rfc3339, TimeFormat::Iso8601Local];
        let times = [
            "2022-08-08T13:51:34Z",
            "2022-08-08T13:51:34",
            "2022-08-08T13:51:34.1Z",
            "2022-08-08T13:51:34.12345678Z",
            "2022-08-08T13:51:34.123456789Z",
            "2022-08-08T13:51:34.1234567890Z",
            "2022-08-08T13:51:34.",
            "2022-08-08T13:51:34.Z",
            "2022-08-08T24:00:00Z",
            "2022-08-08T23:60:00Z",
            "2022-08-08T23:59:60Z",
            "2022-08-08T12:59:60Z",
            "2022-08-08t13:51:34z",
            "2022-08-08 13:51:34",
            "2022-08-08 13:51:34Z",
            "2022-08-08T13:51:34+02:00",
            "2022-08-08T13:51:34.5-02:30",
            "2022-08-08T13:51:34ZZ",
            "2022-08-08T13:51:3",
            "2022-08-08T1a:51:34Z",
            "2022-08-08T13-51:34Z",
            "2022-08-08T13:51:34.12x4Z",
            "2022-08-08",
            "2022-02-29T00:00:00Z",
            "0000-01-01T00:00:00Z",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59.999Z",
            "2024-02-29T00:00:00Z",
            "2022-08-08T::::::::Z",
            "2022-08-08T13:51:34,5Z",
        ];
        for formats in [&formats[..], &formats[..1], &formats[1..]] {
            let (accepts, mut clock) = (Accepts::of(formats), Clock::default());
            // Twice, so that the second reading finds the date known.
            for text in times.iter().chain(&times).flat_map(|text| ["2022-08-08T00:00:00Z", *text]) {
                let expected = formats.iter().find_map(|format| format.read(text));
                for padding in ["", "9999999999", "Z.9Z"] {
                    let whole = format!("{padding}{text}{padding}");
                    let (start, end) = (padding.len(), padding.len() + text.len());
                    assert_eq!(
                        clock.read::<Base>(whole.as_bytes(), start, end, accepts, formats),
                        expected,
                        "{text}"
                    );
                }
            }
        }
    }
}
