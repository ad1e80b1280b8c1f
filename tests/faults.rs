//! A cluster (3 origins, 2 APIs, 4 workers, over PostgreSQL, NATS and S3) through what befalls one at three in the morning: processes and
//! servers killed, a store that is slow and then refuses, workers cut off. What was acknowledged is there, once; hits are served all the while.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fovea::catalog::{self, Catalog};
use fovea::object::{ObjectStore, S3};
use http::Method;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::support::api::text;
use crate::support::fovea::{TOKEN, free_port};
use crate::support::load::{Acknowledged, Persistent, UPLOADERS, VARIANTS, everything_is_there_once, load, picture};
use crate::support::nats::Nats;
use crate::support::postgres::Postgres;
use crate::support::process::{Process, kills};
use crate::support::proxy::{Proxy, Weather};
use crate::support::seaweedfs;

const ORIGINS: usize = 3;
const APIS: usize = 2;
const WORKERS: usize = 4;

/// Pictures that are asked for all the while.
const HOT: usize = 6;

/// How long what is wrong stays so.
const LASTS: Duration = Duration::from_millis(1200);

/// How long the store refuses once, in a long run.
const LASTS_LONG: Duration = Duration::from_secs(60);

/// Faults from which on a run is long: the broker is a cluster of three then.
const LONG: usize = 100;

/// How long a hit may take, over as many origins as it takes.
const HIT_WITHIN: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Fault {
    OriginKilled,
    ApiKilled,
    WorkerKilled,
    NatsKilled,
    PostgresRestarted,
    StoreSlowThenRefusing,
    WorkersCutOff,
}

const FAULTS: [Fault; 7] = [
    Fault::OriginKilled,
    Fault::ApiKilled,
    Fault::WorkerKilled,
    Fault::NatsKilled,
    Fault::PostgresRestarted,
    Fault::StoreSlowThenRefusing,
    Fault::WorkersCutOff,
];

/// One process of the cluster, and how it is started.
struct Node {
    role: &'static str,
    http: SocketAddr,
    api: SocketAddr,
    nats: String,
    process: Process,
}

struct Cluster {
    folder: tempfile::TempDir,
    postgres: Postgres,
    nats: Vec<Nats>,
    store: Proxy,
    /// Between the workers and each server of the broker.
    brokers: Vec<Proxy>,
    bucket: S3,
    catalog: String,
    nodes: Vec<Node>,
}

fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], free_port()).into()
}

fn start(folder: &std::path::Path, role: &str, http: SocketAddr, api: SocketAddr, nats: &str) -> Process {
    let (http, api) = (http.to_string(), api.to_string());
    let environment = [
        ("FOVEA_HTTP__LISTEN", http.as_str()),
        ("FOVEA_API__LISTEN", api.as_str()),
        ("FOVEA_NATS__URL", nats),
        ("FOVEA_WORKER__ENABLED", if role == "work" { "true" } else { "false" }),
    ];
    Process::start_with(folder, role, &environment)
}

impl Cluster {
    async fn start(servers: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let seaweed = seaweedfs::shared();
        let name = "faults";
        let bucket = seaweed.bucket(name, "").await;
        let (access, secret) = seaweed.keys();
        let port = |url: &str| url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("it names a port");
        let store = Proxy::to(port(&seaweed.endpoint())).await;
        let nats = if servers == 1 { vec![Nats::start("")] } else { Nats::cluster(servers) };
        let mut brokers = Vec::new();
        for server in &nats {
            brokers.push(Proxy::to(port(&server.url())).await);
        }
        let all: Vec<String> = nats.iter().map(Nats::url).collect();
        let proxied: Vec<String> = brokers.iter().map(|broker| format!("nats://{}", broker.address())).collect();
        let postgres = Postgres::start(&[]);
        let catalog = postgres.database();
        let config = format!(
            "[http]\naccess_log = \"none\"\n[api]\ntoken = \"{TOKEN}\"\nkey_per_second = 0\naddress_per_second = 0\n\
             [s3]\nendpoint = \"http://{}\"\naccess_key_id = \"{access}\"\nsecret_access_key = \"{secret}\"\n\
             [derivatives]\nstore = \"s3://{name}/derivatives\"\n[ingest]\nstore = \"s3://{name}/ingest\"\nspool = \"spool\"\n\
             [catalog]\nurl = \"{catalog}\"\n[category.demo]\nenabled = false\n\
             [category.shop]\ningest = true\nunsigned = \"options\"\n\
             [nats]\nreplicas = {servers}\n[queue]\nlease_ms = 2000\ndeliveries_max = 1000\n[worker]\npoll_ms = 50\nconcurrency = 2\nbreaker_open_ms = 500\n",
            store.address()
        );
        std::fs::write(folder.path().join("fovea.toml"), config).unwrap();
        let roles = [("serve", ORIGINS), ("api", APIS), ("work", WORKERS)];
        let mut nodes = Vec::new();
        for role in roles.iter().flat_map(|(role, count)| std::iter::repeat_n(*role, *count)) {
            let (http, api) = (loopback(), loopback());
            let nats = if role == "work" { proxied.join(",") } else { all.join(",") };
            let process = start(folder.path(), role, http, api, &nats);
            nodes.push(Node { role, http, api, nats, process });
        }
        Self { folder, postgres, nats, store, brokers, bucket, catalog, nodes }
    }

