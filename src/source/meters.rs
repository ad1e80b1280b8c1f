//! What sources tell the metrics. The only label beside the outcome is the category, of which the config has few.

use std::time::Duration;

use super::breaker::State;
use super::{Error, Fault};

/// A request to a source, all its tries together, came to its end.
pub fn request(category: &str, outcome: &'static str, time: Duration) {
    let category = category.to_owned();
    metrics::counter!("fovea_source_requests_total", "category" => category.clone(), "outcome" => outcome).increment(1);
    metrics::histogram!("fovea_source_open_seconds", "category" => category).record(time.as_secs_f64());
}

/// A try follows one that failed.
pub fn retry(category: &str) {
    metrics::counter!("fovea_source_retries_total", "category" => category.to_owned()).increment(1);
}

/// So many fetches are under way.
pub fn in_flight(category: &str, count: usize) {
    metrics::gauge!("fovea_source_in_flight", "category" => category.to_owned()).set(count as f64);
}

/// The breaker changed: 0 closed, 1 half-open, 2 open.
pub fn breaker(category: &str, state: State) {
    metrics::gauge!("fovea_source_breaker_state", "category" => category.to_owned()).set(f64::from(state as u8));
    if state == State::Open {
        metrics::counter!("fovea_source_breaker_opened_total", "category" => category.to_owned()).increment(1);
    }
}

/// The label for how a request ended.
pub fn outcome<T>(result: &Result<T, Fault>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(Fault::Answer(error) | Fault::Source(error) | Fault::Own(error)) => match error {
            Error::NotFound => "not-found",
            Error::Forbidden(_) => "forbidden",
            Error::TooLarge { .. } => "too-large",
            Error::Loop => "loop",
            Error::Timeout => "timeout",
            Error::Unavailable(_) => "unavailable",
            Error::BreakerOpen { .. } => "breaker-open",
            Error::Busy => "busy",
        },
    }
}
