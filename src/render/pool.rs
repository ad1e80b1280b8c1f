//! The CPU pool: plain threads, two queues. What somebody waits for precedes what is made ahead of time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::Refused;
use crate::base::{Idle, Part, Stopped, Work};

/// Who waits for a job.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Urgency {
    /// A request is open.
    Live,
    /// Nobody yet.
    Ahead,
}

type Task = Box<dyn FnOnce() + Send>;

/// Threads that compute. Dropping the last handle ends them once their queues are empty.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    threads: usize,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    queue_max: usize,
}

#[derive(Default)]
struct State {
    live: VecDeque<Task>,
    ahead: VecDeque<Task>,
    /// Parts of jobs that run, for threads that have nothing else to do.
    parts: VecDeque<Part>,
    busy: usize,
    closed: bool,
}

impl State {
    const fn queue(&mut self, urgency: Urgency) -> &mut VecDeque<Task> {
        match urgency {
            Urgency::Live => &mut self.live,
            Urgency::Ahead => &mut self.ahead,
        }
    }

    fn idle(&self, threads: usize) -> usize {
        threads.saturating_sub(self.busy + self.live.len() + self.ahead.len() + self.parts.len())
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} live, {} ahead, {} busy", self.live.len(), self.ahead.len(), self.busy)
    }
}

impl Pool {
    /// Starts `threads` threads (0 is one a core). At most `queue_max` jobs wait in each queue.
    pub fn start(threads: usize, queue_max: usize) -> std::io::Result<Self> {
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(2, usize::from),
            given => given,
        };
        let shared = Arc::new(Shared { state: Mutex::default(), wake: Condvar::new(), queue_max });
        for number in 0..threads {
            let shared = shared.clone();
            std::thread::Builder::new().name(format!("render-{number}")).spawn(move || shared.run())?;
        }
        Ok(Self { shared, threads })
    }

    /// How many threads there are.
    pub const fn threads(&self) -> usize {
        self.threads
    }

    /// Jobs that run, and that wait.
    pub fn load(&self) -> (usize, usize) {
        let state = self.shared.state.lock();
        (state.busy, state.live.len() + state.ahead.len())
    }

    /// Runs a job on a thread of the pool. A job whose leave was taken back while it waited is not begun.
    pub async fn run<T, F>(&self, urgency: Urgency, work: &Work, job: F) -> Result<T, Refused>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (done, result) = oneshot::channel();
        let leave = work.clone();
        let task: Task = Box::new(move || {
            if done.is_closed() {
                return;
            }
            let outcome = match leave.check() {
                Ok(()) => Ok(job()),
                Err(stopped) => Err(Refused::from(stopped)),
            };
            drop(done.send(outcome));
        });
        self.shared.push(urgency, task)?;
        // A panic in the job drops the sender.
        result.await.unwrap_or(Err(Refused::Panicked))
    }

    /// Runs a job on a thread of the pool, whose end nobody waits for here.
    pub fn submit(&self, urgency: Urgency, job: impl FnOnce() + Send + 'static) -> Result<(), Refused> {
        self.shared.push(urgency, Box::new(job))
    }

    /// The same for a part of a job that runs: before all that wait, however many.
    pub fn submit_first(&self, urgency: Urgency, job: impl FnOnce() + Send + 'static) {
        self.shared.state.lock().queue(urgency).push_front(Box::new(job));
        self.shared.wake.notify_one();
    }

    /// Threads that neither run a job nor have one waiting for them.
    pub fn idle(&self) -> usize {
        self.shared.state.lock().idle(self.threads)
    }

    /// The threads that are idle, as a job of this urgency may use them.
    pub fn spare(&self, urgency: Urgency) -> Arc<dyn Idle> {
        Arc::new(Spare { shared: self.shared.clone(), threads: self.threads, urgency })
    }

    /// Has idle threads, at most so many, take part in a job that runs.
    pub fn assist<F: FnOnce() + Send + 'static>(&self, urgency: Urgency, most: usize, part: impl Fn() -> F) {
        for _ in 0..self.idle().min(most) {
            self.submit_first(urgency, part());
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.state.lock().closed = true;
        self.shared.wake.notify_all();
    }
}

impl Shared {
    fn push(&self, urgency: Urgency, task: Task) -> Result<(), Refused> {
        let mut state = self.state.lock();
        let queue = state.queue(urgency);
        if queue.len() >= self.queue_max {
            return Err(Refused::Overloaded { retry_after: Duration::from_secs(1) });
        }
        queue.push_back(task);
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    fn run(&self) {
        let mut state = self.state.lock();
        loop {
            if let Some(task) = state.live.pop_front() {
                state = self.execute(state, task);
            } else if let Some(task) = state.ahead.pop_front() {
                state = self.execute(state, task);
            } else if let Some(part) = state.parts.pop_front() {
                state = self.execute(state, part);
            } else if state.closed {
                return;
            } else {
                self.wake.wait(&mut state);
            }
        }
    }

    fn execute<'a>(
        &'a self,
        mut state: parking_lot::MutexGuard<'a, State>,
        task: Task,
    ) -> parking_lot::MutexGuard<'a, State> {
        state.busy += 1;
        drop(state);
        // The job's owner learns of a panic by its dropped sender; the thread lives on.
        drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(task)));
        let mut state = self.state.lock();
        state.busy -= 1;
        state
    }
}

