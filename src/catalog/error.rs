//! Why the catalog did not do as asked.

use std::time::Duration;

/// Why the catalog did not do as asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// It is not there, or is another owner's.
    #[error("there is no such thing in the catalog")]
    NotFound,
    /// The asset's id is taken by another owner.
    #[error("the asset belongs to another owner")]
    Foreign,
    /// Somebody else changed it in between.
    #[error("it was changed in between")]
    Conflict,
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// The queue is at its bound; nothing was written.
    #[error("the queue is full")]
    Full {
        /// When to try again.
        retry_after: Duration,
    },
    /// Not possible in the state that it is in.
    #[error("{0}")]
    State(String),
    /// The database cannot be opened or reached, or takes no writes.
    #[error("the catalog is not available: {0}")]
    Unavailable(String),
    /// A row cannot be read: a defect, or another program wrote it.
    #[error("the catalog holds what cannot be read: {0}")]
    Corrupt(String),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::RowNotFound => Self::NotFound,
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Self::Corrupt(error.to_string()),
            other => Self::Unavailable(other.to_string()),
        }
    }
}
