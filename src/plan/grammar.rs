//! The segments of a native path: splitting from the right, decoding once, checking, and encoding again.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::numbers::push;
use super::{Error, ErrorKind, Version};

/// Most bytes of a path, as sent.
pub const PATH_BYTES_MAX: usize = 4096;

/// Most bytes of an id, decoded. Three times that, encoded, leaves room for every option within [`PATH_BYTES_MAX`].
pub const ID_BYTES_MAX: usize = 1024;

/// What a path segment's bytes are encoded but for: RFC 3986's unreserved characters, and `,` and `:`.
const ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b',').remove(b':');

/// What every native URL looks like, for messages.
const FORM: &str = "an image URL is /category/id/version/variant.format";

/// A path taken apart; every piece but the id is decoded and checked.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    /// The signature segment, decoded.
    pub signature: Option<Cow<'a, str>>,
    /// What follows the signature segment, from its `/`, as sent.
    pub rest: &'a str,
    pub category: Cow<'a, str>,
    /// As sent: see [`id`].
    pub id: &'a str,
    pub version: Version,
    /// The last segment: variant, dot, format.
    pub variant: Cow<'a, str>,
}

/// Takes a path apart, from the right. A query is left out.
pub(super) fn split(path: &str) -> Result<Parts<'_>, Error> {
    let (signature, rest) = split_signature(path)?;
    let parts = rest[1..].rsplit_once('/').and_then(|(head, variant)| {
        let (head, version) = head.rsplit_once('/')?;
        let (category, id) = head.split_once('/')?;
        Some((category, id, version, variant))
    });
    let Some((category, id, version, variant)) = parts else {
        return Err(malformed(format!("too few segments: {FORM}"), rest));
    };
    let version = self::version(&segment(version)?)?;
    Ok(Parts { signature, rest, category: segment(category)?, id, version, variant: segment(variant)? })
}

/// The decoded signature segment, where there is one, and the path after it. A query is left out.
pub(super) fn split_signature(path: &str) -> Result<(Option<Cow<'_, str>>, &str), Error> {
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    if path.len() > PATH_BYTES_MAX {
        let detail = format!("the path is {} bytes long; at most {PATH_BYTES_MAX}", path.len());
        return Err(Error { kind: ErrorKind::Malformed, detail, at: None });
    }
    let Some(body) = path.strip_prefix('/') else {
        return Err(Error {
            kind: ErrorKind::Malformed,
            detail: format!("a path begins with a slash: {FORM}"),
            at: None,
        });
    };
    let end = body.find('/').unwrap_or(body.len());
    let first = &body[..end];
    // No category holds a colon, so nothing else begins like this; proxies may have encoded the colon.
    let encoded = first.as_bytes().get(..4).is_some_and(|start| start == b"s%3A" || start == b"s%3a");
    if !first.starts_with("s:") && !encoded {
        return Ok((None, path));
    }
    let rest = &body[end..];
    if rest.is_empty() {
        return Err(malformed(format!("nothing follows the signature: {FORM}"), "s:"));
    }
    // A signature is quoted nowhere, not even a broken one.
    let first = segment(first).map_err(|error| Error { at: Some("s:".to_owned()), ..error })?;
    Ok((Some(first), rest))
}

/// The id of its segments as sent: each decoded once and checked, joined by `/`; its encoded spelling is added to
/// `canonical`.
pub(super) fn id(raw: &str, canonical: &mut String) -> Result<String, Error> {
    let mut id = String::with_capacity(raw.len());
    for (at, raw) in raw.split('/').enumerate() {
        let decoded = segment(raw)?;
        if at > 0 {
            id.push('/');
            canonical.push('/');
        }
        id.push_str(&decoded);
        encode(&decoded, canonical);
    }
    if id.len() > ID_BYTES_MAX {
        return Err(malformed(format!("the id is {} bytes long; at most {ID_BYTES_MAX}", id.len()), raw));
    }
    Ok(id)
}

/// The path of something about an asset: its category, id and version as they are, and the last segment as a URL has it.
pub fn asset_path(category: &str, id: &str, version: &str, last: &str) -> String {
    let mut path = format!("/{category}");
    for segment in id.split('/') {
        path.push('/');
        encode(segment, &mut path);
    }
    path + "/" + version + "/" + last
}

/// Adds a decoded segment, encoded the one canonical way.
pub(super) fn encode(decoded: &str, out: &mut String) {
    out.extend(utf8_percent_encode(decoded, ENCODED));
}

/// Decodes a segment once and refuses what could mean another path to anybody downstream.
pub(super) fn segment(raw: &str) -> Result<Cow<'_, str>, Error> {
    let decoded = if raw.as_bytes().contains(&b'%') { Cow::Owned(decode(raw)?) } else { Cow::Borrowed(raw) };
    let wrong = match &*decoded {
        "" => "an empty segment: slashes are not doubled, and none is at the end",
        "." | ".." => "a segment may not be . or ..",
        text => {
            let mut wrong = None;
            for byte in text.bytes() {
                match byte {
                    b'/' => wrong = Some("an encoded slash is not allowed: an id's segments are parted by plain ones"),
                    b'\\' => wrong = Some("a backslash is not allowed"),
                    0..0x20 | 0x7f => wrong = Some("a control character is not allowed"),
                    _ => {}
                }
            }
            // C1, the only other control characters, lies outside of ASCII.
            if wrong.is_none() && !text.is_ascii() && text.chars().any(char::is_control) {
                wrong = Some("a control character is not allowed");
            }
            match wrong {
                None => return Ok(decoded),
                Some(wrong) => wrong,
            }
        }
    };
    Err(malformed(wrong, raw))
}

fn decode(raw: &str) -> Result<String, Error> {
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| (byte as char).to_digit(16));
        match (digit(bytes.next()), digit(bytes.next())) {
            (Some(high), Some(low)) => out.push((high << 4 | low) as u8),
            _ => return Err(malformed("a % is followed by two hex digits; the character itself is %25", raw)),
        }
    }
    String::from_utf8(out).map_err(|_| malformed("the percent-encoded bytes are not UTF-8", raw))
}

pub(super) fn version(text: &str) -> Result<Version, Error> {
    let wrong = || {
        let form =
            "a version is v and a number without leading zeros (v0 is the latest), or h and 16 lower-case hex digits";
        Err(malformed(form, text))
    };
    if let Some(digits) = text.strip_prefix('v') {
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
        return match digits.parse::<u64>() {
            Ok(0) if plain => Ok(Version::Latest),
            Ok(number) if plain => Ok(Version::Number(number)),
            _ => wrong(),
        };
    }
    let lower_hex = |digits: &&str| {
        digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    match text.strip_prefix('h').filter(lower_hex).map(|digits| u64::from_str_radix(digits, 16)) {
        Some(Ok(number)) => Ok(Version::Hash(number.to_be_bytes())),
        _ => wrong(),
    }
}

/// Adds a version's segment.
pub(super) fn push_version(version: &Version, out: &mut String) {
    match version {
        Version::Latest => out.push_str("v0"),
        Version::Number(number) => {
            out.push('v');
            push(*number, out);
        }
        Version::Hash(_) => out.push_str(&version.text()),
    }
}

fn malformed(detail: impl Into<String>, at: &str) -> Error {
    Error::new(ErrorKind::Malformed, detail, at)
}
