//! Uploads against the built binary, a folder and SQLite: what is taken exists, once, whatever is repeated, refused or killed.

use std::process::Command;
use std::time::Duration;

use fovea::base::{Deadline, Format, Size, Work};
use fovea::encode;
use fovea::pixels::{Layout, Picture};
use http::Method;
use serde_json::{Value, json};

use crate::support::api::{SHOP, form, text};
use crate::support::fovea::{Fovea, fixtures, samples};
use crate::support::origin::{Origin, answer, redirect};

fn photo() -> Vec<u8> {
    std::fs::read(samples().join("mountains.jpg")).unwrap()
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(fixtures().join(name)).unwrap()
}

/// The files of the store of originals, without descriptions and what comes in.
fn stored(server: &Fovea) -> Vec<String> {
    let root = server.folder.path().join("ingest");
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if !name.starts_with(".fovea-meta-") {
                files.push(path.strip_prefix(&root).unwrap().display().to_string());
            }
        }
    }
    files.sort();
    files
}

#[tokio::test]
async fn what_is_uploaded_exists_with_its_variants() {
    let server = Fovea::start_all(SHOP).await;
    let api = server.root();
    let taken = api.taken("/v1/assets/shop/peaks/one.jpg?variants=w_300.webp,w_80,h_80,fit_cover.jpg", photo()).await;
    let digest = blake3::hash(&photo()).to_hex();
    assert_eq!(text(&taken, "version"), format!("h{}", &digest[..16]));
    assert_eq!((text(&taken, "blake3"), text(&taken, "format")), (digest.as_str(), "jpg"));
    let job = api.completed(&taken).await;
    assert_eq!((&job["progress"]["done"], &job["progress"]["total"]), (&json!(2), &json!(2)), "{job}");
    assert!(job["metadata"]["dominant_colours"].is_array(), "{job}");
    assert_eq!(job["result"], serde_json::json!({}), "nothing is told twice");
    let variants = job["variants"].as_array().unwrap();
    assert_eq!(variants.len(), 2, "{job}");
    for (variant, url) in taken["urls"].as_object().unwrap() {
        let url = url.as_str().unwrap();
        let made = server.get(url).await;
        assert_eq!(made.status, 200, "{url}");
        assert!(made.header("cache-status").contains("hit"), "{variant} was made before it was asked for: {made:?}");
        let said = variants.iter().find(|one| one["variant"] == json!(variant)).unwrap();
        assert_eq!((said["bytes"].as_u64(), text(said, "url")), (Some(made.body.len() as u64), url), "{said}");
        assert!(said["ms"].is_u64() && said["attempts"].as_u64() >= Some(1), "{said}");
    }
    let version = text(&taken, "version");
    assert_eq!(
        stored(&server),
        [format!("originals/shop/peaks/one.jpg/{version}/one.jpg")],
        "the original has its place, and nothing else is left"
    );
    let original = server.get(&format!("/shop/peaks/one.jpg/{version}/orig.jpg")).await;
    assert!(original.body == photo());
}

/// An original whose pixels take more than the whole budget is looked at, reduced and cut all the same: rows are never all there.
#[tokio::test]
async fn an_original_may_be_larger_than_the_memory_for_work() {
    let server = Fovea::start_all(&format!("{SHOP}[memory]\nwork_bytes = \"48MiB\"\n")).await;
    let api = server.root();
    let size = Size::new(6000, 5000);
    let samples = (0..size.height).flat_map(|y| (0..size.width * 3).map(move |x| (x / 70 + y / 50) as u8)).collect();
    let picture = Picture::srgb8(size, Layout::Rgb, samples);
    let settings = encode::Settings::new(Format::Jpeg, 60);
    let bytes = encode::still(&picture, &settings, &Work::until(Deadline::after(Duration::from_secs(60)))).unwrap();
    let taken = api.taken("/v1/assets/shop/wide.jpg?variants=w_64.webp,crop_3000:2000:64:64.png", bytes).await;
    let job = api.completed(&taken).await;
    assert_eq!((&job["metadata"]["width"], &job["progress"]["done"]), (&json!(6000), &json!(2)), "{job}");
}

