//! From the config to the catalog, the queue and the workers; and `fovea work`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

use super::broker::{Relaying, broker};
use super::ingest::originals;
use super::origin::{look, origin};
use super::serve::telemetry_settings;
use crate::base::{CircuitSettings, Digest};
use crate::broker::Broker;
use crate::catalog::{self, Catalog};
use crate::config::{self, Config};
use crate::http::{Listener, Probe, Probes, Server};
use crate::object::ObjectStore;
use crate::popularity::{self, Coverage, Popularity};
use crate::queue::{self, Backoff, Board, Handing, Pressure, Priorities, Queue, SYSTEM, Since};
use crate::serve::Origin;
use crate::telemetry;
use crate::worker::{self, Parts, Worker};

/// The catalog. Opens nothing.
pub fn catalog(config: &Config) -> Catalog {
    let settings = &config.catalog;
    Catalog::new(catalog::Settings {
        readers: settings.readers,
        writers: settings.writers,
        busy_timeout: Duration::from_millis(settings.busy_timeout_ms),
        statement_timeout: Duration::from_millis(settings.statement_timeout_ms),
        ..catalog::Settings::new(settings.url.expose())
    })
}

/// Brings the catalog's tables up to date.
///
/// # Errors
/// A catalog that cannot be opened.
pub async fn migrate(config: &Config) -> Result<()> {
    catalog(config).open().await.with_context(|| format!("catalog.url: {}", config.catalog.url))
}

/// Copies a catalog to another, with all its history.
///
/// # Errors
/// A catalog that cannot be opened; one that is not empty, or not equal in the end.
pub async fn move_catalog(from: &str, to: &str, tell: impl FnMut(&catalog::Moved)) -> Result<()> {
    let from = Catalog::new(catalog::Settings::new(from));
    let to = Catalog::new(catalog::Settings { half_filled: true, ..catalog::Settings::new(to) });
    for (flag, catalog) in [("--from", &from), ("--to", &to)] {
        catalog.open().await.context(flag)?;
    }
    Ok(from.move_to(&to, tell).await?)
}

/// The queue: in the broker where there is one, else in the catalog. With a broker it needs a running runtime.
pub fn queue(config: &Config, catalog: Catalog, broker: Option<Broker>) -> Arc<dyn Queue> {
    let settings = &config.queue;
    let ms = Duration::from_millis;
    let mut concede = [Duration::ZERO; 4];
    for (time, set) in concede.iter_mut().zip(&settings.concede_ms) {
        *time = ms((*set).into());
    }
    let treated = queue::Settings {
        lease: ms(settings.lease_ms),
        deliveries_max: settings.deliveries_max,
        concede,
        backoff: Backoff {
            retries_max: settings.retries_max,
            pauses: settings.pauses_ms.iter().map(|pause| ms((*pause).into())).collect(),
        },
    };
    let Some(broker) = broker else { return queue::embedded(catalog, treated) };
    let dead_age_max = Duration::from_secs(config.worker.retention_days.saturating_mul(86_400));
    let handing = Handing { window: settings.window, dead_age_max, ..Handing::default() };
    queue::jetstream(catalog, broker, treated, handing)
}

/// Queues again what makes the variants of all assets that were accepted since. Answers how many jobs.
///
/// # Errors
/// A catalog that cannot be opened.
pub async fn replay(config: &Config, since: Since) -> Result<u64> {
    let catalog = catalog(config);
    queue::replay(&catalog, since).await.with_context(|| format!("catalog.url: {}", config.catalog.url))
}

/// How urgent jobs are that do not say.
pub fn priorities(config: &Config) -> Priorities {
    let settings = &config.queue;
    Priorities {
        critical_categories: settings.critical_categories.clone(),
        premium_owners: settings.premium_owners.clone(),
        small_pixels_max: settings.small_pixels_max,
        large_pixels_min: settings.large_pixels_min,
    }
}

/// How this process's workers fare.
pub fn board(config: &Config) -> Arc<Board> {
    let settings = &config.worker;
    Arc::new(Board::new(Pressure {
        concurrency: settings.concurrency,
        start_interval: Duration::from_millis(settings.start_interval_ms),
        share_max: f64::from(settings.failures_percent_max) / 100.0,
        circuit: CircuitSettings {
            failures: settings.breaker_failures,
            open_for: Duration::from_millis(settings.breaker_open_ms),
            successes: settings.breaker_successes,
            ..CircuitSettings::default()
        },
        ..Pressure::default()
    }))
}

/// Has a category's variants made anew whose presets or settings are others than when they were last looked at. Behind the start,
/// and after a reload; a catalog that cannot be reached is told of the change the next time.
pub async fn notice_changes(config: &Config, catalog: &Catalog) {
    let presets = config.presets.all.iter().fold(String::new(), |all, (name, text)| all + name + "=" + text + "\n");
    for (name, category) in config.categories().filter(|(_, category)| category.ingest) {
        let value = Digest::of_parts(&[&look(category).digest().0, presets.as_bytes()]).hex(32);
        match catalog.mark(&format!("look {name}"), &value, queue::reprocess(SYSTEM, name, None)).await {
            Ok(true) => tracing::info!(category = name, "its presets or settings changed: variants are made anew"),
            Ok(false) => {}
            Err(error) => return tracing::debug!(%error, "whether settings changed could not be told"),
        }
    }
}

