//! How the config names a place for objects: `none`, `file:PATH`, `s3://BUCKET/PREFIX`, `https://HOST/BASE`.

use std::fmt;
use std::path::PathBuf;

use super::Error;

/// A place for objects, as the config names it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Location {
    /// `none`: nothing is kept.
    #[default]
    None,
    /// `file:PATH`, relative to the working directory or absolute; `file:///PATH` too.
    Folder(PathBuf),
    /// `s3://BUCKET/PREFIX`.
    S3 {
        /// The bucket.
        bucket: String,
        /// What goes before every key: empty, or with a closing slash.
        prefix: String,
    },
    /// `https://HOST/BASE` or `http://HOST/BASE`: for sources only.
    Http {
        /// The URL before `/` and the id, without a closing slash.
        base: String,
    },
}

/// Reads a location.
pub fn parse(location: &str) -> Result<Location, Error> {
    let wrong = |why: &str| Err(Error::Location(format!("{location:?}: {why}")));
    if location == "none" {
        return Ok(Location::None);
    }
    if let Some(path) = location.strip_prefix("file:") {
        let path = match path.strip_prefix("//") {
            Some(rest) if rest.starts_with('/') => rest,
            Some(_) => return wrong("after file:// comes an absolute path, as in file:///srv/images"),
            None => path,
        };
        if path.is_empty() || path.contains('\0') {
            return wrong("file: needs a path");
        }
        return Ok(Location::Folder(PathBuf::from(path)));
    }
    if let Some(rest) = location.strip_prefix("s3://") {
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(legal) {
            return wrong("a bucket's name is 3 to 63 letters, digits, dots and hyphens");
        }
        let prefix = prefix.trim_matches('/');
        if prefix.split('/').any(|segment| matches!(segment, "." | "..")) {
            return wrong("a prefix holds no dot segments");
        }
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        return Ok(Location::S3 { bucket: bucket.to_owned(), prefix });
    }
    if location.starts_with("https://") || location.starts_with("http://") {
        let base = location.trim_end_matches('/');
        if base.contains(['?', '#']) {
            return wrong("a base URL has no query and no fragment");
        }
        if base.ends_with(':') {
            return wrong("the URL has no host");
        }
        return Ok(Location::Http { base: base.to_owned() });
    }
    wrong("it is none of none, file:PATH, s3://BUCKET/PREFIX, https://HOST/BASE")
}

impl fmt::Display for Location {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => out.write_str("none"),
            Self::Folder(path) => write!(out, "file:{}", path.display()),
            Self::S3 { bucket, prefix } => write!(out, "s3://{bucket}/{prefix}"),
            Self::Http { base } => out.write_str(base),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_read() {
        let s3 = |bucket: &str, prefix: &str| Location::S3 { bucket: bucket.into(), prefix: prefix.into() };
        let http = |base: &str| Location::Http { base: base.into() };
        let table = [
            ("none", Some(Location::None)),
            ("file:data/originals", Some(Location::Folder("data/originals".into()))),
            ("file:/srv/images", Some(Location::Folder("/srv/images".into()))),
            ("file:///srv/images", Some(Location::Folder("/srv/images".into()))),
            ("file://srv/images", None),
            ("file:", None),
            ("s3://bucket", Some(s3("bucket", ""))),
            ("s3://bucket/", Some(s3("bucket", ""))),
            ("s3://bucket/a/b", Some(s3("bucket", "a/b/"))),
            ("s3://bucket/a/b/", Some(s3("bucket", "a/b/"))),
            ("s3://bucket/../b", None),
            ("s3://", None),
            ("s3://b u/x", None),
            ("https://images.example.com/base/", Some(http("https://images.example.com/base"))),
            ("http://127.0.0.1:8000", Some(http("http://127.0.0.1:8000"))),
            ("https://", None),
            ("https://a.example/x?y", None),
            ("ftp://a.example/", None),
            ("/srv/images", None),
            ("", None),
        ];
        for (text, wanted) in table {
            assert_eq!(parse(text).ok(), wanted, "{text:?}");
        }
    }

    #[test]
    fn a_location_is_written_as_it_is_read() {
        for text in ["none", "file:/srv/images", "s3://bucket/a/b/", "https://a.example/base"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
    }
}
