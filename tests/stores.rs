//! One suite for what every object store promises, run on a folder and on S3; and what is S3's alone.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use fovea::object::s3::{Encryption, Keys, Settings};
use fovea::object::{Error, Fs, Layout, ObjectStore, Put, PutOptions, S3};
use futures_util::{StreamExt, stream};

use crate::support::origin::{Origin, Then, answer};
use crate::support::seaweedfs::{self, SeaweedFs};

fn options(if_absent: bool) -> PutOptions {
    let user = [("width", "400"), ("quality", "80"), ("icc", "sRGB IEC61966-2.1")];
    PutOptions {
        content_type: Some("image/webp".into()),
        user: user.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        if_absent,
        ..PutOptions::default()
    }
}

fn bytes(length: usize) -> Bytes {
    (0..length).map(|at| ((at * 2_654_435_761) >> 13) as u8).collect()
}

async fn read(store: &dyn ObjectStore, key: &str) -> Result<Bytes, Error> {
    store.open(key).await?.bytes(1 << 30).await
}

/// What every store promises.
async fn suite(store: &dyn ObjectStore) {
    store.ping().await.unwrap();
    what_is_not_there_is_not_found(store).await;
    what_was_put_is_read(store).await;
    keys_are_bytes(store).await;
    the_first_writer_stays(store).await;
    one_of_many_writers_wins(store).await;
    a_prefix_goes_and_no_more(store).await;
    a_file_becomes_an_object(store).await;
}

async fn what_is_not_there_is_not_found(store: &dyn ObjectStore) {
    assert!(matches!(store.open("no/such/object").await, Err(Error::NotFound)));
    assert!(matches!(store.head("no/such/object").await, Err(Error::NotFound)));
    store.delete("no/such/object").await.unwrap();
    assert_eq!(store.delete_prefix("no/such/").await.unwrap(), 0);
}

async fn what_was_put_is_read(store: &dyn ObjectStore) {
    let began = SystemTime::now() - Duration::from_secs(5);
    for length in [0, 1, 1000, 300_000, 5 << 20] {
        let body = bytes(length);
        assert_eq!(store.put("a/object", body.clone(), &options(false)).await.unwrap(), Put::Written);
        let meta = store.head("a/object").await.unwrap();
        let reading = store.open("a/object").await.unwrap();
        assert_eq!(reading.meta, meta, "opened and asked are one");
        assert_eq!((meta.size, meta.content_type.as_deref()), (length as u64, Some("image/webp")));
        assert_eq!(meta.user, options(false).user);
        assert!(!meta.validator.is_empty() && meta.modified.unwrap() > began);
        assert!(reading.bytes(length as u64).await.unwrap() == body, "{length} bytes");
        if length > 0 {
            let small = store.open("a/object").await.unwrap().bytes(length as u64 - 1).await;
            assert!(matches!(small, Err(Error::TooLarge { .. })));
        }
    }
    let before = store.head("a/object").await.unwrap().validator;
    store.put("a/object", bytes(10), &PutOptions::default()).await.unwrap();
    let after = store.head("a/object").await.unwrap();
    assert_ne!(after.validator, before);
    assert_eq!(after.user, BTreeMap::new(), "metadata is replaced, too");
    store.delete("a/object").await.unwrap();
    assert!(matches!(store.open("a/object").await, Err(Error::NotFound)));
}

async fn a_file_becomes_an_object(store: &dyn ObjectStore) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    for length in [0, 1000, 5 << 20] {
        std::fs::write(&file, bytes(length)).unwrap();
        assert_eq!(store.put_file("file/x", &file, &options(false)).await.unwrap(), Put::Written);
        let reading = store.open("file/x").await.unwrap();
        assert_eq!((reading.meta.size, &reading.meta.user), (length as u64, &options(false).user));
        assert_eq!(reading.meta.content_type.as_deref(), Some("image/webp"));
        assert!(reading.bytes(length as u64).await.unwrap() == bytes(length), "{length} bytes");
    }
    std::fs::write(&file, bytes(5 << 20)).unwrap();
    assert_eq!(store.put_file("file/x", &file, &options(true)).await.unwrap(), Put::Existed);
    store.delete("file/x").await.unwrap();
    assert!(matches!(store.head("file/x").await, Err(Error::NotFound)));
    let missing = store.put_file("file/y", &folder.path().join("none"), &options(true)).await;
    assert!(missing.is_err() && matches!(store.head("file/y").await, Err(Error::NotFound)), "{missing:?}");
}

