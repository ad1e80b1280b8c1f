//! What each serving thread answered a moment ago: the hottest URLs with their headers made, so that a hit costs neither
//! parsing, nor a digest, nor twenty header values; the hottest of those with their bodies in the kernel's memory.
//!
//! Always true: a slot is as good as a look into the memory cache. It dies with the next purge or reload (the origin's epoch),
//! and within [`LIFE`] anyway, so that the memory cache goes on learning what is popular. What depends on the moment or on
//! more than path and capability (signatures that expire, `v0`, hints, a list of origins) never has one.

use std::cell::{Cell, OnceCell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::block;
use super::headers::{Looked, REQUEST_ID, SERVER_TIMING};
use super::sealed::Sealed;
use crate::plan::{Bucket, Request, Version};
use crate::popularity::Seen;
use crate::serve::Entry;

/// How long a slot serves.
const LIFE: Duration = Duration::from_secs(1);
/// Slots of a thread, a power of two, in sets of [`WAYS`]. A URL has one set; where that is full, it takes over its oldest slot.
/// With 512 sets, one in a hundred of 400 hot URLs meets four others in its own; in pairs it was one in five.
const SLOTS: usize = 2048;
const WAYS: usize = 4;
/// How many questions a thread remembers, to know what is asked again.
const QUESTIONS: usize = 8192;
/// The largest body that a slot keeps alive, and how much a thread's slots keep alive together: the memory cache may have
/// dropped those bodies already, and the kernel may hold a copy of each.
const BODY_BYTES_MAX: usize = 1 << 20;
const BYTES_MAX: usize = 32 << 20;
/// After so many answers a body is sealed, if it is worth a second call to send it: 8 KiB are copied in the time of one.
const SEALED_AFTER: u32 = 8;
const SEALED_BYTES_MIN: usize = 8 << 10;

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

/// An answer that was given a moment ago.
pub struct Slot {
    path: Box<str>,
    bucket: Bucket,
    epoch: u64,
    since: Instant,
    /// What is answered.
    pub entry: Arc<Entry>,
    /// Every header of a 200 but the request's own.
    pub whole: HeaderMap,
    /// Counts its answers among what is popular.
    seen: Option<Arc<Seen>>,
    heads: OnceCell<Heads>,
    answers: Cell<u32>,
    sealed: OnceCell<Arc<Sealed>>,
}

/// The fields of a 200 and of a 304 but the request's own, and the end of the head.
struct Heads {
    whole: Box<[u8]>,
    unchanged: Box<[u8]>,
}

impl Slot {
    /// Counts an answer.
    pub fn answered(&self) {
        if let Some(seen) = &self.seen {
            seen.add();
        }
    }

    /// The headers of a 304: without what describes content.
    pub fn unchanged(&self) -> HeaderMap {
        let mut headers = self.whole.clone();
        headers.remove(CONTENT_TYPE);
        headers.remove(CONTENT_DISPOSITION);
        headers
    }

    /// The fields of a 200 or 304 but the request's own as HTTP/1 sends them, and the end of the head.
    pub fn fields(&self, status: StatusCode) -> &[u8] {
        let heads = self.heads.get_or_init(|| {
            let (mut whole, mut unchanged) = (Vec::with_capacity(1024), Vec::with_capacity(1024));
            let without = |mut headers: HeaderMap| {
                headers.remove(REQUEST_ID);
                headers.remove(SERVER_TIMING);
                headers
            };
            block::fields(&mut whole, &without(self.whole.clone()));
            block::length(&mut whole, self.entry.bytes.len());
            block::fields(&mut unchanged, &without(self.unchanged()));
            whole.extend_from_slice(b"\r\n");
            unchanged.extend_from_slice(b"\r\n");
            Heads { whole: whole.into(), unchanged: unchanged.into() }
        });
        if status == StatusCode::NOT_MODIFIED { &heads.unchanged } else { &heads.whole }
    }

    /// What [`Slot::fields`] of a 200 says and the body, sealed: where that is asked for often.
    pub fn sealed(&self) -> Option<&Arc<Sealed>> {
        let answers = self.answers.get().saturating_add(1);
        self.answers.set(answers);
        let bytes = &self.entry.bytes;
        if answers == SEALED_AFTER && bytes.len() >= SEALED_BYTES_MIN && self.sealed.get().is_none() {
            drop(Sealed::of(&[self.fields(StatusCode::OK), bytes]).map(|sealed| self.sealed.set(sealed)));
        }
        self.sealed.get()
    }
}

/// The slots of a thread.
struct Front {
    slots: Vec<Option<Box<Slot>>>,
    /// What was asked for lately, so that only what is asked for again gets a slot.
    seen: Vec<u64>,
    bytes: usize,
}

thread_local! {
    static FRONT: RefCell<Front> = const { RefCell::new(Front { slots: Vec::new(), seen: Vec::new(), bytes: 0 }) };
}

/// Looks for an answer that is still good, and lets `answer` make a response of it. `bucket` is asked only where the path ends
/// with `.auto`; each capability has its own slot then.
pub fn find<R>(
    path: &str,
    bucket: impl FnOnce() -> Bucket,
    epoch: u64,
    now: Instant,
    answer: impl FnOnce(&Slot) -> R,
) -> Option<R> {
    let bucket = if varies(path) { bucket() } else { Bucket::Base };
    FRONT.with_borrow(|front| {
        let slot = front.set(hash(path, bucket)).find(|slot| slot.bucket == bucket && *slot.path == *path)?;
        let good = slot.epoch == epoch && now.saturating_duration_since(slot.since) < LIFE;
        good.then(|| answer(slot))
    })
}

/// Keeps an answer from memory where that is sound and it was asked for before. `headers` makes every header of a 200; the
/// request's own are exchanged.
pub fn keep(
    found: Found<'_>,
    request: &Request,
    entry: &Arc<Entry>,
    seen: Option<Arc<Seen>>,
    headers: impl FnOnce() -> HeaderMap,
) {
    let Found { path, looked, epoch, now, .. } = found;
    let bucket = if varies(path) { found.bucket } else { Bucket::Base };
    let lasting = request.version != Version::Latest && request.signed.as_ref().is_none_or(|signed| signed.expiry == 0);
    let simple = !looked.size && !looked.save_data && !looked.origin && (!looked.accept || varies(path));
    if !lasting || !simple || entry.bytes.len() > BODY_BYTES_MAX {
        return;
    }
    FRONT.with_borrow_mut(|front| {
        let hash = hash(path, bucket);
        if !front.renew(hash, &Found { bucket, ..found }, entry)
            && front.asked_again(hash)
            && front.has_room(entry, now)
        {
            let mut whole = headers();
            // Values come with each request; their names are there already, so that a copy need not grow.
            whole.insert(REQUEST_ID, HeaderValue::from_static(""));
            whole.insert(SERVER_TIMING, HeaderValue::from_static(""));
            let (heads, answers, sealed) = Default::default();
            let entry = entry.clone();
            let path = path.into();
            let slot = Slot { path, bucket, epoch, since: now, entry, whole, seen, heads, answers, sealed };
            let at = front.oldest(hash);
            front.put(at, Some(Box::new(slot)));
        }
    });
}

impl Front {
    /// Lets a slot that was made for the same answer serve on.
    fn renew(&mut self, hash: u64, found: &Found<'_>, entry: &Arc<Entry>) -> bool {
        for at in place(hash)..(place(hash) + WAYS).min(self.slots.len()) {
            let Some(slot) = &mut self.slots[at] else { continue };
            if *slot.path != *found.path || slot.bucket != found.bucket {
                continue;
            }
            if slot.epoch == found.epoch && Arc::ptr_eq(&slot.entry, entry) {
                slot.since = found.now;
                return true;
            }
            self.put(at, None);
        }
        false
    }

    /// The slots of a set.
    fn set(&self, hash: u64) -> impl Iterator<Item = &Slot> {
        self.slots.iter().skip(place(hash)).take(WAYS).flatten().map(|slot| &**slot)
    }

    /// Which of a set a new slot takes over: a free one, else the oldest.
    fn oldest(&self, hash: u64) -> usize {
        let set = place(hash)..place(hash) + WAYS;
        set.min_by_key(|at| self.slots[*at].as_ref().map(|slot| slot.since)).expect("a set has slots")
    }

    /// Whether this was asked for before, and nothing in its place since.
    fn asked_again(&mut self, hash: u64) -> bool {
        if self.slots.is_empty() {
            self.slots.resize_with(SLOTS, || None);
            self.seen.resize(QUESTIONS, 0);
        }
        std::mem::replace(&mut self.seen[(hash >> 40) as usize % QUESTIONS], hash) == hash
    }

    fn has_room(&mut self, entry: &Entry, now: Instant) -> bool {
        if self.bytes + entry.bytes.len() > BYTES_MAX {
            for at in 0..SLOTS {
                let old = self.slots[at].as_ref().is_some_and(|slot| now.saturating_duration_since(slot.since) >= LIFE);
                if old {
                    self.put(at, None);
                }
            }
        }
        self.bytes + entry.bytes.len() <= BYTES_MAX
    }

    fn put(&mut self, at: usize, slot: Option<Box<Slot>>) {
        let bytes = |slot: &Option<Box<Slot>>| slot.as_ref().map_or(0, |slot| slot.entry.bytes.len());
        self.bytes = self.bytes + bytes(&slot) - bytes(&self.slots[at]);
        self.slots[at] = slot;
    }
}

/// Whether `Accept` may decide what the path answers.
fn varies(path: &str) -> bool {
    path.ends_with(".auto")
}

/// Where a set begins.
const fn place(hash: u64) -> usize {
    (hash >> 48) as usize % (SLOTS / WAYS) * WAYS
}

/// Eight bytes at a time, as it is done for every request. Whoever makes paths meet in one place only makes them take turns.
fn hash(path: &str, bucket: Bucket) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut chunks = path.as_bytes().chunks_exact(8);
    let mut hash = (path.len() as u64) << 2 | bucket as u64;
    for chunk in &mut chunks {
        let word = u64::from_le_bytes(chunk.try_into().expect("a chunk of eight is eight bytes"));
        hash = (hash.rotate_left(23) ^ word).wrapping_mul(ODD);
    }
    for byte in chunks.remainder() {
        hash = (hash.rotate_left(9) ^ u64::from(*byte)).wrapping_mul(ODD);
    }
    hash
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use bytes::Bytes;

    use super::*;
    use crate::plan::{Ask, Signed};

    /// Asks twice, as only what is asked for again is kept.
    fn keep(request: &Request, path: &str, looked: Looked, bucket: Bucket, epoch: u64, now: Instant, bytes: usize) {
        let entry = Arc::new(crate::http::headers::tests::entry(Bytes::from(vec![1; bytes]), UNIX_EPOCH));
        for _ in 0..2 {
            super::keep(Found { path, looked, bucket, epoch, now }, request, &entry, None, || {
                let mut headers = HeaderMap::new();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("image/webp"));
                headers.insert(http::header::ETAG, HeaderValue::from_static("\"e\""));
                headers
            });
        }
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
            |slot| {
                let unchanged = slot.unchanged();
                assert!(slot.whole.contains_key(CONTENT_TYPE) && !unchanged.contains_key(CONTENT_TYPE));
                assert!(unchanged.contains_key(http::header::ETAG) && unchanged.contains_key(REQUEST_ID));
                slot.entry.bytes.len()
            },
        );
        seen.is_some()
    }

    #[test]
    fn only_what_is_asked_for_again_is_kept_and_only_what_is_asked_for_often_is_sealed() {
        let (now, path) = (Instant::now(), "/demo/often/v1/w_1.jpg");
        let entry = Arc::new(crate::http::headers::tests::entry(Bytes::from(vec![1; 9000]), UNIX_EPOCH));
        let found = Found { path, looked: Looked::default(), bucket: Bucket::Base, epoch: 3, now };
        let kept = |now| {
            super::keep(Found { now, ..found }, &request(), &entry, None, HeaderMap::new);
            find(path, || Bucket::Base, 3, now, |slot| slot.sealed().is_some())
        };
        assert_eq!(kept(now), None);
        for _ in 1..SEALED_AFTER {
            assert_eq!(kept(now), Some(false));
        }
        assert_eq!(kept(now), Some(true));
        assert_eq!(kept(now + LIFE * 2), Some(true), "it is renewed as it is");
        let head =
            |status| find(path, || Bucket::Base, 3, now + LIFE * 2, |slot| slot.fields(status).to_vec()).unwrap();
        assert_eq!(head(StatusCode::OK), b"content-length: 9000\r\n\r\n");
        assert_eq!(head(StatusCode::NOT_MODIFIED), b"\r\n");
    }

    #[test]
    fn a_set_holds_four_and_a_fifth_takes_over_the_oldest() {
        let now = Instant::now();
        let paths: Vec<String> = (0..100_000).map(|at| format!("/demo/set/v1/w_{at}.jpg")).collect();
        let set = |path: &str| place(hash(path, Bucket::Base));
        let same: Vec<&String> = paths.iter().filter(|path| set(path) == set(&paths[0])).take(WAYS + 1).collect();
        for (at, path) in same.iter().enumerate() {
            keep(&request(), path, Looked::default(), Bucket::Base, 1, now + Duration::from_millis(at as u64), 10);
        }
        let kept: Vec<bool> = same.iter().map(|path| seen(path, Bucket::Base, 1, now)).collect();
        assert_eq!(kept, [false, true, true, true, true]);
    }

    #[test]
    fn slots_keep_a_bounded_number_of_bytes_alive() {
        let now = Instant::now();
        for at in 0..120 {
            let path = format!("/demo/large-{at}/v1/w_1.jpg");
            keep(&request(), &path, Looked::default(), Bucket::Base, 1, now, BODY_BYTES_MAX);
        }
        let bytes = || FRONT.with_borrow(|front| front.bytes);
        assert!(bytes() <= BYTES_MAX && bytes() >= BYTES_MAX - BODY_BYTES_MAX, "{}", bytes());
        keep(&request(), "/demo/late/v1/w_1.jpg", Looked::default(), Bucket::Base, 1, now + LIFE, BODY_BYTES_MAX);
        assert!(seen("/demo/late/v1/w_1.jpg", Bucket::Base, 1, now + LIFE), "what is past makes room");
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
        for width in 0..SLOTS * 8 {
            taken[place(hash(&format!("/demo/shoes/red-42/v3/w_{width}.auto"), Bucket::Base))] += 1;
        }
        let mut sets = taken.iter().step_by(WAYS);
        assert!(sets.all(|count| (4..120).contains(count)), "{taken:?}");
    }
}
