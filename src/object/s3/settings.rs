//! What is needed to talk to a bucket, and the SDK's config made of it.

use std::time::Duration;

use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Config, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedCredentialsProvider, SharedHttpClient,
};
use aws_smithy_http_client::tls;

use super::Error;

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
    /// How files are written that are long.
    pub multipart: Multipart,
}

/// How long files are written: in parts, several at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Multipart {
    /// Files of more bytes are written in parts.
    pub above_bytes: u64,
    /// Bytes of a part, 5 MiB to 100 MB; more where the file would have more parts than the protocol allows.
    pub part_bytes: u64,
    /// Parts under way at once.
    pub parallel: usize,
}

impl Default for Multipart {
    fn default() -> Self {
        Self { above_bytes: 16 << 20, part_bytes: 8 << 20, parallel: 4 }
    }
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
            multipart: Multipart::default(),
        }
    }

    /// The SDK's config. Without keys the usual places are searched for them.
    pub(super) async fn config(&self) -> Result<Config, Error> {
        let http = http_client(self)?;
        let mut config = match &self.credentials {
            Some(keys) => {
                let credentials =
                    Credentials::new(&keys.access_key, &keys.secret_key, keys.session_token.clone(), None, "fovea");
                Builder::new()
                    .behavior_version(BehaviorVersion::latest())
                    .credentials_provider(SharedCredentialsProvider::new(credentials))
            }
            None => {
                let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http.clone());
                if let Some(region) = region(self) {
                    loader = loader.region(region);
                }
                aws_sdk_s3::config::Builder::from(&loader.load().await)
            }
        };
        if let Some(endpoint) = &self.endpoint {
            config = config.endpoint_url(endpoint);
        }
        if let Some(region) = region(self) {
            config = config.region(region);
        }
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(self.connect_timeout)
            .read_timeout(self.read_timeout)
            .operation_timeout(self.operation_timeout)
            .build();
        let retry = RetryConfig::standard()
            .with_max_attempts(self.tries.max(1))
            .with_initial_backoff(Duration::from_millis(100))
            .with_max_backoff(Duration::from_secs(2));
        Ok(config
            .http_client(http)
            .force_path_style(self.path_style)
            .timeout_config(timeouts)
            .retry_config(retry)
            // Newer checksums as trailers are more than many compatible servers know.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .build())
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
