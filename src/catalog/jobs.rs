//! Jobs as rows: what they are, how they are added and read. Who may claim them and how they end is in `claims` and
//! `transitions`.

use serde_json::{Value as Json, json};

use super::sql::{Cells, Row, Value, values, within};
use super::{Catalog, Error, JobState, Kind, NewEvent, Page, Priority, Tx, id};

/// What a job is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subject {
    /// The category.
    pub category: String,
    /// The asset's id in it.
    pub asset: String,
    /// The version; none is all, or the current one, as the kind has it.
    pub version: Option<String>,
}

/// A job that is to be added.
#[derive(Clone, PartialEq, Debug)]
pub struct NewJob {
    /// Whose it is.
    pub owner: String,
    /// What it does.
    pub kind: Kind,
    /// How urgent it is.
    pub priority: Priority,
    /// What it is about.
    pub subject: Option<Subject>,
    /// What its kind needs to know.
    pub payload: Json,
    /// Jobs of one owner with equal texts are one, as long as it is kept.
    pub dedupe: Option<String>,
    /// The batch that it is part of.
    pub parent: Option<String>,
    /// Steps of its progress; 0 where not known yet.
    pub total: u32,
    /// How long it waits at least.
    pub delay_ms: u64,
    /// How long a try may take; none is the worker's own bound.
    pub timeout_ms: Option<u64>,
    /// W3C `traceparent` of who asked for it.
    pub trace: Option<String>,
}

impl NewJob {
    /// A job with everything else as usual.
    pub fn new(owner: &str, kind: Kind, priority: Priority, subject: Option<Subject>, payload: Json) -> Self {
        Self {
            owner: owner.to_owned(),
            kind,
            priority,
            subject,
            payload,
            dedupe: None,
            parent: None,
            total: 0,
            delay_ms: 0,
            timeout_ms: None,
            trace: None,
        }
    }
}

/// A job that was added, or found to be there already.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pushed {
    /// Its id.
    pub id: String,
    /// Whether it was there already.
    pub existed: bool,
}

/// A job.
#[derive(Clone, PartialEq, Debug)]
pub struct Job {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub owner: String,
    /// What it does; an upload's is `inspect` first and goes on as `prewarm`.
    pub kind: Kind,
    /// How urgent it is.
    pub priority: Priority,
    /// What it is about.
    pub subject: Option<Subject>,
    /// What its kind needs to know.
    pub payload: Json,
    /// Where it stands.
    pub state: JobState,
    /// The batch that it is part of.
    pub parent: Option<String>,
    /// Steps that are done.
    pub done: u32,
    /// Steps that failed.
    pub failed: u32,
    /// Steps in all; 0 where not known yet.
    pub total: u32,
    /// What came out so far.
    pub result: Json,
    /// Tries, the one under way included.
    pub attempts: u32,
    /// How often it was given to a worker.
    pub deliveries: u32,
    /// Who is at it, or was last.
    pub worker: Option<String>,
    /// Counts leases: only the holder of the current one may end the job.
    pub lease: i64,
    /// Whether somebody asked to stop it while a worker was at it.
    pub cancelling: bool,
    /// How long a try may take.
    pub timeout_ms: Option<u64>,
    /// What went wrong last.
    pub error: Option<String>,
    /// The same as a stable word.
    pub code: Option<String>,
    /// W3C `traceparent` of who asked for it.
    pub trace: Option<String>,
    /// When it may be tried, at the earliest.
    pub due_ms: i64,
    /// When it was added.
    pub queued_ms: i64,
    /// When its first try began.
    pub started_ms: Option<i64>,
    /// When it ended.
    pub completed_ms: Option<i64>,
    /// Counts changes.
    pub revision: i64,
}

pub(super) const COLUMNS: &str = "id, owner, kind, priority, category, asset, version, payload, state, parent, done, \
     failed, total, result, attempts, deliveries, worker, lease, cancelling, timeout_ms, error, code, trace, due_ms, \
     queued_ms, started_ms, completed_ms, revision";

