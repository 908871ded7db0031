//! Panics without their texts, which may quote what they choked on (RES-5). Where a panic happened is a
//! place in the source code and tells nothing of the data.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::Cell;
use std::fmt;
use std::io::Write as _;
use std::panic::{self, AssertUnwindSafe, Location};

#[cfg(panic = "abort")]
compile_error!("a message that makes a step panic is isolated by unwinding: no profile may set `panic`");

thread_local! {
    /// Whether a panic of this thread is caught by [`catch`], whose caller tells of it.
    static IS_CAUGHT: Cell<bool> = const { Cell::new(false) };
    /// Where the last such panic happened.
    static PLACE: Cell<Option<String>> = const { Cell::new(None) };
}

/// Parts of a source file's path that are told: crate, `src`, and a little more. Where the crates lie on
/// the machine that built them is nobody's news.
const PARTS: usize = 4;

/// Says that something panicked, and where, but not with which text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panicked {
    /// File, line and column; `None` if [`hide_panic_texts`] was not called.
    pub place: Option<String>,
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "panicked at {place}"),
            None => f.write_str("panicked"),
        }
    }
}

/// Makes the process tell of a panic by thread and place, and never by its text. For the first thing of
/// `main`.
///
/// A panic within [`catch`] is told by whoever called that. With `RUST_BACKTRACE=1` the functions that led
/// to a panic follow on standard error; they are names of code.
pub fn hide_panic_texts() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(place_of);
        if IS_CAUGHT.get() {
            PLACE.set(place);
            return;
        }
        let place = place.as_deref().unwrap_or("an unknown place");
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("without a name");
        // A hook must not panic, which `eprintln!` does where standard error is closed.
        let mut out = std::io::stderr();
        if tracing::enabled!(tracing::Level::ERROR) {
            tracing::error!(
                event = "panic",
                thread,
                place,
                "panicked; its text is not shown: it may quote data"
            );
        } else {
            let _ = writeln!(
                out,
                "situs: thread {thread} panicked at {place}; its text is not shown: it may quote data"
            );
        }
        let trace = Backtrace::capture();
        if trace.status() == BacktraceStatus::Captured {
            let _ = writeln!(out, "{trace}");
        }
    }));
}

/// Does `work` and catches its panic, of which the caller must tell.
///
/// What `work` held by reference may be half changed after a panic. Whoever uses it again must have made it
/// anew.
///
/// # Errors
/// [`Panicked`] if it panicked.
pub fn catch<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    let before = IS_CAUGHT.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    IS_CAUGHT.set(before);
    result.map_err(|_text| Panicked { place: PLACE.take() })
}

fn place_of(location: &Location<'_>) -> String {
    let parts: Vec<&str> = location.file().split('/').collect();
    let file = parts[parts.len().saturating_sub(PARTS)..].join("/");
    format!("{file}:{}:{}", location.line(), location.column())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    const SECRET: &str = "a value of the payload";

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// One test, since the hook is the process's.
    #[test]
    fn a_panic_is_told_by_its_place_and_never_by_its_text() {
        let lines = Lines::default();
        let of_thread = lines.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || of_thread.clone()).finish();
        let original = panic::take_hook();
        hide_panic_texts();
        let caught = catch(|| panic!("{SECRET}")).unwrap_err();
        let nothing = lines.0.lock().unwrap().is_empty();
        let uncaught = std::thread::Builder::new()
            .name("worker-7".to_owned())
            .spawn(move || tracing::subscriber::with_default(subscriber, || panic!("{SECRET}")))
            .unwrap()
            .join();
        panic::set_hook(original);

        assert!(nothing, "whoever catches a panic tells of it");
        assert!(uncaught.is_err());
        let place = caught.place.unwrap();
        assert!(place.contains("observe/src/panic.rs:"), "{place}");
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("worker-7") && text.contains("observe/src/panic.rs:"), "{text}");
        assert!(!text.contains(SECRET), "{text}");
        assert_eq!(catch(|| 7), Ok(7));
    }
}
