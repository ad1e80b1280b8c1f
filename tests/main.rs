//! The integration tests: one binary, a module a feature, against real servers that they start themselves on loopback.

mod api;
mod buckets;
mod cli;
mod cluster;
mod facts;
mod families;
mod faults;
mod fleet;
mod formats;
mod golden;
mod hostile;
mod http;
mod ingest;
mod jobs;
mod kills;
mod mezzanines;
mod origin;
mod origins;
mod popular;
mod sources;
mod stores;
mod support;
mod trouble;
