//! API and workers killed by SIGKILL while clients upload, delete and read: what was acknowledged is there, once, and all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fovea::catalog::{self, AssetFilter, Catalog, EventFilter};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::support::api::{form, text};
use crate::support::fovea::{TOKEN, fixtures, free_port};
use crate::support::process::{Process, kills};

const VARIANTS: [&str; 3] = ["w_24.webp", "w_20,h_20,fit_cover.jpg", "w_16.png"];
const UPLOADERS: usize = 3;
/// How long all that was acknowledged may take after the last kill.
const WITHIN: Duration = Duration::from_secs(180);

/// A client that comes back until it is answered well, as clients of a service that restarts do.
struct Persistent {
    client: Client<HttpConnector, Full<Bytes>>,
    api: SocketAddr,
    tries: AtomicUsize,
}

impl Persistent {
    async fn once(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> Option<(u16, Value)> {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.api));
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
        self.tries.fetch_add(1, Ordering::Relaxed);
        tokio::time::timeout(Duration::from_secs(10), answer).await.ok().flatten()
    }

    /// An answer with one of these statuses; connections that break and 5xx are tried again.
    async fn send(
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
struct Acknowledged {
    /// Versions, by asset.
    uploads: BTreeMap<String, String>,
    deleted: BTreeSet<String>,
    jobs: BTreeSet<String>,
}

fn picture(name: &str) -> Vec<u8> {
    let mut bytes = std::fs::read(fixtures().join("smooth.jpg")).unwrap();
    // What follows a picture's end is no part of it, so each is another content.
    bytes.extend_from_slice(name.as_bytes());
    bytes
}

/// Uploads and deletes until it is told to stop; answers what was acknowledged.
async fn load(client: Arc<Persistent>, uploader: usize, stop: Arc<AtomicBool>) -> Acknowledged {
    let mut known = Acknowledged::default();
    let query = format!("variants={}", VARIANTS.join(","));
    let mut at = 0;
    while !stop.load(Ordering::Relaxed) {
        at += 1;
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

fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            found.extend(files(&entry.path()).into_iter().map(|file| format!("{name}/{file}")));
        } else if !name.starts_with(".fovea-") {
            found.push(name);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_and_workers_that_are_killed_lose_nothing_that_was_acknowledged() {
    let kills = kills();
    let folder = tempfile::tempdir().unwrap();
    let (http, api): (SocketAddr, SocketAddr) =
        (([127, 0, 0, 1], free_port()).into(), ([127, 0, 0, 1], free_port()).into());
    let config = format!(
        "[http]\nlisten = \"{http}\"\naccess_log = \"none\"\n[api]\nlisten = \"{api}\"\ntoken = \"{TOKEN}\"\n\
         key_per_second = 0\naddress_per_second = 0\n[derivatives]\nstore = \"file:derivatives\"\n\
         [ingest]\nstore = \"file:ingest\"\n[catalog]\nurl = \"sqlite:catalog.sqlite\"\n[category.demo]\nenabled = false\n\
         [category.shop]\ningest = true\nunsigned = \"options\"\n\
         [queue]\nlease_ms = 400\ndeliveries_max = 1000\n[worker]\npoll_ms = 20\nconcurrency = 3\n"
    );
    std::fs::write(folder.path().join("fovea.toml"), config).unwrap();
    let start = |what: &str| Process::start_with(folder.path(), what, &[("FOVEA_WORKER__ENABLED", "false")]);
    let roles = ["serve", "serve", "work", "work"];
    let mut processes = [start("serve"), start("work"), start("work")];
    let client = Arc::new(Persistent {
        client: Client::builder(TokioExecutor::new()).build_http(),
        api,
        tries: AtomicUsize::new(0),
    });
    let stop = Arc::new(AtomicBool::new(false));
    let loads: Vec<_> = (0..UPLOADERS).map(|at| tokio::spawn(load(client.clone(), at, stop.clone()))).collect();
    let mut chance = fastrand::Rng::with_seed(42);
    for _ in 0..kills {
        tokio::time::sleep(Duration::from_millis(chance.u64(100..400))).await;
        // Every second kill is the API's.
        let at = chance.usize(..roles.len());
        let place = at.saturating_sub(1);
        processes[place].kill();
        processes[place] = start(roles[at]);
    }
    stop.store(true, Ordering::Relaxed);
    let mut known = Acknowledged::default();
    for load in loads {
        let Acknowledged { uploads, deleted, jobs } = load.await.unwrap();
        known.uploads.extend(uploads);
        known.deleted.extend(deleted);
        known.jobs.extend(jobs);
    }
    println!(
        "{kills} kills: {} uploads and {} deletes acknowledged in {} requests, {} jobs",
        known.uploads.len(),
        known.deleted.len(),
        client.tries.load(Ordering::Relaxed),
        known.jobs.len()
    );
    assert!(known.uploads.len() >= kills, "too little was under way to say anything: {known:?}");
    let log = || std::fs::read_to_string(folder.path().join("log.txt")).unwrap_or_default();
    let begun = Instant::now();
    for id in &known.jobs {
        loop {
            let path = format!("/v1/jobs/{id}");
            let job = client.send(Method::GET, &path, &[], Bytes::new(), &[200]).await.1;
            match text(&job, "status") {
                "completed" => break,
                // Its asset was deleted meanwhile.
                "failed" | "cancelled" if known.deleted.iter().any(|gone| job["asset"] == format!("shop/{gone}")) => {
                    break;
                }
                "failed" | "cancelled" if job["kind"] == "batch" => break,
                "failed" | "cancelled" => panic!("{job}\n{}", log()),
                _ => assert!(begun.elapsed() < WITHIN, "it stays {job}\n{}", log()),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    everything_is_there_once(&known, folder.path(), &client, http).await;
}

/// Holds what is there against what was acknowledged.
async fn everything_is_there_once(known: &Acknowledged, folder: &Path, client: &Persistent, http: SocketAddr) {
    let catalog = Catalog::new(catalog::Settings::new(format!("sqlite:{}", folder.join("catalog.sqlite").display())));
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
    let originals: BTreeSet<String> = files(&folder.join("ingest/originals/shop")).into_iter().collect();
    let places: BTreeSet<String> = wanted.iter().map(|id| format!("{id}/{}/{id}", known.uploads[id])).collect();
    assert!(originals.is_superset(&places), "an original is missing: {:?}", places.difference(&originals));
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