async fn keys_are_bytes(store: &dyn ObjectStore) {
    let keys =
        ["k/plain", "k/with space", "k/a+b", "k/100%", "k/%2e%2e", "k/ü/漢.jpg", "k/q?x#y&z=1", "k/(1)'*!,;:@$[]"];
    for key in keys {
        store.put(key, Bytes::from(key), &PutOptions::default()).await.unwrap();
    }
    for key in keys {
        assert_eq!(read(store, key).await.unwrap(), key);
    }
    assert_eq!(store.delete_prefix("k/").await.unwrap(), keys.len() as u64);
    for key in keys {
        assert!(matches!(store.head(key).await, Err(Error::NotFound)), "{key}");
    }
}

async fn the_first_writer_stays(store: &dyn ObjectStore) {
    assert_eq!(store.put("f/x", bytes(10), &options(true)).await.unwrap(), Put::Written);
    assert_eq!(store.put("f/x", bytes(20), &options(true)).await.unwrap(), Put::Existed);
    assert_eq!(read(store, "f/x").await.unwrap(), bytes(10));
    assert_eq!(store.put("f/x", bytes(30), &options(false)).await.unwrap(), Put::Written);
    assert_eq!(read(store, "f/x").await.unwrap(), bytes(30));
    store.delete("f/x").await.unwrap();
    assert_eq!(store.put("f/x", bytes(40), &options(true)).await.unwrap(), Put::Written);
}

async fn one_of_many_writers_wins(store: &dyn ObjectStore) {
    for round in 0..5 {
        let key = &format!("race/{round}");
        let put = async |writer: u8| {
            let put = store.put(key, Bytes::from(vec![writer; 20_000]), &options(true)).await.unwrap();
            (writer, put)
        };
        let puts = futures_util::future::join_all((0..8).map(put)).await;
        let won: Vec<u8> = puts.iter().filter(|(_, put)| *put == Put::Written).map(|(writer, _)| *writer).collect();
        assert_eq!(won.len(), 1, "round {round}: {puts:?}");
        assert_eq!(read(store, key).await.unwrap(), vec![won[0]; 20_000]);
    }
}

async fn a_prefix_goes_and_no_more(store: &dyn ObjectStore) {
    for key in ["cache/ab/1/x", "cache/ab/1/y", "cache/ab/12/x", "cache/cd/1/x"] {
        store.put(key, bytes(10), &options(false)).await.unwrap();
    }
    assert_eq!(store.delete_prefix("cache/ab/1/").await.unwrap(), 2);
    assert!(matches!(store.head("cache/ab/1/x").await, Err(Error::NotFound)));
    assert!(store.head("cache/ab/12/x").await.is_ok() && store.head("cache/cd/1/x").await.is_ok());
    assert_eq!(store.delete_prefix("cache/").await.unwrap(), 2);
    assert_eq!(store.delete_prefix("cache/").await.unwrap(), 0);
}

#[tokio::test]
async fn a_folder_keeps_the_promises() {
    let folder = tempfile::tempdir().unwrap();
    suite(&Fs::new(folder.path().join("made"), Layout::Framed).unwrap()).await;
    suite(&Fs::new(folder.path().join("described"), Layout::Described).unwrap()).await;
    suite(&Fs::bounded(folder.path().join("bounded"), Layout::Framed, Some(1 << 30)).unwrap()).await;
}

#[tokio::test]
async fn s3_keeps_the_promises() {
    suite(&seaweedfs::shared().bucket("promises", "").await).await;
}

#[tokio::test]
async fn prefixes_part_a_bucket() {
    let server = seaweedfs::shared();
    let one = server.bucket("parted", "one/").await;
    let two = server.bucket("parted", "two/").await;
    suite(&one).await;
    for store in [&one, &two] {
        store.put("x", bytes(5), &options(false)).await.unwrap();
    }
    assert!(one.delete_prefix("").await.unwrap() > 0);
    assert!(matches!(one.head("x").await, Err(Error::NotFound)));
    assert_eq!(read(&two, "x").await.unwrap(), bytes(5));
    let all = server.bucket("parted", "").await;
    assert_eq!(read(&all, "two/x").await.unwrap(), bytes(5));
}

