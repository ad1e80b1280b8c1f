//! Whose fault a failure is: the image's, for ever; a dependency's, for now; or nobody's, and the job just waits.

use std::time::Duration;

use crate::queue::{Dependency, Failure};
use crate::{catalog, decode, object, render, serve, source, transform};

/// The pause of what waits for a store or the catalog to be back.
const AGAIN: Duration = Duration::from_secs(5);

/// What a failure means for a job.
#[derive(Clone, PartialEq, Debug)]
pub enum Verdict {
    /// The try failed.
    Failed(Failure, Option<Dependency>),
    /// It waits, and the try does not count.
    Wait(Duration),
}

impl Verdict {
    /// A failure that another try would not change.
    pub fn lasting(code: &str, error: impl ToString) -> Self {
        Self::Failed(Failure { code: code.to_owned(), error: error.to_string(), passing: false }, None)
    }

    /// The same for what has been promised and must come to its end: while what it depends on is away it waits, and no try counts.
    pub fn patient(self) -> Self {
        match self {
            Self::Failed(Failure { passing: true, .. }, Some(_)) => Self::Wait(AGAIN),
            other => other,
        }
    }

    /// A failure that may pass.
    pub fn passing(code: &str, error: impl ToString, to_blame: Option<Dependency>) -> Self {
        Self::Failed(Failure { code: code.to_owned(), error: error.to_string(), passing: true }, to_blame)
    }
}

/// What a failure of `serve` means.
pub fn of_serve(error: &serve::Error, category: &str) -> Verdict {
    let source = || Some(Dependency::Source(category.to_owned()));
    match error {
        serve::Error::NoCategory(_) => Verdict::lasting("unknown-category", error),
        serve::Error::Plan(_) => Verdict::lasting("bad-variant", error),
        serve::Error::NoVersion => Verdict::lasting("no-such-version", error),
        serve::Error::Source(inner) => match inner {
            source::Error::NotFound => Verdict::lasting("original-missing", error),
            source::Error::Forbidden(_) => Verdict::lasting("source-forbidden", error),
            source::Error::TooLarge { .. } => Verdict::lasting("source-too-large", error),
            source::Error::Loop => Verdict::lasting("loop", error),
            source::Error::Timeout => Verdict::passing("source-timeout", error, source()),
            source::Error::Unavailable(_) => Verdict::passing("source-unavailable", error, source()),
            source::Error::BreakerOpen { retry_after } => Verdict::Wait(*retry_after),
            source::Error::Busy => Verdict::Wait(Duration::from_secs(1)),
        },
        serve::Error::Decode(inner) => match &**inner {
            decode::Error::Unsupported | decode::Error::UnsupportedKind { .. } => {
                Verdict::lasting("unsupported-format", error)
            }
            decode::Error::Broken { .. } => Verdict::lasting("broken-image", error),
            decode::Error::TooLarge(_) => Verdict::lasting("image-too-large", error),
            decode::Error::Stopped(_) => Verdict::passing("timeout", error, None),
        },
        serve::Error::Transform(inner) => match &**inner {
            transform::Error::Stopped(_) => Verdict::passing("timeout", error, None),
            _ => Verdict::lasting("bad-variant", error),
        },
        serve::Error::Encode(_) => Verdict::lasting("encoder-failed", error),
        serve::Error::Render(inner) => match inner {
            render::Refused::TooLarge { .. } => Verdict::lasting("work-too-large", error),
            render::Refused::Overloaded { retry_after } => Verdict::Wait(*retry_after),
            render::Refused::Deadline => Verdict::passing("timeout", error, None),
            render::Refused::Cancelled => Verdict::passing("cancelled", error, None),
            render::Refused::Panicked => Verdict::passing("defect", error, None),
        },
        serve::Error::Catalog(inner) => of_catalog(inner.clone()),
        serve::Error::RateLimited { retry_after } => Verdict::Wait(*retry_after),
        serve::Error::Store(_) => Verdict::passing("store-unavailable", error, Some(Dependency::Store)),
        serve::Error::Internal(_) => Verdict::passing("defect", error, None),
    }
}

/// What a failure of the catalog means.
pub fn of_catalog(error: catalog::Error) -> Verdict {
    match error {
        catalog::Error::NotFound => Verdict::lasting("gone", "what the job is about is not there any more"),
        // The lease is lost; whoever has it ends the job.
        catalog::Error::Conflict => Verdict::Wait(Duration::ZERO),
        catalog::Error::Full { retry_after } => Verdict::Wait(retry_after),
        catalog::Error::Unavailable(_) => Verdict::passing("catalog-unavailable", error, Some(Dependency::Catalog)),
        other => Verdict::lasting("catalog-refused", other),
    }
}

/// What a failure of a store means.
pub fn of_store(error: &object::Error) -> Verdict {
    match error {
        object::Error::NotFound => Verdict::lasting("original-missing", error),
        object::Error::TooLarge { .. } | object::Error::Key(_) | object::Error::Location(_) => {
            Verdict::lasting("store-refused", error)
        }
        object::Error::Denied(_) | object::Error::Timeout(_) | object::Error::Unavailable(_) => {
            Verdict::passing("store-unavailable", error, Some(Dependency::Store))
        }
    }
}
