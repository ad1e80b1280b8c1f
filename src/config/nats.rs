//! The section of the broker. What each key means stands in `config/default.toml`.

use serde::{Deserialize, Serialize};

use super::values::{ByteSize, Secret, ServerUrl, blank};

/// `[nats]`: the broker that the processes of a cluster share.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nats {
    /// Servers, parted by commas; empty is none.
    pub url: ServerUrl,
    /// A user.
    #[serde(with = "blank")]
    pub user: Option<String>,
    /// Its password.
    pub password: Secret,
    /// A token.
    pub token: Secret,
    /// The seed of an nkey.
    pub nkey_seed: Secret,
    /// A file with a JWT and a seed.
    #[serde(with = "blank")]
    pub credentials_file: Option<String>,
    /// Whether a server that speaks no TLS is refused.
    pub tls_required: bool,
    /// A PEM file of authorities.
    #[serde(with = "blank")]
    pub tls_ca_file: Option<String>,
    /// A PEM file.
    #[serde(with = "blank")]
    pub tls_certificate: Option<String>,
    /// A PEM file.
    #[serde(with = "blank")]
    pub tls_key: Option<String>,
    /// What all names begin with.
    pub prefix: String,
    /// Servers that keep a copy of each message.
    pub replicas: usize,
    /// For how long the log of events keeps them.
    pub events_max_age_h: u64,
    /// How large it may be.
    pub events_bytes_max: ByteSize,
    /// One try to connect.
    pub connect_timeout_ms: u64,
    /// One answer.
    pub request_timeout_ms: u64,
}
