//! Clients that upload, delete and read while what they talk to is killed; and what must be true of what was acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fovea::catalog::{AssetFilter, Catalog, EventFilter};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::api::{form, text};
use super::fovea::{TOKEN, fixtures};

/// What each upload asks for.
pub const VARIANTS: [&str; 3] = ["w_24.webp", "w_20,h_20,fit_cover.jpg", "w_16.png"];
/// Clients that upload at the same time.
pub const UPLOADERS: usize = 3;
/// How long all that was acknowledged may take after the last kill.
pub const WITHIN: Duration = Duration::from_secs(180);

/// A client that comes back until it is answered well, as clients of a service that restarts do.
pub struct Persistent {
    client: Client<HttpConnector, Full<Bytes>>,
    /// Whom it asks, one after the other.
    apis: Vec<SocketAddr>,
    tries: AtomicUsize,
}

impl Persistent {
    /// One that asks these.
    pub fn new(apis: Vec<SocketAddr>) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http(), apis, tries: AtomicUsize::new(0) }
    }

    /// Requests so far.
    pub fn tries(&self) -> usize {
        self.tries.load(Ordering::Relaxed)
    }

    async fn once(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> Option<(u16, Value)> {
        let api = self.apis[self.tries.fetch_add(1, Ordering::Relaxed) % self.apis.len()];
        let mut request = Request::builder().method(method).uri(format!("http://{api}{path}"));
        request = request.header("authorization", format!("Bearer {TOKEN}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = async {
            let answer = self.client.request(request.body(Full::new(body)).unwrap()).await.ok()?;
            let status = answer.status().as_u16();
            let body = answer.into_body().collect().await.ok()?.to_bytes();
            Some((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
        };
        tokio::time::timeout(Duration::from_secs(10), answer).await.ok().flatten()
    }

    /// An answer with one of these statuses; connections that break and 5xx are tried again.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
        good: &[u16],
    ) -> (u16, Value) {
        let begun = Instant::now();
        loop {
            let answer = self.once(method.clone(), path, headers, body.clone()).await;
            match answer {
                Some((status, body)) if good.contains(&status) => return (status, body),
                Some((status, body)) if status < 500 && status != 429 => panic!("{method} {path}: {status} {body}"),
                _ => {}
            }
            assert!(begun.elapsed() < WITHIN, "{method} {path} is not answered: {answer:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// What was acknowledged.
#[derive(Debug, Default)]
pub struct Acknowledged {
    /// Versions, by asset.
    pub uploads: BTreeMap<String, String>,
    pub deleted: BTreeSet<String>,
    pub jobs: BTreeSet<String>,
}

pub fn picture(name: &str) -> Vec<u8> {
    let mut bytes = std::fs::read(fixtures().join("smooth.jpg")).unwrap();
    // What follows a picture's end is no part of it, so each is another content.
    bytes.extend_from_slice(name.as_bytes());
    bytes
}

/// Uploads and deletes, with a pause before each, until it is told to stop; answers what was acknowledged.
pub async fn load(client: Arc<Persistent>, uploader: usize, pause: Duration, stop: Arc<AtomicBool>) -> Acknowledged {
    let mut known = Acknowledged::default();
    let query = format!("variants={}", VARIANTS.join(","));
    let mut at = 0;
    while !stop.load(Ordering::Relaxed) {
        at += 1;
        tokio::time::sleep(pause).await;
        let name = format!("{uploader}-{at}.jpg");
        let key = format!("key-{name}");
        let answer = if at % 6 == 0 {
            let other = format!("{uploader}-{at}-b.jpg");
            let (kind, body) =
                form(&[("file", Some(&name), &picture(&name)), ("file", Some(&other), &picture(&other))]);
            let headers = [("content-type", kind.as_str()), ("idempotency-key", key.as_str())];
            let path = format!("/v1/assets/shop?{query}");
            client.send(Method::POST, &path, &headers, body.into(), &[202]).await.1
        } else {
            let path = format!("/v1/assets/shop/{name}?{query}");
            client.send(Method::PUT, &path, &[("idempotency-key", &key)], picture(&name).into(), &[202]).await.1
        };
        known.jobs.insert(text(&answer, "job_id").to_owned());
        let alone = [answer.clone()];
        for asset in answer["assets"].as_array().map_or(&alone[..], Vec::as_slice) {
            known.uploads.insert(text(asset, "id").to_owned(), text(asset, "version").to_owned());
            known.jobs.insert(text(asset, "job_id").to_owned());
        }
        if at % 5 == 0 {
            let gone = format!("{uploader}-{}.jpg", at - 3);
            let path = format!("/v1/assets/shop/{gone}");
            // A repetition finds it gone: the answer to the first was lost.
            let (status, answer) = client.send(Method::DELETE, &path, &[], Bytes::new(), &[202, 404]).await;
            if status == 202 {
                known.jobs.insert(text(&answer, "job_id").to_owned());
            }
            known.deleted.insert(gone);
        }
    }
    known
}

impl Acknowledged {
    /// What all of them were told.
    pub async fn of(loads: Vec<tokio::task::JoinHandle<Self>>) -> Self {
        let mut known = Acknowledged::default();
        for load in loads {
            let Acknowledged { uploads, deleted, jobs } = load.await.unwrap();
            known.uploads.extend(uploads);
            known.deleted.extend(deleted);
            known.jobs.extend(jobs);
        }
        known
    }

    /// Waits until each acknowledged job has ended, and ended well unless its asset was deleted meanwhile. `log` is what the processes said.
    pub async fn jobs_end(&self, client: &Persistent, log: impl Fn() -> String) {
        let begun = Instant::now();
        for id in &self.jobs {
            loop {
                let path = format!("/v1/jobs/{id}");
                let job = client.send(Method::GET, &path, &[], Bytes::new(), &[200]).await.1;
                match text(&job, "status") {
                    "completed" => break,
                    // Its asset was deleted meanwhile.
                    "failed" | "cancelled"
                        if job["kind"] != "delete"
                            && self.deleted.iter().any(|gone| job["asset"] == format!("shop/{gone}")) =>
                    {
                        break;
                    }
                    "failed" | "cancelled" if job["kind"] == "batch" => break,
                    "failed" | "cancelled" => panic!("{job}\n{}", log()),
                    _ => assert!(begun.elapsed() < WITHIN, "it stays {job}\n{}", log()),
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// Holds what is there against what was acknowledged. `originals` are the files under the category's folder in the store.
pub async fn everything_is_there_once(
    known: &Acknowledged,
    catalog: &Catalog,
    originals: &BTreeSet<String>,
    client: &Persistent,
    http: SocketAddr,
) {
    let mut listed = BTreeSet::new();
    let mut cursor = None;
    loop {
        let page = catalog.assets(None, &AssetFilter::default(), cursor.as_deref(), 500).await.unwrap();
        listed.extend(page.items.into_iter().map(|asset| asset.id));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let wanted: BTreeSet<String> = known.uploads.keys().filter(|id| !known.deleted.contains(*id)).cloned().collect();
    assert_eq!(listed, wanted, "all that was acknowledged, and nothing else");
    let places: BTreeSet<String> = wanted.iter().map(|id| format!("{id}/{}/{id}", known.uploads[id])).collect();
    assert!(originals.is_superset(&places), "an original is missing: {:?}", places.difference(originals));
    for gone in &known.deleted {
        assert!(originals.iter().all(|file| !file.starts_with(&format!("{gone}/"))), "{gone} was deleted");
    }
    for id in &wanted {
        for variant in VARIANTS {
            let url: http::Uri = format!("http://{http}/shop/{id}/{}/{variant}", known.uploads[id]).parse().unwrap();
            let answer = client.client.get(url).await.unwrap();
            let phase = answer.headers()["cache-status"].to_str().unwrap().to_owned();
            assert!(answer.status() == 200 && phase.contains("hit"), "{id} {variant}: {phase}");
        }
    }
    let (mut after, mut times) = (0, BTreeMap::new());
    loop {
        let events = catalog.events(after, &EventFilter::default(), 1000).await.unwrap();
        let Some(last) = events.last() else { break };
        after = last.seq;
        for event in events {
            let what = match event.kind.as_str() {
                "job.completed" => event.job,
                "asset.accepted" | "asset.deleted" => event.asset,
                "variant.made" => event.data["variant"]["url"].as_str().map(str::to_owned),
                _ => continue,
            };
            *times.entry((event.kind, what.unwrap())).or_insert(0) += 1;
        }
    }
    let twice: Vec<_> = times.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "done twice: {twice:?}");
}