#[tokio::test]
async fn v0_leads_to_the_current_version_and_others_are_checked() {
    let server = Fovea::start_all(SHOP).await;
    let api = server.root();
    assert_eq!(server.get("/shop/a.jpg/v0/w_50.jpg").await.status, 404);
    let first = api.taken("/v1/assets/shop/a.jpg", photo()).await;
    api.completed(&first).await;
    let latest = server.get("/shop/a.jpg/v0/w_50.jpg").await;
    assert_eq!(latest.status, 302, "{latest:?}");
    let target = format!("/shop/a.jpg/{}/w_50.jpg", text(&first, "version"));
    assert_eq!((latest.header("location"), latest.header("cache-control")), (target.as_str(), "public, max-age=60"));
    assert_eq!(server.get(&target).await.status, 200);
    for version in ["v1", "v7", "h0123456789abcdef"] {
        assert_eq!(server.get(&format!("/shop/a.jpg/{version}/w_50.jpg")).await.status, 404, "{version}");
    }
    let second = api.taken("/v1/assets/shop/a.jpg", fixture("smooth.jpg")).await;
    api.completed(&second).await;
    assert_ne!(first["version"], second["version"]);
    let latest = server.get("/shop/a.jpg/v0/w_51.jpg").await;
    assert_eq!(latest.header("location"), format!("/shop/a.jpg/{}/w_51.jpg", text(&second, "version")));
    let (old, new) = (server.get(&target).await, server.get(latest.header("location")).await);
    assert_eq!((old.status.as_u16(), new.status.as_u16()), (200, 200), "an old version stays");
    assert_ne!(old.body, new.body);
    let whole = api.get("/v1/assets/shop/a.jpg").await.json();
    assert_eq!(whole["versions"].as_array().unwrap().len(), 2, "{whole}");
    assert_eq!(text(&whole, "version"), text(&second, "version"));
    let kinds: Vec<&str> = whole["history"].as_array().unwrap().iter().map(|event| text(event, "type")).collect();
    assert!(kinds.contains(&"asset.accepted") && kinds.contains(&"asset.inspected"), "{kinds:?}");
}

#[tokio::test]
async fn a_repetition_changes_nothing() {
    let server = Fovea::start_all(SHOP).await;
    let api = server.root();
    let put = async |key: &str, id: &str, body: Vec<u8>| {
        api.send(Method::PUT, &format!("/v1/assets/shop/{id}"), &[("idempotency-key", key)], body).await
    };
    let first = put("k1", "a.jpg", photo()).await;
    assert_eq!(first.status, 202);
    let (first, again) = (first.json(), put("k1", "a.jpg", photo()).await.json());
    for name in ["job_id", "version"] {
        assert_eq!(first[name], again[name], "{name}");
    }
    assert_eq!((&first["existed"], &again["existed"]), (&json!(false), &json!(true)));
    for (id, body) in [("a.jpg", fixture("smooth.jpg")), ("b.jpg", photo())] {
        let other = put("k1", id, body).await;
        assert_eq!((other.status.as_u16(), text(&other.json(), "code")), (422, "key-reused"), "{id}");
    }
    let same = api.taken("/v1/assets/shop/a.jpg", photo()).await;
    assert_eq!((&same["version"], &same["existed"]), (&first["version"], &json!(true)), "without a key, too");
    assert_eq!(stored(&server).len(), 1);
    let at_once = (0..8).map(|_| put("k2", "c.jpg", photo()));
    let at_once = futures_util::future::join_all(at_once).await;
    let jobs: std::collections::BTreeSet<String> =
        at_once.iter().map(|answer| text(&answer.json(), "job_id").to_owned()).collect();
    assert_eq!(jobs.len(), 1, "eight at once are one: {jobs:?}");
}

