//! The API listener: health, metrics, purge; uploads, assets, jobs, events, galleries, keys. Never on the public side of a CDN.
//!
//! Always true: but for health and metrics nothing is answered to whom shows no key that holds, and nobody sees another owner's
//! things.

mod asset;
mod assets;
mod begun;
mod docs;
mod downloads;
mod events;
mod extract;
mod galleries;
mod gate;
mod health;
mod jobs;
mod keys;
mod links;
mod notifications;
mod popularity;
mod purge;
mod queue;
mod recent;
mod rest;
mod transforms;
mod uploads;
mod wire;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Version};
use hyper::body::Incoming;
use ipnet::IpNet;
use tower_service::Service as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use gate::Rates;
pub use health::{Probe, Probes};
pub use links::Face;
pub use recent::Recent;

use super::client::{self, request_id};
use super::headers::REQUEST_ID;
use super::problem::{Problem, Refusal};
use super::respond::report;
use super::server::{Handler, Peer, Reply};
use super::settings::AddressHeader;
use crate::auth::Keys;
use crate::catalog::Catalog;
use crate::ingest::Ingest;
use crate::queue::{Board, Queue};
use crate::serve::Origin;

/// How long an API request may take whose body is short; a purge of a category lists a store. Uploads keep their own time.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Longer than any upload may take by its own bounds.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(2 * 3600);

/// What the API speaks for.
#[derive(Clone)]
pub struct Api {
    /// The origin.
    pub origin: Arc<Origin>,
    /// Who may.
    pub keys: Arc<Keys>,
    /// What is recorded.
    pub catalog: Catalog,
    /// What is to be done.
    pub queue: Arc<dyn Queue>,
    /// How the workers of this process fare.
    pub board: Arc<Board>,
    /// Takes originals in.
    pub ingest: Arc<Ingest>,
    /// Jobs that were looked at a moment ago.
    pub recent: Arc<Recent>,
    /// How the process is.
    pub probe: Probe,
    /// What it is told.
    pub settings: ApiSettings,
}

/// What the API is told.
#[derive(Clone, Debug)]
pub struct ApiSettings {
    /// How the categories look from outside.
    pub faces: HashMap<String, Face>,
    /// Bucket and prefix of the store of originals, where it is a bucket.
    pub bucket: Option<(String, String)>,
    /// Jobs that may wait; above it none is taken.
    pub queue_max: u64,
    /// After which time a request counts half in what is popular.
    pub half_life: Duration,
    /// How often a key and an address may ask.
    pub rates: Rates,
    /// Proxies whose word about the client's address is taken.
    pub trusted_proxies: Vec<IpNet>,
    /// Most bytes of a purge's body.
    pub body_bytes_max: usize,
}

/// Answers the requests of the API listener.
pub struct Routes {
    router: Router,
    api: Arc<Api>,
    gate: gate::Gate,
}

impl Routes {
    /// The routes over what the API speaks for.
    pub fn new(api: Api) -> Self {
        let api = Arc::new(api);
        let (router, description) = described().split_for_parts();
        let router = router
            .merge(health::routes(api.probe.clone()))
            .merge(docs::routes(description))
            .fallback(|| async { Problem::from(Refusal::NoRoute) })
            .method_not_allowed_fallback(|| async { Problem::from(Refusal::Method) })
            .with_state(api.clone());
        let gate = gate::Gate::new(&api.settings.rates);
        Self { router, api, gate }
    }
}

