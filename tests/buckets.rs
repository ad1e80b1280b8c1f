//! Uploads into a bucket: in parts, past the API, and by the bucket's own messages; against SeaweedFS.

use bytes::Bytes;
use fovea::object::s3::Multipart;
use fovea::object::{Error, ObjectStore, PutOptions, S3};
use http::Method;
use serde_json::{Value, json};

use crate::support::api::text;
use crate::support::fovea::{Fovea, samples};
use crate::support::origin::{Origin, answer};
use crate::support::seaweedfs;

fn photo() -> Vec<u8> {
    std::fs::read(samples().join("mountains.jpg")).unwrap()
}

/// A big picture that nobody can compress: a BMP of random colours.
fn large(bytes: usize) -> Vec<u8> {
    let width = 4096_u32;
    let height = (bytes / (width as usize * 3)) as u32;
    let mut next = random(7);
    let pixels: Vec<u8> = (0..width as usize * height as usize * 3).map(|_| next()).collect();
    let mut header = b"BM".to_vec();
    let size = 54 + pixels.len() as u32;
    for value in [size, 0, 54, 40, width, height, 1 | 24 << 16, 0, pixels.len() as u32, 2835, 2835, 0, 0] {
        header.extend_from_slice(&value.to_le_bytes());
    }
    header.extend_from_slice(&pixels);
    header
}

fn random(seed: u64) -> impl FnMut() -> u8 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    }
}

/// A server whose originals lie in a bucket of its own.
async fn server(bucket: &str, more: &str, workers: bool) -> (Fovea, S3) {
    let seaweed = seaweedfs::shared();
    let store = seaweed.bucket(bucket, "pre/").await;
    let (access, secret) = seaweed.keys();
    let config = format!(
        "[s3]\nendpoint = \"{}\"\naccess_key_id = \"{access}\"\nsecret_access_key = \"{secret}\"\n\
         [ingest]\nstore = \"s3://{bucket}/pre\"\nspool = \"spool\"\n{more}\n\
         [catalog]\nurl = \"sqlite:catalog.sqlite\"\n[category.shop]\ningest = true\nunsigned = \"options\"\n",
        seaweed.endpoint()
    );
    (if workers { Fovea::start_all(&config).await } else { Fovea::start_idle(&config).await }, store)
}

#[tokio::test]
async fn a_large_file_goes_in_parts() {
    let seaweed = seaweedfs::shared();
    seaweed.bucket("parts", "").await;
    let settings = fovea::object::s3::Settings {
        multipart: Multipart { above_bytes: 6 << 20, part_bytes: 5 << 20, parallel: 3 },
        ..seaweed.settings("parts", "")
    };
    let store = S3::new(settings).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let options = PutOptions {
        content_type: Some("image/bmp".into()),
        user: [("blake3".to_owned(), "abc".to_owned())].into(),
        if_absent: true,
        ..PutOptions::default()
    };
    for bytes in [1_000, 6 << 20, (6 << 20) + 1, 17 << 20] {
        let body: Vec<u8> = (0..bytes).map(|at: usize| ((at * 2_654_435_761) >> 9) as u8).collect();
        std::fs::write(&file, &body).unwrap();
        let key = format!("k/{bytes}");
        store.put_file(&key, &file, &options).await.unwrap();
        let reading = store.open(&key).await.unwrap();
        assert_eq!((reading.meta.size, reading.meta.content_type.as_deref()), (bytes as u64, Some("image/bmp")));
        assert_eq!(reading.meta.user, options.user);
        assert!(reading.bytes(1 << 30).await.unwrap() == body, "{bytes}");
        assert_eq!(store.put_file(&key, &file, &options).await.unwrap(), fovea::object::Put::Existed);
    }
    assert_eq!(store.unfinished_uploads().await.unwrap(), 0);
}