#[tokio::test]
async fn a_form_brings_many_files() {
    let server = Fovea::start_all(SHOP).await;
    let api = server.root();
    let (photo, text_file) = (photo(), b"no picture at all".to_vec());
    let (kind, body) = form(&[
        ("variants", None, b"w_64.webp"),
        ("id", None, b"peaks/first"),
        ("file", Some("one.jpg"), &photo),
        ("file", Some("../../two words.png"), &fixture("rgb8.png")),
        ("file", Some("notes.txt"), &text_file),
    ]);
    let answer = api.send(Method::POST, "/v1/assets/shop", &[("content-type", &kind)], body).await;
    assert_eq!(answer.status, 202, "{:?}", answer.body);
    let files = answer.json();
    let assets: Vec<&str> = files["assets"].as_array().unwrap().iter().map(|asset| text(asset, "asset")).collect();
    assert_eq!(assets, ["shop/peaks/first", "shop/two_words.png"]);
    assert_eq!(
        (&files["errors"][0]["filename"], &files["errors"][0]["code"]),
        (&json!("notes.txt"), &json!("unsupported-format"))
    );
    assert_eq!(answer.header("location"), text(&files, "status_url"));
    let whole = api.completed(&files).await;
    assert_eq!(
        (text(&whole, "kind"), &whole["progress"]["done"], &whole["progress"]["total"]),
        ("batch", &json!(2), &json!(2))
    );
    for asset in files["assets"].as_array().unwrap() {
        let job = api.completed(asset).await;
        assert_eq!(job["progress"]["total"], 1, "{job}");
        assert_eq!(job["parent"], files["job_id"], "{job}");
    }
    let parts = api.get(&format!("/v1/jobs?parent={}", text(&files, "job_id"))).await.json();
    assert_eq!(parts["items"].as_array().unwrap().len(), 2, "{parts}");
    // Named in another form, what has its batch keeps it; what ended before counts at once.
    let single = api.taken("/v1/assets/shop/single.jpg", fixture("gray.jpg")).await;
    api.completed(&single).await;
    let (kind, body) = form(&[
        ("file", Some("single.jpg"), &fixture("gray.jpg")),
        ("file", Some("two_words.png"), &fixture("rgb8.png")),
        ("file", Some("new.jpg"), &fixture("odd.jpg")),
    ]);
    let again = api.send(Method::POST, "/v1/assets/shop", &[("content-type", &kind)], body).await.json();
    let whole = api.completed(&again).await;
    assert_eq!((&whole["progress"]["total"], again["job_id"] == files["job_id"]), (&json!(2), false), "{whole}");
    let (kind, body) = form(&[("file", Some("alone.jpg"), &photo)]);
    let alone = api.send(Method::POST, "/v1/assets/shop", &[("content-type", &kind)], body).await.json();
    assert!(alone["job_id"].is_string() && alone["version"].is_string(), "{alone}");
    let (kind, body) = form(&[("note", None, b"hello")]);
    let none = api.send(Method::POST, "/v1/assets/shop", &[("content-type", &kind)], body).await;
    assert_eq!((none.status.as_u16(), text(&none.json(), "code")), (400, "bad-body"));
}

#[tokio::test]
async fn what_is_no_good_original_is_refused_and_leaves_nothing() {
    let config = format!("{SHOP}[limits]\nsource_bytes_max = \"2MiB\"\npixels_max = 20000000\n");
    let server = Fovea::start_all(&config).await;
    let api = server.root();
    let huge = {
        // A PNG's header that says 30000 pixels square.
        let mut bytes = fixture("rgb8.png");
        bytes[16..24].copy_from_slice(&[0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30]);
        let crc = crc32(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&crc.to_be_bytes());
        bytes
    };
    let table: [(&str, Vec<u8>, u16, &str); 9] = [
        ("shop/a", Vec::new(), 400, "empty-body"),
        ("shop/a", b"<html>not a picture</html>".to_vec(), 415, "unsupported-format"),
        ("shop/a", b"MZ\x90\0 a program".to_vec(), 415, "unsupported-format"),
        ("shop/a", fixture("rgb8.png")[..20].to_vec(), 422, "broken-image"),
        ("shop/a", huge, 413, "image-too-large"),
        ("shop/a", vec![0xff; 3 << 20], 413, "body-too-large"),
        ("none/a", photo(), 404, "unknown-category"),
        ("shop/a%2F..%2Fb", photo(), 400, "bad-id"),
        ("pics/a", photo(), 404, "unknown-category"),
    ];
    for (path, body, status, code) in table {
        let answer = api.put(&format!("/v1/assets/{path}"), body).await;
        assert_eq!((answer.status.as_u16(), text(&answer.json(), "code")), (status, code), "{path}");
    }
    let bad = api.put("/v1/assets/shop/a?variants=wobble_3.webp", photo()).await;
    assert_eq!((bad.status.as_u16(), text(&bad.json(), "code")), (400, "unknown-option"));
    assert_eq!(stored(&server), [""; 0]);
    assert_eq!(api.get("/v1/assets").await.json()["items"], json!([]));
    assert!(server.metric("fovea_ingest_rejected_total", &[]).await >= 5.0);
    // A header that is well and a body that is not: taken, and found out by the worker.
    let mut header_only = fixture("rgb8.png");
    let data = header_only.windows(4).position(|name| name == b"IDAT").unwrap() + 4;
    header_only[data..data + 8].fill(0xff);
    let taken = api.taken("/v1/assets/shop/broken.png", header_only).await;
    let job = api.ended(text(&taken, "job_id")).await;
    assert_eq!(job["status"], "failed", "{job}");
    assert_eq!(job["attempts"], 1, "a broken picture is not tried again: {job}");
    assert_eq!(api.get("/v1/assets/shop/broken.png").await.json()["state"], "broken");
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[tokio::test]
async fn above_the_queues_bound_nothing_is_taken() {
    // No worker: what is taken waits.
    let server = Fovea::start_idle(&format!("{SHOP}[queue]\nsize_max = 2\n")).await;
    let api = server.root();
    let mut seen = Vec::new();
    for (at, name) in ["odd.jpg", "smooth.jpg", "icc.jpg", "gray.jpg"].into_iter().enumerate() {
        let answer = api.put(&format!("/v1/assets/shop/{at}.jpg"), fixture(name)).await;
        seen.push(answer.status.as_u16());
        if answer.status == 429 {
            assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1, "{answer:?}");
            assert_eq!(text(&answer.json(), "code"), "queue-full");
        }
    }
    assert_eq!(seen, [202, 202, 429, 429]);
    assert_eq!(stored(&server).len(), 2);
    assert_eq!(api.get("/v1/assets").await.json()["items"].as_array().unwrap().len(), 2);
    let repeated = api.put("/v1/assets/shop/0.jpg", fixture("odd.jpg")).await;
    assert_eq!(repeated.status, 429, "without a key nobody knows that it is a repetition");
    let queue = api.get("/v1/queue").await.json();
    assert_eq!((&queue["waiting"], &queue["waiting_max"]), (&json!(2), &json!(2)), "{queue}");
}

