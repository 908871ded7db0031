//! Times as sources write them.

#[cfg(test)]
mod tests;

use situs_model::Date;

use crate::number;

/// An instant: whole seconds since 1970-01-01T00:00:00Z, and the nanoseconds after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant {
    seconds: i64,
    nanoseconds: u32,
}

/// The years 1 to 9999, which every reader of the tables can print.
const FIRST_SECOND: i64 = -62_135_596_800;
const LAST_SECOND: i64 = 253_402_300_799;

/// The first and the last microsecond of these years.
pub(crate) const FIRST_MICROSECOND: i64 = FIRST_SECOND * 1_000_000;
pub(crate) const LAST_MICROSECOND: i64 = LAST_SECOND * 1_000_000 + 999_999;

impl Instant {
    #[inline]
    pub(crate) fn new(seconds: i64, nanoseconds: u32) -> Option<Self> {
        (FIRST_SECOND..=LAST_SECOND).contains(&seconds).then_some(Self { seconds, nanoseconds })
    }

    pub(crate) fn from_nanoseconds(value: i128) -> Option<Self> {
        let seconds = i64::try_from(value.div_euclid(1_000_000_000)).ok()?;
        Self::new(seconds, value.rem_euclid(1_000_000_000) as u32)
    }

    pub(crate) fn from_microseconds(value: i64) -> Option<Self> {
        Self::from_nanoseconds(i128::from(value) * 1000)
    }

    /// `value` times ten to the minus `digits` seconds after the epoch; at most nanoseconds.
    #[inline]
    fn from_epoch(value: i64, digits: u32) -> Option<Self> {
        // With the divisor known where it divides, the compiler multiplies instead.
        let (seconds, rest, factor) = match digits {
            0 => (value, 0, 1),
            3 => (value.div_euclid(1_000), value.rem_euclid(1_000), 1_000_000),
            6 => (value.div_euclid(1_000_000), value.rem_euclid(1_000_000), 1_000),
            9 => (value.div_euclid(1_000_000_000), value.rem_euclid(1_000_000_000), 1),
            _ => return Self::from_nanoseconds(i128::from(value) * 10_i128.pow(9_u32.checked_sub(digits)?)),
        };
        Self::new(seconds, rest as u32 * factor)
    }

    /// The nanoseconds after [`seconds`](Self::seconds).
    pub(crate) fn subsecond(self) -> u32 {
        self.nanoseconds
    }

    /// Whole seconds since the epoch, rounded down.
    pub(crate) fn seconds(self) -> i64 {
        self.seconds
    }

    /// Microseconds since the epoch, rounded down.
    #[inline]
    pub(crate) fn microseconds(self) -> i64 {
        // The range of seconds keeps this far from overflow.
        self.seconds * 1_000_000 + i64::from(self.nanoseconds / 1000)
    }

    /// Nanoseconds since the epoch, if 64 bits hold them (the years 1678 to 2261).
    pub(crate) fn nanoseconds(self) -> Option<i64> {
        self.seconds.checked_mul(1_000_000_000)?.checked_add(i64::from(self.nanoseconds))
    }
}

/// The UTC day of a time in microseconds, in days since the epoch.
pub(crate) fn day(microseconds: i64) -> i32 {
    // 64 bits of microseconds are fewer than 2^31 days.
    microseconds.div_euclid(86_400_000_000) as i32
}

/// A way to write a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeFormat {
    /// RFC 3339 with any offset and 0 to 9 fraction digits.
    Rfc3339,
    /// The same without an offset, or with a space for the `T`.
    Iso8601Local,
    /// A count since the epoch of ten to the minus this many seconds.
    Epoch(u32),
}

