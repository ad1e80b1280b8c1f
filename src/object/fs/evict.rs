//! Keeping a folder to its bytes: count at start, evict the least recently used when it is over.
//!
//! A file's modification time is when it was last used, to the hour (see `touch`). A pass walks the folder once and holds
//! the paths of the oldest files only, at most [`VICTIMS_MAX`] of them; when these do not suffice another pass follows.
//! It runs on a thread of its own, one at a time; no request waits for it.

use std::cmp::Ordering as Order;
use std::collections::BinaryHeap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::metrics::{counter, gauge};

use super::{Shared, paths};
use crate::telemetry::names;

/// The most paths that a pass holds.
const VICTIMS_MAX: usize = 32_768;
/// The most passes in a row.
const PASSES_MAX: usize = 16;
/// A pass that could not free enough is not repeated for this long.
const PAUSE_MS: u64 = 10_000;
/// A half-written file that nobody has written to for this long was left by a crash.
const ABANDONED: Duration = Duration::from_secs(60);
/// What a file system hands out at a time, usually.
const BLOCK_BYTES: u64 = 4096;

/// A folder's bound and what is known of its bytes.
#[derive(Debug)]
pub struct Bound {
    bytes_max: u64,
    /// Counted bytes; below zero while what was deleted has not been counted yet.
    bytes: AtomicI64,
    counted: AtomicBool,
    at_work: AtomicBool,
    not_before_ms: AtomicU64,
}

impl Bound {
    /// A bound; nothing is counted yet.
    pub fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            bytes: AtomicI64::new(0),
            counted: AtomicBool::new(false),
            at_work: AtomicBool::new(false),
            not_before_ms: AtomicU64::new(0),
        }
    }

    /// The bytes in the folder, once they are counted.
    pub fn bytes(&self) -> Option<u64> {
        self.counted.load(Ordering::Acquire).then(|| self.bytes.load(Ordering::Relaxed).max(0) as u64)
    }

    fn is_over(&self) -> bool {
        self.bytes().is_some_and(|bytes| bytes > self.bytes_max)
    }

    fn add(&self, bytes: i64) {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        gauge!(names::STORE_BYTES).set((before + bytes).max(0) as f64);
    }
}

/// Counts a framed folder and clears it of what a crash left, on a thread of its own.
pub fn at_start(shared: &Arc<Shared>) {
    if let Some(bound) = &shared.bound {
        bound.at_work.store(true, Ordering::Relaxed);
    }
    start(shared);
}

/// Counts an object that was written, and starts an eviction when the folder is over its bound.
pub fn written(shared: &Arc<Shared>, length: u64) {
    let Some(bound) = &shared.bound else { return };
    bound.add(charge(length) as i64);
    if bound.is_over()
        && now_ms() >= bound.not_before_ms.load(Ordering::Relaxed)
        && !bound.at_work.swap(true, Ordering::AcqRel)
    {
        start(shared);
    }
}

/// Counts a file that was deleted.
pub fn removed(shared: &Shared, length: u64) {
    if let Some(bound) = &shared.bound {
        bound.add(-(charge(length) as i64));
    }
}

/// Runs passes on a thread that ends with them.
fn start(shared: &Arc<Shared>) {
    let work = Arc::clone(shared);
    let thread = std::thread::Builder::new().name("fovea-evict".into()).spawn(move || {
        let mut passes = 0;
        let mut freed_enough = pass(&work);
        while !freed_enough && passes < PASSES_MAX {
            passes += 1;
            freed_enough = pass(&work);
        }
        if let Some(bound) = &work.bound {
            if !freed_enough {
                bound.not_before_ms.store(now_ms() + PAUSE_MS, Ordering::Relaxed);
            }
            bound.at_work.store(false, Ordering::Release);
        }
    });
    if let Err(error) = thread {
        tracing::warn!(%error, "no thread for counting the store");
        if let Some(bound) = &shared.bound {
            bound.at_work.store(false, Ordering::Release);
        }
    }
}

/// A file that may go.
#[derive(PartialEq, Eq)]
struct Victim {
    used: SystemTime,
    bytes: u64,
    path: PathBuf,
}

impl Ord for Victim {
    fn cmp(&self, other: &Self) -> Order {
        self.used.cmp(&other.used).then_with(|| self.path.cmp(&other.path))
    }
}

impl PartialOrd for Victim {
    fn partial_cmp(&self, other: &Self) -> Option<Order> {
        Some(self.cmp(other))
    }
}

/// One walk: counts, clears, and where the folder is over its bound evicts. Answers whether it is under it now.
fn pass(shared: &Shared) -> bool {
    let now = SystemTime::now();
    let before = shared.bound.as_ref().map_or(0, |bound| bound.bytes.load(Ordering::Relaxed));
    // How much must go is known beforehand only after a first count; the first pass of all counts.
    let wanted = shared
        .bound
        .as_ref()
        .map_or(0, |bound| if bound.is_over() { (before as u64).saturating_sub(bound.bytes_max / 10 * 9) } else { 0 });
    let mut total = 0_u64;
    let mut held = 0_u64;
    let mut oldest: BinaryHeap<Victim> = BinaryHeap::new();
    let walked = paths::walk(&shared.root, "", &mut |path, found| {
        let used = found.modified().unwrap_or(UNIX_EPOCH);
        if paths::is_temporary(path) {
            if now.duration_since(used).is_ok_and(|age| age > ABANDONED) {
                let _ = fs::remove_file(path);
            }
            return Ok(());
        }
        let bytes = charge(found.len());
        total += bytes;
        if wanted > 0 && (held < wanted || oldest.peek().is_some_and(|newest| used < newest.used)) {
            oldest.push(Victim { used, bytes, path: path.to_path_buf() });
            held += bytes;
            while let Some(newest) = oldest.peek() {
                if oldest.len() <= VICTIMS_MAX && held - newest.bytes < wanted {
                    break;
                }
                held -= newest.bytes;
                oldest.pop();
            }
        }
        Ok(())
    });
    if let Err(error) = walked {
        tracing::warn!(%error, root = %shared.root.display(), "the store could not be walked");
    }
    let Some(bound) = &shared.bound else { return true };
    // What was written or deleted meanwhile stays counted as the difference to `before`.
    bound.add(total as i64 - before);
    let first = !bound.counted.swap(true, Ordering::AcqRel);
    if first || wanted == 0 {
        return !bound.is_over();
    }
    // What the walk found may be less than was thought.
    let mut left = total.saturating_sub(bound.bytes_max / 10 * 9);
    for victim in oldest.into_sorted_vec() {
        if left == 0 {
            break;
        }
        if fs::remove_file(&victim.path).is_ok() {
            left = left.saturating_sub(victim.bytes);
            bound.add(-(victim.bytes as i64));
            counter!(names::STORE_EVICTED).increment(1);
            if let Some(folder) = victim.path.parent() {
                paths::prune(&shared.root, folder);
            }
        }
    }
    !bound.is_over()
}

/// What a file takes of the folder's bytes.
fn charge(length: u64) -> u64 {
    length.max(1).div_ceil(BLOCK_BYTES) * BLOCK_BYTES
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
