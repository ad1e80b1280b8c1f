//! The one guarded HTTP client: originals come through it, and later webhooks and purges.
//!
//! Enters: a URL that somebody may have had a say in. Leaves: an answer whose head has arrived, with a bounded body.
//!
//! Always true: every address is checked at connect time, on every hop ([`guard`]); redirects are followed here, never from
//! https to http, never to a host that is not allowed; no proxy, no cookie, and no credential leaves for another host.

mod body;
mod client;
mod dial;
pub mod guard;
pub mod hosts;
mod tls;

pub use body::Body;
pub use client::{Client, Response, Settings};
pub use guard::Guard;
pub use hosts::Hosts;

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// The address, scheme, host or redirect is not allowed.
    #[error("not allowed: {0}")]
    Forbidden(String),
    /// It is no URL that could be fetched.
    #[error("no usable URL: {0}")]
    Url(String),
    /// Nothing came in time.
    #[error("timed out {0}")]
    Timeout(&'static str),
    /// No connection, or none that is safe.
    #[error("no connection: {0}")]
    Connect(String),
    /// The other side broke off, or speaks no HTTP.
    #[error("the exchange failed: {0}")]
    Exchange(String),
    /// The body is longer than the limit.
    #[error("the body is longer than {bytes_max} bytes")]
    TooLarge {
        /// The limit.
        bytes_max: u64,
    },
    /// A setting is wrong; said at start.
    #[error("a setting of the HTTP client is wrong: {0}")]
    Settings(String),
}
