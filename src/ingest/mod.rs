//! The way of an upload: its body to a spool while it is hashed, a look at its header, the original into the store, and the
//! record with its job in one transaction.
//!
//! Enters: a stream of bytes of unknown worth, and what is said of them. Leaves: [`Taken`], when store and catalog hold it.
//!
//! Always true: the catalog names no original that the store does not hold, and nothing is acknowledged that a crash could
//! lose; what a failure leaves is at most an object that nobody names, which clean-up takes.

mod accept;
mod error;
mod facts;
mod fetch;
mod naming;
pub mod notifications;
mod spool;
mod upload;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

pub use accept::{Order, Taken};
pub use error::Error;
pub use facts::Facts;
pub use naming::file_name;
pub use spool::{Spool, Spooled};
pub use upload::{Offer, Reserved};

use crate::base::Limits;
use crate::catalog::Catalog;
use crate::net;
use crate::object::ObjectStore;
use crate::queue::{self, Priorities, Priority};

/// What ingest needs of a category.
#[derive(Clone, Debug)]
pub struct Category {
    /// Bounds on originals.
    pub limits: Limits,
    /// The client that fetches from URLs, guarded as the category's sources are.
    pub client: Option<net::Client>,
}

/// What ingest is built of.
#[derive(Debug)]
pub struct Parts {
    /// Where assets, versions and jobs are recorded.
    pub catalog: Catalog,
    /// Where originals are kept; none takes none.
    pub store: Option<Arc<dyn ObjectStore>>,
    /// Where bodies lie while they come in.
    pub spool: Spool,
    /// The categories that take uploads.
    pub categories: HashMap<String, Category>,
    /// Which priority an upload's job has.
    pub priorities: Priorities,
    /// Jobs that may wait; above it nothing is accepted.
    pub queue_max: u64,
    /// How long a pre-signed upload may take.
    pub offer_valid: Duration,
    /// How long an upload may pause, and take together.
    pub patience: Patience,
}

/// How long a body may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// Between two pieces of it.
    pub idle: Duration,
    /// From the first to the last.
    pub total: Duration,
}

/// Takes originals in. One a process.
#[derive(Debug)]
pub struct Ingest {
    parts: Parts,
}

impl Ingest {
    /// Of its parts.
    pub fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self { parts })
    }

    /// Whether a category takes uploads.
    pub fn takes(&self, category: &str) -> bool {
        self.parts.categories.contains_key(category)
    }

    /// The categories that take uploads.
    pub fn categories(&self) -> impl Iterator<Item = &str> {
        self.parts.categories.keys().map(String::as_str)
    }

    /// Where originals are kept.
    ///
    /// # Errors
    /// [`Error::NoStore`] where no place is configured.
    pub fn store(&self) -> Result<&Arc<dyn ObjectStore>, Error> {
        self.parts.store.as_ref().ok_or(Error::NoStore)
    }

    /// Most bytes of an upload into a category.
    ///
    /// # Errors
    /// [`Error::NoCategory`] where it takes none.
    pub fn bytes_max(&self, category: &str) -> Result<u64, Error> {
        Ok(self.category(category)?.limits.source_bytes_max)
    }

    /// Fails when the queue has no room for another job: asked before a body is read.
    pub async fn room(&self) -> Result<(), Error> {
        Ok(self.parts.catalog.room(self.parts.queue_max).await?)
    }

    /// How urgent a job is.
    pub fn priority(&self, asked: Option<Priority>, facts: &queue::Facts) -> Priority {
        self.parts.priorities.of(asked, facts)
    }

    fn category(&self, name: &str) -> Result<&Category, Error> {
        self.parts.categories.get(name).ok_or_else(|| Error::NoCategory(name.to_owned()))
    }
}
