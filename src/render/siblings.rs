//! Where variants of one original meet that are wanted at the same time: the neighbours in a `srcset`, the list of a job.
//!
//! Who is on the way to a variant takes a [`Seat`] when its flight begins. When it comes to render it waits for the others of its
//! original that are still on their way, at most [`WAIT`]; one that is alone, or cheap while a thread is idle, waits for nobody. Then all
//! that have come are done by [`family`]. What comes while they wait for a thread goes with them, and what comes while they are made takes
//! from the [`Album`] what shows the same picture.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::album::{Album, Pages};
use super::family::{self, Ready};
use super::order::{self, Order, Rendered};
use super::{Budget, Charge, Error, Pool, Refused, Urgency};
use crate::base::{AssetDigest, Stage, Work};

/// How long a variant that could be rendered waits for others of its original that are on their way.
const WAIT: Duration = Duration::from_millis(5);

/// Sources up to so many pixels (the smaller mezzanines) are decoded in a few milliseconds: by every thread that has nothing to do,
/// rather than once while the others wait.
const CHEAP_PIXELS_MAX: u64 = 3 << 19;

/// Whoever is on the way to a variant, by original.
#[derive(Debug)]
pub struct Siblings {
    pool: Arc<Pool>,
    budget: Budget,
    meetings: Mutex<HashMap<AssetDigest, Meeting>>,
}

/// Those of one original.
#[derive(Debug, Default)]
struct Meeting {
    /// How many are on their way.
    coming: usize,
    waiting: Vec<Waiting>,
    /// How many are being made.
    making: usize,
    /// What they have made, for as long as somebody is there, and nobody waits for memory.
    album: Album,
    /// Whether a thread was asked to take the waiting ones that somebody waits for, and all.
    called: [bool; 2],
}

/// One that has come.
#[derive(Debug)]
struct Waiting {
    order: Order,
    charge: Charge,
    urgency: Urgency,
    work: Work,
    since: Instant,
    span: tracing::Span,
    done: oneshot::Sender<Result<Rendered, Error>>,
    /// Once it is being made.
    place: Option<Place>,
}

/// Counts one as being made, until it is dropped.
#[derive(Debug)]
struct Place {
    siblings: Arc<Siblings>,
    original: AssetDigest,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut meetings = self.siblings.meetings.lock();
        let Some(meeting) = meetings.get_mut(&self.original) else { return };
        meeting.making -= 1;
        let over = if meeting.is_over() { meetings.remove(&self.original) } else { None };
        drop(meetings);
        // What it held is given back to others, who must not find the meetings locked.
        drop(over);
    }
}

impl Meeting {
    fn is_over(&self) -> bool {
        self.coming == 0 && self.waiting.is_empty() && self.making == 0 && self.called == [false; 2]
    }
}

/// A place among those who are on the way to a variant of one original.
#[derive(Debug)]
pub struct Seat {
    siblings: Arc<Siblings>,
    original: AssetDigest,
    come: AtomicBool,
}

impl Siblings {
    /// Of the threads that render, and of the memory that they are charged for.
    pub fn new(pool: Arc<Pool>, budget: Budget) -> Arc<Self> {
        Arc::new(Self { pool, budget, meetings: Mutex::default() })
    }

    /// Forgets all pictures.
    pub fn forget(&self) {
        let albums: Vec<Album> =
            self.meetings.lock().values_mut().map(|meeting| std::mem::take(&mut meeting.album)).collect();
        drop(albums);
    }

    /// Takes a seat: its owner is on the way until it renders or drops it.
    pub fn seat(self: &Arc<Self>, original: AssetDigest) -> Seat {
        self.meetings.lock().entry(original).or_default().coming += 1;
        Seat { siblings: self.clone(), original, come: AtomicBool::new(false) }
    }

