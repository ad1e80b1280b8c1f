//! What the image listener and the API say over HTTP: headers, conditions, ranges, methods, limits, problems, the log, the end.

use std::net::SocketAddr;
use std::time::Duration;

use ::http::{Method, Request};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::fovea::Fovea;

const PHOTO: &str = "/pics/mountains.jpg/v1";

/// `[category.pics]` with more keys.
fn pics(more: &str) -> String {
    format!("[category.pics]\nsource = \"file:originals\"\nunsigned = \"options\"\n{more}\n")
}

#[tokio::test]
async fn vary_is_the_same_whatever_becomes_of_a_url() {
    let server =
        Fovea::start(&pics("client_hints = true\ncors = [\"https://a.example\", \"https://b.example\"]")).await;
    let vary = "Accept, Sec-CH-Width, Sec-CH-DPR, Width, DPR, Save-Data, Origin";
    let path = format!("{PHOTO}/w_auto.auto");
    let made = server.get(&path).await;
    let hit = server.get_with(&path, &[("accept", "image/webp"), ("sec-ch-width", "320")]).await;
    let unchanged = server.get_with(&path, &[("if-none-match", made.header("etag"))]).await;
    let redirect = server.get(&format!("{PHOTO}/q_80,w_auto.auto")).await;
    let absent = server.get("/pics/none.jpg/v1/w_auto.auto").await;
    let wrong = server.get(&format!("{PHOTO}/w_auto,wobble_1.auto")).await;
    let range = server.get_with(&path, &[("range", "bytes=99999999-")]).await;
    let failed = server.get_with(&path, &[("if-match", "\"other\"")]).await;
    let answers = [
        (&made, 200),
        (&hit, 200),
        (&unchanged, 304),
        (&redirect, 308),
        (&absent, 404),
        (&wrong, 400),
        (&range, 416),
        (&failed, 412),
    ];
    for (answer, status) in answers {
        assert_eq!((answer.status.as_u16(), answer.header("vary")), (status, vary), "{answer:?}");
    }
    assert_eq!(redirect.header("location"), format!("{PHOTO}/w_auto,q_80.auto"));
    assert_eq!(made.header("accept-ch"), "Sec-CH-Width, Sec-CH-DPR, Width, DPR");
    assert_eq!(server.get(&format!("{PHOTO}/w_50.jpg")).await.header("vary"), "Origin");
}

#[tokio::test]
async fn conditions_and_ranges() {
    let server = Fovea::start("").await;
    let path = format!("{PHOTO}/w_120.jpg");
    let whole = server.get(&path).await;
    let (etag, modified) = (whole.header("etag").to_owned(), whole.header("last-modified").to_owned());
    let length = whole.body.len();
    assert_eq!(whole.header("content-length"), length.to_string());
    assert!(etag.starts_with('"') && !modified.is_empty() && whole.header("accept-ranges") == "bytes");
    let weak = format!("W/{etag}");
    let table: [(&[(&str, &str)], u16); 9] = [
        (&[("if-none-match", &etag)], 304),
        (&[("if-none-match", &weak)], 304),
        (&[("if-none-match", "\"x\""), ("if-modified-since", &modified)], 200),
        (&[("if-modified-since", &modified)], 304),
        (&[("if-match", "\"x\"")], 412),
        (&[("range", "bytes=0-9")], 206),
        (&[("range", "bytes=0-9"), ("if-range", "\"x\"")], 200),
        (&[("range", "bytes=0-1,4-5")], 200),
        (&[("range", "bytes=9999999-")], 416),
    ];
    for (headers, status) in table {
        let answer = server.get_with(&path, headers).await;
        assert_eq!(answer.status, status, "{headers:?}: {answer:?}");
        match status {
            206 => {
                assert_eq!(answer.body, whole.body[..10]);
                assert_eq!(answer.header("content-range"), format!("bytes 0-9/{length}"));
            }
            200 => assert_eq!(answer.body, whole.body),
            304 => {
                assert!(answer.body.is_empty());
                for same in ["etag", "cache-control", "vary", "last-modified", "surrogate-key"] {
                    assert_eq!(answer.header(same), whole.header(same), "{same}");
                }
                assert!(!answer.header("date").is_empty() && answer.header("content-type").is_empty());
            }
            416 => assert_eq!(answer.header("content-range"), format!("bytes */{length}")),
            _ => (),
        }
    }
    // The same on a miss: a range of something that is made for it.
    let tail = server.get_with(&format!("{PHOTO}/w_121.jpg"), &[("range", "bytes=-4")]).await;
    assert_eq!((tail.status.as_u16(), tail.body.len()), (206, 4));
    assert_eq!(&tail.body[2..], b"\xff\xd9", "the end of a JPEG");

    let head = server.send(Method::HEAD, &path, &[("range", "bytes=0-9")]).await;
    assert_eq!((head.status.as_u16(), head.body.len(), head.header("content-length")), (200, 0, &*length.to_string()));
    for same in ["etag", "content-type", "cache-control", "link", "cache-tag"] {
        assert_eq!(head.header(same), whole.header(same), "{same}");
    }
}

