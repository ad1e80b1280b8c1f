//! Fovea, an on-demand image CDN origin. This is the map of the rooms, in the order in which data flows;
//! each room's `mod.rs` says what it owns, what enters and leaves, and one thing that is always true of it.
//! Who may import whom is a table in `tests/tidy.rs`, and in ARCHITECTURE.md with the walk of a request.

pub mod app;
pub mod auth;
pub mod base;
pub mod broker;
pub mod cache;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod decode;
pub mod encode;
pub mod events;
pub mod http;
pub mod ingest;
pub mod inspect;
pub mod net;
pub mod object;
pub mod pixels;
pub mod plan;
pub mod popularity;
pub mod queue;
pub mod render;
pub mod serve;
pub mod source;
pub mod telemetry;
pub mod transform;
pub mod worker;
