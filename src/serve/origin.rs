//! The origin: every part of the story, and its three doors: read, peek, answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::RwLock;

use super::fetch::Fetched;
use super::fleet::PurgeLog;
use super::forms::Forms;
use super::lead::Fleet;
use super::make::Made;
use super::wanted::Wanted;
use super::{Answer, Client, Error, Phase, Policy, Store};
use crate::base::{AssetDigest, Deadline, Digest, Limits, Stages, VariantKey};
use crate::broker::Broker;
use crate::cache::entry::unix_ms;
use crate::cache::{Derivatives, Flights, Memory, Purges, Role};
use crate::catalog::{self, Catalog};
use crate::plan::{self, Request, Urls, Version};
use crate::render::{Look, Renderer, Urgency};
use crate::source::{OriginalMeta, Source};

/// A configured collection.
#[derive(Debug)]
pub struct Category {
    /// Its name.
    pub name: Arc<str>,
    /// Where its originals come from.
    pub source: Source,
    /// How its answers are sent.
    pub policy: Policy,
    /// What of its settings changes bytes.
    pub look: Arc<Look>,
    /// [`Look::digest`] of `look`.
    pub look_digest: Digest,
    /// Bounds on originals.
    pub limits: Limits,
    /// Whether a version must be the original's own digest.
    pub checked: bool,
    /// Whether its originals were uploaded: the catalog says which versions there are, and under which key each lies.
    pub catalogued: bool,
}

/// What an origin is built of.
#[derive(Debug)]
pub struct Parts {
    /// What URLs may say.
    pub urls: Arc<Urls>,
    /// The collections.
    pub categories: Vec<Category>,
    /// The memory cache.
    pub memory: Memory<Error>,
    /// The derivative store, if there is one.
    pub derivatives: Option<Derivatives>,
    /// Budget and CPU pool.
    pub renderer: Renderer,
    /// For how long what does not exist or is broken is remembered.
    pub negative_ttl: Duration,
    /// Where versions of uploaded originals are recorded. Asked on misses alone.
    pub catalog: Option<Catalog>,
    /// What the origins of a fleet tell each other by.
    pub broker: Option<Broker>,
    /// Whose the derivative store is.
    pub store: Store,
}

/// The origin. One a process.
#[derive(Debug)]
pub struct Origin {
    urls: RwLock<Arc<Urls>>,
    categories: HashMap<Arc<str>, Arc<Category>>,
    pub(super) memory: Memory<Error>,
    pub(super) derivatives: Option<Derivatives>,
    pub(super) purges: Purges,
    pub(super) renderer: Renderer,
    pub(super) variants: Flights<VariantKey, Result<Made, Error>>,
    pub(super) fetches: Flights<AssetDigest, Result<Arc<Fetched>, Error>>,
    pub(super) mezzanines: Flights<AssetDigest, Result<Forms, Error>>,
    pub(super) stats: Flights<AssetDigest, Result<OriginalMeta, Error>>,
    validators: moka::sync::Cache<AssetDigest, (Instant, Arc<str>)>,
    negative_ttl: Duration,
    pub(super) catalog: Option<Catalog>,
    /// Leases on flights, where the fleet shares a store.
    pub(super) fleet: Option<Fleet>,
    /// Whose the derivative store is.
    pub(super) store: Store,
    /// Where the fleet is told of purges, beside the catalog's events.
    pub(super) purge_log: Option<PurgeLog>,
    /// What this process is called among those that share the catalog.
    pub(super) name: String,
    /// Whether it knows of every purge: else memory is not asked.
    pub(super) informed: AtomicBool,
    ready: AtomicBool,
    epoch: AtomicU64,
}

/// How long a store may take at the start.
const WARM_WITHIN: Duration = Duration::from_secs(3);

/// How many assets' validators are remembered for `v0`.
const VALIDATORS_MAX: u64 = 200_000;