    /// Asks for a thread to take those who have come.
    fn call(self: &Arc<Self>, original: AssetDigest, urgency: Urgency) {
        let mut meetings = self.meetings.lock();
        let Some(meeting) = meetings.get_mut(&original) else { return };
        if meeting.called[urgency as usize] || !meeting.waiting.iter().any(|one| one.urgency == urgency) {
            return;
        }
        meeting.called[urgency as usize] = true;
        drop(meetings);
        let siblings = self.clone();
        if let Err(refused) = self.pool.submit(urgency, move || siblings.take(original, urgency)) {
            for one in self.leave(original, urgency) {
                drop(one.done.send(Err(refused.clone().into())));
            }
        }
    }

    /// Those who have come and still want something. Work ahead of time takes what is urgent along, not the other way round.
    fn leave(self: &Arc<Self>, original: AssetDigest, urgency: Urgency) -> Vec<Waiting> {
        let mut meetings = self.meetings.lock();
        let Some(meeting) = meetings.get_mut(&original) else { return Vec::new() };
        meeting.called[urgency as usize] = false;
        let taken = |one: &mut Waiting| urgency == Urgency::Ahead || one.urgency == Urgency::Live;
        let mut taken: Vec<Waiting> = meeting.waiting.extract_if(.., taken).collect();
        meeting.making += taken.len();
        let over = if meeting.is_over() { meetings.remove(&original) } else { None };
        drop(meetings);
        drop(over);
        for one in &mut taken {
            one.place = Some(Place { siblings: self.clone(), original });
        }
        taken.retain(|one| !one.done.is_closed());
        taken.sort_by_key(|one| one.urgency as usize);
        taken
    }

    /// Pictures that were made a moment ago.
    fn pages(&self, original: AssetDigest) -> Pages {
        self.meetings.lock().get(&original).map(|meeting| meeting.album.pages()).unwrap_or_default()
    }

    /// Whether no other of an original is there than one that is being made.
    fn is_alone(&self, original: AssetDigest) -> bool {
        let meetings = self.meetings.lock();
        meetings.get(&original).is_none_or(|meeting| meeting.coming + meeting.waiting.len() + meeting.making <= 1)
    }

    /// Does what has come, on a thread of the pool; what shares no decode goes to other threads.
    fn take(self: &Arc<Self>, original: AssetDigest, urgency: Urgency) {
        let pages = self.pages(original);
        let (mut found, mut all) = (VecDeque::new(), Vec::new());
        for one in self.leave(original, urgency) {
            match pages.find(&one.order) {
                Some(ready) => found.push_back((one, Ok(ready))),
                None => all.push(Some(one)),
            }
        }
        drop(pages);
        let orders: Vec<&Order> = all.iter().flatten().map(|one| &one.order).collect();
        let groups = family::groups(&orders);
        let parts = groups.into_iter().map(|group| group.into_iter().filter_map(|at| all[at].take()).collect());
        let threads = 1 + self.pool.idle();
        let mut parts: Vec<Vec<Waiting>> = parts.flat_map(|part| spread(part, threads)).collect();
        let own = if parts.is_empty() || !found.is_empty() { Vec::new() } else { parts.remove(0) };
        for part in parts.into_iter().rev() {
            let siblings = self.clone();
            self.pool.submit_first(urgency, move || siblings.perform(original, part, urgency));
        }
        if found.is_empty() {
            self.perform(original, own, urgency);
        } else {
            metrics::counter!("fovea_render_shared_total").increment(found.len() as u64);
            self.encode(found, Instant::now(), urgency);
        }
    }