#[tokio::test]
async fn methods_and_other_sites() {
    let server = Fovea::start(&pics("cors = [\"*\"]")).await;
    let path = format!("{PHOTO}/w_20.jpg");
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::TRACE] {
        let answer = server.send(method, &path, &[]).await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "GET, HEAD, OPTIONS"));
        assert_eq!(answer.json()["code"], "method-not-allowed");
    }
    let options = server.send(Method::OPTIONS, &path, &[]).await;
    assert_eq!((options.status.as_u16(), options.header("allow")), (204, "GET, HEAD, OPTIONS"));
    let preflight = [("origin", "https://a.example"), ("access-control-request-method", "GET")];
    let preflight = server.send(Method::OPTIONS, &path, &preflight).await;
    assert_eq!(preflight.header("access-control-allow-origin"), "*");
    assert_eq!(preflight.header("access-control-allow-methods"), "GET, HEAD, OPTIONS");
    assert!(preflight.header("access-control-allow-headers").contains("Range"));
    let answer = server.get(&path).await;
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert!(answer.header("access-control-expose-headers").contains("Content-Range"));
    assert_eq!(answer.header("cross-origin-resource-policy"), "cross-origin");
    assert_eq!(answer.header("timing-allow-origin"), "*");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert!(answer.header("content-security-policy").contains("default-src 'none'"));
    assert!(answer.header("server-timing").contains("total;dur="), "{}", answer.header("server-timing"));
    assert_eq!(answer.header("link"), format!("<{path}>; rel=\"canonical\""));
    assert_eq!(answer.header("surrogate-key"), "pics pics/mountains.jpg");
    assert_eq!(answer.header("content-disposition"), "inline");
    // `dl_` is base64url of "a b.jpg".
    let download = server.get(&format!("{PHOTO}/w_20,dl_YSBiLmpwZw.jpg")).await;
    assert_eq!(
        download.header("content-disposition"),
        "attachment; filename=\"a b.jpg\"; filename*=UTF-8''a%20b.jpg",
        "{download:?}"
    );
}

