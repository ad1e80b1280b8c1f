//! `fovea serve`: listeners first, then what takes time, then ready; until a signal ends it in order.

use std::io::Write;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

use super::broker::{Relaying, broker, events_kept};
use super::ingest::{bucket, faces, ingest, originals};
use super::origin::{origin, urls};
use super::work;
use crate::auth::Keys;
use crate::catalog::Catalog;
use crate::config::{self, Config, samples};
use crate::http::{self, AccessTarget, Api, Certificates, Images, Listener, Log, Probe, Routes, Running, Server};
use crate::serve::Origin;
use crate::telemetry;

/// How long a shutdown waits for variants to be written that were answered already.
pub(super) const STORE_DRAIN: Duration = Duration::from_secs(10);

/// Bytes of an upload that are read at once.
const API_READ_BYTES_MAX: usize = 128 << 10;

/// How long the workers leave the machine to the first requests.
const FIRST_LOOK: Duration = Duration::from_millis(300);

/// How many addresses the rate limit remembers.
const RATE_ADDRESSES_MAX: usize = 100_000;

/// What a process serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Images, and the API.
    Origin,
    /// The API alone.
    Api,
}

/// Serves until SIGTERM or SIGINT, then finishes what is under way.
///
/// # Errors
/// A part that cannot be built, or an address that cannot be listened on.
pub async fn serve(config: Config, role: Role) -> Result<()> {
    let begun = Instant::now();
    let telemetry = telemetry::start(&telemetry_settings(&config.telemetry))?;
    let metrics = telemetry::install()?;
    raise_descriptors();
    let certificates = certificates(&config)?;
    let images = match role {
        Role::Api => None,
        Role::Origin => {
            samples::unpack(&config).context("writing the sample pictures")?;
            Some(Server::bind(image_listener(&config, certificates.clone()))?)
        }
    };
    let control = Server::bind(api_listener(&config))?;
    let catalog = work::catalog(&config);
    let originals = originals(&config).await.context("ingest.store")?;
    let broker = broker(&config).await?;
    let origin = origin(&config, originals.clone(), Some(catalog.clone()), broker.clone()).await?;
    let (queue, board) = (work::queue(&config, catalog.clone(), broker.clone()), work::board(&config));
    let draining = Arc::new(AtomicBool::new(false));
    let ingest = ingest(&config, originals.clone(), catalog.clone())?;
    let keys = Keys::new(catalog.clone(), Some(config.api.token.expose().to_owned()));
    let shared = broker.as_ref().filter(|_| catalog.is_shared());
    let recent = Arc::new(http::Recent::new(shared.map(|broker| (broker, events_kept(&config)))));
    let probe = Probe {
        origin: origin.clone(),
        catalog: ingest.categories().next().is_some().then(|| catalog.clone()),
        broker: broker.clone(),
        metrics: work::rendered(&origin, &metrics),
        draining: draining.clone(),
    };
    let routes = Routes::new(Api {
        origin: origin.clone(),
        keys: keys.clone(),
        catalog: catalog.clone(),
        queue: queue.clone(),
        board: board.clone(),
        ingest,
        recent: recent.clone(),
        probe,
        settings: api_settings(&config),
    });
    let control = control.start(Arc::new(routes))?;
    tokio::spawn(first_key(keys.clone()));
    tokio::spawn({
        let (config, catalog) = (config.clone(), catalog.clone());
        async move { work::notice_changes(&config, &catalog).await }
    });
    tokio::spawn(keys.keep_up());
    tokio::spawn(recent.follow(catalog.clone()));
    tokio::spawn(origin.clone().follow());
    let relaying = Relaying::start(&config, broker.as_ref(), &catalog);
    let (log, writer) = Log::open(&access_log(&config)).context("http.access_log")?;
    let popularity = work::popularity(&config);
    let settings = http::Settings { popularity: Some(popularity.clone()), ..image_settings(&config) };
    let handler = Images::new(origin.clone(), settings, log.clone());
    let images = images.map(|images| images.start(Arc::new(handler))).transpose()?;
    let counting = tokio::spawn(popularity.clone().keep_up(catalog.clone()));
    tokio::spawn(metrics.keep_up());
    tokio::spawn({
        let origin = origin.clone();
        async move {
            origin.warm().await;
            tracing::info!(ms = begun.elapsed().as_millis() as u64, "ready");
        }
    });
    let worker = config
        .worker
        .enabled
        .then(|| work::workers(&config, catalog.clone(), queue, origin.clone(), originals, board, FIRST_LOOK));
    greet(&config, images.as_ref(), &control);
    until_told(&config, &origin, &catalog, certificates.as_deref(), &log).await?;
    draining.store(true, Ordering::Release);
    tracing::info!("finishing what is under way");
    if let Some(relaying) = relaying {
        relaying.stop().await;
    }
    let finishing = async {
        if let Some(worker) = worker {
            worker.drain(Duration::from_millis(config.worker.drain_ms)).await;
        }
    };
    let answering = async {
        match images {
            Some(images) => images.drain().await,
            None => 0,
        }
    };
    let (cut, ()) = tokio::join!(answering, finishing);
    if cut > 0 {
        tracing::warn!(connections = cut, "connections were cut off after http.drain_ms");
    }
    origin.finish_writes(STORE_DRAIN).await;
    counting.abort();
    if let Err(error) = popularity.flush(&catalog).await {
        tracing::debug!(%error, "what was popular of late could not be written down");
    }
    control.drain().await;
    drop(log);
    drop(writer);
    telemetry.finish().await;
    Ok(())
}

