//! How this process's workers fare: the breakers of what they depend on, the pressure on them, and the rates of late.
//!
//! While a dependency's breaker is open, or too many tries fail, fewer jobs are taken at once and with pauses between; both
//! come back by steps.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use crate::base::{Circuit, CircuitSettings, CircuitState, Went};
use crate::telemetry::names;

/// What a job can fail by without a fault of its own.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Dependency {
    /// The catalog.
    Catalog,
    /// The stores of originals and derivatives.
    Store,
    /// A category's source.
    Source(String),
}

impl fmt::Display for Dependency {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Catalog => out.write_str("catalog"),
            Self::Store => out.write_str("store"),
            Self::Source(category) => write!(out, "source:{category}"),
        }
    }
}

/// How a try went, as far as the workers' fare goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Well, or the image's own fault.
    Well,
    /// It may go better another time.
    Ill(Option<Dependency>),
}

/// How the pressure is told and eased.
#[derive(Clone, PartialEq, Debug)]
pub struct Pressure {
    /// Jobs at once, without pressure.
    pub concurrency: usize,
    /// The pause between two starts, without pressure.
    pub start_interval: Duration,
    /// Outcomes that are looked at together.
    pub window: usize,
    /// The share of failures among them from which the pressure rises a step.
    pub share_max: f64,
    /// The breakers'.
    pub circuit: CircuitSettings,
}

impl Default for Pressure {
    fn default() -> Self {
        let circuit = CircuitSettings::default();
        Self { concurrency: 5, start_interval: Duration::ZERO, window: 20, share_max: 0.5, circuit }
    }
}

/// Steps of pressure: each halves the jobs at once and doubles the pause.
const STEPS_MAX: u32 = 5;

/// The pause at the first step.
const PAUSE: Duration = Duration::from_millis(100);

/// Over how long the rate is told.
const RATE_OVER: Duration = Duration::from_secs(60);

/// Ends that are remembered for the rate.
const ENDS_MAX: usize = 10_000;

#[derive(Debug, Default)]
struct State {
    step: u32,
    window: VecDeque<bool>,
    ends: VecDeque<(Instant, bool)>,
    running: usize,
}

/// How this process's workers fare. One a process.
#[derive(Debug)]
pub struct Board {
    pressure: Pressure,
    circuits: Mutex<BTreeMap<Dependency, Arc<Circuit>>>,
    state: Mutex<State>,
}

impl Default for Board {
    fn default() -> Self {
        Self::new(Pressure::default())
    }
}

impl Board {
    /// Without pressure.
    pub fn new(pressure: Pressure) -> Self {
        Self { pressure, circuits: Mutex::default(), state: Mutex::default() }
    }

    /// Jobs at once, now.
    pub fn concurrency(&self) -> usize {
        (self.pressure.concurrency >> self.state.lock().step).max(1)
    }

    /// The pause between two starts, now.
    pub fn start_interval(&self) -> Duration {
        match self.state.lock().step {
            0 => self.pressure.start_interval,
            step => self.pressure.start_interval.max(PAUSE) * 2_u32.pow(step - 1),
        }
    }

    /// How long a dependency is left alone for; none where it may be tried.
    pub fn open_for(&self, dependency: &Dependency) -> Option<Duration> {
        let circuit = self.circuits.lock().get(dependency).cloned()?;
        circuit.open_for(Instant::now().into_std())
    }

    /// How long a dependency is left alone for when one more try has failed by it; none where it may be tried all the same.
    pub fn open_after_failure(&self, dependency: &Dependency) -> Option<Duration> {
        let circuit = self.circuits.lock().get(dependency).cloned()?;
        circuit.open_after_failure(Instant::now().into_std())
    }

    /// A job began.
    pub fn began(&self) {
        let mut state = self.state.lock();
        state.running += 1;
        self.tell(state.running);
    }

    fn tell(&self, running: usize) {
        metrics::gauge!(names::WORKER_RUNNING).set(running as f64);
        metrics::gauge!(names::WORKER_UTILISATION).set(running as f64 / self.pressure.concurrency.max(1) as f64);
    }

    /// A job's try ended; without an outcome it says nothing, as when it was stopped. `uses` is what it depends on.
    pub fn ended(&self, outcome: Option<&Outcome>, uses: &[Dependency]) {
        let now = Instant::now();
        let Some(outcome) = outcome else {
            let mut state = self.state.lock();
            state.running = state.running.saturating_sub(1);
            return self.tell(state.running);
        };
        let mut opened = false;
        for dependency in uses {
            let went = match outcome {
                Outcome::Well => Went::Well,
                Outcome::Ill(Some(to_blame)) if to_blame == dependency => Went::Ill,
                Outcome::Ill(_) => Went::Unknown,
            };
            opened |= self.settle(dependency, went, now) == Some(CircuitState::Open);
        }
        let mut state = self.state.lock();
        let well = *outcome == Outcome::Well;
        state.running = state.running.saturating_sub(1);
        state.ends.push_back((now, well));
        while state.ends.len() > ENDS_MAX || state.ends.front().is_some_and(|(at, _)| now - *at > RATE_OVER) {
            state.ends.pop_front();
        }
        state.window.push_back(well);
        let ill = state.window.iter().filter(|well| !**well).count();
        let enough = state.window.len() >= self.pressure.window.max(2);
        let high = ill as f64 >= self.pressure.share_max * self.pressure.window.max(2) as f64;
        if opened || high {
            state.step = (state.step + 1).min(STEPS_MAX);
            state.window.clear();
        } else if enough {
            // A whole window without trouble: a step back.
            state.step = state.step.saturating_sub(1);
            state.window.clear();
        }
        metrics::gauge!(names::WORKER_PRESSURE).set(f64::from(state.step));
        self.tell(state.running);
    }