/// A pool's idle threads.
#[derive(Debug)]
struct Spare {
    shared: Arc<Shared>,
    threads: usize,
    urgency: Urgency,
}

impl Idle for Spare {
    fn assist(&self, most: usize, part: &dyn Fn() -> Part) -> usize {
        let mut state = self.shared.state.lock();
        let count = state.idle(self.threads).min(most);
        state.parts.extend((0..count).map(|_| part()));
        drop(state);
        metrics::counter!("fovea_render_assisted_total").increment(count as u64);
        for _ in 0..count {
            self.shared.wake.notify_one();
        }
        count
    }

    fn wanted(&self) -> bool {
        let state = self.shared.state.lock();
        !state.live.is_empty() || (self.urgency == Urgency::Ahead && !state.ahead.is_empty())
    }
}

impl From<Stopped> for Refused {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Deadline => Self::Deadline,
            Stopped::Cancelled => Self::Cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Deadline;

    fn work() -> Work {
        Work::until(Deadline::after(Duration::from_secs(10)))
    }

    #[tokio::test]
    async fn live_work_precedes_work_ahead_of_time() {
        let pool = Arc::new(Pool::start(1, 16).unwrap());
        let (release, gate) = std::sync::mpsc::channel::<()>();
        let order = Arc::new(Mutex::new(Vec::new()));
        let blocker = tokio::spawn({
            let pool = pool.clone();
            async move { pool.run(Urgency::Live, &work(), move || gate.recv()).await }
        });
        while pool.load() != (1, 0) {
            tokio::task::yield_now().await;
        }
        let mut jobs = Vec::new();
        for (at, (urgency, name)) in [(Urgency::Ahead, "ahead"), (Urgency::Live, "live")].into_iter().enumerate() {
            let (pool_of_job, order) = (pool.clone(), order.clone());
            jobs.push(tokio::spawn(
                async move { pool_of_job.run(urgency, &work(), move || order.lock().push(name)).await },
            ));
            while pool.load().1 != at + 1 {
                tokio::task::yield_now().await;
            }
        }
        release.send(()).unwrap();
        blocker.await.unwrap().unwrap().unwrap();
        for job in jobs {
            job.await.unwrap().unwrap();
        }
        assert_eq!(*order.lock(), ["live", "ahead"]);
    }

    #[tokio::test]
    async fn a_panic_ends_the_job_and_not_the_thread() {
        let pool = Pool::start(1, 16).unwrap();
        let outcome = pool.run(Urgency::Live, &work(), || panic!("as the test wants")).await;
        assert!(matches!(outcome, Err::<(), _>(Refused::Panicked)));
        assert_eq!(pool.run(Urgency::Live, &work(), || 7).await.unwrap(), 7);
    }

    #[test]
    fn parts_go_to_idle_threads_alone() {
        let pool = Pool::start(2, 16).unwrap();
        let spare = pool.spare(Urgency::Live);
        let (begun, begins) = std::sync::mpsc::channel::<()>();
        let (gate, gates) = std::sync::mpsc::channel::<()>();
        let gates = Arc::new(Mutex::new(gates));
        let part = || -> Part {
            let (begun, gates) = (begun.clone(), gates.clone());
            Box::new(move || {
                begun.send(()).unwrap();
                let _ = gates.lock().recv();
            })
        };
        assert_eq!(spare.assist(1, &part), 1);
        begins.recv().unwrap();
        assert_eq!((spare.assist(5, &part), spare.assist(5, &part)), (1, 0), "one of two threads is left");
        begins.recv().unwrap();
        assert!(!spare.wanted());
        let (done, ends) = std::sync::mpsc::channel::<()>();
        pool.submit(Urgency::Ahead, move || drop(done)).unwrap();
        assert!(!spare.wanted(), "what is urgent does not make way for what is not");
        assert!(pool.spare(Urgency::Ahead).wanted());
        pool.submit(Urgency::Live, || {}).unwrap();
        assert!(spare.wanted());
        (0..2).for_each(|_| gate.send(()).unwrap());
        assert!(ends.recv().is_err());
    }

    #[tokio::test]
    async fn cancelled_work_is_not_begun() {
        let pool = Pool::start(1, 16).unwrap();
        let leave = work();
        leave.cancel();
        assert!(matches!(pool.run(Urgency::Live, &leave, || 7).await, Err(Refused::Cancelled)));
    }
}
