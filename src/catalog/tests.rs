//! The catalog on SQLite: what is written together, who sees what, and that events alone tell an asset's state.

use std::time::Duration;

use serde_json::json;

use super::*;

/// A catalog in a folder of its own, with a clock that stands.
pub(crate) struct Kept {
    pub catalog: Catalog,
    pub clock: Clock,
    pub folder: tempfile::TempDir,
}

pub(crate) fn kept() -> Kept {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::still(1_800_000_000_000);
    let catalog = open(&folder, &clock);
    Kept { catalog, clock, folder }
}

fn open(folder: &tempfile::TempDir, clock: &Clock) -> Catalog {
    let url = format!("sqlite:{}", folder.path().join("deep/catalog.sqlite").display());
    Catalog::new(Settings { clock: clock.clone(), ..Settings::new(url) })
}

pub(crate) fn accept(owner: &str, asset: &str, content: &str) -> Accept {
    let blake3 = crate::base::Digest::of(content.as_bytes()).hex(64);
    let version = format!("h{}", &blake3[..16]);
    Accept {
        owner: owner.to_owned(),
        category: "shoes".to_owned(),
        asset: asset.to_owned(),
        filename: "red.jpg".to_owned(),
        content_type: "image/jpeg".to_owned(),
        format: "jpg".to_owned(),
        bytes: content.len() as u64,
        width: 300,
        height: 200,
        profile: None,
        store_key: format!("originals/shoes/{asset}/{version}/red.jpg"),
        version,
        blake3,
        origin: "upload".to_owned(),
        variants: vec!["w_100.webp".to_owned()],
        idempotency: None,
        job: NewJob::new(owner, Kind::Inspect, Priority::Normal, None, json!({ "variants": ["w_100.webp"] })),
        queue_max: 100,
    }
}

async fn count(catalog: &Catalog, table: &'static str) -> i64 {
    let row = catalog.read_one(format!("SELECT COUNT(*) FROM {table}"), Vec::new()).await.unwrap().unwrap();
    row.cells().int().unwrap()
}

/// Claims the one job that waits.
pub(crate) async fn claim_one(catalog: &Catalog) -> Job {
    let claim = Claim {
        worker: "tester".to_owned(),
        most: 1,
        kinds: Kind::ALL.iter().map(|kind| (*kind, 1)).collect(),
        lease: Duration::from_secs(30),
        concede_ms: [0, 30_000, 120_000, 600_000],
        deliveries_max: 10,
    };
    catalog.claim(&claim).await.unwrap().remove(0).job
}

fn made(job: &Job, variant: &str, bytes: u64) -> Variant {
    let subject = job.subject.clone().unwrap();
    Variant {
        owner: job.owner.clone(),
        url: format!("/{}/{}/{}/{variant}", subject.category, subject.asset, subject.version.as_deref().unwrap()),
        category: subject.category,
        asset: subject.asset,
        version: subject.version.unwrap(),
        variant: variant.to_owned(),
        content_type: "image/webp".to_owned(),
        bytes,
        width: 100,
        height: 67,
        ms: 12,
        state: if bytes > 0 { VariantState::Ready } else { VariantState::Failed },
        error: (bytes == 0).then(|| "as the test wants".to_owned()),
        attempts: 1,
        job: job.id.clone(),
        made_ms: 5,
    }
}

fn found() -> Result<Inspected, String> {
    Ok(Inspected { width: 300, height: 200, profile: Some("Display P3".to_owned()), facts: json!({ "flat": false }) })
}