    /// Does those who share a decode.
    fn perform(self: &Arc<Self>, original: AssetDigest, mut group: Vec<Waiting>, urgency: Urgency) {
        let members: Vec<(&Order, &Work)> = group.iter().map(|one| (&one.order, &one.work)).collect();
        let begun = Instant::now();
        // One that is alone, with nobody in sight who could want its picture, is made without one to keep.
        let shares = |one: &Waiting| !one.order.animates() && !self.is_alone(original);
        let ready = match &*group {
            [] => None,
            [one] if !shares(one) => None,
            [first, ..] => first.span.in_scope(|| family::ready(&members)).ok(),
        };
        let Some(ready) = ready else {
            // Also where a decode failed: each is told by its own.
            return group.into_iter().for_each(|one| one.render(begun));
        };
        metrics::counter!("fovea_render_shared_total").increment(group.len() as u64 - 1);
        let mut made = Pages::default();
        for (one, ready) in group.iter_mut().zip(&ready) {
            if let Ok(ready) = ready {
                made.add(&one.order, ready, &mut one.charge);
            }
        }
        if let Some(meeting) = self.meetings.lock().get_mut(&original) {
            meeting.album.put(made);
        }
        if self.budget.is_short() {
            self.forget();
        }
        self.encode(group.into_iter().zip(ready).collect(), begun, urgency);
    }

    /// Encodes what has its picture, on this thread and on those that have nothing to do.
    fn encode(&self, list: VecDeque<(Waiting, Result<Ready, Refused>)>, begun: Instant, urgency: Urgency) {
        let (others, list) = (list.len().saturating_sub(1), Arc::new(Mutex::new(list)));
        let encode = {
            let list = list.clone();
            move || {
                loop {
                    let Some((one, ready)) = list.lock().pop_front() else { return };
                    one.encode(ready, begun);
                }
            }
        };
        self.pool.assist(urgency, others, || encode.clone());
        encode();
    }
}

fn is_cheap(order: &Order) -> bool {
    order.header.size.pixels() <= CHEAP_PIXELS_MAX
}

/// Parts those who share a decode among threads, where it is cheap.
fn spread(mut part: Vec<Waiting>, threads: usize) -> Vec<Vec<Waiting>> {
    let cheap = part.first().is_some_and(|one| is_cheap(&one.order));
    let each = if cheap { part.len().div_ceil(threads).max(1) } else { part.len().max(1) };
    let mut parts = Vec::new();
    while !part.is_empty() {
        let rest = part.split_off(each.min(part.len()));
        parts.push(std::mem::replace(&mut part, rest));
    }
    parts
}

impl Waiting {
    fn render(self, begun: Instant) {
        self.answer(begun, |one| order::run(&one.order, &one.work));
    }

    fn encode(self, ready: Result<Ready, Refused>, begun: Instant) {
        self.answer(begun, |one| ready?.encode(&one.order, &one.work));
    }

    fn answer(self, begun: Instant, make: impl FnOnce(&Self) -> Result<Rendered, Error>) {
        if self.done.is_closed() {
            return;
        }
        // A panic is this one's alone.
        let made = self.span.in_scope(|| catch_unwind(AssertUnwindSafe(|| make(&self))));
        let mut made = made.unwrap_or_else(|_| Err(Refused::Panicked.into()));
        if let Ok(rendered) = &mut made {
            rendered.stages.add(Stage::Queue, begun.saturating_duration_since(self.since));
            metrics::counter!("fovea_render_variants_total", "format" => rendered.format.extension()).increment(1);
        }
        drop(self.charge);
        // Who asks for the next one only then is alone.
        drop(self.place);
        drop(self.done.send(made));
    }
}

impl Seat {
    /// Renders, together with those of the same original that come at the same time. `charge` covers the order by itself.
    pub(super) async fn render(
        &self,
        order: Order,
        charge: Charge,
        urgency: Urgency,
        work: &Work,
    ) -> Result<Rendered, Error> {
        let (done, mut result) = oneshot::channel();
        let (span, work) = (tracing::Span::current(), work.clone().with(self.siblings.pool.spare(urgency)));
        let hurries = urgency == Urgency::Live && is_cheap(&order);
        let waiting = Waiting { order, charge, urgency, work, since: Instant::now(), span, done, place: None };
        self.siblings.meetings.lock().entry(self.original).or_default().waiting.push(waiting);
        if !self.arrive() {
            // What is cheap is done sooner than others come, where a thread has nothing to do.
            if !hurries || self.siblings.pool.idle() == 0 {
                tokio::select! {
                    result = &mut result => return result.unwrap_or_else(|_| Err(Refused::Panicked.into())),
                    () = tokio::time::sleep(WAIT) => {}
                }
            }
            self.siblings.call(self.original, urgency);
        }
        // A panic drops the sender.
        result.await.unwrap_or_else(|_| Err(Refused::Panicked.into()))
    }

