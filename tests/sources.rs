//! Sources against real origins: well-behaved, slow, lying, redirecting to where nobody should go, and a bucket.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fovea::base::Deadline;
use fovea::net::{self, Client, Guard, Hosts};
use fovea::object::{ObjectStore, PutOptions, S3, s3};
use fovea::source::{Context, Error, Origin as Place, OriginalMeta, Settings, Source, State, breaker, http, retry};
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;

use crate::support::origin::{Origin, Then, answer, full, redirect, tls};
use crate::support::seaweedfs;

const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

fn deadline() -> Deadline {
    Deadline::after(Duration::from_secs(30))
}

fn quick_retry(tries: u32) -> retry::Settings {
    retry::Settings { tries, base: Duration::from_millis(1), wait_max: Duration::from_millis(2) }
}

/// Only 127.0.0.1 is a public address here.
fn guard() -> Guard {
    Guard { allow: vec!["127.0.0.1/32".parse().unwrap()], ..Guard::default() }
}

/// A source of an origin, with no pauses to speak of.
fn source_of(base: &str, change: impl FnOnce(&mut http::Settings)) -> Source {
    let client = net::Settings {
        guard: guard(),
        head_timeout: Duration::from_millis(1500),
        idle_timeout: Duration::from_millis(500),
        ..net::Settings::default()
    };
    let mut http = http::Settings { client, ..http::Settings::new(base) };
    change(&mut http);
    let breaker = breaker::Settings { failures: 1000, ..breaker::Settings::default() };
    let bytes_max = http.bytes_max;
    let place = Place::Http(Box::new(http));
    Source::new(Settings { retry: quick_retry(3), breaker, bytes_max, ..Settings::new("test", place) }).unwrap()
}

fn source(origin: &Origin) -> Source {
    source_of(&origin.url(), |_| {})
}

async fn read(source: &Source, id: &str) -> Result<Bytes, Error> {
    source.open(id, &Context::default(), deadline()).await?.bytes(1 << 30).await
}

