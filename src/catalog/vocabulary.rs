//! The words of jobs: how urgent, where they stand, what they do.

use super::Error;
use super::sql::words;

words! {
    /// How urgent a job is.
    Priority {
        /// Somebody looks at an empty place.
        Critical = "critical",
        /// Before the usual.
        High = "high",
        /// The usual.
        Normal = "normal",
        /// When there is nothing else to do, and after a while all the same.
        Low = "low",
    }
}

impl Priority {
    pub(super) const fn rank(self) -> i64 {
        self as i64
    }

    pub(super) fn of_rank(rank: i64) -> Result<Self, Error> {
        let found = usize::try_from(rank).ok().and_then(|rank| Self::ALL.get(rank));
        found.copied().ok_or_else(|| Error::Corrupt(format!("{rank} is no priority")))
    }
}

words! {
    /// What a job is, as its status says it.
    JobState {
        /// Waits for a worker.
        Queued = "queued",
        /// A worker is at it.
        Processing = "processing",
        /// Done, all of it.
        Completed = "completed",
        /// Will not be done unless somebody asks again; its errors say why.
        Failed = "failed",
        /// Failed, and waits for its next try.
        Retrying = "retrying",
        /// Somebody took it back.
        Cancelled = "cancelled",
    }
}

impl JobState {
    /// Whether nothing more will happen by itself.
    pub const fn ended(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

words! {
    /// What a job does.
    Kind {
        /// Looks at an original: metadata, colours, hashes, whether it can be decoded whole.
        Inspect = "inspect",
        /// Makes the reduced forms that variants are rendered from.
        Mezzanine = "mezzanine",
        /// Makes variants before anybody asks.
        Prewarm = "prewarm",
        /// Makes variants that a caller asked for.
        Transform = "transform",
        /// Takes an asset or a version away, everywhere.
        Delete = "delete",
        /// Forgets what was made.
        Purge = "purge",
        /// Cuts a category into partitions whose variants are made anew.
        Reprocess = "reprocess",
        /// Makes the variants of one stretch of a category anew.
        Partition = "partition",
        /// Makes neighbouring tiles of a picture's pyramid.
        Tiles = "tiles",
        /// Tells where a pyramid's tiles are, when all are there.
        Assemble = "assemble",
        /// Removes what is past its time.
        Cleanup = "cleanup",
        /// Does nothing itself: it ends when its children have.
        Batch = "batch",
    }
}
