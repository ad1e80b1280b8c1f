//! Objects in a bucket of S3, or of what speaks as it does.
//!
//! What was said with a put is kept as the object's user metadata, so that one GET answers both.

mod list;
mod piece;
mod settings;
mod upload;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{Delete, ObjectIdentifier, ServerSideEncryption, StorageClass};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use tokio::sync::Semaphore;

pub use self::settings::{Encryption, Keys, Multipart, Settings};
use super::{Error, Listed, Meta, ObjectStore, Presigned, Put, PutOptions, Reading};
use crate::base::in_words;

/// How many keys one listing gives and one request deletes; the protocol's own bound.
const KEYS_MAX: i32 = 1000;
/// How many pages a prefix is deleted in, at most; what is left then is an error.
const PAGES_MAX: usize = 10_000;
/// How often a conditional put is tried that met another one.
const PUT_TRIES: usize = 3;
/// Uploads in parts that have all their parts under way that they may; further ones share with them. A part under way holds a few
/// megabytes.
const UPLOADS_AT_FULL_SPEED: usize = 1;
/// A key's longest, in bytes; the protocol's own bound.
const KEY_BYTES_MAX: usize = 1024;

/// A bucket, or the part of it under a prefix.
#[derive(Clone, Debug)]
pub struct S3 {
    client: Client,
    settings: Arc<Settings>,
    /// Cleared when the server says that it knows no conditional put.
    conditional: Arc<AtomicBool>,
    /// Parts of all uploads together that may be under way: a part takes buffers, however few uploads there are.
    parts: Arc<Semaphore>,
    buffers: piece::Buffers,
}

impl S3 {
    /// A client for a bucket; nothing is asked of the server yet. Without keys in the settings the usual places are searched
    /// for them, which may ask the instance's metadata service.
    pub async fn new(settings: Settings) -> Result<Self, Error> {
        let config = settings.config().await?;
        Ok(Self {
            client: Client::from_conf(config),
            parts: Arc::new(Semaphore::new(settings.multipart.parallel.max(1) * UPLOADS_AT_FULL_SPEED)),
            settings: Arc::new(settings),
            buffers: piece::Buffers::default(),
            conditional: Arc::new(AtomicBool::new(true)),
        })
    }

