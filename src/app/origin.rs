//! From the config to an origin: sources, stores, budget, pool, URLs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use super::ingest::storage_class;
use crate::broker::Broker;
use crate::cache::derivatives::Classes;
use crate::cache::{Derivatives, Memory};
use crate::catalog::Catalog;
use crate::config::{self, Config, SourceLocation, StoreLocation};
use crate::encode::Effort;
use crate::object::{Fs, Layout, ObjectStore, s3};
use crate::plan::{self, Allowed, Urls};
use crate::render::form::Mezzanines;
use crate::render::{Budget, Look, Pool, Qualities, Renderer};
use crate::serve::{self, Category, Origin, Parts, Policy};
use crate::source::{self, Source};
use crate::transform::Light;

/// For how long what does not exist or is broken is remembered.
const NEGATIVE_TTL: Duration = Duration::from_secs(10);

/// The bytes that may wait to be written into the derivative store.
const WRITE_QUEUE_BYTES_MAX: usize = 128 << 20;

/// What URLs may say, by the config.
///
/// # Errors
/// A preset, category or key that is not legal.
pub fn urls(config: &Config) -> Result<Urls> {
    let categories = config.categories().map(|(name, category)| (name.to_owned(), rules(config, category)));
    let keys = config.keys.iter().map(|(kid, key)| {
        let secret = key.secret.bytes().map_err(anyhow::Error::msg).with_context(|| format!("keys.{kid}"))?;
        Ok(plan::Key { kid: kid.clone(), secret, categories: key.categories.clone().unwrap_or_default() })
    });
    let settings = plan::Settings {
        presets: config.presets.all.clone(),
        categories: categories.collect(),
        keys: keys.collect::<Result<_>>()?,
    };
    let urls = Urls::new(&settings)?;
    for (name, category) in config.categories() {
        for variant in &category.prewarm {
            let path = plan::asset_path(name, "any", "h0000000000000000", variant);
            urls.read_trusted(&path).with_context(|| format!("category.{name}.prewarm: {variant:?}"))?;
        }
    }
    Ok(urls)
}

fn rules(config: &Config, category: &config::Category) -> plan::Rules {
    plan::Rules {
        unsigned: match category.unsigned {
            config::Unsigned::Options => plan::Unsigned::Options,
            config::Unsigned::Presets => plan::Unsigned::Presets,
            config::Unsigned::None => plan::Unsigned::None,
        },
        versions: match category.versions {
            _ if category.ingest => plan::Versions::Checked,
            config::Versions::Any => plan::Versions::Any,
            config::Versions::Signed => plan::Versions::Signed,
            config::Versions::Checked => plan::Versions::Checked,
        },
        originals: match category.originals {
            config::Originals::Signed => plan::Originals::Signed,
            config::Originals::Public => plan::Originals::Public,
        },
        presets: None,
        sizes: category.sizes.clone(),
        side_max: category.side_max,
        pixels_max: config.limits.pixels_max,
    }
}

/// The origin. Needs a running runtime: the store's writers are its tasks.
///
/// # Errors
/// A part that cannot be built: a folder that cannot be made, a certificate that cannot be read.
pub async fn origin(
    config: &Config,
    originals: Option<Arc<dyn ObjectStore>>,
    catalog: Option<Catalog>,
    broker: Option<Broker>,
) -> Result<Arc<Origin>> {
    let mut categories = Vec::new();
    for (name, category) in config.categories() {
        let built = self::category(config, name, category, originals.as_ref()).await;
        categories.push(built.with_context(|| format!("category.{name}"))?);
    }
    let memory = &config.memory;
    let waiting = Duration::from_millis(memory.work_queue_ms);
    let budget = Budget::new(memory.work_bytes.bytes(), memory.work_queue_max, waiting);
    let pool = Pool::start(config.render.threads, memory.work_queue_max.max(1)).context("starting render threads")?;
    Ok(Origin::new(Parts {
        urls: Arc::new(urls(config)?),
        categories,
        memory: Memory::new(memory.cache_bytes.bytes(), memory.entry_bytes_max.bytes(), memory.mezzanine_bytes.bytes()),
        derivatives: derivatives(config).await.context("derivatives.store")?,
        renderer: Renderer::new(budget, pool),
        negative_ttl: NEGATIVE_TTL,
        catalog,
        broker,
        store: store(config),
    }))
}

async fn category(
    config: &Config,
    name: &str,
    category: &config::Category,
    originals: Option<&Arc<dyn ObjectStore>>,
) -> Result<Category> {
    let look = Arc::new(look(category));
    let seconds = Duration::from_secs;
    let policy = Policy {
        max_age: seconds(category.max_age_s),
        latest_max_age: seconds(category.latest_max_age_s),
        preset_max_age: seconds(category.preset_max_age_s),
        stale_while_revalidate: (category.stale_while_revalidate_s > 0)
            .then(|| seconds(category.stale_while_revalidate_s)),
        client_hints: category.client_hints,
        cors: category.cors.clone(),
        negotiates: category.avif || category.webp,
    };
    Ok(Category {
        name: name.into(),
        source: source(config, name, category, originals).await?,
        policy,
        look_digest: look.digest(),
        look,
        limits: config.limits,
        // The catalog knows the versions of what was uploaded: their content need not be hashed again.
        checked: !category.ingest && category.versions == config::Versions::Checked,
        catalogued: category.ingest,
    })
}

