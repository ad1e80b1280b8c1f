//! The memory cache: entries by bytes, what variants are rendered from by bytes of its own, what `auto` chose, and brief memory of what does not exist.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::sync::Cache;

use super::entry::{Entry, Tags};
use super::purges::Purges;
use crate::base::{AssetDigest, VariantKey};

/// What an entry costs beside its bytes: key, metadata, moka's own node.
const OVERHEAD_BYTES: usize = 600;

/// How many aliases are kept; one is about 200 bytes.
const ALIASES_MAX: u64 = 200_000;

/// How many failures are remembered.
const FAILURES_MAX: u64 = 20_000;

/// The memory cache. `E` is a failure that is worth remembering for a moment.
#[derive(Debug)]
pub struct Memory<E: Clone + Send + Sync + 'static> {
    entries: Cache<VariantKey, Arc<Entry>>,
    sources: Cache<VariantKey, Arc<Entry>>,
    aliases: Cache<VariantKey, VariantKey>,
    failures: Cache<VariantKey, (Instant, E)>,
    entry_bytes_max: u64,
}

impl<E: Clone + Send + Sync + 'static> Memory<E> {
    /// Holds about `bytes_max` bytes, and no entry above `entry_bytes_max`; and about `source_bytes_max` bytes of what variants are
    /// rendered from.
    pub fn new(bytes_max: u64, entry_bytes_max: u64, source_bytes_max: u64) -> Self {
        let weigh =
            |_: &VariantKey, entry: &Arc<Entry>| u32::try_from(entry.bytes.len() + OVERHEAD_BYTES).unwrap_or(u32::MAX);
        Self {
            entries: Cache::builder().max_capacity(bytes_max).weigher(weigh).support_invalidation_closures().build(),
            sources: Cache::builder()
                .max_capacity(source_bytes_max)
                .weigher(weigh)
                .support_invalidation_closures()
                .build(),
            aliases: Cache::builder().max_capacity(ALIASES_MAX).support_invalidation_closures().build(),
            failures: Cache::builder()
                .max_capacity(FAILURES_MAX)
                .time_to_live(Duration::from_secs(300))
                .support_invalidation_closures()
                .build(),
            entry_bytes_max,
        }
    }

    /// The entry of a key, unless it was made before a purge.
    pub fn entry(&self, key: &VariantKey, tags: &Tags, purges: &Purges) -> Option<Arc<Entry>> {
        allowed(&self.entries, key, tags, purges)
    }

    /// Something that variants are rendered from, unless it was made before a purge.
    pub fn source(&self, key: &VariantKey, tags: &Tags, purges: &Purges) -> Option<Arc<Entry>> {
        allowed(&self.sources, key, tags, purges)
    }

    /// Keeps something that variants are rendered from.
    pub fn keep_source(&self, key: VariantKey, entry: Arc<Entry>) {
        self.sources.insert(key, entry);
    }

    /// Keeps an entry, unless it is too large. What is kept is a body of its own: a slice of a larger buffer would keep that
    /// buffer alive without its bytes being counted.
    pub fn keep(&self, key: VariantKey, entry: Arc<Entry>) {
        if entry.bytes.len() as u64 <= self.entry_bytes_max {
            self.entries.insert(key, entry);
        }
    }

    /// The variant that an `auto` URL's capability bucket came to.
    pub fn alias(&self, alias: &VariantKey) -> Option<VariantKey> {
        self.aliases.get(alias)
    }

    /// Remembers what an `auto` came to.
    pub fn keep_alias(&self, alias: VariantKey, key: VariantKey) {
        self.aliases.insert(alias, key);
    }

    /// A failure that is still remembered.
    pub fn failure(&self, key: &VariantKey) -> Option<E> {
        let (until, failure) = self.failures.get(key)?;
        (Instant::now() < until).then_some(failure)
    }

    /// Remembers a failure for so long, at most five minutes.
    pub fn keep_failure(&self, key: VariantKey, failure: E, time: Duration) {
        self.failures.insert(key, (Instant::now() + time, failure));
    }

    /// Forgets everything.
    pub fn forget_all(&self) {
        self.entries.invalidate_all();
        self.sources.invalidate_all();
        self.forget_conclusions();
    }

    /// Forgets one variant.
    pub fn forget(&self, key: &VariantKey) {
        self.entries.invalidate(key);
        self.aliases.invalidate(key);
        self.failures.invalidate(key);
    }

    /// Forgets everything of an asset.
    pub fn forget_asset(&self, asset: AssetDigest) {
        let infallible = "closures are supported, as the builders say";
        self.entries.invalidate_entries_if(move |key, _| key.asset == asset).expect(infallible);
        self.sources.invalidate_entries_if(move |key, _| key.asset == asset).expect(infallible);
        self.aliases.invalidate_entries_if(move |key, _| key.asset == asset).expect(infallible);
        self.failures.invalidate_entries_if(move |key, _| key.asset == asset).expect(infallible);
    }

    /// Forgets all failures and aliases, after a purge that names more than an asset.
    pub fn forget_conclusions(&self) {
        self.aliases.invalidate_all();
        self.failures.invalidate_all();
    }

    /// Bytes and entries held, about.
    pub fn usage(&self) -> (u64, u64) {
        (self.entries.weighted_size(), self.entries.entry_count())
    }
}

fn allowed(
    cache: &Cache<VariantKey, Arc<Entry>>,
    key: &VariantKey,
    tags: &Tags,
    purges: &Purges,
) -> Option<Arc<Entry>> {
    let entry = cache.get(key)?;
    if purges.allow(tags, &key.asset, entry.made_at_ms) {
        return Some(entry);
    }
    cache.invalidate(key);
    None
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::base::{Digest, Format};

    fn key(asset: &str, variant: &str) -> VariantKey {
        VariantKey::new(AssetDigest::new("c", asset), "v1", variant, "jpg", &Digest::of(b""))
    }

    #[test]
    fn large_entries_stay_out_and_an_assets_purge_takes_all_of_its_variants() {
        let memory: Memory<()> = Memory::new(1 << 20, 10, 1 << 20);
        let purges = Purges::default();
        let tags = Tags { category: "c".into(), preset: None };
        let small = Arc::new(Entry::image(Bytes::from_static(b"0123456789"), Format::Jpeg));
        let large = Arc::new(Entry::image(Bytes::from_static(b"0123456789a"), Format::Jpeg));
        memory.keep(key("a", "w_1"), small.clone());
        memory.keep(key("a", "w_2"), small.clone());
        memory.keep(key("b", "w_1"), small);
        memory.keep(key("b", "w_2"), large);
        let holds = |asset: &str, variant: &str| memory.entry(&key(asset, variant), &tags, &purges).is_some();
        assert!(holds("a", "w_1") && holds("a", "w_2") && holds("b", "w_1") && !holds("b", "w_2"));
        memory.forget_asset(AssetDigest::new("c", "a"));
        assert!(!holds("a", "w_1") && !holds("a", "w_2") && holds("b", "w_1"));
    }

    #[test]
    fn a_failure_is_forgotten_when_its_time_is_up() {
        let memory: Memory<u8> = Memory::new(1 << 20, 10, 1 << 20);
        memory.keep_failure(key("a", "x"), 1, Duration::from_secs(60));
        memory.keep_failure(key("a", "y"), 2, Duration::ZERO);
        assert_eq!(memory.failure(&key("a", "x")), Some(1));
        assert_eq!(memory.failure(&key("a", "y")), None);
    }
}
