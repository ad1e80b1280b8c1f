//! The form that a variant is rendered from: the original, or a mezzanine, which is made first where it is missing.
//!
//! What is known of an original, its header above all, is kept with the state of the source that it is true for, so that the form
//! of a later variant can be told, and the mezzanine taken, without reading the original again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::fetch::Fetched;
use super::known::Known;
use super::lead::FormsTurn;
use super::wanted::Wanted;
use super::{Client, Error, Origin};
use crate::base::{Digest, Stage, Stages, VariantKey, Work};
use crate::broker::Lease;
use crate::cache::derivatives::{Found, Held};
use crate::cache::{Entry, Tags};
use crate::decode::{self, Header};
use crate::plan::Plan;
use crate::render::{self, Charge, Form, Job, Making, Order, Refused, Rendered, Seat, Target, Urgency, form};

/// What an image is made of, beside the request's own parts.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub plan: Arc<Plan>,
    pub target: Target,
    pub urgency: Urgency,
    pub seat: Arc<Seat>,
}

/// What the making of an original's mezzanines brings; none where it has none.
#[derive(Clone, Debug)]
pub(super) struct Forms {
    pub known: Arc<Known>,
    pub files: Vec<(u32, Arc<Entry>)>,
}

impl Forms {
    /// The files.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.files.iter().map(|(_, entry)| &**entry)
    }
}

/// Where the making of mezzanines begins: an original that was fetched already, or none yet.
pub(super) type Begun = Option<(Arc<Fetched>, Arc<Header>)>;

impl Origin {
    /// Renders an image from the form that the rule names.
    pub(super) async fn image(
        self: &Arc<Self>,
        wanted: &Wanted,
        client: &Client,
        ask: Ask,
        stages: &mut Stages,
        work: &Work,
    ) -> Result<Rendered, Error> {
        let mut begun = None;
        if !wanted.category.look.mezzanines.widths().is_empty() {
            let known = match self.recall_known(wanted, client, stages, work).await? {
                Some(known) => Some(known),
                None => {
                    let (fetched, header) = self.fetch_probed(wanted, client, stages, work).await?;
                    let known = self.learn(wanted, &fetched, &header, work).await?;
                    begun = Some((fetched, header));
                    known
                }
            };
            if let Some(known) = known {
                known.check_version(wanted)?;
                if let Form::Mezzanine(width) = known.form(&ask.plan, &wanted.category.look)? {
                    let begun = begun.take();
                    let rendered =
                        self.from_mezzanine(wanted, client, &ask, &known, width, begun, stages, work).await?;
                    if let Some(rendered) = rendered {
                        return Ok(rendered);
                    }
                }
            }
        }
        let (fetched, header) = match begun {
            Some(begun) => begun,
            None => self.fetch_probed(wanted, client, stages, work).await?,
        };
        let source = fetched.bytes.clone();
        drop(fetched);
        let build = |source: Bytes, header: Arc<Header>| Order {
            source,
            original: header.clone(),
            header,
            plan: ask.plan.clone(),
            target: ask.target,
            look: wanted.category.look.clone(),
            limits: wanted.category.limits,
        };
        let perform = |order, charge| self.renderer.variant(order, charge, ask.urgency, work, &ask.seat);
        self.on_original(wanted, client, build(source, header), build, perform, work).await
    }

    async fn fetch_probed(
        self: &Arc<Self>,
        wanted: &Wanted,
        client: &Client,
        stages: &mut Stages,
        work: &Work,
    ) -> Result<(Arc<Fetched>, Arc<Header>), Error> {
        let fetched = self.original(wanted, client, stages, work).await?;
        let header = self.probe(wanted, &fetched.bytes, work).await?;
        Ok((fetched, header))
    }