/// The routes that `/openapi.json` describes.
fn described() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::with_openapi(docs::description())
        .routes(routes!(assets::list))
        .routes(routes!(assets::fetch))
        .routes(routes!(assets::post))
        .routes(routes!(assets::put, asset::get, assets::delete))
        .routes(routes!(uploads::create))
        .routes(routes!(uploads::complete))
        .routes(routes!(notifications::s3))
        .routes(routes!(downloads::create))
        .routes(routes!(jobs::list, transforms::create))
        .routes(routes!(transforms::resize))
        .routes(routes!(transforms::crop))
        .routes(routes!(transforms::reprocess))
        .routes(routes!(transforms::pyramid))
        .routes(routes!(jobs::get))
        .routes(routes!(jobs::cancel))
        .routes(routes!(jobs::retry))
        .routes(routes!(events::follow))
        .routes(routes!(galleries::list, galleries::create))
        .routes(routes!(galleries::get, galleries::change, galleries::delete))
        .routes(routes!(galleries::add, galleries::order, galleries::remove))
        .routes(routes!(galleries::downloads))
        .routes(routes!(queue::depth))
        .routes(routes!(queue::clear))
        .routes(routes!(queue::statistics))
        .routes(routes!(queue::letters))
        .routes(routes!(queue::letter, queue::discard))
        .routes(routes!(queue::requeue))
        .routes(routes!(popularity::popularity))
        .routes(routes!(keys::list, keys::create))
        .routes(routes!(keys::revoke))
        .routes(routes!(keys::rotate))
        .routes(routes!(purge::purge))
}

impl Handler for Routes {
    type Body = Body;

    fn handle(self: &Arc<Self>, peer: &Peer, request: Request<Incoming>) -> Reply<Body> {
        let this = self.clone();
        let proxies = &this.api.settings.trusted_proxies;
        let lines = |name: &HeaderName| client::lines(request.headers(), name);
        let address = client::address(lines, peer.address, proxies, AddressHeader::XForwardedFor);
        Reply::Later(Box::pin(async move {
            let id = request_id(request.headers());
            let time = if is_upload(&request) { UPLOAD_TIMEOUT } else { TIMEOUT };
            let old = request.version() < Version::HTTP_2;
            let page = gate::is_page(request.uri().path());
            let (head, body) = request.into_parts();
            let (body, rest) = rest::shared(body);
            let answer = async {
                let mut request = Request::from_parts(head, Body::new(body));
                let (said, mut response) = match this.gate.pass(&this.api.keys, address, &mut request).await {
                    Ok(said) => match this.router.clone().call(request).await {
                        Ok(response) => (said, response),
                        Err(never) => match never {},
                    },
                    Err(refused) => (refused.said, refused.problem.into_response()),
                };
                if let Some(said) = said {
                    said.headers(response.headers_mut());
                }
                response
            };
            let mut response = match tokio::time::timeout(time, answer).await {
                Ok(response) => response,
                Err(_) => Problem::from(Refusal::Timeout).into_response(),
            };
            if let Some(problem) = response.extensions_mut().remove::<Problem>() {
                refuse(&problem, &id, page, &mut response);
            }
            if !rest.drained().await && old {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            let headers = response.headers_mut();
            headers.entry(REQUEST_ID).or_insert(id);
            headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            response
        }))
    }
}

/// A problem travels to the outside as itself: the request's id is known there.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::default();
        *response.status_mut() = self.status;
        response.extensions_mut().insert(self);
        response
    }
}

/// The response of a listener that has no requests' ids.
fn shown(mut response: Response) -> Response {
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        refuse(&problem, &request_id(response.headers()), false, &mut response);
    }
    let headers = response.headers_mut();
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Writes a problem into the response that brought it. Of a page a browser learns that it may ask for the key.
fn refuse(problem: &Problem, id: &HeaderValue, page: bool, response: &mut Response) {
    let text = id.to_str().unwrap_or_default();
    report(problem, text, &problem.detail);
    *response.status_mut() = problem.status;
    *response.body_mut() = Body::from(problem.body(text));
    let headers = response.headers_mut();
    // That of the empty body that the problem travelled with.
    headers.remove(CONTENT_LENGTH);
    problem.headers(headers);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if problem.status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"fovea\""));
        if page {
            headers
                .append(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"a key of Fovea as the password\""));
        }
    }
}

/// Whether a request brings an original, which may take its time.
fn is_upload(request: &Request<Incoming>) -> bool {
    let path = request.uri().path();
    *request.method() != Method::GET && (path.starts_with("/v1/assets") || path.starts_with("/v1/uploads"))
}
