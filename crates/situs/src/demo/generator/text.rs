//! JSON text, written straight into the message's buffer. Numbers are whole numbers with a fixed
//! number of decimals, which is what machines send and several times cheaper than shortest floats.

use situs_model::Date;

/// Two digits for each number below 100.
const PAIRS: &[u8; 200] = b"0001020304050607080910111213141516171819\
2021222324252627282930313233343536373839\
4041424344454647484950515253545556575859\
6061626364656667686970717273747576777879\
8081828384858687888990919293949596979899";

const POWERS: [u64; 10] =
    [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000];

/// Writes at the end of a buffer; every method returns the writer, so that calls can be chained.
#[derive(Debug)]
pub(super) struct Text<'a>(pub(super) &'a mut Vec<u8>);

impl Text<'_> {
    /// Text as it is.
    #[inline]
    pub(super) fn raw(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// A whole number.
    #[inline]
    pub(super) fn int(&mut self, value: i64) -> &mut Self {
        if value < 0 {
            self.0.push(b'-');
        }
        self.unsigned(value.unsigned_abs())
    }

    fn unsigned(&mut self, mut value: u64) -> &mut Self {
        let mut buffer = [0; 20];
        let mut start = buffer.len();
        while value >= 100 {
            start -= 2;
            let pair = (value % 100) as usize * 2;
            buffer[start..start + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
            value /= 100;
        }
        if value >= 10 {
            start -= 2;
            let pair = value as usize * 2;
            buffer[start..start + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
        } else {
            start -= 1;
            buffer[start] = b'0' + value as u8;
        }
        self.0.extend_from_slice(&buffer[start..]);
        self
    }

    /// A number with exactly `width` digits, at most 9; higher digits are cut.
    fn digits(&mut self, mut value: u64, width: usize) -> &mut Self {
        let mut buffer = [b'0'; 9];
        let width = width.min(buffer.len());
        let mut end = width;
        while end >= 2 {
            let pair = (value % 100) as usize * 2;
            buffer[end - 2..end].copy_from_slice(&PAIRS[pair..pair + 2]);
            value /= 100;
            end -= 2;
        }
        if end == 1 {
            buffer[0] = b'0' + (value % 10) as u8;
        }
        self.0.extend_from_slice(&buffer[..width]);
        self
    }

    /// `scaled / 10^decimals`, with all its decimals (1 to 9). A value that is negative but less than half of
    /// the last place is written without a sign: whole numbers know no negative zero.
    #[inline]
    pub(super) fn fixed(&mut self, scaled: i64, decimals: usize) -> &mut Self {
        if scaled < 0 {
            self.0.push(b'-');
        }
        let power = POWERS[decimals.min(9)];
        let scaled = scaled.unsigned_abs();
        self.unsigned(scaled / power);
        self.0.push(b'.');
        self.digits(scaled % power, decimals)
    }

    /// A list of numbers with this many decimals.
    pub(super) fn list(&mut self, scaled: &[i64], decimals: usize) -> &mut Self {
        let mut separator = "[";
        for value in scaled {
            self.raw(separator).fixed(*value, decimals);
            separator = ",";
        }
        self.raw("]")
    }

    /// A double with as many digits as it needs.
    pub(super) fn double(&mut self, value: f64) -> &mut Self {
        use std::io::Write as _;
        // Writing to a `Vec` cannot fail.
        let _ = write!(self.0, "{value:?}");
        self
    }

    /// RFC 3339 without quotes: `ns` since the epoch, cut to `decimals` (1 to 9) decimals of a second, as the
    /// clock `offset_minutes` east of Greenwich shows it.
    pub(super) fn time(&mut self, ns: i64, decimals: usize, offset_minutes: i64) -> &mut Self {
        let seconds = ns.div_euclid(1_000_000_000);
        let fraction = ns.rem_euclid(1_000_000_000) as u64 / POWERS[9 - decimals.min(9)];
        let local = seconds + offset_minutes * 60;
        let (year, month, day) = Date::of_us(local * 1_000_000).civil();
        let second = local.rem_euclid(86_400) as u64;
        self.digits(u64::from(year.unsigned_abs()), 4).raw("-");
        self.digits(u64::from(month), 2).raw("-").digits(u64::from(day), 2).raw("T");
        self.digits(second / 3_600, 2).raw(":").digits(second / 60 % 60, 2).raw(":").digits(second % 60, 2);
        self.raw(".").digits(fraction, decimals);
        if offset_minutes == 0 {
            return self.raw("Z");
        }
        let minutes = offset_minutes.unsigned_abs();
        self.raw(if offset_minutes < 0 { "-" } else { "+" });
        self.digits(minutes / 60, 2).raw(":").digits(minutes % 60, 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Text<'_>)) -> String {
        let mut bytes = Vec::new();
        write(&mut Text(&mut bytes));
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn numbers() {
        for value in [0, 7, 10, 99, 100, 12_345, -1, -100, i64::MAX, i64::MIN] {
            assert_eq!(text(|t| _ = t.int(value)), value.to_string());
        }
        assert_eq!(text(|t| _ = t.fixed(1_234_567, 3)), "1234.567");
        assert_eq!(text(|t| _ = t.fixed(-5, 3)), "-0.005");
        assert_eq!(text(|t| _ = t.fixed(5, 1)), "0.5");
        assert_eq!(text(|t| _ = t.fixed(-1_000_000_001, 9)), "-1.000000001");
        assert_eq!(text(|t| _ = t.list(&[1, -25], 2)), "[0.01,-0.25]");
        assert_eq!(text(|t| _ = t.double(0.0712345678901234)), "0.0712345678901234");
    }

    #[test]
    fn times() {
        assert_eq!(text(|t| _ = t.time(0, 3, 0)), "1970-01-01T00:00:00.000Z");
        let leap = 1_709_164_800_123_456_789; // 2024-02-29
        assert_eq!(text(|t| _ = t.time(leap, 9, 0)), "2024-02-29T00:00:00.123456789Z");
        assert_eq!(text(|t| _ = t.time(leap, 7, 480)), "2024-02-29T08:00:00.1234567+08:00");
        assert_eq!(text(|t| _ = t.time(leap, 3, -30)), "2024-02-28T23:30:00.123-00:30");
        assert_eq!(text(|t| _ = t.time(4_102_444_799_999_999_999, 1, 0)), "2099-12-31T23:59:59.9Z");
    }
}
