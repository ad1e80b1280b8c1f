//! Objects in a bucket of S3, or of what speaks as it does.
//!
//! What was said with a put is kept as the object's user metadata, so that one GET answers both.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedCredentialsProvider, SharedHttpClient,
};
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{Delete, ObjectIdentifier, ServerSideEncryption, StorageClass};
use aws_smithy_http_client::tls;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};

use super::{Error, Meta, ObjectStore, Put, PutOptions, Reading};

/// How many keys one listing gives and one request deletes; the protocol's own bound.
const KEYS_MAX: i32 = 1000;
/// How many pages a prefix is deleted in, at most; what is left then is an error.
const PAGES_MAX: usize = 10_000;
/// How often a conditional put is tried that met another one.
const PUT_TRIES: usize = 3;
/// A key's longest, in bytes; the protocol's own bound.
const KEY_BYTES_MAX: usize = 1024;

/// What is needed to talk to a bucket.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The bucket.
    pub bucket: String,
    /// What goes before every key: empty, or with a closing slash.
    pub prefix: String,
    /// Another server than AWS's: `http://` or `https://`, host and port.
    pub endpoint: Option<String>,
    /// The region; with an endpoint `us-east-1` unless said otherwise.
    pub region: Option<String>,
    /// Whether the bucket is part of the path rather than of the host's name.
    pub path_style: bool,
    /// Who we are; none: what the environment, the profile, the web identity or the instance says.
    pub credentials: Option<Keys>,
    /// How the server encrypts what is put.
    pub encryption: Encryption,
    /// The storage class of what is put: `STANDARD_IA`, say.
    pub storage_class: Option<String>,
    /// `Cache-Control` of what is put, unless the put says its own.
    pub cache_control: Option<String>,
    /// To connect.
    pub connect_timeout: Duration,
    /// From the request to the answer's head, one try.
    pub read_timeout: Duration,
    /// All tries together, until the answer's head.
    pub operation_timeout: Duration,
    /// How often a request is tried: 1 for a source, which has retries of its own.
    pub tries: u32,
}

impl Settings {
    /// A bucket with everything else as usual.
    pub fn new(bucket: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            prefix: prefix.into(),
            endpoint: None,
            region: None,
            path_style: false,
            credentials: None,
            encryption: Encryption::None,
            storage_class: None,
            cache_control: None,
            connect_timeout: Duration::from_secs(2),
            read_timeout: Duration::from_secs(10),
            operation_timeout: Duration::from_secs(20),
            tries: 2,
        }
    }
}

/// Credentials that the config names.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// The access key's id.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
    /// The session's token, for temporary ones.
    pub session_token: Option<String>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Keys").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// How the server encrypts what is put.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Encryption {
    /// As the bucket says.
    #[default]
    None,
    /// With the server's own keys: `AES256`.
    Aes256,
    /// With a key of the key service: `aws:kms`.
    Kms {
        /// The key; none: the account's own for S3.
        key_id: Option<String>,
    },
}

/// A bucket, or the part of it under a prefix.
#[derive(Clone, Debug)]
pub struct S3 {
    client: Client,
    settings: Arc<Settings>,
    /// Cleared when the server says that it knows no conditional put.
    conditional: Arc<AtomicBool>,
}

impl S3 {
    /// A client for a bucket; nothing is asked of the server yet. Without keys in the settings the usual places are searched
    /// for them, which may ask the instance's metadata service.
    pub async fn new(settings: Settings) -> Result<Self, Error> {
        let http = http_client(&settings)?;
        let mut config = match &settings.credentials {
            Some(keys) => {
                let credentials =
                    Credentials::new(&keys.access_key, &keys.secret_key, keys.session_token.clone(), None, "fovea");
                Builder::new()
                    .behavior_version(BehaviorVersion::latest())
                    .credentials_provider(SharedCredentialsProvider::new(credentials))
            }
            None => {
                let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http.clone());
                if let Some(region) = region(&settings) {
                    loader = loader.region(region);
                }
                aws_sdk_s3::config::Builder::from(&loader.load().await)
            }
        };
        if let Some(endpoint) = &settings.endpoint {
            config = config.endpoint_url(endpoint);
        }
        if let Some(region) = region(&settings) {
            config = config.region(region);
        }
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(settings.connect_timeout)
            .read_timeout(settings.read_timeout)
            .operation_timeout(settings.operation_timeout)
            .build();
        let retry = RetryConfig::standard()
            .with_max_attempts(settings.tries.max(1))
            .with_initial_backoff(Duration::from_millis(100))
            .with_max_backoff(Duration::from_secs(2));
        let config = config
            .http_client(http)
            .force_path_style(settings.path_style)
            .timeout_config(timeouts)
            .retry_config(retry)
            // Newer checksums as trailers are more than many compatible servers know.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .build();
        Ok(Self {
            client: Client::from_conf(config),
            settings: Arc::new(settings),
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
                Some(Err(error)) => {
                    Err(Error::Unavailable(format!("the body broke off: {}", DisplayErrorContext(error))))
                }
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
        let settings = &self.settings;
        let (encryption, key_id) = match &settings.encryption {
            Encryption::None => (None, None),
            Encryption::Aes256 => (Some(ServerSideEncryption::Aes256), None),
            Encryption::Kms { key_id } => (Some(ServerSideEncryption::AwsKms), key_id.clone()),
        };
        let user = options.user.clone().into_iter().collect();
        self.client
            .put_object()
            .bucket(&settings.bucket)
            .key(key)
            .content_length(body.len() as i64)
            .body(ByteStream::from(body))
            .set_content_type(options.content_type.clone())
            .set_cache_control(options.cache_control.clone().or_else(|| settings.cache_control.clone()))
            .set_metadata((!options.user.is_empty()).then_some(user))
            .set_server_side_encryption(encryption)
            .set_ssekms_key_id(key_id)
            .set_storage_class(settings.storage_class.as_deref().map(StorageClass::from))
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
            _ => DisplayErrorContext(&error).to_string(),
        };
        match (&error, status) {
            (SdkError::TimeoutError(_), _) => Error::Timeout(self.settings.operation_timeout),
            (SdkError::DispatchFailure(failure), _) if failure.is_timeout() => {
                Error::Timeout(self.settings.connect_timeout)
            }
            (SdkError::ConstructionFailure(_), _) => Error::Key(DisplayErrorContext(&error).to_string()),
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

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.remove(key))
    }

    fn delete_prefix<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<u64, Error>> {
        Box::pin(self.remove_prefix(prefix))
    }

    fn ping<'a>(&'a self) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.look_at_bucket())
    }
}

/// The region to sign for; none: what the environment says.
fn region(settings: &Settings) -> Option<Region> {
    let usual = (settings.endpoint.is_some() || settings.credentials.is_some()).then(|| "us-east-1".to_owned());
    settings.region.clone().or(usual).map(Region::new)
}

/// TLS by rustls and ring, as everywhere in Fovea; none at all for a plain endpoint, which saves loading the roots.
fn http_client(settings: &Settings) -> Result<SharedHttpClient, Error> {
    let builder = aws_smithy_http_client::Builder::new().pool_max_idle_per_host(64);
    match settings.endpoint.as_deref() {
        Some(endpoint) if endpoint.starts_with("http://") && settings.credentials.is_some() => Ok(builder.build_http()),
        Some(endpoint) if !endpoint.starts_with("https://") && !endpoint.starts_with("http://") => {
            Err(Error::Location(format!("the endpoint {endpoint:?} is no http:// or https:// URL")))
        }
        _ => {
            let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
            Ok(builder.tls_provider(provider).build_https())
        }
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