#[tokio::test]
async fn what_was_acknowledged_outlives_a_kill() {
    let server = Fovea::start_idle(SHOP).await;
    let mut taken = Vec::new();
    for at in 0..5 {
        let path = format!("/v1/assets/shop/{at}.jpg?variants=w_{}.jpg", 40 + at);
        taken.push(server.root().taken(&path, fixture("smooth.jpg")).await);
    }
    let server = server.killed_and_started_all(SHOP).await;
    let api = server.root();
    for answer in &taken {
        api.completed(answer).await;
        for url in answer["urls"].as_object().unwrap().values() {
            assert_eq!(server.get(url.as_str().unwrap()).await.status, 200);
        }
    }
    // In the middle of the work, too.
    let more: Vec<Value> = futures_util::future::join_all((0..6).map(async |at| {
        let path = format!("/v1/assets/shop/more-{at}.jpg?variants=w_{}.webp", 300 + at);
        server.root().taken(&path, photo()).await
    }))
    .await;
    let server = server.killed_and_started_all(SHOP).await;
    for answer in &more {
        server.root().completed(answer).await;
    }
    let page = server.root().get("/v1/assets?limit=100").await.json();
    assert_eq!(page["items"].as_array().unwrap().len(), 11);
}

#[tokio::test]
async fn urls_are_fetched_as_sources_are() {
    let picture = photo();
    let elsewhere = Origin::start(move |request, _| match request.uri().path() {
        "/a.jpg" => answer(200, picture.clone()),
        "/away" => redirect("http://169.254.169.254/latest/meta-data/"),
        "/page" => answer(200, "<html></html>"),
        _ => answer(404, ""),
    })
    .await;
    let address = elsewhere.address;
    let open = SHOP.replace(
        "ingest = true",
        &format!("ingest = true\nallow_hosts = [\"{address}\", \"169.254.169.254\"]\nallow_networks = [\"127.0.0.1\"]"),
    );
    let server = Fovea::start_all(&open).await;
    let api = server.root();
    let fetch = async |path: &str| {
        let body = json!({ "url": format!("http://{address}{path}"), "category": "shop", "variants": ["w_70.webp"] });
        api.post("/v1/assets:fetch", body).await
    };
    let taken = fetch("/a.jpg").await;
    assert_eq!(taken.status, 202, "{:?}", taken.body);
    assert_eq!(text(&taken.json(), "asset"), "shop/a.jpg");
    api.completed(&taken.json()).await;
    for (path, status, code) in
        [("/away", 403, "source-forbidden"), ("/page", 415, "unsupported-format"), ("/none", 502, "fetch-failed")]
    {
        let answer = fetch(path).await;
        assert_eq!((answer.status.as_u16(), text(&answer.json(), "code")), (status, code), "{path}");
    }
    drop(server);
    let closed = Fovea::start_all(SHOP).await;
    let body = json!({ "url": format!("http://{address}/a.jpg"), "category": "shop" });
    let answer = closed.root().post("/v1/assets:fetch", body).await;
    assert_eq!(answer.status, 403, "an address of a private network is not asked: {answer:?}");
}

