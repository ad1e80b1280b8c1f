//! The built binary doing jobs, killed while it does them: nothing that was accepted is lost, and nothing is done twice visibly.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use fovea::catalog::{self, Accept, Catalog, EventFilter, Job, JobFilter, JobState, Priority, VariantState};
use fovea::queue::Task;

use crate::support::fovea::fixtures;
use crate::support::nats::Nats;
use crate::support::postgres;
use crate::support::process::{Process, kills};

/// Pictures that each run uploads.
const FILES: [&str; 6] = ["baseline_420.jpg", "gray.jpg", "rgb8.png", "lossy.webp", "smooth.jpg", "odd.jpg"];

const VARIANTS: [&str; 3] = ["w_24.webp", "w_20,h_20,fit_cover.jpg", "w_16.png"];

fn folder() -> tempfile::TempDir {
    folder_with("sqlite:", "")
}

/// A folder with its config, over a catalog, or a file in it where it is `sqlite:`, with more lines of config.
fn folder_with(catalog: &str, more: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let file = format!("sqlite:{}/catalog.sqlite", folder.path().display());
    let catalog = if catalog == "sqlite:" { &file } else { catalog };
    let at = folder.path().display();
    std::fs::create_dir(folder.path().join("originals")).unwrap();
    let config = format!(
        "[http]\nlisten = \"127.0.0.1:0\"\naccess_log = \"none\"\n[api]\nlisten = \"127.0.0.1:0\"\n\
         [derivatives]\nstore = \"file:{at}/derivatives\"\n[category.demo]\nenabled = false\n\
         [category.pics]\nsource = \"file:{at}/originals\"\n[catalog]\nurl = \"{catalog}\"\n{more}\
         [queue]\nlease_ms = 400\ndeliveries_max = 1000\n[worker]\npoll_ms = 20\nconcurrency = 3\n"
    );
    std::fs::write(folder.path().join("fovea.toml"), config).unwrap();
    folder
}

fn open(folder: &Path) -> Catalog {
    let url = format!("sqlite:{}", folder.join("catalog.sqlite").display());
    Catalog::new(catalog::Settings::new(url))
}

async fn upload(catalog: &Catalog, folder: &Path, name: &str, bytes: &[u8]) -> String {
    std::fs::write(folder.join("originals").join(name), bytes).unwrap();
    let blake3 = fovea::base::Digest::of(bytes).hex(64);
    let variants: Vec<String> = VARIANTS.iter().map(|variant| (*variant).to_owned()).collect();
    let job = Task::Inspect { variants: variants.clone(), prewarm: true }.job("ann", None, Priority::Normal);
    let accept = Accept {
        owner: "ann".to_owned(),
        category: "pics".to_owned(),
        asset: name.to_owned(),
        version: format!("h{}", &blake3[..16]),
        blake3,
        filename: name.to_owned(),
        content_type: "image/jpeg".to_owned(),
        format: "jpg".to_owned(),
        bytes: bytes.len() as u64,
        width: 0,
        height: 0,
        profile: None,
        store_key: name.to_owned(),
        origin: "upload".to_owned(),
        variants,
        idempotency: None,
        job,
        queue_max: 10_000,
    };
    catalog.accept(accept).await.unwrap().job
}

