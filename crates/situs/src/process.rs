//! What the process keeps to itself: its memory and its registers hold payload of all zones, and a core dump would
//! carry that to wherever the system puts such dumps.

use std::{fs, io};

use rlimit::Resource;

/// Which kinds of memory the kernel writes into a core dump of this process (Linux, `core(5)`).
const FILTER: &str = "/proc/self/coredump_filter";

/// Forbids core dumps of this process and of what it starts. For the first thing of `main`.
///
/// The limit stops dumps into files. Where the system hands dumps to a program (`core_pattern`), that program sees the
/// limit and should respect it; for the case that it does not, memory is kept out of dumps too. That alone is not
/// enough: vector registers hold pieces of text.
///
/// # Errors
/// If the system refuses.
pub fn forbid_core_dumps() -> io::Result<()> {
    // There is no such file elsewhere than on Linux, and the limit is what counts.
    let _ = fs::write(FILTER, "0");
    // The hard limit stays: what an administrator allows is not for us to take away for good.
    let (_, hard) = rlimit::getrlimit(Resource::CORE)?;
    rlimit::setrlimit(Resource::CORE, 0, hard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_dumps_are_forbidden() {
        forbid_core_dumps().expect("forbidden");
        assert_eq!(rlimit::getrlimit(Resource::CORE).expect("a limit").0, 0);
        #[cfg(target_os = "linux")]
        assert_eq!(fs::read_to_string(FILTER).expect("a filter").trim_matches(['0', '\n']), "");
    }
}