    /// What is known of the original as it is now. The source is asked for its state every time, since a new version in a URL
    /// says that there is a new original.
    pub(super) async fn recall_known(
        self: &Arc<Self>,
        wanted: &Wanted,
        client: &Client,
        stages: &mut Stages,
        work: &Work,
    ) -> Result<Option<Arc<Known>>, Error> {
        let begun = Instant::now();
        let key = Known::key(wanted);
        let remembered = self.stored(&key, &wanted.tags);
        let state = self.state(wanted, client, work);
        let (remembered, state) = tokio::join!(remembered, state);
        stages.add(Stage::Source, begun.elapsed());
        let (Some(entry), Some(state)) = (remembered, state?) else { return Ok(None) };
        Ok(Known::from_json(&entry.bytes).filter(|known| *known.state == *state).map(Arc::new))
    }

    /// What changes when the original does; none where the source cannot tell.
    async fn state(self: &Arc<Self>, wanted: &Wanted, client: &Client, work: &Work) -> Result<Option<Arc<str>>, Error> {
        if let Some(validator) = &wanted.validator {
            return Ok(Some(validator.clone()));
        }
        let (source, id, context) = (wanted.category.source.clone(), wanted.id.clone(), client.context.clone());
        let deadline = work.deadline();
        let stat = |_| async move { Ok(source.stat(&id, &context, deadline).await?) };
        let (outcome, _) = self.stats.join(wanted.asset, deadline, stat).await;
        let meta = outcome.unwrap_or_else(|| Err(Error::Internal("asking the source ended abnormally".into())))?;
        Ok(meta.lasting().then(|| meta.validator.into()))
    }

    /// Remembers what an original's header says, where the source can tell when it is no longer true.
    async fn learn(
        &self,
        wanted: &Wanted,
        fetched: &Fetched,
        header: &Arc<Header>,
        work: &Work,
    ) -> Result<Option<Arc<Known>>, Error> {
        let Some(state) = wanted.state(&fetched.meta) else { return Ok(None) };
        let digest = match wanted.category.checked {
            false => None,
            true => {
                let bytes = fetched.bytes.clone();
                Some(self.renderer.run(work, move |_: &Work| Ok(Digest::of(&bytes))).await?)
            }
        };
        let known = Known::new(state, header, digest);
        self.keep_known(wanted, &known);
        Ok(Some(Arc::new(known)))
    }

    fn keep_known(&self, wanted: &Wanted, known: &Known) {
        let mut entry = Entry::json(Bytes::from(known.to_json()));
        entry.date(self.now_ms());
        let entry = Arc::new(entry);
        self.memory.keep_source(Known::key(wanted), entry.clone());
        // Whether a small picture has no mezzanines is told by its header again, which costs less than an object.
        if let Some(derivatives) = self.derivatives.as_ref().filter(|_| known.has_mezzanines(&wanted.category.look)) {
            derivatives.keep_newest(&Known::key(wanted), &entry, &asset_tags(wanted));
        }
    }