async fn all_ended(catalog: &Catalog, ids: &[String], within: Duration, log: &Path) -> Vec<Job> {
    let begun = Instant::now();
    loop {
        let mut jobs = Vec::new();
        for id in ids {
            jobs.push(catalog.job(None, id).await.expect("an accepted job is known"));
        }
        if jobs.iter().all(|job| job.state.ended()) {
            return jobs;
        }
        let left: Vec<&Job> = jobs.iter().filter(|job| !job.state.ended()).collect();
        let told = || std::fs::read_to_string(log).unwrap_or_default();
        assert!(begun.elapsed() < within, "{} jobs stay: {:?}\n{}", left.len(), left[0], told());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_are_killed_lose_nothing_and_do_nothing_twice() {
    let folder = folder();
    let catalog = open(folder.path());
    killed(kills(), folder.path(), &catalog, |_| ()).await;
}

/// The same where a broker brings the jobs, which is killed too and comes back with its data.
#[tokio::test(flavor = "multi_thread")]
async fn over_a_broker_workers_that_are_killed_lose_nothing_and_do_nothing_twice() {
    let kills = kills().next_multiple_of(5) / 2 / 5 * 5;
    let nats = Nats::start("");
    let url = postgres::shared().database();
    let folder = folder_with(&url, &format!("[nats]\nurl = \"{}\"\n", nats.url()));
    let catalog = Catalog::new(catalog::Settings::new(url));
    killed(kills, folder.path(), &catalog, |kill| {
        // Away while one kill in five is made.
        match kill % 5 {
            2 => nats.kill(),
            3 => nats.start_again(),
            _ => {}
        }
    })
    .await;
}

/// Kills workers while there are uploads; `also` is called before each kill.
async fn killed(kills: usize, folder: &Path, catalog: &Catalog, also: impl Fn(usize)) {
    let mut chance = fastrand::Rng::with_seed(7);
    let mut workers = [Process::start(folder, "work"), Process::start(folder, "work")];
    let mut ids = Vec::new();
    for kill in 0..kills {
        for at in 0..2 {
            let file = FILES[chance.usize(..FILES.len())];
            let mut bytes = std::fs::read(fixtures().join(file)).unwrap();
            // What follows a picture's end is no part of it, so each is another content.
            if file.ends_with("jpg") {
                bytes.extend_from_slice(format!("{kill}-{at}").as_bytes());
            }
            ids.push(upload(catalog, folder, &format!("{kill}-{at}-{file}"), &bytes).await);
        }
        tokio::time::sleep(Duration::from_millis(chance.u64(100..400))).await;
        also(kill);
        let at = chance.usize(..workers.len());
        workers[at] = Process::start(folder, "work");
    }
    let jobs = all_ended(catalog, &ids, Duration::from_secs(120), &folder.join("log.txt")).await;
    for job in &jobs {
        assert_eq!((job.state, job.done), (JobState::Completed, 3), "{job:?}");
        let subject = job.subject.clone().unwrap();
        let variants = catalog.variants(None, "pics", &subject.asset, None).await.unwrap();
        assert_eq!(variants.iter().filter(|variant| variant.state == VariantState::Ready).count(), 3);
    }
    // Each was ended once, and each variant told once, however often a worker was killed in between.
    let (mut after, mut ends, mut made) = (0, BTreeMap::new(), BTreeMap::new());
    loop {
        let events = catalog.events(after, &EventFilter::default(), 1000).await.unwrap();
        let Some(last) = events.last() else { break };
        after = last.seq;
        for event in events {
            match event.kind.as_str() {
                "job.completed" => *ends.entry(event.job.unwrap()).or_insert(0) += 1,
                "variant.made" => {
                    let variant = event.data["variant"]["url"].as_str().unwrap().to_owned();
                    *made.entry(variant).or_insert(0) += 1;
                }
                _ => {}
            }
        }
    }
    assert_eq!((ends.len(), made.len()), (ids.len(), ids.len() * 3));
    assert!(ends.values().chain(made.values()).all(|times| *times == 1), "{ends:?} {made:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_does_jobs_beside_its_requests_and_drains_when_told() {
    let folder = folder();
    let catalog = open(folder.path());
    let mut server = Process::start(folder.path(), "serve");
    let bytes = std::fs::read(fixtures().join("baseline_420.jpg")).unwrap();
    let id = upload(&catalog, folder.path(), "red.jpg", &bytes).await;
    let job = all_ended(&catalog, &[id], Duration::from_secs(30), &folder.path().join("log.txt")).await.remove(0);
    assert_eq!(job.state, JobState::Completed);
    let told = Command::new("kill").arg(server.0.id().to_string()).status().unwrap();
    assert!(told.success());
    assert_eq!(server.0.wait().unwrap().code(), Some(0));
    let id = upload(&catalog, folder.path(), "blue.jpg", &bytes).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(catalog.job(None, &id).await.unwrap().state, JobState::Queued);
    let listed = catalog.jobs(Some("ann"), &JobFilter::default(), None, 10).await.unwrap();
    assert_eq!(listed.items.len(), 2);
    // What is done is asked for again; what waits comes by itself.
    let replayed = Command::new(env!("CARGO_BIN_EXE_fovea"))
        .args(["jobs", "replay", "--since", "1", "--config"])
        .arg(folder.path().join("fovea.toml"))
        .current_dir(folder.path())
        .env_clear()
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&replayed.stdout), "1 jobs queued\n", "{replayed:?}");
    assert_eq!(catalog.jobs(Some("ann"), &JobFilter::default(), None, 10).await.unwrap().items.len(), 3);
}

#[test]
fn migrate_makes_the_tables() {
    let folder = folder();
    let run = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fovea"));
        command
            .args(["migrate", "--config"])
            .arg(folder.path().join("fovea.toml"))
            .current_dir(folder.path())
            .env_clear();
        command.output().unwrap()
    };
    for _ in 0..2 {
        let output = run();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).contains("is up to date"));
    }
    assert!(folder.path().join("catalog.sqlite").exists());
}
