//! One flight a variant in the fleet: of all origins and workers that share a store, one makes it, and the others wait for what it
//! puts there. They wait no longer than making it themselves would take, and take over from one that died.
//!
//! An original's mezzanines are made under a lease of their own, so that variants of one original do not each make them.
//!
//! The lease saves work, and nothing depends on it: without the broker each makes what it is asked for, and the store keeps one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use metrics::{counter, histogram};
use parking_lot::Mutex;

use super::Origin;
use super::forms::Begun;
use super::wanted::{Wanted, What};
use crate::base::{VariantKey, Work};
use crate::broker::{Broker, Claim, Lease, Leases, Waited, Waiting};
use crate::cache::Entry;
use crate::render::Seat;
use crate::telemetry::names;

/// The leases' kind.
const KIND: &str = "flights";

/// After how long without a word of who makes a variant another does.
const LIFE: Duration = Duration::from_secs(3);

/// How long the broker is waited for: a miss goes on without it.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);

/// How long the end of the process waits for leases to be given back.
const SETTLE_WITHIN: Duration = Duration::from_secs(1);

/// What making a variant takes, before one like it was made here.
const UNMEASURED: Duration = Duration::from_secs(5);

/// How often it is estimated anew how long that is.
const ESTIMATE_EVERY: Duration = Duration::from_secs(1);

/// Bounds of a wait for another's variant. The least is for its way into the store and a busy machine, not for the work.
const PATIENCE_MIN: Duration = Duration::from_secs(2);
const PATIENCE_MAX: Duration = Duration::from_secs(15);

/// How much of a mean the latest time is, and of the mean deviation; how many of these are added: as TCP estimates how long an answer
/// takes, <https://www.rfc-editor.org/rfc/rfc6298>.
const MEAN_SHARE: f64 = 1.0 / 8.0;
const DEVIATION_SHARE: f64 = 1.0 / 4.0;
const DEVIATIONS: f64 = 4.0;

/// What a process shares its flights by.
#[derive(Debug)]
pub(super) struct Fleet {
    leases: Leases,
    paces: Paces,
    /// Variants that are being made here.
    making: AtomicUsize,
}

/// Counts a variant as being made, and how long it took where it was.
pub(super) struct Making<'a> {
    fleet: &'a Fleet,
    output: &'static str,
    begun: Instant,
}

