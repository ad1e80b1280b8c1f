//! Workers over a real origin, a real catalog and real pictures.

use std::net::Ipv4Addr;
use std::time::Instant;

use serde_json::json;

use super::*;
use crate::app;
use crate::catalog::{self, Accept, AssetState, JobFilter, NewJob, Priority, VariantState};
use crate::config::{Config, Inputs};
use crate::object::{Fs, Layout};
use crate::queue::{self, Backoff, Job, JobState, Pressure, Subject, Task};

/// A folder of originals, a store of derivatives, a catalog, and workers over them.
struct Bench {
    parts: Parts,
    folder: tempfile::TempDir,
}

/// `source` is the source of the category `far`; `shoes` has a folder.
async fn bench(source: &str, settings: Settings) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display();
    std::fs::create_dir(folder.path().join("originals")).unwrap();
    let source = if source.is_empty() { format!("file:{at}/far") } else { source.to_owned() };
    let text = format!(
        "[derivatives]\nstore = \"file:{at}/derivatives\"\n[category.demo]\nenabled = false\n\
         [category.shoes]\nsource = \"file:{at}/originals\"\n\
         [category.far]\nsource = \"{source}\"\nallow_private = true\nattempts = 1\nbreaker_failures = 2\n"
    );
    let config = Config::load(Inputs { file: Some(("test".to_owned(), text)), ..Inputs::default() }).unwrap();
    let catalog = Catalog::new(catalog::Settings::new(format!("sqlite:{at}/catalog.sqlite")));
    let backoff = Backoff { pauses: vec![Duration::ZERO], ..Backoff::default() };
    let queue = queue::embedded(catalog.clone(), queue::Settings { backoff, ..queue::Settings::default() });
    let originals: Arc<dyn ObjectStore> = Arc::new(Fs::new(folder.path().join("originals"), Layout::Plain).unwrap());
    let parts = Parts {
        catalog,
        queue,
        origin: app::origin(&config, None, None, None).await.unwrap(),
        originals: Some(originals),
        board: Arc::new(Board::new(Pressure::default())),
        settings: Settings { poll: Duration::from_millis(20), ..settings },
    };
    Bench { parts, folder }
}

impl Bench {
    /// Puts an original into the folder and accepts it.
    async fn upload(&self, name: &str, bytes: &[u8], variants: &[&str]) -> String {
        std::fs::write(self.folder.path().join("originals").join(name), bytes).unwrap();
        self.accept("shoes", name, bytes, variants).await
    }

    async fn accept(&self, category: &str, name: &str, bytes: &[u8], variants: &[&str]) -> String {
        let blake3 = crate::base::Digest::of(bytes).hex(64);
        let variants: Vec<String> = variants.iter().map(|variant| (*variant).to_owned()).collect();
        let inspect = Task::Inspect { variants: variants.clone(), prewarm: true };
        let accept = Accept {
            owner: "ann".to_owned(),
            category: category.to_owned(),
            asset: name.to_owned(),
            version: format!("h{}", &blake3[..16]),
            blake3,
            filename: name.to_owned(),
            content_type: "image/jpeg".to_owned(),
            format: "jpg".to_owned(),
            bytes: bytes.len() as u64,
            width: 0,
            height: 0,
            profile: None,
            store_key: name.to_owned(),
            origin: "upload".to_owned(),
            variants,
            idempotency: None,
            job: inspect.job("ann", None, Priority::Normal),
            queue_max: 1000,
        };
        self.parts.catalog.accept(accept).await.unwrap().job
    }

    async fn job(&self, id: &str) -> Job {
        self.parts.catalog.job(None, id).await.unwrap()
    }

