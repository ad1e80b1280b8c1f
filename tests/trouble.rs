//! Trouble, from outside: sick sources, callers that leave, more work than there is room for. And what metrics say of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use crate::origin::wait_for_store;
use crate::support::fovea::{Fovea, samples};
use crate::support::origin::{Origin, answer, redirect};

fn photo() -> Vec<u8> {
    std::fs::read(samples().join("stream.jpg")).unwrap()
}

/// A server whose category `pics` is another origin, with quick tries.
async fn over(base: &str, more: &str) -> Fovea {
    let category = format!(
        "[category.pics]\nsource = \"{base}\"\nunsigned = \"options\"\nbackoff_ms = 5\nbreaker_failures = 3\n\
         breaker_open_ms = 400\nbreaker_successes = 2\n{more}\n"
    );
    Fovea::start(&category).await
}

#[tokio::test]
async fn a_sick_source_is_left_alone_and_comes_back_and_metrics_tell() {
    let status = Arc::new(AtomicU16::new(503));
    let says = Arc::clone(&status);
    let origin = Origin::start(move |_, _| match says.load(Ordering::SeqCst) {
        200 => answer(200, photo()),
        other => answer(other, "sick"),
    })
    .await;
    let server = over(&origin.url(), "allow_networks = [\"127.0.0.1/32\"]").await;
    let state = async || server.metric("fovea_source_breaker_state", &["pics"]).await;
    let sick = server.get("/pics/a.jpg/v1/w_20.jpg").await;
    assert_eq!((sick.status.as_u16(), origin.count()), (502, 3), "three tries: {sick:?}");
    assert_eq!(server.metric("fovea_source_retries_total", &["pics"]).await, 2.0);
    assert_eq!(state().await, 2.0, "open");
    let left_alone = server.get("/pics/b.jpg/v1/w_20.jpg").await;
    assert!(left_alone.status.is_server_error(), "{left_alone:?}");
    assert_eq!(origin.count(), 3, "an open breaker asks nothing");
    assert_eq!(server.metric("fovea_source_breaker_opened_total", &["pics"]).await, 1.0);
    // Never remembered for longer than seconds: it comes back as soon as the source does.
    status.store(200, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(500)).await;
    for at in 0..3 {
        let well = server.get(&format!("/pics/well{at}.jpg/v1/w_20.jpg")).await;
        assert_eq!(well.status, 200, "{well:?}");
    }
    assert_eq!(state().await, 0.0, "closed");
    assert!(server.metric("fovea_source_requests_total", &["pics"]).await >= 6.0);
    assert_eq!(server.metric("fovea_source_in_flight", &["pics"]).await, 0.0);
    // What is not there says nothing about the source's health.
    status.store(404, Ordering::SeqCst);
    for at in 0..5 {
        assert_eq!(server.get(&format!("/pics/none{at}.jpg/v1/w_20.jpg")).await.status, 404);
    }
    assert_eq!(state().await, 0.0, "404 is an answer");
}

#[tokio::test]
async fn names_of_private_addresses_and_redirects_to_them_are_refused() {
    let inside = Origin::start(|_, _| answer(200, photo())).await;
    let port = inside.address.port();
    // By a name that resolves to this machine.
    let server = over(&format!("http://localhost:{port}"), "").await;
    let refused = server.get("/pics/a.jpg/v1/w_20.jpg").await;
    assert_eq!((refused.status.as_u16(), inside.count()), (403, 0), "{refused:?}");
    // By a redirect from a host that is allowed, to a name and to a number.
    for target in
        [format!("http://localhost:{port}/a"), format!("http://[::1]:{port}/a"), "http://169.254.169.254/".to_owned()]
    {
        let location = target.clone();
        let outside = Origin::start_at([127, 0, 0, 9].into(), None, move |_, _| redirect(&location)).await;
        let more = "allow_networks = [\"127.0.0.9/32\"]\nallow_hosts = [\"*\"]";
        let server = over(&outside.url(), more).await;
        let refused = server.get("/pics/a.jpg/v1/w_20.jpg").await;
        assert_eq!((refused.status.as_u16(), inside.count()), (403, 0), "{target}: {refused:?}");
    }
    let allowed = over(&format!("http://localhost:{port}"), "allow_private = true").await;
    assert_eq!(allowed.get("/pics/a.jpg/v1/w_20.jpg").await.status, 200);
}

