//! Uploads that go past the API: a pre-signed or multipart one is noted when it is promised, and ends once.

use super::sql::{Row, read_json, values, words};
use super::{Catalog, Error, Priority};

words! {
    /// Where an upload stands.
    UploadState {
        /// Promised.
        Open = "open",
        /// Its original was accepted.
        Completed = "completed",
        /// It will not come.
        Aborted = "aborted",
    }
}

/// An upload that goes past the API.
#[derive(Clone, PartialEq, Debug)]
pub struct Upload {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub owner: String,
    /// The category.
    pub category: String,
    /// The asset's id.
    pub asset: String,
    /// The file name.
    pub filename: String,
    /// Media type, where it was said.
    pub content_type: Option<String>,
    /// Size, where it was said.
    pub bytes: Option<u64>,
    /// Where it is put.
    pub store_key: String,
    /// The store's id of a multipart upload.
    pub multipart: Option<String>,
    /// Variants that it asks for.
    pub variants: Vec<String>,
    /// How urgent it is, where it was said.
    pub priority: Option<Priority>,
    /// Where it stands.
    pub state: UploadState,
    /// The job that came of it.
    pub job: Option<String>,
    /// When it was promised.
    pub created_ms: i64,
    /// Until when it may come.
    pub expires_ms: i64,
}

const COLUMNS: &str = "id, owner, category, asset, filename, content_type, bytes, store_key, multipart, variants, \
     priority, state, job, created_ms, expires_ms";

impl Upload {
    fn read(row: Row) -> Result<Self, Error> {
        let mut at = row.cells();
        Ok(Self {
            id: at.text()?,
            owner: at.text()?,
            category: at.text()?,
            asset: at.text()?,
            filename: at.text()?,
            content_type: at.text_or_none()?,
            bytes: at.int_or_none()?.map(|bytes| bytes as u64),
            store_key: at.text()?,
            multipart: at.text_or_none()?,
            variants: read_json(&at.text()?)?,
            priority: at.int_or_none()?.map(Priority::of_rank).transpose()?,
            state: at.word()?,
            job: at.text_or_none()?,
            created_ms: at.int()?,
            expires_ms: at.int()?,
        })
    }
}

impl Catalog {
    /// Notes a promised upload.
    pub async fn create_upload(&self, upload: Upload) -> Result<(), Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let variants = serde_json::json!(upload.variants);
                tx.run(
                    "INSERT INTO uploads (id, owner, category, asset, filename, content_type, bytes, store_key, multipart,
                         variants, priority, state, job, created_ms, expires_ms)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
                    values![
                        upload.id,
                        upload.owner,
                        upload.category,
                        upload.asset,
                        upload.filename,
                        upload.content_type,
                        upload.bytes,
                        upload.store_key,
                        upload.multipart,
                        &variants,
                        upload.priority.map(Priority::rank),
                        upload.state,
                        upload.job,
                        upload.created_ms,
                        upload.expires_ms,
                    ],
                )
                .await
                .map(drop)
            })
        })
        .await
    }

    /// An upload.
    pub async fn upload(&self, owner: Option<&str>, id: &str) -> Result<Upload, Error> {
        let sql = format!("SELECT {COLUMNS} FROM uploads WHERE id = $1 AND ($2 IS NULL OR owner = $2)");
        self.read_one(sql, values![id, owner]).await?.map_or(Err(Error::NotFound), Upload::read)
    }

    /// Ends an upload.
    ///
    /// # Errors
    /// [`Error::State`] when it has ended already.
    pub async fn finish_upload(
        &self,
        owner: Option<&str>,
        id: &str,
        state: UploadState,
        job: Option<&str>,
    ) -> Result<(), Error> {
        let upload = self.upload(owner, id).await?;
        let (id, job) = (upload.id, job.map(str::to_owned));
        self.write(move |tx| {
            Box::pin(async move {
                let sql = "UPDATE uploads SET state = $2, job = COALESCE($3, job) WHERE id = $1 AND state = 'open'";
                match tx.run(sql, values![id, state, job]).await? {
                    0 => Err(Error::State("the upload has ended already".to_owned())),
                    _ => Ok(()),
                }
            })
        })
        .await
    }

    /// Uploads that were promised and did not come in time.
    pub async fn expired_uploads(&self, limit: u32) -> Result<Vec<Upload>, Error> {
        let sql = format!(
            "SELECT {COLUMNS} FROM uploads WHERE state = 'open' AND expires_ms < $1 ORDER BY expires_ms LIMIT $2"
        );
        self.read(sql, values![self.now_ms(), limit]).await?.into_iter().map(Upload::read).collect()
    }
}