#[tokio::test]
async fn an_original_is_fetched_with_what_belongs_to_it_and_no_more() {
    let origin = Origin::start(|_, _| {
        let mut answer = answer(200, "picture");
        answer.headers_mut().insert("etag", "\"v7\"".parse().unwrap());
        answer.headers_mut().insert("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap());
        answer
    })
    .await;
    let source = source_of(&format!("{}/base/", origin.url()), |http| {
        http.headers = vec![("Authorization".into(), "Bearer secret".into())];
        http.cdn_id = "fovea-eu".into();
    });
    let context = Context {
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
        tracestate: Some("a=b".into()),
        cdn_loop: Some("edge.example;v=1".into()),
    };
    let original = source.open("a b/c?.jpg", &context, deadline()).await.unwrap();
    assert_eq!((original.meta.size, original.meta.validator.as_str()), (Some(7), "\"v7\""));
    assert_eq!(original.meta.modified, Some(httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap()));
    assert_eq!(original.bytes(7).await.unwrap(), "picture");
    let meta = source.stat("x", &Context::default(), deadline()).await.unwrap();
    assert_eq!((meta.size, meta.validator.as_str()), (Some(7), "\"v7\""));
    let asked = origin.asked.lock().unwrap();
    assert_eq!((asked[0].uri().path(), asked[0].uri().query()), ("/base/a%20b/c%3F.jpg", None));
    assert_eq!((asked[0].method().as_str(), asked[1].method().as_str()), ("GET", "HEAD"));
    let mut headers: Vec<_> = asked[0].headers().iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
    headers.sort_unstable();
    let host = origin.address.to_string();
    let agent = format!("Fovea/{}", env!("CARGO_PKG_VERSION"));
    let wanted = [
        ("accept", "image/*,*/*;q=0.5"),
        ("authorization", "Bearer secret"),
        ("cdn-loop", "edge.example;v=1, fovea-eu"),
        ("host", &host),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("tracestate", "a=b"),
        ("user-agent", &agent),
    ];
    assert_eq!(headers, wanted);
}

#[tokio::test]
async fn a_validator_changes_with_the_original() {
    let table: [(&[(&'static str, &'static str)], bool); 3] =
        [(&[("etag", "W/\"1\"")], true), (&[("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")], true), (&[], false)];
    for (headers, stays) in table {
        let headers = headers.to_vec();
        let origin = Origin::start(move |_, _| {
            let mut answer = answer(200, "picture");
            for (name, value) in &headers {
                answer.headers_mut().insert(*name, value.parse().unwrap());
            }
            answer
        })
        .await;
        let source = source(&origin);
        let first = source.stat("x", &Context::default(), deadline()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let second = source.stat("x", &Context::default(), deadline()).await.unwrap();
        assert_eq!(first.validator == second.validator, stays, "{first:?}");
    }
}

#[tokio::test]
async fn statuses_become_errors_and_only_illness_is_tried_again() {
    let table: [(u16, &str, usize); 13] = [
        (404, "NotFound", 1),
        (410, "NotFound", 1),
        (401, "Unavailable(\"it refused (401)\")", 1),
        (403, "Unavailable(\"it refused (403)\")", 1),
        (400, "Unavailable(\"it answered 400\")", 1),
        (204, "Unavailable(\"it answered 204\")", 1),
        (206, "Unavailable(\"it answered 206\")", 1),
        (304, "Unavailable(\"it answered 304\")", 1),
        (408, "Unavailable(\"it answered 408\")", 3),
        (429, "Unavailable(\"it answered 429\")", 3),
        (500, "Unavailable(\"it answered 500\")", 3),
        (503, "Unavailable(\"it answered 503\")", 3),
        (504, "Unavailable(\"it answered 504\")", 3),
    ];
    for (status, wanted, tries) in table {
        let origin = Origin::start(move |_, _| answer(status, "")).await;
        let error = read(&source(&origin), "x").await.unwrap_err();
        assert_eq!((format!("{error:?}").as_str(), origin.count()), (wanted, tries), "{status}");
    }
    let origin = Origin::start(|_, before| if before < 2 { answer(503, "") } else { answer(200, "late") }).await;
    assert_eq!(read(&source(&origin), "x").await.unwrap(), "late");
    assert_eq!(origin.count(), 3);
}

#[tokio::test]
async fn a_head_that_nobody_answers_becomes_a_get() {
    for refused in [400, 401, 403, 405, 501] {
        let origin = Origin::start(
            move |request, _| {
                if request.method() == "HEAD" { answer(refused, "") } else { answer(200, "abc") }
            },
        );
        let origin = origin.await;
        let meta = source(&origin).stat("x", &Context::default(), deadline()).await.unwrap();
        assert_eq!((meta.size, origin.count()), (Some(3), 2), "{refused}");
    }
}

#[tokio::test]
async fn a_loop_is_cut_before_the_origin_is_asked() {
    let origin = Origin::start(|_, _| answer(200, "abc")).await;
    let context = Context { cdn_loop: Some("a, fovea;v=1".into()), ..Context::default() };
    let error = source(&origin).open("x", &context, deadline()).await.unwrap_err();
    assert!(matches!(error, Error::Loop));
    assert_eq!(origin.count(), 0);
}

#[tokio::test]
async fn an_address_that_is_not_public_is_never_asked() {
    let secret = Origin::start_at(OTHER.into(), None, |_, _| answer(200, "secret")).await;
    let port = secret.address.port();
    let spellings = [
        format!("127.0.0.2:{port}"),
        format!("2130706434:{port}"),
        format!("0x7f000002:{port}"),
        format!("0x7f.2:{port}"),
        format!("0177.0.0.02:{port}"),
        format!("127.2:{port}"),
        format!("[::ffff:127.0.0.2]:{port}"),
        format!("[::ffff:7f00:2]:{port}"),
        format!("[64:ff9b::7f00:2]:{port}"),
        "169.254.169.254".to_owned(),
        "[fd00:ec2::254]".to_owned(),
        "0.0.0.0".to_owned(),
    ];
    for host in &spellings {
        // Directly, as a base that somebody configured.
        let direct = source_of(&format!("http://{host}"), |_| {});
        let error = read(&direct, "x").await.unwrap_err();
        assert!(matches!(error, Error::Forbidden(_)), "{host}: {error:?}");
        // And by way of an origin that redirects there, from where any host is allowed by its name.
        let location = format!("http://{host}/latest/meta-data");
        let origin = Origin::start(move |_, _| redirect(&location)).await;
        let any = vec!["*".to_owned(), format!("*:{port}")];
        let redirected = source_of(&origin.url(), |http| http.hosts = any);
        let error = read(&redirected, "x").await.unwrap_err();
        assert!(matches!(error, Error::Forbidden(_)), "{host}: {error:?}");
        assert_eq!(origin.count(), 1, "a forbidden address is not tried again");
    }
    assert_eq!(secret.count(), 0);
    // The same address is reached where it is allowed: it was the guard that kept it.
    let allowed = source_of(&secret.url(), |http| http.client.guard.allow_private = true);
    assert_eq!(read(&allowed, "x").await.unwrap(), "secret");
}

#[tokio::test]
async fn redirects_are_followed_only_to_allowed_hosts_and_not_for_ever() {
    let other = Origin::start_at(OTHER.into(), None, |_, _| answer(200, "other")).await;
    let address = other.address;
    let origin = Origin::start(move |request, _| match request.uri().path() {
        "/relative" => redirect("/here"),
        "/far" => redirect(&format!("http://{address}/x")),
        "/file" => redirect("file:///etc/passwd"),
        "/gopher" => redirect("gopher://127.0.0.1:6379/_FLUSHALL"),
        "/credentials" => redirect("http://user:password@127.0.0.1/"),
        "/port" => redirect("http://127.0.0.1:22/"),
        "/loop" => redirect("/loop"),
        "/nowhere" => answer(302, ""),
        path if path.starts_with("/hop/") => match path[5..].parse::<u32>().unwrap() {
            0 => answer(200, "done"),
            left => redirect(&format!("{}", left - 1)),
        },
        _ => answer(200, "here"),
    })
    .await;
    let both = |http: &mut http::Settings| {
        http.hosts = vec![address.to_string()];
        http.client.guard = Guard { allow_private: true, ..Guard::default() };
        http.headers = vec![("Authorization".into(), "Bearer secret".into()), ("X-Key".into(), "secret".into())];
    };
    let strict = source_of(&origin.url(), |http| http.client.guard.allow_private = true);
    assert_eq!(read(&strict, "relative").await.unwrap(), "here");
    for id in ["far", "file", "gopher", "credentials", "port", "loop", "hop/6"] {
        let error = read(&strict, id).await.unwrap_err();
        assert!(matches!(error, Error::Forbidden(_)), "{id}: {error:?}");
    }
    assert!(matches!(read(&strict, "nowhere").await, Err(Error::Unavailable(_))));
    assert_eq!(read(&strict, "hop/5").await.unwrap(), "done");
    assert_eq!(other.count(), 0);
    let both = source_of(&origin.url(), both);
    assert_eq!(read(&both, "far").await.unwrap(), "other");
    assert_eq!(origin.header(origin.count() - 1, "authorization").as_deref(), Some("Bearer secret"));
    for name in ["authorization", "x-key"] {
        assert_eq!(other.header(0, name), None, "{name} stays with its host");
    }
    assert_eq!(other.header(0, "cdn-loop").as_deref(), Some("fovea"));
}

#[tokio::test]
async fn tls_is_checked_and_never_left() {
    let (root, acceptor) = tls(&["localhost"]);
    let plain = Origin::start(|_, _| answer(200, "plain")).await;
    let location = plain.url();
    let here = IpAddr::from(Ipv4Addr::LOCALHOST);
    let origin = Origin::start_at(here, Some(acceptor), move |request, _| match request.uri().path() {
        "/down" => redirect(&location),
        _ => answer(200, "secure"),
    })
    .await;
    let port = origin.address.port();
    let trusting = |base: String| {
        source_of(&base, |http| {
            http.hosts = vec![plain.address.to_string()];
            http.client.extra_roots_pem = Some(root.clone());
        })
    };
    let good = trusting(format!("https://localhost:{port}"));
    assert_eq!(read(&good, "x").await.unwrap(), "secure");
    assert!(matches!(read(&good, "down").await, Err(Error::Forbidden(_))));
    assert_eq!(plain.count(), 0);
    let before = origin.count();
    let wrong_name = trusting(format!("https://127.0.0.1:{port}"));
    assert!(matches!(read(&wrong_name, "x").await, Err(Error::Unavailable(_))));
    let distrusting = source_of(&format!("https://localhost:{port}"), |_| {});
    assert!(matches!(read(&distrusting, "x").await, Err(Error::Unavailable(_))));
    assert_eq!(origin.count(), before);
    let garbage = source_of(&format!("https://{}", plain.address), |_| {});
    assert!(matches!(read(&garbage, "x").await, Err(Error::Unavailable(_))), "no TLS at the other end");
}

#[tokio::test]
async fn large_bodies_are_refused_or_cut_off() {
    let limit = |http: &mut http::Settings| http.bytes_max = 1000;
    let origin = Origin::start(|_, _| answer(200, vec![0; 1001])).await;
    let source = source_of(&origin.url(), limit);
    let opened = source.open("x", &Context::default(), deadline()).await;
    assert!(matches!(opened, Err(Error::TooLarge { bytes_max: 1000 })), "before the body is read");
    // Without a length: the body is cut off at the limit.
    let origin = Origin::start(|_, _| {
        let endless = stream::repeat(()).map(|()| Ok(Frame::data(Bytes::from(vec![0; 100]))));
        ::http::Response::new(BodyExt::boxed(StreamBody::new(endless)))
    })
    .await;
    let source = source_of(&origin.url(), limit);
    let original = source.open("x", &Context::default(), deadline()).await.unwrap();
    assert_eq!(original.meta.size, None);
    let mut read = 0;
    let mut body = original.body;
    let error = loop {
        match body.next().await.unwrap() {
            Ok(part) => read += part.len(),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::TooLarge { bytes_max: 1000 }) && read <= 1000, "{error:?} after {read}");
    assert!(body.next().await.is_none());
    let origin = Origin::start(|_, _| answer(200, vec![0; 1000])).await;
    let source = source_of(&origin.url(), limit);
    assert_eq!(source.open("x", &Context::default(), deadline()).await.unwrap().bytes(1000).await.unwrap().len(), 1000);
}

#[tokio::test]
async fn lies_and_silence_end_in_time() {
    let head = |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
    let table: [(String, Then, &str); 9] = [
        (String::new(), Then::Hang, "Timeout"),
        (String::new(), Then::Close, "Unavailable"),
        ("HTTP/1.1 200 OK\r\nx: ".into(), Then::Drip, "Timeout"),
        ("SSH-2.0-OpenSSH_9.6\r\n".into(), Then::Close, "Unavailable"),
        (head("content-length: 100\r\n") + "abc", Then::Close, "Unavailable"),
        (head("content-length: 100\r\n") + "abc", Then::Hang, "Timeout"),
        (head("content-length: 3\r\ncontent-length: 4\r\n") + "abc", Then::Close, "Unavailable"),
        (head("transfer-encoding: chunked\r\n") + "zz\r\nabc\r\n", Then::Hang, "Unavailable"),
        (head("content-encoding: gzip\r\ncontent-length: 3\r\n") + "abc", Then::Close, "Unavailable"),
    ];
    for (bytes, then, wanted) in table {
        let origin = Origin::raw(bytes.clone(), then).await;
        let source = source_of(&origin.url(), |_| {});
        let since = Instant::now();
        let error = read(&source, "x").await.unwrap_err();
        assert!(format!("{error:?}").starts_with(wanted), "{bytes:?}: {error:?}");
        assert!(since.elapsed() < Duration::from_secs(15), "{bytes:?}: {:?}", since.elapsed());
    }
    // Header fields without end, and too many of them.
    let flood = format!("HTTP/1.1 200 OK\r\n{}", "x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(20));
    for bytes in [flood, format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(50_000))] {
        let origin = Origin::raw(bytes, Then::Flood).await;
        let error = read(&source_of(&origin.url(), |_| {}), "x").await.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    }
}

#[tokio::test]
async fn a_dripping_body_ends_at_the_deadline() {
    let origin = Origin::raw("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n", Then::Drip).await;
    let source = source_of(&origin.url(), |_| {});
    let since = Instant::now();
    let soon = Deadline::after(Duration::from_millis(700));
    let original = source.open("x", &Context::default(), soon).await.unwrap();
    assert!(matches!(original.bytes(1 << 30).await, Err(Error::Timeout)));
    let took = since.elapsed();
    assert!(took >= Duration::from_millis(650) && took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_fetched_again() {
    let origin = Origin::start(|_, before| {
        let parts = [Ok(Frame::data(Bytes::from_static(b"pic"))), Ok(Frame::data(Bytes::from_static(b"ture")))];
        let parts = stream::iter(parts).take(if before < 2 { 1 } else { 2 });
        let body = BodyExt::boxed(StreamBody::new(parts));
        ::http::Response::builder().header("content-length", "7").body(body).unwrap()
    })
    .await;
    let source = source(&origin);
    let admit = |_: OriginalMeta| async { Ok::<(), Error>(()) };
    let (meta, bytes, ()) = source.fetch("x", &Context::default(), deadline(), admit).await.unwrap();
    assert_eq!((meta.size, &bytes[..], origin.count()), (Some(7), &b"picture"[..], 3));
}

#[tokio::test]
async fn a_dead_origin_opens_the_breaker_and_a_living_one_closes_it() {
    let gone = Origin::start(|_, _| answer(200, "")).await;
    let address = gone.address;
    drop(gone);
    let place = http::Settings {
        client: net::Settings { guard: guard(), ..net::Settings::default() },
        ..http::Settings::new(format!("http://{address}"))
    };
    let settings = Settings {
        retry: quick_retry(1),
        breaker: breaker::Settings {
            failures: 3,
            open_for: Duration::from_millis(300),
            ..breaker::Settings::default()
        },
        ..Settings::new("test", Place::Http(Box::new(place)))
    };
    let source = Source::new(settings).unwrap();
    for _ in 0..3 {
        assert!(matches!(read(&source, "x").await, Err(Error::Unavailable(_))));
    }
    assert!(matches!(read(&source, "x").await, Err(Error::BreakerOpen { .. })));
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = hyper::service::service_fn(async |_| {
                Ok::<_, std::convert::Infallible>(::http::Response::new(full("well")))
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(hyper_util::rt::TokioIo::new(stream), service),
            );
        }
    });
    tokio::time::sleep(Duration::from_millis(310)).await;
    assert_eq!(source.health().breaker, State::HalfOpen);
    for _ in 0..2 {
        assert_eq!(read(&source, "x").await.unwrap(), "well");
    }
    assert_eq!(source.health().breaker, State::Closed);
}

#[tokio::test]
async fn connections_are_kept_and_names_resolved() {
    let origin = Origin::start(|_, _| answer(200, "abc")).await;
    let settings = net::Settings {
        guard: Guard { allow_private: true, ..Guard::default() },
        hosts: Hosts::new([format!("localhost:{}", origin.address.port())]).unwrap(),
        ..net::Settings::default()
    };
    let client = Client::new(settings).unwrap();
    let url = |host: &str| format!("http://{host}:{}/x", origin.address.port()).parse().unwrap();
    let get = client.get(url("localhost"), Default::default(), 10, deadline()).await.unwrap();
    assert_eq!(get.status, 200);
    let error = client.get(url("127.0.0.1"), Default::default(), 10, deadline()).await.err().unwrap();
    assert!(matches!(error, net::Error::Forbidden(_)), "another spelling is another host: {error}");
    let nowhere = "http://no-such-host.invalid/".parse().unwrap();
    let any = Client::new(net::Settings::default()).unwrap();
    let error = any.get(nowhere, Default::default(), 10, deadline()).await.err().unwrap();
    assert!(matches!(error, net::Error::Connect(_) | net::Error::Timeout(_)), "{error}");
}

#[tokio::test]
async fn a_bucket_is_a_source() {
    let server = seaweedfs::shared();
    let store = server.bucket("originals", "").await;
    let body: Bytes = (0..3_000_000_u32).map(|at| (at >> 5) as u8).collect();
    store.put("shoes/red 42.jpg", body.clone(), &PutOptions::default()).await.unwrap();
    let store = S3::new(s3::Settings { tries: 1, ..server.settings("originals", "shoes/") }).await.unwrap();
    let settings = Settings { retry: quick_retry(3), ..Settings::new("test", Place::Store(Arc::new(store))) };
    let source = Source::new(settings).unwrap();
    assert!(read(&source, "red 42.jpg").await.unwrap() == body);
    let meta = source.stat("red 42.jpg", &Context::default(), deadline()).await.unwrap();
    assert_eq!(meta.size, Some(body.len() as u64));
    assert!(!meta.validator.is_empty() && meta.modified.is_some());
    assert!(matches!(read(&source, "blue 42.jpg").await, Err(Error::NotFound)));
}
