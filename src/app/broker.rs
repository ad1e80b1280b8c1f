//! From the config to the broker.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::broker::{Broker, Settings, Tls};
use crate::config::Config;

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
    Ok(Some(broker))
}
