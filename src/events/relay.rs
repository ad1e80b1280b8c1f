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
    #[error("told to stop")]
    Stopped,
}

impl Relay {
    /// Between a catalog and a log.
    pub fn new(catalog: Catalog, log: Arc<Log>) -> Self {
        Self { catalog, log, holder: catalog::id("relay", 0) }
    }

    /// Moves events until it is told to stop, and gives the lease back then.
    pub async fn keep(self, mut stopped: watch::Receiver<bool>) {
        let mut refused = String::new();
        while !*stopped.borrow() {
            match self.lead(&mut stopped).await {
                Ended::Stopped => break,
                Ended::Outdone => {}
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
        let end = self.log.end().await?;
        let (mut sequence, known) = (end.sequence, end.id.as_deref().and_then(number));
        let mut reached = match known {
            Some(number) => number,
            None => self.catalog.reached(NAME).await?,
        };
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
            // Marked before the look, so that what is committed during it wakes again.
            changes.borrow_and_update();
            let events = self.catalog.events(reached, &EventFilter::default(), PAGE).await?;
            let Some(last) = events.last() else {
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
                return Err(Ended::Outdone);
            }
            (sequence, reached) = (sequence + count as u64, last);
        }
    }

    async fn prolong(&self) -> Result<(), Ended> {
        if self.catalog.lead(NAME, &self.holder, LEASE).await? { Ok(()) } else { Err(Ended::Outdone) }
    }
}
