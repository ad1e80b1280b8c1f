//! Two origins over one derivative store, as behind a load balancer: what one stored first, both answer.

use fovea::object::ObjectStore;

use crate::origin::wait_for_store;
use crate::support::fovea::{Fovea, samples};
use crate::support::seaweedfs;

/// Two servers with one store whose originals of the same name differ, as two machines' encoders might.
async fn pair(store: &str) -> [Fovea; 2] {
    let config = format!("[derivatives]\nstore = \"{store}\"\n{}", s3());
    let servers = [Fovea::start(&config).await, Fovea::start(&config).await];
    for (server, sample) in servers.iter().zip(["mountains.jpg", "brushes.jpg"]) {
        std::fs::copy(samples().join(sample), server.folder.path().join("originals/same.jpg")).unwrap();
    }
    servers
}

fn s3() -> String {
    let s3 = seaweedfs::shared();
    let (access_key, secret_key) = s3.keys();
    format!(
        "[s3]\nendpoint = \"{}\"\naccess_key_id = \"{access_key}\"\nsecret_access_key = \"{secret_key}\"\n",
        s3.endpoint()
    )
}

/// Both make the same variant at the same moment: whichever stores it first, both answer with its bytes from then on.
async fn check(store: &str) {
    let [one, two] = pair(store).await;
    let path = "/pics/same.jpg/v1/w_1200,h_800,fit_fill,blur_3.auto";
    let accept = [("accept", "image/webp")];
    let (first, second) = tokio::join!(one.get_with(path, &accept), two.get_with(path, &accept));
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (200, 200), "{first:?} {second:?}");
    wait_for_store(&one).await;
    wait_for_store(&two).await;
    let raced = first.header("etag") != second.header("etag");
    assert!(raced, "both made their own: {} {}", first.header("cache-status"), second.header("cache-status"));
    let mut adopted = 0.0;
    for server in [&one, &two] {
        adopted += server.metric("fovea_store_writes_total", &["adopted"]).await;
        assert_eq!(server.metric("fovea_store_writes_total", &["replaced"]).await, 0.0);
    }
    assert_eq!(adopted, 2.0, "the variant and what `auto` came to");
    // Hot answers are kept by each thread for a second.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let (first, second) = (one.get_with(path, &accept).await, two.get_with(path, &accept).await);
    for name in ["etag", "last-modified", "content-type", "content-length"] {
        assert_eq!(first.header(name), second.header(name), "{name}");
    }
    assert_eq!(first.body, second.body);
    assert!(second.header("cache-status").contains("hit"), "{}", second.header("cache-status"));

    // A purge is heeded: what was made before it is replaced, not adopted.
    assert_eq!(one.purge(serde_json::json!({ "category": "pics" })).await.status, 200);
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let made = one.get_with(path, &accept).await;
    assert!(made.header("cache-status").contains("fwd=miss"), "{}", made.header("cache-status"));
    wait_for_store(&one).await;
    assert_eq!(one.metric("fovea_store_writes_total", &["replaced"]).await, 2.0);
}

#[tokio::test]
async fn two_origins_over_one_folder_agree() {
    let folder = tempfile::tempdir().unwrap();
    check(&format!("file:{}", folder.path().join("derivatives").display())).await;
}

#[tokio::test]
async fn two_origins_over_one_bucket_agree() {
    seaweedfs::shared().bucket("two-origins", "").await;
    check("s3://two-origins/derivatives").await;
}

/// Every object lies where the docs say, with all that an answer needs in its metadata; the same key in folder and bucket.
#[tokio::test]
async fn a_store_holds_what_the_layout_says() {
    let bucket = seaweedfs::shared().bucket("layout", "").await;
    let path = "/pics/mountains.jpg/v1/w_120.webp";
    let local = Fovea::start("").await;
    let made = local.get(path).await;
    wait_for_store(&local).await;
    let key = stored(&local, made.header("etag"));
    let parts: Vec<&str> = key.split('/').collect();
    let [root, hex, asset, variant] = parts[..] else { panic!("{key}") };
    assert_eq!((root, hex), ("cache", &asset[..2]), "{key}");
    assert!([asset, variant].iter().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit())), "{key}");

    let config = format!(
        "[derivatives]\nstore = \"s3://layout/a/b\"\nstorage_class = \"STANDARD\"\ncache_control = \"max-age=77\"\n{}",
        s3()
    );
    let server = Fovea::start(&config).await;
    let answer = server.get(path).await;
    assert_eq!(answer.status, 200);
    wait_for_store(&server).await;
    let meta = bucket.head(&format!("a/b/{key}")).await.unwrap();
    assert_eq!((meta.size as usize, meta.content_type.as_deref()), (answer.body.len(), Some("image/webp")));
    let known = |name: &str| meta.user.get(name).cloned().unwrap_or_default();
    assert_eq!(format!("\"{}\"", known("fovea-etag")), answer.header("etag"));
    assert_eq!((known("fovea-format").as_str(), known("fovea-width").as_str()), ("webp", "120"));
    for name in ["fovea-height", "fovea-quality", "fovea-profile", "fovea-engine", "fovea-made-at-ms"] {
        assert!(!known(name).is_empty(), "{name}: {:?}", meta.user);
    }
}

/// A derivative that is damaged where it lies is never answered, and made anew in its place.
#[tokio::test]
async fn what_is_damaged_in_the_store_is_replaced() {
    let server = Fovea::start("").await;
    let path = "/pics/mountains.jpg/v1/w_120.webp";
    let whole = server.get(path).await;
    wait_for_store(&server).await;
    let file = server.folder.path().join("derivatives").join(stored(&server, whole.header("etag")));
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let server = server.restart("").await;
    let answer = server.get(path).await;
    assert!(answer.header("cache-status").contains("fwd=miss"), "{}", answer.header("cache-status"));
    assert_eq!(answer.header("etag"), whole.header("etag"));
    wait_for_store(&server).await;
    assert_eq!(server.metric("fovea_store_writes_total", &["replaced"]).await, 1.0);
    let server = server.restart("").await;
    assert!(server.get(path).await.header("cache-status").contains("store"));
}

/// The key under which a server's folder keeps the variant with this validator.
fn stored(server: &Fovea, etag: &str) -> String {
    let folder = server.folder.path().join("derivatives");
    let etag = etag.trim_matches('"');
    let holds = |key: &String| {
        let bytes = std::fs::read(folder.join(key)).unwrap();
        bytes.windows(etag.len()).any(|window| window == etag.as_bytes())
    };
    files(&folder).into_iter().find(holds).unwrap_or_else(|| panic!("no file holds {etag}"))
}

/// The files below a folder, by their paths in it.
fn files(folder: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found
}