    /// What became of a dependency outside of a job: the catalog, asked for jobs.
    pub fn met(&self, dependency: &Dependency, went: Went) {
        self.settle(dependency, went, Instant::now());
    }

    fn settle(&self, dependency: &Dependency, went: Went, now: Instant) -> Option<CircuitState> {
        let circuit = {
            let mut circuits = self.circuits.lock();
            let new = || Arc::new(Circuit::new(self.pressure.circuit.clone()));
            circuits.entry(dependency.clone()).or_insert_with(new).clone()
        };
        let (era, half) = circuit.admit(now.into_std()).ok()?;
        let changed = circuit.settle(era, went, now.into_std());
        for state in [half, changed].into_iter().flatten() {
            metrics::gauge!(names::WORKER_BREAKER_STATE, "dependency" => dependency.to_string())
                .set(f64::from(state as u8));
            match state {
                CircuitState::Open => tracing::warn!(%dependency, "jobs fail by it again and again; they wait"),
                CircuitState::Closed => tracing::info!(%dependency, "it is well again"),
                CircuitState::HalfOpen => {}
            }
        }
        changed
    }

    /// All of it, for the API.
    pub fn snapshot(&self) -> Json {
        let now = Instant::now();
        let (step, running, ends, well) = {
            let state = self.state.lock();
            let lately = state.ends.iter().filter(|(at, _)| now - *at <= RATE_OVER);
            let (ends, well) = lately.fold((0_u64, 0_u64), |(ends, well), (_, ok)| (ends + 1, well + u64::from(*ok)));
            (state.step, state.running, ends, well)
        };
        let breakers: Vec<Json> = self
            .circuits
            .lock()
            .iter()
            .map(|(dependency, circuit)| {
                let state = match circuit.state(now.into_std()) {
                    CircuitState::Closed => "closed",
                    CircuitState::HalfOpen => "half-open",
                    CircuitState::Open => "open",
                };
                json!({ "name": dependency.to_string(), "state": state })
            })
            .collect();
        json!({
            "concurrency": self.concurrency(),
            "concurrency_max": self.pressure.concurrency,
            "running": running,
            "utilisation": running as f64 / self.pressure.concurrency.max(1) as f64,
            "start_interval_ms": self.start_interval().as_millis() as u64,
            "pressure": step,
            "per_minute": ends,
            "success_share": if ends == 0 { Json::Null } else { json!(well as f64 / ends as f64) },
            "breakers": breakers,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn failures_take_concurrency_away_and_successes_give_it_back_by_steps() {
        let board = Board::new(Pressure { concurrency: 8, window: 4, ..Pressure::default() });
        let end = |outcome: Outcome, times: usize| {
            for _ in 0..times {
                board.began();
                board.ended(Some(&outcome), &[]);
            }
            (board.concurrency(), board.start_interval().as_millis())
        };
        assert_eq!(end(Outcome::Well, 4), (8, 0));
        assert_eq!(end(Outcome::Ill(None), 2), (4, 100));
        assert_eq!(end(Outcome::Ill(None), 4), (1, 400));
        assert_eq!(end(Outcome::Ill(None), 40), (1, 1600), "never none at all");
        assert_eq!(end(Outcome::Well, 4), (1, 800));
        assert_eq!(end(Outcome::Well, 16), (8, 0));
        assert_eq!(board.snapshot()["per_minute"], 70);
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_again_and_again_is_left_alone_for_a_while() {
        let board = Board::default();
        let store = Dependency::Store;
        let uses = [Dependency::Store, Dependency::Source("shoes".to_owned())];
        for failures in 0..5 {
            assert_eq!(board.open_for(&store), None);
            let wait = (failures == 4).then_some(Duration::from_secs(30));
            assert_eq!(board.open_after_failure(&store), wait, "the last one opens it");
            board.ended(Some(&Outcome::Ill(Some(Dependency::Store))), &uses);
        }
        assert_eq!(board.open_for(&store), Some(Duration::from_secs(30)));
        assert_eq!(board.open_for(&uses[1]), None, "the other is not to blame");
        tokio::time::advance(Duration::from_secs(31)).await;
        assert_eq!(board.open_for(&store), None);
        assert_eq!(board.open_after_failure(&store), Some(Duration::from_secs(30)));
        board.ended(Some(&Outcome::Ill(Some(Dependency::Store))), &uses);
        assert!(board.open_for(&store).is_some(), "a probe failed");
        tokio::time::advance(Duration::from_secs(31)).await;
        board.ended(Some(&Outcome::Well), &uses);
        board.ended(Some(&Outcome::Well), &uses);
        assert_eq!(board.snapshot()["breakers"][0]["state"], "closed");
    }
}
