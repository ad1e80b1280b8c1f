//! What sources tell the metrics. The only label beside outcome and reason is the category, of which the config has few.

use std::time::Duration;

use ::metrics::{counter, gauge, histogram};

use super::breaker::State;
use super::{Error, Fault};
use crate::telemetry::names;

/// A request to a source, all its tries together, came to its end.
pub fn fetched<T>(category: &str, result: &Result<T, Fault>, time: Duration) {
    let category = category.to_owned();
    match outcome(result) {
        Outcome::Rejected(reason) => {
            counter!(names::SOURCE_REJECTED, "category" => category, "reason" => reason).increment(1);
        }
        Outcome::Asked(outcome) => {
            counter!(names::SOURCE_FETCHES, "category" => category.clone(), "outcome" => outcome).increment(1);
            histogram!(names::SOURCE_FETCH_SECONDS, "category" => category).record(time.as_secs_f64());
        }
    }
}

/// So many bytes of an original arrived.
pub fn read(category: &str, bytes: usize) {
    counter!(names::SOURCE_BYTES, "category" => category.to_owned()).increment(bytes as u64);
}

/// A try follows one that failed.
pub fn retry(category: &str) {
    counter!(names::SOURCE_RETRIES, "category" => category.to_owned()).increment(1);
}

/// So many fetches are under way.
pub fn in_flight(category: &str, count: usize) {
    gauge!(names::SOURCE_IN_FLIGHT, "category" => category.to_owned()).set(count as f64);
}

/// The breaker changed: 0 closed, 1 half-open, 2 open.
pub fn breaker(category: &str, state: State) {
    gauge!(names::SOURCE_BREAKER_STATE, "category" => category.to_owned()).set(f64::from(state as u8));
    if state == State::Open {
        counter!(names::SOURCE_BREAKER_OPENED, "category" => category.to_owned()).increment(1);
    }
}

/// The label of how a request ended.
enum Outcome {
    /// The source was asked.
    Asked(&'static str),
    /// It was not.
    Rejected(&'static str),
}

fn outcome<T>(result: &Result<T, Fault>) -> Outcome {
    match result {
        Ok(_) => Outcome::Asked("ok"),
        Err(Fault::Answer(error) | Fault::Source(error) | Fault::Own(error)) => match error {
            Error::NotFound => Outcome::Asked("not-found"),
            Error::TooLarge { .. } => Outcome::Asked("too-large"),
            Error::Timeout => Outcome::Asked("timeout"),
            Error::Unavailable(_) => Outcome::Asked("unavailable"),
            Error::Forbidden(_) => Outcome::Rejected("address"),
            Error::Loop => Outcome::Rejected("loop"),
            Error::BreakerOpen { .. } => Outcome::Rejected("breaker"),
            Error::Busy => Outcome::Rejected("bulkhead"),
        },
    }
}