/// What is answered the short way, from what the thread has at hand, is what was answered the long way before.
#[tokio::test]
async fn a_hit_is_the_same_whichever_way_it_goes() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let listen = format!("127.0.0.1:{}", crate::support::fovea::free_port());
    let http = format!("listen = \"{listen}\"\nthreads = 1\naccess_log = \"{}\"", log.path().display());
    let config = format!("[http]\n{http}\naccess_log_format = \"json\"\n{}", pics("cors = [\"*\"]"));
    let mut server = Fovea::start(&config).await;
    server.http = listen.parse().unwrap();
    for (path, accept) in [("w_640.jpg", "*/*"), ("w_90.auto", "image/webp"), ("w_640.auto", "image/avif,*/*")] {
        let path = format!("{PHOTO}/{path}");
        let asked = [("accept", accept), ("x-request-id", "mine"), ("user-agent", "a \"client\"")];
        let made = server.get_with(&path, &asked).await;
        let etag = made.header("etag").to_owned();
        // Often enough that the answer is kept by the thread, and then in the kernel's memory.
        for _ in 0..14 {
            let hit = server.get_with(&path, &asked).await;
            assert_eq!((hit.status, &hit.body), (made.status, &made.body), "{path}");
            assert_eq!(hit.header("cache-status"), "fovea; hit; detail=memory");
            assert_eq!(hit.headers.len(), made.headers.len(), "{:?} {:?}", hit.headers, made.headers);
            for (name, value) in &made.headers {
                let own = ["cache-status", "server-timing", "date"].contains(&name.as_str());
                assert!(own || hit.headers.get(name) == Some(value), "{name}: {:?} {value:?}", hit.headers.get(name));
            }
            assert!(hit.header("server-timing").starts_with("cache;desc=memory, "), "{}", hit.header("server-timing"));
        }
        let known = [("accept", accept), ("if-none-match", &etag)];
        let (other, range) =
            ([("accept", accept), ("if-none-match", "\"x\"")], [("accept", accept), ("range", "bytes=1-2")]);
        for (headers, status, bytes) in
            [(&known, 304, &b""[..]), (&other, 200, &made.body[..]), (&range, 206, &made.body[1..3])]
        {
            let answer = server.get_with(&path, headers).await;
            assert_eq!((answer.status.as_u16(), &answer.body[..]), (status, bytes), "{headers:?}");
            assert_eq!((answer.header("etag"), answer.header("vary")), (&*etag, made.header("vary")));
        }
    }
    // An address that takes nothing new gets nothing that others take.
    let old = server.get_with(&format!("{PHOTO}/w_640.auto"), &[("accept", "image/png")]).await;
    assert_eq!(old.header("content-type"), "image/jpeg");
    let purged = server.purge(serde_json::json!({ "asset": "pics/mountains.jpg" })).await;
    assert_eq!(purged.status, 200, "{purged:?}");
    let anew = server.get(&format!("{PHOTO}/w_640.jpg")).await;
    assert_eq!(anew.header("cache-status"), "fovea; fwd=miss; stored", "a purge reaches what a thread keeps");
    assert_eq!(server.stop().await, Some(0));
    let text = std::fs::read_to_string(log.path()).unwrap();
    let hits = text.lines().filter(|line| line.contains("\"phase\":\"memory\""));
    let hits: Vec<serde_json::Value> = hits.map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(hits.len(), 3 * 17, "each hit has its line:\n{text}");
    let mine = hits.iter().filter(|line| line["id"] == "mine");
    assert!(mine.clone().count() == 42 && mine.clone().all(|line| line["agent"] == "a \"client\""), "{text}");
}

#[tokio::test]
async fn lifetimes_and_the_canonical_url() {
    let server = Fovea::start(&pics("stale_while_revalidate_s = 30")).await;
    for (path, wanted) in [
        ("w_30.jpg", "public, max-age=31536000, immutable"),
        ("thumb.jpg", "public, max-age="),
        ("info.json", "public, max-age=31536000, immutable"),
    ] {
        let answer = server.get(&format!("{PHOTO}/{path}")).await;
        assert!(answer.header("cache-control").starts_with(wanted), "{path}: {}", answer.header("cache-control"));
    }
    let preset = server.get(&format!("{PHOTO}/thumb.jpg")).await;
    assert!(!preset.header("cache-control").contains("immutable"));
    assert!(
        preset.header("cache-control").ends_with("stale-while-revalidate=30"),
        "{}",
        preset.header("cache-control")
    );
    assert_eq!(preset.header("surrogate-key"), "pics pics/mountains.jpg pics:thumb");
    assert_eq!(preset.header("cache-tag"), "pics,pics/mountains.jpg,pics:thumb");
    for (status, path) in [(404, "/pics/none.jpg/v1/w_1.jpg"), (400, "/pics/mountains.jpg/v1/w_0.jpg")] {
        let answer = server.get(path).await;
        assert_eq!(answer.status, status);
        let age: u64 = answer.header("cache-control").strip_prefix("public, max-age=").unwrap().parse().unwrap();
        assert!((1..=60).contains(&age), "{age}");
    }
}