    /// Renders from a mezzanine; none where it turns out that the original has none.
    #[allow(clippy::too_many_arguments, reason = "the parts of one request, which live for different times")]
    async fn from_mezzanine(
        self: &Arc<Self>,
        wanted: &Wanted,
        client: &Client,
        ask: &Ask,
        known: &Arc<Known>,
        width: u32,
        begun: Begun,
        stages: &mut Stages,
        work: &Work,
    ) -> Result<Option<Rendered>, Error> {
        let key = known.mezzanine_key(wanted, width);
        let mut known = known.clone();
        let entry = match self.stored(&key, &asset_tags(wanted)).await {
            Some(entry) => entry,
            None => {
                let making = Instant::now();
                let forms = self.forms(wanted, client, begun, ask.urgency, work).await?;
                stages.add(Stage::Mezzanine, making.elapsed());
                known = forms.known;
                let Form::Mezzanine(width) = known.form(&ask.plan, &wanted.category.look)? else { return Ok(None) };
                let Some((_, entry)) = forms.files.into_iter().find(|file| file.0 == width) else { return Ok(None) };
                entry
            }
        };
        let order = |entry: &Entry| -> Result<Order, Error> {
            Ok(Order {
                source: entry.bytes.clone(),
                header: Arc::new(decode::probe(&entry.bytes, &wanted.category.limits)?),
                original: known.header.clone(),
                plan: ask.plan.clone(),
                target: ask.target,
                look: wanted.category.look.clone(),
                limits: wanted.category.limits,
            })
        };
        let first = order(&entry)?;
        let needed = first.bytes_of_work()? + entry.bytes.len() as u64;
        let budget = self.renderer.budget();
        budget.check(needed)?;
        let (order, charge) = match budget.try_charge(needed) {
            Some(charge) => (first, charge),
            None => {
                // What waits holds no bytes.
                drop((first, entry));
                let charge = budget.charge(needed, work.deadline()).await?;
                let entry = self.stored(&key, &asset_tags(wanted)).await.ok_or_else(crowded)?;
                let order = order(&entry)?;
                let needed = order.bytes_of_work()? + entry.bytes.len() as u64;
                (order, grown(charge, needed)?)
            }
        };
        Ok(Some(self.renderer.variant(order, charge, ask.urgency, work, &ask.seat).await?))
    }

    /// A mezzanine, or what is known of an original: from memory, else from the store.
    pub(super) async fn stored(&self, key: &VariantKey, tags: &Tags) -> Option<Arc<Entry>> {
        if self.informed.load(Ordering::Acquire)
            && let Some(entry) = self.memory.source(key, tags, &self.purges)
        {
            return Some(entry);
        }
        match self.derivatives.as_ref()?.find(key, tags, &self.purges).await? {
            Found::Entry(entry) => {
                let entry = Arc::from(entry);
                self.memory.keep_source(*key, Arc::clone(&entry));
                Some(entry)
            }
            Found::Alias(_) => None,
        }
    }

    /// Makes all mezzanines of an original; one flight an asset.
    pub(super) async fn forms(
        self: &Arc<Self>,
        wanted: &Wanted,
        client: &Client,
        begun: Begun,
        urgency: Urgency,
        work: &Work,
    ) -> Result<Forms, Error> {
        let (origin, wanted_of_flight, client) = (self.clone(), wanted.clone(), client.clone());
        let make =
            |work: Work| async move { origin.make_forms(&wanted_of_flight, &client, begun, urgency, &work).await };
        let (outcome, _) = self.mezzanines.join(wanted.original, work.deadline(), make).await;
        outcome.ok_or_else(|| Error::Internal("making the mezzanines ended abnormally".into()))?
    }

    async fn make_forms(
        self: &Arc<Self>,
        wanted: &Wanted,
        client: &Client,
        begun: Begun,
        urgency: Urgency,
        work: &Work,
    ) -> Result<Forms, Error> {
        let FormsTurn { begun, lease, after_another } = self.turn_of_forms(wanted, begun, work).await;
        if after_another && let Some(forms) = self.forms_there(wanted, client, work).await? {
            return Ok(forms);
        }
        let (made_at_ms, under_way) = (self.now_ms(), self.making_forms());
        let (fetched, header) = match begun {
            Some(begun) => begun,
            None => self.fetch_probed(wanted, client, &mut Stages::default(), work).await?,
        };
        let state: Arc<str> = fetched.meta.validator.as_str().into();
        let known = match self.learn(wanted, &fetched, &header, work).await? {
            Some(known) => known,
            None => Arc::new(Known::new(state, &header, None)),
        };
        let look = &wanted.category.look;
        let widths = form::widths(&header, look);
        let build = |source: Bytes, header: Arc<Header>| Making {
            source,
            header,
            widths: widths.clone(),
            look: look.clone(),
            limits: wanted.category.limits,
        };
        let making = build(fetched.bytes.clone(), header);
        drop(fetched);
        // What a reduced decode may still fit into the budget for one small variant is rendered from the original.
        if self.renderer.budget().check(making.source.len() as u64 + making.bytes_of_work()?).is_err() {
            return Ok(Forms { known, files: Vec::new() });
        }
        let perform = |making, charge| self.renderer.perform(making, charge, urgency, work);
        let made = self.on_original(wanted, client, making, build, perform, work).await?;
        if made.files.is_empty() && !widths.is_empty() {
            let known = Known { plain: true, ..(*known).clone() };
            self.keep_known(wanted, &known);
            return Ok(Forms { known: Arc::new(known), files: Vec::new() });
        }
        let files = made.files.into_iter().map(|file| {
            let key = known.mezzanine_key(wanted, file.width);
            let mut entry = Entry::image(Bytes::from(file.bytes), file.format);
            (entry.size, entry.made_at_ms) = (Some(file.size), made_at_ms);
            let entry = Arc::new(entry);
            self.keep_mezzanine(wanted, key, &entry, lease.clone());
            (file.width, entry)
        });
        let files = files.collect();
        if let Some(under_way) = under_way {
            under_way.done();
        }
        Ok(Forms { files, known })
    }