impl TimeFormat {
    /// The words of schemas.
    pub(crate) const WORDS: &'static [(&'static str, Self)] = &[
        ("rfc3339", Self::Rfc3339),
        ("iso8601-local", Self::Iso8601Local),
        ("epoch-s", Self::Epoch(0)),
        ("epoch-ms", Self::Epoch(3)),
        ("epoch-us", Self::Epoch(6)),
        ("epoch-ns", Self::Epoch(9)),
    ];

    /// Reads text; the flag says that it names no offset and was read as UTC.
    pub(crate) fn read(self, text: &str) -> Option<(Instant, bool)> {
        match self {
            Self::Rfc3339 => {
                let parsed = parse(text.as_bytes())?;
                (!parsed.space && !parsed.local).then_some((parsed.instant, false))
            }
            Self::Iso8601Local => parse(text.as_bytes()).map(|parsed| (parsed.instant, parsed.local)),
            Self::Epoch(_) => {
                number::written(text.as_bytes())?;
                Some((self.read_number(text)?, false))
            }
        }
    }

    /// Reads the text of a number, exactly; beyond nanoseconds it is rounded down.
    pub(crate) fn read_number(self, text: &str) -> Option<Instant> {
        let Self::Epoch(digits) = self else { return None };
        Instant::from_nanoseconds(number::scaled(text, i64::from(9 - digits), false)?)
    }

    /// [`read_integer`](Self::read_integer) of 64 bits.
    #[inline]
    pub(crate) fn read_whole(self, value: i64) -> Option<Instant> {
        let Self::Epoch(digits) = self else { return None };
        Instant::from_epoch(value, digits)
    }

    /// Reads a whole number.
    #[inline]
    pub(crate) fn read_integer(self, value: i128) -> Option<Instant> {
        let Self::Epoch(digits) = self else { return None };
        match i64::try_from(value) {
            Ok(value) => self.read_whole(value),
            // Both factors are below 2^65 and 2^30.
            Err(_) => Instant::from_nanoseconds(value * 10_i128.pow(9 - digits)),
        }
    }
}

struct Parsed {
    instant: Instant,
    local: bool,
    space: bool,
}

/// A number of exactly `N` digits.
fn digits<const N: usize>(text: &[u8]) -> Option<u32> {
    let mut value = 0;
    for byte in text.get(..N)? {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u32::from(digit);
    }
    Some(value)
}

/// `YYYY-MM-DDThh:mm:ss[.f][Z|±hh:mm]`, with what the two formats differ in told apart.
///
/// Second 60 is read only where a leap second can stand, at 23:59:60 UTC, and as the last
/// nanosecond before midnight: UTC without leap seconds has no other place for it on that day.
fn parse(text: &[u8]) -> Option<Parsed> {
    let (head, mut rest) = text.split_at_checked(19)?;
    let year = digits::<4>(head)?;
    let month = digits::<2>(&head[5..])?;
    let day = digits::<2>(&head[8..])?;
    let hour = digits::<2>(&head[11..])?;
    let minute = digits::<2>(&head[14..])?;
    let second = digits::<2>(&head[17..])?;
    let space = head[10] == b' ';
    let separated = head[4] == b'-'
        && head[7] == b'-'
        && matches!(head[10], b'T' | b't' | b' ')
        && head[13] == b':'
        && head[16] == b':';
    let in_range = (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !separated || !in_range {
        return None;
    }

    let mut nanoseconds = 0;
    if let [b'.', fraction @ ..] = rest {
        let count = fraction.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(fraction.len());
        if !(1..=9).contains(&count) {
            return None;
        }
        for byte in &fraction[..count] {
            nanoseconds = nanoseconds * 10 + u32::from(byte - b'0');
        }
        nanoseconds *= 10_u32.pow(9 - count as u32);
        rest = &fraction[count..];
    }
    let (offset, local) = match rest {
        [] => (0, true),
        [b'Z' | b'z'] => (0, false),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let hours = digits::<2>(&[*h1, *h2])?;
            let minutes = digits::<2>(&[*m1, *m2])?;
            if hours > 23 || minutes > 59 {
                return None;
            }
            let offset = i64::from(hours * 3600 + minutes * 60);
            (if *sign == b'-' { -offset } else { offset }, false)
        }
        _ => return None,
    };

    let seconds_of_day = i64::from(hour * 3600 + minute * 60 + second.min(59));
    let seconds = i64::from(Date::of(year as i32, month, day).days()) * 86_400 + seconds_of_day - offset;
    if second == 60 {
        if seconds.rem_euclid(86_400) != 86_399 {
            return None;
        }
        nanoseconds = 999_999_999;
    }
    Some(Parsed { instant: Instant::new(seconds, nanoseconds)?, local, space })
}

fn days_in_month(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}
