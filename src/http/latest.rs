//! `v0` of an uploaded original: 302 to the version that is current, for as long as the category says.

use std::sync::Arc;

use http::header::{CACHE_CONTROL, LOCATION};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::headers::{self, Looked};
use super::image::{Body, HEADERS, Images};
use super::problem::{Problem, Refusal};
use super::respond::{Exchange, NOWHERE};
use super::server::Reply;
use crate::plan::Request;
use crate::serve::Error;

impl Images {
    /// The answer to `v0` of an uploaded original.
    pub(super) fn latest(self: &Arc<Self>, exchange: Exchange, request: Request, looked: Looked) -> Reply<Body> {
        let this = self.clone();
        Reply::Later(Box::pin(async move {
            let (origin, category, id) = (this.origin().clone(), request.category.clone(), request.id.clone());
            // On the runtime of misses: the listener's threads only serve.
            let asked = this.runtime().spawn(async move { origin.current(&category, &id).await });
            match asked.await.unwrap_or_else(|ended| Err(Error::Internal(ended.to_string().into()))) {
                Ok(version) => this.current(&exchange, &request, looked, &version.text()),
                Err(error) => {
                    let Some(policy) = this.origin().policy(&request.category) else {
                        return this.problem(&exchange, &Problem::from(&error), HeaderMap::new(), &error);
                    };
                    this.failure(&exchange, &request, policy, looked, &error)
                }
            }
        }))
    }

    fn current(&self, exchange: &Exchange, request: &Request, looked: Looked, version: &str) -> Response<Body> {
        let Some(policy) = self.origin().policy(&request.category) else {
            let error = Error::NoCategory(request.category.to_string());
            return self.problem(exchange, &Problem::from(&error), HeaderMap::new(), &error);
        };
        let mut map = HeaderMap::with_capacity(HEADERS);
        headers::of_category(&mut map, policy, looked, &exchange.head.headers);
        let target = match self.target(request, version) {
            Ok(target) => target,
            Err(problem) => return self.problem(exchange, &problem, map, &"the current version's URL cannot be made"),
        };
        let mut age = policy.latest_max_age.as_secs();
        if let Some(signed) = request.signed.as_ref().filter(|signed| signed.expiry != 0) {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            age = age.min(signed.expiry.saturating_sub(now.map_or(0, |since| since.as_secs())));
        }
        headers::common(&mut map, &exchange.id);
        headers::tags(&mut map, request);
        map.insert(LOCATION, target);
        let age = HeaderValue::try_from(format!("public, max-age={age}"));
        map.insert(CACHE_CONTROL, age.expect("a number is a legal header value"));
        let mut response = Response::new(Body::default());
        *response.status_mut() = StatusCode::FOUND;
        *response.headers_mut() = map;
        self.close(exchange, response, NOWHERE)
    }

    /// The same URL with the version in it: signed anew, as long as the old one held, where it was signed.
    fn target(&self, request: &Request, version: &str) -> Result<HeaderValue, Problem> {
        let refused = || Problem::from(Refusal::Header);
        let (rest, variant) = request.canonical.rsplit_once('/').ok_or_else(refused)?;
        let (asset, _) = rest.rsplit_once('/').ok_or_else(refused)?;
        let path = format!("{asset}/{version}/{variant}");
        let path = match &request.signed {
            None => path,
            Some(signed) => {
                let sign = self.origin().urls().sign(&signed.kid, signed.expiry, &path);
                sign.map_err(|error| Problem::from(&error))?
            }
        };
        HeaderValue::try_from(path).map_err(|_| refused())
    }
}
