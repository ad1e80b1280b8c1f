//! Dead letters: jobs that failed for good, kept until somebody asks for them again or throws them away.

use super::jobs::{COLUMNS, Job};
use super::sql::{Row, values, within};
use super::{Catalog, Error, Page};

/// A dead letter.
#[derive(Clone, PartialEq, Debug)]
pub struct Letter {
    /// The job, as it failed.
    pub job: Job,
    /// Why, as a stable word.
    pub reason: String,
    /// When.
    pub dead_ms: i64,
}

pub(super) fn columns() -> String {
    let of_job: Vec<String> = COLUMNS.split(',').map(|column| format!("j.{}", column.trim())).collect();
    format!("d.reason, d.dead_ms, {}", of_job.join(", "))
}

impl Letter {
    pub(super) fn read(row: Row) -> Result<Self, Error> {
        let Row(mut cells) = row;
        let job = Job::read(Row(cells.split_off(2)))?;
        let mut at = Row(cells).cells();
        Ok(Self { reason: at.text()?, dead_ms: at.int()?, job })
    }
}

impl Catalog {
    /// Dead letters, the youngest job first; with categories, those about assets of one of them, or of none.
    pub async fn letters(
        &self,
        owner: Option<&str>,
        categories: Option<&[String]>,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<Letter>, Error> {
        let mut given = values![owner, cursor, limit + 1];
        let within = within("j.category", categories, &mut given);
        let sql = format!(
            "SELECT {} FROM dead_letters d JOIN jobs j ON j.id = d.job
             WHERE ($1 IS NULL OR d.owner = $1) AND ($2 IS NULL OR d.job < $2){within} ORDER BY d.job DESC LIMIT $3",
            columns()
        );
        let rows = self.read(sql, given).await?;
        let letters = rows.into_iter().map(Letter::read).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::of(letters, limit, |letter| letter.job.id.clone()))
    }

    /// A dead letter, by its job's id.
    pub async fn letter(&self, owner: Option<&str>, id: &str) -> Result<Letter, Error> {
        let sql = format!(
            "SELECT {} FROM dead_letters d JOIN jobs j ON j.id = d.job WHERE d.job = $1 AND ($2 IS NULL OR d.owner = $2)",
            columns()
        );
        self.read_one(sql, values![id, owner]).await?.map_or(Err(Error::NotFound), Letter::read)
    }

    /// Throws a dead letter away; its job stays failed.
    pub async fn discard_letter(&self, owner: Option<&str>, id: &str) -> Result<(), Error> {
        let (owner, id) = (owner.map(str::to_owned), id.to_owned());
        self.write(move |tx| {
            Box::pin(async move {
                let sql = "DELETE FROM dead_letters WHERE job = $1 AND ($2 IS NULL OR owner = $2)";
                match tx.run(sql, values![id, owner]).await? {
                    0 => Err(Error::NotFound),
                    _ => Ok(()),
                }
            })
        })
        .await
    }
}
