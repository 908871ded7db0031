//! Which files of a table are put together: those of days that are over and at rest.

use std::collections::BTreeMap;

use chrono::{DateTime, Days, NaiveDate, Utc};

use super::Optimize;
use super::live::Live;

/// A file names those that it replaces; this many at most, so that its footer stays small.
const MOST_REPLACED: usize = 10_000;

/// Files of one day that become one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bin {
    /// The day, `YYYY-MM-DD`.
    pub(crate) day: String,
    /// Their paths, the oldest first.
    pub(crate) files: Vec<String>,
    /// Their bytes.
    pub(crate) bytes: u64,
}

/// What can be put together now.
///
/// A day is sealed when it is over and no file was added to it for a while. In a sealed day, files of less
/// than three quarters of the target are put together, in the order in which they came, into files that
/// do not exceed the target; one that finds no other stays as it is. So what was put together once is
/// not read again and again.
pub(crate) fn plan(live: &Live, settings: &Optimize, now: DateTime<Utc>) -> Vec<Bin> {
    let mut days: BTreeMap<&str, Vec<(i64, &String, u64)>> = BTreeMap::new();
    let mut last: BTreeMap<&str, i64> = BTreeMap::new();
    for (path, file) in &live.files {
        // Only paths that this store writes are followed.
        let Some(day) = file.day.as_deref().filter(|_| crate::reader::is_inside(path)) else { continue };
        let newest = last.entry(day).or_insert(file.added_ms);
        *newest = (*newest).max(file.added_ms);
        if file.size < settings.target_size / 4 * 3 {
            days.entry(day).or_default().push((file.added_ms, path, file.size));
        }
    }
    let quiet = i64::try_from(settings.sealed_after.as_millis()).unwrap_or(i64::MAX);
    let at_rest =
        |day: &str| last.get(day).is_some_and(|last| now.timestamp_millis().saturating_sub(*last) >= quiet);
    let mut bins = Vec::new();
    for (day, mut files) in days.into_iter().filter(|(day, _)| is_over(day, now) && at_rest(day)) {
        files.sort_unstable();
        let empty = || Bin { day: day.to_owned(), files: Vec::new(), bytes: 0 };
        let mut open = empty();
        for (_, path, size) in files {
            let full = open.bytes + size > settings.target_size || open.files.len() >= MOST_REPLACED;
            if full && !open.files.is_empty() {
                bins.push(std::mem::replace(&mut open, empty()));
            }
            open.bytes += size;
            open.files.push(path.clone());
        }
        bins.push(open);
    }
    bins.retain(|bin| bin.files.len() > 1);
    bins
}

fn is_over(day: &str, now: DateTime<Utc>) -> bool {
    let end = day.parse::<NaiveDate>().ok().and_then(|day| day.checked_add_days(Days::new(1)));
    end.is_some_and(|end| now.date_naive() >= end)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::maintain::live::LiveFile;

    const MIB: u64 = 1 << 20;

    fn now() -> DateTime<Utc> {
        "2026-03-03T12:00:00Z".parse().unwrap()
    }

    /// Files as (day, MiB, hours since they were added).
    fn live(files: &[(&str, u64, i64)]) -> Live {
        let file = |(n, (day, mib, hours)): (usize, &(&str, u64, i64))| {
            let added_ms = now().timestamp_millis() - hours * 3_600_000;
            let file = LiveFile { size: mib * MIB, rows: Some(1), day: Some((*day).to_owned()), added_ms };
            (format!("event_date={day}/f{n}-0.parquet"), file)
        };
        Live { files: files.iter().enumerate().map(file).collect(), ..Live::default() }
    }

    fn sizes(files: &[(&str, u64, i64)]) -> Vec<(String, usize, u64)> {
        let settings = Optimize {
            target_size: 512 * MIB,
            sealed_after: Duration::from_secs(3600),
            ..Optimize::default()
        };
        let bins = plan(&live(files), &settings, now());
        bins.into_iter().map(|bin| (bin.day, bin.files.len(), bin.bytes / MIB)).collect()
    }

    #[test]
    fn only_days_that_are_over_and_at_rest_are_compacted() {
        let (today, before) = ("2026-03-03", "2026-03-02");
        assert_eq!(sizes(&[(today, 1, 9), (today, 1, 8)]), []);
        assert_eq!(sizes(&[(before, 1, 9), (before, 1, 0)]), [], "a late file came just now");
        assert_eq!(sizes(&[(before, 1, 9), (before, 1, 2)]), [(before.to_owned(), 2, 2)]);
        assert_eq!(sizes(&[(before, 1, 9), (before, 400, 0)]), [], "a large one unseals the day too");
        assert_eq!(sizes(&[("not a day", 1, 9), ("not a day", 1, 9)]), []);
    }

    #[test]
    fn files_near_the_target_and_lonely_ones_stay() {
        let day = "2026-03-01";
        assert_eq!(sizes(&[(day, 400, 9), (day, 1, 9)]), []);
        assert_eq!(sizes(&[(day, 300, 9), (day, 300, 9)]), [], "each would be alone");
        assert_eq!(sizes(&[(day, 1, 9)]), []);
        let many: Vec<_> = (0..30).map(|_| (day, 40, 9)).collect();
        assert_eq!(
            sizes(&many),
            [(day.to_owned(), 12, 480), (day.to_owned(), 12, 480), (day.to_owned(), 6, 240)]
        );
    }

    #[test]
    fn paths_that_lead_out_of_the_table_are_not_followed() {
        let mut live = live(&[("2026-03-01", 1, 9), ("2026-03-01", 1, 9)]);
        let (_, file) = live.files.pop_first().unwrap();
        live.files.insert("../eu/x.parquet".to_owned(), file);
        assert_eq!(plan(&live, &Optimize::default(), now()), []);
    }
}
