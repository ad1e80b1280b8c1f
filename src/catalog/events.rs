//! Events: append-only, numbered, the history of everything.

use serde_json::Value as Json;

use super::sql::{Row, Value, values};
use super::{Catalog, Error};

/// An event that is to be appended.
#[derive(Clone, PartialEq, Debug)]
pub struct NewEvent {
    /// Whose it is.
    pub owner: String,
    /// What happened: `asset.accepted`, `job.completed`.
    pub kind: String,
    /// The category that it is about.
    pub category: Option<String>,
    /// The asset.
    pub asset: Option<String>,
    /// The version.
    pub version: Option<String>,
    /// The job.
    pub job: Option<String>,
    /// What else is to be said.
    pub data: Json,
    /// W3C `traceparent` of what it was part of.
    pub trace: Option<String>,
}

/// An event.
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    /// Its number: rises, without meaning in its gaps.
    pub seq: i64,
    /// Whose it is.
    pub owner: String,
    /// What happened.
    pub kind: String,
    /// The category that it is about.
    pub category: Option<String>,
    /// The asset.
    pub asset: Option<String>,
    /// The version.
    pub version: Option<String>,
    /// The job.
    pub job: Option<String>,
    /// What else is to be said.
    pub data: Json,
    /// W3C `traceparent` of what it was part of.
    pub trace: Option<String>,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
}

/// Which events are wanted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EventFilter {
    /// Of this owner.
    pub owner: Option<String>,
    /// About this category.
    pub category: Option<String>,
    /// About this asset.
    pub asset: Option<String>,
    /// About this job.
    pub job: Option<String>,
    /// Whose kind begins so: `asset.`.
    pub kind_prefix: Option<String>,
}

impl Event {
    fn read(row: Row) -> Result<Self, Error> {
        let mut at = row.cells();
        Ok(Self {
            seq: at.int()?,
            owner: at.text()?,
            kind: at.text()?,
            category: at.text_or_none()?,
            asset: at.text_or_none()?,
            version: at.text_or_none()?,
            job: at.text_or_none()?,
            data: at.json()?,
            trace: at.text_or_none()?,
            at_ms: at.int()?,
        })
    }
}

impl Catalog {
    /// Events after a number, the oldest first. Numbers rise and have gaps; none that is smaller than one answered comes later.
    pub async fn events(&self, after: i64, filter: &EventFilter, limit: u32) -> Result<Vec<Event>, Error> {
        let mut sql = "SELECT seq, owner, kind, category, asset, version, job, data, trace, at_ms FROM events \
             WHERE seq > $1 AND seq <= $2"
            .to_owned();
        let mut given = values![after, self.engine().await?.decided().await?];
        let conditions = [
            ("owner =", &filter.owner),
            ("category =", &filter.category),
            ("asset =", &filter.asset),
            ("job =", &filter.job),
        ];
        for (condition, value) in conditions {
            if let Some(value) = value {
                given.push(Value::from(value));
                sql += &format!(" AND {condition} ${}", given.len());
            }
        }
        if let Some(prefix) = &filter.kind_prefix {
            given.push(Value::from(prefix));
            sql += &format!(" AND SUBSTR(kind, 1, LENGTH(${0})) = ${0}", given.len());
        }
        given.push(Value::from(limit));
        sql += &format!(" ORDER BY seq LIMIT ${}", given.len());
        self.read(sql, given).await?.into_iter().map(Event::read).collect()
    }

    /// Appends an event that comes with no change of anything else.
    pub async fn tell(&self, event: NewEvent) -> Result<(), Error> {
        self.write(move |tx| Box::pin(async move { tx.append(event).await })).await
    }

    /// The number of the last event from before a moment, in milliseconds since 1970; 0 where there is none. Events are written in
    /// the order of their times but for those of one moment: a few more may be from before it.
    pub async fn last_event_before(&self, at_ms: i64) -> Result<i64, Error> {
        // Halved until it is found: numbers and times rise together, and times have no index.
        let (mut before, mut after) = (0, self.last_event().await? + 1);
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            let sql = "SELECT seq, at_ms FROM events WHERE seq >= $1 ORDER BY seq LIMIT 1";
            let found = self.read_one(sql, values![middle]).await?;
            let mut at = found.ok_or(Error::NotFound)?.cells();
            let (seq, time) = (at.int()?, at.int()?);
            if time < at_ms { before = seq } else { after = middle }
        }
        Ok(before)
    }

    /// The number of the last event; 0 where there is none.
    pub async fn last_event(&self) -> Result<i64, Error> {
        let decided = self.engine().await?.decided().await?;
        let sql = "SELECT COALESCE(MAX(seq), 0) FROM events WHERE seq <= $1";
        let row = self.read_one(sql, values![decided]).await?;
        row.map_or(Ok(0), |row| row.cells().int())
    }
}
