//! What traffic asks for is made of a new asset before anybody asks: measured on a replayed trace.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::api::{SHOP, text};
use crate::support::fovea::{Fovea, fixtures, samples};

/// Shapes that a site asks for, the most popular first.
const SHAPES: [&str; 12] = [
    "w_400.webp",
    "w_200,h_200,fit_cover.jpg",
    "w_320.auto",
    "w_640.webp",
    "w_120,h_120,fit_cover.webp",
    "w_96.jpg",
    "w_240.webp",
    "w_160.png",
    "w_500.jpg",
    "w_64,h_64,fit_cover.auto",
    "w_280,gray.jpg",
    "w_330,blur_3.jpg",
];

/// Draws of a Zipf distribution over the shapes: the k-th is asked for in proportion to 1/k.
struct Zipf {
    chance: fastrand::Rng,
    sums: Vec<f64>,
}

impl Zipf {
    fn new(seed: u64) -> Self {
        let mut sum = 0.0;
        let sums = (1..=SHAPES.len()).map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        });
        Self { sums: sums.collect(), chance: fastrand::Rng::with_seed(seed) }
    }

    fn shape(&mut self) -> &'static str {
        let at = self.chance.f64() * self.sums[SHAPES.len() - 1];
        SHAPES[self.sums.iter().position(|sum| at < *sum).unwrap_or(0)]
    }
}

fn picture(at: usize) -> Vec<u8> {
    let mut bytes = std::fs::read(fixtures().join("smooth.jpg")).unwrap();
    // What follows a picture's end is no part of it, so each is another content.
    bytes.extend_from_slice(&at.to_le_bytes());
    bytes
}

async fn shares(server: &Fovea) -> BTreeMap<String, f64> {
    let found = server.root().get("/v1/popularity/shop").await;
    assert_eq!(found.status, 200, "{:?}", found.body);
    let found: Value = found.json();
    let share = |one: &Value| (text(one, "variant").to_owned(), one["share"].as_f64().unwrap());
    found.as_array().unwrap().iter().map(share).collect()
}

/// Replays a trace: some traffic, then new assets and the first requests for them. Answers the share of the first requests of
/// each variant of a new asset that were hits.
async fn replay(more: &str) -> f64 {
    let config = format!("{SHOP}{more}[popularity]\nflush_ms = 200\n");
    let server = Fovea::start_all(&config).await;
    let api = server.root();
    let mut zipf = Zipf::new(11);
    let old = api.taken("/v1/assets/shop/old.jpg", picture(0)).await;
    api.completed(&old).await;
    for _ in 0..400 {
        let path = format!("/shop/old.jpg/{}/{}", text(&old, "version"), zipf.shape());
        let accept = [("accept", "image/avif,image/webp,*/*")];
        assert_eq!(server.get_with(&path, &accept).await.status, 200, "{path}");
    }
    let begun = Instant::now();
    while shares(&server).await.len() < SHAPES.len() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", shares(&server).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (mut first, mut hits) = (0, 0);
    for at in 1..=12 {
        let new = api.taken(&format!("/v1/assets/shop/{at}.jpg"), picture(at)).await;
        let job = api.completed(&new).await;
        assert_eq!(job["progress"]["done"], job["progress"]["total"], "{job}");
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..20 {
            let shape = zipf.shape();
            let path = format!("/shop/{at}.jpg/{}/{shape}", text(&new, "version"));
            let answer = server.get_with(&path, &[("accept", "image/avif,image/webp,*/*")]).await;
            assert_eq!(answer.status, 200, "{path}");
            if seen.insert(shape) {
                first += 1;
                hits += u32::from(answer.header("cache-status").contains("hit"));
            }
        }
    }
    f64::from(hits) / f64::from(first)
}

#[tokio::test]
async fn the_first_request_for_what_is_popular_is_a_hit() {
    let with = replay("").await;
    let without = replay("prewarm_coverage_percent = 0\n").await;
    let some = replay("prewarm_coverage_percent = 60\n").await;
    println!("first requests that hit: {without:.2} without, {some:.2} at 60 %, {with:.2} at 95 %");
    assert!(without < 0.02, "{without}");
    assert!(with > 0.85, "{with}");
    assert!(some > 0.25 && some < with, "{some}");
}

