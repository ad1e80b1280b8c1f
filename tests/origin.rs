//! The story of a request, from outside: memory, store, made now; `auto`, `v0`, `orig`, `info.json`; purges; one flight.

use http::Method;

use crate::support::fovea::{Fovea, samples};

const PHOTO: &str = "mountains.jpg";

#[tokio::test]
async fn a_variant_is_made_once_then_comes_from_memory_then_from_the_store() {
    let server = Fovea::start("").await;
    let path = format!("/pics/{PHOTO}/v1/w_200.jpg");
    let made = server.get(&path).await;
    assert_eq!(made.status, 200, "{made:?}");
    assert_eq!(made.header("content-type"), "image/jpeg");
    assert_eq!(made.header("cache-control"), "public, max-age=31536000, immutable");
    assert!(made.header("cache-status").contains("fwd=miss"), "{}", made.header("cache-status"));
    assert_eq!(dimensions(&made.body).0, 200);
    let again = server.get(&path).await;
    assert!(again.header("cache-status").contains("hit"), "{}", again.header("cache-status"));
    assert_eq!((&again.body, again.header("etag")), (&made.body, made.header("etag")));
    wait_for_store(&server).await;

    let etag = made.header("etag").to_owned();
    let server = server.restart("").await;
    let stored = server.get(&path).await;
    assert!(stored.header("cache-status").contains("store"), "{}", stored.header("cache-status"));
    assert_eq!((&stored.body, stored.header("etag")), (&made.body, etag.as_str()));
    let unchanged = server.get_with(&path, &[("if-none-match", &etag)]).await;
    assert_eq!((unchanged.status.as_u16(), unchanged.body.len()), (304, 0));
}

#[tokio::test]
async fn two_hundred_identical_misses_render_once() {
    let server = Fovea::start("").await;
    let path = format!("/pics/{PHOTO}/v1/w_333,blur_2.jpg");
    let answers = futures_util::future::join_all((0..200).map(|_| server.get(&path))).await;
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.body == answers[0].body));
    assert_eq!(server.metric("fovea_render_variants_total", &[]).await, 1.0);
}

#[tokio::test]
async fn auto_answers_by_accept_and_says_so() {
    let server = Fovea::start("").await;
    let path = format!("/pics/{PHOTO}/v1/w_160.auto");
    for (accept, expected) in [
        ("image/avif,image/webp,*/*;q=0.8", "image/avif"),
        ("image/webp,*/*;q=0.8", "image/webp"),
        ("image/avif;q=0,image/webp", "image/webp"),
        ("*/*", "image/jpeg"),
    ] {
        for _ in 0..2 {
            let answer = server.get_with(&path, &[("accept", accept)]).await;
            assert_eq!((answer.header("content-type"), answer.header("vary")), (expected, "Accept"), "{accept}");
        }
    }
    for (bucket, expected) in [("auto-avif", "image/avif"), ("auto-webp", "image/webp"), ("auto-base", "image/jpeg")] {
        let answer = server.get(&format!("/pics/{PHOTO}/v1/w_160.{bucket}")).await;
        assert_eq!((answer.header("content-type"), answer.header("vary")), (expected, ""), "{bucket}");
    }
}

#[tokio::test]
async fn auto_needs_no_source_once_it_was_chosen() {
    let server = Fovea::start("").await;
    let path = format!("/pics/{PHOTO}/v1/w_161.auto");
    let first = server.get_with(&path, &[("accept", "image/webp")]).await;
    assert_eq!(first.header("content-type"), "image/webp");
    wait_for_store(&server).await;
    let server = server.restart("").await;
    std::fs::remove_file(server.folder.path().join("originals").join(PHOTO)).unwrap();
    let kept = server.get_with(&path, &[("accept", "image/webp")]).await;
    // The harness copies fixtures at every start, so the original was there again until the line above.
    assert_eq!((kept.status.as_u16(), kept.header("content-type")), (200, "image/webp"));
}

#[tokio::test]
async fn latest_follows_the_original() {
    let server =
        Fovea::start("[category.pics]\nsource = \"file:originals\"\nunsigned = \"options\"\nlatest_max_age_s = 1\n")
            .await;
    let path = "/pics/changing.png/v0/w_32.png";
    let file = server.folder.path().join("originals/changing.png");
    std::fs::copy(samples().join("shapes.png"), &file).unwrap();
    let before = server.get(path).await;
    assert_eq!(before.status, 200, "{before:?}");
    assert!(before.header("cache-control").contains("max-age=1"), "{}", before.header("cache-control"));
    std::fs::copy(samples().join("mountains.jpg"), &file).unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    let after = server.get(path).await;
    assert_eq!(after.status, 200);
    assert_ne!(before.body, after.body);
}

