//! What jobs need to know, a variant a kind; kept as a job's payload.

use serde::{Deserialize, Serialize};

use super::{Error, Job, Kind, NewJob, Priority, Subject};

/// Whose the jobs are that nobody asked for: clean-ups, and what a change of the settings brings.
pub const SYSTEM: &str = "system";

/// What a job needs to know.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Task {
    /// Look at an original; then make variants.
    Inspect {
        /// Variants that the upload asked for, as a URL's last segment: `w_400.webp`.
        variants: Vec<String>,
        /// Whether the category's own list is made too.
        prewarm: bool,
    },
    /// Make variants before anybody asks.
    Prewarm {
        /// As a URL's last segment.
        variants: Vec<String>,
        /// Further ones, which traffic asks for: nobody named them for this asset, so one that cannot be made of it is no failure.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        popular: Vec<String>,
    },
    /// Make the reduced forms that variants are rendered from.
    Mezzanine {},
    /// Make variants that somebody asked for.
    Transform {
        /// As a URL's last segment.
        variants: Vec<String>,
    },
    /// Take an asset, or a version of it, away.
    Delete {},
    /// Forget what was made of an asset.
    Purge {},
    /// Cut a category into partitions, as further parts of the batch that this is a part of.
    Reprocess {
        /// The category.
        category: String,
        /// Where the last partition ended: assets after this one.
        after: Option<String>,
    },
    /// Make anew what was made of the assets in a stretch of a category.
    Partition {
        /// The category.
        category: String,
        /// Assets after this one, as a page's cursor says it.
        after: Option<String>,
        /// Up to this asset's id, and with it.
        upto: String,
    },
    /// Make neighbouring tiles of a picture's pyramid.
    Tiles {
        /// A tile's side, in pixels.
        tile: u32,
        /// As a file's extension.
        format: String,
        /// Of which level.
        level: u32,
        /// The first, counted row by row.
        from: u64,
        /// How many.
        count: u64,
    },
    /// Tell where a pyramid's tiles are, when all are there.
    Assemble {
        /// A tile's side, in pixels.
        tile: u32,
        /// As a file's extension.
        format: String,
    },
    /// Remove what is past its time.
    Cleanup {
        /// What.
        what: Sweep,
    },
}

/// What a clean-up removes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sweep {
    /// Jobs and answers that are past their retention, and versions past their category's.
    Retention,
    /// Uploads that were promised and did not come.
    Uploads,
    /// Originals in the store that no version names.
    Orphans,
}

impl Task {
    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Inspect { .. } => Kind::Inspect,
            Self::Mezzanine {} => Kind::Mezzanine,
            Self::Prewarm { .. } => Kind::Prewarm,
            Self::Transform { .. } => Kind::Transform,
            Self::Delete {} => Kind::Delete,
            Self::Purge {} => Kind::Purge,
            Self::Reprocess { .. } => Kind::Reprocess,
            Self::Partition { .. } => Kind::Partition,
            Self::Tiles { .. } => Kind::Tiles,
            Self::Assemble { .. } => Kind::Assemble,
            Self::Cleanup { .. } => Kind::Cleanup,
        }
    }

    /// A job of it.
    pub fn job(self, owner: &str, subject: Option<Subject>, priority: Priority) -> NewJob {
        let total = match &self {
            Self::Prewarm { variants, popular } => (variants.len() + popular.len()) as u32,
            Self::Transform { variants } | Self::Inspect { variants, .. } => variants.len() as u32,
            Self::Tiles { count, .. } => u32::try_from(*count).unwrap_or(u32::MAX),
            _ => 0,
        };
        NewJob { total, ..NewJob::new(owner, self.kind(), priority, subject, self.payload()) }
    }

    /// As a job's payload.
    pub fn payload(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("a task is plain data")
    }

    /// From a job's payload.
    ///
    /// # Errors
    /// [`Error::Corrupt`], where another program made the job.
    pub fn of(job: &Job) -> Result<Self, Error> {
        let mut payload = job.payload.clone();
        if let Some(payload) = payload.as_object_mut() {
            payload.insert("kind".to_owned(), job.kind.word().into());
        }
        serde_json::from_value(payload).map_err(|error| Error::Corrupt(format!("a job's payload: {error}")))
    }
}

/// The batch that makes anew what was made of a category: at first the job that cuts it into partitions, which are added to it. While one
/// is under way, a second is the same.
pub fn reprocess(owner: &str, category: &str, trace: Option<String>) -> Vec<NewJob> {
    let task = Task::Reprocess { category: category.to_owned(), after: None };
    let mut jobs = batch(owner, vec![NewJob { trace: trace.clone(), ..task.job(owner, None, Priority::Low) }]);
    if let Some(whole) = jobs.first_mut() {
        whole.dedupe = Some(format!("reprocess {category}"));
        whole.trace = trace;
    }
    jobs
}

/// Many jobs as one with a progress: the first of the answer is the batch, the others are its parts.
pub fn batch(owner: &str, parts: Vec<NewJob>) -> Vec<NewJob> {
    let priority = parts.iter().map(|part| part.priority).min().unwrap_or(Priority::Normal);
    let payload = serde_json::json!({ "kind": "batch" });
    let whole = NewJob { total: parts.len() as u32, ..NewJob::new(owner, Kind::Batch, priority, None, payload) };
    let parts = parts.into_iter().map(|part| NewJob { parent: Some("^".to_owned()), ..part });
    std::iter::once(whole).chain(parts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_survives_as_a_payload() {
        for task in [
            Task::Inspect { variants: vec!["w_1.jpg".to_owned()], prewarm: true },
            Task::Delete {},
            Task::Reprocess { category: "shoes".to_owned(), after: None },
            Task::Cleanup { what: Sweep::Orphans },
        ] {
            let payload = task.payload();
            assert_eq!(payload["kind"], task.kind().word());
            assert_eq!(serde_json::from_value::<Task>(payload).unwrap(), task);
        }
    }
}
