//! What goes wrong with the broker.

use async_nats::jetstream;

/// Why the broker did not do something.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be reached, or did not answer in time. Passes.
    #[error("the broker cannot be reached: {0}")]
    Unavailable(String),
    /// It answered, and refused.
    #[error("the broker refuses: {0}")]
    Refused(String),
    /// The settings cannot be used.
    #[error("the broker's settings: {0}")]
    Settings(String),
}

impl Error {
    /// Whether it is gone when the broker is well again.
    pub const fn passes(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// An error of JetStream's by what it says: refusals have a code of the server's, all else is the way to it.
pub(super) fn judged(error: &(dyn std::error::Error + 'static)) -> Error {
    let mut cause = Some(error);
    while let Some(one) = cause {
        if let Some(said) = one.downcast_ref::<jetstream::Error>() {
            // A cluster without a leader passes; resources that are too few do not.
            return match said.code() {
                503 => Error::Unavailable(said.to_string()),
                _ => Error::Refused(said.to_string()),
            };
        }
        cause = one.source();
    }
    Error::Unavailable(error.to_string())
}