/// What counts what traffic asks for.
pub fn popularity(config: &Config) -> Arc<Popularity> {
    let settings = &config.popularity;
    Popularity::new(popularity::Settings {
        flush: Duration::from_millis(settings.flush_ms),
        half_life: Duration::from_secs(settings.half_life_s),
        shapes_max: settings.shapes_max,
        catalogued: config
            .categories()
            .filter(|(_, category)| category.ingest)
            .map(|(name, _)| name.to_owned())
            .collect(),
    })
}

/// Workers, started; the queue is first asked after `first_look`.
pub fn workers(
    config: &Config,
    catalog: Catalog,
    queue: Arc<dyn Queue>,
    origin: Arc<Origin>,
    originals: Option<Arc<dyn ObjectStore>>,
    board: Arc<Board>,
    first_look: Duration,
) -> Worker {
    let days = |days: u64| Duration::from_secs(days * 86_400);
    let settings = &config.worker;
    let lists = config.categories().filter(|(_, category)| !category.prewarm.is_empty());
    let covered = config.categories().filter(|(_, category)| category.prewarm_coverage_percent > 0);
    let coverage = |category: &config::Category| Coverage {
        share: f64::from(category.prewarm_coverage_percent) / 100.0,
        bytes_max: category.prewarm_bytes_max.bytes(),
        count_min: config.popularity.count_min.into(),
    };
    let kept = config.categories().filter(|(_, category)| category.retention_days > 0);
    let settings = worker::Settings {
        name: format!("{}-{}", std::fs::read_to_string("/etc/hostname").unwrap_or_default().trim(), std::process::id()),
        job_timeout: Duration::from_millis(settings.job_timeout_ms),
        kinds: settings.kinds.iter().filter(|(_, most)| **most > 0).map(|(kind, most)| (*kind, *most)).collect(),
        variants_at_once: settings.variants_at_once,
        poll: Duration::from_millis(settings.poll_ms),
        first_look,
        prewarm: lists.map(|(name, category)| (name.to_owned(), category.prewarm.clone())).collect(),
        coverage: covered.map(|(name, category)| (name.to_owned(), coverage(category))).collect(),
        half_life: Duration::from_secs(config.popularity.half_life_s),
        retention: days(settings.retention_days),
        // What is put into the store may take as long again as what comes to us.
        upload_time: Duration::from_millis(config.ingest.upload_timeout_ms.saturating_mul(2)),
        version_retention: kept.map(|(name, category)| (name.to_owned(), days(category.retention_days))).collect(),
    };
    Worker::start(Parts { catalog, queue, origin, originals, board, settings })
}

/// What renders the metrics of a process with an origin.
pub(super) fn rendered(origin: &Arc<Origin>, metrics: &telemetry::Metrics) -> Arc<dyn Fn() -> String + Send + Sync> {
    let (origin, metrics) = (origin.clone(), metrics.clone());
    Arc::new(move || {
        origin.observe();
        metrics.render()
    })
}

/// Does jobs until SIGTERM or SIGINT, then finishes or hands back what is under way.
///
/// # Errors
/// A part that cannot be built.
pub async fn work(config: Config) -> Result<()> {
    let telemetry = telemetry::start(&telemetry_settings(&config.telemetry))?;
    let metrics = telemetry::install()?;
    tokio::spawn(metrics.clone().keep_up());
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let listener =
        config.worker.listen.map(|address| Server::bind(Listener::new("probe", vec![address]))).transpose()?;
    let catalog = catalog(&config);
    catalog.open().await.with_context(|| format!("catalog.url: {}", config.catalog.url))?;
    let originals = originals(&config).await.context("ingest.store")?;
    let broker = broker(&config).await?;
    let origin = origin(&config, originals.clone(), Some(catalog.clone()), broker.clone()).await?;
    let draining = Arc::new(AtomicBool::new(false));
    let probe = Probe {
        origin: origin.clone(),
        catalog: Some(catalog.clone()),
        broker: broker.clone(),
        metrics: rendered(&origin, &metrics),
        draining: draining.clone(),
    };
    let probes = listener.map(|listener| listener.start(Arc::new(Probes::new(probe)))).transpose()?;
    origin.warm().await;
    tokio::spawn(origin.clone().follow());
    let relaying = Relaying::start(&config, broker.as_ref(), &catalog);
    let queue = queue(&config, catalog.clone(), broker);
    let worker = workers(&config, catalog, queue, origin.clone(), originals, board(&config), Duration::ZERO);
    tracing::info!(concurrency = config.worker.concurrency, "waiting for jobs");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    draining.store(true, Ordering::Release);
    tracing::info!("finishing what is under way");
    if let Some(relaying) = relaying {
        relaying.stop().await;
    }
    worker.drain(Duration::from_millis(config.worker.drain_ms)).await;
    origin.finish_writes(super::serve::STORE_DRAIN).await;
    if let Some(probes) = probes {
        probes.drain().await;
    }
    telemetry.finish().await;
    Ok(())
}
