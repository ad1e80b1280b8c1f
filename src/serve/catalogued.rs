//! Originals that were uploaded: the catalog says which versions of an asset there are, which is current, and under which key
//! of the store each lies. It is asked on misses alone; a hit never comes here.

use std::borrow::Cow;

use super::wanted::Wanted;
use super::{Error, Origin};
use crate::base::{AssetDigest, Digest, VariantKey};
use crate::catalog;
use crate::plan::Version;

/// What names the question for an asset's current version, among what failed.
const CURRENT: &[u8] = b"current";

impl Origin {
    /// Whether a category's originals are those that were uploaded.
    pub fn is_catalogued(&self, category: &str) -> bool {
        self.category(category).is_ok_and(|category| category.catalogued)
    }

    /// The version that `v0` of an uploaded asset stands for. The catalog is asked at most once in the category's max-age
    /// for it.
    ///
    /// # Errors
    /// [`Error::NoVersion`] where the asset is not there.
    pub async fn current(&self, category: &str, id: &str) -> Result<Version, Error> {
        let found = self.category(category)?;
        let asset = AssetDigest::new(category, id);
        let text = match self.fresh_validator(&found, &asset) {
            Some(text) => text,
            None => {
                let question = VariantKey { asset, digest: Digest::of(CURRENT) };
                if let Some(failure) = self.memory.failure(&question) {
                    return Err(failure);
                }
                let current =
                    self.look_up(category, id, None).await.inspect_err(|error| self.remember(question, error))?;
                let text: std::sync::Arc<str> = current.version.into();
                self.keep_validator(asset, text.clone());
                text
            }
        };
        Version::parse(&text).ok_or(Error::NoVersion)
    }

    /// Forgets what `v0` of an asset is, or that there is none: an original came.
    pub fn renew_current(&self, category: &str, id: &str) {
        let asset = AssetDigest::new(category, id);
        self.forget_validator(&asset);
        self.memory.forget(&VariantKey { asset, digest: Digest::of(CURRENT) });
    }

    /// What the source is asked for: the asset's id, or the key under which the store has its version.
    pub(super) async fn source_id<'a>(&self, wanted: &'a Wanted) -> Result<Cow<'a, str>, Error> {
        if !wanted.category.catalogued {
            return Ok(Cow::Borrowed(&wanted.id));
        }
        let version = wanted.version.text();
        Ok(Cow::Owned(self.look_up(&wanted.category.name, &wanted.id, Some(&version)).await?.store_key))
    }

    async fn look_up(&self, category: &str, id: &str, version: Option<&str>) -> Result<catalog::Version, Error> {
        let catalog = self.catalog.as_ref().ok_or(Error::NoVersion)?;
        catalog.find_version(category, id, version).await?.ok_or(Error::NoVersion)
    }
}
