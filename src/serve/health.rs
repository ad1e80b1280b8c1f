//! The components' state, for `/health`.

use std::time::Duration;

use super::Origin;
use crate::source;

/// How a component is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// As it should be.
    Up,
    /// Works with less.
    Degraded,
    /// Does not work.
    Down,
}

/// A part and its state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Component {
    /// `memory`, `render`, `derivatives`, `source:<category>`.
    pub name: String,
    /// How it is.
    pub state: State,
    /// A sentence for the person who looks.
    pub detail: String,
}

/// How a breaker is called.
const fn word(breaker: source::State) -> &'static str {
    match breaker {
        source::State::Closed => "closed",
        source::State::HalfOpen => "half-open",
        source::State::Open => "open",
    }
}

impl Origin {
    /// Every component's state. Asks the store whether it answers, for at most a second.
    pub async fn health(&self) -> Vec<Component> {
        let mut components = vec![self.memory_health(), self.render_health(), self.store_health().await];
        components.extend(self.categories().map(|category| {
            let health = category.source.health();
            let state = match health.breaker {
                source::State::Closed => State::Up,
                source::State::HalfOpen => State::Degraded,
                source::State::Open => State::Down,
            };
            let detail = format!("breaker {}, {} fetches under way", word(health.breaker), health.in_flight);
            Component { name: format!("source:{}", category.name), state, detail }
        }));
        components.sort_by(|a, b| a.name.cmp(&b.name));
        components
    }

    /// The breakers of sources that are not closed, by `source:<category>`: `open` or `half-open`.
    pub fn open_breakers(&self) -> Vec<(String, &'static str)> {
        let breakers = self.categories().map(|category| (&category.name, category.source.health().breaker));
        let open = breakers.filter(|(_, state)| *state != source::State::Closed);
        open.map(|(name, state)| (format!("source:{name}"), word(state))).collect()
    }

    fn memory_health(&self) -> Component {
        let (bytes, entries) = self.memory.usage();
        let detail = format!("{entries} variants, {bytes} bytes");
        Component { name: "memory".to_owned(), state: State::Up, detail }
    }

    fn render_health(&self) -> Component {
        let (used, peak, waiting) = self.renderer.budget().usage();
        let (busy, queued) = self.renderer.pool().load();
        let state = if waiting > 0 { State::Degraded } else { State::Up };
        let detail = format!(
            "{used} of {} bytes charged (most so far {peak}), {waiting} waiting for memory; {busy} of {} threads busy, {queued} queued",
            self.renderer.budget().bytes_max(),
            self.renderer.pool().threads(),
        );
        Component { name: "render".to_owned(), state, detail }
    }

    async fn store_health(&self) -> Component {
        let name = "derivatives".to_owned();
        let Some(derivatives) = &self.derivatives else {
            return Component { name, state: State::Up, detail: "no derivative store is configured".to_owned() };
        };
        let (bytes, writes) = derivatives.backlog();
        let (state, detail) = match tokio::time::timeout(Duration::from_secs(1), derivatives.ping()).await {
            Ok(Ok(())) => (State::Up, format!("{writes} writes of {bytes} bytes waiting")),
            Ok(Err(error)) => (State::Degraded, format!("{error}; variants are made and served without it")),
            Err(_) => {
                (State::Degraded, "no answer within a second; variants are made and served without it".to_owned())
            }
        };
        Component { name, state, detail }
    }

    /// Waits until every variant that was answered is written, at most so long, and gives the leases back.
    pub async fn finish_writes(&self, time: Duration) {
        if let Some(derivatives) = &self.derivatives {
            derivatives.drain(time).await;
        }
        if let Some(fleet) = &self.fleet {
            fleet.settle().await;
        }
    }

    /// Sets the gauges that are read rather than counted.
    pub fn observe(&self) {
        let (bytes, entries) = self.memory.usage();
        metrics::gauge!("fovea_cache_memory_bytes").set(bytes as f64);
        metrics::gauge!("fovea_cache_memory_entries").set(entries as f64);
        let (used, peak, waiting) = self.renderer.budget().usage();
        metrics::gauge!("fovea_render_budget_used_bytes").set(used as f64);
        metrics::gauge!("fovea_render_budget_peak_bytes").set(peak as f64);
        metrics::gauge!("fovea_render_budget_waiting").set(waiting as f64);
        let (busy, queued) = self.renderer.pool().load();
        metrics::gauge!("fovea_render_threads_busy").set(busy as f64);
        metrics::gauge!("fovea_render_queue_jobs").set(queued as f64);
        metrics::gauge!("fovea_flights_under_way").set(self.variants.under_way() as f64);
        if let Some(derivatives) = &self.derivatives {
            let (bytes, writes) = derivatives.backlog();
            metrics::gauge!("fovea_store_queue_bytes").set(bytes as f64);
            metrics::gauge!("fovea_store_queue_writes").set(writes as f64);
        }
    }
}
