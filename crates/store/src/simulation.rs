//! The second tier of the simulation: the store's own code, delta-rs below it, over a file system that refuses
//! what it is asked, half does it, or does it and says that it did not (docs/simulation.md).
//!
//! All of a store's input and output goes through [`crate::disk`]. On a thread that is [`watched`], each of
//! those steps is shown to a [`Watch`] before it is made, which says what shall become of it and may let
//! another process go first. This module is compiled into this crate's own tests and nowhere else.
//!
//! Syncs are not carried out on watched threads, since they would take most of the time: the power is cut by
//! `power`, which knows what was not synced.

mod canaries;
mod chance;
mod plant;
mod power;
mod process;
mod seeds;
mod sweep;
mod world;

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Location;
use object_store::{
    Attributes, CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

pub(crate) use crate::disk::Op;

/// What shall become of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// What it would become without a simulation.
    Done,
    /// This error; nothing is done.
    Refused(io::ErrorKind),
    /// This error, though it is done.
    Lost(io::ErrorKind),
    /// This error, and half the bytes are written. Of a step without bytes, nothing is done.
    Half(io::ErrorKind),
}

/// Watches a process.
pub(crate) trait Watch: Send + Sync {
    /// A step is about to be made on this thread, which may be kept waiting.
    fn ask(&self, op: Op, path: &Path) -> Answer;

    /// delta-rs is about to make a step. Its threads must not be kept waiting, and their order is not told.
    fn ask_elsewhere(&self, op: Op, path: &Path) -> Answer;

    /// The store says of a commit that it certainly failed, though its entry is there.
    fn failed_though_there(&self, entry: &Path);
}

thread_local! {
    static WATCH: RefCell<Option<Arc<dyn Watch>>> = const { RefCell::new(None) };
}

/// Lets a process be watched while `work` is done on this thread.
pub(crate) fn watched<T>(watch: Arc<dyn Watch>, work: impl FnOnce() -> T) -> T {
    struct Restore(Option<Arc<dyn Watch>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            WATCH.set(self.0.take());
        }
    }
    let _restore = Restore(WATCH.replace(Some(watch)));
    work()
}

fn watch() -> Option<Arc<dyn Watch>> {
    WATCH.with_borrow(Option::clone)
}

/// Whether this thread is watched.
pub(crate) fn is_watched() -> bool {
    watch().is_some()
}

/// Makes a step as whoever watches says.
pub(crate) fn act<T>(op: Op, path: &Path, step: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let Some(watch) = watch() else { return step() };
    match watch.ask(op, path) {
        Answer::Done => step(),
        Answer::Refused(kind) | Answer::Half(kind) => Err(kind.into()),
        Answer::Lost(kind) => {
            let _ = step();
            Err(kind.into())
        }
    }
}

/// Makes a sync, or what is none on a thread that is watched.
pub(crate) fn act_sync(op: Op, path: &Path, step: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    if is_watched() { act(op, path, || Ok(())) } else { step() }
}

/// Makes a step that writes bytes.
pub(crate) fn act_on_bytes(
    op: Op,
    path: &Path,
    bytes: &[u8],
    step: impl FnOnce(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let Some(watch) = watch() else { return step(bytes) };
    match watch.ask(op, path) {
        Answer::Done => step(bytes),
        Answer::Refused(kind) => Err(kind.into()),
        Answer::Lost(kind) => {
            let _ = step(bytes);
            Err(kind.into())
        }
        Answer::Half(kind) => {
            let _ = step(&bytes[..bytes.len() / 2]);
            Err(kind.into())
        }
    }
}

/// Lets others go on; `false` if this thread is not watched.
pub(crate) fn rest() -> bool {
    let Some(watch) = watch() else { return false };
    watch.ask(Op::Rest, Path::new(""));
    true
}

/// The store says that this entry certainly is not in the log.
pub(crate) fn told_failed(entry: &Path, bytes: &[u8]) {
    if let Some(watch) = watch()
        && std::fs::read(entry).is_ok_and(|there| there == bytes)
    {
        watch.failed_though_there(entry);
    }
}

/// What delta-rs reads by, on a thread that is watched.
pub(crate) fn object_store() -> Option<Arc<dyn ObjectStore>> {
    Some(Arc::new(Watched { inner: LocalFileSystem::new(), watch: watch()? }))
}

/// The file system, as delta-rs sees it. It only reads.
struct Watched {
    inner: LocalFileSystem,
    watch: Arc<dyn Watch>,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").finish_non_exhaustive()
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched")
    }
}

