//! What the queue costs: enqueueing at 200 a second, claiming with few and with many jobs waiting, opening a long queue again, and how
//! the throughput of worker processes grows with their number. Prints tables; wall-clock times, since what counts is how long a
//! caller waits.
//!
//! `cargo bench --bench queue -- sqlite 1000 100000 1000000` chooses the backend (`sqlite`, `postgres`, `jetstream`) and the lengths;
//! `cargo bench --bench queue -- workers jetstream` has 1, 2, 4 and 8 processes do jobs that sleep. PostgreSQL and NATS are started
//! as the tests start them.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fovea::broker::{self, Broker};
use fovea::catalog::{Catalog, Kind, NewJob, Priority, Settings};
use fovea::queue::{self, Ask, Ended, Handing, Queue, Task};
use tokio::task::JoinSet;

#[path = "../tests/support/nats.rs"]
#[allow(dead_code)]
mod nats;
#[path = "../tests/support/postgres.rs"]
#[allow(dead_code)]
mod postgres;

const LENGTHS: [usize; 3] = [1_000, 10_000, 100_000];
const CLAIMS: usize = 200;
const ENQUEUES: usize = 1000;

/// Jobs that a worker process is at, how long each takes, and how many rounds of them there are.
const AT_ONCE: usize = 5;
const JOB_TAKES: Duration = Duration::from_millis(500);
const ROUNDS: usize = 20;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let word = |at: usize| words.get(at).map(String::as_str);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    runtime.block_on(async {
        match word(0) {
            Some("workers") => scaling(word(1).unwrap_or("jetstream")).await,
            // What this program starts itself as.
            Some("worker") => work(&Place { catalog: words[1].clone(), nats: words.get(2).cloned() }).await,
            _ => lengths(word(0).unwrap_or("sqlite"), &words).await,
        }
    });
}

/// Where a queue is.
struct Place {
    catalog: String,
    nats: Option<String>,
}

impl Place {
    /// A new one; the folder is kept for as long as it is used.
    fn new(backend: &str) -> (Self, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        let catalog = match backend {
            "sqlite" => format!("sqlite:{}", folder.path().join("catalog.sqlite").display()),
            _ => server().database(),
        };
        let nats = (backend == "jetstream").then(|| nats::shared().url());
        (Self { catalog, nats }, folder)
    }

    async fn open(&self) -> (Catalog, std::sync::Arc<dyn Queue>) {
        let catalog = Catalog::new(Settings::new(&self.catalog));
        let settings = queue::Settings::default();
        let Some(nats) = &self.nats else { return (catalog.clone(), queue::embedded(catalog, settings)) };
        let prefix = self.catalog.rsplit('/').next().unwrap_or("bench").to_owned();
        let connected = Broker::connect(broker::Settings { prefix, ..broker::Settings::new(nats) }).await;
        let broker = connected.expect("the settings are right");
        broker.wait(Duration::from_secs(20)).await.expect("NATS answers");
        (catalog.clone(), queue::jetstream(catalog, broker, settings, Handing::default()))
    }
}

/// PostgreSQL as it is delivered: it waits for the disk.
fn server() -> &'static postgres::Postgres {
    static SERVER: std::sync::OnceLock<postgres::Postgres> = std::sync::OnceLock::new();
    SERVER.get_or_init(|| postgres::Postgres::start(&[]))
}

async fn lengths(backend: &str, words: &[String]) {
    let lengths: Vec<usize> = words.iter().filter_map(|length| length.parse().ok()).collect();
    let lengths = if lengths.is_empty() { LENGTHS.to_vec() } else { lengths };
    println!(
        "{backend:<9}  {:>9}  {:>16}  {:>16}  {:>16}  {:>9}",
        "waiting", "enqueue p50/p99", "claim p50/p99", "end p50/p99", "open"
    );
    for length in lengths {
        measure(backend, length).await;
    }
}

async fn measure(backend: &str, length: usize) {
    let (place, _folder) = Place::new(backend);
    let (catalog, queue) = place.open().await;
    catalog.open().await.expect("the catalog opens");
    fill(&place, &*queue, length).await;
    let enqueue = enqueue(&*queue).await;
    drop((catalog, queue));
    let begun = Instant::now();
    let (_catalog, queue) = place.open().await;
    let first = claim(&*queue).await;
    let opened = begun.elapsed();
    end(&*queue, &first).await;
    let (mut claims, mut ends) = (Vec::new(), Vec::new());
    for _ in 0..CLAIMS {
        let begun = Instant::now();
        let claimed = claim(&*queue).await;
        claims.push(begun.elapsed());
        assert_eq!(claimed.len(), 1, "one is claimed");
        let begun = Instant::now();
        end(&*queue, &claimed).await;
        ends.push(begun.elapsed());
    }
    println!(
        "{:<9}  {length:>9}  {:>16}  {:>16}  {:>16}  {:>6.1} ms",
        "",
        quantiles(enqueue),
        quantiles(claims),
        quantiles(ends),
        opened.as_secs_f64() * 1e3
    );
}