#[tokio::test]
async fn shares_and_accesses_are_counted_whatever_answered() {
    let server = Fovea::start_all(&format!("{SHOP}[popularity]\nflush_ms = 150\n")).await;
    let api = server.root();
    let photo = std::fs::read(samples().join("mountains.jpg")).unwrap();
    let taken = api.taken("/v1/assets/shop/a.jpg?variants=w_40.webp", photo).await;
    api.completed(&taken).await;
    let version = text(&taken, "version").to_owned();
    // Hot enough that most are answered by the thread's own slots.
    for _ in 0..90 {
        assert_eq!(server.get(&format!("/shop/a.jpg/{version}/w_40.webp")).await.status, 200);
    }
    for _ in 0..10 {
        assert_eq!(server.get(&format!("/shop/a.jpg/{version}/w_50.jpg")).await.status, 200);
    }
    assert_eq!(server.get(&format!("/shop/a.jpg/{version}/orig.jpg")).await.status, 200);
    assert_eq!(server.get(&format!("/shop/a.jpg/{version}/info.json")).await.status, 200);
    assert_eq!(server.get(&format!("/shop/none.jpg/{version}/w_40.webp")).await.status, 404);
    let begun = Instant::now();
    loop {
        let shares = shares(&server).await;
        let told = |shape: &str| shares.get(shape).copied().unwrap_or_default();
        if (told("w_40.webp") - 0.9).abs() < 0.001 && (told("w_50.jpg") - 0.1).abs() < 0.001 {
            assert_eq!(shares.len(), 2, "{shares:?}");
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{shares:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let counts = loop {
        let access = api.get("/v1/assets/shop/a.jpg").await.json()["access"].clone();
        let of = |variant: &str| {
            let rows = access.as_array().unwrap().iter().filter(|row| row["variant"] == variant);
            rows.map(|row| row["count"].as_u64().unwrap()).sum::<u64>()
        };
        let counts = (of("w_40.webp"), of("w_50.jpg"), of(""));
        if counts == (90, 10, 1) || begun.elapsed() > Duration::from_secs(10) {
            break counts;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(counts, (90, 10, 1), "a day's counts, the original's under no variant");
    for path in ["/v1/popularity/none", "/v1/popularity/a%2Fb"] {
        assert_eq!(api.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn what_is_popular_is_each_owners_own() {
    let server = Fovea::start_all(&format!("{SHOP}[popularity]\nflush_ms = 150\n")).await;
    let root = server.root();
    let (ann, bob) = (root.key("uploader", "ann", &[]).await, root.key("uploader", "bob", &[]).await);
    let (ann, bob) = (server.with_key(&ann), server.with_key(&bob));
    for (owner, id, shape, times) in [(&ann, "a.jpg", "w_41.webp", 12), (&bob, "b.jpg", "w_42.webp", 4)] {
        let taken = owner.taken(&format!("/v1/assets/shop/{id}"), picture(id.len() + times)).await;
        owner.completed(&taken).await;
        for _ in 0..times {
            let path = format!("/shop/{id}/{}/{shape}", text(&taken, "version"));
            assert_eq!(server.get(&path).await.status, 200, "{path}");
        }
    }
    let begun = Instant::now();
    while shares(&server).await.len() < 2 {
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", shares(&server).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!((shares(&server).await["w_41.webp"] - 0.75).abs() < 0.01, "of all: {:?}", shares(&server).await);
    for (owner, shape) in [(&ann, "w_41.webp"), (&bob, "w_42.webp")] {
        let found = owner.get("/v1/popularity/shop").await.json();
        let found: Vec<(&str, f64)> = found
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (text(one, "variant"), one["share"].as_f64().unwrap()))
            .collect();
        assert_eq!(found, [(shape, 1.0)]);
    }
    // And what is made ahead of the next one's is what the owner's own traffic asks for.
    let next = bob.taken("/v1/assets/shop/next.jpg", picture(99)).await;
    let job = bob.completed(&next).await;
    let made: Vec<&str> = job["variants"].as_array().unwrap().iter().map(|one| text(one, "variant")).collect();
    assert_eq!(made, ["w_42.webp"], "{job}");
}
