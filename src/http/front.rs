//! What each serving thread answered a moment ago: the hottest URLs with their headers made, so that a hit costs neither
//! parsing, nor a digest, nor twenty header values.
//!
//! Always true: a slot is as good as a look into the memory cache. It dies with the next purge or reload (the origin's epoch),
//! and within [`LIFE`] anyway, so that the memory cache goes on learning what is popular. What depends on the moment or on
//! more than path and capability (signatures that expire, `v0`, hints, a list of origins) never has one.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};

use super::headers::{Looked, REQUEST_ID, SERVER_TIMING};
use crate::plan::{Bucket, Request, Version};
use crate::serve::Entry;

/// How long a slot serves.
const LIFE: Duration = Duration::from_secs(1);
/// Slots of a thread, a power of two. A URL has one place; another URL of the same place takes it over.
const SLOTS: usize = 256;
/// The largest body that a slot keeps alive: with [`SLOTS`], 16 MiB a thread that the memory cache may have dropped already.
const BODY_BYTES_MAX: usize = 64 << 10;

/// What an answer was found by, and under which epoch: read before the memory cache was looked into.
#[derive(Clone, Copy)]
pub struct Found<'a> {
    /// The path as sent.
    pub path: &'a str,
    /// What else was looked at.
    pub looked: Looked,
    /// What the client can show.
    pub bucket: Bucket,
    /// The origin's.
    pub epoch: u64,
    /// When.
    pub now: Instant,
}

struct Slot {
    path: Box<str>,
    bucket: Bucket,
    epoch: u64,
    since: Instant,
    entry: Arc<Entry>,
    whole: HeaderMap,
    /// The same without what describes content, for a 304.
    unchanged: HeaderMap,
}

thread_local! {
    static FRONT: RefCell<Vec<Option<Box<Slot>>>> = const { RefCell::new(Vec::new()) };
}

/// Looks for an answer that is still good, and lets `answer` make a response of it. The two maps are those of a 200 and of
/// a 304. `bucket` is asked only where the path ends with `.auto`.
pub fn find<R>(
    path: &str,
    bucket: impl FnOnce() -> Bucket,
    epoch: u64,
    now: Instant,
    answer: impl FnOnce(&Arc<Entry>, &HeaderMap, &HeaderMap) -> R,
) -> Option<R> {
    FRONT.with_borrow(|slots| {
        let slot = slots.get(place(path))?.as_ref()?;
        let good = slot.epoch == epoch && now.saturating_duration_since(slot.since) < LIFE && *slot.path == *path;
        let good = good && (!varies(path) || slot.bucket == bucket());
        good.then(|| answer(&slot.entry, &slot.whole, &slot.unchanged))
    })
}

/// Keeps an answer from memory where that is sound. `headers` makes every header of a 200; the request's own are exchanged.
pub fn keep(found: Found<'_>, request: &Request, entry: &Arc<Entry>, headers: impl FnOnce() -> HeaderMap) {
    let Found { path, looked, bucket, epoch, now } = found;
    let lasting = request.version != Version::Latest && request.signed.as_ref().is_none_or(|signed| signed.expiry == 0);
    let simple = !looked.size && !looked.save_data && !looked.origin && (!looked.accept || varies(path));
    if !lasting || !simple || entry.bytes.len() > BODY_BYTES_MAX {
        return;
    }
    let mut whole = headers();
    // Values come with each request; their names are there already, so that a copy need not grow.
    whole.insert(REQUEST_ID, HeaderValue::from_static(""));
    whole.insert(SERVER_TIMING, HeaderValue::from_static(""));
    let mut unchanged = whole.clone();
    unchanged.remove(CONTENT_TYPE);
    unchanged.remove(CONTENT_DISPOSITION);
    let slot = Slot { path: path.into(), bucket, epoch, since: now, entry: entry.clone(), whole, unchanged };
    FRONT.with_borrow_mut(|slots| {
        if slots.is_empty() {
            slots.resize_with(SLOTS, || None);
        }
        slots[place(path)] = Some(Box::new(slot));
    });
}

/// Whether `Accept` may decide what the path answers.
fn varies(path: &str) -> bool {
    path.ends_with(".auto")
}

