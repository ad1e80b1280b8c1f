//! What was purged, and when: nothing made before a purge is answered after it.
//!
//! An asset's variants lie under one prefix and are deleted. A category's or a preset's lie anywhere, so their purge is a
//! moment: what was made before it counts as missing, is made anew when asked for, and falls to the store's eviction or
//! lifecycle. The moments are kept in the store at [`PURGES_KEY`], so they outlive the process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::RwLock;

use super::entry::Tags;
use crate::base::AssetDigest;

/// Where the moments are kept in the derivative store.
pub const PURGES_KEY: &str = "meta/purges.json";

/// How long an asset's purge is remembered: longer than any flight, which might store what it made from the old original.
const ASSET_MEMORY: Duration = Duration::from_secs(600);

/// The moments of purges.
#[derive(Debug)]
pub struct Purges {
    any: AtomicBool,
    any_asset: AtomicBool,
    moments: RwLock<BTreeMap<String, u64>>,
    assets: moka::sync::Cache<AssetDigest, u64>,
}

impl Default for Purges {
    fn default() -> Self {
        Self {
            any: AtomicBool::new(false),
            any_asset: AtomicBool::new(false),
            moments: RwLock::default(),
            assets: moka::sync::Cache::builder().max_capacity(100_000).time_to_live(ASSET_MEMORY).build(),
        }
    }
}

impl Purges {
    /// From [`PURGES_KEY`]'s bytes.
    pub fn load(&self, json: &[u8]) -> Result<(), serde_json::Error> {
        let stored: BTreeMap<String, u64> = serde_json::from_slice(json)?;
        let mut moments = self.moments.write();
        for (name, moment) in stored {
            let kept = moments.entry(name).or_default();
            *kept = moment.max(*kept);
        }
        self.any.store(!moments.is_empty(), Ordering::Release);
        Ok(())
    }

    /// For [`PURGES_KEY`].
    pub fn save(&self) -> Vec<u8> {
        serde_json::to_vec(&*self.moments.read()).expect("a map of numbers is JSON")
    }

    /// Everything of a category made until this moment is gone; with a preset, what was asked for by it.
    pub fn purge(&self, category: &str, preset: Option<&str>, now_ms: u64) {
        self.moments.write().insert(name(category, preset), now_ms);
        self.any.store(true, Ordering::Release);
    }

    /// What was made of an asset until this moment is gone.
    pub fn purge_asset(&self, asset: AssetDigest, now_ms: u64) {
        self.assets.insert(asset, now_ms);
        self.any_asset.store(true, Ordering::Release);
    }

    /// Whether something made at this moment still counts.
    pub fn allow(&self, tags: &Tags, asset: &AssetDigest, made_at_ms: u64) -> bool {
        let any_asset = self.any_asset.load(Ordering::Acquire);
        if any_asset && self.assets.get(asset).is_some_and(|moment| made_at_ms <= moment) {
            return false;
        }
        if !self.any.load(Ordering::Acquire) {
            return true;
        }
        let moments = self.moments.read();
        let after = |preset: Option<&str>| moments.get(&name(&tags.category, preset)).is_none_or(|at| made_at_ms > *at);
        after(None) && tags.preset.as_deref().is_none_or(|preset| after(Some(preset)))
    }
}

fn name(category: &str, preset: Option<&str>) -> String {
    preset.map_or_else(|| category.to_owned(), |preset| format!("{category}/{preset}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_before_a_purge_does_not_count_also_after_a_restart() {
        let purges = Purges::default();
        let tags =
            |category: &str, preset: Option<&str>| Tags { category: category.into(), preset: preset.map(Into::into) };
        let asset = AssetDigest::new("a", "b");
        let before = 990;
        purges.purge("shoes", None, before + 10);
        purges.purge("hats", Some("thumb"), before + 10);
        let restarted = Purges::default();
        restarted.load(&purges.save()).unwrap();
        for purges in [purges, restarted] {
            assert!(!purges.allow(&tags("shoes", None), &asset, before));
            assert!(purges.allow(&tags("shoes", None), &asset, before + 10_000));
            assert!(!purges.allow(&tags("hats", Some("thumb")), &asset, before));
            assert!(purges.allow(&tags("hats", Some("large")), &asset, before));
            assert!(purges.allow(&tags("hats", None), &asset, before));
        }
    }

    #[test]
    fn an_assets_purge_outlives_flights_that_began_before_it() {
        let purges = Purges::default();
        let tags = Tags { category: "a".into(), preset: None };
        let asset = AssetDigest::new("a", "b");
        let before = 990;
        purges.purge_asset(asset, before + 10);
        assert!(!purges.allow(&tags, &asset, before));
        assert!(purges.allow(&tags, &AssetDigest::new("a", "c"), before));
    }
}
