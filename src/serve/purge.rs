//! Purges: an asset, a category, a preset, or one URL, from memory and from the store.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::wanted::{Wanted, What};
use super::{Category, Client, Error, Origin};
use crate::base::{AssetDigest, Format, VariantKey};
use crate::object;
use crate::plan::{Bucket, Output, Request, Version};

/// How long the store may take to tell of earlier purges while others are waited for.
const PURGES_WITHIN: Duration = Duration::from_secs(1);

/// What to purge.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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
    /// Whether the store took it; else the purge should be repeated.
    pub stored: bool,
    /// Whether the other origins are told; else the purge should be repeated.
    pub told: bool,
}

impl Origin {
    /// Purges this process's memory, and the store.
    pub(super) async fn purge_here(&self, what: &Purge) -> Result<Purged, Error> {
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
                self.purges.purge(category, None, self.now_ms());
                self.purge_moments().await
            }
            Purge::Preset { category, preset } => {
                let names: Vec<String> = match category {
                    Some(category) => vec![self.category(category)?.name.to_string()],
                    None => self.categories().map(|category| category.name.to_string()).collect(),
                };
                for name in names {
                    self.purges.purge(&name, Some(preset), self.now_ms());
                }
                self.purge_moments().await
            }
            Purge::Url(url) => self.purge_url(url).await,
        }
    }

    /// Purges this process's memory alone.
    pub(super) fn forget(&self, what: &Purge) -> Result<(), Error> {
        match what {
            Purge::Asset { category, id } => self.forget_asset(category, id)?,
            Purge::Category(category) => {
                self.category(category)?;
                self.purges.purge(category, None, self.now_ms());
                self.memory.forget_conclusions();
            }
            Purge::Preset { category, preset } => {
                let all = self.categories().map(|one| one.name.to_string());
                for name in all.filter(|name| category.as_ref().is_none_or(|category| category == name)) {
                    self.purges.purge(&name, Some(preset), self.now_ms());
                }
                self.memory.forget_conclusions();
            }
            Purge::Url(url) => {
                let request = self.urls().read_trusted(url)?;
                let category = self.category(&request.category)?;
                if request.version == Version::Latest {
                    self.forget_asset(&request.category, &request.id)?;
                } else {
                    for key in all_keys_of(&category, &request) {
                        self.memory.forget(&key);
                    }
                }
            }
        }
        self.turn();
        Ok(())
    }

    /// Empties this process's memory, and reads what purges left in the store.
    pub(super) async fn forget_all(&self) {
        self.memory.forget_all();
        self.forget_validators();
        self.turn();
        self.load_purges(PURGES_WITHIN).await;
    }

    fn forget_asset(&self, category: &str, id: &str) -> Result<(), Error> {
        self.category(category)?;
        let asset = AssetDigest::new(category, id);
        self.purges.purge_asset(asset, self.now_ms());
        self.memory.forget_asset(asset);
        self.forget_validator(&asset);
        Ok(())
    }

    async fn purge_asset(&self, category: &str, id: &str) -> Result<Purged, Error> {
        self.forget_asset(category, id)?;
        let asset = AssetDigest::new(category, id);
        let Some(derivatives) = &self.derivatives else { return Ok(Purged { deleted: 0, stored: true, told: true }) };
        // What waits to be written may be of this asset; it must not land after the deletion.
        derivatives.drain(Duration::from_secs(2)).await;
        Ok(outcome(derivatives.purge_asset(&asset).await))
    }

    async fn purge_moments(&self) -> Result<Purged, Error> {
        self.memory.forget_conclusions();
        let Some(derivatives) = &self.derivatives else { return Ok(Purged { deleted: 0, stored: true, told: true }) };
        Ok(outcome(derivatives.save_purges(&self.purges).await.map(|()| 0)))
    }

    async fn purge_url(&self, url: &str) -> Result<Purged, Error> {
        let request = self.urls().read_trusted(url)?;
        let category = self.category(&request.category)?;
        if request.version == Version::Latest {
            // Its variants are keyed by what the source said of the original at the time, of which any may be stored.
            return self.purge_asset(&request.category, &request.id).await;
        }
        let keys = all_keys_of(&category, &request);
        for key in &keys {
            self.memory.forget(key);
        }
        let mut purged = Purged { deleted: 0, stored: true, told: true };
        let Some(derivatives) = &self.derivatives else { return Ok(purged) };
        // What waits to be written may be one of them; it must not land after the deletion.
        derivatives.drain(Duration::from_secs(2)).await;
        for key in &keys {
            match derivatives.delete(key).await {
                Ok(found) => purged.deleted += u64::from(found),
                Err(error) => purged.stored &= outcome(Err(error)).stored,
            }
        }
        Ok(purged)
    }
}

/// Every key that a URL can come to.
fn all_keys_of(category: &Arc<Category>, request: &Request) -> Vec<VariantKey> {
    keys_of(request, |request| {
        let wanted = Wanted::new(category.clone(), request, &Client::default(), None);
        let lossless = match &wanted.what {
            What::Image { plan, .. } => Some(wanted.chosen(plan, Format::WebP, true)),
            What::Original | What::Info => None,
        };
        std::iter::once(wanted.key).chain(lossless).collect()
    })
}

/// The same, by a function from a request to the keys that it has as it is: of `auto` all formats and all aliases.
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
        Ok(deleted) => Purged { deleted, stored: true, told: true },
        Err(error) => {
            tracing::error!(%error, "the derivative store did not take a purge; repeat it");
            Purged { deleted: 0, stored: false, told: true }
        }
    }
}
