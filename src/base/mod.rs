//! The shared vocabulary: formats, geometry, digests, limits, deadlines.
//!
//! Owns no state and does no I/O. Always true: it imports no other room.

pub mod causes;
pub mod circuit;
pub mod deadline;
pub mod digest;
pub mod format;
pub mod geometry;
pub mod idle;
pub mod limits;
pub mod stages;
pub mod url;

pub use causes::in_words;
pub use circuit::{Circuit, CircuitSettings, CircuitState, Went};
pub use deadline::{Deadline, Stopped, Work};
pub use digest::{AssetDigest, Digest, VariantKey};
pub use format::Format;
pub use geometry::{Orientation, Rect, Size};
pub use idle::{Idle, Part};
pub use limits::Limits;
pub use stages::{Stage, Stages};

/// The engine's revision: raised when the same plan gives other bytes. It is metadata of a derivative and not part of its key,
/// so a deploy does not go cold: what an older engine made is served, and made anew behind the answer.
pub const ENGINE: u32 = 7;
