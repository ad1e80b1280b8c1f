//! Get, put and delete bytes by key: a folder or S3. The only room that knows `aws_sdk_s3`.
//!
//! Enters: keys and bytes. Leaves: what was put, with what was said of it. Where a place is named in the config, it is
//! named by the config.
//!
//! Always true: a key that was put is read whole or not at all; a reader never sees half an object.

pub mod fs;
pub mod s3;

pub use fs::{Fs, Layout};
pub use s3::S3;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

/// A place for objects. Keys are `/`-separated, without leading slash, checked by the caller of `plan` or made by us.
pub trait ObjectStore: Send + Sync + std::fmt::Debug {
    /// Opens an object: what is known of it, and its body.
    fn open<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Reading, Error>>;
    /// What is known of an object, without its body.
    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Meta, Error>>;
    /// Writes an object whole.
    fn put<'a>(&'a self, key: &'a str, body: Bytes, options: &'a PutOptions) -> BoxFuture<'a, Result<Put, Error>>;
    /// Writes an object from a file of this machine, whatever its length, in bounded memory; when it is answered, the object
    /// outlives a crash. The file may be moved away by it: it is the caller's to delete what is left.
    fn put_file<'a>(
        &'a self,
        key: &'a str,
        file: &'a Path,
        options: &'a PutOptions,
    ) -> BoxFuture<'a, Result<Put, Error>>;
    /// A request with which somebody without credentials of the store's may put this one object for a while. None: the store
    /// knows no such thing.
    fn presign_put<'a>(
        &'a self,
        key: &'a str,
        valid: Duration,
        options: &'a PutOptions,
    ) -> BoxFuture<'a, Result<Option<Presigned>, Error>>;
    /// Deletes an object; one that is not there is no error.
    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), Error>>;
    /// Deletes every object whose key starts with the prefix; answers how many.
    fn delete_prefix<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<u64, Error>>;
    /// Objects whose key starts with the prefix and comes after `after`, by key: a page of at most [`LIST_MAX`], empty at the end.
    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a str>) -> BoxFuture<'a, Result<Vec<Listed>, Error>>;
    /// Takes away what uploads in parts left that began before a moment and never ended; answers how many. A store without such
    /// uploads has none.
    fn abort_uploads<'a>(&'a self, before: SystemTime) -> BoxFuture<'a, Result<u64, Error>> {
        let _ = before;
        Box::pin(std::future::ready(Ok(0)))
    }
    /// A cheap question whether the store answers at all, for health.
    fn ping<'a>(&'a self) -> BoxFuture<'a, Result<(), Error>>;
}

/// Objects of one page of a list.
pub const LIST_MAX: usize = 1000;

/// An object in a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// When it was written.
    pub modified: Option<SystemTime>,
}

/// What is known of an object.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Meta {
    /// Bytes.
    pub size: u64,
    /// The store's own validator: S3's ETag, or size and modification time in a folder.
    pub validator: String,
    /// When it was written.
    pub modified: Option<SystemTime>,
    /// Media type, where the store keeps one.
    pub content_type: Option<String>,
    /// The writer's own metadata: lower-case names, ASCII values.
    pub user: BTreeMap<String, String>,
}

/// An opened object.
pub struct Reading {
    /// What is known of it.
    pub meta: Meta,
    /// Its bytes.
    pub body: BoxStream<'static, Result<Bytes, Error>>,
}

impl Reading {
    /// Reads the body whole; more than `bytes_max` is [`Error::TooLarge`].
    pub async fn bytes(mut self, bytes_max: u64) -> Result<Bytes, Error> {
        use futures_util::StreamExt;
        if self.meta.size > bytes_max {
            return Err(Error::TooLarge { bytes_max });
        }
        let mut first: Option<Bytes> = None;
        let mut whole: Vec<u8> = Vec::new();
        while let Some(part) = self.body.next().await {
            let part = part?;
            if (whole.len() + part.len()) as u64 + first.as_ref().map_or(0, |f| f.len() as u64) > bytes_max {
                return Err(Error::TooLarge { bytes_max });
            }
            match first.take() {
                None if whole.is_empty() => first = Some(part),
                None => whole.extend_from_slice(&part),
                Some(start) => {
                    whole.reserve_exact((self.meta.size as usize).max(start.len() + part.len()));
                    whole.extend_from_slice(&start);
                    whole.extend_from_slice(&part);
                }
            }
        }
        Ok(first.unwrap_or_else(|| whole.into()))
    }
}

/// How to write an object.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PutOptions {
    /// Media type.
    pub content_type: Option<String>,
    /// `Cache-Control` that the store itself would answer with.
    pub cache_control: Option<String>,
    /// Storage class, where the store has such; else the store's usual one.
    pub storage_class: Option<String>,
    /// The writer's own metadata.
    pub user: BTreeMap<String, String>,
    /// Whether an object that is already there stays.
    pub if_absent: bool,
}

/// A request that is signed already.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Presigned {
    /// The method.
    pub method: String,
    /// The URL; whoever has it may use it.
    pub url: String,
    /// Headers that are part of the signature and must be sent along.
    pub headers: Vec<(String, String)>,
}

/// What a put did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Put {
    /// The object is now ours.
    Written,
    /// One was there, and stayed.
    Existed,
}

/// What can go wrong with a store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such object.
    #[error("no such object")]
    NotFound,
    /// The object is larger than the caller takes.
    #[error("the object is larger than {bytes_max} bytes")]
    TooLarge {
        /// The bound.
        bytes_max: u64,
    },
    /// The store refused us.
    #[error("the store refused the credentials or the operation: {0}")]
    Denied(String),
    /// It did not answer in time.
    #[error("the store did not answer within {0:?}")]
    Timeout(Duration),
    /// It answered with a failure, or not at all; worth another try.
    #[error("the store failed: {0}")]
    Unavailable(String),
    /// The key cannot be kept by this store.
    #[error("the key is not possible in this store: {0}")]
    Key(String),
    /// The store's place or settings are wrong; said at start.
    #[error("the store's location is wrong: {0}")]
    Location(String),
}
