//! Signatures: `/s:<kid>:<expiry>:<sig>` before a path, where `sig` is the first 16 bytes of
//! HMAC-SHA256(key, "fovea1:" kid ":" expiry ":" path) in base64url without padding, and `path` is
//! what follows, each segment decoded once and encoded one way, a bucket (`auto-avif`) written as `auto`.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::{Error, ErrorKind, Signed, Urls, grammar};

/// Bytes of a signature.
const BYTES: usize = 16;

/// What every refused signature says, so that it tells nothing of keys.
const REFUSED: &str = "the signature does not hold for this URL: wrong or unknown key, a changed path, or a category that \
                       the key may not sign for";

/// A key that signs URLs.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Key {
    /// Its name in URLs: 1 to 64 ASCII letters, digits, `-` and `_`.
    pub kid: String,
    /// The secret; 32 random bytes are right.
    pub secret: Vec<u8>,
    /// The categories that it may sign for; empty is all.
    pub categories: Vec<String>,
}

impl Key {
    /// Says what is wrong with the key, if anything is.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if !(1..=64).contains(&self.kid.len()) || !self.kid.bytes().all(legal) {
            return Err("a key's name is 1 to 64 ASCII letters, digits, hyphens and underscores");
        }
        if self.secret.is_empty() {
            return Err("the secret is empty; 32 random bytes are right");
        }
        Ok(())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Key").field("kid", &self.kid).field("categories", &self.categories).finish_non_exhaustive()
    }
}

/// Signs a path (with its query left out, and a signature that it has replaced). Answers the whole signed path, ready
/// for a URL. `expiry` is unix seconds, or 0 for never.
pub fn sign(key: &Key, expiry: u64, path: &str) -> Result<String, Error> {
    key.check().map_err(|detail| Error::new(ErrorKind::BadSignature, detail, &key.kid))?;
    Signer::new(key).sign(expiry, path)
}

/// A key made ready.
pub(super) struct Signer {
    pub kid: Arc<str>,
    mac: Hmac<Sha256>,
    categories: Vec<String>,
}

impl Signer {
    pub fn new(key: &Key) -> Self {
        let mac = Hmac::new_from_slice(&key.secret).expect("HMAC takes keys of any length");
        Self { kid: key.kid.as_str().into(), mac, categories: key.categories.clone() }
    }

    fn sign(&self, expiry: u64, path: &str) -> Result<String, Error> {
        let (_, rest) = grammar::split_signature(path)?;
        let path = encoded(rest)?;
        let signature = URL_SAFE_NO_PAD.encode(self.mac(expiry, without_bucket(&path)));
        Ok(format!("/s:{}:{expiry}:{signature}{path}", self.kid))
    }

    fn mac(&self, expiry: u64, path: &str) -> [u8; BYTES] {
        let mut mac = self.mac.clone();
        for part in ["fovea1:", &self.kid, ":", &expiry.to_string(), ":", path] {
            mac.update(part.as_bytes());
        }
        let mut first = [0; BYTES];
        first.copy_from_slice(&mac.finalize().into_bytes()[..BYTES]);
        first
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Signer").field("kid", &self.kid).field("categories", &self.categories).finish_non_exhaustive()
    }
}

impl Urls {
    /// Signs a path with one of the keys; see [`sign`].
    pub fn sign(&self, kid: &str, expiry: u64, path: &str) -> Result<String, Error> {
        let signer = self.signers.iter().find(|signer| *signer.kid == *kid);
        let signer = signer.ok_or_else(|| Error::new(ErrorKind::BadSignature, "there is no key of that name", kid))?;
        signer.sign(expiry, path)
    }

    /// A key that may sign for a category: the first by name.
    pub fn kid_for(&self, category: &str) -> Option<Arc<str>> {
        let may =
            |signer: &&Signer| signer.categories.is_empty() || signer.categories.iter().any(|name| name == category);
        self.signers.iter().find(may).map(|signer| signer.kid.clone())
    }

    /// Checks a decoded signature segment against the path that follows it.
    pub(super) fn verify(&self, segment: &str, rest: &str, category: &str, now_unix: u64) -> Result<Signed, Error> {
        let Some((kid, expiry, signature)) = fields(segment) else {
            let form = "a signature segment is s:key:expiry:signature, the expiry in unix seconds or 0, the signature 22 \
                        characters of base64url";
            return Err(Error::new(ErrorKind::BadSignature, form, "s:"));
        };
        let refused = || Error::new(ErrorKind::BadSignature, REFUSED, "s:");
        let signer = self.signers.iter().find(|signer| *signer.kid == *kid).ok_or_else(refused)?;
        let wanted = signer.mac(expiry, without_bucket(&encoded(rest)?));
        let holds = bool::from(wanted.ct_eq(&signature));
        let may_sign = signer.categories.is_empty() || signer.categories.iter().any(|name| name == category);
        if !holds || !may_sign {
            return Err(refused());
        }
        if expiry != 0 && now_unix > expiry {
            let detail = format!("the URL expired at {expiry} (unix seconds)");
            return Err(Error::new(ErrorKind::Expired, detail, &expiry.to_string()));
        }
        Ok(Signed { kid: signer.kid.clone(), expiry })
    }
}

/// Key name, expiry and signature of `s:kid:expiry:sig`.
fn fields(segment: &str) -> Option<(&str, u64, [u8; BYTES])> {
    let mut parts = segment.strip_prefix("s:")?.split(':');
    let (kid, expiry, text) = (parts.next()?, parts.next()?, parts.next()?);
    let one_spelling = expiry.bytes().all(|byte| byte.is_ascii_digit()) && (expiry == "0" || !expiry.starts_with('0'));
    if parts.next().is_some() || !one_spelling {
        return None;
    }
    // Decoding may want room for whole groups of four characters.
    let mut bytes = [0; BYTES + 2];
    match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
        Ok(BYTES) => Some((kid, expiry.parse().ok()?, *bytes.first_chunk()?)),
        _ => None,
    }
}

/// The path with every segment decoded once and encoded one way.
fn encoded(path: &str) -> Result<String, Error> {
    let mut out = String::with_capacity(path.len() + 16);
    for raw in path.strip_prefix('/').unwrap_or(path).split('/') {
        out.push('/');
        grammar::encode(&grammar::segment(raw)?, &mut out);
    }
    Ok(out)
}

/// The path with `.auto-avif` and its like at its end written as `.auto`.
fn without_bucket(path: &str) -> &str {
    let bucket = [".auto-avif", ".auto-webp", ".auto-base"].into_iter().find(|bucket| path.ends_with(bucket));
    bucket.map_or(path, |bucket| &path[..path.len() - bucket.len() + ".auto".len()])
}
