//! The sections of the config, one struct each. What each key means stands in `config/default.toml`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use ipnet::IpNet;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::location::StoreLocation;
use super::values::{AccessLog, ByteSize, PathStyle, Secret, address, blank, networks, sized};
use crate::base;

/// `[http]`: where and how images are served.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Where images are served.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    /// PEM file; with it the port speaks TLS.
    #[serde(with = "blank")]
    pub tls_certificate: Option<String>,
    /// PEM file.
    #[serde(with = "blank")]
    pub tls_key: Option<String>,
    /// Connections at once.
    pub connections_max: usize,
    /// Bytes of a request's head.
    pub header_bytes_max: ByteSize,
    /// Time for a request's head.
    pub header_timeout_ms: u64,
    /// How long an idle connection is kept.
    pub idle_timeout_ms: u64,
    /// A client that takes nothing for so long is cut off.
    pub write_stall_ms: u64,
    /// The deadline of a miss.
    pub request_timeout_ms: u64,
    /// How long requests may take after SIGTERM.
    pub drain_ms: u64,
    /// Networks whose `X-Forwarded-For` is believed.
    #[serde(deserialize_with = "networks")]
    pub trusted_proxies: Vec<IpNet>,
    /// Where the access log goes.
    pub access_log: AccessLog,
    /// How it is written.
    pub access_log_format: AccessLogFormat,
    /// Threads that serve; 0 is one a core.
    pub threads: usize,
    /// Whether `GET /` shows the samples.
    pub start_page: bool,
}

/// How the access log is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessLogFormat {
    /// Common log format, with time and phase.
    Text,
    /// An object a line.
    Json,
}

/// `[api]`: health, metrics, purge; uploads, assets, jobs, keys.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Api {
    /// Where the API is served.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    /// An admin's key of the server itself, beside those of the catalog; empty is none.
    pub token: Secret,
    /// Requests of one key a second; 0 is without limit.
    pub key_per_second: u32,
    /// Requests of one key at once.
    pub key_burst: u32,
    /// Requests of one address a second, whatever it shows; 0 is without limit.
    pub address_per_second: u32,
    /// Requests of one address at once.
    pub address_burst: u32,
}

/// `[ingest]`: how originals are taken in.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ingest {
    /// Where originals are kept.
    pub store: StoreLocation,
    /// Where bodies lie while they come; none: in the store's folder, or the machine's for temporary files.
    #[serde(with = "blank")]
    pub spool: Option<String>,
    /// Bodies that are read at once.
    pub uploads_max: usize,
    /// A body that pauses for so long is given up.
    pub idle_timeout_ms: u64,
    /// A body that takes so long together is given up.
    pub upload_timeout_ms: u64,
    /// For how long a signed put holds.
    pub offer_valid_s: u64,
    /// Into a bucket: originals of more bytes are written in parts.
    pub multipart_above: ByteSize,
    /// Bytes of a part.
    pub part_bytes: ByteSize,
    /// Parts under way at once.
    pub parts_parallel: usize,
    /// Server-side encryption in a bucket, as `derivatives.sse`.
    #[serde(with = "blank")]
    pub sse: Option<String>,
    /// Storage class in a bucket: `hot`, `warm`, `cold`, or the bucket's own word.
    #[serde(with = "blank")]
    pub storage_class: Option<String>,
}

/// `[memory]`: what may be held.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// The memory cache.
    pub cache_bytes: ByteSize,
    /// One entry of it.
    pub entry_bytes_max: ByteSize,
    /// Mezzanines.
    pub mezzanine_bytes: ByteSize,
    /// All decoding and rendering.
    pub work_bytes: ByteSize,
    /// Requests that may wait for memory or a thread.
    pub work_queue_max: usize,
    /// For how long they may.
    pub work_queue_ms: u64,
}

/// `[render]`: the CPU pool.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Render {
    /// Threads; 0 is one a core.
    pub threads: usize,
}