#[tokio::test]
async fn an_upload_is_accepted_whole_or_not_at_all() {
    let Kept { catalog, .. } = kept();
    let accepted = catalog.accept(accept("ann", "red", "one")).await.unwrap();
    assert!(!accepted.existed);
    for table in ["assets", "versions", "jobs", "outbox"] {
        assert_eq!(count(&catalog, table).await, 1, "{table}");
    }
    let kinds: Vec<String> = history(&catalog, "red").await.into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds, ["job.queued", "asset.accepted"]);
    // A full queue, another owner's asset: nothing of it is written.
    let full = Accept { queue_max: 1, ..accept("ann", "blue", "two") };
    assert!(matches!(catalog.accept(full).await, Err(Error::Full { .. })));
    assert!(matches!(catalog.accept(accept("bob", "red", "three")).await, Err(Error::Foreign)));
    assert_eq!((count(&catalog, "assets").await, count(&catalog, "events").await), (1, 2));
}

#[tokio::test]
async fn the_same_content_is_the_same_version_and_the_same_job() {
    let Kept { catalog, .. } = kept();
    let first = catalog.accept(accept("ann", "red", "one")).await.unwrap();
    let again = catalog.accept(accept("ann", "red", "one")).await.unwrap();
    assert_eq!(again, Accepted { existed: true, ..first.clone() });
    let other = catalog.accept(accept("ann", "red", "two")).await.unwrap();
    assert_ne!((other.version, other.job), (first.version.clone(), first.job.clone()));
    assert_eq!(catalog.versions(None, "shoes", "red").await.unwrap().len(), 2);
    // Another variant of content that is there is another job, not another version.
    let more = Accept { variants: vec!["w_200.webp".to_owned()], ..accept("ann", "red", "one") };
    let more = catalog.accept(more).await.unwrap();
    assert!(more.existed && more.job != first.job && more.version == first.version);
}

#[tokio::test]
async fn a_repeat_under_one_key_gets_the_first_answer() {
    let Kept { catalog, .. } = kept();
    let key = Idempotency { key: "k".to_owned(), fingerprint: "f".to_owned() };
    let with =
        |content: &str, key: &Idempotency| Accept { idempotency: Some(key.clone()), ..accept("ann", "red", content) };
    let first = catalog.accept(with("one", &key)).await.unwrap();
    assert_eq!(catalog.accept(with("one", &key)).await.unwrap().job, first.job);
    let answer = catalog.idempotent("ann", "k", Some("f")).await.unwrap().unwrap();
    assert_eq!(answer["job"], first.job);
    let other = Idempotency { fingerprint: "g".to_owned(), ..key };
    assert!(matches!(catalog.accept(with("two", &other)).await, Err(Error::KeyReused)));
    assert!(matches!(catalog.idempotent("ann", "k", Some("g")).await, Err(Error::KeyReused)));
    assert_eq!(catalog.idempotent("bob", "k", None).await.unwrap(), None, "a key is its owner's");
}

async fn history(catalog: &Catalog, asset: &str) -> Vec<Event> {
    let filter =
        EventFilter { category: Some("shoes".to_owned()), asset: Some(asset.to_owned()), ..Default::default() };
    catalog.events(0, &filter, 1000).await.unwrap()
}

async fn rows(catalog: &Catalog, asset: &str) -> Option<History> {
    Some(History {
        asset: catalog.asset(None, "shoes", asset).await.ok()?,
        versions: catalog.versions(None, "shoes", asset).await.unwrap(),
        variants: catalog.variants(None, "shoes", asset, None).await.unwrap(),
    })
}

