//! What headers follow from which URL and category.

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::plan::{Colour, Dpr, Fit, Flip, Gravity, Metadata, Plan, Signed};

pub(crate) fn plan() -> Plan {
    Plan {
        width: None,
        height: None,
        fit: Fit::Contain,
        gravity: Gravity::Point(0.5, 0.5),
        crop: None,
        rotate: 0,
        flip: Flip::default(),
        dpr: Dpr(100),
        background: None::<Colour>,
        pad: [0; 4],
        blur: 0.0,
        sharpen: 0.0,
        gray: false,
        enlarge: false,
        animate: true,
        metadata: Metadata::None,
        keep_profile: false,
        quality: None,
        bytes_max: None,
        download: None,
        output: Output::Negotiate,
    }
}

pub(crate) fn request(ask: Ask) -> Request {
    Request {
        category: Arc::from("demo"),
        id: "shoes/red 42,b".to_owned(),
        version: Version::Number(3),
        ask,
        preset: None,
        signed: None,
        redirect: None,
        canonical: "/demo/shoes/red%2042,b/v3/w_40.auto".to_owned(),
    }
}

pub(crate) fn entry(bytes: Bytes, modified: SystemTime) -> Entry {
    Entry {
        bytes,
        content_type: "image/webp",
        etag: "\"e\"".to_owned(),
        modified,
        size: None,
        format: None,
        quality: None,
        damaged: true,
        engine: 1,
        made_at_ms: 0,
    }
}

fn policy() -> Policy {
    Policy {
        max_age: Duration::from_secs(31_536_000),
        latest_max_age: Duration::from_secs(60),
        preset_max_age: Duration::from_secs(86_400),
        stale_while_revalidate: None,
        client_hints: false,
        cors: Vec::new(),
        negotiates: true,
    }
}

fn at(seconds: u64) -> impl Fn() -> SystemTime {
    move || UNIX_EPOCH + Duration::from_secs(seconds)
}

#[test]
fn vary_says_exactly_what_was_looked_at() {
    let check = |plan: Plan, hints: bool, negotiates: bool, cors: &[&str], wanted: Option<&str>| {
        let cors = cors.iter().map(|origin| (*origin).to_owned()).collect();
        let policy = Policy { client_hints: hints, negotiates, cors, ..policy() };
        let vary = Looked::at(&request(Ask::Image(Box::new(plan))), &policy).vary();
        assert_eq!(vary.as_ref().map(|value| value.to_str().unwrap()), wanted);
    };
    let fixed = || Plan { output: Output::Format(crate::base::Format::WebP), ..plan() };
    let auto_width = || Plan { width: Some(Width::Auto), ..plan() };
    check(plan(), false, true, &[], Some("Accept"));
    check(plan(), false, false, &[], None);
    check(fixed(), false, true, &[], None);
    check(fixed(), true, true, &[], None);
    check(Plan { output: Output::Bucket(crate::plan::Bucket::Avif), ..plan() }, false, true, &[], None);
    check(plan(), true, true, &[], Some("Accept, Save-Data"));
    check(auto_width(), true, true, &[], Some("Accept, Sec-CH-Width, Sec-CH-DPR, Width, DPR, Save-Data"));
    check(auto_width(), false, true, &[], Some("Accept"));
    check(plan(), false, true, &["*"], Some("Accept"));
    check(plan(), false, true, &["https://a.example"], Some("Accept, Origin"));
    check(fixed(), false, true, &["https://a.example"], Some("Origin"));
    let info = Looked::at(&request(Ask::Info), &Policy { client_hints: true, ..policy() });
    assert_eq!(info.vary(), None);
}

#[test]
fn a_url_that_was_not_understood_varies_as_if_it_had_been() {
    let hints = Policy { client_hints: true, ..policy() };
    let auto = request(Ask::Image(Box::new(plan())));
    let wide = request(Ask::Image(Box::new(Plan { width: Some(Width::Auto), ..plan() })));
    assert_eq!(Looked::at_path("/demo/a/v1/zzz_1.auto", &policy()), Looked::at(&auto, &policy()));
    assert_eq!(Looked::at_path("/demo/a/v1/zzz_1.auto", &hints), Looked::at(&auto, &hints));
    assert_eq!(Looked::at_path("/demo/a/v1/w_auto,zzz_1.auto", &hints), Looked::at(&wide, &hints));
    assert_eq!(Looked::at_path("/demo/a.auto/v1/zzz_1.png", &hints), Looked::default());
}

#[test]
fn lifetimes() {
    let year = Policy { stale_while_revalidate: Some(Duration::from_secs(30)), ..policy() };
    let check = |change: &dyn Fn(&mut Request), wanted: &str| {
        let mut request = request(Ask::Image(Box::new(plan())));
        change(&mut request);
        assert_eq!(Lifetime::of(&request, &year, at(1000)).value().to_str().unwrap(), wanted);
    };
    let signed = |expiry| Some(Signed { kid: Arc::from("k1"), expiry });
    check(&|_| (), "public, max-age=31536000, immutable");
    check(&|it| it.preset = Some(Arc::from("thumb")), "public, max-age=86400, stale-while-revalidate=30");
    check(&|it| it.version = Version::Latest, "public, max-age=60, stale-while-revalidate=30");
    check(&|it| it.signed = signed(0), "public, max-age=31536000, immutable");
    check(&|it| it.signed = signed(1100), "public, max-age=100");
    check(&|it| it.signed = signed(900), "public, max-age=0");
    check(
        &|it| {
            it.signed = signed(1100);
            it.version = Version::Latest;
        },
        "public, max-age=60",
    );
}

