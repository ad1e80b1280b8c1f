//! Several processes over one PostgreSQL and one bucket: what one takes, all serve; what one forgets, all forget.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use fovea::catalog::{self, Catalog};
use serde_json::json;

use crate::support::api::{SHOP, text};
use crate::support::fovea::{Fovea, samples};
use crate::support::process::Process;
use crate::support::{nats, postgres, seaweedfs};

pub fn photo() -> Vec<u8> {
    std::fs::read(samples().join("mountains.jpg")).unwrap()
}

/// The config of processes that share everything.
pub async fn shared(bucket: &str, catalog: &str) -> String {
    let seaweed = seaweedfs::shared();
    seaweed.bucket(bucket, "").await;
    let (access, secret) = seaweed.keys();
    format!(
        "[s3]\nendpoint = \"{}\"\naccess_key_id = \"{access}\"\nsecret_access_key = \"{secret}\"\n\
         [derivatives]\nstore = \"s3://{bucket}/derivatives\"\n[ingest]\nstore = \"s3://{bucket}/ingest\"\nspool = \"spool\"\n\
         [catalog]\nurl = \"{catalog}\"\n[category.shop]\ningest = true\nunsigned = \"options\"\n",
        seaweed.endpoint()
    )
}

pub const IN_MEMORY: &str = "fovea; hit; detail=memory";
pub const IN_STORE: &str = "fovea; hit; detail=store";