#[tokio::test]
async fn more_objects_than_a_page_go() {
    let store = seaweedfs::shared().bucket("pages", "").await;
    let put = async |number: usize| {
        let key = format!("many/{}/{number}", number % 7);
        store.put(&key, Bytes::from_static(b"x"), &PutOptions::default()).await.unwrap();
    };
    stream::iter(0..1050).map(put).buffer_unordered(16).collect::<Vec<()>>().await;
    store.put("few", Bytes::from_static(b"x"), &PutOptions::default()).await.unwrap();
    assert_eq!(store.delete_prefix("many/").await.unwrap(), 1050);
    assert!(store.head("few").await.is_ok());
}

#[tokio::test]
async fn who_is_refused_is_told_so() {
    let server = seaweedfs::shared();
    let mut settings = server.settings("refused", "");
    settings.credentials =
        Some(Keys { access_key: server.keys().0.into(), secret_key: "wrong".into(), session_token: None });
    let store = S3::new(settings).await.unwrap();
    assert!(matches!(store.open("x").await, Err(Error::Denied(_))));
    assert!(matches!(store.put("x", bytes(1), &options(true)).await, Err(Error::Denied(_))));
    assert!(store.ping().await.is_err());
    let store = S3::new(server.settings("no-such-bucket", "")).await.unwrap();
    assert!(matches!(store.ping().await, Err(Error::Denied(_))), "{:?}", store.ping().await);
}

#[tokio::test]
async fn a_server_that_went_is_unavailable() {
    let server = SeaweedFs::start();
    let store = S3::new(Settings { tries: 1, ..server.settings("ready", "") }).await.unwrap();
    store.put("x", bytes(1), &options(false)).await.unwrap();
    drop(server);
    let since = Instant::now();
    for result in [store.ping().await, store.head("x").await.map(drop), store.open("x").await.map(drop)] {
        assert!(matches!(result, Err(Error::Unavailable(_) | Error::Timeout(_))), "{result:?}");
    }
    assert!(since.elapsed() < Duration::from_secs(10));
}

/// A client of something that is no real S3, where a real one cannot be made to misbehave.
async fn client(origin: &Origin, change: impl FnOnce(&mut Settings)) -> S3 {
    let mut settings = Settings {
        endpoint: Some(origin.url()),
        path_style: true,
        credentials: Some(Keys { access_key: "a".into(), secret_key: "b".into(), session_token: None }),
        tries: 1,
        ..Settings::new("bucket", "prefix/")
    };
    change(&mut settings);
    S3::new(settings).await.unwrap()
}

#[tokio::test]
async fn a_put_says_what_the_settings_say() {
    let origin = Origin::start(|_, _| answer(200, "")).await;
    let store = client(&origin, |settings| {
        settings.encryption = Encryption::Kms { key_id: Some("key-1".into()) };
        settings.storage_class = Some("STANDARD_IA".into());
        settings.cache_control = Some("max-age=60".into());
        settings.region = Some("eu-central-1".into());
    })
    .await;
    store.put("a b", bytes(100), &options(true)).await.unwrap();
    let own = PutOptions {
        cache_control: Some("no-store".into()),
        storage_class: Some("GLACIER_IR".into()),
        ..PutOptions::default()
    };
    store.put("x", bytes(100), &own).await.unwrap();
    let table = [
        ("x-amz-server-side-encryption", Some("aws:kms")),
        ("x-amz-server-side-encryption-aws-kms-key-id", Some("key-1")),
        ("x-amz-storage-class", Some("STANDARD_IA")),
        ("cache-control", Some("max-age=60")),
        ("content-type", Some("image/webp")),
        ("content-length", Some("100")),
        ("x-amz-meta-width", Some("400")),
        ("if-none-match", Some("*")),
        ("content-encoding", None),
    ];
    for (name, wanted) in table {
        assert_eq!(origin.header(0, name).as_deref(), wanted, "{name}");
    }
    assert!(origin.header(0, "authorization").unwrap().contains("/eu-central-1/s3/aws4_request"));
    assert_eq!(origin.asked.lock().unwrap()[0].uri().path(), "/bucket/prefix/a%20b");
    assert_eq!(origin.header(1, "cache-control").as_deref(), Some("no-store"));
    assert_eq!(origin.header(1, "x-amz-storage-class").as_deref(), Some("GLACIER_IR"));
    assert_eq!(origin.header(1, "if-none-match"), None);
    let plain = client(&origin, |settings| settings.encryption = Encryption::Aes256).await;
    plain.put("x", bytes(1), &own).await.unwrap();
    assert_eq!(origin.header(2, "x-amz-server-side-encryption").as_deref(), Some("AES256"));
}