#[test]
fn tags_are_tokens() {
    let mut headers = HeaderMap::new();
    let request = Request { preset: Some(Arc::from("thumb")), ..request(Ask::Info) };
    tags(&mut headers, &request);
    assert_eq!(headers[SURROGATE_KEY], "demo demo/shoes/red%2042%2Cb demo:thumb");
    assert_eq!(headers[CACHE_TAG], "demo,demo/shoes/red%2042%2Cb,demo:thumb");
}

#[test]
fn a_download_has_a_name_that_every_client_can_read() {
    for (name, wanted) in [
        ("cat.jpg", "attachment; filename=\"cat.jpg\"; filename*=UTF-8''cat.jpg"),
        ("a\"b\\c.jpg", "attachment; filename=\"a_b_c.jpg\"; filename*=UTF-8''a%22b%5Cc.jpg"),
        ("Köln ☃.png", "attachment; filename=\"K_ln _.png\"; filename*=UTF-8''K%C3%B6ln%20%E2%98%83.png"),
        ("x\r\nSet-Cookie: a", "attachment; filename=\"x__Set-Cookie: a\"; filename*=UTF-8''x%0D%0ASet-Cookie%3A%20a"),
    ] {
        assert_eq!(attachment(name), wanted);
        HeaderValue::from_str(&attachment(name)).unwrap();
    }
}

#[test]
fn cors_by_category() {
    let check = |cors: &[&str], origin: Option<&'static str>, wanted: Option<&str>| {
        let policy = Policy { cors: cors.iter().map(|origin| (*origin).to_owned()).collect(), ..policy() };
        let mut asked = HeaderMap::new();
        if let Some(origin) = origin {
            asked.insert(ORIGIN, HeaderValue::from_static(origin));
        }
        let mut headers = HeaderMap::new();
        let looked = Looked { origin: lists_origins(&policy), ..Looked::default() };
        of_category(&mut headers, &policy, looked, &asked);
        assert_eq!(headers.get(ACCESS_CONTROL_ALLOW_ORIGIN).map(|value| value.to_str().unwrap()), wanted);
        assert_eq!(headers.contains_key(VARY), looked.origin);
    };
    check(&[], Some("https://a.example"), None);
    check(&["*"], None, Some("*"));
    check(&["https://a.example"], Some("https://a.example"), Some("https://a.example"));
    check(&["https://a.example"], Some("https://b.example"), None);
    check(&["https://a.example"], None, None);
}

#[test]
fn an_answer_is_described_in_full() {
    let entry = entry(Bytes::from_static(b"x"), UNIX_EPOCH + Duration::from_secs(784_111_777));
    let mut headers = HeaderMap::new();
    let request = request(Ask::Image(Box::new(plan())));
    common(&mut headers, &HeaderValue::from_static("id"));
    of_category(&mut headers, &policy(), Looked::at(&request, &policy()), &HeaderMap::new());
    of_answer(&mut headers, &request, &policy(), &entry, Phase::Memory);
    of_content(&mut headers, &request, &entry);
    let mut lines: Vec<String> =
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    lines.sort();
    let wanted = [
        "accept-ranges: bytes",
        "cache-control: public, max-age=31536000, immutable",
        "cache-status: fovea; hit; detail=memory",
        "cache-tag: demo,demo/shoes/red%2042%2Cb",
        "content-disposition: inline",
        "content-security-policy: default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox",
        "content-type: image/webp",
        "cross-origin-resource-policy: cross-origin",
        "etag: \"e\"",
        "fovea-damaged: 1",
        "last-modified: Sun, 06 Nov 1994 08:49:37 GMT",
        "link: </demo/shoes/red%2042,b/v3/w_40.auto>; rel=\"canonical\"",
        "surrogate-key: demo demo/shoes/red%2042%2Cb",
        "timing-allow-origin: *",
        "vary: Accept",
        "x-content-type-options: nosniff",
        "x-request-id: id",
    ];
    assert_eq!(lines, wanted);
}

#[test]
fn timing_is_in_milliseconds_and_bytes() {
    let mut stages = Stages::default();
    stages.add(Stage::Decode, Duration::from_micros(12_345));
    stages.add(Stage::Encode, Duration::from_micros(900));
    stages.left(Stage::Encode, 14_321);
    let value = server_timing(Phase::Miss, &stages, Duration::from_micros(20_007));
    let right = "cache;desc=miss, decode;dur=12.345, encode;dur=0.900;desc=\"14321 bytes\", total;dur=20.007";
    assert_eq!(value, right);
}
