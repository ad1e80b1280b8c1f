//! Purges: an asset, a category, a preset, or one URL, from memory and from the store.

use super::wanted::{Wanted, What};
use super::{Client, Error, Origin};
use crate::base::{AssetDigest, Format, VariantKey};
use crate::object;
use crate::plan::{Bucket, Output, Request, Version};

/// What to purge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Purge {
    /// Every variant of an asset, of every version.
    Asset {
        /// The category.
        category: String,
        /// The asset's id.
        id: String,
    },
    /// Everything of a category.
    Category(String),
    /// What was asked for by a preset, in one category or in all.
    Preset {
        /// The category; none is all.
        category: Option<String>,
        /// The preset.
        preset: String,
    },
    /// What one URL answers; `auto` in all its formats.
    Url(String),
}

/// What a purge did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Purged {
    /// Objects that were deleted from the store now. A category's and a preset's are not deleted: what was made before the
    /// purge counts as missing from now on.
    pub deleted: u64,
    /// Whether the store took it; else only memory was purged, and the purge should be repeated.
    pub stored: bool,
}

impl Origin {
    /// Purges memory and store.
    pub async fn purge(&self, what: &Purge) -> Result<Purged, Error> {
        // However the purge ends, also when its caller leaves: what was kept of answers is forgotten.
        struct Turn<'a>(&'a Origin);
        impl Drop for Turn<'_> {
            fn drop(&mut self) {
                self.0.turn();
            }
        }
        let _turn = Turn(self);
        match what {
            Purge::Asset { category, id } => self.purge_asset(category, id).await,
            Purge::Category(category) => {
                self.category(category)?;
                self.purges.purge(category, None);
                self.purge_moments().await
            }
            Purge::Preset { category, preset } => {
                let names: Vec<String> = match category {
                    Some(category) => vec![self.category(category)?.name.to_string()],
                    None => self.categories().map(|category| category.name.to_string()).collect(),
                };
                for name in names {
                    self.purges.purge(&name, Some(preset));
                }
                self.purge_moments().await
            }
            Purge::Url(url) => self.purge_url(url).await,
        }
    }

    async fn purge_asset(&self, category: &str, id: &str) -> Result<Purged, Error> {
        self.category(category)?;
        let asset = AssetDigest::new(category, id);
        self.purges.purge_asset(asset);
        self.memory.forget_asset(asset);
        self.forget_validator(&asset);
        let Some(derivatives) = &self.derivatives else { return Ok(Purged { deleted: 0, stored: true }) };
        // What waits to be written may be of this asset; it must not land after the deletion.
        derivatives.drain(std::time::Duration::from_secs(2)).await;
        Ok(outcome(derivatives.purge_asset(&asset).await))
    }

    async fn purge_moments(&self) -> Result<Purged, Error> {
        self.memory.forget_conclusions();
        let Some(derivatives) = &self.derivatives else { return Ok(Purged { deleted: 0, stored: true }) };
        Ok(outcome(derivatives.save_purges(&self.purges).await.map(|()| 0)))
    }

    async fn purge_url(&self, url: &str) -> Result<Purged, Error> {
        let request = self.urls().read_trusted(url)?;
        let category = self.category(&request.category)?;
        if request.version == Version::Latest {
            // Its variants are keyed by what the source said of the original at the time, of which any may be stored.
            return self.purge_asset(&request.category, &request.id).await;
        }
        let mut purged = Purged { deleted: 0, stored: true };
        for key in keys_of(&request, |request| {
            let wanted = Wanted::new(category.clone(), request, &Client::default(), None);
            let lossless = match &wanted.what {
                What::Image { plan, .. } => Some(wanted.chosen(plan, Format::WebP, true)),
                What::Original | What::Info => None,
            };
            std::iter::once(wanted.key).chain(lossless).collect()
        }) {
            self.memory.forget(&key);
            if let Some(derivatives) = &self.derivatives {
                derivatives.drain(std::time::Duration::from_secs(2)).await;
                match derivatives.delete(&key).await {
                    Ok(found) => purged.deleted += u64::from(found),
                    Err(error) => purged.stored &= outcome(Err(error)).stored,
                }
            }
        }
        Ok(purged)
    }
}

/// Every key that a URL can come to: of `auto` all formats and all aliases.
fn keys_of(request: &Request, keys: impl Fn(&Request) -> Vec<VariantKey>) -> Vec<VariantKey> {
    use crate::plan::Ask;
    let Ask::Image(plan) = &request.ask else { return keys(request) };
    if matches!(plan.output, Output::Format(_)) {
        return keys(request);
    }
    let formats = Format::ALL.into_iter().filter(|format| format.writable()).map(Output::Format);
    let buckets = [Bucket::Base, Bucket::WebP, Bucket::Avif].map(Output::Bucket);
    let mut all: Vec<VariantKey> = formats
        .chain(buckets)
        .flat_map(|output| {
            let mut plan = plan.clone();
            plan.output = output;
            keys(&Request { ask: Ask::Image(plan), ..request.clone() })
        })
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn outcome(result: Result<u64, object::Error>) -> Purged {
    match result {
        Ok(deleted) => Purged { deleted, stored: true },
        Err(error) => {
            tracing::error!(%error, "the derivative store did not take a purge; repeat it");
            Purged { deleted: 0, stored: false }
        }
    }
}
