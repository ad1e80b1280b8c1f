//! One flight a key: identical work that overlaps is done once.
//!
//! A flight is a task of its own, so a caller that leaves does not fail the others; when the last one has left, the flight
//! is cancelled.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tracing::Instrument;

use crate::base::{Deadline, Work};

/// Whether a caller began the flight or joined it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Began it.
    Leader,
    /// Joined one that was under way.
    Follower,
}

/// The flights that are under way.
#[derive(Debug)]
pub struct Flights<K: Eq + Hash, V>(Arc<Mutex<HashMap<K, Flight<V>>>>);

#[derive(Debug)]
struct Flight<V> {
    number: u64,
    waiting: usize,
    work: Work,
    task: Option<AbortHandle>,
    result: watch::Receiver<Option<V>>,
}

/// Leaves the flight when dropped.
struct Seat<K: Eq + Hash, V> {
    flights: Arc<Mutex<HashMap<K, Flight<V>>>>,
    key: K,
    number: u64,
}

impl<K: Eq + Hash, V> Clone for Flights<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Eq + Hash, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K, V> Flights<K, V>
where
    K: Eq + Hash + Clone + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// How many are under way.
    pub fn under_way(&self) -> usize {
        self.0.lock().len()
    }

    /// Joins the flight of this key, or begins it with `make`. None if the flight's task panicked.
    ///
    /// `deadline` bounds the flight's work; one that joins a flight accepts the deadline of whom began it.
    pub async fn join<M, F>(&self, key: K, deadline: Deadline, make: M) -> (Option<V>, Role)
    where
        M: FnOnce(Work) -> F,
        F: Future<Output = V> + Send + 'static,
    {
        let (seat, mut result, role) = self.board(key, deadline, make);
        let value = match result.wait_for(Option::is_some).await {
            Ok(value) => value.clone(),
            Err(_) => None,
        };
        drop(seat);
        (value, role)
    }

    fn board<M, F>(&self, key: K, deadline: Deadline, make: M) -> (Seat<K, V>, watch::Receiver<Option<V>>, Role)
    where
        M: FnOnce(Work) -> F,
        F: Future<Output = V> + Send + 'static,
    {
        let mut flights = self.0.lock();
        if let Some(flight) = flights.get_mut(&key) {
            flight.waiting += 1;
            let seat = Seat { flights: self.0.clone(), key, number: flight.number };
            return (seat, flight.result.clone(), Role::Follower);
        }
        let work = Work::until(deadline);
        let (done, result) = watch::channel(None);
        let number = fastrand::u64(..);
        let landing = Landing { flights: self.0.clone(), key: key.clone(), number };
        let flight = make(work.clone());
        // The task waits for this lock before it lands, so the entry is there when it does.
        let journey = async move {
            let value = flight.await;
            drop(landing);
            drop(done.send(Some(value)));
        };
        let task = tokio::spawn(journey.instrument(tracing::Span::current()));
        let waiting = Flight { number, waiting: 1, work, task: Some(task.abort_handle()), result: result.clone() };
        flights.insert(key.clone(), waiting);
        (Seat { flights: self.0.clone(), key, number }, result, Role::Leader)
    }
}

/// Removes the flight from the table when its task ends, however it ends, so that a later caller begins a new one.
struct Landing<K: Eq + Hash, V> {
    flights: Arc<Mutex<HashMap<K, Flight<V>>>>,
    key: K,
    number: u64,
}

impl<K: Eq + Hash, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        let mut flights = self.flights.lock();
        if flights.get(&self.key).is_some_and(|flight| flight.number == self.number) {
            flights.remove(&self.key);
        }
    }
}

impl<K: Eq + Hash, V> Drop for Seat<K, V> {
    fn drop(&mut self) {
        let abandoned = {
            let mut flights = self.flights.lock();
            let Some(flight) = flights.get_mut(&self.key).filter(|flight| flight.number == self.number) else {
                return;
            };
            flight.waiting -= 1;
            if flight.waiting > 0 {
                return;
            }
            flights.remove(&self.key)
        };
        // Outside of the lock: ending the task drops its `Landing`, which locks.
        if let Some(flight) = abandoned {
            flight.work.cancel();
            if let Some(task) = flight.task {
                task.abort();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(5))
    }

    #[tokio::test(start_paused = true)]
    async fn overlapping_callers_share_one_flight() {
        let flights: Flights<&str, u32> = Flights::default();
        let made = Arc::new(AtomicU32::new(0));
        let callers = (0..200).map(|_| {
            let (flights, made) = (flights.clone(), made.clone());
            tokio::spawn(async move {
                let make = |_| async move {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    made.fetch_add(1, Ordering::SeqCst) + 41
                };
                flights.join("key", soon(), make).await
            })
        });
        let outcomes: Vec<_> = futures_util::future::join_all(callers).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(made.load(Ordering::SeqCst), 1);
        assert!(outcomes.iter().all(|(value, _)| *value == Some(41)));
        assert_eq!(outcomes.iter().filter(|(_, role)| *role == Role::Leader).count(), 1);
        assert_eq!(flights.under_way(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_leaves_does_not_fail_the_others_and_the_last_one_cancels() {
        let flights: Flights<&str, u32> = Flights::default();
        let seen = Arc::new(Mutex::new(None));
        let begin = |flights: Flights<&'static str, u32>, seen: Arc<Mutex<Option<Work>>>| {
            tokio::spawn(async move {
                let make = |work: Work| async move {
                    *seen.lock() = Some(work);
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    7
                };
                flights.join("key", soon(), make).await
            })
        };
        let leader = begin(flights.clone(), seen.clone());
        tokio::task::yield_now().await;
        let follower = begin(flights.clone(), seen.clone());
        tokio::task::yield_now().await;
        leader.abort();
        assert_eq!(follower.await.unwrap(), (Some(7), Role::Follower));

        let alone = begin(flights.clone(), seen.clone());
        tokio::time::sleep(Duration::from_millis(10)).await;
        alone.abort();
        drop(alone.await);
        assert_eq!(flights.under_way(), 0);
        assert!(seen.lock().as_ref().unwrap().check().is_err(), "what nobody waits for is cancelled");
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_reaches_those_who_wait_and_frees_the_key() {
        let flights: Flights<&str, u32> = Flights::default();
        let (value, _) = flights.join("key", soon(), |_| async { panic!("as the test wants") }).await;
        assert_eq!(value, None);
        assert_eq!(flights.join("key", soon(), |_| async { 5 }).await.0, Some(5));
    }
}
