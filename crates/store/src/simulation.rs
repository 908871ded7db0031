//! The ends by which a simulation watches what a store does with its files, makes it fail, and decides who
//! goes on. Only with the feature `simulation`, and only on threads that are watched.

use std::cell::RefCell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::task::Poll;

use async_trait::async_trait;
use bytes::Bytes;
use futures::channel::oneshot;
use futures::stream::{self, BoxStream, StreamExt as _};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Location;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

pub use crate::disk::Op;

/// What shall become of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
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
pub trait Watch: Send + Sync {
    /// A step is about to be made on this thread, which may be kept waiting.
    fn ask(&self, op: Op, path: &Path) -> Answer;

    /// delta-rs is about to make a step. Its threads must not be kept waiting, and their order is not told.
    fn ask_elsewhere(&self, op: Op, path: &Path) -> Answer;

    /// Carries out work on another thread.
    fn begin(&self, work: Box<dyn FnOnce() + Send>);

    /// The task that is polled on this thread waits for threads that the simulation does not know.
    fn wait_elsewhere(&self);
}

thread_local! {
    static WATCH: RefCell<Option<Arc<dyn Watch>>> = const { RefCell::new(None) };
}

/// Lets a process be watched while `work` is done on this thread.
pub fn watched<T>(watch: Arc<dyn Watch>, work: impl FnOnce() -> T) -> T {
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

pub(crate) fn act<T>(op: Op, path: &Path, step: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    match watch().map_or(Answer::Done, |watch| watch.ask(op, path)) {
        Answer::Done => step(),
        Answer::Refused(kind) | Answer::Half(kind) => Err(kind.into()),
        Answer::Lost(kind) => {
            let _ = step();
            Err(kind.into())
        }
    }
}

pub(crate) fn act_on_bytes(
    op: Op,
    path: &Path,
    bytes: &[u8],
    step: impl FnOnce(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    match watch().map_or(Answer::Done, |watch| watch.ask(op, path)) {
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

/// Lets others go on; `false` if this thread is not watched.
pub(crate) async fn pause() -> bool {
    if watch().is_none() {
        return false;
    }
    let mut first = true;
    poll_fn(|context| {
        if std::mem::take(&mut first) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
    true
}

/// Begins work on another thread of the same process; gives it back if this thread is not watched.
pub(crate) fn begin<T: Send + 'static, W: FnOnce() -> T + Send + 'static>(
    work: W,
) -> Result<impl Future<Output = Result<T, ()>>, W> {
    let Some(watch) = watch() else { return Err(work) };
    let (sender, receiver) = oneshot::channel();
    let of_work = watch.clone();
    watch.begin(Box::new(move || {
        let done = watched(of_work, || catch_unwind(AssertUnwindSafe(work)));
        let _ = sender.send(done);
    }));
    Ok(async move { receiver.await.map_err(drop)?.map_err(drop) })
}

/// Tells whoever watches that the task waits for threads that it does not know.
pub(crate) async fn elsewhere<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    poll_fn(|context| {
        let polled = future.as_mut().poll(context);
        if polled.is_pending()
            && let Some(watch) = watch()
        {
            watch.wait_elsewhere();
        }
        polled
    })
    .await
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
                Err(object_store::Error::Generic {
                    store: "Watched",
                    source: Box::new(io::Error::from(kind)),
                })
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
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(
        &self,
        location: &Location,
        ranges: &[Range<u64>],
    ) -> object_store::Result<Vec<Bytes>> {
        self.ask(Op::DeltaRead, location)?;
        self.inner.get_ranges(location, ranges).await
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