#[tokio::test]
async fn a_server_without_conditions_is_asked_first() {
    let origin = Origin::start(|request, _| match request.method().as_str() {
        "PUT" if request.headers().contains_key("if-none-match") => {
            answer(501, "<Error><Code>NotImplemented</Code></Error>")
        }
        "HEAD" if request.uri().path().ends_with("there") => answer(200, ""),
        "HEAD" => answer(404, ""),
        _ => answer(200, ""),
    })
    .await;
    let store = client(&origin, |_| {}).await;
    assert_eq!(store.put("new", bytes(1), &options(true)).await.unwrap(), Put::Written);
    assert_eq!(store.put("there", bytes(1), &options(true)).await.unwrap(), Put::Existed);
    let methods: Vec<String> = origin.asked.lock().unwrap().iter().map(|asked| asked.method().to_string()).collect();
    assert_eq!(methods, ["PUT", "HEAD", "PUT", "HEAD"]);
}

#[tokio::test]
async fn failures_are_told_apart() {
    let table: [(u16, &str, fn(&Error) -> bool); 7] = [
        (404, "<Error><Code>NoSuchKey</Code></Error>", |error| matches!(error, Error::NotFound)),
        (404, "<Error><Code>NoSuchBucket</Code></Error>", |error| matches!(error, Error::Denied(_))),
        (403, "<Error><Code>AccessDenied</Code></Error>", |error| matches!(error, Error::Denied(_))),
        (400, "<Error><Code>ExpiredToken</Code></Error>", |error| matches!(error, Error::Denied(_))),
        (503, "<Error><Code>SlowDown</Code><Message>later</Message></Error>", |error| {
            matches!(error, Error::Unavailable(_))
        }),
        (500, "", |error| matches!(error, Error::Unavailable(_))),
        (200, "no length is a lie", |error| matches!(error, Error::Unavailable(_))),
    ];
    for (status, body, wanted) in table {
        let origin = Origin::start(move |_, _| {
            let mut answer = answer(status, body);
            if status == 200 {
                *answer.body_mut() =
                    http_body_util::BodyExt::boxed(http_body_util::StreamBody::new(stream::iter([Ok(
                        hyper::body::Frame::data(Bytes::from(body)),
                    )])));
            }
            answer
        })
        .await;
        let error = client(&origin, |_| {}).await.open("x").await.err().unwrap();
        assert!(wanted(&error), "{status} {body}: {error:?}");
    }
}

#[tokio::test]
async fn a_slow_server_and_a_broken_body_end_in_time() {
    let since = Instant::now();
    let origin = Origin::raw("", Then::Hang).await;
    let quick = |settings: &mut Settings| {
        settings.read_timeout = Duration::from_millis(100);
        settings.operation_timeout = Duration::from_millis(300);
    };
    let error = client(&origin, quick).await.open("x").await.err().unwrap();
    assert!(matches!(error, Error::Timeout(_)), "{error:?}");
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\netag: \"x\"\r\n\r\nabc";
    let origin = Origin::raw(head, Then::Hang).await;
    let reading = client(&origin, quick).await.open("x").await.unwrap();
    assert_eq!(reading.meta.size, 100);
    assert!(matches!(reading.bytes(1000).await, Err(Error::Timeout(_))));
    let origin = Origin::raw(head, Then::Close).await;
    let reading = client(&origin, quick).await.open("x").await.unwrap();
    assert!(matches!(reading.bytes(1000).await, Err(Error::Unavailable(_))));
    assert!(since.elapsed() < Duration::from_secs(20));
}