    fn addresses(&self, role: &str, of: impl Fn(&Node) -> SocketAddr) -> Vec<SocketAddr> {
        self.nodes.iter().filter(|node| node.role == role).map(of).collect()
    }

    fn kill(&mut self, role: &str, chance: &mut fastrand::Rng) {
        let mut of: Vec<&mut Node> = self.nodes.iter_mut().filter(|node| node.role == role).collect();
        let at = chance.usize(..of.len());
        let node = &mut of[at];
        node.process.kill();
        node.process = start(self.folder.path(), role, node.http, node.api, &node.nats);
    }

    async fn befall(&mut self, fault: Fault, lasts: Duration, chance: &mut fastrand::Rng) {
        match fault {
            Fault::OriginKilled => self.kill("serve", chance),
            Fault::ApiKilled => self.kill("api", chance),
            Fault::WorkerKilled => self.kill("work", chance),
            Fault::NatsKilled => {
                let server = &self.nats[chance.usize(..self.nats.len())];
                server.kill();
                tokio::time::sleep(LASTS).await;
                server.start_again();
            }
            Fault::PostgresRestarted => self.postgres.restart(),
            Fault::StoreSlowThenRefusing => {
                self.store.set(Weather::Slow(Duration::from_millis(50)));
                tokio::time::sleep(LASTS).await;
                self.store.set(Weather::Unavailable);
                tokio::time::sleep(lasts).await;
                self.store.set(Weather::Fair);
            }
            Fault::WorkersCutOff => {
                self.brokers.iter().for_each(|broker| broker.set(Weather::Cut));
                tokio::time::sleep(LASTS).await;
                self.brokers.iter().for_each(|broker| broker.set(Weather::Fair));
            }
        }
    }

