//! What the catalog must do on every engine: what is written together, who sees what, and that events alone tell an asset's state.

use std::time::Duration;

use serde_json::json;

use super::*;

/// A catalog of its own, with a clock that stands.
struct Kept {
    catalog: Catalog,
    clock: Clock,
    url: String,
    _folder: Option<tempfile::TempDir>,
}

type Make = fn() -> Kept;

fn sqlite() -> Kept {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("deep/catalog.sqlite").display());
    Kept { _folder: Some(folder), ..kept(url) }
}

fn postgres() -> Kept {
    kept(server::shared().database())
}

fn kept(url: String) -> Kept {
    let clock = Clock::still(1_800_000_000_000);
    Kept { catalog: open(&url, &clock), clock, url, _folder: None }
}

fn open(url: &str, clock: &Clock) -> Catalog {
    Catalog::new(Settings { clock: clock.clone(), ..Settings::new(url) })
}

/// A test a behaviour and engine.
macro_rules! suite {
    ($($name:ident),* $(,)?) => {
        mod on_sqlite { $(#[tokio::test(flavor = "multi_thread")] async fn $name() { super::$name(super::sqlite).await; })* }
        mod on_postgres { $(#[tokio::test(flavor = "multi_thread")] async fn $name() { super::$name(super::postgres).await; })* }
    };
}

suite!(
    an_upload_is_accepted_whole_or_not_at_all,
    the_same_content_is_the_same_version_and_the_same_job,
    a_repeat_under_one_key_gets_the_first_answer,
    an_assets_state_is_rebuilt_from_its_events,
    one_owner_never_sees_anothers,
    what_was_written_is_there_after_another_start,
    writes_that_wait_together_are_one_transaction_and_fail_alone,
    galleries_keep_their_order_and_their_revision,
    lists_are_read_page_by_page,
    popularity_fades_and_shares_make_one,
    what_is_due_is_due_for_one,
    keys_and_uploads_end_once,
    numbers_of_events_leave_nothing_out,
    a_step_that_is_left_is_finished,
    many_who_write_one_asset_agree,
    a_change_is_noticed_once,
    old_events_go_but_for_those_that_history_is_made_of,
    jobs_that_are_there_become_parts_of_one,
    what_is_asked_back_is_confirmed_once_by_whichever_process,
);

fn accept(owner: &str, asset: &str, content: &str) -> Accept {
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

fn shape(count: f64) -> Shape {
    let [owner, category, shape] = ["ann", "shoes", "w_1.jpg"].map(str::to_owned);
    Shape { owner, category, shape, count, bytes: 7.0 }
}

async fn count(catalog: &Catalog, table: &'static str) -> i64 {
    let row = catalog.read_one(format!("SELECT COUNT(*) FROM {table}"), Vec::new()).await.unwrap().unwrap();
    row.cells().int().unwrap()
}

/// Claims the one job that waits.
async fn claim_one(catalog: &Catalog) -> Job {
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
    Ok(Inspected {
        width: 300,
        height: 200,
        profile: Some("Display P3".to_owned()),
        facts: json!({ "flat": false }),
        ms: 40,
    })
}

async fn an_upload_is_accepted_whole_or_not_at_all(make: Make) {
    let Kept { catalog, .. } = make();
    let accepted = catalog.accept(accept("ann", "red", "one")).await.unwrap();
    assert!(!accepted.existed);
    for table in ["assets", "versions", "jobs"] {
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

async fn the_same_content_is_the_same_version_and_the_same_job(make: Make) {
    let Kept { catalog, .. } = make();
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

async fn a_repeat_under_one_key_gets_the_first_answer(make: Make) {
    let Kept { catalog, .. } = make();
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

async fn what_is_asked_back_is_confirmed_once_by_whichever_process(make: Make) {
    let Kept { catalog, clock, url, .. } = make();
    let (other, minute) = (open(&url, &clock), Duration::from_secs(60));
    catalog.ask_back("clear k", "one").await.unwrap();
    assert!(!other.confirm("clear k", "two", minute).await.unwrap());
    assert!(!other.confirm("clear l", "one", minute).await.unwrap(), "it is another's");
    clock.advance(minute);
    let (here, there) =
        tokio::join!(catalog.confirm("clear k", "one", minute), other.confirm("clear k", "one", minute));
    assert!(here.unwrap() != there.unwrap(), "it counts once");
    catalog.ask_back("clear k", "three").await.unwrap();
    catalog.ask_back("clear k", "four").await.unwrap();
    assert!(!other.confirm("clear k", "three", minute).await.unwrap(), "the last counts");
    clock.advance(minute + Duration::from_millis(1));
    assert!(!other.confirm("clear k", "four", minute).await.unwrap(), "its time is over");
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

async fn an_assets_state_is_rebuilt_from_its_events(make: Make) {
    let Kept { catalog, clock, .. } = make();
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

async fn one_owner_never_sees_anothers(make: Make) {
    let Kept { catalog, .. } = make();
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

async fn what_was_written_is_there_after_another_start(make: Make) {
    let Kept { catalog, clock, url, _folder } = make();
    let accepted = catalog.accept(accept("ann", "red", "one")).await.unwrap();
    drop(catalog);
    let catalog = open(&url, &clock);
    assert_eq!(catalog.job(None, &accepted.job).await.unwrap().state, JobState::Queued);
    // A second process on the same database at the same time, which writes too.
    let second = open(&url, &clock);
    second.accept(accept("ann", "blue", "two")).await.unwrap();
    assert_eq!(catalog.assets(None, &AssetFilter::default(), None, 10).await.unwrap().items.len(), 2);
}

async fn writes_that_wait_together_are_one_transaction_and_fail_alone(make: Make) {
    let Kept { catalog, .. } = make();
    for at in (0..40).step_by(4) {
        catalog.accept(accept("ann", &format!("a{at}"), "first")).await.unwrap();
    }
    let uploads = (0..40).map(|at| {
        let catalog = catalog.clone();
        // Every fourth is refused.
        let owner = if at % 4 == 3 { "bob" } else { "ann" };
        async move { catalog.accept(accept(owner, &format!("a{}", at - at % 4), &format!("{at}"))).await }
    });
    let outcomes = futures_util::future::join_all(uploads).await;
    assert_eq!(outcomes.iter().filter(|one| one.is_ok()).count(), 30);
    assert!(outcomes.iter().skip(3).step_by(4).all(|one| matches!(one, Err(Error::Foreign))));
    assert_eq!((count(&catalog, "jobs").await, count(&catalog, "versions").await), (40, 40));
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

async fn galleries_keep_their_order_and_their_revision(make: Make) {
    let Kept { catalog, .. } = make();
    for name in ["a", "b", "c", "d"] {
        catalog.accept(accept("ann", name, name)).await.unwrap();
    }
    let item = |name: &str| ("shoes".to_owned(), name.to_owned());
    let names = async |id: &str| -> String {
        let page = catalog.gallery_items(Some("ann"), id, None, None, 10).await.unwrap();
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
    let outside = change(None, GalleryChange::Cover(Some(item("d")))).await;
    assert!(matches!(outside, Err(Error::State(_))), "{outside:?}");
    catalog.accept(accept("bob", "x", "x")).await.unwrap();
    let foreign = change(None, GalleryChange::Add { items: vec![item("x")], at: None }).await;
    assert!(matches!(foreign, Err(Error::NotFound)), "another owner's asset");
    let job = NewJob::new("ann", Kind::Delete, Priority::Normal, None, json!({}));
    let id = catalog.begin_delete(None, "shoes", "c", None, job).await.unwrap();
    catalog.finish_delete(&catalog.job(None, &id).await.unwrap()).await.unwrap();
    let after = catalog.gallery(None, &gallery.id).await.unwrap();
    assert_eq!((after.cover, after.items, after.revision), (None, 2, 5), "a deleted asset leaves its galleries");
    let first = catalog.gallery_items(None, &gallery.id, None, None, 1).await.unwrap();
    let rest = catalog.gallery_items(None, &gallery.id, None, first.next.as_deref(), 1).await.unwrap();
    assert_eq!((first.items[0].1.as_str(), rest.items[0].1.as_str(), rest.next), ("a", "b", None));
    for (category, seen) in [("shoes", 2), ("hats", 0)] {
        let within = [category.to_owned()];
        assert_eq!(catalog.gallery_items(None, &gallery.id, Some(&within), None, 9).await.unwrap().items.len(), seen);
    }
    change(None, GalleryChange::Cover(Some(item("b")))).await.unwrap();
    assert!(change(None, GalleryChange::Remove(vec![item("a")])).await.unwrap().cover.is_some());
    assert!(change(None, GalleryChange::Remove(vec![item("b")])).await.unwrap().cover.is_none(), "it was taken out");
}

async fn lists_are_read_page_by_page(make: Make) {
    let Kept { catalog, .. } = make();
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
    for (category, seen) in [("shoes", 2), ("hats", 0)] {
        let filter = AssetFilter { within: Some(vec![category.to_owned()]), ..Default::default() };
        let page = catalog.assets(Some("ann"), &filter, None, 2).await.unwrap();
        assert_eq!(
            (page.items.len(), page.next.is_some()),
            (seen, seen > 0),
            "a key's scope is no sieve behind a page"
        );
    }
    let filter = AssetFilter { prefix: Some("b".to_owned()), ..Default::default() };
    assert_eq!(catalog.assets(None, &filter, None, 10).await.unwrap().items.len(), 2);
    let first = catalog.jobs(None, &JobFilter::default(), None, 3).await.unwrap();
    let rest = catalog.jobs(None, &JobFilter::default(), first.next.as_deref(), 3).await.unwrap();
    assert_eq!((first.items.len(), rest.items.len(), rest.next), (3, 2, None));
}

async fn popularity_fades_and_shares_make_one(make: Make) {
    let Kept { catalog, clock, .. } = make();
    let day = Duration::from_secs(86_400);
    let counts = |owner: &str, all: &[(&str, f64)]| {
        let shape = |(shape, count): &(&str, f64)| Shape {
            owner: owner.to_owned(),
            category: "shoes".to_owned(),
            shape: (*shape).to_owned(),
            count: *count,
            bytes: 10.0 * count,
        };
        all.iter().map(shape).collect::<Vec<_>>()
    };
    catalog.merge_popularity(counts("ann", &[("w_400.webp", 80.0), ("w_200.jpg", 20.0)]), day).await.unwrap();
    clock.advance(day);
    catalog.merge_popularity(counts("ann", &[("w_200.jpg", 30.0)]), day).await.unwrap();
    let popular = catalog.popularity(None, "shoes", day, 10).await.unwrap();
    let told: Vec<(&str, f64)> = popular.iter().map(|one| (one.shape.as_str(), one.count)).collect();
    assert_eq!(told, [("w_200.jpg", 40.0), ("w_400.webp", 40.0)]);
    assert_eq!(popular.iter().map(|one| one.share).sum::<f64>(), 1.0);
    assert_eq!(popular[0].bytes, (200.0 * 10.0 + 300.0 * 30.0) / 40.0, "the mean of what counts");
    catalog.merge_popularity(counts("bob", &[("w_200.jpg", 120.0)]), day).await.unwrap();
    let of = async |owner| {
        let popular = catalog.popularity(owner, "shoes", day, 10).await.unwrap();
        popular.into_iter().map(|one| (one.shape, one.count, one.share)).collect::<Vec<_>>()
    };
    assert_eq!(of(Some("bob")).await, [("w_200.jpg".to_owned(), 120.0, 1.0)], "nobody sees another's");
    assert_eq!(of(Some("ann")).await.len(), 2);
    let all = [("w_200.jpg".to_owned(), 160.0, 0.8), ("w_400.webp".to_owned(), 40.0, 0.2)];
    assert_eq!(of(None).await, all, "the server itself sees the sum");
}

async fn what_is_due_is_due_for_one(make: Make) {
    let Kept { catalog, clock, .. } = make();
    let hour = Duration::from_secs(3600);
    assert!(catalog.due("cleanup", hour, "a").await.unwrap());
    assert!(!catalog.due("cleanup", hour, "b").await.unwrap());
    clock.advance(hour);
    let asked = futures_util::future::join_all((0..8).map(|_| catalog.due("cleanup", hour, "c"))).await;
    assert_eq!(asked.into_iter().filter(|yes| *yes.as_ref().unwrap()).count(), 1);
}

async fn keys_and_uploads_end_once(make: Make) {
    let Kept { catalog, clock, .. } = make();
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

/// Processes that write at once; one that reads on from the last number it saw sees every event, each once.
async fn numbers_of_events_leave_nothing_out(make: Make) {
    let Kept { catalog, clock, url, _folder } = make();
    catalog.open().await.unwrap();
    let written = (0..4).map(|process| {
        let catalog = open(&url, &clock);
        tokio::spawn(async move {
            let galleries = (0..40).map(|at| {
                let (catalog, name) = (catalog.clone(), format!("g{process}-{at}"));
                // As many at once as the engine takes.
                async move { catalog.create_gallery("ann", &name).await.unwrap().id }
            });
            futures_util::future::join_all(galleries).await
        })
    });
    let writing = futures_util::future::join_all(written.collect::<Vec<_>>());
    let reading = async {
        let (mut seen, mut after) = (Vec::new(), 0);
        while seen.len() < 160 {
            let page = catalog.events(after, &EventFilter::default(), 7).await.unwrap();
            after = page.last().map_or(after, |event| event.seq);
            seen.extend(page.into_iter().map(|event| event.data["gallery"].as_str().unwrap().to_owned()));
        }
        seen
    };
    let reading = tokio::time::timeout(Duration::from_secs(20), reading);
    let (written, seen) = futures_util::future::join(writing, reading).await;
    let mut seen = seen.expect("an event was passed over");
    let mut written: Vec<String> = written.into_iter().flat_map(Result::unwrap).collect();
    written.sort();
    seen.sort();
    assert_eq!(seen, written);
}

/// The caller hangs up in the middle: what began is written whole, and the next one finds no transaction left open.
async fn a_step_that_is_left_is_finished(make: Make) {
    let Kept { catalog, .. } = make();
    catalog.open().await.unwrap();
    for at in 0..20 {
        let name = format!("a{at}");
        let upload = catalog.accept(accept("ann", &name, &name));
        drop(tokio::time::timeout(Duration::from_micros(at * 200), upload).await);
    }
    catalog.accept(accept("ann", "last", "last")).await.unwrap();
    // Those that began come to their end by themselves.
    let (mut before, mut now) = (-1, count(&catalog, "assets").await);
    while now != before {
        tokio::time::sleep(Duration::from_millis(100)).await;
        (before, now) = (now, count(&catalog, "assets").await);
    }
    assert_eq!((count(&catalog, "versions").await, count(&catalog, "jobs").await), (now, now));
}

/// Processes that write one asset at the same time lose nothing of each other.
async fn many_who_write_one_asset_agree(make: Make) {
    let Kept { catalog, clock, url, _folder } = make();
    catalog.open().await.unwrap();
    let others: Vec<Catalog> = (0..4).map(|_| open(&url, &clock)).collect();
    let uploads = (0..48).map(|at| {
        // Twelve contents, each four times.
        let (catalog, content) = (others[at % 4].clone(), format!("content {}", at % 12));
        tokio::spawn(async move { catalog.accept(accept("ann", "red", &content)).await.unwrap() })
    });
    let mut accepted = Vec::new();
    for upload in uploads.collect::<Vec<_>>() {
        accepted.push(upload.await.unwrap());
    }
    assert_eq!(accepted.iter().filter(|one| !one.existed).count(), 12);
    let jobs: std::collections::BTreeSet<&str> = accepted.iter().map(|one| one.job.as_str()).collect();
    assert_eq!(jobs.len(), 12, "a content has one job");
    let versions = catalog.versions(None, "shoes", "red").await.unwrap();
    assert_eq!(versions.iter().map(|one| one.number).collect::<Vec<_>>(), (1..=12).rev().collect::<Vec<_>>());
    assert_eq!(catalog.depth(None).await.unwrap().waiting(), 12);
    let counts: Vec<_> = (0..10)
        .map(|at| {
            let catalog = others[at % 4].clone();
            async move { catalog.merge_popularity(vec![shape(1.0)], Duration::from_secs(86_400)).await.unwrap() }
        })
        .collect();
    futures_util::future::join_all(counts).await;
    assert_eq!(catalog.popularity(None, "shoes", Duration::from_secs(86_400), 1).await.unwrap()[0].count, 10.0);
    assert_eq!(rebuild(&history(&catalog, "red").await), rows(&catalog, "red").await, "and so do the events");
}

#[tokio::test]
async fn a_catalog_is_moved_with_all_its_history() {
    let from = sqlite();
    for at in 0..250 {
        let upload = Accept { queue_max: 1000, ..accept("ann", &format!("a{at}"), &format!("{at}")) };
        from.catalog.accept(upload).await.unwrap();
    }
    let job = claim_one(&from.catalog).await;
    from.catalog.record_inspected(&job, found()).await.unwrap();
    from.catalog.create_gallery("ann", "Sommer – „schön“").await.unwrap();
    let day = Duration::from_secs(86_400);
    from.catalog.merge_popularity(vec![shape(0.1 + 0.2)], day).await.unwrap();
    let to = postgres();
    assert!(matches!(to.catalog.move_to(&from.catalog, |_| ()).await, Err(Error::State(_))), "to a server only");
    // Cut off in the middle, and asked for again.
    let mut told = Vec::new();
    let cut = tokio::time::timeout(Duration::from_millis(400), from.catalog.move_to(&to.catalog, |_| ())).await;
    drop(cut);
    tokio::time::sleep(Duration::from_millis(200)).await;
    from.catalog.move_to(&to.catalog, |moved| told.push(moved.clone())).await.unwrap_or_else(|error| {
        // It was quick enough to be done before it was cut off.
        assert!(matches!(error, Error::State(_)) && told.is_empty(), "{error}");
    });
    for table in ["assets", "versions", "jobs", "events", "popularity", "galleries"] {
        assert_eq!(count(&from.catalog, table).await, count(&to.catalog, table).await, "{table}");
    }
    assert_eq!(to.catalog.depth(None).await.unwrap(), from.catalog.depth(None).await.unwrap());
    assert_eq!(history(&to.catalog, "a7").await, history(&from.catalog, "a7").await);
    let last = to.catalog.last_event().await.unwrap();
    to.catalog.create_gallery("ann", "winter").await.unwrap();
    assert!(to.catalog.last_event().await.unwrap() > last, "numbers go on");
    let again = from.catalog.move_to(&to.catalog, |_| ()).await;
    assert!(matches!(again, Err(Error::State(_))), "a catalog in use is not written over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_that_is_being_filled_is_opened_by_the_move_alone() {
    let (from, to) = (sqlite(), postgres());
    from.catalog.accept(accept("ann", "a", "1")).await.unwrap();
    // As a move leaves it that was cut off.
    to.catalog.due("moving", Duration::from_secs(60), "").await.unwrap();
    let refused = open(&to.url, &to.clock).open().await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    let half_filled = Catalog::new(Settings { half_filled: true, ..Settings::new(&to.url) });
    from.catalog.move_to(&half_filled, |_| ()).await.unwrap();
    open(&to.url, &to.clock).open().await.unwrap();
}

/// The tables are the same in both dialects: names, columns, what may be missing, keys and indices.
#[tokio::test]
async fn both_dialects_have_one_schema() {
    let (sqlite, postgres) = (sqlite(), postgres());
    sqlite.catalog.open().await.unwrap();
    postgres.catalog.open().await.unwrap();
    let texts = async |catalog: &Catalog, sql: &'static str| -> Vec<String> {
        let rows = catalog.read(sql, Vec::new()).await.unwrap();
        let mut all: Vec<String> = rows.into_iter().map(|row| row.cells().text().unwrap()).collect();
        all.sort();
        all
    };
    let columns = (
        texts(
            &sqlite.catalog,
            "SELECT m.name || '.' || c.name || ' ' || CASE c.type WHEN 'INTEGER' THEN 'BIGINT' ELSE c.type END || ' '
                 || CASE WHEN c.\"notnull\" = 1 OR c.pk > 0 THEN 'set' ELSE 'open' END || ' ' || c.pk
             FROM sqlite_master m, pragma_table_info(m.name) c
             WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name NOT LIKE '_sqlx%'",
        )
        .await,
        texts(
            &postgres.catalog,
            "SELECT (c.table_name || '.' || c.column_name || ' ' || UPPER(c.data_type) || ' '
                 || CASE c.is_nullable WHEN 'NO' THEN 'set' ELSE 'open' END || ' ' || COALESCE(k.ordinal_position, 0))::TEXT
             FROM information_schema.columns c
             LEFT JOIN information_schema.table_constraints t ON t.table_schema = 'public' AND t.table_name = c.table_name
                 AND t.constraint_type = 'PRIMARY KEY'
             LEFT JOIN information_schema.key_column_usage k ON k.constraint_name = t.constraint_name
                 AND k.table_name = c.table_name AND k.column_name = c.column_name
             WHERE c.table_schema = 'public' AND c.table_name NOT LIKE '\\_sqlx%'",
        )
        .await,
    );
    assert!(columns.0.len() > 150, "{columns:?}");
    assert_eq!(columns.0, columns.1);
    // As they were written, less what the server adds to the text.
    let plain = |sql: String| {
        let words = sql.to_lowercase().replace("using btree", "").replace("public.", "").replace("::text", "");
        words.chars().filter(|letter| !letter.is_whitespace() && !"()\"".contains(*letter)).collect::<String>()
    };
    let indices = async |catalog: &Catalog, sql: &'static str| -> std::collections::BTreeSet<String> {
        texts(catalog, sql).await.into_iter().map(plain).collect()
    };
    let written = "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL";
    let kept = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND indexname NOT LIKE '%\\_pkey'";
    let (written, kept) = (indices(&sqlite.catalog, written).await, indices(&postgres.catalog, kept).await);
    assert!(written.len() > 20, "{written:?}");
    assert_eq!(written, kept);
    let migrations = async |catalog: &Catalog| count(catalog, "_sqlx_migrations").await;
    assert_eq!(migrations(&sqlite.catalog).await, migrations(&postgres.catalog).await);
}

async fn a_change_is_noticed_once(make: Make) {
    let Kept { catalog, .. } = make();
    let job = || vec![NewJob::new("system", Kind::Reprocess, Priority::Low, None, json!({}))];
    assert!(!catalog.mark("look shoes", "1", job()).await.unwrap(), "what was never seen has not changed");
    assert!(!catalog.mark("look shoes", "1", job()).await.unwrap());
    assert_eq!(count(&catalog, "jobs").await, 0);
    assert!(catalog.mark("look shoes", "2", job()).await.unwrap());
    assert!(!catalog.mark("look shoes", "2", job()).await.unwrap());
    assert!(!catalog.mark("look bags", "2", job()).await.unwrap());
    assert_eq!(count(&catalog, "jobs").await, 1);
}

async fn old_events_go_but_for_those_that_history_is_made_of(make: Make) {
    let Kept { catalog, clock, .. } = make();
    for (asset, content) in [("kept", "one"), ("gone", "two")] {
        catalog.accept(accept("ann", asset, content)).await.unwrap();
        let job = claim_one(&catalog).await;
        let found = Inspected { width: 3, height: 2, profile: None, facts: json!({}), ms: 1 };
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

async fn jobs_that_are_there_become_parts_of_one(make: Make) {
    let Kept { catalog, .. } = make();
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

#[tokio::test]
async fn the_log_of_sqlite_is_shortened_while_it_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.sqlite");
    let catalog = Catalog::new(Settings::new(format!("sqlite:{}", path.display())));
    catalog.open().await.unwrap();
    let length = || std::fs::metadata(&path).unwrap().len();
    let before = length();
    for at in 0..40 {
        catalog.accept(accept("ann", &format!("a{at}"), &format!("{at}"))).await.unwrap();
    }
    let begun = std::time::Instant::now();
    // What is written lies in the log first; the database's own file grows when it is moved there.
    while length() == before {
        assert!(begun.elapsed() < Duration::from_secs(30), "it is still in the log");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(catalog.assets(None, &AssetFilter::default(), None, 100).await.unwrap().items.len(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_that_share_a_catalog_go_by_its_clock() {
    let url = server::shared().database();
    let real = Clock::default().now_ms();
    let open = |wrong_ms: i64| {
        let clock = Clock::default();
        clock.tell(real + wrong_ms);
        Catalog::new(Settings { clock, ..Settings::new(&url) })
    };
    let (early, late) = (open(-600_000), open(600_000));
    assert!(early.lead("turn", "early", Duration::from_secs(60)).await.unwrap());
    assert!(!late.lead("turn", "late", Duration::from_secs(60)).await.unwrap(), "the lease runs for a minute");
    let apart = early.now_ms() - late.now_ms();
    assert!(apart.abs() < 5000, "{apart}");
}