impl Origin {
    /// Of its parts.
    pub fn new(parts: Parts) -> Arc<Self> {
        let name = catalog::id("origin", 0);
        // Who shares no store cannot find there what another made.
        let sharing = parts.broker.as_ref().filter(|_| parts.store == Store::Shared && parts.derivatives.is_some());
        let fleet = sharing.map(|broker| Fleet::new(broker, &name));
        let categories = parts.categories.into_iter().map(|category| (category.name.clone(), Arc::new(category)));
        Arc::new(Self {
            urls: RwLock::new(parts.urls),
            categories: categories.collect(),
            memory: parts.memory,
            derivatives: parts.derivatives,
            purges: Purges::default(),
            renderer: parts.renderer,
            variants: Flights::default(),
            fetches: Flights::default(),
            mezzanines: Flights::default(),
            stats: Flights::default(),
            validators: moka::sync::Cache::builder().max_capacity(VALIDATORS_MAX).build(),
            negative_ttl: parts.negative_ttl,
            catalog: parts.catalog,
            purge_log: parts.broker.as_ref().map(PurgeLog::new),
            name,
            fleet,
            store: parts.store,
            informed: AtomicBool::new(parts.broker.is_none()),
            ready: AtomicBool::new(false),
            epoch: AtomicU64::new(0),
        })
    }

    /// Reads what earlier purges left in the store, then counts as ready. A store that does not answer delays nothing.
    pub async fn warm(&self) {
        self.load_purges(WARM_WITHIN).await;
        self.ready.store(true, Ordering::Release);
    }

    /// Reads what purges left in the store; one that does not answer in time is gone on without.
    pub(super) async fn load_purges(&self, time: Duration) {
        let Some(derivatives) = &self.derivatives else { return };
        match tokio::time::timeout(time, derivatives.load_purges(&self.purges)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the moments of earlier purges could not be read"),
            Err(_) => tracing::warn!(?time, "the derivative store does not answer; going on without it"),
        }
    }

    /// Whether it is warmed.
    pub fn ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Exchanges what URLs may say: keys and presets, on SIGHUP.
    pub fn replace_urls(&self, urls: Arc<Urls>) {
        *self.urls.write() = urls;
        self.turn();
    }

    /// Changes whenever something that was answered before may no longer be so: after a purge, and after
    /// [`Origin::replace_urls`]. Who keeps answers of [`Origin::peek`] reads it before, and forgets them when it has changed.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    pub(super) fn turn(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// What time it is where origins compare times: when one was told of a purge, and when another made a variant. The catalog's, where
    /// they share one.
    pub(super) fn now_ms(&self) -> u64 {
        self.catalog.as_ref().map_or_else(|| unix_ms(SystemTime::now()), |catalog| catalog.now_ms().max(0) as u64)
    }

    /// What URLs may say now.
    pub fn urls(&self) -> Arc<Urls> {
        self.urls.read().clone()
    }