impl Job {
    pub(super) fn read(row: Row) -> Result<Self, Error> {
        let mut at = row.cells();
        let (id, owner, kind) = (at.text()?, at.text()?, at.word()?);
        let priority = Priority::of_rank(at.int()?)?;
        let subject = read_subject(&mut at)?;
        Ok(Self {
            id,
            owner,
            kind,
            priority,
            subject,
            payload: at.json()?,
            state: at.word()?,
            parent: at.text_or_none()?,
            done: at.unsigned()?,
            failed: at.unsigned()?,
            total: at.unsigned()?,
            result: at.json()?,
            attempts: at.unsigned()?,
            deliveries: at.unsigned()?,
            worker: at.text_or_none()?,
            lease: at.int()?,
            cancelling: at.int()? != 0,
            timeout_ms: at.int_or_none()?.map(|ms| ms as u64),
            error: at.text_or_none()?,
            code: at.text_or_none()?,
            trace: at.text_or_none()?,
            due_ms: at.int()?,
            queued_ms: at.int()?,
            started_ms: at.int_or_none()?,
            completed_ms: at.int_or_none()?,
            revision: at.int()?,
        })
    }

    /// An event about it.
    pub(super) fn event(&self, kind: &str, data: Json) -> NewEvent {
        let subject = self.subject.as_ref();
        NewEvent {
            owner: self.owner.clone(),
            kind: kind.to_owned(),
            category: subject.map(|subject| subject.category.clone()),
            asset: subject.map(|subject| subject.asset.clone()),
            version: subject.and_then(|subject| subject.version.clone()),
            job: Some(self.id.clone()),
            data,
            trace: self.trace.clone(),
        }
    }
}

pub(super) fn read_subject(at: &mut Cells) -> Result<Option<Subject>, Error> {
    let (category, asset, version) = (at.text_or_none()?, at.text_or_none()?, at.text_or_none()?);
    Ok(category.zip(asset).map(|(category, asset)| Subject { category, asset, version }))
}

/// Which jobs are listed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct JobFilter {
    /// In this state.
    pub state: Option<JobState>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// About assets of this category.
    pub category: Option<String>,
    /// About this asset, where the category is given too.
    pub asset: Option<String>,
    /// Parts of this batch.
    pub parent: Option<String>,
    /// About assets of one of these categories, or of none.
    pub within: Option<Vec<String>>,
}

impl Catalog {
    /// A job.
    pub async fn job(&self, owner: Option<&str>, id: &str) -> Result<Job, Error> {
        let sql = format!("SELECT {COLUMNS} FROM jobs WHERE id = $1 AND ($2 IS NULL OR owner = $2)");
        self.read_one(sql, values![id, owner]).await?.map_or(Err(Error::NotFound), Job::read)
    }

    /// Jobs, the youngest first.
    pub async fn jobs(
        &self,
        owner: Option<&str>,
        filter: &JobFilter,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<Job>, Error> {
        let (mut sql, mut given) = (format!("SELECT {COLUMNS} FROM jobs WHERE 1 = 1"), Vec::new());
        let conditions: [(&str, Option<Value>); 7] = [
            ("owner =", owner.map(Value::from)),
            ("state =", filter.state.map(Value::from)),
            ("kind =", filter.kind.map(Value::from)),
            ("category =", filter.category.as_ref().map(Value::from)),
            ("asset =", filter.asset.as_ref().map(Value::from)),
            ("parent =", filter.parent.as_ref().map(Value::from)),
            ("id <", cursor.map(Value::from)),
        ];
        for (condition, value) in conditions {
            if let Some(value) = value {
                given.push(value);
                sql += &format!(" AND {condition} ${}", given.len());
            }
        }
        sql += &within("category", filter.within.as_deref(), &mut given);
        given.push(Value::from(limit + 1));
        sql += &format!(" ORDER BY id DESC LIMIT ${}", given.len());
        let jobs = self.read(sql, given).await?.into_iter().map(Job::read).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::of(jobs, limit, |job| job.id.clone()))
    }

    /// Adds jobs, all or none. A job whose `dedupe` is known already is not added: the one that is there is answered. A job whose
    /// `parent` is `"^"` belongs to the first of the list, and is not added where that one was there. One that names a batch as its
    /// `parent` is one more part of it.
    ///
    /// # Errors
    /// [`Error::Full`] where more than `queue_max` would wait.
    pub async fn push(&self, jobs: Vec<NewJob>, queue_max: Option<u64>) -> Result<Vec<Pushed>, Error> {
        self.write(move |tx| {
            Box::pin(async move {
                if let Some(most) = queue_max {
                    tx.room(most, jobs.len() as u64).await?;
                }
                tx.push_all(jobs).await
            })
        })
        .await
    }
}

/// As a parent: the first job of the list.
pub(super) const FIRST: &str = "^";

