//! The listeners: HTTP/1.1 and h2, image requests, the API, headers, problems, limits, the access log.
//!
//! Enters: connections. Leaves: responses, made of what `serve` answers. Nothing here knows how a picture is made.
//!
//! Always true: only `problem.rs` maps an error to a status, and its match has no wildcard.

pub mod api;
mod block;
mod client;
mod conditional;
mod front;
mod head;
mod headers;
mod hit;
mod image;
mod lane;
mod latest;
mod limit;
pub mod log;
mod meters;
mod page;
pub mod problem;
mod respond;
mod sealed;
pub mod server;
pub mod settings;
pub mod tls;
mod watch;

pub use api::{Api, ApiSettings, Face, Probe, Probes, Rates, Recent, Routes};
pub use image::Images;
pub use log::Log;
pub use problem::Problem;
pub use server::{Handler, Peer, Reply, Running, Server};
pub use settings::{
    AccessForm, AccessLog, AccessTarget, AddressHeader, Demo, Listener, ListenerLimits, Rate, Sample, Settings,
};
pub use tls::Certificates;