#[tokio::test]
async fn an_assets_state_is_rebuilt_from_its_events() {
    let Kept { catalog, clock, .. } = kept();
    let check = async |step: &str| {
        let (rebuilt, kept) = (rebuild(&history(&catalog, "red").await), rows(&catalog, "red").await);
        assert_eq!(rebuilt, kept, "{step}");
        kept
    };
    let first = catalog.accept(accept("ann", "red", "one")).await.unwrap();
    check("accepted").await;
    let job = claim_one(&catalog).await;
    catalog.record_inspected(&job, found()).await.unwrap();
    check("inspected").await;
    clock.advance(Duration::from_secs(5));
    let payload = json!({ "variants": ["w_100.webp", "w_200.webp"] });
    let next = Ended::Next { kind: Kind::Prewarm, payload, result: json!({}), total: 2 };
    catalog.end(&job.id, job.lease, next).await.unwrap();
    let job = claim_one(&catalog).await;
    assert_eq!((job.id.as_str(), job.kind), (first.job.as_str(), Kind::Prewarm), "one job from upload to end");
    let variants = vec![made(&job, "w_100.webp", 99), made(&job, "w_200.webp", 0)];
    catalog.record_variants(&job.id, job.lease, variants.clone()).await.unwrap();
    let before = history(&catalog, "red").await.iter().filter(|event| event.kind.starts_with("variant.")).count();
    catalog.record_variants(&job.id, job.lease, variants).await.unwrap();
    let after = history(&catalog, "red").await.iter().filter(|event| event.kind.starts_with("variant.")).count();
    assert_eq!((before, after), (2, 2), "what is noted twice is told once");
    let progress = catalog.job(None, &job.id).await.unwrap();
    assert_eq!((progress.done, progress.failed, progress.total), (1, 1, 2));
    check("made").await;
    catalog.accept(accept("ann", "red", "two")).await.unwrap();
    let shown = check("a second version").await.unwrap();
    assert_eq!(shown.asset.version, first.version, "what is served stays until the new one was looked at");
    let second = claim_one(&catalog).await;
    catalog.record_inspected(&second, Err("cut off".to_owned())).await.unwrap();
    let shown = check("a broken version").await.unwrap();
    assert_eq!((shown.asset.version, shown.asset.state), (first.version.clone(), AssetState::Ready));
    let remove = |version: Option<String>| {
        let catalog = catalog.clone();
        async move {
            let job = NewJob::new("ann", Kind::Delete, Priority::Normal, None, json!({}));
            let id = catalog.begin_delete(Some("ann"), "shoes", "red", version.as_deref(), job).await.unwrap();
            catalog.job(None, &id).await.unwrap()
        }
    };
    let job = remove(Some(first.version.clone())).await;
    check("a version on its way out").await;
    assert!(catalog.find_version("shoes", "red", Some(&first.version)).await.unwrap().is_none());
    catalog.undo_delete(&job).await.unwrap();
    check("and put back").await;
    assert!(catalog.find_version("shoes", "red", Some(&first.version)).await.unwrap().is_some());
    catalog.cancel_job(None, &job.id).await.unwrap();
    let job = remove(Some(first.version.clone())).await;
    catalog.finish_delete(&job).await.unwrap();
    assert_eq!(check("a version gone").await.unwrap().versions.len(), 1);
    let job = remove(None).await;
    check("the asset on its way out").await;
    catalog.finish_delete(&job).await.unwrap();
    catalog.finish_delete(&job).await.unwrap();
    assert_eq!(check("gone").await, None);
    catalog.accept(accept("bob", "red", "one")).await.unwrap();
    check("another owner's now").await;
}

