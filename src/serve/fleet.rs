//! Origins that share a catalog tell each other of purges, by its events: what one forgets, all forget within a second.
//!
//! While an origin cannot read the events it does not know what was purged, so it answers nothing from memory: the store, which
//! each purge reaches first, is asked instead. It reads what it missed before it trusts its memory again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Error, Origin, Purge, Purged};
use crate::catalog::{Catalog, Event, EventFilter, NewEvent};

/// The kind of the events.
const KIND: &str = "purge.asked";

/// Whose the events are: no tenant's.
const OWNER: &str = "system";

/// Silence of the catalog after which memory is not trusted.
const TRUSTED: Duration = Duration::from_millis(900);

/// How often the events are read on, also when nothing is told.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Events that are read at once.
const PAGE: u32 = 500;

/// Purges that wait to be repeated in the store. More of them, and no further events are read before some are done.
const AGAIN_MAX: usize = 1024;

/// Whether a purge that this process is told of takes objects out of the store too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Store {
    /// It is the fleet's: whoever was asked has done it. What this origin was about to write then may have landed behind the
    /// deletion, so that an asset's and a URL's are repeated here.
    Shared,
    /// It is this machine's.
    Own,
}

impl Origin {
    /// Purges memory and store, here and in every origin that shares the catalog.
    pub async fn purge(&self, what: &Purge) -> Result<Purged, Error> {
        let purged = self.purge_here(what).await?;
        let Some(catalog) = self.catalog.as_ref().filter(|catalog| catalog.is_shared()) else { return Ok(purged) };
        let (category, asset) = match what {
            Purge::Asset { category, id } => (Some(category.clone()), Some(id.clone())),
            Purge::Category(category) => (Some(category.clone()), None),
            Purge::Preset { category, .. } => (category.clone(), None),
            Purge::Url(_) => (None, None),
        };
        let event = NewEvent {
            owner: OWNER.to_owned(),
            kind: KIND.to_owned(),
            category,
            asset,
            version: None,
            job: None,
            data: json!({ "purge": what, "by": self.name }),
            trace: None,
        };
        let told = catalog.tell(event).await;
        if let Err(error) = &told {
            tracing::error!(%error, "the other origins were not told of a purge; repeat it");
        }
        Ok(Purged { stored: purged.stored && told.is_ok(), ..purged })
    }

    /// Forgets what other origins are told to forget, for as long as it runs. At once over where the catalog is this machine's.
    pub async fn follow(self: Arc<Self>, store: Store) {
        let Some(catalog) = self.catalog.clone().filter(Catalog::is_shared) else { return };
        // What was purged before this process came to be, its memory does not hold.
        let mut after = None;
        let mut told = catalog.follow();
        let mut heard = Instant::now();
        let (again, mut asked) = mpsc::channel(AGAIN_MAX);
        let repeat = async {
            while let Some(what) = asked.recv().await {
                if let Err(error) = self.purge_here(&what).await {
                    tracing::debug!(?what, %error, "a purge that does not concern this origin");
                }
            }
        };
        let listen = async {
            loop {
                let read = tokio::time::timeout(TRUSTED, self.catch_up(&catalog, &mut after, store, &again)).await;
                if matches!(read, Ok(Ok(()))) {
                    heard = Instant::now();
                    if !self.informed.swap(true, Ordering::AcqRel) {
                        tracing::info!("the catalog tells of purges again; memory is trusted");
                    }
                } else if heard.elapsed() > TRUSTED && self.informed.swap(false, Ordering::AcqRel) {
                    tracing::warn!(
                        "the catalog does not tell of purges; what is in memory is not trusted, and the store is asked"
                    );
                    self.turn();
                }
                tokio::select! {
                    _ = told.changed() => {}
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                }
            }
        };
        tokio::join!(repeat, listen);
    }

    async fn catch_up(
        &self,
        catalog: &Catalog,
        after: &mut Option<i64>,
        store: Store,
        again: &mpsc::Sender<Purge>,
    ) -> Result<(), crate::catalog::Error> {
        let mut from = match *after {
            Some(from) => from,
            None => catalog.last_event().await?,
        };
        let filter = EventFilter { kind_prefix: Some(KIND.to_owned()), ..EventFilter::default() };
        loop {
            let last = catalog.last_event().await?;
            let events = catalog.events(from, &filter, PAGE).await?;
            let more = events.len() == PAGE as usize;
            for event in &events {
                self.told(event, store, again).await;
            }
            // Up to what was there before the question, or to what was answered: nothing in between is of the kind.
            from = events.last().map_or(from, |event| event.seq).max(if more { from } else { last });
            *after = Some(from);
            if !more {
                return Ok(());
            }
        }
    }

    async fn told(&self, event: &Event, store: Store, again: &mpsc::Sender<Purge>) {
        if event.data["by"] == self.name.as_str() {
            return;
        }
        let Ok(what) = serde_json::from_value::<Purge>(event.data["purge"].clone()) else {
            return tracing::error!(seq = event.seq, "a purge that this version does not understand");
        };
        let done = match store {
            Store::Own => self.purge_here(&what).await.map(drop),
            Store::Shared => self.forget(&what),
        };
        if let Err(error) = done {
            // A category that is configured at others.
            tracing::debug!(?what, %error, "a purge that does not concern this origin");
        } else if store == Store::Shared && matches!(what, Purge::Asset { .. } | Purge::Url(_)) {
            // Nobody receives any more only where the origin is at its end.
            drop(again.send(what).await);
        }
    }
}
