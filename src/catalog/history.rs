//! An asset's state, rebuilt from its events alone.

use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::{Asset, Event, Variant, Version};

/// An asset with all that belongs to it.
#[derive(Clone, PartialEq, Debug)]
pub struct History {
    /// The asset.
    pub asset: Asset,
    /// Its versions, the youngest first.
    pub versions: Vec<Version>,
    /// What was made of it, by version and name.
    pub variants: Vec<Variant>,
}

/// Rebuilds an asset from its events, the oldest first; events about other things are passed over. None where it is not, or not
/// any more.
pub fn rebuild(events: &[Event]) -> Option<History> {
    let mut asset: Option<Asset> = None;
    let (mut versions, mut variants): (Vec<Version>, Vec<Variant>) = Default::default();
    for event in events {
        match event.kind.as_str() {
            "asset.deleted" => {
                asset = None;
                versions.clear();
                variants.clear();
            }
            "version.deleted" => {
                let gone = event.data["version"].as_str().unwrap_or_default();
                versions.retain(|version| version.version != gone);
                variants.retain(|variant| variant.version != gone);
            }
            kind if kind.starts_with("asset.") || kind.starts_with("version.") => {
                asset = part(&event.data, "asset").or(asset);
                if let Some(version) = part::<Version>(&event.data, "version") {
                    versions.retain(|known| known.version != version.version);
                    versions.push(version);
                }
            }
            kind if kind.starts_with("variant.") => {
                if let Some(variant) = part::<Variant>(&event.data, "variant") {
                    variants.retain(|known| (&known.version, &known.variant) != (&variant.version, &variant.variant));
                    variants.push(variant);
                }
            }
            _ => {}
        }
    }
    versions.sort_by_key(|version| std::cmp::Reverse(version.number));
    variants.sort_by(|a, b| (&a.version, &a.variant).cmp(&(&b.version, &b.variant)));
    asset.map(|asset| History { asset, versions, variants })
}

fn part<T: DeserializeOwned>(data: &Json, name: &str) -> Option<T> {
    serde_json::from_value(data.get(name)?.clone()).ok()
}
