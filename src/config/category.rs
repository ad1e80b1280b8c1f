//! A category's settings. What each key means stands in `config/default.toml`.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::location::SourceLocation;
use super::values::{ByteSize, blank, networks, whole_numbers};

/// A configured collection of originals: where they are, what URLs may ask of them, how answers are made and cached.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Category {
    /// Whether it exists.
    pub enabled: bool,
    /// Where its originals are.
    pub source: SourceLocation,
    /// Whether its originals are those that were uploaded; it has no source then.
    pub ingest: bool,
    /// How it looks from outside.
    pub public: Public,
    /// What is allowed without a signature.
    pub unsigned: Unsigned,
    /// Which versions a URL may name.
    pub versions: Versions,
    /// Who gets the original's bytes.
    pub originals: Originals,
    /// The widths and heights that options may ask for without a signature; empty is all.
    #[serde(deserialize_with = "whole_numbers")]
    pub sizes: Vec<u32>,
    /// The largest width or height that a URL may ask for, in device pixels.
    pub side_max: u32,
    /// Whether `auto` may choose AVIF.
    pub avif: bool,
    /// Whether `auto` may choose WebP.
    pub webp: bool,
    /// JPEG's default quality, 1..=100.
    pub quality_jpeg: u8,
    /// WebP's default quality, 1..=100.
    pub quality_webp: u8,
    /// AVIF's default quality, 1..=100.
    pub quality_avif: u8,
    /// Whether JPEGs are progressive.
    pub progressive: bool,
    /// How hard encoders press.
    pub effort: Effort,
    /// The light in which pictures are resized.
    pub light: Light,
    /// Which reduced forms of an original are kept to render from.
    pub mezzanine: Mezzanine,
    /// Whether info and `meta_all` show where a picture was taken.
    pub exif_location: bool,
    /// Whether client hints and `Save-Data` are looked at.
    pub client_hints: bool,
    /// Variants that every new asset gets, as a URL's last segment.
    pub prewarm: Vec<String>,
    /// The share of requests, 0 to 100, that shall find a new asset's variants made; 0 looks at no traffic.
    pub prewarm_coverage_percent: u32,
    /// Bytes of variants that one new asset may cost for it.
    pub prewarm_bytes_max: ByteSize,
    /// For how many days versions that are no longer current are kept; 0 is for ever.
    pub retention_days: u64,
    /// Origins for CORS.
    pub cors: Vec<String>,
    /// max-age of versioned URLs, seconds.
    pub max_age_s: u64,
    /// max-age of `v0`, seconds.
    pub latest_max_age_s: u64,
    /// max-age of URLs with a preset, seconds.
    pub preset_max_age_s: u64,
    /// `stale-while-revalidate`, seconds; 0 leaves it out.
    pub stale_while_revalidate_s: u64,
    /// Hosts that an HTTP source may redirect to, beside its own.
    pub allow_hosts: Vec<String>,
    /// Whether all private addresses may be connected to.
    pub allow_private: bool,
    /// Private networks that may be connected to.
    #[serde(deserialize_with = "networks")]
    pub allow_networks: Vec<IpNet>,
    /// A PEM file of further certificate authorities.
    #[serde(with = "blank")]
    pub ca_file: Option<String>,
    /// Time for one try of a fetch, redirects and body included.
    pub fetch_timeout_ms: u64,
    /// Tries of a fetch.
    pub attempts: u32,
    /// First pause between tries; each further one is twice as long.
    pub backoff_ms: u64,
    /// Failures in a row that open the breaker.
    pub breaker_failures: u32,
    /// How long it stays open.
    pub breaker_open_ms: u64,
    /// Successes that close it.
    pub breaker_successes: u32,
    /// Fetches at once.
    pub concurrency: usize,
}

/// How a category looks from outside.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Public {
    /// What URLs in the API's answers begin with; none leaves them as paths.
    #[serde(with = "blank")]
    pub base_url: Option<String>,
}

/// What a category lets through without a signature.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unsigned {
    /// Presets and options.
    Options,
    /// Presets alone.
    Presets,
    /// Nothing.
    None,
}

/// Which versions a URL may name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Versions {
    /// Any: an opaque cache key.
    Any,
    /// Any, but only in a signed URL.
    Signed,
    /// Those that are known.
    Checked,
}

/// Who gets the original's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Originals {
    /// Signed URLs.
    Signed,
    /// Everybody.
    Public,
}

/// How hard encoders press.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effort {
    /// As is worth waiting for.
    Usual,
    /// As is worth it where nobody waits.
    Small,
}

/// The light in which pictures are resized.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Light {
    /// Linear light.
    Linear,
    /// The samples as they are.
    Gamma,
}

/// Which mezzanines are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mezzanine {
    /// None.
    Off,
    /// 640 and 1280 pixels wide.
    On,
    /// 2560 too.
    Large,
}