#[tokio::test]
async fn an_upload_in_parts_that_fails_is_aborted() {
    let server = Origin::start(|request, _| match (request.method().as_str(), request.uri().query()) {
        ("HEAD", _) => answer(404, ""),
        ("POST", Some(query)) if query.contains("uploads") => answer(
            200,
            "<InitiateMultipartUploadResult><Bucket>b</Bucket><Key>k</Key><UploadId>u1</UploadId></InitiateMultipartUploadResult>",
        ),
        ("PUT", Some(query)) if query.contains("partNumber=2") => answer(500, "<Error><Code>InternalError</Code></Error>"),
        ("PUT", _) => {
            let mut part = answer(200, "");
            part.headers_mut().insert("etag", "\"x\"".parse().unwrap());
            part
        }
        _ => answer(204, ""),
    })
    .await;
    let settings = fovea::object::s3::Settings {
        endpoint: Some(server.url()),
        multipart: Multipart { above_bytes: 6 << 20, part_bytes: 5 << 20, parallel: 1 },
        tries: 1,
        ..seaweedfs::shared().settings("b", "")
    };
    let store = S3::new(settings).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, vec![1; 16 << 20]).unwrap();
    let put = store.put_file("k", &file, &PutOptions::default()).await;
    assert!(matches!(put, Err(Error::Unavailable(_))), "{put:?}");
    let asked = server.asked.lock().unwrap();
    let last = asked.last().unwrap();
    assert_eq!(last.method(), Method::DELETE, "{:?}", last.uri());
    assert!(last.uri().query().unwrap().contains("uploadId=u1"), "{:?}", last.uri());
    let parts = asked.iter().filter(|request| request.method() == Method::PUT).count();
    assert_eq!(parts, 3, "the first part once, the second twice, and no other");
}

#[tokio::test]
async fn what_uploads_in_parts_left_is_taken_away_when_it_is_old() {
    let server = Origin::start(|request, _| match (request.method().as_str(), request.uri().query()) {
        ("GET", Some(query)) if query.contains("uploads") => answer(
            200,
            "<ListMultipartUploadsResult><Bucket>b</Bucket><IsTruncated>false</IsTruncated>\
             <Upload><Key>pre/old</Key><UploadId>u1</UploadId><Initiated>2020-01-01T00:00:00.000Z</Initiated></Upload>\
             <Upload><Key>pre/young</Key><UploadId>u2</UploadId><Initiated>2999-01-01T00:00:00.000Z</Initiated></Upload>\
             </ListMultipartUploadsResult>",
        ),
        _ => answer(204, ""),
    })
    .await;
    let settings = fovea::object::s3::Settings {
        endpoint: Some(server.url()),
        tries: 1,
        ..seaweedfs::shared().settings("b", "pre/")
    };
    let store = S3::new(settings).await.unwrap();
    assert_eq!(store.abort_uploads(std::time::SystemTime::now()).await.unwrap(), 1);
    let asked = server.asked.lock().unwrap();
    let gone: Vec<String> = asked
        .iter()
        .filter(|request| request.method() == Method::DELETE)
        .map(|request| request.uri().to_string())
        .collect();
    assert!(gone.len() == 1 && gone[0].contains("/pre/old") && gone[0].contains("uploadId=u1"), "{gone:?}");
}

