//! What the listeners may be told; built by `config`, with defaults that are safe on the open Internet.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::tls::Certificates;
use crate::popularity::Popularity;

/// One listener: where, how many, how long.
#[derive(Clone)]
pub struct Listener {
    /// Its name in logs and metrics: `image` or `api`.
    pub name: &'static str,
    /// Where to listen; port 0 takes a free one.
    pub addresses: Vec<SocketAddr>,
    /// TLS, where the listener speaks it; plain HTTP otherwise.
    pub tls: Option<Arc<Certificates>>,
    /// Threads of its own, each with its own event loop and socket (`SO_REUSEPORT`), so that the kernel spreads connections
    /// and no lock or queue is shared between cores. None: on the runtime that starts the listener.
    pub threads: Option<NonZeroUsize>,
    /// Whether another process may listen on the same address (for a start of the new one before the end of the old).
    pub reuse_port: bool,
    /// Bounds on a connection.
    pub limits: ListenerLimits,
}

impl Listener {
    /// A listener with default limits.
    pub fn new(name: &'static str, addresses: Vec<SocketAddr>) -> Self {
        Self { name, addresses, tls: None, threads: None, reuse_port: false, limits: ListenerLimits::default() }
    }
}

/// Bounds on connections and what comes over them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Most connections at once; one above it is answered 503 and closed.
    pub connections_max: usize,
    /// Most bytes of a request's head.
    pub head_bytes_max: usize,
    /// Most header fields of a request.
    pub headers_max: usize,
    /// Most bytes of a request's body that are read (the image listener takes none).
    pub body_bytes_max: u64,
    /// Most requests under way on one h2 connection.
    pub streams_max: u32,
    /// How long a head, or a TLS handshake, may take from its first byte (and a new connection's from the accept).
    pub head_timeout: Duration,
    /// How long a connection may stay open between requests.
    pub idle_timeout: Duration,
    /// How long a client may take nothing (or less than [`Self::stall_bytes_min`]) of what it asked for.
    pub stall_timeout: Duration,
    /// How many bytes a slow client must take in each [`Self::stall_timeout`].
    pub stall_bytes_min: u64,
    /// How long requests under way may go on after a shutdown began.
    pub drain_timeout: Duration,
    /// Most bytes that are read at once from a connection of HTTP/1. More make long bodies cheap: each read is a call, a wake-up and
    /// a piece. A head is bounded by `head_bytes_max` all the same.
    pub read_bytes_max: usize,
    /// Whether responses go on for as long as there is something to tell: what is written then counts as use.
    pub streams: bool,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            head_bytes_max: 16 << 10,
            headers_max: 100,
            body_bytes_max: 64 << 10,
            streams_max: 128,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            stall_timeout: Duration::from_secs(20),
            stall_bytes_min: 16 << 10,
            drain_timeout: Duration::from_secs(25),
            read_bytes_max: 16 << 10,
            streams: false,
        }
    }
}

/// How the image listener answers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a request may take until its answer is ready.
    pub request_timeout: Duration,
    /// Proxies whose word about the client's address is taken.
    pub trusted_proxies: Vec<IpNet>,
    /// The header in which they say it.
    pub address_header: AddressHeader,
    /// New variants that one address may ask for; none is no limit.
    pub rate: Option<Rate>,
    /// Where access lines go.
    pub access_log: AccessLog,
    /// The start page, where it is shown.
    pub demo: Option<Demo>,
    /// What counts what is asked for.
    pub popularity: Option<Arc<Popularity>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(30),
            trusted_proxies: Vec::new(),
            address_header: AddressHeader::XForwardedFor,
            rate: Some(Rate::default()),
            access_log: AccessLog::default(),
            demo: None,
            popularity: None,
        }
    }
}

/// The header that names the client before a trusted proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AddressHeader {
    /// `X-Forwarded-For`: addresses, each hop appends.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// How many new variants one address (an IPv6 /64 counts as one) may ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// A second, sustained.
    pub per_second: NonZeroU32,
    /// At once, after a rest.
    pub burst: NonZeroU32,
    /// Most addresses remembered; further ones share one allowance.
    pub addresses_max: usize,
}

impl Default for Rate {
    fn default() -> Self {
        let (per_second, burst) = (NonZeroU32::MIN.saturating_add(49), NonZeroU32::MIN.saturating_add(399));
        Self { per_second, burst, addresses_max: 100_000 }
    }
}

/// The access log.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct AccessLog {
    /// Where lines go; none is nowhere.
    pub target: Option<AccessTarget>,
    /// How they look.
    pub form: AccessForm,
}

/// Where access lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessTarget {
    /// Standard output.
    Stdout,
    /// A file, appended to; opened again after [`super::log::Log::reopen`], for rotation.
    File(PathBuf),
}

/// How access lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AccessForm {
    /// One JSON object a line.
    #[default]
    Json,
    /// The combined format of other servers, followed by phase, milliseconds and request id.
    Text,
}

/// The start page.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Demo {
    /// The pictures shown, in order.
    pub samples: Vec<Sample>,
}

/// One picture of the start page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// `category/id`.
    pub asset: String,
    /// What it shows, for people who see it and those who do not.
    pub title: String,
    /// Whose it is.
    pub credit: String,
}