    /// Waits until a job is as the test wants it.
    async fn until(&self, id: &str, what: impl Fn(&Job) -> bool) -> Job {
        let begun = Instant::now();
        loop {
            let job = self.job(id).await;
            if what(&job) {
                return job;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "it stays {job:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn ended(&self, id: &str) -> Job {
        self.until(id, |job| job.state.ended()).await
    }

    fn derivatives(&self) -> usize {
        fn count(folder: &std::path::Path) -> usize {
            let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
            let paths = entries.map(|entry| entry.unwrap().path());
            paths.map(|path| if path.is_dir() { count(&path) } else { 1 }).sum()
        }
        count(&self.folder.path().join("derivatives/cache"))
    }
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

/// An HTTP origin that takes connections and says nothing.
async fn silent() -> (String, tokio::net::TcpListener) {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    (format!("http://{}", listener.local_addr().unwrap()), listener)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_looked_at_and_its_variants_are_made_before_anybody_asks() {
    let prewarm = BTreeMap::from([("shoes".to_owned(), vec!["w_20.jpg".to_owned(), "w_16.auto".to_owned()])]);
    let bench = bench("", Settings { prewarm, ..Settings::default() }).await;
    let worker = Worker::start(bench.parts.clone());
    let id = bench.upload("red.jpg", &fixture("baseline_420.jpg"), &["w_24.webp", "w_20.jpg"]).await;
    let job = bench.ended(&id).await;
    assert_eq!((job.state, job.done, job.failed, job.total), (JobState::Completed, 3, 0, 3), "{job:?}");
    let catalog = &bench.parts.catalog;
    let asset = catalog.asset(Some("ann"), "shoes", "red.jpg").await.unwrap();
    assert_eq!(asset.state, AssetState::Ready);
    assert!(asset.width > 0 && job.result["metadata"]["blurhash"].is_string());
    let variants = catalog.variants(None, "shoes", "red.jpg", None).await.unwrap();
    assert_eq!(variants.len(), 3);
    for variant in &variants {
        assert!(variant.state == VariantState::Ready && variant.bytes > 0, "{variant:?}");
        let request = bench.parts.origin.urls().read_trusted(&variant.url).unwrap();
        let answer = bench.parts.origin.peek(&request, &crate::serve::Client::default());
        assert_eq!(answer.unwrap().phase, crate::serve::Phase::Memory, "the first request is a hit");
    }
    assert!(bench.derivatives() >= 3, "what is told as made is in the store");
    // Asked for again they are there, and a caller's own options are a job of their own.
    let subject = Subject { category: "shoes".to_owned(), asset: "red.jpg".to_owned(), version: None };
    let again = Task::Transform { variants: vec!["w_24.webp".to_owned(), "w_9,h_9,fit_cover.png".to_owned()] };
    let again = again.job("ann", Some(subject), Priority::High);
    let id = bench.parts.queue.push(vec![again], None).await.unwrap().remove(0).id;
    let job = bench.ended(&id).await;
    assert_eq!((job.state, job.done), (JobState::Completed, 2));
    assert_eq!(
        job.result["variants"][1]["width"].as_u64().unwrap() + job.result["variants"][0]["width"].as_u64().unwrap(),
        33
    );
    worker.drain(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_wants_a_variant_of_gets_its_mezzanines() {
    let bench = bench("", Settings::default()).await;
    let worker = Worker::start(bench.parts.clone());
    let wide = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/samples/mountains.jpg")).unwrap();
    let id = bench.upload("wide.jpg", &wide, &[]).await;
    assert_eq!(bench.ended(&id).await.state, JobState::Completed);
    let filter = JobFilter { kind: Some(Kind::Mezzanine), ..JobFilter::default() };
    let made = bench.parts.catalog.jobs(Some("ann"), &filter, None, 10).await.unwrap().items.remove(0);
    let made = bench.ended(&made.id).await;
    assert_eq!(made.state, JobState::Completed, "{made:?}");
    assert!(made.result["mezzanines"].as_u64() >= Some(1), "{made:?}");
    let bytes = bench.parts.catalog.versions(None, "shoes", "wide.jpg").await.unwrap()[0].mezzanine_bytes;
    assert!(bytes > 1000, "{bytes}");
    assert_eq!(bench.parts.catalog.storage().await.unwrap().mezzanines, bytes);
    // Asked again they are there; a small picture has none, and a missing one is nobody's passing trouble.
    let subject = async |asset: &str| {
        let version = bench.parts.catalog.versions(None, "shoes", asset).await.unwrap().remove(0).version;
        Subject { category: "shoes".to_owned(), asset: asset.to_owned(), version: Some(version) }
    };
    let small = bench.upload("small.jpg", &fixture("gray.jpg"), &[]).await;
    bench.ended(&small).await;
    for (asset, wanted) in [("wide.jpg", made.result["mezzanines"].clone()), ("small.jpg", json!(0))] {
        let again = Task::Mezzanine {}.job("ann", Some(subject(asset).await), Priority::Low);
        let id = bench.parts.queue.push(vec![again], None).await.unwrap().remove(0).id;
        assert_eq!(bench.ended(&id).await.result["mezzanines"], wanted, "{asset}");
    }
    assert_eq!(bench.parts.catalog.jobs(Some("ann"), &filter, None, 10).await.unwrap().items.len(), 3);
    worker.drain(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_image_fails_at_once_and_what_can_be_made_is_made() {
    let bench = bench("", Settings::default()).await;
    let worker = Worker::start(bench.parts.clone());
    let whole = fixture("baseline_420.jpg");
    let broken = bench.upload("cut.jpg", &whole[..whole.len() / 2], &["w_24.webp"]).await;
    let other = bench.upload("red.jpg", &whole, &["w_24.webp", "w_banana.webp"]).await;
    let job = bench.ended(&broken).await;
    assert_eq!((job.state, job.attempts, job.code.as_deref()), (JobState::Failed, 1, Some("broken-image")));
    let version = bench.parts.catalog.versions(None, "shoes", "cut.jpg").await.unwrap().remove(0);
    assert!(version.state == AssetState::Broken && version.error.is_some());
    let job = bench.ended(&other).await;
    assert_eq!((job.state, job.done, job.failed), (JobState::Failed, 1, 1));
    assert_eq!(job.code.as_deref(), Some("variants-failed"));
    let failed: Vec<_> =
        job.result["variants"].as_array().unwrap().iter().filter(|one| one["error"].is_string()).collect();
    assert_eq!((failed.len(), failed[0]["variant"].as_str()), (1, Some("w_banana.webp")));
    worker.drain(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_source_is_down_jobs_wait_and_no_try_is_counted() {
    let (source, listener) = silent().await;
    drop(listener);
    let bench = bench(&source, Settings::default()).await;
    let worker = Worker::start(bench.parts.clone());
    let mut ids = Vec::new();
    for name in ["a", "b", "c", "d", "e", "f"] {
        ids.push(bench.accept("far", name, name.as_bytes(), &[]).await);
    }
    for id in &ids {
        let job = bench.until(id, |job| job.state == JobState::Queued && job.due_ms > job.queued_ms + 500).await;
        assert!(job.attempts <= 2, "{job:?}");
    }
    // What has nothing to do with it goes on.
    let id = bench.upload("red.jpg", &fixture("gray.jpg"), &["w_8.png"]).await;
    assert_eq!(bench.ended(&id).await.state, JobState::Completed);
    worker.drain(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_past_its_deadline_is_stopped_and_tried_again() {
    let (source, _listener) = silent().await;
    let bench = bench(&source, Settings { job_timeout: Duration::from_millis(60), ..Settings::default() }).await;
    let worker = Worker::start(bench.parts.clone());
    let id = bench.accept("far", "a", b"a", &[]).await;
    let job = bench.until(&id, |job| job.state == JobState::Failed).await;
    assert_eq!(job.attempts, 5, "one try, one at once, and three retries");
    assert!(job.code.as_deref().is_some_and(|code| code.ends_with("timeout")), "{job:?}");
    worker.drain(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_hands_back_what_is_not_done_in_time() {
    let (source, _listener) = silent().await;
    let bench = bench(&source, Settings::default()).await;
    let worker = Worker::start(bench.parts.clone());
    let id = bench.accept("far", "a", b"a", &[]).await;
    bench.until(&id, |job| job.state == JobState::Processing).await;
    let begun = Instant::now();
    worker.drain(Duration::from_millis(50)).await;
    let job = bench.until(&id, |job| job.state == JobState::Queued).await;
    assert_eq!((job.attempts, job.deliveries), (0, 0));
    assert!(begun.elapsed() < Duration::from_secs(5), "it did not wait for the lease");
    let _ = bench.upload("red.jpg", &fixture("gray.jpg"), &[]).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(bench.parts.queue.depth(None).await.unwrap().in_flight(), 0, "a drained worker takes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_stops_at_its_next_heartbeat() {
    let (source, _listener) = silent().await;
    let mut bench = bench(&source, Settings::default()).await;
    let quick = queue::Settings { lease: Duration::from_millis(300), ..queue::Settings::default() };
    bench.parts.queue = queue::embedded(bench.parts.catalog.clone(), quick);
    let worker = Worker::start(bench.parts.clone());
    let id = bench.accept("far", "a", b"a", &[]).await;
    bench.until(&id, |job| job.state == JobState::Processing).await;
    bench.parts.queue.cancel(None, &id).await.unwrap();
    assert_eq!(bench.ended(&id).await.state, JobState::Cancelled);
    worker.drain(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_asset_goes_everywhere() {
    let bench = bench("", Settings::default()).await;
    let worker = Worker::start(bench.parts.clone());
    let id = bench.upload("red.jpg", &fixture("baseline_420.jpg"), &["w_24.webp"]).await;
    bench.ended(&id).await;
    let catalog = &bench.parts.catalog;
    let delete = NewJob::new("ann", Kind::Delete, Priority::Normal, None, json!({}));
    let id = catalog.begin_delete(Some("ann"), "shoes", "red.jpg", None, delete).await.unwrap();
    assert_eq!(bench.ended(&id).await.state, JobState::Completed);
    assert!(matches!(catalog.asset(None, "shoes", "red.jpg").await, Err(catalog::Error::NotFound)));
    assert_eq!(bench.derivatives(), 0);
    assert!(!bench.folder.path().join("originals/red.jpg").exists());
    worker.drain(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clean_ups_take_what_is_past_its_time_and_nothing_else() {
    let bench = bench("", Settings { retention: Duration::ZERO, ..Settings::default() }).await;
    let worker = Worker::start(bench.parts.clone());
    let id = bench.upload("red.jpg", &fixture("gray.jpg"), &[]).await;
    bench.ended(&id).await;
    let folder = bench.folder.path().join("originals/originals");
    std::fs::create_dir(&folder).unwrap();
    for (name, days) in [("old.jpg", 3), ("young.jpg", 0)] {
        let file = std::fs::File::create(folder.join(name)).unwrap();
        file.set_modified(std::time::SystemTime::now() - Duration::from_secs(days * 86_400)).unwrap();
    }
    for what in [queue::Sweep::Orphans, queue::Sweep::Uploads, queue::Sweep::Retention] {
        let cleanup = Task::Cleanup { what }.job("system", None, Priority::Low);
        let id = bench.parts.queue.push(vec![cleanup], None).await.unwrap().remove(0).id;
        assert_eq!(bench.ended(&id).await.state, JobState::Completed);
    }
    assert!(!folder.join("old.jpg").exists() && folder.join("young.jpg").exists());
    assert!(bench.folder.path().join("originals/red.jpg").exists());
    let left = bench.parts.catalog.jobs(Some("ann"), &JobFilter::default(), None, 10).await.unwrap();
    assert!(left.items.is_empty(), "ended jobs past their retention are gone");
    worker.drain(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_category_is_made_anew_in_partitions() {
    let bench = bench("", Settings::default()).await;
    let bytes = fixture("smooth.jpg");
    let mut uploads = Vec::new();
    for at in 0..130 {
        uploads.push(bench.upload(&format!("{at:03}.jpg"), &bytes, &["w_20.jpg"]).await);
    }
    let worker = Worker::start(bench.parts.clone());
    for id in &uploads {
        assert_eq!(bench.ended(id).await.state, JobState::Completed);
    }
    assert_eq!(bench.derivatives(), 130);
    let anew = async || bench.parts.queue.push(queue::reprocess(SYSTEM, "shoes", None), None).await.unwrap();
    std::fs::remove_dir_all(bench.folder.path().join("derivatives/cache")).unwrap();
    let pushed = anew().await;
    let whole = bench.ended(&pushed[0].id).await;
    assert_eq!(
        (whole.state, whole.done, whole.total),
        (JobState::Completed, 3, 3),
        "one that cuts, and two partitions"
    );
    assert_eq!(bench.derivatives(), 130);
    let filter = JobFilter { parent: Some(whole.id), ..JobFilter::default() };
    let parts = bench.parts.catalog.jobs(None, &filter, None, 10).await.unwrap().items;
    let mut made: Vec<(Kind, u32, u32)> = parts.iter().map(|part| (part.kind, part.done, part.total)).collect();
    made.sort_unstable();
    assert_eq!(made, [(Kind::Reprocess, 0, 0), (Kind::Partition, 30, 30), (Kind::Partition, 100, 100)]);

    // What cannot be made fails its partition, which is tried again alone.
    let lost = bench.folder.path().join("originals/007.jpg");
    std::fs::remove_file(&lost).unwrap();
    bench
        .parts
        .origin
        .purge(&crate::serve::Purge::Asset { category: "shoes".into(), id: "007.jpg".into() })
        .await
        .unwrap();
    let whole = bench.ended(&anew().await[0].id).await;
    assert_eq!((whole.state, whole.done, whole.failed), (JobState::Failed, 2, 1), "{whole:?}");
    let filter = JobFilter { parent: Some(whole.id.clone()), state: Some(JobState::Failed), ..JobFilter::default() };
    let failed = bench.parts.catalog.jobs(None, &filter, None, 10).await.unwrap().items.remove(0);
    assert_eq!((failed.done, failed.failed, failed.code.as_deref()), (99, 1, Some("assets-failed")));
    std::fs::write(&lost, &bytes).unwrap();
    bench.parts.queue.retry(None, &whole.id).await.unwrap();
    let whole = bench.ended(&whole.id).await;
    assert_eq!((whole.state, whole.done, whole.failed), (JobState::Completed, 3, 0), "{whole:?}");
    assert_eq!(bench.derivatives(), 130);
    worker.drain(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_goes_on_where_a_try_was_cut_short() {
    let bench = bench("", Settings::default()).await;
    for name in ["a.jpg", "b.jpg", "c.jpg", "d.jpg"] {
        bench.upload(name, &fixture("smooth.jpg"), &["w_20.jpg"]).await;
    }
    let worker = Worker::start(bench.parts.clone());
    let stretch = Task::Partition { category: "shoes".into(), after: Some("shoes/a.jpg".into()), upto: "c.jpg".into() };
    let jobs = bench.parts.catalog.jobs(None, &JobFilter::default(), None, 10).await.unwrap().items;
    for job in jobs {
        bench.ended(&job.id).await;
    }
    worker.drain(Duration::from_secs(5)).await;
    std::fs::remove_dir_all(bench.folder.path().join("derivatives/cache")).unwrap();
    let id = bench.parts.queue.push(vec![stretch.job("ann", None, Priority::Low)], None).await.unwrap().remove(0).id;
    // A worker notes its first asset, and is lost.
    let ask = queue::Ask { worker: "lost".to_owned(), most: 1, kinds: vec![(Kind::Partition, 1)] };
    let lost = bench.parts.queue.claim(&ask).await.unwrap().remove(0);
    bench.parts.catalog.record_step(&lost, Vec::new(), true, "shoes/b.jpg").await.unwrap();
    bench.parts.queue.end(&lost, queue::Ended::Released { delay_ms: 0 }).await.unwrap();
    let worker = Worker::start(bench.parts.clone());
    let done = bench.ended(&id).await;
    assert_eq!((done.state, done.done, done.total), (JobState::Completed, 2, 2), "{done:?}");
    assert_eq!(bench.derivatives(), 1, "only what the lost worker had not noted, and nothing outside of the stretch");
    worker.drain(Duration::from_secs(5)).await;
}