    /// Is no longer on the way. The last one has those taken that wait, and says so.
    fn arrive(&self) -> bool {
        let mut meetings = self.siblings.meetings.lock();
        let Some(meeting) = meetings.get_mut(&self.original) else { return true };
        if !self.come.swap(true, Ordering::Relaxed) {
            meeting.coming -= 1;
        }
        if meeting.coming > 0 {
            return false;
        }
        if meeting.is_over() {
            let over = meetings.remove(&self.original);
            drop(meetings);
            drop(over);
            return true;
        }
        drop(meetings);
        self.siblings.call(self.original, Urgency::Live);
        self.siblings.call(self.original, Urgency::Ahead);
        true
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if !self.come.load(Ordering::Relaxed) {
            self.arrive();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Deadline, Format, Limits};
    use crate::plan::{Plan, Width};
    use crate::render::{Budget, Job as _, Look, Renderer, Target};

    fn order(source: Vec<u8>, width: u32, format: Format) -> Order {
        let source = bytes::Bytes::from(source);
        let header = Arc::new(crate::decode::probe(&source, &Limits::default()).unwrap());
        Order {
            source,
            header: header.clone(),
            original: header,
            plan: Arc::new(Plan { width: Some(Width::Px(width)), ..Plan::DEFAULT }),
            target: Target::Format(format),
            look: Arc::new(Look::default()),
            limits: Limits::default(),
        }
    }

    #[tokio::test]
    async fn who_comes_while_a_picture_is_encoded_takes_it() {
        let budget = Budget::new(1 << 30, 8, Duration::from_secs(1));
        let renderer = Arc::new(Renderer::new(budget.clone(), Pool::start(1, 8).unwrap()));
        let original = AssetDigest::new("pics", "mountains.jpg");
        let file = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/samples/mountains.jpg")).unwrap();
        // The same but for what stands behind its end.
        let other = [&file[..], &[0]].concat();
        let work = Work::until(Deadline::after(Duration::from_secs(120)));
        let render = |order: Order| {
            let (renderer, work) = (renderer.clone(), work.clone());
            let seat = renderer.seat(original);
            let charge = renderer.budget().try_charge(order.bytes_of_work().unwrap()).unwrap();
            tokio::spawn(async move { renderer.variant(order, charge, Urgency::Live, &work, &seat).await.unwrap() })
        };
        let coming = renderer.seat(original);
        let first = render(order(file.clone(), 1500, Format::Avif));
        while renderer.pool().idle() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let late = [
            render(order(file.clone(), 1500, Format::Jpeg)),
            render(order(file.clone(), 1400, Format::Jpeg)),
            render(order(other, 1500, Format::Jpeg)),
        ];
        assert!(!first.await.unwrap().stages.of(Stage::Decode).is_zero());
        let mut decoded = Vec::new();
        let mut files = Vec::new();
        for one in late {
            let made = one.await.unwrap();
            decoded.push(!made.stages.of(Stage::Decode).is_zero());
            files.push(made.bytes);
        }
        assert_eq!(decoded, [false, true, true], "of the same size and the same bytes is the first alone");
        let alone = order::run(&order(file, 1500, Format::Jpeg), &work).unwrap();
        assert!(files[0] == alone.bytes && files[2] == alone.bytes);
        let (held, _, _) = budget.usage();
        assert!(held > 0, "somebody is still on the way");
        drop(budget.charge(1 << 30, Deadline::after(Duration::from_secs(9))).await.unwrap());
        assert_eq!(budget.usage().0, 0, "who needs the memory gets it");
        drop(coming);
        assert!(renderer.siblings.meetings.lock().is_empty());
    }
}