#[tokio::test]
async fn packed_answers_are_refused_and_loops_are_cut() {
    let origin = Origin::start(|request, _| {
        let mut answer = answer(200, photo());
        if request.uri().path().contains("packed") {
            answer.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
        }
        answer
    })
    .await;
    let server = over(&origin.url(), "allow_private = true").await;
    assert_eq!(
        server.get("/pics/packed.jpg/v1/w_20.jpg").await.status,
        502,
        "nothing is unpacked, so nothing explodes"
    );
    let asked = origin.count();
    let looped = server.get_with("/pics/a.jpg/v1/w_20.jpg", &[("cdn-loop", "edge, fovea")]).await;
    assert_eq!((looped.status.as_u16(), origin.count()), (508, asked), "a loop ends here");
    assert_eq!(server.get("/pics/b.jpg/v1/w_20.jpg").await.status, 200);
    let header = origin.header(origin.count() - 1, "cdn-loop").unwrap_or_default();
    assert!(header.contains("fovea"), "{header:?}");
}

/// One that leaves fails nobody; when all have left, the work ends.
#[tokio::test]
async fn who_leaves_fails_nobody_and_what_nobody_waits_for_ends() {
    let server = Fovea::start("").await;
    let slow = |at: u32| format!("/pics/mountains.jpg/v1/w_{},blur_40,q_90.avif", 1500 + at);
    let path = slow(0);
    let stays = server.get(&path);
    let leaves = async {
        let gone = tokio::time::timeout(Duration::from_millis(60), server.get(&path)).await;
        assert!(gone.is_err(), "it was to be slow");
    };
    let (stayed, ()) = tokio::join!(stays, leaves);
    assert_eq!(stayed.status, 200);

    let before = server.metric("fovea_render_variants_total", &[]).await;
    for at in 1..13 {
        let path = slow(at);
        let gone = tokio::time::timeout(Duration::from_millis(30), server.get(&path)).await;
        assert!(gone.is_err(), "it was to be slow");
    }
    let since = Instant::now();
    while server.metric("fovea_render_threads_busy", &[]).await + server.metric("fovea_flights_under_way", &[]).await
        > 0.0
    {
        assert!(since.elapsed() < Duration::from_secs(10), "abandoned work goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let made = server.metric("fovea_render_variants_total", &[]).await - before;
    assert!(made <= 4.0, "{made} variants were made for nobody");
    assert_eq!(server.metric("fovea_render_budget_used_bytes", &[]).await, 0.0, "memory is given back");
}

/// Above the budget: hits are answered, some misses wait, the rest is told when to come again, and what never fits never waits.
#[tokio::test]
async fn overload_refuses_politely_and_serves_what_it_has() {
    let config = "[memory]\nwork_bytes = \"48MiB\"\nwork_queue_max = 2\nwork_queue_ms = 300\n[render]\nthreads = 1\n";
    let server = Fovea::start(config).await;
    let hit = "/pics/stream.jpg/v1/w_64.jpg";
    assert_eq!(server.get(hit).await.status, 200);
    wait_for_store(&server).await;
    let large = server.get("/pics/brushes.jpg/v1/w_4000,h_4000,fit_fill,up_1.png").await;
    assert_eq!(large.status, 413, "it never fits: {large:?}");
    let misses: Vec<String> = (0..30).map(|at| format!("/pics/stream.jpg/v1/w_{},blur_9.avif", 500 + at)).collect();
    let misses = futures_util::future::join_all(misses.iter().map(|path| server.get(path)));
    let hits = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..40 {
            let since = Instant::now();
            let answer = server.get(hit).await;
            assert_eq!(answer.status, 200);
            assert!(answer.header("cache-status").contains("hit"), "{}", answer.header("cache-status"));
            slowest = slowest.max(since.elapsed());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        slowest
    };
    let (answers, slowest) = tokio::join!(misses, hits);
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 503).collect();
    let made = answers.iter().filter(|answer| answer.status == 200).count();
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    assert!(refused.len() >= 5 && made >= 1, "{statuses:?}");
    assert_eq!(refused.len() + made, answers.len(), "{statuses:?}");
    for answer in refused {
        assert!(
            answer.header("retry-after").parse::<u32>().is_ok_and(|after| (1..=120).contains(&after)),
            "{answer:?}"
        );
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
    assert!(slowest < Duration::from_secs(1), "a hit took {slowest:?} under overload");
    assert_eq!(server.get("/pics/stream.jpg/v1/w_77.jpg").await.status, 200, "and it recovers");
}