/// Takes as many file descriptors as the system allows: a connection is one, and the usual soft bound is a tenth of
/// `http.connections_max`.
fn raise_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, current = ?limit.current, "the bound on file descriptors stays as it is");
    }
}

/// Waits for the signal to end; reloads on SIGHUP.
async fn until_told(
    config: &Config,
    origin: &Origin,
    catalog: &Catalog,
    certificates: Option<&Certificates>,
    log: &Log,
) -> Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hangup.recv() => reload(config, origin, catalog, certificates, log).await,
        }
    }
}

/// Keys, presets and certificates, read anew; on an error what was in use stays.
async fn reload(config: &Config, origin: &Origin, catalog: &Catalog, certificates: Option<&Certificates>, log: &Log) {
    log.reopen();
    let read = config.reload().map_err(anyhow::Error::new).and_then(|config| Ok((urls(&config)?, config)));
    match read {
        Ok((urls, config)) => {
            origin.replace_urls(Arc::new(urls));
            tracing::info!("keys and presets were read anew");
            work::notice_changes(&config, catalog).await;
        }
        Err(error) => tracing::error!(%error, "the configuration is wrong; keys and presets stay as they were"),
    }
    if let Some(Err(error)) = certificates.map(Certificates::reload) {
        tracing::error!(%error, "the certificate could not be read; the old one stays");
    }
}

/// Makes the admin's key of a first start, and shows it. Behind the start, which waits for no catalog; one that cannot be opened
/// keeps the API closed, and the images served.
async fn first_key(keys: Arc<Keys>) {
    match keys.first().await {
        Ok(Some(key)) => {
            let text = format!("\nAn admin's key for the API, shown this once:\n  {key}\n");
            drop(std::io::stderr().write_all(text.as_bytes()));
        }
        Ok(None) => {}
        Err(error) => tracing::error!(%error, "the API's first key could not be made"),
    }
}

/// What the API is told.
fn api_settings(config: &Config) -> http::ApiSettings {
    http::ApiSettings {
        faces: faces(config),
        bucket: bucket(config),
        queue_max: config.queue.size_max,
        half_life: Duration::from_secs(config.popularity.half_life_s),
        rates: rates(config),
        trusted_proxies: config.http.trusted_proxies.clone(),
        body_bytes_max: 64 << 10,
    }
}

/// How often a key and an address may ask.
fn rates(config: &Config) -> http::Rates {
    let rate = |per_second: u32, burst: u32| {
        let per_second = NonZeroU32::new(per_second)?;
        let burst = NonZeroU32::new(burst).unwrap_or(per_second);
        Some(http::Rate { per_second, burst, addresses_max: RATE_ADDRESSES_MAX })
    };
    http::Rates {
        key: rate(config.api.key_per_second, config.api.key_burst),
        address: rate(config.api.address_per_second, config.api.address_burst),
    }
}

