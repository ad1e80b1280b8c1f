//! What sources tell the metrics. The only label beside the outcome is the category, of which the config has few.

use std::time::Duration;

use ::metrics::{counter, gauge, histogram};

use super::breaker::State;
use super::{Error, Fault};
use crate::telemetry::names;

/// A request to a source, all its tries together, was answered or not.
pub fn opened<T>(category: &str, result: &Result<T, Fault>, time: Duration) {
    let category = category.to_owned();
    counter!(names::SOURCE_REQUESTS, "category" => category.clone(), "outcome" => outcome(result)).increment(1);
    histogram!(names::SOURCE_OPEN_SECONDS, "category" => category).record(time.as_secs_f64());
}

/// An original was read.
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
fn outcome<T>(result: &Result<T, Fault>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(Fault::Answer(error) | Fault::Source(error) | Fault::Own(error)) => match error {
            Error::NotFound => "not-found",
            Error::TooLarge { .. } => "too-large",
            Error::Timeout => "timeout",
            Error::Unavailable(_) => "unavailable",
            Error::Forbidden(_) => "forbidden",
            Error::Loop => "loop",
            Error::BreakerOpen { .. } => "breaker-open",
            Error::Busy => "busy",
        },
    }
}
