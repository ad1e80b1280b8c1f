//! Who asks: API keys, what they may do, and whose they are.
//!
//! Enters: an `Authorization` header. Leaves: a [`Principal`], or why there is none.
//!
//! Always true: no secret is kept; a key is known by the digest of its secret, compared in constant time.

mod keys;
mod principal;
mod token;

pub use keys::{Created, Error, Keys, NewKey};
pub use principal::{Principal, ROOT, Role};
