//! The composition root: builds every part once from the config, and runs them.
//!
//! Always true: nothing else knows whether originals and derivatives lie in a folder, in a bucket or behind HTTP.

mod broker;
mod ingest;
mod origin;
mod serve;
mod work;

pub use broker::broker;
pub use origin::{look, origin, urls};
pub use serve::{Role, serve};
pub use work::{board, catalog, migrate, move_catalog, priorities, queue, replay, work, workers};
