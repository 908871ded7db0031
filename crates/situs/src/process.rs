//! What the process keeps to itself: its memory holds payload of all zones, and a core dump would carry that to
//! wherever the system puts such dumps.

use std::fs;

/// Which kinds of memory the kernel writes into a core dump of this process (Linux, `core(5)`).
const FILTER: &str = "/proc/self/coredump_filter";
/// Where the limits of this process stand.
const LIMITS: &str = "/proc/self/limits";

/// Keeps memory out of core dumps of this process and of what it starts, whatever the limits say: a dump has
/// the stacks' registers and nothing else. For the first thing of `main`.
pub fn keep_memory_out_of_core_dumps() {
    // Whether it went well is told by `core_dumps`, for whom it matters.
    let _ = fs::write(FILTER, "0");
}

/// What a core dump of this process could still carry out of its zone; `None` if nothing.
pub fn core_dumps() -> Option<&'static str> {
    let filter = fs::read_to_string(FILTER).ok();
    let limits = fs::read_to_string(LIMITS).ok();
    judge(filter.as_deref(), limits.as_deref())
}

fn judge(filter: Option<&str>, limits: Option<&str>) -> Option<&'static str> {
    let limit =
        limits.and_then(|limits| limits.lines().find_map(|line| line.strip_prefix("Max core file size")));
    if limit.and_then(|limit| limit.split_whitespace().next()) == Some("0") {
        return None;
    }
    match filter.map(|filter| u64::from_str_radix(filter.trim(), 16)) {
        Some(Ok(0)) => {
            Some("a core dump would hold registers, but no memory; set its limit to 0 (LimitCORE=0)")
        }
        _ => {
            Some("a core dump would hold payload of all zones; set its limit to 0 (LimitCORE=0, ulimit -c 0)")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: &str = "Limit  Soft Limit  Hard Limit  Units\nMax core file size        0                    unlimited            bytes\n";
    const ANY: &str = "Max cpu time  unlimited\nMax core file size        unlimited            unlimited            bytes\n";

    #[test]
    fn what_a_dump_could_carry_is_told() {
        assert_eq!(judge(Some("00000033\n"), Some(NONE)), None);
        assert!(judge(Some("00000000\n"), Some(ANY)).is_some_and(|told| told.contains("no memory")));
        for filter in [Some("00000033\n"), Some(""), None] {
            assert!(judge(filter, Some(ANY)).is_some_and(|told| told.contains("payload")), "{filter:?}");
            assert!(judge(filter, None).is_some_and(|told| told.contains("payload")), "{filter:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_is_kept_out_of_dumps() {
        keep_memory_out_of_core_dumps();
        assert_eq!(fs::read_to_string(FILTER).expect("a filter").trim_matches(['0', '\n']), "");
        assert!(core_dumps().is_none_or(|told| told.contains("no memory")));
    }
}
