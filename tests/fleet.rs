//! Several processes over one broker, one PostgreSQL and one bucket: purges, and who makes what.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::Method;
use http_body_util::{BodyExt, StreamBody};
use serde_json::json;

use crate::cluster::{IN_MEMORY, IN_STORE, photo, shared};
use crate::support::api::text;
use crate::support::fovea::Fovea;
use crate::support::nats::{self, Nats};
use crate::support::origin::{Origin, answer};
use crate::support::postgres;

const WITHIN: Duration = Duration::from_secs(30);

/// The config of processes that share everything, and a broker.
async fn with_broker(bucket: &str, catalog: &str, server: &Nats) -> String {
    named(bucket, catalog, server, &server.prefix()).await
}

async fn named(bucket: &str, catalog: &str, server: &Nats, prefix: &str) -> String {
    let url = server.url();
    format!("{}\n[nats]\nurl = \"{url}\"\nprefix = \"{prefix}\"\n", shared(bucket, catalog).await)
}

/// Asks until the answer comes from where it should.
async fn until(server: &Fovea, url: &str, status: &str) {
    let begun = Instant::now();
    loop {
        let answer = server.get(url).await;
        if answer.header("cache-status") == status {
            return;
        }
        assert!(begun.elapsed() < WITHIN, "{url}: {:?}, not {status:?}\n{}", answer.headers, server.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn an_origin_trusts_its_memory_while_broker_or_catalog_tells_it_of_purges() {
    let (catalogs, broker) = (postgres::shared(), Nats::start(""));
    let catalog = catalogs.database();
    let database = catalog.rsplit('/').next().unwrap().to_owned();
    let config = with_broker("fleet-purges", &catalog, &broker).await;
    let (one, other) = (Fovea::start_all(&config).await, Fovea::start_idle(&config).await);
    let taken = one.root().taken("/v1/assets/shop/peaks.jpg?variants=w_300.webp", photo()).await;
    let job = other.root().completed(&taken).await;
    let url = text(&job["variants"][0], "url");
    let in_memory = async || {
        until(&one, url, IN_MEMORY).await;
        until(&other, url, IN_MEMORY).await;
    };
    in_memory().await;
    let anew = "fovea; fwd=miss; stored";
    let purge = async || one.purge(json!({ "asset": "shop/peaks.jpg" })).await.json()["stored"] == json!(true);
    assert!(purge().await);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(other.get(url).await.header("cache-status"), anew, "a purge reaches the memory of all within a second");
    in_memory().await;
    let cut = || {
        catalogs.sql("postgres", &format!("ALTER DATABASE {database} ALLOW_CONNECTIONS false"));
        let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'");
        catalogs.sql("postgres", &end);
    };
    let mend = || {
        catalogs.sql("postgres", &format!("ALTER DATABASE {database} ALLOW_CONNECTIONS true"));
    };
    let pause = || tokio::time::sleep(Duration::from_secs(2));

    // Without the catalog the broker tells of purges, which count as told when the catalog knows of them too.
    cut();
    pause().await;
    assert_eq!(other.get(url).await.header("cache-status"), IN_MEMORY);
    assert!(!purge().await, "the catalog does not know of it");
    mend();
    until(&other, url, anew).await;
    in_memory().await;
    assert!(confirmed(&purge).await);
    in_memory().await;

    // A broker that stands still tells nothing, but the catalog does.
    broker.pause();
    pause().await;
    assert_eq!(other.get(url).await.header("cache-status"), IN_MEMORY);
    let (told, forgotten) = tokio::join!(purge(), async {
        pause().await;
        other.get(url).await.header("cache-status").to_owned()
    });
    assert!(!told, "the broker does not know of it");
    assert_eq!(forgotten, anew, "the catalog told of it");
    in_memory().await;

    // Where both are silent nobody trusts memory, until one is heard again.
    cut();
    pause().await;
    for server in [&one, &other] {
        assert_eq!(server.get(url).await.header("cache-status"), IN_STORE);
    }
    mend();
    in_memory().await;
    broker.kill();
    assert!(!purge().await, "nobody was told by the broker");
    broker.start_again();
    assert!(confirmed(&purge).await);
    in_memory().await;
}

/// A stream that takes nothing any more, as a server of NATS 2.9.10 may come back with one.
#[tokio::test]
async fn a_log_of_purges_that_takes_none_is_made_anew_and_tells_all_again() {
    let (catalogs, server) = (postgres::shared(), nats::shared());
    let (catalog, prefix) = (catalogs.database(), server.prefix());
    let database = catalog.rsplit('/').next().unwrap().to_owned();
    let config = named("fleet-sealed", &catalog, server, &prefix).await;
    let (one, other) = (Fovea::start_all(&config).await, Fovea::start_idle(&config).await);
    let taken = one.root().taken("/v1/assets/shop/peaks.jpg?variants=w_300.webp", photo()).await;
    let job = other.root().completed(&taken).await;
    let url = text(&job["variants"][0], "url");
    let purge = async || one.purge(json!({ "asset": "shop/peaks.jpg" })).await.json()["stored"] == json!(true);
    assert!(purge().await);
    let context = async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let log = async || context.get_stream(format!("{prefix}_purges")).await.map(|log| log.cached_info().clone());
    let sealed = async_nats::jetstream::stream::Config { sealed: true, ..log().await.unwrap().config };
    context.update_stream(sealed).await.unwrap();
    until(&other, url, IN_MEMORY).await;
    assert!(!purge().await, "the broker does not know of it");
    let anew = "fovea; fwd=miss; stored";
    until(&other, url, anew).await;
    // After half a minute.
    assert!(confirmed(&purge).await || confirmed(&purge).await, "{}", one.log());
    let made_anew = log().await.unwrap();
    assert!(!made_anew.config.sealed && made_anew.state.last_sequence == 1, "{made_anew:?}");
    until(&other, url, IN_MEMORY).await;
    assert!(purge().await);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(other.get(url).await.header("cache-status"), anew, "a purge reaches the memory of all within a second");
    // By the broker alone.
    until(&other, url, IN_MEMORY).await;
    catalogs.sql("postgres", &format!("ALTER DATABASE {database} ALLOW_CONNECTIONS false"));
    let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'");
    catalogs.sql("postgres", &end);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(other.get(url).await.header("cache-status"), IN_MEMORY, "it hears the broker");
    assert!(!purge().await, "the catalog does not know of it");
    let found = other.get(url).await;
    assert_ne!(found.header("cache-status"), IN_MEMORY, "the broker told of it");
}

/// Purges until it is said that everybody was told.
async fn confirmed(purge: &impl AsyncFn() -> bool) -> bool {
    let told = async {
        while !purge().await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(WITHIN, told).await.is_ok()
}

#[tokio::test]
async fn each_cold_variant_is_made_once_in_the_fleet() {
    let config = with_broker("fleet-flights", &postgres::shared().database(), nats::shared()).await;
    // However slow the machine.
    let patient = [("FOVEA_WORKER__ENABLED", "false"), ("FOVEA_HTTP__REQUEST_TIMEOUT_MS", "120000")];
    let start = || Fovea::start_in(tempfile::tempdir().unwrap(), &config, &patient);
    let (one, two, three) = tokio::join!(start(), start(), start());
    let origins = [one, two, three];
    let urls: Vec<String> = ["dandelion.jpg", "stream.jpg"]
        .iter()
        .flat_map(|picture| (0..10).map(move |step| format!("/pics/{picture}/v1/w_{}.webp", 100 + 10 * step)))
        .collect();
    let clients = (0..500).map(|client| {
        let (origin, url) = (&origins[client % 3], &urls[client % urls.len()]);
        async move { (url, origin.get(url).await) }
    });
    let (begun, mut bodies) = (Instant::now(), BTreeMap::new());
    let answers = join_all(clients).await;
    let took = begun.elapsed();
    for (url, answer) in answers {
        assert_eq!(answer.status, 200, "{url}: {answer:?}");
        let first = bodies.entry(url).or_insert_with(|| answer.body.clone());
        assert!(*first == answer.body, "{url} is one variant, whoever answers");
    }
    assert_eq!(bodies.len(), 20);
    let count = async |name: &str, labels: &[&str]| {
        let counts = origins.iter().map(|origin| origin.metric(name, labels));
        join_all(counts).await.iter().sum::<f64>()
    };
    let made = count("fovea_render_variants_total", &[]).await;
    let mut outcomes = BTreeMap::new();
    for outcome in ["led", "followed", "took_over", "in_vain", "unavailable"] {
        outcomes.insert(outcome, count("fovea_fleet_flights_total", &[outcome]).await);
    }
    println!("500 clients at 3 origins, 20 cold variants: {made} made in {took:?}; {outcomes:?}");
    assert!(outcomes["led"] == 20.0 && outcomes["followed"] > 0.0, "{outcomes:?}");
    // Nobody gives up on another before two seconds have passed; on a machine that is so slow somebody may.
    assert_eq!(made, 20.0 + outcomes["in_vain"], "{outcomes:?}");
    assert!(took > Duration::from_secs(2) || outcomes["in_vain"] == 0.0, "{took:?}, {outcomes:?}");
}

#[tokio::test]
async fn an_originals_mezzanines_are_made_once_in_the_fleet() {
    let photo = photo();
    let source = Origin::start(move |request, _| {
        let head = http::Response::builder().header("etag", "\"1\"").header("content-length", photo.len());
        if request.method() == Method::HEAD {
            return head.body(http_body_util::Empty::new().boxed()).unwrap();
        }
        let mut whole = answer(200, photo.clone());
        whole.headers_mut().insert("etag", "\"1\"".parse().unwrap());
        whole
    })
    .await;
    let config = format!(
        "{}\n[category.far]\nsource = \"{}\"\nunsigned = \"options\"\nallow_private = true\n",
        with_broker("fleet-forms", &postgres::shared().database(), nats::shared()).await,
        source.url(),
    );
    let (one, two) = tokio::join!(Fovea::start_idle(&config), Fovea::start_idle(&config));
    let made = async || {
        let name = "fovea_render_mezzanines_total";
        one.metric(name, &[]).await + two.metric(name, &[]).await
    };
    assert_eq!(one.get("/far/0.jpg/v1/w_100.webp").await.status, 200);
    let each = made().await;
    assert!(each > 0.0, "it is large enough");
    let begun = Instant::now();
    for original in 1..=6 {
        let url = |width: usize| format!("/far/{original}.jpg/v1/w_{width}.webp");
        let urls = [url(100), url(200)];
        let (small, large) = tokio::join!(one.get(&urls[0]), two.get(&urls[1]));
        assert!(small.status == 200 && large.status == 200, "{small:?}, {large:?}");
    }
    let (made, took) = (made().await - each, begun.elapsed());
    println!("mezzanines of six originals, two variants each at two origins: {made} in {took:?}");
    // Nobody gives up on another before two seconds have passed; on a machine that is so slow somebody may.
    assert!(made == 6.0 * each || took > Duration::from_secs(12), "{made} in {took:?}");
}

#[tokio::test]
async fn who_makes_a_variant_and_is_killed_is_taken_over_from() {
    // The first who reads the original gets no end of it.
    let photo = photo();
    let length = photo.len();
    let source = Origin::start(move |request, _| {
        let head = http::Response::builder().header("etag", "\"1\"").header("content-length", length);
        if request.method() == Method::HEAD {
            return head.body(http_body_util::Empty::new().boxed()).unwrap();
        }
        static ASKED: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        if ASKED.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 {
            let never = futures_util::stream::pending::<Result<hyper::body::Frame<bytes::Bytes>, _>>();
            return head.body(StreamBody::new(never).boxed()).unwrap();
        }
        let mut whole = answer(200, photo.clone());
        whole.headers_mut().insert("etag", "\"1\"".parse().unwrap());
        whole
    })
    .await;
    let config = format!(
        "{}\n[category.slow]\nsource = \"{}\"\nunsigned = \"options\"\nallow_private = true\n",
        with_broker("fleet-killed", &postgres::shared().database(), nats::shared()).await,
        source.url(),
    );
    let (leader, follower) = tokio::join!(Fovea::start_idle(&config), Fovea::start_idle(&config));
    let url = "/slow/peaks.jpg/v1/w_300.webp";
    let target = format!("http://{}{url}", leader.http);
    let leading = leader.try_send(Method::GET, &target, &[], "".into());
    let killing = async {
        let begun = Instant::now();
        while leader.metric("fovea_fleet_flights_total", &["led"]).await < 1.0 {
            assert!(begun.elapsed() < WITHIN, "{}", leader.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let following = follower.get(url);
        let kill = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            leader.kill();
        };
        tokio::join!(following, kill).0
    };
    let (led, answer) = tokio::join!(leading, killing);
    assert!(led.is_err(), "it was killed");
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "image/webp"), "{}", follower.log());
    assert_eq!(follower.metric("fovea_fleet_flights_total", &["took_over"]).await, 1.0);
}

/// Asks of three processes with an API, each of them about each job in several rounds; answers how often the catalog was asked, and how
/// many transactions it had.
async fn asks(config: &str, database: &str) -> (f64, i64) {
    let start = || Fovea::start_control(config);
    let (one, two, three) = tokio::join!(start(), start(), start());
    let servers = [one, two, three];
    let upload = |number: usize| {
        let path = format!("/v1/assets/shop/peaks{number}.jpg?variants=w_{}.webp", 100 + number);
        let taking = servers[number % 3].root();
        async move { text(&taking.taken(&path, photo()).await, "status_url").to_owned() }
    };
    let jobs = join_all((0..10).map(upload)).await;
    // Until all have heard of the uploads, and listen: then a question that is repeated is answered from memory.
    for server in &servers {
        let begun = Instant::now();
        loop {
            assert_eq!(server.root().get(&jobs[0]).await.status, 200);
            if server.metric("fovea_job_cache_total", &["memory", "hit"]).await > 0.0 {
                break;
            }
            assert!(begun.elapsed() < WITHIN, "{}", server.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let transactions = || {
        let sql = format!("SELECT xact_commit FROM pg_stat_database WHERE datname = '{database}'");
        postgres::shared().sql("postgres", &sql).trim().parse::<i64>().unwrap()
    };
    let count = async || {
        let counts = servers.iter().map(|server| server.metric("fovea_job_cache_total", &["catalog"]));
        join_all(counts).await.iter().sum::<f64>()
    };
    let before = (count().await, transactions());
    for _ in 0..20 {
        for server in &servers {
            for job in &jobs {
                assert_eq!(server.root().get(job).await.status, 200);
            }
        }
    }
    let asked = count().await - before.0;
    // The server counts transactions of a connection when it has been idle for a second.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let asks = (asked, transactions() - before.1);

    // What one changes, all answer soon after.
    let job = &jobs[3];
    assert_eq!(servers[0].root().post(&format!("{job}/cancel"), json!({})).await.status, 200);
    assert_eq!(servers[0].root().get(job).await.json()["status"], "cancelled", "its own change it knows at once");
    let begun = Instant::now();
    while servers[1].root().get(job).await.json()["status"] != "cancelled" {
        assert!(begun.elapsed() < WITHIN, "{}", servers[1].log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    asks
}

#[tokio::test]
async fn what_one_asked_the_catalog_the_others_need_not() {
    let database = |url: &str| url.rsplit('/').next().unwrap().to_owned();
    let (with, without) = (postgres::shared().database(), postgres::shared().database());
    let config = with_broker("fleet-answers", &with, nats::shared()).await;
    let fleet = asks(&config, &database(&with)).await;
    let alone = asks(&shared("fleet-alone", &without).await, &database(&without)).await;
    println!(
        "600 questions at 3 processes: {fleet:?} with a broker, {alone:?} without (questions to the catalog, its transactions)"
    );
    assert!(alone.0 >= 27.0 && fleet.0 * 2.0 <= alone.0, "{fleet:?} with a broker, {alone:?} without");
}

#[tokio::test]
async fn a_worker_tells_how_it_and_the_broker_are() {
    let broker = Nats::start("");
    let config = with_broker("fleet-worker", &postgres::shared().database(), &broker).await;
    let server = Fovea::start_idle(&config).await;
    let address = format!("127.0.0.1:{}", crate::support::fovea::free_port());
    let environment = [("FOVEA_WORKER__LISTEN", address.as_str())];
    let _worker = crate::support::process::Process::start_with(server.folder.path(), "work", &environment);
    let ask = async |path: &str| {
        let answer = server.try_send(Method::GET, &format!("http://{address}{path}"), &[], "".into()).await;
        answer.map(|answer| (answer.status.as_u16(), String::from_utf8(answer.body.to_vec()).unwrap())).ok()
    };
    let begun = Instant::now();
    while ask("/health/ready").await != Some((200, "ready\nbroker up\n".to_owned())) {
        assert!(begun.elapsed() < WITHIN, "{:?}\n{}", ask("/health/ready").await, server.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(ask("/metrics").await.unwrap().1.contains("fovea_broker_up 1"));
    assert_eq!(ask("/v1/jobs").await.unwrap().0, 404, "it serves nothing else");
    broker.kill();
    let begun = Instant::now();
    while ask("/health/ready").await != Some((200, "ready\nbroker degraded\n".to_owned())) {
        assert!(begun.elapsed() < WITHIN, "{}", server.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let health = server.api("/health").await.json();
    let broker = health["components"].as_array().unwrap().iter().find(|part| part["name"] == "broker").unwrap();
    assert_eq!((&health["status"], &broker["state"]), (&json!("degraded"), &json!("degraded")));
}
