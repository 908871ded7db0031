//! What a session can reach (RES-6): the permitted roots, to read, and nothing else.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::object_store::{ObjectStoreRegistry, ObjectStoreUrl};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use situs_model::StoreIdentity;
use url::Url;

/// The scheme of the stores' URLs. No other scheme resolves.
const SCHEME: &str = "situs";

/// The URL under which a session knows a store. It names the store, not the place where it lies.
pub(crate) fn store_url(identity: &StoreIdentity) -> DataFusionResult<ObjectStoreUrl> {
    ObjectStoreUrl::parse(format!("{SCHEME}://{}-{}", identity.zone.schema_name(), identity.store_id))
}

/// The object stores of a session. It is complete when it is made: there is no default for
/// `file://`, nothing is discovered, and registering another one does nothing.
#[derive(Debug, Default)]
pub(crate) struct PermittedObjects {
    stores: HashMap<String, Arc<dyn ObjectStore>>,
}

impl PermittedObjects {
    /// Adds a root. Only possible before the registry is given to a runtime.
    pub(crate) fn add(&mut self, url: &ObjectStoreUrl, root: &Path) -> Result<()> {
        self.stores.insert(key(url.as_ref()), Arc::new(ReadOnlyRoot::open(root)?));
        Ok(())
    }
}

/// What identifies a store in a URL: scheme and authority.
fn key(url: &Url) -> String {
    url[..url::Position::BeforePath].to_owned()
}

impl ObjectStoreRegistry for PermittedObjects {
    fn register_store(&self, _url: &Url, _store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    fn get_store(&self, url: &Url) -> DataFusionResult<Arc<dyn ObjectStore>> {
        self.stores.get(&key(url)).cloned().ok_or_else(|| {
            DataFusionError::Plan(format!("`{}` is outside the permit of this session", key(url)))
        })
    }
}

/// A root on a file system, to read files by their names. Writing and listing are refused: a
/// session takes the names of files from the tables' logs.
///
/// A file is opened only if it still lies below the root when all symbolic links are followed, so
/// a link that somebody left in a store does not lead into another zone.
#[derive(Debug)]
pub(crate) struct ReadOnlyRoot {
    files: LocalFileSystem,
    root: PathBuf,
}

impl ReadOnlyRoot {
    fn open(root: &Path) -> Result<Self> {
        let root = std::fs::canonicalize(root)
            .map_err(|source| Error::Generic { store: "ReadOnlyRoot", source: Box::new(source) })?;
        Ok(Self { files: LocalFileSystem::new_with_prefix(&root)?, root })
    }

    async fn check(&self, location: &ObjectPath) -> Result<()> {
        let path = self.files.path_to_filesystem(location)?;
        let real = tokio::fs::canonicalize(&path)
            .await
            .map_err(|source| Error::NotFound { path: location.to_string(), source: Box::new(source) })?;
        if real.starts_with(&self.root) {
            Ok(())
        } else {
            Err(refused(&format!("`{location}` leads out of its store")))
        }
    }
}

fn refused(what: &str) -> Error {
    Error::NotSupported { source: what.into() }
}

/// Why nothing is ever written or listed here.
fn read_only() -> Error {
    refused("a session only reads files that a table's log names")
}

impl fmt::Display for ReadOnlyRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReadOnlyRoot({})", self.root.display())
    }
}

#[async_trait]
impl ObjectStore for ReadOnlyRoot {
    async fn get_opts(&self, location: &ObjectPath, options: GetOptions) -> Result<GetResult> {
        self.check(location).await?;
        self.files.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &ObjectPath, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.check(location).await?;
        self.files.get_ranges(location, ranges).await
    }

    async fn put_opts(&self, _: &ObjectPath, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Err(read_only())
    }

    async fn put_multipart_opts(
        &self,
        _: &ObjectPath,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(read_only())
    }

    fn delete_stream(
        &self,
        _: BoxStream<'static, Result<ObjectPath>>,
    ) -> BoxStream<'static, Result<ObjectPath>> {
        stream::once(async { Err(read_only()) }).boxed()
    }

    fn list(&self, _: Option<&ObjectPath>) -> BoxStream<'static, Result<ObjectMeta>> {
        stream::once(async { Err(read_only()) }).boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&ObjectPath>) -> Result<ListResult> {
        Err(read_only())
    }

    async fn copy_opts(&self, _: &ObjectPath, _: &ObjectPath, _: CopyOptions) -> Result<()> {
        Err(read_only())
    }

    async fn rename_opts(&self, _: &ObjectPath, _: &ObjectPath, _: RenameOptions) -> Result<()> {
        Err(read_only())
    }
}

#[cfg(test)]
mod tests;