    /// Parses and checks a path. Pure, and fast enough for the event loop.
    pub fn read(&self, path: &str) -> Result<Request, plan::Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.urls.read().read(path, now)
    }

    /// How a category's answers are sent.
    pub fn policy(&self, category: &str) -> Option<&Policy> {
        self.categories.get(category).map(|category| &category.policy)
    }

    /// The configured collections.
    pub fn categories(&self) -> impl Iterator<Item = &Arc<Category>> {
        self.categories.values()
    }

    pub(super) fn category(&self, name: &str) -> Result<Arc<Category>, Error> {
        self.categories.get(name).cloned().ok_or_else(|| Error::NoCategory(name.to_owned()))
    }

    /// The answer, if it is in memory. Never blocks.
    pub fn peek(&self, request: &Request, client: &Client) -> Option<Answer> {
        let category = self.categories.get(&*request.category)?;
        let validator = match request.version {
            Version::Latest if category.catalogued => return None,
            Version::Latest => Some(self.fresh_validator(category, &AssetDigest::new(&category.name, &request.id))?),
            Version::Number(_) | Version::Hash(_) => None,
        };
        let wanted = Wanted::new(category.clone(), request, client, validator.as_deref());
        self.recall(&wanted)
    }

    /// The answer, from wherever it is, or made now.
    pub async fn answer(
        self: &Arc<Self>,
        mut request: Request,
        client: Client,
        deadline: Deadline,
    ) -> Result<Answer, Error> {
        let category = self.category(&request.category)?;
        if category.catalogued && request.version == Version::Latest {
            request.version = self.current(&request.category, &request.id).await?;
        }
        let validator = match request.version {
            Version::Latest => Some(self.validator(&category, &request.id, &client, deadline).await?),
            Version::Number(_) | Version::Hash(_) => None,
        };
        let wanted = Wanted::new(category, &request, &client, validator.as_deref());
        if let Some(answer) = self.recall(&wanted) {
            return Ok(answer);
        }
        if let Some(failure) = self.memory.failure(&wanted.key) {
            return Err(failure);
        }
        let key = wanted.key;
        let (outcome, role) =
            self.variants.join(key, deadline, |work| self.clone().make(wanted, client, Urgency::Live, work)).await;
        let made = outcome.ok_or_else(|| Error::Internal("the work on this variant ended abnormally".into()))??;
        let collapsed = role == Role::Follower && matches!(made.phase, Phase::Miss);
        let phase = if collapsed { Phase::Collapsed } else { made.phase };
        Ok(Answer { entry: made.entry, phase, stages: made.stages, key: made.key.digest })
    }

    /// What memory holds of it. An `auto` goes by its alias.
    pub(super) fn recall(&self, wanted: &Wanted) -> Option<Answer> {
        if !self.informed.load(Ordering::Acquire) {
            return None;
        }
        let key = if wanted.is_alias() { self.memory.alias(&wanted.key)? } else { wanted.key };
        let entry = self.memory.entry(&key, &wanted.tags, &self.purges)?;
        Some(Answer { entry, phase: Phase::Memory, stages: Stages::default(), key: key.digest })
    }

    /// Remembers a failure for as long as it deserves.
    pub(super) fn remember(&self, key: VariantKey, error: &Error) {
        if let Some(time) = error.remembered(self.negative_ttl) {
            self.memory.keep_failure(key, error.clone(), time);
        }
    }

    pub(super) fn fresh_validator(&self, category: &Category, asset: &AssetDigest) -> Option<Arc<str>> {
        let (since, validator) = self.validators.get(asset)?;
        (since.elapsed() < category.policy.latest_max_age.max(Duration::from_secs(1))).then_some(validator)
    }

    /// Remembers what `v0` of an asset is.
    pub(super) fn keep_validator(&self, asset: AssetDigest, validator: Arc<str>) {
        self.validators.insert(asset, (Instant::now(), validator));
    }

    /// Forgets what `v0` of every asset is.
    pub(super) fn forget_validators(&self) {
        self.validators.invalidate_all();
    }

    /// Forgets what `v0` of an asset is.
    pub(super) fn forget_validator(&self, asset: &AssetDigest) {
        self.validators.invalidate(asset);
    }

    /// What `v0` is now: the source is asked at most once in the category's max-age for it.
    pub(super) async fn validator(
        self: &Arc<Self>,
        category: &Arc<Category>,
        id: &str,
        client: &Client,
        deadline: Deadline,
    ) -> Result<Arc<str>, Error> {
        let asset = AssetDigest::new(&category.name, id);
        if let Some(validator) = self.fresh_validator(category, &asset) {
            return Ok(validator);
        }
        let question = VariantKey { asset, digest: Digest::of(b"validator") };
        if let Some(failure) = self.memory.failure(&question) {
            return Err(failure);
        }
        let (source, id, context) = (category.source.clone(), id.to_owned(), client.context.clone());
        let stat = |_| async move { Ok(source.stat(&id, &context, deadline).await?) };
        let (outcome, _) = self.stats.join(asset, deadline, stat).await;
        match outcome.unwrap_or_else(|| Err(Error::Internal("asking the source ended abnormally".into()))) {
            Ok(meta) => {
                let validator: Arc<str> = meta.validator.into();
                self.keep_validator(asset, validator.clone());
                Ok(validator)
            }
            Err(error) => {
                self.remember(question, &error);
                Err(error)
            }
        }
    }
}