    fn keep_mezzanine(
        self: &Arc<Self>,
        wanted: &Wanted,
        key: VariantKey,
        entry: &Arc<Entry>,
        lease: Option<Arc<Lease>>,
    ) {
        let tags = asset_tags(wanted);
        if !self.purges.allow(&tags, &wanted.asset, entry.made_at_ms) {
            return;
        }
        self.memory.keep_source(key, entry.clone());
        if let Some(derivatives) = &self.derivatives {
            let adopt = move |origin: &Self, found| {
                if let Found::Entry(entry) = found {
                    origin.memory.keep_source(key, Arc::from(entry));
                }
            };
            let held = lease.map(|lease| Box::new(lease) as Held);
            derivatives.keep_mezzanine(&key, entry, &tags, self.lost(key, &tags, adopt), held);
        }
    }

    /// Does a job on an original when the memory for it is there. Where it is not, the original's bytes are let go while waiting,
    /// and fetched again into a charge that covers both; `again` then builds the job anew.
    pub(super) async fn on_original<J: Job, F>(
        &self,
        wanted: &Wanted,
        client: &Client,
        job: J,
        again: impl FnOnce(Bytes, Arc<Header>) -> J,
        perform: impl FnOnce(J, Charge) -> F,
        work: &Work,
    ) -> Result<J::Output, Error>
    where
        F: Future<Output = Result<J::Output, render::Error>>,
    {
        let budget = self.renderer.budget();
        let source_bytes = job.source().len() as u64;
        let needed = job.bytes_of_work()?;
        budget.check(source_bytes + needed)?;
        if let Some(charge) = budget.try_charge(needed) {
            return Ok(perform(job, charge).await?);
        }
        drop(job);
        let mut charge = budget.charge(source_bytes + needed, work.deadline()).await?;
        let prepaid = charge.split(source_bytes);
        let fetched = self.fetch_alone(wanted, client, Some(prepaid), work).await?;
        let header = self.probe(wanted, &fetched.bytes, work).await?;
        let job = again(fetched.bytes, header);
        let charge = grown(charge, job.bytes_of_work()?)?;
        Ok(perform(job, charge).await?)
    }
}

/// Mezzanines belong to the asset; no preset's purge takes them.
pub(super) fn asset_tags(wanted: &Wanted) -> Tags {
    Tags { category: wanted.tags.category.clone(), preset: None }
}

/// The charge, if it still covers the work after the source was read again.
fn grown(charge: Charge, needed: u64) -> Result<Charge, Error> {
    if charge.bytes() >= needed { Ok(charge) } else { Err(crowded()) }
}

fn crowded() -> Error {
    Refused::Overloaded { retry_after: Duration::from_secs(1) }.into()
}