#[tokio::test]
async fn originals_and_facts() {
    let server = Fovea::start("").await;
    let original = server.get(&format!("/pics/{PHOTO}/v1/orig.jpg")).await;
    assert_eq!(original.body, std::fs::read(samples().join(PHOTO)).unwrap());
    let info = server.get(&format!("/pics/{PHOTO}/v1/info.json")).await;
    assert_eq!(info.header("content-type"), "application/json");
    let facts = info.json();
    let hash = blake3::hash(&original.body).to_hex().to_string();
    assert_eq!(facts["blake3"], hash.as_str());
    assert_eq!(facts["format"], "jpg");
    assert_eq!(facts["frames"], 1);
    assert!(facts["blurhash"].as_str().unwrap().len() > 20, "{facts}");
    assert!(!facts["dominant_colours"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn checked_versions_are_the_originals_own_digest() {
    let config = "[category.pics]\nsource = \"file:originals\"\nunsigned = \"options\"\nversions = \"checked\"\n";
    let server = Fovea::start(config).await;
    let hash = blake3::hash(&std::fs::read(samples().join(PHOTO)).unwrap()).to_hex();
    let right = server.get(&format!("/pics/{PHOTO}/h{}/w_50.jpg", &hash[..16])).await;
    assert_eq!(right.status, 200, "{right:?}");
    assert_eq!(server.get(&format!("/pics/{PHOTO}/h0123456789abcdef/w_50.jpg")).await.status, 404);
    assert_eq!(server.get(&format!("/pics/{PHOTO}/v7/w_50.jpg")).await.status, 404);
}

#[tokio::test]
async fn purges_take_memory_and_store() {
    let server = Fovea::start("").await;
    let paths = [format!("/pics/{PHOTO}/v1/w_100.jpg"), format!("/pics/{PHOTO}/v1/thumb.auto")];
    for (what, gone) in [
        (serde_json::json!({ "asset": format!("pics/{PHOTO}") }), [true, true]),
        (serde_json::json!({ "category": "pics" }), [true, true]),
        (serde_json::json!({ "preset": "thumb" }), [false, true]),
        (serde_json::json!({ "url": paths[0] }), [true, false]),
        (serde_json::json!({ "url": paths[1] }), [false, true]),
    ] {
        for path in &paths {
            assert_eq!(server.get(path).await.status, 200);
        }
        wait_for_store(&server).await;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        let answer = server.purge(what.clone()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        if what["url"] == serde_json::json!(paths[0]) {
            assert_eq!(answer.json()["deleted"], 1, "what was there is counted, not what might have been");
        }
        for (path, gone) in paths.iter().zip(gone) {
            let status = server.get(path).await.header("cache-status").to_owned();
            assert_eq!(status.contains("fwd=miss"), gone, "{what} {path}: {status}");
        }
    }
    for token in ["", "wrong"] {
        let refused = server.purge_with(token, serde_json::json!({ "category": "pics" })).await;
        assert!(matches!(refused.status.as_u16(), 401 | 403), "{token:?}: {refused:?}");
    }
}

#[tokio::test]
async fn what_does_not_exist_or_is_no_picture_is_told_apart() {
    let server = Fovea::start("").await;
    std::fs::write(server.folder.path().join("originals/text.jpg"), "this is text\n").unwrap();
    std::fs::write(
        server.folder.path().join("originals/cut.png"),
        &std::fs::read(samples().join("shapes.png")).unwrap()[..40],
    )
    .unwrap();
    for (path, status, code) in [
        ("/pics/none.jpg/v1/w_1.jpg", 404, "not-found"),
        ("/pics/text.jpg/v1/w_1.jpg", 415, "unsupported-format"),
        ("/pics/cut.png/v1/w_1.jpg", 422, "broken-image"),
        ("/pics/mountains.jpg/v1/w_0.jpg", 400, "bad-value"),
        ("/pics/mountains.jpg/v1/wobble_1.jpg", 400, "unknown-option"),
        ("/nowhere/photo.jpg/v1/w_1.jpg", 404, "unknown-category"),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let answer = server.send(method.clone(), path, &[]).await;
            assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
            assert_eq!(answer.header("content-type"), "application/problem+json", "{path}");
            if method == Method::GET {
                assert_eq!(answer.json()["code"], code, "{path}: {}", answer.json());
            }
        }
    }
}

/// Width and height by the `image` crate, which is not what made the file.
pub fn dimensions(bytes: &[u8]) -> (u32, u32) {
    let mut decoder = zune_jpeg::JpegDecoder::new(std::io::Cursor::new(bytes));
    decoder.decode_headers().expect("a JPEG");
    let info = decoder.info().expect("headers were read");
    (u32::from(info.width), u32::from(info.height))
}

/// Waits until nothing waits to be written to the store.
pub async fn wait_for_store(server: &Fovea) {
    for _ in 0..500 {
        if server.metric("fovea_store_queue_writes", &[]).await == 0.0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the store's queue did not drain");
}
