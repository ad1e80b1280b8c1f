//! Where originals and derivatives are: `file:PATH`, `s3://BUCKET/PREFIX`, `https://HOST/BASE`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};

/// Where a category's originals are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SourceLocation {
    /// Not said. A category that is enabled has one.
    Unset,
    /// A folder.
    Folder(PathBuf),
    /// A prefix in a bucket; empty, or without slashes at its ends.
    Bucket {
        /// The bucket.
        bucket: String,
        /// What all keys begin with.
        prefix: String,
    },
    /// Another HTTP origin: scheme, host and base path, without a slash at its end.
    Http(String),
}

/// Where derivatives are kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreLocation {
    /// Nowhere.
    None,
    /// A folder.
    Folder(PathBuf),
    /// A prefix in a bucket; empty, or without slashes at its ends.
    Bucket {
        /// The bucket.
        bucket: String,
        /// What all keys begin with.
        prefix: String,
    },
}

impl FromStr for SourceLocation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::Unset);
        }
        if let Some(path) = folder(text) {
            return path.map(Self::Folder);
        }
        if let Some(found) = bucket(text) {
            return found.map(|(bucket, prefix)| Self::Bucket { bucket, prefix });
        }
        if text.starts_with("http://") || text.starts_with("https://") {
            return base_url(text).map(Self::Http);
        }
        Err(format!("{text:?} is no source; write \"file:PATH\", \"s3://BUCKET/PREFIX\" or \"https://HOST/BASE\""))
    }
}

impl FromStr for StoreLocation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" || text.is_empty() {
            return Ok(Self::None);
        }
        if let Some(path) = folder(text) {
            return path.map(Self::Folder);
        }
        if let Some(found) = bucket(text) {
            return found.map(|(bucket, prefix)| Self::Bucket { bucket, prefix });
        }
        Err(format!("{text:?} is no store; write \"file:PATH\", \"s3://BUCKET/PREFIX\" or \"none\""))
    }
}

/// The path of `file:PATH`; `file:///absolute` too.
fn folder(text: &str) -> Option<Result<PathBuf, String>> {
    let path = text.strip_prefix("file:")?;
    let path = path.strip_prefix("//").unwrap_or(path);
    Some(if path.is_empty() { Err("`file:` wants a path".to_owned()) } else { Ok(PathBuf::from(path)) })
}

/// Bucket and prefix of `s3://BUCKET/PREFIX`.
fn bucket(text: &str) -> Option<Result<(String, String), String>> {
    let rest = text.strip_prefix("s3://")?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_');
    if !(1..=63).contains(&bucket.len()) || !bucket.chars().all(legal) {
        return Some(Err(format!("{bucket:?} is no bucket's name: lower-case letters, digits, dots and hyphens")));
    }
    Some(Ok((bucket.to_owned(), prefix.trim_matches('/').to_owned())))
}

/// A URL that paths can be put behind.
fn base_url(text: &str) -> Result<String, String> {
    let uri: http::Uri = text.parse().map_err(|_| format!("{text:?} is no URL"))?;
    if uri.query().is_some() || text.contains('#') {
        return Err("a source's URL has no query and no fragment".to_owned());
    }
    match uri.authority() {
        Some(authority) if authority.as_str().contains('@') => {
            Err("a source's URL holds no user and password".to_owned())
        }
        Some(authority) if !authority.host().is_empty() => Ok(text.trim_end_matches('/').to_owned()),
        _ => Err(format!("{text:?} has no host")),
    }
}

fn write_bucket(out: &mut fmt::Formatter<'_>, bucket: &str, prefix: &str) -> fmt::Result {
    write!(out, "s3://{bucket}{}{prefix}", if prefix.is_empty() { "" } else { "/" })
}

impl fmt::Display for SourceLocation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset => Ok(()),
            Self::Folder(path) => write!(out, "file:{}", path.display()),
            Self::Bucket { bucket, prefix } => write_bucket(out, bucket, prefix),
            Self::Http(url) => out.write_str(url),
        }
    }
}

impl fmt::Display for StoreLocation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => out.write_str("none"),
            Self::Folder(path) => write!(out, "file:{}", path.display()),
            Self::Bucket { bucket, prefix } => write_bucket(out, bucket, prefix),
        }
    }
}

impl Serialize for SourceLocation {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl Serialize for StoreLocation {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SourceLocation {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for StoreLocation {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}