    /// Waits until each process that serves says that it is ready, so that one thing goes wrong at a time.
    async fn recovered(&self) {
        let client: Client<HttpConnector, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let begun = Instant::now();
        for node in self.nodes.iter().filter(|node| node.role != "work") {
            loop {
                let url = format!("http://{}/health/ready", node.api).parse().unwrap();
                let asked = tokio::time::timeout(Duration::from_secs(1), client.get(url)).await;
                if matches!(&asked, Ok(Ok(answer)) if answer.status() == 200) {
                    break;
                }
                assert!(
                    begun.elapsed() < Duration::from_secs(60),
                    "{} is not ready: {asked:?}\n{}",
                    node.role,
                    self.log()
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    fn log(&self) -> String {
        let log = std::fs::read_to_string(self.folder.path().join("log.txt")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    /// The originals of the category, by their keys under its folder.
    async fn originals(&self) -> BTreeSet<String> {
        let (mut found, mut after) = (BTreeSet::new(), None::<String>);
        loop {
            let page = self.bucket.list("ingest/originals/shop/", after.as_deref()).await.unwrap();
            let Some(last) = page.last() else { return found };
            after = Some(last.key.clone());
            found.extend(
                page.iter().filter_map(|one| one.key.split_once("originals/shop/")).map(|(_, key)| key.to_owned()),
            );
        }
    }
}

/// Asks for hits as a CDN does: of the next origin when one does not answer. Answers how many were served, and what was not.
async fn read(
    origins: Vec<SocketAddr>,
    paths: Vec<String>,
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
) -> Vec<String> {
    let client: Client<HttpConnector, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let mut failed = Vec::new();
    let mut at = 0;
    while !stop.load(Ordering::Relaxed) {
        at += 1;
        let path = &paths[at % paths.len()];
        let begun = Instant::now();
        let mut tries = Vec::new();
        let well = loop {
            let origin = origins[(at + tries.len()) % origins.len()];
            let asked = async {
                let answer = client
                    .get(format!("http://{origin}{path}").parse().unwrap())
                    .await
                    .map_err(|error| error.to_string())?;
                let status = answer.status();
                let body = answer.into_body().collect().await.map_err(|error| error.to_string())?;
                if status == 200 { Ok(()) } else { Err(format!("{status} {:?}", body.to_bytes())) }
            };
            match tokio::time::timeout(Duration::from_secs(2), asked).await {
                Ok(Ok(())) => break true,
                Ok(Err(error)) => tries.push(error),
                Err(_) => tries.push("no answer".to_owned()),
            }
            if begun.elapsed() > HIT_WITHIN {
                break false;
            }
            if tries.len() % origins.len() == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if well {
            served.fetch_add(1, Ordering::Relaxed);
        } else {
            failed.push(format!("{path}: {tries:?}"));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    failed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_loses_nothing_whatever_befalls_it() {
    let faults = kills();
    let mut cluster = Cluster::start(if faults >= LONG { 3 } else { 1 }).await;
    cluster.recovered().await;
    let apis = cluster.addresses("api", |node| node.api);
    let origins = cluster.addresses("serve", |node| node.http);
    let client = Arc::new(Persistent::new(apis));
    // What is hot: known to all before anything goes wrong.
    let mut hot = Acknowledged::default();
    let query = format!("variants={}", VARIANTS.join(","));
    for at in 0..HOT {
        let name = format!("hot-{at}.jpg");
        let path = format!("/v1/assets/shop/{name}?{query}");
        let taken = client.send(Method::PUT, &path, &[], picture(&name).into(), &[202]).await.1;
        hot.jobs.insert(text(&taken, "job_id").to_owned());
        hot.uploads.insert(name, text(&taken, "version").to_owned());
    }
    hot.jobs_end(&client, || cluster.log()).await;
    let paths: Vec<String> = hot
        .uploads
        .iter()
        .flat_map(|(name, version)| VARIANTS.map(|variant| format!("/shop/{name}/{version}/{variant}")))
        .collect();
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let readers: Vec<_> =
        (0..2).map(|_| tokio::spawn(read(origins.clone(), paths.clone(), stop.clone(), served.clone()))).collect();
    let pause = Duration::from_millis(300);
    let loads: Vec<_> = (0..UPLOADERS).map(|at| tokio::spawn(load(client.clone(), at, pause, stop.clone()))).collect();

    let mut chance = fastrand::Rng::with_seed(5);
    let mut befallen: BTreeMap<Fault, usize> = BTreeMap::new();
    for number in 0..faults {
        tokio::time::sleep(Duration::from_millis(chance.u64(100..300))).await;
        // Each at least once, then by chance.
        let fault = FAULTS.get(number).copied().unwrap_or_else(|| FAULTS[chance.usize(..FAULTS.len())]);
        let times = befallen.entry(fault).or_insert(0_usize);
        *times += 1;
        let lasts = if faults >= LONG && *times == 1 { LASTS_LONG } else { LASTS };
        cluster.befall(fault, lasts, &mut chance).await;
        cluster.recovered().await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut known = Acknowledged::of(loads).await;
    let mut unserved = Vec::new();
    for reader in readers {
        unserved.extend(reader.await.unwrap());
    }
    println!(
        "{befallen:?}: {} uploads and {} deletes acknowledged in {} requests; {} hits served, {} not",
        known.uploads.len(),
        known.deleted.len(),
        client.tries(),
        served.load(Ordering::Relaxed),
        unserved.len()
    );
    assert!(unserved.is_empty(), "hits are served throughout: {unserved:#?}\n{}", cluster.log());
    assert!(known.uploads.len() >= faults, "too little was under way to say anything: {known:?}");
    known.uploads.extend(hot.uploads);
    known.jobs.extend(hot.jobs);
    let begun = Instant::now();
    known.jobs_end(&client, || cluster.log()).await;
    println!("the queue was empty {:?} after", begun.elapsed());
    let catalog = Catalog::new(catalog::Settings::new(cluster.catalog.clone()));
    everything_is_there_once(&known, &catalog, &cluster.originals().await, &client, origins[0]).await;
}
