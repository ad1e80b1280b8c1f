//! A derivative's file: a head of fixed length, what is known of the object as JSON, and its bytes.
//!
//! ```text
//! 0   8  "fovea\0\0" and the layout's number, 1
//! 8   4  length of the JSON, little endian
//! 12  8  length of the body, little endian: a file that is shorter was cut off
//! 20     the JSON, then the body
//! ```

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::super::{Error, Meta, PutOptions};

/// The most bytes that come before the body.
pub const HEAD_BYTES_MAX: u64 = FIXED as u64 + JSON_BYTES_MAX as u64;

const MAGIC: [u8; 8] = *b"fovea\0\0\x01";
const FIXED: usize = 20;
const JSON_BYTES_MAX: usize = 16 << 10;

/// What is kept of an object beside its bytes.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// When it was written, nanoseconds since 1970: the validator, since the file's own time moves with its use.
    written_ns: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cache_control: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    user: BTreeMap<String, String>,
}

/// A file's head, read.
pub struct Frame {
    /// What is known of the object.
    pub meta: Meta,
    /// Where its bytes start.
    pub body_at: u64,
}

impl Frame {
    /// Reads the head of a file so many bytes long, from its first [`HEAD_BYTES_MAX`] bytes or all there are. None: it
    /// is not one of ours, or its end is missing.
    pub fn read(head: &[u8], length: u64) -> Option<Self> {
        if head.get(..8)? != MAGIC {
            return None;
        }
        let json_length = u32::from_le_bytes(head.get(8..12)?.try_into().ok()?) as usize;
        let size = u64::from_le_bytes(head.get(12..20)?.try_into().ok()?);
        if json_length > JSON_BYTES_MAX {
            return None;
        }
        let body_at = (FIXED + json_length) as u64;
        if body_at.checked_add(size)? != length {
            return None;
        }
        let kept: Kept = serde_json::from_slice(head.get(FIXED..FIXED + json_length)?).ok()?;
        let meta = Meta {
            size,
            validator: format!("{size:x}-{:x}", kept.written_ns),
            modified: UNIX_EPOCH.checked_add(Duration::from_nanos(kept.written_ns)),
            content_type: kept.content_type,
            user: kept.user,
        };
        Some(Self { meta, body_at })
    }
}

/// The head of an object's file.
pub fn head(size: u64, options: &PutOptions) -> Result<Vec<u8>, Error> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let kept = Kept {
        written_ns: since.as_nanos() as u64,
        content_type: options.content_type.clone(),
        cache_control: options.cache_control.clone(),
        user: options.user.clone(),
    };
    let mut bytes = Vec::with_capacity(512);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&size.to_le_bytes());
    serde_json::to_writer(&mut bytes, &kept).map_err(|error| Error::Key(format!("metadata: {error}")))?;
    let json_length = bytes.len() - FIXED;
    if json_length > JSON_BYTES_MAX {
        return Err(Error::Key(format!("{json_length} bytes of metadata, more than {JSON_BYTES_MAX}")));
    }
    bytes[8..12].copy_from_slice(&(json_length as u32).to_le_bytes());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_written_and_no_cut_one_is() {
        let user = BTreeMap::from([("width".to_owned(), "800".to_owned())]);
        let options = PutOptions { content_type: Some("image/webp".into()), user, ..PutOptions::default() };
        let head = head(5, &options).unwrap();
        let length = head.len() as u64 + 5;
        let frame = Frame::read(&head, length).unwrap();
        assert_eq!(frame.body_at, head.len() as u64);
        assert_eq!(frame.meta.size, 5);
        assert_eq!(frame.meta.user, options.user);
        assert_eq!(frame.meta.content_type, options.content_type);
        for cut in 0..head.len() {
            assert!(Frame::read(&head[..cut], length).is_none(), "a head cut at {cut}");
        }
        assert!(Frame::read(&head, length - 1).is_none(), "the body's end is missing");
        assert!(Frame::read(&head, length + 1).is_none(), "something follows");
        assert!(Frame::read(b"\xff\xd8\xff\xe0 a picture that somebody put here", 38).is_none());
    }

    #[test]
    fn too_much_metadata_is_refused() {
        let user = BTreeMap::from([("x".to_owned(), "y".repeat(JSON_BYTES_MAX))]);
        assert!(matches!(head(1, &PutOptions { user, ..PutOptions::default() }), Err(Error::Key(_))));
    }
}
