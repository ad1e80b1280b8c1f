//! The relay: one process of the fleet at a time moves events from the catalog into the log.
//!
//! A lease in the catalog chooses it; who takes over reads in the log itself how far the one before came. Each message names the
//! place in the log that it must have, so that of two who both believe that they lead, one appends and the other learns of it.

use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, gauge};
use tokio::sync::watch;
use tokio::time::Instant;

use super::EventMessage;
use super::wire::number;
use crate::broker::{self, Log};
use crate::catalog::{self, Catalog, EventFilter};
use crate::telemetry::names;

/// The lease's name, and the mark's.
const NAME: &str = "events relayed";

/// After how long without a word of the one who leads another does.
const LEASE: Duration = Duration::from_secs(3);

/// How often the lease is prolonged, and asked for.
const PROLONG: Duration = Duration::from_secs(1);

/// How often it is noted in the catalog how far the log has come: it counts only where the log no longer knows.
const MARK: Duration = Duration::from_secs(5);

/// A log that was just made begins with the events of so long before, also where the mark is behind them: what the one before it took
/// while it was failing, nobody may have heard.
const AGAIN: Duration = Duration::from_secs(600);

/// How often it is looked whether the log brings what it takes, and how long it may take over that.
const BRINGS_EVERY: Duration = Duration::from_secs(10);
const BRINGS_WITHIN: Duration = Duration::from_secs(2);

/// The schedule of making the log anew, and how often the fleet does at most: what is to blame may be something else.
const RENEW: &str = "events renewed";
const RENEW_EVERY: Duration = Duration::from_secs(300);
const RENEW_WITHIN: Duration = Duration::from_secs(5);

/// Events that are moved at once.
const PAGE: u32 = 256;

/// Moves events, when it is this process's turn.
#[derive(Debug)]
pub struct Relay {
    catalog: Catalog,
    log: Arc<Log>,
    holder: String,
}

/// Why a turn ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    #[error(transparent)]
    Broker(#[from] broker::Error),
    #[error("another process relays the events")]
    Outdone,
    #[error("what the log holds is not what it says")]
    Overtaken,
    #[error("told to stop")]
    Stopped,
}

impl Relay {
    /// Between a catalog and a log.
    pub fn new(catalog: Catalog, log: Arc<Log>) -> Self {
        Self { catalog, log, holder: catalog::id("relay", 0) }
    }

    /// Up to which event the log has come, as far as the catalog knows: some seconds behind.
    pub async fn reached(catalog: &Catalog) -> Result<i64, catalog::Error> {
        catalog.reached(NAME).await
    }

    /// Moves events until it is told to stop, and gives the lease back then.
    pub async fn keep(self, mut stopped: watch::Receiver<bool>) {
        let mut refused = String::new();
        while !*stopped.borrow() {
            let ended = self.lead(&mut stopped).await;
            if matches!(ended, Ended::Broker(_) | Ended::Overtaken) && self.log.is_lost().await {
                self.renew().await;
            }
            match ended {
                Ended::Stopped => break,
                Ended::Outdone | Ended::Overtaken => {}
                // Said once: it is tried again every second.
                Ended::Broker(error) if !error.passes() => {
                    let why = error.to_string();
                    if refused != why {
                        tracing::error!(why, "events are not relayed");
                        refused = why;
                    }
                }
                ended => tracing::debug!(%ended, "events are not relayed for now"),
            }
            gauge!(names::EVENTS_LEADING).set(0.0);
            tokio::select! {
                _ = stopped.changed() => {}
                () = tokio::time::sleep(PROLONG) => {}
            }
        }
        if let Err(error) = self.catalog.resign(NAME, &self.holder).await {
            tracing::debug!(%error, "the lease of the relay runs out by itself");
        }
    }

