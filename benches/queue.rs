//! What the queue in the catalog costs: enqueueing at 200 a second, claiming with few and with many jobs waiting, and opening a
//! long queue again. Prints a table; wall-clock times, since what counts is how long a caller waits.
//!
//! `cargo bench --bench queue -- 1000 100000 1000000` chooses the lengths; `-- enqueue` measures that alone, `-- enqueue postgres://…`
//! with a catalog there, which should be empty.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fovea::catalog::{Catalog, Kind, NewJob, Priority, Settings};
use fovea::queue::{self, Ask, Ended, Queue, Task};

const LENGTHS: [usize; 3] = [1_000, 10_000, 100_000];
const CLAIMS: usize = 200;
const ENQUEUES: usize = 1000;

fn main() {
    let lengths: Vec<usize> = std::env::args().skip(1).filter_map(|length| length.parse().ok()).collect();
    let lengths = if lengths.is_empty() { LENGTHS.to_vec() } else { lengths };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    runtime.block_on(async {
        if std::env::args().any(|arg| arg == "enqueue") {
            return enqueue_alone(std::env::args().find(|arg| arg.starts_with("postgres://"))).await;
        }
        println!(
            "{:>9}  {:>16}  {:>16}  {:>16}  {:>9}",
            "waiting", "enqueue p50/p99", "claim p50/p99", "end p50/p99", "open"
        );
        for length in lengths {
            measure(length).await;
        }
    });
}

async fn measure(length: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}", folder.path().join("catalog.sqlite").display());
    let catalog = Catalog::new(Settings::new(&url));
    let queue = queue::embedded(catalog, queue::Settings::default());
    for start in (0..length).step_by(5_000) {
        let jobs = (start..length.min(start + 5_000)).map(job).collect();
        queue.push(jobs, None).await.expect("jobs are taken");
    }
    let enqueue = enqueue(&queue).await;
    drop(queue);
    let begun = Instant::now();
    let catalog = Catalog::new(Settings::new(&url));
    let queue = queue::embedded(catalog, queue::Settings::default());
    let first = claim(&*queue).await;
    let opened = begun.elapsed();
    end(&*queue, &first).await;
    let (mut claims, mut ends) = (Vec::new(), Vec::new());
    for _ in 0..CLAIMS {
        let begun = Instant::now();
        let claimed = claim(&*queue).await;
        claims.push(begun.elapsed());
        let begun = Instant::now();
        end(&*queue, &claimed).await;
        ends.push(begun.elapsed());
    }
    println!(
        "{length:>9}  {:>16}  {:>16}  {:>16}  {:>6.1} ms",
        quantiles(enqueue),
        quantiles(claims),
        quantiles(ends),
        opened.as_secs_f64() * 1e3
    );
}

/// Enqueues at 200 a second, a few times over: into a queue that is empty, and as it grows.
async fn enqueue_alone(url: Option<String>) {
    let folder = tempfile::tempdir().expect("a folder");
    let url = url.unwrap_or_else(|| format!("sqlite:{}", folder.path().join("catalog.sqlite").display()));
    let queue = queue::embedded(Catalog::new(Settings::new(&url)), queue::Settings::default());
    for _ in 0..5 {
        println!("enqueue p50/p99 {}", quantiles(enqueue(&queue).await));
    }
}

/// Enqueues at 200 a second, each a call of its own that waits for no other.
async fn enqueue(queue: &Arc<dyn Queue>) -> Vec<Duration> {
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    let mut calls = Vec::new();
    for at in 0..ENQUEUES {
        ticks.tick().await;
        let queue = queue.clone();
        calls.push(tokio::spawn(async move {
            let begun = Instant::now();
            queue.push(vec![job(at)], Some(u64::MAX)).await.expect("the job is taken");
            begun.elapsed()
        }));
    }
    let mut times = Vec::new();
    for call in calls {
        times.push(call.await.expect("the call ends"));
    }
    times
}

async fn claim(queue: &dyn Queue) -> Vec<queue::Job> {
    let kinds = Kind::ALL.iter().map(|kind| (*kind, 1)).collect();
    let ask = Ask { worker: "bench".to_owned(), most: 1, kinds };
    queue.claim(&ask).await.expect("the queue answers")
}

async fn end(queue: &dyn Queue, jobs: &[queue::Job]) {
    for job in jobs {
        let done = Ended::Completed { result: serde_json::json!({}), follow: Vec::new() };
        queue.end(job, done).await.expect("the job ends");
    }
}

fn job(at: usize) -> NewJob {
    let variants = vec!["w_400.webp".to_owned()];
    Task::Prewarm { variants, popular: Vec::new() }.job(&format!("owner-{}", at % 50), None, Priority::ALL[at % 4])
}

fn quantiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() as f64 * share) as usize).min(times.len() - 1)].as_secs_f64() * 1e3;
    format!("{:.2}/{:.2} ms", at(0.5), at(0.99))
}
