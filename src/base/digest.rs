//! BLAKE3 digests and the keys made of them.

use std::fmt;

/// 32 bytes of BLAKE3.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The digest of several parts; each is preceded by its length, so no two lists of parts collide.
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// The first `length` (at most 64) lower-case hex digits.
    pub fn hex(&self, length: usize) -> String {
        let mut text = blake3::Hash::from_bytes(self.0).to_hex().to_string();
        text.truncate(length);
        text
    }

    /// Reads 64 hex digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        blake3::Hash::from_hex(text).ok().map(|hash| Self(*hash.as_bytes()))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.hex(16))
    }
}

/// What names one asset for the caches: the digest of (category, id). Every derivative of an asset lives under it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct AssetDigest(pub Digest);

impl AssetDigest {
    /// The digest of a category's asset.
    pub fn new(category: &str, id: &str) -> Self {
        Self(Digest::of_parts(&[b"asset", category.as_bytes(), id.as_bytes()]))
    }
}

/// What names one variant's bytes: see [`VariantKey::new`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct VariantKey {
    /// The asset that it is a variant of; a purge of the asset takes all its variants.
    pub asset: AssetDigest,
    /// The variant among the asset's.
    pub digest: Digest,
}

impl VariantKey {
    /// The key of (asset; version; canonical plan with presets expanded; output format or capability bucket; a digest of
    /// the category settings that change bytes).
    pub fn new(asset: AssetDigest, version: &str, plan: &str, output: &str, settings: &Digest) -> Self {
        let parts: [&[u8]; 5] = [&asset.0.0, version.as_bytes(), plan.as_bytes(), output.as_bytes(), &settings.0];
        Self { asset, digest: Digest::of_parts(&parts) }
    }

    /// Where the derivative store keeps it: `cache/<first two hex>/<asset digest>/<key>`.
    pub fn path(&self) -> String {
        format!("{}{}", asset_prefix(&self.asset), self.digest.hex(64))
    }
}

/// The derivative store's prefix of one asset, with a closing slash.
pub fn asset_prefix(asset: &AssetDigest) -> String {
    let hex = asset.0.hex(64);
    format!("cache/{}/{hex}/", &hex[..2])
}
