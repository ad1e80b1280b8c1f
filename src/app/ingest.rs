//! From the config to what takes originals in: their store, the spool, the categories' clients.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use super::origin::{bucket_settings, encryption, read};
use super::work;
use crate::catalog::Catalog;
use crate::config::{self, Config, StoreLocation};
use crate::http::Face;
use crate::ingest::{Category, Ingest, Parts, Patience, Spool};
use crate::net;
use crate::object::{Fs, Layout, ObjectStore, s3};

/// The folder for bodies on their way in, in the folder of their store: a rename away from their place.
const SPOOL: &str = ".spool";

/// The store of uploaded originals; none where it is not configured.
///
/// # Errors
/// A folder that cannot be made, a bucket's settings that are wrong.
pub async fn originals(config: &Config) -> Result<Option<Arc<dyn ObjectStore>>> {
    let settings = &config.ingest;
    Ok(match &settings.store {
        StoreLocation::None => None,
        StoreLocation::Folder(path) => {
            std::fs::create_dir_all(path).with_context(|| format!("making the folder {}", path.display()))?;
            Some(Arc::new(Fs::new(path, Layout::Described)?))
        }
        StoreLocation::Bucket { bucket, prefix } => {
            let mut bucket = bucket_settings(config, bucket, prefix);
            bucket.encryption = encryption(settings.sse.as_deref());
            bucket.storage_class = settings.storage_class.as_deref().map(storage_class);
            bucket.multipart = s3::Multipart {
                above_bytes: settings.multipart_above.bytes(),
                part_bytes: settings.part_bytes.bytes(),
                parallel: settings.parts_parallel,
            };
            Some(Arc::new(s3::S3::new(bucket).await?))
        }
    })
}

/// S3's word for how warm an object is kept.
pub(super) fn storage_class(text: &str) -> String {
    match text {
        "hot" => "STANDARD",
        "warm" => "STANDARD_IA",
        "cold" => "GLACIER_IR",
        other => other,
    }
    .to_owned()
}

/// What takes originals in.
///
/// # Errors
/// A part that cannot be built.
pub fn ingest(config: &Config, store: Option<Arc<dyn ObjectStore>>, catalog: Catalog) -> Result<Arc<Ingest>> {
    let settings = &config.ingest;
    let folder = spool(config);
    let spool = Spool::new(&folder, settings.uploads_max);
    let spool = spool.with_context(|| format!("ingest.spool: {}", folder.display()))?;
    let mut categories = HashMap::new();
    for (name, category) in config.categories().filter(|(_, category)| category.ingest) {
        let client = client(category).with_context(|| format!("category.{name}"))?;
        categories.insert(name.to_owned(), Category { limits: config.limits, client: Some(client) });
    }
    Ok(Ingest::new(Parts {
        catalog,
        store,
        spool,
        categories,
        priorities: work::priorities(config),
        queue_max: config.queue.size_max,
        offer_valid: Duration::from_secs(settings.offer_valid_s),
        patience: Patience {
            idle: Duration::from_millis(settings.idle_timeout_ms),
            total: Duration::from_millis(settings.upload_timeout_ms),
        },
    }))
}

/// Where bodies lie while they come.
fn spool(config: &Config) -> PathBuf {
    match (&config.ingest.spool, &config.ingest.store) {
        (Some(path), _) => path.into(),
        (None, StoreLocation::Folder(path)) => path.join(SPOOL),
        (None, StoreLocation::Bucket { .. } | StoreLocation::None) => std::env::temp_dir().join("fovea-spool"),
    }
}

/// What fetches originals from URLs: at addresses that the category allows, from its `allow_hosts` where it names some.
fn client(category: &config::Category) -> Result<net::Client> {
    let mut settings = net::Settings::default();
    settings.guard.allow_private = category.allow_private;
    settings.guard.allow.clone_from(&category.allow_networks);
    settings.total_timeout = Duration::from_millis(category.fetch_timeout_ms);
    if !category.allow_hosts.is_empty() {
        settings.hosts = net::Hosts::new(&category.allow_hosts)?;
    }
    if let Some(path) = &category.ca_file {
        settings.extra_roots_pem = Some(read(path)?);
    }
    Ok(net::Client::new(settings)?)
}

/// Bucket and prefix of the store of originals, where it is a bucket.
pub fn bucket(config: &Config) -> Option<(String, String)> {
    match &config.ingest.store {
        StoreLocation::Bucket { bucket, prefix } if prefix.is_empty() => Some((bucket.clone(), String::new())),
        StoreLocation::Bucket { bucket, prefix } => Some((bucket.clone(), format!("{prefix}/"))),
        StoreLocation::Folder(_) | StoreLocation::None => None,
    }
}

/// How the categories look from outside.
pub fn faces(config: &Config) -> HashMap<String, Face> {
    let face = |category: &config::Category| Face {
        base_url: category.public.base_url.clone().unwrap_or_default(),
        prewarm: category.prewarm.clone(),
    };
    config.categories().map(|(name, category)| (name.to_owned(), face(category))).collect()
}
