//! Where an answer's time went, stage by stage: for `Server-Timing`, metrics and spans.

use std::time::Duration;

/// A stage of the way from URL to bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stage {
    /// Parsing and checking the URL.
    Plan,
    /// Waiting for memory or a thread.
    Queue,
    /// Looking into the derivative store.
    Store,
    /// Fetching the original.
    Source,
    /// Making the reduced forms that variants are rendered from, or waiting until they were made.
    Mezzanine,
    /// Bytes to pixels.
    Decode,
    /// Pixels to pixels.
    Transform,
    /// Pixels to bytes.
    Encode,
}

impl Stage {
    /// Every stage, in the order of a request.
    pub const ALL: [Self; 8] = [
        Self::Plan,
        Self::Queue,
        Self::Store,
        Self::Source,
        Self::Mezzanine,
        Self::Decode,
        Self::Transform,
        Self::Encode,
    ];

    /// Its name in `Server-Timing` and metric labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Queue => "queue",
            Self::Store => "store",
            Self::Source => "source",
            Self::Mezzanine => "mezzanine",
            Self::Decode => "decode",
            Self::Transform => "transform",
            Self::Encode => "encode",
        }
    }
}

/// The time each stage took; a stage that did not happen is zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stages([Duration; 8]);

impl Stages {
    /// Adds time to a stage.
    pub fn add(&mut self, stage: Stage, time: Duration) {
        self.0[stage as usize] += time;
    }

    /// The time of one stage.
    pub const fn of(&self, stage: Stage) -> Duration {
        self.0[stage as usize]
    }

    /// The stages that happened, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Stage, Duration)> + '_ {
        Stage::ALL.into_iter().map(|stage| (stage, self.of(stage))).filter(|(_, time)| !time.is_zero())
    }

    /// Adds every stage of another.
    pub fn merge(&mut self, other: &Self) {
        for (stage, time) in other.iter() {
            self.add(stage, time);
        }
    }
}