async fn fill(place: &Place, queue: &dyn Queue, length: usize) {
    if place.catalog.starts_with("postgres") {
        let database = place.catalog.rsplit('/').next().expect("a URL names a database");
        // As `job` makes them, some thousand a statement, since a trigger counts each; and looked at, as the server does by itself within
        // a minute.
        for from in (1..=length).step_by(5_000) {
            let upto = length.min(from + 4_999);
            let sql = format!(
            "INSERT INTO jobs (id, owner, kind, priority, payload, state, ready, place, done, failed, total, result, attempts,
                 deliveries, lease, cancelling, due_ms, queued_ms, revision)
             SELECT 'job_0' || lpad(at::TEXT, 12, '0'), 'owner-' || at % 50, 'prewarm', at % 4,
                 '{{\"kind\":\"prewarm\",\"variants\":[\"w_400.webp\"]}}', 'queued', 1, at / 50, 0, 0, 1, '{{}}', 0, 0, 0, 0, now, now, 1
             FROM generate_series({from}, {upto}) AS at, (SELECT (extract(epoch FROM now()) * 1000)::BIGINT AS now) AS clock"
        );
            server().sql(database, &sql);
        }
        // A count for each of psql's connections becomes one, as the hourly clean-up sees to.
        let fold = "CREATE TEMP TABLE sums AS SELECT owner, kind, priority, state, SUM(n)::BIGINT AS n FROM job_counts GROUP BY 1, 2, 3, 4;
             TRUNCATE job_counts; INSERT INTO job_counts (owner, kind, priority, state, slot, n)
             SELECT owner, kind, priority, state, 0, n FROM sums";
        server().sql(database, fold);
        server().sql(database, "VACUUM (ANALYZE) jobs, job_counts");
        return;
    }
    for start in (0..length).step_by(5_000) {
        let jobs = (start..length.min(start + 5_000)).map(job).collect();
        queue.push(jobs, None).await.expect("jobs are taken");
    }
}

/// Enqueues at 200 a second, each a call of its own.
async fn enqueue(queue: &dyn Queue) -> Vec<Duration> {
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    let mut times = Vec::new();
    for at in 0..ENQUEUES {
        ticks.tick().await;
        let begun = Instant::now();
        queue.push(vec![job(at)], Some(u64::MAX)).await.expect("the job is taken");
        times.push(begun.elapsed());
    }
    times
}

async fn claim(queue: &dyn Queue) -> Vec<queue::Job> {
    claim_most(queue, 1).await
}

async fn claim_most(queue: &dyn Queue, most: usize) -> Vec<queue::Job> {
    let kinds = Kind::ALL.iter().filter(|kind| **kind != Kind::Batch).map(|kind| (*kind, most)).collect();
    let ask = Ask { worker: format!("bench-{}", std::process::id()), most, kinds };
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

/// Kills its process when it is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

async fn scaling(backend: &str) {
    println!("{backend}: jobs that sleep {JOB_TAKES:?}, {AT_ONCE} at once in a process, {ROUNDS} rounds");
    println!("{:>9}  {:>6}  {:>8}  {:>8}  {:>9}  start p50/p99", "processes", "jobs", "seconds", "jobs/s", "of linear");
    for processes in [1, 2, 4, 8] {
        let (place, _folder) = Place::new(backend);
        let (catalog, queue) = place.open().await;
        let program = std::env::current_exe().expect("this program");
        let workers: Vec<Process> = (0..processes)
            .map(|_| {
                let mut command = Command::new(&program);
                command.arg("worker").arg(&place.catalog).args(&place.nats).stdin(Stdio::null());
                Process(command.spawn().expect("it starts itself"))
            })
            .collect();
        // One job each, so that all are seen to be there.
        let first = queue.push((0..processes * AT_ONCE).map(job).collect(), None).await.expect("jobs are taken");
        done(&catalog, first.len()).await;
        let jobs = processes * AT_ONCE * ROUNDS;
        let begun = Instant::now();
        queue.push((0..jobs).map(job).collect(), None).await.expect("jobs are taken");
        done(&catalog, first.len() + jobs).await;
        let took = begun.elapsed();
        let linear = JOB_TAKES * ROUNDS as u32;
        // How long an idle queue takes to bring a job to a worker of another process.
        let mut starts = Vec::new();
        for at in 0..40 {
            let pushed = queue.push(vec![job(at)], None).await.expect("the job is taken").remove(0);
            tokio::time::sleep(JOB_TAKES / 2).await;
            let known = catalog.job(None, &pushed.id).await.expect("it is there");
            let waited = known.started_ms.map_or(JOB_TAKES, |at| Duration::from_millis((at - known.queued_ms) as u64));
            starts.push(waited);
        }
        drop(workers);
        println!(
            "{processes:>9}  {jobs:>6}  {:>8.2}  {:>8.1}  {:>7.1} %  {}",
            took.as_secs_f64(),
            jobs as f64 / took.as_secs_f64(),
            100.0 * linear.as_secs_f64() / took.as_secs_f64(),
            quantiles(starts)
        );
    }
}

async fn done(catalog: &Catalog, jobs: usize) {
    loop {
        let depth = catalog.depth(None).await.expect("the catalog answers");
        let done = depth.counts.iter().filter(|count| count.state == queue::JobState::Completed);
        if done.map(|count| count.jobs as usize).sum::<usize>() >= jobs {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A worker: claims, sleeps, ends, until it is killed.
async fn work(place: &Place) {
    let (_catalog, queue) = place.open().await;
    let mut ready = queue.ready();
    let mut running = JoinSet::new();
    loop {
        while running.try_join_next().is_some() {}
        let free = AT_ONCE - running.len();
        if free == 0 {
            running.join_next().await;
            continue;
        }
        ready.borrow_and_update();
        let claimed = claim_most(&*queue, free).await;
        let none = claimed.is_empty();
        for job in claimed {
            let queue = queue.clone();
            running.spawn(async move {
                tokio::time::sleep(JOB_TAKES).await;
                end(&*queue, &[job]).await;
            });
        }
        if none {
            tokio::select! {
                _ = ready.changed() => {}
                _ = running.join_next(), if !running.is_empty() => {}
                () = tokio::time::sleep(Duration::from_millis(150)) => {}
            }
        }
    }
}
