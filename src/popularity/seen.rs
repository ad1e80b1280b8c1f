//! Counters by URL, in parts with a lock each. What a serving thread counts again and again it counts without any.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use parking_lot::Mutex;

/// Parts.
const PARTS: usize = 16;
/// URLs of a part; above, it is full and waits to be drained.
const URLS_MAX: usize = 1024;
/// Parts that were full and wait; above, what is asked for in them is passed over, which makes it a sample.
const WAITING_MAX: usize = 16;

/// A URL that was answered.
#[derive(Debug)]
pub struct Seen {
    /// The category.
    pub category: Arc<str>,
    /// The asset's id, as in the path.
    pub asset: Box<str>,
    /// The last segment: `w_400.webp`.
    pub variant: Box<str>,
    bytes: AtomicU64,
    count: AtomicU32,
}

impl Seen {
    /// Counts one more answer.
    pub fn add(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// The body's length, of the last time.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Of `/category/id/version/variant`; none of what is no such path.
    fn of(canonical: &str, category: &Arc<str>) -> Option<Self> {
        let (rest, variant) = canonical.rsplit_once('/')?;
        let (rest, _version) = rest.rsplit_once('/')?;
        let (_, asset) = rest.strip_prefix('/')?.split_once('/')?;
        let asset = percent_encoding::percent_decode_str(asset).decode_utf8_lossy();
        let (bytes, count) = Default::default();
        Some(Self { category: category.clone(), asset: asset.into(), variant: variant.into(), bytes, count })
    }
}

type Part = HashMap<u64, Arc<Seen>>;

/// The counters.
#[derive(Debug, Default)]
pub struct Counters {
    parts: [Mutex<Part>; PARTS],
    waiting: Mutex<Vec<Part>>,
    hasher: RandomState,
}

impl Counters {
    /// Counts an answer; also says whether a part became full by it.
    pub fn note(&self, canonical: &str, category: &Arc<str>, bytes: usize) -> Option<(Arc<Seen>, bool)> {
        // Paths are told apart by 64 bits: two that meet by chance are counted as one.
        let hash = self.hasher.hash_one(canonical);
        let mut part = self.parts[(hash >> 60) as usize % PARTS].lock();
        let mut full = false;
        if part.len() >= URLS_MAX && !part.contains_key(&hash) {
            let mut waiting = self.waiting.lock();
            let part = std::mem::take(&mut *part);
            if waiting.len() < WAITING_MAX {
                waiting.push(part);
            }
            full = true;
        }
        let seen = match part.entry(hash) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(place) => place.insert(Arc::new(Seen::of(canonical, category)?)).clone(),
        };
        seen.bytes.store(bytes as u64, Ordering::Relaxed);
        seen.add();
        Some((seen, full))
    }

    /// Hands over what was counted since; URLs that nobody asked for since, and nobody counts any more, are forgotten.
    pub fn drain(&self, mut take: impl FnMut(&Seen, u32)) {
        let full = std::mem::take(&mut *self.waiting.lock());
        for (hash, seen) in full.into_iter().flatten() {
            hand_over(&seen, &mut take);
            // A thread still counts by it.
            if Arc::strong_count(&seen) > 1 {
                self.parts[(hash >> 60) as usize % PARTS].lock().entry(hash).or_insert(seen);
            }
        }
        for part in &self.parts {
            part.lock().retain(|_, seen| hand_over(seen, &mut take) || Arc::strong_count(seen) > 1);
        }
    }
}

/// Whether there was anything.
fn hand_over(seen: &Arc<Seen>, take: &mut impl FnMut(&Seen, u32)) -> bool {
    let count = seen.count.swap(0, Ordering::Relaxed);
    if count > 0 {
        take(seen, count);
    }
    count > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_apart() {
        let category: Arc<str> = "shop".into();
        let of = |path: &str| Seen::of(path, &category).map(|seen| (seen.asset, seen.variant));
        assert_eq!(of("/shop/a/b%20c/v1/w_4,h_5.webp"), Some(("a/b c".into(), "w_4,h_5.webp".into())));
        assert_eq!(of("/shop/a/v1/x.jpg"), Some(("a".into(), "x.jpg".into())));
        assert_eq!((of("/shop/v1/x.jpg"), of("x.jpg"), of("")), (None, None, None));
    }

    #[test]
    fn counting_takes_bounded_memory_and_loses_nothing_that_is_drained_in_time() {
        let (counters, category) = (Counters::default(), Arc::from("shop"));
        let held = counters.note("/shop/held/v1/w_1.jpg", &category, 1).unwrap().0;
        let (mut all, mut told) = (1, 0);
        for at in 0..40 * URLS_MAX {
            let (_, full) = counters.note(&format!("/shop/{at}/v1/w_1.jpg"), &category, 1).unwrap();
            all += 1;
            if full {
                counters.drain(|_, count| told += count);
            }
        }
        held.add();
        counters.drain(|_, count| told += count);
        assert_eq!(told, all + 1);
        counters.drain(|_, _| panic!("nothing is left"));
        held.add();
        let mut last = 0;
        counters.drain(|seen, count| last += count * u32::from(&*seen.asset == "held"));
        assert_eq!(last, 1, "what a thread still holds is still counted");
        for at in 0..100 * PARTS * URLS_MAX {
            counters.note(&format!("/shop/{at}/v2/w_1.jpg"), &category, 1);
        }
        assert!(counters.waiting.lock().len() <= WAITING_MAX);
    }
}