/// `[limits]`, as serde sees [`base::Limits`].
#[derive(Serialize, Deserialize)]
#[serde(remote = "base::Limits", deny_unknown_fields)]
pub(super) struct Limits {
    #[serde(with = "sized")]
    source_bytes_max: u64,
    pixels_max: u64,
    side_max: u32,
    frames_max: u32,
    animation_pixels_max: u64,
    #[serde(with = "sized")]
    metadata_bytes_max: usize,
}

/// `[derivatives]`: where finished variants are kept.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Derivatives {
    /// Where.
    pub store: StoreLocation,
    /// A folder's bound; 0 is none.
    pub bytes_max: ByteSize,
    /// The Cache-Control of a bucket's own answers.
    #[serde(with = "blank")]
    pub cache_control: Option<String>,
    /// Server-side encryption: `AES256`, `aws:kms` or `aws:kms:KEY-ID`.
    #[serde(with = "blank")]
    pub sse: Option<String>,
    /// Storage class in a bucket: `hot`, `warm`, `cold`, or the bucket's own word.
    #[serde(with = "blank")]
    pub storage_class: Option<String>,
    /// The same for mezzanines; none is as for all.
    #[serde(with = "blank")]
    pub storage_class_mezzanines: Option<String>,
    /// The same for variants that were asked for by a preset.
    pub storage_class_presets: BTreeMap<String, String>,
    /// Variants that wait to be written.
    pub write_queue_max: usize,
}

/// `[s3]`: for sources and derivatives.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3 {
    /// None is Amazon's own.
    #[serde(with = "blank")]
    pub endpoint: Option<String>,
    /// The region.
    pub region: String,
    /// Whether the bucket stands in the path; ask [`S3::in_path`].
    pub path_style: PathStyle,
    /// None takes what the machine offers.
    #[serde(with = "blank")]
    pub access_key_id: Option<String>,
    /// Its secret.
    pub secret_access_key: Secret,
    /// Of temporary credentials.
    pub session_token: Secret,
}

impl S3 {
    /// Whether the bucket stands in the path of URLs (else in the host name).
    pub fn in_path(&self) -> bool {
        match self.path_style {
            PathStyle::Auto => self.endpoint.is_some(),
            PathStyle::Fixed(value) => value,
        }
    }
}

/// A key of `[keys]`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Key {
    /// The secret; [`Secret::bytes`] decodes it.
    pub secret: Secret,
    /// The categories that it may sign for; none is all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub categories: Option<Vec<String>>,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Whole {
            secret: Secret,
            #[serde(default)]
            categories: Option<Vec<String>>,
        }
        struct TextOrTable;
        impl<'de> Visitor<'de> for TextOrTable {
            type Value = Key;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a secret, or { secret = \"…\", categories = [\"…\"] }")
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<Key, E> {
                Ok(Key { secret: Secret::new(value), categories: None })
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Key, E> {
                self.visit_str(&value.to_string())
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Key, E> {
                self.visit_str(&value.to_string())
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Key, A::Error> {
                let Whole { secret, categories } = Whole::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Key { secret, categories })
            }
        }
        from.deserialize_any(TextOrTable)
    }
}

/// `[presets]`: names for options.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Presets {
    /// A TOML file of them; none takes the built-in ones.
    #[serde(with = "blank")]
    pub file: Option<String>,
    /// Added to the file's, or in their place.
    pub inline: BTreeMap<String, String>,
    /// The file's and the inline ones together, read at start.
    #[serde(skip)]
    pub all: BTreeMap<String, String>,
}

/// `[rate_limit]`: misses of one client address.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Misses a second; 0 is without limit.
    pub per_second: u32,
    /// Misses at once.
    pub burst: u32,
}

/// `[telemetry]`: logs and traces.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// Directives of `tracing_subscriber::EnvFilter`.
    pub log: String,
    /// How logs are written.
    pub format: LogFormat,
    /// OTLP over HTTP; none exports nothing.
    #[serde(with = "blank")]
    pub otlp_endpoint: Option<String>,
    /// The part of traces beginning here that is exported, 0..=1.
    pub otlp_ratio: f64,
}

/// How logs are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
    /// Text on a terminal, JSON elsewhere.
    Auto,
}