    /// One turn: from taking the lease to losing it.
    async fn lead(&self, stopped: &mut watch::Receiver<bool>) -> Ended {
        match self.turn(stopped).await {
            Ok(never) => match never {},
            Err(ended) => ended,
        }
    }

    async fn turn(&self, stopped: &mut watch::Receiver<bool>) -> Result<std::convert::Infallible, Ended> {
        let mut changes = self.catalog.follow();
        self.prolong().await?;
        let mut prolonged = Instant::now();
        // What it does not bring is not added to: who takes over begins by looking.
        self.log.brings(BRINGS_WITHIN).await?;
        let (mut sequence, mut reached) = self.place().await?;
        let (mut brought, mut brought_at) = (sequence, Instant::now());
        let (mut marked, mut marked_at) = (reached, Instant::now());
        tracing::info!(after = reached, "this process relays the events");
        gauge!(names::EVENTS_LEADING).set(1.0);
        loop {
            if *stopped.borrow() {
                self.catalog.reach(NAME, reached).await?;
                return Err(Ended::Stopped);
            }
            if prolonged.elapsed() >= PROLONG {
                self.prolong().await?;
                prolonged = Instant::now();
            }
            if marked < reached && marked_at.elapsed() >= MARK {
                self.catalog.reach(NAME, reached).await?;
                (marked, marked_at) = (reached, Instant::now());
            }
            if brought < sequence && brought_at.elapsed() >= BRINGS_EVERY {
                self.log.brings(BRINGS_WITHIN).await?;
                (brought, brought_at) = (sequence, Instant::now());
            }
            // Marked before the look, so that what is committed during it wakes again.
            changes.borrow_and_update();
            let events = self.catalog.events(reached, &EventFilter::default(), PAGE).await?;
            let Some(last) = events.last() else {
                self.log.is_well();
                tokio::select! {
                    _ = stopped.changed() => {}
                    _ = changes.changed() => {}
                    () = tokio::time::sleep(PROLONG) => {}
                }
                continue;
            };
            let (last, count) = (last.seq, events.len());
            let messages = events.into_iter().map(|event| EventMessage::from(event).message()).collect();
            let appended = self.log.append_after(sequence, messages).await?;
            counter!(names::EVENTS_RELAYED).increment(appended as u64);
            if appended < count {
                return Err(Ended::Overtaken);
            }
            self.log.is_well();
            (sequence, reached) = (sequence + count as u64, last);
        }
    }

    /// Where the log ends, and behind which event it is gone on.
    async fn place(&self) -> Result<(u64, i64), Ended> {
        let end = self.log.end().await?;
        if let Some(number) = end.id.as_deref().and_then(number) {
            return Ok((end.sequence, number));
        }
        let mark = self.catalog.reached(NAME).await?;
        if end.sequence > 0 {
            return Ok((end.sequence, mark));
        }
        let before = self.catalog.last_event_before(self.catalog.now_ms() - AGAIN.as_millis() as i64).await?;
        Ok((0, mark.min(before)))
    }

    /// Makes the log anew. The catalog has what was in it, so nothing of it is worth repairing.
    async fn renew(&self) {
        match self.catalog.due(RENEW, RENEW_EVERY, &self.holder).await {
            Ok(true) => {}
            Ok(false) => return tracing::debug!("the log of events fails, and was made anew a moment ago"),
            Err(error) => return tracing::debug!(%error, "the log of events cannot be made anew for now"),
        }
        tracing::warn!("the log of events takes or brings nothing; it is made anew");
        counter!(names::EVENTS_RENEWED).increment(1);
        if !matches!(tokio::time::timeout(RENEW_WITHIN, self.log.renew()).await, Ok(Ok(()))) {
            tracing::warn!("the log of events could not be made anew; that is tried again");
        }
    }

    async fn prolong(&self) -> Result<(), Ended> {
        if self.catalog.lead(NAME, &self.holder, LEASE).await? { Ok(()) } else { Err(Ended::Outdone) }
    }
}