#[tokio::test]
async fn deleting_takes_everything() {
    let server = Fovea::start_all(SHOP).await;
    let api = server.root();
    let kept = api.taken("/v1/assets/shop/kept.jpg?variants=w_60.jpg", photo()).await;
    let gone = api.taken("/v1/assets/shop/gone.jpg?variants=w_60.jpg", photo()).await;
    api.completed(&kept).await;
    api.completed(&gone).await;
    let url = gone["urls"]["w_60.jpg"].as_str().unwrap().to_owned();
    assert_eq!(server.get(&url).await.status, 200);
    let answer = api.delete("/v1/assets/shop/gone.jpg").await;
    assert_eq!(answer.status, 202, "{:?}", answer.body);
    assert_eq!(server.get(&url).await.status, 404, "at once");
    api.completed(&answer.json()).await;
    assert_eq!(server.get(&url).await.status, 404);
    assert!(stored(&server).iter().all(|file| file.contains("kept.jpg")), "{:?}", stored(&server));
    assert_eq!(server.get(kept["urls"]["w_60.jpg"].as_str().unwrap()).await.status, 200);
    assert_eq!(api.delete("/v1/assets/shop/gone.jpg").await.status, 404);
    let again = api.taken("/v1/assets/shop/gone.jpg?variants=w_60.jpg", photo()).await;
    api.completed(&again).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(server.get(&url).await.status, 200, "it may come again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_put_in_by_the_command() {
    let server = Fovea::start_all(SHOP).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    for (name, from) in [("a.jpg", "odd.jpg"), ("sub/b.png", "rgb8.png"), ("c.webp", "lossy.webp")] {
        std::fs::copy(fixtures().join(from), folder.path().join(name)).unwrap();
    }
    let ingest = |prefix: &str, variants: &str, wait: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_fovea"))
            .args(["ingest", "--category", "shop", "--prefix", prefix, "--variants", variants])
            .args(["--api", &format!("http://{}", server.api), "--token", crate::support::fovea::TOKEN])
            .args(wait)
            .arg(folder.path())
            .env_clear()
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let run = || ingest("in/", "w_30.jpg", &["--wait"]);
    let (well, said, error) = tokio::task::block_in_place(run);
    assert!(well && said.starts_with("3 taken, 0 there before, 0 failed"), "{said}{error}");
    std::fs::write(folder.path().join("notes.txt"), "no picture").unwrap();
    let (well, said, error) = tokio::task::block_in_place(run);
    assert!(!well && said.starts_with("0 taken, 3 there before, 1 failed"), "{said}{error}");
    assert!(error.contains("notes.txt") && error.contains("415"), "{error}");
    let ids = server.root().get("/v1/assets?category=shop&prefix=in/").await.json();
    let ids: Vec<&str> = ids["items"].as_array().unwrap().iter().map(|asset| text(asset, "id")).collect();
    assert_eq!(ids, ["in/a.jpg", "in/c.webp", "in/sub/b.png"]);
    // Sent without waiting, and waited for by another: what becomes of the jobs is told then.
    std::fs::remove_file(folder.path().join("notes.txt")).unwrap();
    let (outside, wait) = ("crop_9000:0:1:1.png", &["--wait"]);
    let (well, said, _) = tokio::task::block_in_place(|| ingest("out/", outside, &[]));
    assert!(well && said.starts_with("3 taken"), "{said}");
    let (well, said, error) = tokio::task::block_in_place(|| ingest("out/", outside, wait));
    assert!(!well && said.starts_with("0 taken, 0 there before, 3 failed"), "{said}{error}");
    assert!(error.contains("lies outside of"), "{error}");
}