/// A path's place: eight bytes at a time, as it is done for every request. Whoever makes paths meet in one place only makes
/// them take turns.
fn place(path: &str) -> usize {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut chunks = path.as_bytes().chunks_exact(8);
    let mut hash = path.len() as u64;
    for chunk in &mut chunks {
        let word = u64::from_le_bytes(chunk.try_into().expect("a chunk of eight is eight bytes"));
        hash = (hash.rotate_left(23) ^ word).wrapping_mul(ODD);
    }
    for byte in chunks.remainder() {
        hash = (hash.rotate_left(9) ^ u64::from(*byte)).wrapping_mul(ODD);
    }
    (hash >> 48) as usize % SLOTS
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use bytes::Bytes;

    use super::*;
    use crate::plan::{Ask, Signed};

    fn keep(request: &Request, path: &str, looked: Looked, bucket: Bucket, epoch: u64, now: Instant, bytes: usize) {
        let entry = crate::http::headers::tests::entry(Bytes::from(vec![1; bytes]), UNIX_EPOCH);
        super::keep(Found { path, looked, bucket, epoch, now }, request, &Arc::new(entry), || {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("image/webp"));
            headers.insert(http::header::ETAG, HeaderValue::from_static("\"e\""));
            headers
        });
    }

    fn request() -> Request {
        crate::http::headers::tests::request(Ask::Info)
    }

    fn seen(path: &str, bucket: Bucket, epoch: u64, now: Instant) -> bool {
        let seen = find(
            path,
            || bucket,
            epoch,
            now,
            |entry, whole, unchanged| {
                assert!(whole.contains_key(CONTENT_TYPE) && !unchanged.contains_key(CONTENT_TYPE));
                assert!(unchanged.contains_key(http::header::ETAG) && unchanged.contains_key(REQUEST_ID));
                entry.bytes.len()
            },
        );
        seen.is_some()
    }

    #[test]
    fn a_slot_dies_with_time_and_with_the_epoch() {
        let (now, path, none) = (Instant::now(), "/demo/a/v1/w_1.jpg", Looked::default());
        assert!(!seen(path, Bucket::Base, 7, now));
        keep(&request(), path, none, Bucket::Base, 7, now, 10);
        assert!(seen(path, Bucket::Base, 7, now + LIFE / 2));
        assert!(seen(path, Bucket::Avif, 7, now), "no format is chosen for a path that names one");
        assert!(!seen(path, Bucket::Base, 8, now), "a purge ends it");
        assert!(!seen(path, Bucket::Base, 7, now + LIFE), "so does time");
        assert!(!seen("/demo/a/v1/w_2.jpg", Bucket::Base, 7, now));
    }

    #[test]
    fn auto_is_kept_for_one_capability() {
        let (now, path) = (Instant::now(), "/demo/a/v1/w_1.auto");
        let looked = Looked { accept: true, ..Looked::default() };
        keep(&request(), path, looked, Bucket::WebP, 1, now, 10);
        assert!(seen(path, Bucket::WebP, 1, now) && !seen(path, Bucket::Avif, 1, now));
    }

    #[test]
    fn what_depends_on_more_is_not_kept() {
        let (now, path) = (Instant::now(), "/demo/b/v1/w_1.auto");
        let signed = |expiry| Some(Signed { kid: Arc::from("k"), expiry });
        let plain = Looked::default();
        let latest = Request { version: Version::Latest, ..request() };
        let expiring = Request { signed: signed(9), ..request() };
        keep(&latest, path, plain, Bucket::Base, 1, now, 10);
        keep(&expiring, path, plain, Bucket::Base, 1, now, 10);
        keep(&request(), path, Looked { origin: true, ..plain }, Bucket::Base, 1, now, 10);
        keep(&request(), path, Looked { size: true, ..plain }, Bucket::Base, 1, now, 10);
        keep(&request(), path, Looked { save_data: true, ..plain }, Bucket::Base, 1, now, 10);
        keep(&request(), path, plain, Bucket::Base, 1, now, BODY_BYTES_MAX + 1);
        assert!(!seen(path, Bucket::Base, 1, now));
        keep(&Request { signed: signed(0), ..request() }, path, plain, Bucket::Base, 1, now, 10);
        assert!(seen(path, Bucket::Base, 1, now));
    }

    #[test]
    fn places_are_spread() {
        let mut taken = [0_u32; SLOTS];
        for width in 0..SLOTS * 16 {
            taken[place(&format!("/demo/shoes/red-42/v3/w_{width}.auto"))] += 1;
        }
        assert!(taken.iter().all(|count| (2..60).contains(count)), "{taken:?}");
    }
}
