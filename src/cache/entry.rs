//! What is cached: bytes that can be sent, with everything that headers need; and its form as an object's metadata.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::base::{Digest, Format, Size};
use crate::object::{Meta, PutOptions};

/// Bytes that can be sent, with everything that headers need.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// The body.
    pub bytes: Bytes,
    /// Media type.
    pub content_type: &'static str,
    /// The strong validator, quoted: BLAKE3 of the bytes.
    pub etag: String,
    /// When it was made, or the original was last changed; whole seconds.
    pub modified: SystemTime,
    /// The picture's size; none for JSON.
    pub size: Option<Size>,
    /// The format; none for JSON.
    pub format: Option<Format>,
    /// The encoder's quality, where it has one.
    pub quality: Option<u8>,
    /// Whether the original was broken and this is what could be saved of it.
    pub damaged: bool,
    /// The engine's revision that made it.
    pub engine: u32,
    /// When it was made, in milliseconds since 1970; purges are compared with it.
    pub made_at_ms: u64,
}

/// What a purge can name beside the asset.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Tags {
    /// The category.
    pub category: Arc<str>,
    /// The preset that the request named.
    pub preset: Option<Arc<str>>,
}

/// Media type of `info.json`.
pub const JSON: &str = "application/json";

impl Entry {
    /// An entry made now by this engine, of bytes that are an image.
    pub fn image(bytes: Bytes, format: Format) -> Self {
        Self { format: Some(format), content_type: format.mime(), ..Self::json(bytes) }
    }

    /// An entry made now by this engine, of bytes that are JSON.
    pub fn json(bytes: Bytes) -> Self {
        let now = SystemTime::now();
        Self {
            etag: etag(&bytes),
            bytes,
            content_type: JSON,
            modified: whole_seconds(now),
            size: None,
            format: None,
            quality: None,
            damaged: false,
            engine: crate::base::ENGINE,
            made_at_ms: unix_ms(now),
        }
    }

    /// Dates it, in milliseconds since 1970: `Last-Modified` is the same from memory, from the store and on other machines.
    pub fn date(&mut self, made_at_ms: u64) {
        self.made_at_ms = made_at_ms;
        self.modified = whole_seconds(UNIX_EPOCH + Duration::from_millis(made_at_ms));
    }

    /// How to write it to a store: everything but the body, so that one read answers a request.
    pub fn options(&self, tags: &Tags, cache_control: Option<&str>) -> PutOptions {
        let mut user = BTreeMap::new();
        let mut add = |name: &str, value: String| drop(user.insert(name.to_owned(), value));
        add("fovea-etag", self.etag.trim_matches('"').to_owned());
        add("fovea-engine", self.engine.to_string());
        add("fovea-made-at-ms", self.made_at_ms.to_string());
        add("fovea-category", tags.category.to_string());
        add("fovea-profile", if self.format.is_some() { "srgb" } else { "none" }.to_owned());
        if let Some(format) = self.format {
            add("fovea-format", format.extension().to_owned());
        }
        if let Some(size) = self.size {
            add("fovea-width", size.width.to_string());
            add("fovea-height", size.height.to_string());
        }
        if let Some(quality) = self.quality {
            add("fovea-quality", quality.to_string());
        }
        if self.damaged {
            add("fovea-damaged", "1".to_owned());
        }
        PutOptions {
            content_type: Some(self.content_type.to_owned()),
            cache_control: cache_control.map(str::to_owned),
            storage_class: None,
            user,
            if_absent: false,
        }
    }

    /// From a store's object. None if it was not written by [`Entry::options`], or its body is not what was written.
    pub fn from_object(meta: &Meta, bytes: Bytes) -> Option<Self> {
        let text = |name: &str| meta.user.get(name).map(String::as_str);
        let number = |name: &str| text(name).and_then(|value| value.parse::<u64>().ok());
        let validator = etag(&bytes);
        if validator.trim_matches('"') != text("fovea-etag")? {
            return None;
        }
        let made_at_ms = number("fovea-made-at-ms")?;
        let format = text("fovea-format").and_then(Format::from_extension);
        Some(Self {
            bytes,
            content_type: format.map_or(JSON, Format::mime),
            etag: validator,
            modified: whole_seconds(UNIX_EPOCH + Duration::from_millis(made_at_ms)),
            size: Option::zip(number("fovea-width"), number("fovea-height"))
                .map(|(width, height)| Size::new(width as u32, height as u32)),
            format,
            quality: number("fovea-quality").map(|quality| quality as u8),
            damaged: text("fovea-damaged").is_some(),
            engine: number("fovea-engine")? as u32,
            made_at_ms,
        })
    }
}

/// A strong validator: 128 bits of BLAKE3 of the bytes, quoted.
pub fn etag(bytes: &[u8]) -> String {
    format!("\"{}\"", Digest::of(bytes).hex(32))
}

/// Milliseconds since 1970.
pub fn unix_ms(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

fn whole_seconds(time: SystemTime) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(unix_ms(time) / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_survives_its_form_as_an_object() {
        let tags = Tags { category: "demo".into(), preset: None };
        let mut entry = Entry::image(Bytes::from_static(b"pixels"), Format::WebP);
        entry.size = Some(Size::new(3, 4));
        entry.quality = Some(80);
        entry.damaged = true;
        entry.date(entry.made_at_ms + 5000);
        let options = entry.options(&tags, None);
        let meta = Meta { user: options.user, ..Meta::default() };
        assert_eq!(Entry::from_object(&meta, entry.bytes.clone()), Some(entry));
        assert_eq!(Entry::from_object(&meta, Bytes::from_static(b"other")), None, "a changed body is no entry");
    }
}
