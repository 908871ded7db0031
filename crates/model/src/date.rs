//! A day of the calendar, in UTC.

use std::fmt;
use std::str::FromStr;

use crate::words::InvalidWord;

/// Microseconds of a day.
const DAY_US: i64 = 86_400_000_000;

/// A day in UTC, as days since 1970-01-01, from year 1 to year 9999.
///
/// ```
/// use situs_model::Date;
/// let day: Date = "2020-02-29".parse().unwrap();
/// assert_eq!(day.next().to_string(), "2020-03-01");
/// assert_eq!(Date::of_us(-1).to_string(), "1969-12-31");
/// assert!("2021-02-29".parse::<Date>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(i32);

impl Date {
    /// The day of this number in the proleptic Gregorian calendar. The caller knows that there is such a
    /// day; [`FromStr`] checks it.
    #[inline]
    pub const fn of(year: i32, month: u32, day: u32) -> Self {
        // Years begin in March, so that the day that is added every four years is a year's last.
        let year = if month <= 2 { year - 1 } else { year };
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let month = (month as i32 + 9) % 12;
        let day_of_year = (153 * month + 2) / 5 + day as i32 - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        Self(era * 146_097 + day_of_era - 719_468)
    }

    /// Days since 1970-01-01.
    #[inline]
    pub const fn days(self) -> i32 {
        self.0
    }

    /// The day on which a moment lies, given in microseconds since the epoch.
    pub fn of_us(us: i64) -> Self {
        // The quotient of 64 bits by a day fits into 28.
        Self(us.div_euclid(DAY_US) as i32)
    }

    /// Its first moment, in microseconds since the epoch.
    pub fn start_us(self) -> i64 {
        i64::from(self.0) * DAY_US
    }

    /// The day after.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Year, month (1 to 12) and day (1 to 31).
    pub fn civil(self) -> (i32, u32, u32) {
        let days = self.0 + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = year_of_era + era * 400 + i32::from(month <= 2);
        (year, month as u32, day as u32)
    }
}

impl FromStr for Date {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let number = |part: &str| part.parse::<u32>().ok();
        let date = match text.as_bytes() {
            [y @ .., b'-', _, _, b'-', _, _]
                if y.len() == 4 && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit()) =>
            {
                let (year, month, day) = (number(&text[..4]), number(&text[5..7]), number(&text[8..]));
                year.zip(month).zip(day).filter(|((year, _), _)| *year > 0).and_then(
                    |((year, month), day)| {
                        let date = Self::of(year as i32, month, day);
                        // What is no day comes out as another one.
                        (date.civil() == (year as i32, month, day)).then_some(date)
                    },
                )
            }
            _ => None,
        };
        date.ok_or_else(|| InvalidWord::new("a day such as `2026-12-31`", text))
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

impl fmt::Debug for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A span of days or years, such as `184d` or `3y`.
///
/// ```
/// use situs_model::{Age, Date};
/// let day: Date = "2028-02-29".parse().unwrap();
/// assert_eq!("184d".parse::<Age>().unwrap().before(day).to_string(), "2027-08-29");
/// assert_eq!("3y".parse::<Age>().unwrap().before(day).to_string(), "2025-02-28");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Age {
    /// Days.
    Days(u32),
    /// Years of the calendar.
    Years(u32),
}

impl Age {
    /// The day that lies so long before another: of years, the same day of that year, and the last of February
    /// if it has no such day.
    pub fn before(self, day: Date) -> Date {
        match self {
            Self::Days(days) => Date(day.0.saturating_sub(i32::try_from(days).unwrap_or(i32::MAX))),
            Self::Years(years) => {
                let (year, month, of_month) = day.civil();
                let year = year.saturating_sub(i32::try_from(years).unwrap_or(i32::MAX));
                let same = Date::of(year, month, of_month);
                if same.civil() == (year, month, of_month) {
                    same
                } else {
                    Date::of(year, month, of_month - 1)
                }
            }
        }
    }

    /// About how many days it is, to compare days with years.
    fn about(self) -> u64 {
        match self {
            Self::Days(days) => 4 * u64::from(days),
            Self::Years(years) => 1461 * u64::from(years),
        }
    }
}

impl PartialOrd for Age {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Age {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let unit = |age: &Self| matches!(age, Self::Years(_));
        self.about().cmp(&other.about()).then_with(|| unit(self).cmp(&unit(other)))
    }
}

impl FromStr for Age {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| digits.parse::<u32>().ok()).flatten().filter(|number| *number > 0)
        };
        let days = text.strip_suffix('d').and_then(number).filter(|days| *days <= 36_525).map(Self::Days);
        let years = || text.strip_suffix('y').and_then(number).filter(|years| *years <= 100).map(Self::Years);
        days.or_else(years).ok_or_else(|| {
            InvalidWord::new("days such as `184d`, or years such as `3y`, up to a hundred years", text)
        })
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Days(days) => write!(f, "{days}d"),
            Self::Years(years) => write!(f, "{years}y"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_compared_and_counted_back() {
        let age = |text: &str| text.parse::<Age>().unwrap();
        assert!(age("184d") < age("1y") && age("366d") > age("1y") && age("3y") < age("1096d"));
        assert_eq!(age("3y").to_string(), "3y");
        assert_eq!(age("1d").before(Date::of(2026, 3, 1)), Date::of(2026, 2, 28));
        assert_eq!(age("10y").before(Date::of(2026, 11, 30)), Date::of(2016, 11, 30));
        for text in ["", "d", "0d", "0y", "3", "3m", "-1d", "1 d", "101y", "36526d", "+3d", "3.5y"] {
            assert!(text.parse::<Age>().is_err(), "{text}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_is_read_as_it_is_written() {
        let (mut day, end) = (Date::of(1799, 12, 31), Date::of(2200, 1, 1));
        let mut last = String::new();
        while day < end {
            let text = day.to_string();
            assert!(text > last, "{text} after {last}");
            assert_eq!(text.parse::<Date>().unwrap(), day);
            last = text;
            day = day.next();
        }
        assert_eq!(Date::of(1970, 1, 1), Date(0));
        assert_eq!(Date::of_us(86_399_999_999), Date(0));
        assert_eq!(Date::of_us(86_400_000_000), Date(1));
        // The ends of what a timestamp can hold are days like others.
        assert!(Date::of_us(i64::MIN) < Date::of_us(i64::MAX));
    }

    #[test]
    fn what_is_no_day() {
        for text in [
            "",
            "2026",
            "2026-1-1",
            "2026-13-01",
            "2026-00-10",
            "2026-04-31",
            "2100-02-29",
            "20260401",
            "0000-01-01",
            "2026-04-01T00:00:00Z",
            "+026-04-01",
            "2026-04-0\u{661}",
            "-026-04-01",
            "26-04-01",
        ] {
            assert!(text.parse::<Date>().is_err(), "{text:?}");
        }
    }
}
