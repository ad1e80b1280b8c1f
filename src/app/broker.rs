//! From the config to the broker.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::broker::{Broker, Settings, State, Tls};
use crate::catalog::Catalog;
use crate::config::Config;
use crate::events::{self, Relay};
use crate::telemetry::names;

/// How long a shutdown waits for the relay.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// The broker, where one is configured. Waits for none. Needs a running runtime.
///
/// # Errors
/// Settings that cannot be used, such as a file of credentials that cannot be read.
pub async fn broker(config: &Config) -> Result<Option<Broker>> {
    let settings = &config.nats;
    if settings.url.is_empty() {
        return Ok(None);
    }
    let set = |secret: &crate::config::Secret| Some(secret.expose().to_owned()).filter(|text| !text.is_empty());
    let path = |path: &Option<String>| path.as_ref().map(Into::into);
    let broker = Broker::connect(Settings {
        user: settings.user.clone().map(|user| (user, settings.password.expose().to_owned())),
        token: set(&settings.token),
        nkey: set(&settings.nkey_seed),
        credentials: path(&settings.credentials_file),
        tls: Tls {
            required: settings.tls_required,
            ca_file: path(&settings.tls_ca_file),
            certificate: path(&settings.tls_certificate).zip(path(&settings.tls_key)),
        },
        prefix: settings.prefix.clone(),
        replicas: settings.replicas,
        connect_timeout: Duration::from_millis(settings.connect_timeout_ms),
        request_timeout: Duration::from_millis(settings.request_timeout_ms),
        ..Settings::new(settings.url.expose())
    })
    .await
    .context("nats")?;
    tokio::spawn(observe(broker.states()));
    Ok(Some(broker))
}

/// How long events are kept for other services.
pub(super) fn events_kept(config: &Config) -> events::Kept {
    events::Kept {
        max_age: Duration::from_secs(config.nats.events_max_age_h.saturating_mul(3600)),
        bytes_max: config.nats.events_bytes_max.bytes(),
    }
}

/// Keeps the gauge of the connection, for as long as there is one.
async fn observe(mut states: watch::Receiver<State>) {
    loop {
        let up = *states.borrow_and_update() == State::Up;
        metrics::gauge!(names::BROKER_UP).set(if up { 1.0 } else { 0.0 });
        if states.changed().await.is_err() {
            return;
        }
    }
}

/// The relay of events, under way.
pub(super) struct Relaying {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Relaying {
    /// Begins to relay, where there is a broker and a catalog that the fleet shares.
    pub fn start(config: &Config, broker: Option<&Broker>, catalog: &Catalog) -> Option<Self> {
        let broker = broker.filter(|_| catalog.is_shared())?;
        let relay = Relay::new(catalog.clone(), Arc::new(events::log(broker, events_kept(config))));
        let (stop, stopped) = watch::channel(false);
        Some(Self { stop, task: tokio::spawn(relay.keep(stopped)) })
    }

    /// Ends it, so that another process goes on at once; waits for no more than a moment.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if tokio::time::timeout(STOP_WITHIN, self.task).await.is_err() {
            tracing::debug!("the relay's lease runs out by itself");
        }
    }
}