impl Making<'_> {
    /// It was made.
    pub fn done(self) {
        self.fleet.paces.note(self.output, self.begun.elapsed());
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.fleet.making.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long making a variant takes, by what comes out.
#[derive(Debug, Default)]
struct Paces(Mutex<BTreeMap<&'static str, Pace>>);

/// In seconds.
#[derive(Clone, Copy, Debug)]
struct Pace {
    mean: f64,
    deviation: f64,
}

/// What the time that an original's mezzanines take is kept under.
const MEZZANINES: &str = "mezzanines";

/// How a variant that the store does not hold is come by.
pub(super) enum Turn {
    /// It is made here. The lease is held until it is in the store.
    Make { lease: Option<Arc<Lease>>, seat: Arc<Seat> },
    /// Another made it.
    Found(VariantKey, Arc<Entry>),
}

/// How mezzanines are come by that the store did not hold a moment ago.
pub(super) struct FormsTurn {
    /// What had begun, unless it was waited.
    pub begun: Begun,
    /// Held until they are in the store.
    pub lease: Option<Arc<Lease>>,
    /// Whether another may have made them since.
    pub after_another: bool,
}

impl Fleet {
    /// Of a process that is called so. Asks nobody.
    pub fn new(broker: &Broker, name: &str) -> Self {
        let leases = Leases::new(broker.clone(), KIND, name.to_owned(), LIFE, ANSWER_WITHIN);
        Self { leases, paces: Paces::default(), making: AtomicUsize::new(0) }
    }

    /// Begins to make a variant.
    pub fn make(&self, output: &'static str) -> Making<'_> {
        self.making.fetch_add(1, Ordering::Relaxed);
        Making { fleet: self, output, begun: Instant::now() }
    }

    fn making(&self) -> usize {
        self.making.load(Ordering::Relaxed)
    }

    /// Gives all leases back of what is done, at the end of the process.
    pub async fn settle(&self) {
        self.leases.settle(SETTLE_WITHIN).await;
    }
}

impl Paces {
    /// Notes how long making a variant took.
    pub fn note(&self, output: &'static str, time: Duration) {
        let seconds = time.as_secs_f64();
        let mut paces = self.0.lock();
        let Some(pace) = paces.get_mut(output) else {
            paces.insert(output, Pace { mean: seconds, deviation: seconds / 2.0 });
            return;
        };
        pace.deviation += DEVIATION_SHARE * ((seconds - pace.mean).abs() - pace.deviation);
        pace.mean += MEAN_SHARE * (seconds - pace.mean);
    }

    /// How long it would take here, behind what is being made already: so long another's is waited for.
    fn patience(&self, output: &'static str, ahead: usize, threads: usize) -> Duration {
        let pace = self.0.lock().get(output).copied();
        let one = pace.map_or(UNMEASURED.as_secs_f64(), |pace| pace.mean + DEVIATIONS * pace.deviation);
        let all = one * (1.0 + ahead as f64 / threads.max(1) as f64);
        Duration::from_secs_f64(all.min(PATIENCE_MAX.as_secs_f64())).max(PATIENCE_MIN)
    }
}

impl Origin {
    /// Waits for one's turn to make a variant that the store did not hold a moment ago, or for another to make it.
    pub(super) async fn turn_of(&self, wanted: &Wanted, seat: Arc<Seat>, work: &Work) -> Turn {
        // Originals are not stored.
        let fleet = self.fleet.as_ref().filter(|_| !matches!(wanted.what, What::Original));
        let Some(fleet) = fleet else { return Turn::Make { lease: None, seat } };
        let key = wanted.key.digest.hex(64);
        match fleet.leases.claim(&key).await {
            Ok(Claim::Mine(lease)) => {
                // It may have come into the store since it was looked for there.
                if lease.after_another
                    && let Some((key, entry)) = self.find(wanted).await
                {
                    return outcome("followed", Turn::Found(key, entry));
                }
                outcome("led", Turn::Make { lease: Some(lease.into()), seat })
            }
            Ok(Claim::Others(waiting)) => {
                // Who waits here is not on the way to the original: its other variants must not wait for this one.
                drop(seat);
                let begun = Instant::now();
                let turn = self.wait_for(fleet, wanted, &key, waiting, work).await;
                histogram!(names::FLEET_WAIT_SECONDS).record(begun.elapsed());
                turn
            }
            Err(error) => {
                tracing::debug!(%error, "a variant is made without a lease");
                outcome("unavailable", Turn::Make { lease: None, seat })
            }
        }
    }

    /// Waits for one's turn to make an original's mezzanines, or for another to make them: then they may be in the store. `begun` is
    /// let go before any wait, and answered where there was none.
    pub(super) async fn turn_of_forms(&self, wanted: &Wanted, begun: Begun, work: &Work) -> FormsTurn {
        let alone = |begun| FormsTurn { begun, lease: None, after_another: false };
        let Some(fleet) = &self.fleet else { return alone(begun) };
        match fleet.leases.claim(&wanted.original.0.hex(64)).await {
            Ok(Claim::Mine(lease)) => {
                FormsTurn { begun, after_another: lease.after_another, lease: Some(Arc::new(lease)) }
            }
            Ok(Claim::Others(mut waiting)) => {
                drop(begun);
                let patience = fleet.paces.patience(MEZZANINES, fleet.making(), self.renderer.pool().threads());
                let lease = match waiting.wait(patience.min(work.deadline().left() / 2)).await {
                    Ok(Waited::Mine(lease)) => Some(Arc::new(lease)),
                    Ok(Waited::GivenBack | Waited::InVain) | Err(_) => None,
                };
                FormsTurn { begun: None, lease, after_another: true }
            }
            Err(error) => {
                tracing::debug!(%error, "mezzanines are made without a lease");
                alone(begun)
            }
        }
    }

    /// Begins to make mezzanines.
    pub(super) fn making_forms(&self) -> Option<Making<'_>> {
        self.fleet.as_ref().map(|fleet| fleet.make(MEZZANINES))
    }

    async fn wait_for(&self, fleet: &Fleet, wanted: &Wanted, key: &str, mut waiting: Waiting, work: &Work) -> Turn {
        let begun = Instant::now();
        let most = work.deadline().left() / 2;
        // Of what is made here, what was begun while this one waits would be before it, too.
        let mut ahead = 0;
        let mut left = || {
            ahead = fleet.making().max(ahead);
            let patience = fleet.paces.patience(wanted.output(), ahead, self.renderer.pool().threads());
            patience.min(most).saturating_sub(begun.elapsed())
        };
        let make = |lease: Option<Lease>| {
            let seat = Arc::new(self.renderer.seat(wanted.original));
            Turn::Make { lease: lease.map(Arc::new), seat }
        };
        loop {
            let (lease, how) = match waiting.wait(left().min(ESTIMATE_EVERY)).await {
                Ok(Waited::InVain) if !left().is_zero() => continue,
                Ok(Waited::InVain) => return outcome("in_vain", make(None)),
                Ok(Waited::Mine(lease)) => (Some(lease), "took_over"),
                Ok(Waited::GivenBack) => (None, "led"),
                Err(error) => {
                    tracing::debug!(%error, "a variant is made without a lease");
                    return outcome("unavailable", make(None));
                }
            };
            if let Some((key, entry)) = self.find(wanted).await {
                return outcome("followed", Turn::Found(key, entry));
            }
            if lease.is_some() {
                return outcome(how, make(lease));
            }
            // Whoever had it could not make it, or not store it.
            match fleet.leases.claim(key).await {
                Ok(Claim::Mine(lease)) => return outcome(how, make(Some(lease))),
                Ok(Claim::Others(again)) => waiting = again,
                Err(error) => {
                    tracing::debug!(%error, "a variant is made without a lease");
                    return outcome("unavailable", make(None));
                }
            }
        }
    }
}

fn outcome(how: &'static str, turn: Turn) -> Turn {
    counter!(names::FLEET_FLIGHTS, "outcome" => how).increment(1);
    turn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_longer_than_making_it_takes() {
        let paces = Paces::default();
        assert_eq!(paces.patience("webp", 0, 2), UNMEASURED);
        paces.note("webp", Duration::from_secs(1));
        assert_eq!(paces.patience("webp", 0, 2), Duration::from_secs(3));
        assert_eq!(paces.patience("webp", 4, 2), Duration::from_secs(9), "four are made by two threads");
        assert_eq!(paces.patience("avif", 0, 2), UNMEASURED, "each format has its own pace");
        for _ in 0..50 {
            paces.note("webp", Duration::from_millis(2));
        }
        assert_eq!(paces.patience("webp", 0, 2), PATIENCE_MIN);
        assert_eq!(paces.patience("webp", 100_000, 2), PATIENCE_MAX);
    }
}