/// What of a category's settings changes bytes.
pub fn look(category: &config::Category) -> Look {
    Look {
        light: match category.light {
            config::Light::Linear => Light::Linear,
            config::Light::Gamma => Light::Gamma,
        },
        qualities: Qualities { jpeg: category.quality_jpeg, webp: category.quality_webp, avif: category.quality_avif },
        progressive: category.progressive,
        effort: match category.effort {
            config::Effort::Usual => Effort::Usual,
            config::Effort::Small => Effort::Small,
        },
        location: category.exif_location,
        allowed: Allowed { avif: category.avif, webp: category.webp },
        mezzanines: match category.mezzanine {
            config::Mezzanine::Off => Mezzanines::Off,
            config::Mezzanine::On => Mezzanines::On,
            config::Mezzanine::Large => Mezzanines::Large,
        },
    }
}

async fn source(
    config: &Config,
    name: &str,
    category: &config::Category,
    originals: Option<&Arc<dyn ObjectStore>>,
) -> Result<Source> {
    let ms = Duration::from_millis;
    let origin = match &category.source {
        SourceLocation::Unset if category.ingest => {
            source::Origin::Store(originals.context("no ingest.store is set")?.clone())
        }
        SourceLocation::Unset => anyhow::bail!("no source is set"),
        SourceLocation::Folder(path) => {
            std::fs::create_dir_all(path).with_context(|| format!("making the folder {}", path.display()))?;
            source::Origin::Store(Arc::new(Fs::new(path, Layout::Plain)?))
        }
        SourceLocation::Bucket { bucket, prefix } => {
            let settings = s3::Settings { tries: 1, ..bucket_settings(config, bucket, prefix) };
            source::Origin::Store(Arc::new(s3::S3::new(settings).await?))
        }
        SourceLocation::Http(base) => source::Origin::Http(Box::new(http_settings(base, category)?)),
    };
    let mut settings = source::Settings::new(name, origin);
    settings.bytes_max = config.limits.source_bytes_max;
    settings.retry.tries = category.attempts;
    settings.retry.base = ms(category.backoff_ms);
    settings.breaker.failures = category.breaker_failures;
    settings.breaker.open_for = ms(category.breaker_open_ms);
    settings.breaker.successes = category.breaker_successes;
    settings.bulkhead.concurrent_max = category.concurrency;
    Ok(Source::new(settings)?)
}

fn http_settings(base: &str, category: &config::Category) -> Result<source::http::Settings> {
    let mut settings = source::http::Settings::new(base);
    settings.hosts.clone_from(&category.allow_hosts);
    settings.client.guard.allow_private = category.allow_private;
    settings.client.guard.allow.clone_from(&category.allow_networks);
    settings.client.total_timeout = Duration::from_millis(category.fetch_timeout_ms);
    if let Some(path) = &category.ca_file {
        settings.client.extra_roots_pem = Some(read(path)?);
    }
    Ok(settings)
}

pub(super) fn bucket_settings(config: &Config, bucket: &str, prefix: &str) -> s3::Settings {
    let s3 = &config.s3;
    let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    let mut settings = s3::Settings::new(bucket, prefix);
    settings.endpoint.clone_from(&s3.endpoint);
    settings.region = Some(s3.region.clone());
    settings.path_style = s3.in_path();
    settings.credentials = s3.access_key_id.as_ref().map(|access_key| s3::Keys {
        access_key: access_key.clone(),
        secret_key: s3.secret_access_key.expose().to_owned(),
        session_token: (!s3.session_token.is_empty()).then(|| s3.session_token.expose().to_owned()),
    });
    settings
}

/// Whose the derivative store is: a bucket is everybody's, a folder this machine's.
fn store(config: &Config) -> serve::Store {
    match config.derivatives.store {
        StoreLocation::Bucket { .. } => serve::Store::Shared,
        StoreLocation::Folder(_) | StoreLocation::None => serve::Store::Own,
    }
}

async fn derivatives(config: &Config) -> Result<Option<Derivatives>> {
    let settings = &config.derivatives;
    let store: Arc<dyn ObjectStore> = match &settings.store {
        StoreLocation::None => return Ok(None),
        StoreLocation::Folder(path) => {
            std::fs::create_dir_all(path).with_context(|| format!("making the folder {}", path.display()))?;
            let bytes_max = Some(settings.bytes_max.bytes()).filter(|most| *most > 0);
            Arc::new(Fs::bounded(path, Layout::Framed, bytes_max)?)
        }
        StoreLocation::Bucket { bucket, prefix } => {
            let mut bucket = bucket_settings(config, bucket, prefix);
            bucket.encryption = encryption(settings.sse.as_deref());
            Arc::new(s3::S3::new(bucket).await?)
        }
    };
    let cache_control = settings.cache_control.clone();
    let class = |text: &Option<String>| text.as_deref().map(storage_class);
    let presets = settings.storage_class_presets.iter();
    let classes = Classes {
        derivatives: class(&settings.storage_class),
        mezzanines: class(&settings.storage_class_mezzanines),
        presets: presets.map(|(preset, text)| (preset.clone(), storage_class(text))).collect(),
    };
    let derivatives = Derivatives::start(store, settings.write_queue_max, WRITE_QUEUE_BYTES_MAX, cache_control);
    Ok(Some(derivatives.with_classes(classes)))
}

pub(super) fn encryption(sse: Option<&str>) -> s3::Encryption {
    match sse {
        None => s3::Encryption::None,
        Some("AES256") => s3::Encryption::Aes256,
        Some(kms) => s3::Encryption::Kms { key_id: kms.strip_prefix("aws:kms:").map(str::to_owned) },
    }
}

pub(super) fn read(path: &str) -> Result<Vec<u8>> {
    std::fs::read(Path::new(path)).with_context(|| format!("reading {path}"))
}
