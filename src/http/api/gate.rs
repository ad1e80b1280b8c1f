//! What every request but those for health and metrics passes first: its address's allowance, its key, its key's allowance.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Request};

use crate::auth::Keys;
use crate::http::limit::Limit;
use crate::http::problem::{Problem, Refusal};
use crate::http::settings::Rate;

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
/// After so many requests the keys that have rested are forgotten.
const FORGET_EVERY: u32 = 4096;

/// How often a key and an address may ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rates {
    /// Requests of one key.
    pub key: Option<Rate>,
    /// Requests of one address, whatever it shows.
    pub address: Option<Rate>,
}

type KeyLimiter = RateLimiter<Arc<str>, DefaultKeyedStateStore<Arc<str>>, DefaultClock, StateInformationMiddleware>;

/// The allowance of each key.
struct KeyLimit {
    limiter: KeyLimiter,
    clock: DefaultClock,
    burst: NonZeroU32,
    per_second: NonZeroU32,
    asked: AtomicU32,
}

/// What a key has left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Said {
    limit: u32,
    remaining: u32,
    reset_s: u64,
}

impl Said {
    /// Sets `RateLimit-Limit`, `-Remaining` and `-Reset` (seconds until the allowance is whole again).
    pub fn headers(self, headers: &mut HeaderMap) {
        headers.insert(LIMIT, HeaderValue::from(self.limit));
        headers.insert(REMAINING, HeaderValue::from(self.remaining));
        headers.insert(RESET, HeaderValue::from(self.reset_s));
    }
}

/// Why a request does not pass, and what its key has left.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub problem: Problem,
    /// What is left, where the key holds.
    pub said: Option<Said>,
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self { problem, said: None }
    }
}

/// The gate.
pub struct Gate {
    keys: Option<KeyLimit>,
    addresses: Option<Limit>,
}

impl Gate {
    /// Full allowances.
    pub fn new(rates: &Rates) -> Self {
        let keys = rates.key.map(|rate| KeyLimit {
            limiter: RateLimiter::keyed(Quota::per_second(rate.per_second).allow_burst(rate.burst))
                .with_middleware::<StateInformationMiddleware>(),
            clock: DefaultClock::default(),
            burst: rate.burst,
            per_second: rate.per_second,
            asked: AtomicU32::new(0),
        });
        Self { keys, addresses: rates.address.as_ref().map(Limit::new) }
    }

    /// Lets a request pass, with who asks in its extensions; or says why not. Health and metrics pass as they are.
    pub async fn pass(
        &self,
        keys: &Keys,
        address: IpAddr,
        request: &mut Request<Body>,
    ) -> Result<Option<Said>, Refused> {
        let path = request.uri().path();
        if is_open(path) {
            return Ok(None);
        }
        if let Some(Err(wait)) = self.addresses.as_ref().map(|limit| limit.take(address)) {
            return Err(Problem::from(Refusal::TooOften).with_retry_after(wait).into());
        }
        let shown = request.headers().get(AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
        let bearer = shown.filter(|_| is_page(path)).and_then(key_of_page);
        let principal = keys.who(bearer.as_deref().or(shown)).await.map_err(|error| Problem::from(&error))?;
        let said = self.keys.as_ref().map(|limit| limit.take(&principal.key)).transpose();
        let said = said.map_err(|(wait, said)| Refused {
            problem: Problem::from(Refusal::TooOften).with_retry_after(wait),
            said: Some(said),
        })?;
        request.extensions_mut().insert(principal);
        Ok(said)
    }
}

/// Whether a path answers to anybody.
fn is_open(path: &str) -> bool {
    path == "/metrics" || path == "/health" || path.starts_with("/health/")
}

/// Whether a path is one that people open in a browser. A browser shows no `Bearer`, but asks for name and password: there the key
/// may be the password. Nowhere else, since a browser shows those to whoever makes it ask.
pub fn is_page(path: &str) -> bool {
    matches!(path, "/" | "/docs" | "/openapi.json")
}

/// The key that a browser shows as the password, as a client of the API would show it.
fn key_of_page(shown: &str) -> Option<String> {
    let (scheme, text) = shown.split_once(' ')?;
    let said = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(text.trim()).ok())??;
    let (_, key) = std::str::from_utf8(&said).ok()?.split_once(':')?;
    Some(format!("Bearer {key}"))
}

impl KeyLimit {
    fn take(&self, key: &Arc<str>) -> Result<Said, (Duration, Said)> {
        if self.asked.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            self.limiter.retain_recent();
        }
        let limit = self.burst.get();
        let said = |remaining: u32| {
            let reset_s = u64::from(limit.saturating_sub(remaining).div_ceil(self.per_second.get()));
            Said { limit, remaining, reset_s }
        };
        match self.limiter.check_key(key) {
            Ok(left) => Ok(said(left.remaining_burst_capacity())),
            Err(until) => Err((until.wait_time_from(self.clock.now()), said(0))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_shows_the_key_as_the_password() {
        let shown = |text: &str| key_of_page(&format!("Basic {}", STANDARD.encode(text)));
        assert_eq!(shown("anybody:fovea_a_b:c").as_deref(), Some("Bearer fovea_a_b:c"));
        assert_eq!((shown("no colon"), key_of_page("Basic !"), key_of_page("Bearer x")), (None, None, None));
        assert!(is_page("/docs") && !is_page("/v1/assets") && is_open("/health/ready") && !is_open("/healthy"));
    }

    #[test]
    fn each_key_has_its_own_allowance() {
        let two = NonZeroU32::new(2).unwrap();
        let rate = Rate { per_second: NonZeroU32::MIN, burst: two, addresses_max: 10 };
        let gate = Gate::new(&Rates { key: Some(rate), address: None });
        let limit = gate.keys.as_ref().unwrap();
        let (one, other): (Arc<str>, Arc<str>) = ("one".into(), "other".into());
        assert_eq!(limit.take(&one), Ok(Said { limit: 2, remaining: 1, reset_s: 1 }));
        assert_eq!(limit.take(&one), Ok(Said { limit: 2, remaining: 0, reset_s: 2 }));
        let (wait, said) = limit.take(&one).unwrap_err();
        assert!(wait <= Duration::from_secs(1));
        assert_eq!(said, Said { limit: 2, remaining: 0, reset_s: 2 });
        assert!(limit.take(&other).is_ok());
    }
}
