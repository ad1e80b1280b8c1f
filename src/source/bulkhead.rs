//! A bound on how many fetches from one source are under way, so that a slow one does not take all there is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::watched::{self, Watcher};
use super::{Backend, Context, Error, Fault, Original, OriginalMeta, meters};
use crate::base::Deadline;

/// How many, and how long others wait.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Fetches under way at once; one lasts until its body is read or dropped.
    pub concurrent_max: usize,
    /// Fetches that wait for their turn at once; more are refused at once.
    pub waiting_max: usize,
    /// How long one waits.
    pub wait: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { concurrent_max: 64, waiting_max: 256, wait: Duration::from_secs(2) }
    }
}

/// A backend with a bound.
#[derive(Clone, Debug)]
pub struct Bulkhead {
    inner: Arc<dyn Backend>,
    settings: Settings,
    room: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    category: Arc<str>,
}

impl Bulkhead {
    /// Around a backend.
    pub fn new(inner: Arc<dyn Backend>, settings: Settings, category: Arc<str>) -> Self {
        let room = Arc::new(Semaphore::new(settings.concurrent_max.clamp(1, Semaphore::MAX_PERMITS)));
        meters::in_flight(&category, 0);
        Self { inner, settings, room, waiting: Arc::default(), category }
    }

    /// Fetches under way.
    pub fn in_flight(&self) -> usize {
        self.settings.concurrent_max.max(1) - self.room.available_permits()
    }

    async fn enter(&self, deadline: Deadline) -> Result<Place, Fault> {
        let permit = match Arc::clone(&self.room).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => self.wait(deadline).await?,
        };
        let place = Place { permit: Some(permit), bulkhead: self.clone() };
        meters::in_flight(&self.category, self.in_flight());
        Ok(place)
    }

    async fn wait(&self, deadline: Deadline) -> Result<OwnedSemaphorePermit, Fault> {
        let _waits = Waits::new(&self.waiting, self.settings.waiting_max).ok_or(Fault::Own(Error::Busy))?;
        let time = self.settings.wait.min(deadline.left());
        match tokio::time::timeout(time, Arc::clone(&self.room).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(Fault::Own(Error::Busy)),
        }
    }
}

/// One of those that wait.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn new(count: &'a AtomicUsize, max: usize) -> Option<Self> {
        let waits = Self(count);
        // The drop takes back what is added here, also when there is no room.
        (count.fetch_add(1, Ordering::Relaxed) < max).then_some(waits)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A place among those under way, until it is dropped.
struct Place {
    permit: Option<OwnedSemaphorePermit>,
    bulkhead: Bulkhead,
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.permit.take());
        meters::in_flight(&self.bulkhead.category, self.bulkhead.in_flight());
    }
}

impl Watcher for Place {
    fn ended(self, _: Result<(), &Error>) {}
}

impl Backend for Bulkhead {
    fn open<'a>(
        &'a self,
        id: &'a str,
        context: &'a Context,
        deadline: Deadline,
    ) -> BoxFuture<'a, Result<Original, Fault>> {
        Box::pin(async move {
            let place = self.enter(deadline).await?;
            let original = self.inner.open(id, context, deadline).await?;
            Ok(watched::watch(original, place))
        })
    }

    fn stat<'a>(
        &'a self,
        id: &'a str,
        context: &'a Context,
        deadline: Deadline,
    ) -> BoxFuture<'a, Result<OriginalMeta, Fault>> {
        Box::pin(async move {
            let _place = self.enter(deadline).await?;
            self.inner.stat(id, context, deadline).await
        })
    }
}
