//! A flight: what memory did not hold is looked for in the store, and made where it is not there.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::fetch::Fetched;
use super::forms::Ask;
use super::lead::Turn;
use super::wanted::{Wanted, What};
use super::{Client, Error, Origin, Phase};
use crate::base::{ENGINE, Stage, Stages, VariantKey, Work};
use crate::broker::Lease;
use crate::cache::Entry;
use crate::cache::derivatives::{Found, Held, Verdict};
use crate::cache::entry::Tags;
use crate::render::{Rendered, Seat, Target, Urgency};

/// Revisions of the engine whose output must not be served any more: these laid the colours of a 4:4:4 JPEG over twice their place when
/// it was averaged two by two.
const ENGINES_UNSAFE: &[u32] = &[1, 2];

/// How a variant is made.
struct How {
    urgency: Urgency,
    seat: Arc<Seat>,
    /// Held until the variant is in the store.
    lease: Option<Arc<Lease>>,
}

/// What a flight brings.
#[derive(Clone, Debug)]
pub struct Made {
    pub key: VariantKey,
    pub entry: Arc<Entry>,
    pub phase: Phase,
    pub stages: Stages,
}

impl Origin {
    /// The flight. What it brings is in memory before it ends, so that who comes after it finds it there. From the moment of the
    /// call it counts as on the way to its original's other variants.
    pub(super) fn make(
        self: Arc<Self>,
        wanted: Wanted,
        client: Client,
        urgency: Urgency,
        work: Work,
    ) -> impl Future<Output = Result<Made, Error>> + Send + 'static {
        let seat = Arc::new(self.renderer.seat(wanted.original));
        self.fly(wanted, client, urgency, seat, work)
    }

    async fn fly(
        self: Arc<Self>,
        wanted: Wanted,
        client: Client,
        urgency: Urgency,
        seat: Arc<Seat>,
        work: Work,
    ) -> Result<Made, Error> {
        // Another flight of this key may have landed between the caller's look into memory and this one's start.
        if let Some(answer) = self.recall(&wanted) {
            let key = VariantKey { asset: wanted.asset, digest: answer.key };
            return Ok(Made { key, entry: answer.entry, phase: Phase::Memory, stages: Stages::default() });
        }
        let mut stages = Stages::default();
        let begun = Instant::now();
        let found = self.find(&wanted).await;
        stages.add(Stage::Store, begun.elapsed());
        if let Some((key, entry)) = found {
            if entry.engine < ENGINE {
                self.clone().renew(wanted, client);
            }
            return Ok(Made { key, entry, phase: Phase::Store, stages });
        }
        let waiting = Instant::now();
        let (lease, seat) = match self.turn_of(&wanted, seat, &work).await {
            Turn::Make { lease, seat } => (lease, seat),
            Turn::Found(key, entry) => {
                stages.add(Stage::Store, waiting.elapsed());
                return Ok(Made { key, entry, phase: Phase::Collapsed, stages });
            }
        };
        let making = self.fleet.as_ref().map(|fleet| fleet.make(wanted.output()));
        let how = How { urgency, seat, lease };
        let made = self.clone().make_anew(&wanted, &client, stages, how, &work).await;
        if let (Ok(_), Some(making)) = (&made, making) {
            making.done();
        }
        if let Err(error) = &made {
            self.remember(wanted.key, error);
        }
        made
    }

    /// Looks into the store; what is found goes into memory. An `auto` goes by its alias.
    pub(super) async fn find(&self, wanted: &Wanted) -> Option<(VariantKey, Arc<Entry>)> {
        let derivatives = self.derivatives.as_ref()?;
        if matches!(wanted.what, What::Original) {
            return None;
        }
        let mut key = wanted.key;
        if wanted.is_alias() {
            key = match self.memory.alias(&key) {
                Some(key) => key,
                None => match derivatives.find(&key, &wanted.tags, &self.purges).await? {
                    Found::Alias(chosen) => {
                        self.memory.keep_alias(wanted.key, chosen.key);
                        chosen.key
                    }
                    Found::Entry(_) => return None,
                },
            };
            if let Some(entry) = self.memory.entry(&key, &wanted.tags, &self.purges) {
                return Some((key, entry));
            }
        }
        match derivatives.find(&key, &wanted.tags, &self.purges).await? {
            Found::Entry(entry) if !ENGINES_UNSAFE.contains(&entry.engine) => {
                let entry = Arc::from(entry);
                self.memory.keep(key, Arc::clone(&entry));
                Some((key, entry))
            }
            Found::Entry(_) | Found::Alias(_) => None,
        }
    }

    /// Makes anew behind the answer what an older engine made.
    fn renew(self: Arc<Self>, wanted: Wanted, client: Client) {
        let deadline = crate::base::Deadline::after(std::time::Duration::from_secs(60));
        tokio::spawn(async move {
            let work = Work::until(deadline);
            let seat = Arc::new(self.renderer.seat(wanted.original));
            let how = How { urgency: Urgency::Ahead, seat, lease: None };
            let made = self.clone().make_anew(&wanted, &client, Stages::default(), how, &work).await;
            if let Err(error) = made {
                tracing::debug!(%error, "a derivative of an older engine was not renewed");
            }
        });
    }

    async fn make_anew(
        self: Arc<Self>,
        wanted: &Wanted,
        client: &Client,
        mut stages: Stages,
        How { urgency, seat, lease }: How,
        work: &Work,
    ) -> Result<Made, Error> {
        let made_at_ms = self.now_ms();
        let (key, mut entry) = match &wanted.what {
            What::Original => {
                let fetched = self.original(wanted, client, &mut stages, work).await?;
                // A copy: cached bytes must not hold on to the budget for work.
                let bytes = if fetched.bytes.len() <= 64 << 10 {
                    Bytes::copy_from_slice(&fetched.bytes)
                } else {
                    fetched.bytes.clone()
                };
                let mut entry = self.original_entry(bytes)?;
                if let Some(modified) = fetched.meta.modified {
                    entry.modified = modified;
                }
                let entry = Arc::new(entry);
                return Ok(Made { key: wanted.key, entry, phase: Phase::Source, stages });
            }
            What::Info => {
                let fetched = self.original(wanted, client, &mut stages, work).await?;
                (wanted.key, self.info_entry(wanted, client, fetched, work).await?)
            }
            What::Image { plan, target } => {
                let ask = Ask { plan: plan.clone(), target: *target, urgency, seat };
                let rendered = self.image(wanted, client, ask, &mut stages, work).await?;
                stages.merge(&rendered.stages);
                let key = match target {
                    Target::Format(_) => wanted.key,
                    Target::Best(_) => wanted.chosen(plan, rendered.format, rendered.quality.is_none()),
                };
                (key, variant_entry(rendered))
            }
        };
        // As of before the original was read: a purge in between takes what was made from the old one.
        entry.date(made_at_ms);
        let entry = Arc::new(entry);
        match urgency {
            Urgency::Live => self.keep(wanted, key, &entry, lease),
            Urgency::Ahead => self.keep_surely(wanted, key, &entry).await?,
        }
        Ok(Made { key, entry, phase: Phase::Miss, stages })
    }

    /// The original, of the version that was asked for.
    pub(super) async fn original(
        self: &Arc<Self>,
        wanted: &Wanted,
        client: &Client,
        stages: &mut Stages,
        work: &Work,
    ) -> Result<Arc<Fetched>, Error> {
        let fetched = self.fetch(wanted, client, work).await?;
        stages.add(Stage::Source, fetched.time);
        stages.left(Stage::Source, fetched.bytes.len() as u64);
        self.check_version(wanted, &fetched.bytes, work).await?;
        Ok(fetched)
    }

    /// Keeps what nobody waits for: done when it is in the store, so that whoever had it made can say so.
    pub(super) async fn keep_surely(
        self: &Arc<Self>,
        wanted: &Wanted,
        key: VariantKey,
        entry: &Arc<Entry>,
    ) -> Result<(), Error> {
        if !self.purges.allow(&wanted.tags, &wanted.asset, entry.made_at_ms) {
            return Ok(());
        }
        self.memory.keep(key, entry.clone());
        if wanted.is_alias() {
            self.memory.keep_alias(wanted.key, key);
        }
        if let Some(derivatives) = self.derivatives.as_ref().filter(|_| !entry.damaged) {
            let store = |error: crate::object::Error| Error::Store(error.to_string().into());
            let lost = self.lost_variant(key, &wanted.tags);
            derivatives.put(&key, entry, &wanted.tags, lost).await.map_err(store)?;
            if wanted.is_alias() {
                let lost = self.lost_alias(wanted.key, &wanted.tags);
                derivatives.put_alias(&wanted.key, &key, entry.made_at_ms, lost).await.map_err(store)?;
            }
        }
        Ok(())
    }

    /// Keeps what somebody waits for: it is written behind the answer, and the lease is held until it is.
    fn keep(self: &Arc<Self>, wanted: &Wanted, key: VariantKey, entry: &Arc<Entry>, lease: Option<Arc<Lease>>) {
        if !self.purges.allow(&wanted.tags, &wanted.asset, entry.made_at_ms) {
            return;
        }
        self.memory.keep(key, entry.clone());
        if wanted.is_alias() {
            self.memory.keep_alias(wanted.key, key);
        }
        // What could be saved of a broken original is not worth keeping for ever: the original may be mended.
        if let Some(derivatives) = self.derivatives.as_ref().filter(|_| !entry.damaged) {
            let held = || lease.clone().map(|lease| Box::new(lease) as Held);
            derivatives.keep(&key, entry, &wanted.tags, self.lost_variant(key, &wanted.tags), held());
            if wanted.is_alias() {
                let lost = self.lost_alias(wanted.key, &wanted.tags);
                derivatives.keep_alias(&wanted.key, &key, entry.made_at_ms, lost, held());
            }
        }
    }

    fn lost_variant(self: &Arc<Self>, key: VariantKey, tags: &Tags) -> impl FnOnce(Found) -> Verdict + Send + 'static {
        let adopt = move |origin: &Self, found| {
            if let Found::Entry(entry) = found {
                origin.memory.keep(key, Arc::from(entry));
            }
        };
        self.lost(key, tags, adopt)
    }

    fn lost_alias(self: &Arc<Self>, alias: VariantKey, tags: &Tags) -> impl FnOnce(Found) -> Verdict + Send + 'static {
        let adopt = move |origin: &Self, found| {
            if let Found::Alias(chosen) = found {
                origin.memory.keep_alias(alias, chosen.key);
            }
        };
        self.lost(alias, tags, adopt)
    }

    /// What is done about what another machine stored first: it is adopted, unless it has had its day.
    pub(super) fn lost(
        self: &Arc<Self>,
        key: VariantKey,
        tags: &Tags,
        adopt: impl FnOnce(&Self, Found) + Send + 'static,
    ) -> impl FnOnce(Found) -> Verdict + Send + 'static {
        let (origin, tags) = (Arc::clone(self), tags.clone());
        move |found| {
            let (engine, made_at_ms) = found.made_by();
            let current = engine >= ENGINE && !ENGINES_UNSAFE.contains(&engine);
            if !current || !origin.purges.allow(&tags, &key.asset, made_at_ms) {
                return Verdict::Replace;
            }
            adopt(&origin, found);
            Verdict::Adopted
        }
    }
}

fn variant_entry(rendered: Rendered) -> Entry {
    let mut entry = Entry::image(Bytes::from(rendered.bytes), rendered.format);
    entry.size = Some(rendered.size);
    entry.quality = rendered.quality;
    entry.damaged = rendered.damaged;
    entry
}