    /// Makes the bucket where it is missing, for a first start against an empty server.
    pub async fn create_bucket(&self) -> Result<(), Error> {
        match self.client.create_bucket().bucket(&self.settings.bucket).send().await {
            Ok(_) => Ok(()),
            Err(error) if matches!(error.code(), Some("BucketAlreadyOwnedByYou" | "BucketAlreadyExists")) => Ok(()),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn key(&self, key: &str) -> Result<String, Error> {
        let whole = format!("{}{key}", self.settings.prefix);
        if key.is_empty() || whole.len() > KEY_BYTES_MAX {
            return Err(Error::Key(format!("a key has 1 to {KEY_BYTES_MAX} bytes with its prefix")));
        }
        Ok(whole)
    }

    async fn read(&self, key: &str) -> Result<Reading, Error> {
        let key = self.key(key)?;
        let answer = self.client.get_object().bucket(&self.settings.bucket).key(key).send().await;
        let answer = answer.map_err(|error| self.failed(error))?;
        let Some(length) = answer.content_length.and_then(|length| u64::try_from(length).ok()) else {
            return Err(Error::Unavailable("the store did not say how long the object is".into()));
        };
        let user = answer.metadata.unwrap_or_default();
        let meta = meta(length, answer.e_tag, answer.last_modified, answer.content_type, user);
        let idle = self.settings.read_timeout;
        let body = stream::try_unfold((answer.body, 0_u64), move |(mut body, at)| async move {
            let next = tokio::time::timeout(idle, body.next()).await.map_err(|_| Error::Timeout(idle))?;
            match next {
                Some(Ok(part)) => {
                    let at = at + part.len() as u64;
                    Ok(Some((part, (body, at))))
                }
                Some(Err(error)) => Err(Error::Unavailable(format!("the body broke off: {}", in_words(&error)))),
                None if at == length => Ok(None),
                None => Err(Error::Unavailable(format!("the body ended after {at} of {length} bytes"))),
            }
        });
        Ok(Reading { meta, body: body.boxed() })
    }

    async fn look(&self, key: &str) -> Result<Meta, Error> {
        let key = self.key(key)?;
        let answer = self.client.head_object().bucket(&self.settings.bucket).key(key).send().await;
        let answer = answer.map_err(|error| self.failed(error))?;
        let length = answer.content_length.and_then(|length| u64::try_from(length).ok()).unwrap_or(0);
        let user = answer.metadata.unwrap_or_default();
        Ok(meta(length, answer.e_tag, answer.last_modified, answer.content_type, user))
    }

    async fn write(&self, key: &str, body: Bytes, options: &PutOptions) -> Result<Put, Error> {
        let whole = self.key(key)?;
        if options.if_absent && !self.conditional.load(Ordering::Relaxed) {
            // Not safe against another writer at the same moment; the server leaves no better way.
            match self.look(key).await {
                Ok(_) => return Ok(Put::Existed),
                Err(Error::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        let mut tries = 0;
        loop {
            tries += 1;
            let mut request = self.request(&whole, body.clone(), options);
            let conditional = options.if_absent && self.conditional.load(Ordering::Relaxed);
            if conditional {
                request = request.if_none_match("*");
            }
            let error = match request.send().await {
                Ok(_) => return Ok(Put::Written),
                Err(error) => error,
            };
            match error.raw_response().map(|raw| raw.status().as_u16()) {
                Some(412) if conditional => return Ok(Put::Existed),
                Some(409) if conditional && tries < PUT_TRIES => {}
                Some(501) if conditional => {
                    tracing::warn!(bucket = self.settings.bucket, "the store knows no conditional put");
                    self.conditional.store(false, Ordering::Relaxed);
                    return Box::pin(self.write(key, body, options)).await;
                }
                _ => return Err(self.failed(error)),
            }
        }
    }

    fn request(&self, key: &str, body: Bytes, options: &PutOptions) -> PutObjectFluentBuilder {
        self.described(key, options).content_length(body.len() as i64).body(ByteStream::from(body))
    }

    /// A put without its body.
    fn described(&self, key: &str, options: &PutOptions) -> PutObjectFluentBuilder {
        let settings = &self.settings;
        let (encryption, key_id) = self.encryption();
        let user = options.user.clone().into_iter().collect();
        self.client
            .put_object()
            .bucket(&settings.bucket)
            .key(key)
            .set_content_type(options.content_type.clone())
            .set_cache_control(options.cache_control.clone().or_else(|| settings.cache_control.clone()))
            .set_metadata((!options.user.is_empty()).then_some(user))
            .set_server_side_encryption(encryption)
            .set_ssekms_key_id(key_id)
            .set_storage_class(self.class(options))
    }

    fn class(&self, options: &PutOptions) -> Option<StorageClass> {
        let class = options.storage_class.as_deref().or(self.settings.storage_class.as_deref());
        class.map(StorageClass::from)
    }

    fn encryption(&self) -> (Option<ServerSideEncryption>, Option<String>) {
        match &self.settings.encryption {
            Encryption::None => (None, None),
            Encryption::Aes256 => (Some(ServerSideEncryption::Aes256), None),
            Encryption::Kms { key_id } => (Some(ServerSideEncryption::AwsKms), key_id.clone()),
        }
    }

    async fn remove(&self, key: &str) -> Result<(), Error> {
        let key = self.key(key)?;
        match self.client.delete_object().bucket(&self.settings.bucket).key(key).send().await {
            Ok(_) => Ok(()),
            Err(error) => match self.failed(error) {
                Error::NotFound => Ok(()),
                error => Err(error),
            },
        }
    }

    async fn remove_prefix(&self, prefix: &str) -> Result<u64, Error> {
        let bucket = &self.settings.bucket;
        let prefix = format!("{}{prefix}", self.settings.prefix);
        let mut deleted = 0;
        for _ in 0..PAGES_MAX {
            // Always the first page: the last one's keys are gone.
            let list = self.client.list_objects_v2().bucket(bucket).prefix(&prefix).max_keys(KEYS_MAX).send().await;
            let list = list.map_err(|error| self.failed(error))?;
            let keys: Vec<ObjectIdentifier> = list
                .contents
                .unwrap_or_default()
                .into_iter()
                .filter_map(|object| ObjectIdentifier::builder().key(object.key?).build().ok())
                .collect();
            if keys.is_empty() {
                return Ok(deleted);
            }
            let count = keys.len() as u64;
            let delete = Delete::builder().set_objects(Some(keys)).quiet(true).build();
            let delete = delete.map_err(|error| Error::Unavailable(error.to_string()))?;
            let answer = self.client.delete_objects().bucket(bucket).delete(delete).send().await;
            let answer = answer.map_err(|error| self.failed(error))?;
            if let Some(error) = answer.errors.unwrap_or_default().first() {
                let text = |part: Option<&str>| part.unwrap_or("?").to_owned();
                return Err(match error.code() {
                    Some("AccessDenied") => Error::Denied(text(error.message())),
                    code => Error::Unavailable(format!("{}: {}", text(code), text(error.message()))),
                });
            }
            deleted += count;
            if list.is_truncated != Some(true) {
                return Ok(deleted);
            }
        }
        Err(Error::Unavailable(format!("more than {} objects have the prefix", PAGES_MAX * KEYS_MAX as usize)))
    }

    async fn look_at_bucket(&self) -> Result<(), Error> {
        match self.client.head_bucket().bucket(&self.settings.bucket).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(match self.failed(error) {
                Error::NotFound => Error::Denied(format!("there is no bucket {:?}", self.settings.bucket)),
                error => error,
            }),
        }
    }

    /// The SDK's error in the room's words.
    fn failed<E>(&self, error: SdkError<E>) -> Error
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let code = error.code().unwrap_or_default().to_owned();
        let status = error.raw_response().map_or(0, |raw| raw.status().as_u16());
        let said = match error.message() {
            Some(message) if !code.is_empty() => format!("{code}: {message}"),
            _ if status != 0 => format!("status {status} {code}"),
            _ => in_words(&error),
        };
        match (&error, status) {
            (SdkError::TimeoutError(_), _) => Error::Timeout(self.settings.operation_timeout),
            (SdkError::DispatchFailure(failure), _) if failure.is_timeout() => {
                Error::Timeout(self.settings.connect_timeout)
            }
            (SdkError::ConstructionFailure(_), _) => Error::Key(in_words(&error)),
            _ if code == "NoSuchBucket" => Error::Denied(said),
            _ if code == "KeyTooLongError" => Error::Key(said),
            (_, 404 | 410) => Error::NotFound,
            (_, 401 | 403) => Error::Denied(said),
            (_, 400) if code == "ExpiredToken" || code == "InvalidToken" => Error::Denied(said),
            _ => Error::Unavailable(said),
        }
    }
}

impl ObjectStore for S3 {
    fn open<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Reading, Error>> {
        Box::pin(self.read(key))
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Meta, Error>> {
        Box::pin(self.look(key))
    }

    fn put<'a>(&'a self, key: &'a str, body: Bytes, options: &'a PutOptions) -> BoxFuture<'a, Result<Put, Error>> {
        Box::pin(self.write(key, body, options))
    }

    fn put_file<'a>(
        &'a self,
        key: &'a str,
        file: &'a Path,
        options: &'a PutOptions,
    ) -> BoxFuture<'a, Result<Put, Error>> {
        Box::pin(self.write_file(key, file, options))
    }

    fn presign_put<'a>(
        &'a self,
        key: &'a str,
        valid: Duration,
        options: &'a PutOptions,
    ) -> BoxFuture<'a, Result<Option<Presigned>, Error>> {
        Box::pin(async move { self.presign(key, valid, options).await.map(Some) })
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.remove(key))
    }

    fn delete_prefix<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<u64, Error>> {
        Box::pin(self.remove_prefix(prefix))
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a str>) -> BoxFuture<'a, Result<Vec<Listed>, Error>> {
        Box::pin(self.list_page(prefix, after))
    }

    fn abort_uploads<'a>(&'a self, before: SystemTime) -> BoxFuture<'a, Result<u64, Error>> {
        Box::pin(self.abort_older(before))
    }

    fn ping<'a>(&'a self) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.look_at_bucket())
    }
}

fn meta(
    size: u64,
    validator: Option<String>,
    modified: Option<DateTime>,
    content_type: Option<String>,
    user: std::collections::HashMap<String, String>,
) -> Meta {
    let modified = modified.and_then(|at| SystemTime::try_from(at).ok());
    let user = user.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    Meta { size, validator: validator.unwrap_or_default(), modified, content_type, user }
}