/// Says where to look, with URLs to click.
fn greet(config: &Config, images: Option<&Running>, control: &Running) {
    let scheme = if config.http.tls_certificate.is_some() { "https" } else { "http" };
    let shown = |addresses: &[SocketAddr]| addresses.first().map(ToString::to_string).unwrap_or_default();
    let base = images.map(|images| format!("{scheme}://{}", shown(images.addresses())));
    let api = format!("http://{}", shown(control.addresses()));
    let images = base.as_ref().map_or(String::new(), |base| format!("images on {base} and "));
    let mut text = format!("Fovea {} serves {images}the API on {api}\n", env!("CARGO_PKG_VERSION"));
    if let Some(base) = base.filter(|_| config.categories().any(|(name, _)| name == samples::CATEGORY)) {
        let sample = samples::SAMPLES[0].name;
        text += &format!("\n  {base}/\n  {base}/{0}/{sample}/v1/w_800.auto\n", samples::CATEGORY);
        text += &format!("  {base}/{0}/{sample}/v1/w_400,h_400,fit_cover.webp\n", samples::CATEGORY);
        text += &format!("  {base}/{0}/{sample}/v1/info.json\n", samples::CATEGORY);
    }
    text += &format!("  {api}/docs\n  {api}/health\n  {api}/metrics\n");
    // Nobody may be reading; that is no reason to stop.
    drop(std::io::stderr().write_all(text.as_bytes()));
}

pub(super) fn telemetry_settings(settings: &config::Telemetry) -> telemetry::Settings {
    telemetry::Settings {
        directives: settings.log.clone(),
        format: match settings.format {
            config::LogFormat::Text => telemetry::Format::Text,
            config::LogFormat::Json => telemetry::Format::Json,
            config::LogFormat::Auto => telemetry::Format::Auto,
        },
        otlp: settings.otlp_endpoint.clone().map(|endpoint| telemetry::Otlp { endpoint, ratio: settings.otlp_ratio }),
    }
}

fn certificates(config: &Config) -> Result<Option<Arc<Certificates>>> {
    let Some((chain, key)) = config.http.tls_certificate.as_ref().zip(config.http.tls_key.as_ref()) else {
        return Ok(None);
    };
    Ok(Some(Arc::new(Certificates::load(chain, key).context("http.tls_certificate")?)))
}

fn image_listener(config: &Config, tls: Option<Arc<Certificates>>) -> Listener {
    let settings = &config.http;
    let ms = Duration::from_millis;
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let mut listener = Listener::new("image", vec![settings.listen]);
    listener.tls = tls;
    listener.threads = Some(NonZeroUsize::new(settings.threads).unwrap_or(cores));
    listener.limits.connections_max = settings.connections_max;
    listener.limits.head_bytes_max = settings.header_bytes_max.bytes() as usize;
    listener.limits.head_timeout = ms(settings.header_timeout_ms);
    listener.limits.idle_timeout = ms(settings.idle_timeout_ms);
    listener.limits.stall_timeout = ms(settings.write_stall_ms);
    listener.limits.drain_timeout = ms(settings.drain_ms);
    listener
}

fn api_listener(config: &Config) -> Listener {
    let mut listener = Listener::new("api", vec![config.api.listen]);
    listener.limits.streams = true;
    listener.limits.read_bytes_max = API_READ_BYTES_MAX;
    listener
}

fn image_settings(config: &Config) -> http::Settings {
    let rate = NonZeroU32::new(config.rate_limit.per_second).map(|per_second| http::Rate {
        per_second,
        burst: NonZeroU32::new(config.rate_limit.burst).unwrap_or(per_second),
        addresses_max: RATE_ADDRESSES_MAX,
    });
    let shows = config.http.start_page && config.categories().any(|(name, _)| name == samples::CATEGORY);
    let sample = |sample: &samples::Sample| http::Sample {
        asset: format!("{}/{}", samples::CATEGORY, sample.name),
        title: sample.about.to_owned(),
        credit: String::new(),
    };
    http::Settings {
        request_timeout: Duration::from_millis(config.http.request_timeout_ms),
        trusted_proxies: config.http.trusted_proxies.clone(),
        rate,
        access_log: access_log(config),
        demo: shows.then(|| http::Demo { samples: samples::SAMPLES.iter().map(sample).collect() }),
        ..http::Settings::default()
    }
}

fn access_log(config: &Config) -> http::AccessLog {
    http::AccessLog {
        target: match &config.http.access_log {
            config::AccessLog::None => None,
            config::AccessLog::Stdout => Some(AccessTarget::Stdout),
            config::AccessLog::File(path) => Some(AccessTarget::File(path.into())),
        },
        form: match config.http.access_log_format {
            config::AccessLogFormat::Text => http::AccessForm::Text,
            config::AccessLogFormat::Json => http::AccessForm::Json,
        },
    }
}