impl Watched {
    fn ask(&self, op: Op, location: &Location) -> object_store::Result<()> {
        let path = Path::new("/").join(location.as_ref());
        match self.watch.ask_elsewhere(op, &path) {
            Answer::Done => Ok(()),
            // A read whose answer is lost is none.
            Answer::Refused(kind) | Answer::Lost(kind) | Answer::Half(kind) => {
                Err(generic(Box::new(io::Error::from(kind))))
            }
        }
    }

    fn listed(
        &self,
        prefix: Option<&Location>,
        list: impl FnOnce() -> BoxStream<'static, object_store::Result<ObjectMeta>>,
    ) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        match self.ask(Op::DeltaList, prefix.unwrap_or(&Location::default())) {
            Ok(()) => list(),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }
}

/// A file, read where it is asked for: `LocalFileSystem` would hand each read to a thread of its own.
fn whole(location: &Location) -> object_store::Result<(Bytes, ObjectMeta)> {
    let path = Path::new("/").join(location.as_ref());
    let bytes = std::fs::read(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            object_store::Error::NotFound { path: location.to_string(), source: Box::new(error) }
        }
        _ => generic(Box::new(error)),
    })?;
    let modified =
        path.metadata().and_then(|found| found.modified()).map_err(|error| generic(Box::new(error)))?;
    let meta = ObjectMeta {
        location: location.clone(),
        last_modified: modified.into(),
        size: bytes.len() as u64,
        e_tag: None,
        version: None,
    };
    Ok((bytes.into(), meta))
}

fn part(bytes: &Bytes, range: &Range<u64>) -> Bytes {
    let at = |place: u64| usize::try_from(place).map_or(bytes.len(), |place| place.min(bytes.len()));
    bytes.slice(at(range.start)..at(range.end))
}

fn generic(source: Box<dyn std::error::Error + Send + Sync>) -> object_store::Error {
    object_store::Error::Generic { store: "Watched", source }
}

fn read_only() -> object_store::Error {
    object_store::Error::NotImplemented { operation: "write".to_owned(), implementer: "Watched".to_owned() }
}

#[async_trait]
impl ObjectStore for Watched {
    async fn put_opts(&self, _: &Location, _: PutPayload, _: PutOptions) -> object_store::Result<PutResult> {
        Err(read_only())
    }

    async fn put_multipart_opts(
        &self,
        _: &Location,
        _: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        Err(read_only())
    }

    async fn get_opts(&self, location: &Location, options: GetOptions) -> object_store::Result<GetResult> {
        self.ask(Op::DeltaRead, location)?;
        let (bytes, meta) = whole(location)?;
        options.check_preconditions(&meta)?;
        let range = match &options.range {
            Some(range) => range.as_range(meta.size).map_err(|error| generic(Box::new(error)))?,
            None => 0..meta.size,
        };
        let bytes = part(&bytes, &range);
        let payload = GetResultPayload::Stream(stream::iter([Ok(bytes)]).boxed());
        Ok(GetResult { payload, meta, range, attributes: Attributes::default() })
    }

    async fn get_ranges(
        &self,
        location: &Location,
        ranges: &[Range<u64>],
    ) -> object_store::Result<Vec<Bytes>> {
        self.ask(Op::DeltaRead, location)?;
        let (bytes, _) = whole(location)?;
        Ok(ranges.iter().map(|range| part(&bytes, range)).collect())
    }

    fn delete_stream(
        &self,
        _: BoxStream<'static, object_store::Result<Location>>,
    ) -> BoxStream<'static, object_store::Result<Location>> {
        stream::iter([Err(read_only())]).boxed()
    }

    fn list(&self, prefix: Option<&Location>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.listed(prefix, || self.inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Location>,
        offset: &Location,
    ) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.listed(prefix, || self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Location>) -> object_store::Result<ListResult> {
        self.ask(Op::DeltaList, prefix.unwrap_or(&Location::default()))?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Location, _: &Location, _: CopyOptions) -> object_store::Result<()> {
        Err(read_only())
    }
}
