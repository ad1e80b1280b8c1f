//! API and workers killed by SIGKILL while clients upload, delete and read: what was acknowledged is there, once, and all of it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fovea::catalog::{self, Catalog};

use crate::support::fovea::{TOKEN, free_port};
use crate::support::load::{Acknowledged, Persistent, UPLOADERS, everything_is_there_once, load};
use crate::support::process::{Process, kills};

fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            found.extend(files(&entry.path()).into_iter().map(|file| format!("{name}/{file}")));
        } else if !name.starts_with(".fovea-") {
            found.push(name);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_and_workers_that_are_killed_lose_nothing_that_was_acknowledged() {
    let kills = kills();
    let folder = tempfile::tempdir().unwrap();
    let (http, api): (SocketAddr, SocketAddr) =
        (([127, 0, 0, 1], free_port()).into(), ([127, 0, 0, 1], free_port()).into());
    let config = format!(
        "[http]\nlisten = \"{http}\"\naccess_log = \"none\"\n[api]\nlisten = \"{api}\"\ntoken = \"{TOKEN}\"\n\
         key_per_second = 0\naddress_per_second = 0\n[derivatives]\nstore = \"file:derivatives\"\n\
         [ingest]\nstore = \"file:ingest\"\n[catalog]\nurl = \"sqlite:catalog.sqlite\"\n[category.demo]\nenabled = false\n\
         [category.shop]\ningest = true\nunsigned = \"options\"\n\
         [queue]\nlease_ms = 400\ndeliveries_max = 1000\n[worker]\npoll_ms = 20\nconcurrency = 3\n"
    );
    std::fs::write(folder.path().join("fovea.toml"), config).unwrap();
    let start = |what: &str| Process::start_with(folder.path(), what, &[("FOVEA_WORKER__ENABLED", "false")]);
    let roles = ["serve", "serve", "work", "work"];
    let mut processes = [start("serve"), start("work"), start("work")];
    let client = Arc::new(Persistent::new(vec![api]));
    let stop = Arc::new(AtomicBool::new(false));
    let loads: Vec<_> =
        (0..UPLOADERS).map(|at| tokio::spawn(load(client.clone(), at, Duration::ZERO, stop.clone()))).collect();
    let mut chance = fastrand::Rng::with_seed(42);
    for _ in 0..kills {
        tokio::time::sleep(Duration::from_millis(chance.u64(100..400))).await;
        // Every second kill is the API's.
        let at = chance.usize(..roles.len());
        let place = at.saturating_sub(1);
        processes[place].kill();
        processes[place] = start(roles[at]);
    }
    stop.store(true, Ordering::Relaxed);
    let known = Acknowledged::of(loads).await;
    println!(
        "{kills} kills: {} uploads and {} deletes acknowledged in {} requests, {} jobs",
        known.uploads.len(),
        known.deleted.len(),
        client.tries(),
        known.jobs.len()
    );
    assert!(known.uploads.len() >= kills, "too little was under way to say anything: {known:?}");
    let log = || std::fs::read_to_string(folder.path().join("log.txt")).unwrap_or_default();
    known.jobs_end(&client, log).await;
    let catalog = format!("sqlite:{}", folder.path().join("catalog.sqlite").display());
    let originals = files(&folder.path().join("ingest/originals/shop")).into_iter().collect();
    everything_is_there_once(&known, &Catalog::new(catalog::Settings::new(catalog)), &originals, &client, http).await;
}