impl Tx {
    /// Adds jobs as [`Catalog::push`] says.
    pub(super) async fn push_all(&mut self, jobs: Vec<NewJob>) -> Result<Vec<Pushed>, Error> {
        let mut pushed: Vec<Pushed> = Vec::with_capacity(jobs.len());
        for mut job in jobs {
            let added = if job.parent.as_deref() == Some(FIRST) {
                let first = pushed.first().ok_or(Error::NotFound)?;
                if first.existed {
                    continue;
                }
                job.parent = Some(first.id.clone());
                self.push(job).await?
            } else {
                let parent = job.parent.clone();
                let added = self.push(job).await?;
                if let (Some(parent), false) = (parent, added.existed) {
                    let sql = "UPDATE jobs SET total = total + 1, revision = revision + 1 WHERE id = $1";
                    self.run(sql, values![&parent]).await?;
                }
                added
            };
            pushed.push(added);
        }
        Ok(pushed)
    }

    /// Adds a job, unless it is there.
    pub async fn push(&mut self, job: NewJob) -> Result<Pushed, Error> {
        if let Some(dedupe) = &job.dedupe {
            let sql = "SELECT id FROM jobs WHERE owner = $1 AND dedupe = $2";
            if let Some(row) = self.row(sql, values![&job.owner, dedupe]).await? {
                return Ok(Pushed { id: row.cells().text()?, existed: true });
            }
        }
        let now = self.now_ms();
        let name = id("job", now);
        let due_ms = now + job.delay_ms as i64;
        let (state, ready) = match job.kind {
            Kind::Batch => (JobState::Processing, 0),
            _ if job.delay_ms > 0 => (JobState::Queued, 2),
            _ => (JobState::Queued, 1),
        };
        let place = if job.kind == Kind::Batch { 0 } else { self.place(job.kind, job.priority, &job.owner).await? };
        let subject = job.subject.clone();
        let (category, asset) = subject.as_ref().map(|subject| (&*subject.category, &*subject.asset)).unzip();
        let version = subject.as_ref().and_then(|subject| subject.version.as_deref());
        self.run(
            "INSERT INTO jobs (id, owner, kind, priority, category, asset, version, payload, state, ready, place, dedupe,
                 parent, done, failed, total, result, attempts, deliveries, lease, cancelling, timeout_ms, trace, due_ms,
                 queued_ms, revision)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 0, 0, $14, '{}', 0, 0, 0, 0, $15, $16, $17,
                 $18, 1)",
            values![
                &name,
                &job.owner,
                job.kind,
                job.priority.rank(),
                category,
                asset,
                version,
                &job.payload,
                state,
                i64::from(ready),
                place,
                job.dedupe.as_deref(),
                job.parent.as_deref(),
                job.total,
                job.timeout_ms,
                job.trace.as_deref(),
                due_ms,
                now,
            ],
        )
        .await?;
        if job.kind != Kind::Batch {
            self.wake();
        }
        self.append(NewEvent {
            owner: job.owner,
            kind: "job.queued".to_owned(),
            category: category.map(str::to_owned),
            asset: asset.map(str::to_owned),
            version: version.map(str::to_owned),
            job: Some(name.clone()),
            data: json!({ "kind": job.kind, "priority": job.priority }),
            trace: job.trace,
        })
        .await?;
        Ok(Pushed { id: name, existed: false })
    }

    /// The job, as it is in this transaction, and stays until its end.
    pub async fn job(&mut self, owner: Option<&str>, id: &str) -> Result<Job, Error> {
        let lock = self.for_update();
        let sql = format!("SELECT {COLUMNS} FROM jobs WHERE id = $1 AND ($2 IS NULL OR owner = $2){lock}");
        self.row(sql, values![id, owner]).await?.map_or(Err(Error::NotFound), Job::read)
    }

    /// The next place in a lane: behind the owner's own jobs, and not before what was claimed already.
    pub async fn place(&mut self, kind: Kind, priority: Priority, owner: &str) -> Result<i64, Error> {
        let rank = priority.rank();
        let row = self
            .row(
                "SELECT COALESCE(MAX(place), 0) FROM lanes WHERE kind = $1 AND priority = $2 AND owner IN ('', $3)",
                values![kind, rank, owner],
            )
            .await?;
        let place = row.ok_or(Error::NotFound)?.cells().int()?;
        let raised = self.raised(kind.word(), rank, owner).max(self.raised(kind.word(), rank, ""));
        let place = raised.map_or(place, |raised| raised.max(place));
        // Two that push at the same time may get one place: they stand side by side.
        self.raise(kind.word(), rank, owner, place + 1);
        Ok(place)
    }
}