#[tokio::test]
async fn what_one_takes_all_serve_and_what_one_forgets_all_forget() {
    let config = shared("cluster-all", &postgres::shared().database()).await;
    let (one, other) = (Fovea::start_idle(&config).await, Fovea::start_idle(&config).await);
    let work = |server: &Fovea| Process::start(server.folder.path(), "work");
    let (_first, _second) = (work(&one), work(&other));
    // A process for the API alone takes uploads, and serves no images.
    let control = Fovea::start_control(&config).await;
    let taken = control.root().taken("/v1/assets/shop/peaks.jpg?variants=w_300.webp", photo()).await;
    assert!(control.try_send(http::Method::GET, &format!("http://{}/", control.http), &[], "".into()).await.is_err());
    let job = other.root().completed(&taken).await;
    let url = text(&job["variants"][0], "url");
    let answers = [one.get(url).await, other.get(url).await];
    assert!(
        answers.iter().all(|answer| answer.status == 200 && answer.header("cache-status") == IN_STORE),
        "{answers:?}"
    );
    assert_eq!(answers[0].body, answers[1].body);
    assert_eq!(other.get(url).await.header("cache-status"), IN_MEMORY);
    let purged = one.purge(json!({ "asset": "shop/peaks.jpg" })).await;
    assert_eq!((purged.status.as_u16(), &purged.json()["stored"]), (200, &json!(true)), "{purged:?}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let anew = other.get(url).await;
    assert_eq!(
        anew.header("cache-status"),
        "fovea; fwd=miss; stored",
        "a purge reaches the memory of all within a second"
    );
    // A preset's and a category's purges are moments; one URL's names its key.
    for what in [json!({ "category": "shop" }), json!({ "url": url })] {
        assert_eq!(other.get(url).await.header("cache-status"), IN_MEMORY);
        assert_eq!(one.purge(what.clone()).await.status, 200);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(other.get(url).await.header("cache-status"), "fovea; fwd=miss; stored", "{what}");
    }
}

/// Workers that look for jobs themselves once a minute: what they do earlier, the broker brought them.
#[tokio::test]
async fn a_broker_brings_the_jobs_of_one_process_to_the_workers_of_others() {
    let nats = nats::shared();
    let url = postgres::shared().database();
    let config = shared("cluster-broker", &url).await;
    let catalog = Catalog::new(catalog::Settings::new(&url));
    let broker = format!("[nats]\nurl = \"{}\"\nprefix = \"{}\"\n", nats.url(), nats.prefix());
    let config = format!("{config}{broker}[worker]\npoll_ms = 60000\nconcurrency = 1\n");
    let control = Fovea::start_control(&config).await;
    let _workers: Vec<Process> = (0..3).map(|_| Process::start(control.folder.path(), "work")).collect();
    let mut taken = Vec::new();
    for at in 0..9 {
        let mut picture = photo();
        // What follows a picture's end is no part of it, so each is another content.
        picture.push(at);
        taken.push(
            control.root().taken(&format!("/v1/assets/shop/{at}.jpg?variants=w_40.webp,w_30.webp"), picture).await,
        );
    }
    let mut workers = BTreeSet::new();
    for taken in &taken {
        let job = control.root().completed(taken).await;
        assert_eq!(job["progress"]["done"], 2, "{job}");
        workers.insert(catalog.job(None, text(&job, "id")).await.unwrap().worker);
    }
    assert!(workers.len() > 1, "{workers:?}");
    // An idle queue: the next job is brought as soon as it is there.
    let begun = Instant::now();
    let one = control.root().taken("/v1/assets/shop/last.jpg?variants=w_40.webp", photo()).await;
    control.root().completed(&one).await;
    assert!(begun.elapsed() < Duration::from_secs(30), "it waited for somebody to look");
    assert!(control.metric("fovea_queue_handed_total", &[]).await > 0.0);
}

#[tokio::test]
async fn an_origin_that_is_cut_off_answers_from_the_store_and_trusts_its_memory_when_it_has_caught_up() {
    let server = postgres::shared();
    let catalog = server.database();
    let database = catalog.rsplit('/').next().unwrap().to_owned();
    let config = shared("cluster-cut", &catalog).await;
    let (one, other) = (Fovea::start_idle(&config).await, Fovea::start_all(&config).await);
    let taken = one.root().taken("/v1/assets/shop/peaks.jpg?variants=w_300.webp", photo()).await;
    let job = other.root().completed(&taken).await;
    let url = text(&job["variants"][0], "url");
    one.get(url).await;
    assert_eq!(one.get(url).await.header("cache-status"), IN_MEMORY);
    server.sql("postgres", &format!("ALTER DATABASE {database} ALLOW_CONNECTIONS false"));
    let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'");
    server.sql("postgres", &end);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    for _ in 0..2 {
        assert_eq!(one.get(url).await.header("cache-status"), IN_STORE, "nobody can tell it of a purge");
    }
    let purged = other.purge(json!({ "asset": "shop/peaks.jpg" })).await;
    assert_eq!(purged.json()["stored"], json!(false), "not everybody was told: {purged:?}");
    server.sql("postgres", &format!("ALTER DATABASE {database} ALLOW_CONNECTIONS true"));
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(other.purge(json!({ "asset": "shop/peaks.jpg" })).await.json()["stored"], json!(true));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(one.get(url).await.header("cache-status"), "fovea; fwd=miss; stored");
    assert_eq!(one.get(url).await.header("cache-status"), IN_MEMORY);
}

#[tokio::test]
async fn one_machine_becomes_a_cluster_without_losing_its_history() {
    let mut server = Fovea::start_all(SHOP).await;
    let taken = server.root().taken("/v1/assets/shop/peaks.jpg?variants=w_300.webp", photo()).await;
    let before = server.root().completed(&taken).await;
    server.stop().await;
    let folder = std::mem::replace(&mut server.folder, tempfile::tempdir().unwrap());
    let catalog = postgres::shared().database();
    let from = format!("sqlite:{}", folder.path().join("catalog.sqlite").display());
    let migrate = || {
        Command::new(env!("CARGO_BIN_EXE_fovea"))
            .args(["migrate", "--from", &from, "--to", &catalog])
            .env_clear()
            .output()
            .expect("the binary starts")
    };
    let moved = migrate();
    let told = String::from_utf8_lossy(&moved.stderr).into_owned();
    assert!(moved.status.success() && told.contains("versions: 1 of 1 rows"), "{told}");
    let again = migrate();
    assert!(!again.status.success(), "a catalog in use is not written over");
    let config = SHOP.replace("sqlite:catalog.sqlite", &catalog);
    let server = Fovea::start_in(folder, &config, &[]).await;
    let after = server.root().get(&format!("/v1/jobs/{}", text(&taken, "job_id"))).await.json();
    assert_eq!(before, after);
    let same = server.root().taken("/v1/assets/shop/peaks.jpg?variants=w_300.webp", photo()).await;
    assert_eq!(same["version"], taken["version"]);
    let more = server.root().taken("/v1/assets/shop/other.jpg?variants=w_200.webp", photo()).await;
    server.root().completed(&more).await;
}
