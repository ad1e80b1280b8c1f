//! The API's own description: `/openapi.json`, and a page to browse it, `/docs`, that needs nothing from elsewhere. Both
//! take a key, as everything does; in a browser it is the password.

use std::sync::Arc;

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use sha2::{Digest as _, Sha256};
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};

use super::Api;

const STYLE: &str = include_str!("docs.css");
const SCRIPT: &str = include_str!("docs.js");

/// What the description says of the whole.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Fovea",
        description = "Uploads, assets, jobs, events, galleries and keys of a Fovea image CDN origin. Everything but health and metrics takes \
                       `Authorization: Bearer <key>`; errors are problem documents (RFC 9457) with a stable `code`.",
    ),
    tags(
        (name = "assets", description = "originals: put in, listed, told of, deleted, downloaded"),
        (name = "uploads", description = "originals that bypass the API, by way of the bucket"),
        (name = "jobs", description = "work on assets: variants on demand, how far each job is"),
        (name = "events", description = "what happens, as it happens"),
        (name = "galleries", description = "named, ordered collections of assets"),
        (name = "queue", description = "how deep and how fast, what died, what is asked for"),
        (name = "keys", description = "who may"),
        (name = "purge", description = "forget what was made"),
    )
)]
struct Description;

/// The description before any route is in it.
pub fn description() -> utoipa::openapi::OpenApi {
    let mut description = Description::openapi();
    env!("CARGO_PKG_VERSION").clone_into(&mut description.info.version);
    let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let components = description.components.get_or_insert_default();
    components.add_security_scheme("key", scheme);
    description.security = Some(vec![SecurityRequirement::new("key", Vec::<String>::new())]);
    description
}

/// The routes of a whole description.
pub fn routes(description: utoipa::openapi::OpenApi) -> Router<Arc<Api>> {
    let json = description.to_json().expect("a description is always JSON");
    // What matches several segments here is written as any other parameter there.
    let json = Bytes::from(json.replace("{*id}", "{id}").replace("\"*id\"", "\"id\""));
    let digest = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    let policy = format!(
        "default-src 'none'; connect-src 'self'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        digest(STYLE),
        digest(SCRIPT)
    );
    let page = Bytes::from(format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>Fovea's API</title>\n<style>{STYLE}</style>\n</head>\n\
         <body>\n<main><p>Reading <a href=\"/openapi.json\">/openapi.json</a> …</p></main>\n<script>{SCRIPT}</script>\n\
         </body>\n</html>\n"
    ));
    let cached = "private, max-age=60";
    let json_route = move || async move {
        ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, cached)], json.clone()).into_response()
    };
    let page_route = move || async move {
        let headers = [
            (CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
            (CACHE_CONTROL, cached.to_owned()),
            (CONTENT_SECURITY_POLICY, policy.clone()),
            (REFERRER_POLICY, "no-referrer".to_owned()),
        ];
        (headers, page.clone()).into_response()
    };
    Router::new()
        .route("/openapi.json", get(json_route))
        .route("/docs", get(page_route.clone()))
        .route("/", get(page_route))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json() -> serde_json::Value {
        let (_, description) = super::super::described().split_for_parts();
        serde_json::from_str(&description.to_json().unwrap()).unwrap()
    }

    #[test]
    fn every_operation_says_what_it_does_and_what_it_answers() {
        let json = json();
        let paths = json["paths"].as_object().unwrap();
        assert!(paths.len() >= 25, "{}", paths.len());
        let mut ids = std::collections::BTreeSet::new();
        for (path, methods) in paths {
            assert!(path.starts_with("/v1/"), "{path} is behind the gate");
            for (method, operation) in methods.as_object().unwrap() {
                let summary = operation["summary"].as_str().unwrap_or_default();
                assert!(!summary.is_empty(), "{method} {path} has no summary");
                assert!(!operation["responses"].as_object().unwrap().is_empty(), "{method} {path}");
                assert!(!operation["tags"].as_array().unwrap().is_empty(), "{method} {path}");
                ids.insert(format!("{method} {path}"));
            }
        }
        for wanted in
            ["put /v1/assets/{category}/{*id}", "post /v1/assets:fetch", "post /v1/queue:clear", "get /v1/events"]
        {
            assert!(ids.contains(wanted), "{wanted} is missing of {ids:?}");
        }
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        for text in [STYLE, SCRIPT] {
            for forbidden in ["http://", "https://", "@import", "url(", "innerHTML", "eval("] {
                assert!(!text.contains(forbidden), "{forbidden}");
            }
        }
    }
}