#[tokio::test]
async fn problems_say_what_and_where() {
    let server = Fovea::start("").await;
    let answer = server.get_with(&format!("{PHOTO}/w_40,wobble_1.auto"), &[("x-request-id", "mine-1")]).await;
    let problem = answer.json();
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.header("x-request-id"), "mine-1");
    assert_eq!(problem["type"], "urn:fovea:problem:unknown-option");
    assert_eq!((&problem["status"], &problem["request_id"]), (&400.into(), &"mine-1".into()));
    assert!(problem["at"].as_str().unwrap().contains("wobble"), "{problem}");
    let insane = server.get_with(&format!("{PHOTO}/w_40.jpg"), &[("x-request-id", "a b")]).await;
    assert_eq!(insane.header("x-request-id").len(), 16);

    let signed = server.get("/s:k1:0:c2VjcmV0c2VjcmV0c2VjcmV0/pics/mountains.jpg/v1/w_40.jpg").await;
    assert_eq!(signed.status, 403, "{signed:?}");
    assert!(!String::from_utf8_lossy(&signed.body).contains("c2VjcmV0"), "{:?}", signed.body);
}

#[tokio::test]
async fn misses_are_limited_by_address_and_hits_are_not() {
    let config = "[rate_limit]\nper_second = 1\nburst = 2\n[http]\nlisten = \"LISTEN\"\ntrusted_proxies = [\"127.0.0.0/8\"]\naccess_log = \"none\"\n";
    let port = crate::support::fovea::free_port();
    let listen = format!("127.0.0.1:{port}");
    let mut server = Fovea::start(&config.replace("LISTEN", &listen)).await;
    server.http = listen.parse().unwrap();
    let from = |address: &'static str| [("x-forwarded-for", address)];
    let answer = server.get_with(&format!("{PHOTO}/w_11.jpg"), &from("192.0.2.1")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    // At once, however slow the machine is: what comes in a second is let through.
    let paths: Vec<String> = (12..40).map(|width| format!("{PHOTO}/w_{width}.jpg")).collect();
    let address = from("192.0.2.1");
    let answers = futures_util::future::join_all(paths.iter().map(|path| server.get_with(path, &address))).await;
    let limited: Vec<_> = answers.iter().filter(|answer| answer.status != 200).collect();
    assert!((1..28).contains(&limited.len()), "{}", limited.len());
    for limited in limited {
        assert_eq!((limited.status.as_u16(), limited.header("retry-after")), (429, "1"), "{limited:?}");
        assert_eq!(limited.header("cache-control"), "no-store");
    }
    for _ in 0..10 {
        assert_eq!(server.get_with(&format!("{PHOTO}/w_11.jpg"), &from("192.0.2.1")).await.status, 200);
    }
    assert_eq!(server.get_with(&format!("{PHOTO}/w_14.jpg"), &from("192.0.2.2")).await.status, 200);
}

#[tokio::test]
async fn h2_without_tls_and_heads_that_are_too_large() {
    let server = Fovea::start("").await;
    let stream = TcpStream::connect(server.http).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    for method in [Method::GET, Method::HEAD, Method::GET] {
        let url = format!("http://{}{PHOTO}/w_60.jpg", server.http);
        let request = Request::builder().method(&method).uri(url).body(Empty::new()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (200, ::http::Version::HTTP_2));
        let length: usize = response.headers()["content-length"].to_str().unwrap().parse().unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body.len(), if method == Method::HEAD { 0 } else { length });
    }
    for (request, status, code) in [
        (format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(20 << 10)), 431, "header-too-large"),
        (format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "x: y\r\n".repeat(100)), 431, "header-too-large"),
        (format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "y".repeat(20 << 10)), 414, "url-too-long"),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400, "bad-request"),
        ("GET /a|\u{7f} HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), 400, "bad-request"),
        ("\u{16}\u{3}\u{1} hello\r\n\r\n".to_owned(), 400, "bad-request"),
        ("GET / HTTP/7.7\r\nhost: x\r\n\r\n".to_owned(), 505, "http-version"),
    ] {
        let answer = raw(server.http, request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{code}: {answer}");
        let problem = answer.split("\r\n\r\n").nth(1).unwrap();
        let problem: serde_json::Value = serde_json::from_str(problem).unwrap();
        assert_eq!((&problem["status"], &problem["code"]), (&status.into(), &code.into()), "{answer}");
        assert!(
            answer.contains("content-type: application/problem+json") && answer.contains("connection: close"),
            "{answer}"
        );
    }
    let body = format!("GET {PHOTO}/w_60.jpg HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello");
    let answer = raw(server.http, body.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"), "a body ends the connection");
}

/// Sends bytes and reads until the other end closes.
async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut answer = Vec::new();
    // A reset while writing or reading is a close.
    let _ = stream.write_all(bytes).await;
    let _ = tokio::time::timeout(Duration::from_secs(25), stream.read_to_end(&mut answer)).await.expect("it closes");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn the_end_is_orderly_and_the_log_says_what_was_asked() {
    let listen = format!("127.0.0.1:{}", crate::support::fovea::free_port());
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let config =
        format!("[http]\nlisten = \"{listen}\"\naccess_log = \"{}\"\naccess_log_format = \"json\"\n", log.display());
    let mut server = Fovea::start(&config).await;
    server.http = listen.parse().unwrap();
    let signed = "/s:k1:0:c2VjcmV0c2VjcmV0c2VjcmV0/pics/mountains.jpg/v1/w_40.jpg?token=hidden";
    server.get_with(signed, &[("user-agent", "tests/1")]).await;
    server.get(&format!("{PHOTO}/w_70.jpg")).await;
    // A miss that takes a while is answered although the end has begun.
    let url = format!("http://{listen}{PHOTO}/w_900,blur_5.png");
    let slow = tokio::spawn(async move {
        let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
        raw(host.parse().unwrap(), format!("GET /{path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await
    });
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(server.stop().await, Some(0), "{}", server.log());
    let slow = slow.await.unwrap();
    assert!(slow.starts_with("HTTP/1.1 200"), "{}", &slow[..slow.len().min(300)]);

    let text = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert_eq!(lines[0]["path"], "/s:k1:0:-/pics/mountains.jpg/v1/w_40.jpg");
    assert_eq!((&lines[0]["status"], &lines[0]["agent"]), (&403.into(), &"tests/1".into()));
    assert_eq!((&lines[1]["status"], &lines[1]["phase"]), (&200.into(), &"miss".into()));
    assert!(lines[1]["stages"]["decode"].as_f64().unwrap() > 0.0, "{}", lines[1]);
    assert!(!text.contains("hidden") && !text.contains("c2VjcmV0"));
}

#[tokio::test]
async fn the_api_tells_its_health_and_keeps_strangers_out() {
    let server = Fovea::start("").await;
    server.get(&format!("{PHOTO}/w_80.jpg")).await;
    let health = server.api("/health").await.json();
    assert_eq!((&health["ready"], &health["draining"]), (&true.into(), &false.into()), "{health}");
    let names: Vec<&str> =
        health["components"].as_array().unwrap().iter().map(|part| part["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"memory") && names.contains(&"source:pics"), "{names:?}");
    assert_eq!(server.api("/health/live").await.status, 200);
    assert_eq!(server.api("/health/ready").await.status, 200);
    let labels = ["method=\"GET\"", "status_class=\"2xx\"", "phase=\"miss\""];
    assert_eq!(server.metric("fovea_http_requests_total", &labels).await, 1.0);
    assert_eq!(server.api("/nowhere").await.status, 401);
    assert_eq!(server.api("/v1/purge").await.status, 401);
    let unknown = server.purge(serde_json::json!({ "everything": true })).await;
    assert_eq!((unknown.status.as_u16(), unknown.json()["code"].as_str()), (400, Some("bad-body")));
}
