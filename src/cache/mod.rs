//! What is kept so that it need not be made again: memory, the derivative store, one flight a key, and purges.
//!
//! Enters and leaves: [`Entry`]s by [`VariantKey`](crate::base::VariantKey).
//!
//! Always true: a write to the store never delays or fails an answer, and nothing made before a purge is answered after it.

pub mod derivatives;
pub mod entry;
pub mod flights;
pub mod memory;
pub mod purges;

pub use derivatives::Derivatives;
pub use entry::{Entry, Tags};
pub use flights::{Flights, Role};
pub use memory::Memory;
pub use purges::Purges;