#[tokio::test]
async fn an_upload_into_a_bucket_is_there_with_its_variants() {
    let (server, store) = server("ingest-large", "multipart_above = \"5MiB\"\npart_bytes = \"5MiB\"", true).await;
    let api = server.root();
    let body = large(14 << 20);
    let taken = api.taken("/v1/assets/shop/noise.bmp?variants=w_64.webp", body.clone()).await;
    api.completed(&taken).await;
    assert_eq!(server.get(taken["urls"]["w_64.webp"].as_str().unwrap()).await.status, 200);
    let key = format!("originals/shop/noise.bmp/{}/noise.bmp", text(&taken, "version"));
    let reading = store.open(&key).await.unwrap();
    assert_eq!(reading.meta.user["blake3"], text(&taken, "blake3"));
    assert_eq!((&*reading.meta.user["width"], reading.meta.content_type.as_deref()), ("4096", Some("image/bmp")));
    assert!(reading.bytes(1 << 30).await.unwrap() == body);
    assert_eq!(std::fs::read_dir(server.folder.path().join("spool")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_signed_put_bypasses_the_api() {
    let (server, store) = server("ingest-signed", "", true).await;
    let api = server.root();
    let asked = json!({ "category": "shop", "id": "big.jpg", "variants": ["w_48.jpg"], "content_type": "image/jpeg" });
    let offer = api.post("/v1/uploads", asked).await;
    assert_eq!(offer.status, 201, "{:?}", offer.body);
    let offer = offer.json();
    let complete = text(&offer, "complete_url");
    let early = api.send(Method::POST, complete, &[], "").await;
    assert_eq!((early.status.as_u16(), text(&early.json(), "code")), (409, "not-put"));
    let headers: Vec<(&str, &str)> = offer["headers"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
        .collect();
    let put = server.try_send(Method::PUT, text(&offer, "url"), &headers, Bytes::from(photo())).await.unwrap();
    assert_eq!(put.status, 200, "{put:?}");
    let stranger = api.key("uploader", "bob", &[]).await;
    assert_eq!(server.with_key(&stranger).send(Method::POST, complete, &[], "").await.status, 404);
    let done = api.send(Method::POST, complete, &[], "").await;
    assert_eq!(done.status, 202, "{:?}", done.body);
    let done = done.json();
    let job = api.completed(&done).await;
    assert_eq!(job["progress"]["total"], 1, "{job}");
    assert_eq!(server.get(done["urls"]["w_48.jpg"].as_str().unwrap()).await.status, 200);
    let again = api.send(Method::POST, complete, &[], "").await;
    assert_eq!((again.status.as_u16(), &again.json()["job_id"]), (202, &done["job_id"]));
    let key = format!("uploads/{}", text(&offer, "id"));
    assert!(matches!(store.head(&key).await, Err(Error::NotFound)), "what was put there has moved to its place");
    let asset = api.get("/v1/assets/shop/big.jpg").await.json();
    assert_eq!(asset["versions"][0]["origin"], "presigned", "{asset}");
}

#[tokio::test]
async fn what_lies_in_the_inbox_is_taken_when_the_bucket_tells() {
    let (server, store) = server("ingest-inbox", "", true).await;
    let api = server.root();
    let plain = PutOptions::default();
    store.put("inbox/shop/peaks/two words.jpg", photo().into(), &plain).await.unwrap();
    store.put("inbox/shop/notes.txt", Bytes::from_static(b"no picture"), &plain).await.unwrap();
    let record = |key: &str| json!({ "eventName": "ObjectCreated:Put", "s3": { "bucket": { "name": "ingest-inbox" }, "object": { "key": key } } });
    let message = json!({ "Records": [
        record("pre/inbox/shop/peaks/two+words.jpg"),
        record("pre/inbox/shop/notes.txt"),
        record("pre/elsewhere/shop/x.jpg"),
    ] });
    let noted = api.post("/v1/notifications/s3", message.clone()).await;
    assert_eq!(noted.status, 200, "{:?}", noted.body);
    let noted: Value = noted.json();
    assert_eq!(
        (&noted["assets"][0]["asset"], &noted["passed"]),
        (&json!("shop/peaks/two words.jpg"), &json!(1)),
        "{noted}"
    );
    assert_eq!(noted["errors"][0]["code"], "unsupported-format", "{noted}");
    api.completed(&noted["assets"][0]).await;
    assert!(matches!(store.head("inbox/shop/peaks/two words.jpg").await, Err(Error::NotFound)));
    assert!(store.head("inbox/shop/notes.txt").await.is_ok(), "what was not taken stays");
    let again = api.post("/v1/notifications/s3", message).await.json();
    assert_eq!((&again["assets"], &again["passed"]), (&json!([]), &json!(2)), "{again}");
}

#[tokio::test]
async fn large_uploads_take_flat_memory() {
    let (server, _) = server("ingest-flat", "", false).await;
    server.root().taken("/v1/assets/shop/first.jpg", photo()).await;
    let before = server.resident_bytes_peak();
    let four_at_once = async |bytes: usize| {
        let body = Bytes::from(large(bytes));
        let at_once = (0..4).map(|at| {
            let (server, body) = (&server, body.clone());
            async move { server.root().taken(&format!("/v1/assets/shop/{bytes}-{at}.bmp"), body).await }
        });
        futures_util::future::join_all(at_once).await;
        server.resident_bytes_peak().saturating_sub(before) >> 20
    };
    let short = four_at_once(20 << 20).await;
    let long = four_at_once(60 << 20).await;
    assert!(short < 48 && long < 48, "80 MiB of bodies took {short} MiB, 240 MiB of them {long} MiB");
    assert!(long < short + 16, "what is longer takes more: {short} MiB, then {long} MiB");
}