#[tokio::test]
async fn one_owner_never_sees_anothers() {
    let Kept { catalog, .. } = kept();
    let accepted = catalog.accept(accept("ann", "red", "one")).await.unwrap();
    let gallery = catalog.create_gallery("ann", "summer").await.unwrap();
    let bob = Some("bob");
    assert!(matches!(catalog.asset(bob, "shoes", "red").await, Err(Error::NotFound)));
    assert!(catalog.versions(bob, "shoes", "red").await.unwrap().is_empty());
    assert!(matches!(catalog.job(bob, &accepted.job).await, Err(Error::NotFound)));
    assert!(matches!(catalog.cancel_job(bob, &accepted.job).await, Err(Error::NotFound)));
    assert!(catalog.jobs(bob, &JobFilter::default(), None, 10).await.unwrap().items.is_empty());
    assert!(catalog.assets(bob, &AssetFilter::default(), None, 10).await.unwrap().items.is_empty());
    assert!(matches!(catalog.gallery(bob, &gallery.id).await, Err(Error::NotFound)));
    let filter = EventFilter { owner: Some("bob".to_owned()), ..Default::default() };
    assert!(catalog.events(0, &filter, 10).await.unwrap().is_empty());
    assert_eq!(catalog.depth(bob).await.unwrap(), Depth::default());
    assert_eq!(catalog.statistics(bob, 0).await.unwrap().bytes_in, 0);
    assert_eq!(catalog.clear_jobs(bob).await.unwrap(), 0);
    let delete = NewJob::new("bob", Kind::Delete, Priority::Normal, None, json!({}));
    assert!(matches!(catalog.begin_delete(bob, "shoes", "red", None, delete).await, Err(Error::NotFound)));
    assert_eq!(catalog.jobs(Some("ann"), &JobFilter::default(), None, 10).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn what_was_written_is_there_after_another_start() {
    let Kept { catalog, clock, folder } = kept();
    let accepted = catalog.accept(accept("ann", "red", "one")).await.unwrap();
    drop(catalog);
    let catalog = open(&folder, &clock);
    assert_eq!(catalog.job(None, &accepted.job).await.unwrap().state, JobState::Queued);
    // A second process on the same file at the same time, which writes too.
    let second = open(&folder, &clock);
    second.accept(accept("ann", "blue", "two")).await.unwrap();
    assert_eq!(catalog.assets(None, &AssetFilter::default(), None, 10).await.unwrap().items.len(), 2);
}

#[tokio::test]
async fn writes_that_wait_together_are_one_transaction_and_fail_alone() {
    let Kept { catalog, .. } = kept();
    catalog.open().await.unwrap();
    let uploads = (0..40).map(|at| {
        let catalog = catalog.clone();
        // Every fourth is refused.
        let owner = if at % 4 == 3 { "bob" } else { "ann" };
        async move { catalog.accept(accept(owner, &format!("a{}", at - at % 4), &format!("{at}"))).await }
    });
    let outcomes = futures_util::future::join_all(uploads).await;
    assert_eq!(outcomes.iter().filter(|one| one.is_ok()).count(), 30);
    assert!(outcomes.iter().skip(3).step_by(4).all(|one| matches!(one, Err(Error::Foreign))));
    assert_eq!((count(&catalog, "jobs").await, count(&catalog, "versions").await), (30, 30));
}

#[tokio::test]
async fn a_catalog_that_cannot_be_opened_says_so_and_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("place");
    std::fs::write(&place, "a file, not a folder").unwrap();
    let catalog = Catalog::new(Settings::new(format!("sqlite:{}/catalog.sqlite", place.display())));
    assert!(matches!(catalog.ping().await, Err(Error::Unavailable(_))));
    std::fs::remove_file(&place).unwrap();
    catalog.ping().await.unwrap();
    let other = Catalog::new(Settings::new("mysql://nowhere"));
    assert!(matches!(other.open().await, Err(Error::Unavailable(_))));
}

#[tokio::test]
async fn galleries_keep_their_order_and_their_revision() {
    let Kept { catalog, .. } = kept();
    for name in ["a", "b", "c", "d"] {
        catalog.accept(accept("ann", name, name)).await.unwrap();
    }
    let item = |name: &str| ("shoes".to_owned(), name.to_owned());
    let names = async |id: &str| -> String {
        let page = catalog.gallery_items(Some("ann"), id, None, 10).await.unwrap();
        page.items.into_iter().map(|(_, name)| name).collect()
    };
    let gallery = catalog.create_gallery("ann", "summer").await.unwrap();
    let change = async |expected: Option<i64>, change: GalleryChange| {
        catalog.change_gallery(Some("ann"), &gallery.id, expected, change).await
    };
    change(Some(1), GalleryChange::Add { items: vec![item("a"), item("b")], at: None }).await.unwrap();
    let stale = change(Some(1), GalleryChange::Rename("winter".to_owned())).await;
    assert!(matches!(stale, Err(Error::Conflict)));
    change(Some(2), GalleryChange::Add { items: vec![item("c"), item("b")], at: Some(0) }).await.unwrap();
    assert_eq!(names(&gallery.id).await, "cba");
    change(None, GalleryChange::Order(vec![item("a")])).await.unwrap();
    assert_eq!(names(&gallery.id).await, "acb");
    change(None, GalleryChange::Cover(Some(item("c")))).await.unwrap();
    catalog.accept(accept("bob", "x", "x")).await.unwrap();
    let foreign = change(None, GalleryChange::Add { items: vec![item("x")], at: None }).await;
    assert!(matches!(foreign, Err(Error::NotFound)), "another owner's asset");
    let job = NewJob::new("ann", Kind::Delete, Priority::Normal, None, json!({}));
    let id = catalog.begin_delete(None, "shoes", "c", None, job).await.unwrap();
    catalog.finish_delete(&catalog.job(None, &id).await.unwrap()).await.unwrap();
    let after = catalog.gallery(None, &gallery.id).await.unwrap();
    assert_eq!((after.cover, after.items, after.revision), (None, 2, 5), "a deleted asset leaves its galleries");
    let first = catalog.gallery_items(None, &gallery.id, None, 1).await.unwrap();
    let rest = catalog.gallery_items(None, &gallery.id, first.next.as_deref(), 1).await.unwrap();
    assert_eq!((first.items[0].1.as_str(), rest.items[0].1.as_str(), rest.next), ("a", "b", None));
}

#[tokio::test]
async fn lists_are_read_page_by_page() {
    let Kept { catalog, .. } = kept();
    for name in ["a", "b", "b/c", "d", "e"] {
        catalog.accept(accept("ann", name, name)).await.unwrap();
    }
    let (mut cursor, mut names) = (None, Vec::new());
    loop {
        let page = catalog.assets(Some("ann"), &AssetFilter::default(), cursor.as_deref(), 2).await.unwrap();
        names.extend(page.items.into_iter().map(|asset| asset.id));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(names, ["a", "b", "b/c", "d", "e"]);
    let filter = AssetFilter { prefix: Some("b".to_owned()), ..Default::default() };
    assert_eq!(catalog.assets(None, &filter, None, 10).await.unwrap().items.len(), 2);
    let first = catalog.jobs(None, &JobFilter::default(), None, 3).await.unwrap();
    let rest = catalog.jobs(None, &JobFilter::default(), first.next.as_deref(), 3).await.unwrap();
    assert_eq!((first.items.len(), rest.items.len(), rest.next), (3, 2, None));
}

#[tokio::test]
async fn popularity_fades_and_shares_make_one() {
    let Kept { catalog, clock, .. } = kept();
    let day = Duration::from_secs(86_400);
    let counts = |all: &[(&str, f64)]| {
        let shape = |(shape, count): &(&str, f64)| Shape {
            category: "shoes".to_owned(),
            shape: (*shape).to_owned(),
            count: *count,
            bytes: 10.0 * count,
        };
        all.iter().map(shape).collect::<Vec<_>>()
    };
    catalog.merge_popularity(counts(&[("w_400.webp", 80.0), ("w_200.jpg", 20.0)]), day).await.unwrap();
    clock.advance(day);
    catalog.merge_popularity(counts(&[("w_200.jpg", 30.0)]), day).await.unwrap();
    let popular = catalog.popularity("shoes", day, 10).await.unwrap();
    let told: Vec<(&str, f64)> = popular.iter().map(|one| (one.shape.as_str(), one.count)).collect();
    assert_eq!(told, [("w_200.jpg", 40.0), ("w_400.webp", 40.0)]);
    assert_eq!(popular.iter().map(|one| one.share).sum::<f64>(), 1.0);
    assert_eq!(popular[0].bytes, (200.0 * 10.0 + 300.0 * 30.0) / 40.0, "the mean of what counts");
}

#[tokio::test]
async fn what_is_due_is_due_for_one() {
    let Kept { catalog, clock, .. } = kept();
    let hour = Duration::from_secs(3600);
    assert!(catalog.due("cleanup", hour, "a").await.unwrap());
    assert!(!catalog.due("cleanup", hour, "b").await.unwrap());
    clock.advance(hour);
    let asked = futures_util::future::join_all((0..8).map(|_| catalog.due("cleanup", hour, "c"))).await;
    assert_eq!(asked.into_iter().filter(|yes| *yes.as_ref().unwrap()).count(), 1);
}

#[tokio::test]
async fn keys_and_uploads_end_once() {
    let Kept { catalog, clock, .. } = kept();
    assert!(!catalog.any_key().await.unwrap());
    let key = ApiKey {
        id: "key_1".to_owned(),
        owner: "ann".to_owned(),
        name: "laptop".to_owned(),
        hash: "ff".to_owned(),
        role: "uploader".to_owned(),
        categories: Some(vec!["shoes".to_owned()]),
        created_ms: 1,
        expires_ms: None,
        revoked_ms: None,
        last_used_ms: None,
    };
    catalog.insert_key(key.clone()).await.unwrap();
    assert!(matches!(catalog.insert_key(key.clone()).await, Err(Error::Conflict)));
    catalog.touch_keys(vec![("key_1".to_owned(), 9), ("key_1".to_owned(), 7)]).await.unwrap();
    assert!(matches!(catalog.revoke_key(Some("bob"), "key_1").await, Err(Error::NotFound)));
    catalog.revoke_key(Some("ann"), "key_1").await.unwrap();
    let kept = catalog.key("key_1").await.unwrap().unwrap();
    assert_eq!(kept, ApiKey { revoked_ms: Some(clock.now_ms()), last_used_ms: Some(9), ..key });
    let upload = Upload {
        id: "upl_1".to_owned(),
        owner: "ann".to_owned(),
        category: "shoes".to_owned(),
        asset: "red".to_owned(),
        filename: "red.jpg".to_owned(),
        content_type: None,
        bytes: Some(7),
        store_key: "uploads/1".to_owned(),
        multipart: None,
        variants: vec!["w_1.webp".to_owned()],
        priority: Some(Priority::High),
        state: UploadState::Open,
        job: None,
        created_ms: clock.now_ms(),
        expires_ms: clock.now_ms() + 1000,
    };
    catalog.create_upload(upload.clone()).await.unwrap();
    assert_eq!(catalog.upload(Some("ann"), "upl_1").await.unwrap(), upload);
    assert!(catalog.knows_key("uploads/1").await.unwrap());
    clock.advance(Duration::from_secs(2));
    assert_eq!(catalog.expired_uploads(10).await.unwrap().len(), 1);
    catalog.finish_upload(None, "upl_1", UploadState::Completed, Some("job_1")).await.unwrap();
    let again = catalog.finish_upload(None, "upl_1", UploadState::Aborted, None).await;
    assert!(matches!(again, Err(Error::State(_))));
    assert!(!catalog.knows_key("uploads/1").await.unwrap());
}

#[tokio::test]
async fn a_change_is_noticed_once() {
    let Kept { catalog, .. } = kept();
    let job = || NewJob::new("system", Kind::Reprocess, Priority::Low, None, json!({}));
    assert!(!catalog.mark("look shoes", "1", job()).await.unwrap(), "what was never seen has not changed");
    assert!(!catalog.mark("look shoes", "1", job()).await.unwrap());
    assert_eq!(count(&catalog, "jobs").await, 0);
    assert!(catalog.mark("look shoes", "2", job()).await.unwrap());
    assert!(!catalog.mark("look shoes", "2", job()).await.unwrap());
    assert!(!catalog.mark("look bags", "2", job()).await.unwrap());
    assert_eq!(count(&catalog, "jobs").await, 1);
}

#[tokio::test]
async fn old_events_go_but_for_those_that_history_is_made_of() {
    let Kept { catalog, clock, .. } = kept();
    for (asset, content) in [("kept", "one"), ("gone", "two")] {
        catalog.accept(accept("ann", asset, content)).await.unwrap();
        let job = claim_one(&catalog).await;
        let found = Inspected { width: 3, height: 2, profile: None, facts: json!({}) };
        catalog.record_inspected(&job, Ok(found)).await.unwrap();
        catalog.end(&job.id, job.lease, Ended::Completed { result: json!({}), follow: Vec::new() }).await.unwrap();
    }
    let delete = NewJob::new("ann", Kind::Delete, Priority::Normal, None, json!({}));
    catalog.begin_delete(Some("ann"), "shoes", "gone", None, delete).await.unwrap();
    let job = claim_one(&catalog).await;
    catalog.finish_delete(&job).await.unwrap();
    catalog.end(&job.id, job.lease, Ended::Completed { result: json!({}), follow: Vec::new() }).await.unwrap();
    let sweep = async |before_ms: i64| {
        let (mut after, mut removed) = (Some(0), 0);
        while let Some(seq) = after {
            let swept = catalog.sweep_events(before_ms, seq).await.unwrap();
            removed += swept.removed;
            after = swept.next;
        }
        removed
    };
    let all = count(&catalog, "events").await;
    assert_eq!(sweep(catalog.now_ms()).await, 0, "they are young");
    clock.advance(Duration::from_secs(60));
    catalog.accept(accept("ann", "young", "three")).await.unwrap();
    let young = count(&catalog, "events").await - all;
    let before = rows(&catalog, "kept").await;
    assert!(sweep(catalog.now_ms()).await > 0);
    let left = catalog.events(0, &EventFilter::default(), 100).await.unwrap();
    assert_eq!(left.iter().filter(|event| event.at_ms == catalog.now_ms()).count() as i64, young);
    let old: Vec<&Event> = left.iter().filter(|event| event.at_ms < catalog.now_ms()).collect();
    assert!(!old.is_empty() && old.iter().all(|event| event.asset.as_deref() == Some("kept")), "{old:?}");
    assert_eq!(rebuild(&history(&catalog, "kept").await), before, "history is whole");
    assert_eq!(sweep(catalog.now_ms()).await, 0);
}

#[tokio::test]
async fn jobs_that_are_there_become_parts_of_one() {
    let Kept { catalog, .. } = kept();
    let mut ids = Vec::new();
    for (asset, content) in [("a", "one"), ("b", "two"), ("c", "three")] {
        ids.push(catalog.accept(accept("ann", asset, content)).await.unwrap().job);
    }
    let end = async || {
        let job = claim_one(&catalog).await;
        catalog.end(&job.id, job.lease, Ended::Completed { result: json!({}), follow: Vec::new() }).await.unwrap();
        job.id
    };
    // One has ended, one is being worked on, one waits, and one is named twice.
    let first = end().await;
    assert!(ids.contains(&first));
    let named: Vec<String> = ids.iter().chain([&first]).cloned().chain(["job_none".to_owned()]).collect();
    let batch = catalog.gather("ann", named.clone(), None).await.unwrap();
    assert_eq!(catalog.gather("ann", named, None).await.unwrap(), batch, "asked again, the same");
    let whole = async || catalog.job(None, &batch).await.unwrap();
    assert_eq!((whole().await.done, whole().await.total, whole().await.state), (1, 3, JobState::Processing));
    assert!(matches!(catalog.gather("bob", ids.clone(), None).await, Err(Error::NotFound)), "another's are not there");
    end().await;
    end().await;
    assert_eq!((whole().await.done, whole().await.state), (3, JobState::Completed));
    // What has ended already makes a batch that has.
    let again = catalog.accept(Accept { queue_max: 100, ..accept("ann", "d", "four") }).await.unwrap().job;
    end().await;
    let batch = catalog.gather("ann", vec![again], None).await.unwrap();
    assert_eq!(catalog.job(None, &batch).await.unwrap().state, JobState::Completed);
}
