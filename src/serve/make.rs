//! A flight: what memory did not hold is looked for in the store, and made where it is not there.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;

use super::wanted::{Wanted, What};
use super::{Client, Error, Origin, Phase};
use crate::base::{ENGINE, Stage, Stages, VariantKey, Work};
use crate::cache::Entry;
use crate::cache::derivatives::{Found, Verdict};
use crate::cache::entry::unix_ms;
use crate::plan::Plan;
use crate::render::{Charge, Order, Rendered, Target, Urgency};

/// Revisions of the engine whose output must not be served any more: none so far.
const ENGINES_UNSAFE: &[u32] = &[];

/// What a flight brings.
#[derive(Clone, Debug)]
pub struct Made {
    pub key: VariantKey,
    pub entry: Arc<Entry>,
    pub phase: Phase,
    pub stages: Stages,
}

impl Origin {
    /// The flight. What it brings is in memory before it ends, so that who comes after it finds it there.
    pub(super) async fn make(self: Arc<Self>, wanted: Wanted, client: Client, work: Work) -> Result<Made, Error> {
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
        let made = self.clone().make_anew(&wanted, &client, stages, Urgency::Live, &work).await;
        if let Err(error) = &made {
            self.remember(wanted.key, error);
        }
        made
    }

    /// Looks into the store; what is found goes into memory. An `auto` goes by its alias.
    async fn find(&self, wanted: &Wanted) -> Option<(VariantKey, Arc<Entry>)> {
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
            let made = self.clone().make_anew(&wanted, &client, Stages::default(), Urgency::Ahead, &work).await;
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
        urgency: Urgency,
        work: &Work,
    ) -> Result<Made, Error> {
        let made_at_ms = unix_ms(SystemTime::now());
        let fetched = self.fetch(wanted, client, work).await?;
        stages.add(Stage::Source, fetched.time);
        self.check_version(wanted, &fetched.bytes, work).await?;
        let (key, mut entry) = match &wanted.what {
            What::Original => {
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
            What::Info => (wanted.key, self.info_entry(wanted, &fetched, work).await?),
            What::Image { plan, target } => {
                let order = self.order(wanted, plan, *target, fetched.bytes.clone(), work).await?;
                drop(fetched);
                let rendered = self.render(wanted, client, order, urgency, work).await?;
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
        self.keep(wanted, key, &entry);
        Ok(Made { key, entry, phase: Phase::Miss, stages })
    }

    fn keep(self: &Arc<Self>, wanted: &Wanted, key: VariantKey, entry: &Arc<Entry>) {
        if !self.purges.allow(&wanted.tags, &wanted.asset, entry.made_at_ms) {
            return;
        }
        self.memory.keep(key, entry.clone());
        if wanted.is_alias() {
            self.memory.keep_alias(wanted.key, key);
        }
        // What could be saved of a broken original is not worth keeping for ever: the original may be mended.
        if let Some(derivatives) = self.derivatives.as_ref().filter(|_| !entry.damaged) {
            derivatives.keep(&key, entry, &wanted.tags, self.lost(key, wanted));
            if wanted.is_alias() {
                derivatives.keep_alias(&wanted.key, &key, entry.made_at_ms, self.lost(wanted.key, wanted));
            }
        }
    }

    /// What is done about what another machine stored first: it is served from here too, unless it has had its day.
    fn lost(self: &Arc<Self>, key: VariantKey, wanted: &Wanted) -> impl FnOnce(Found) -> Verdict + Send + 'static {
        let (origin, tags) = (Arc::clone(self), wanted.tags.clone());
        move |found| {
            let (engine, made_at_ms) = found.made_by();
            if engine < ENGINE
                || ENGINES_UNSAFE.contains(&engine)
                || !origin.purges.allow(&tags, &key.asset, made_at_ms)
            {
                return Verdict::Replace;
            }
            match found {
                Found::Entry(entry) => origin.memory.keep(key, Arc::from(entry)),
                Found::Alias(chosen) => origin.memory.keep_alias(key, chosen.key),
            }
            Verdict::Adopted
        }
    }

    async fn order(
        &self,
        wanted: &Wanted,
        plan: &Arc<Plan>,
        target: Target,
        source: Bytes,
        work: &Work,
    ) -> Result<Order, Error> {
        let header = self.probe(wanted, &source, work).await?;
        let (look, limits) = (wanted.category.look.clone(), wanted.category.limits);
        Ok(Order { source, header, plan: plan.clone(), target, look, limits })
    }

    /// Renders when the memory for it is there. Where it is not, the original's bytes are let go while waiting, and fetched
    /// again into a charge that covers both.
    async fn render(
        &self,
        wanted: &Wanted,
        client: &Client,
        order: Order,
        urgency: Urgency,
        work: &Work,
    ) -> Result<Rendered, Error> {
        let budget = self.renderer.budget();
        let source_bytes = order.source.len() as u64;
        let needed = order.bytes_of_work()?;
        budget.check(source_bytes + needed)?;
        if let Some(charge) = budget.try_charge(needed) {
            return Ok(self.renderer.render(order, charge, urgency, work).await?);
        }
        let Order { source, plan, target, .. } = order;
        drop(source);
        let mut charge = budget.charge(source_bytes + needed, work.deadline()).await?;
        let prepaid = charge.split(source_bytes);
        let fetched = self.fetch_alone(wanted, client, Some(prepaid), work).await?;
        let order = self.order(wanted, &plan, target, fetched.bytes, work).await?;
        let charge = grown(charge, order.bytes_of_work()?)?;
        Ok(self.renderer.render(order, charge, urgency, work).await?)
    }
}

/// The charge, if it still covers the work after the original was fetched again.
fn grown(charge: Charge, needed: u64) -> Result<Charge, Error> {
    if charge.bytes() >= needed {
        return Ok(charge);
    }
    let retry_after = std::time::Duration::from_secs(1);
    Err(crate::render::Refused::Overloaded { retry_after }.into())
}

fn variant_entry(rendered: Rendered) -> Entry {
    let mut entry = Entry::image(Bytes::from(rendered.bytes), rendered.format);
    entry.size = Some(rendered.size);
    entry.quality = rendered.quality;
    entry.damaged = rendered.damaged;
    entry
}
