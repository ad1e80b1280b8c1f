//! Owners and their API keys. Of a key only its hash is kept.

use super::sql::{Row, read_json, values};
use super::{Catalog, Error};

/// An API key, as far as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApiKey {
    /// Its id, which is no secret.
    pub id: String,
    /// Whose it is.
    pub owner: String,
    /// What it is for.
    pub name: String,
    /// The hash of its secret, in hex.
    pub hash: String,
    /// What it may do.
    pub role: String,
    /// The categories that it may do it in; none is all.
    pub categories: Option<Vec<String>>,
    /// When it was made.
    pub created_ms: i64,
    /// Until when it holds.
    pub expires_ms: Option<i64>,
    /// When it was taken back.
    pub revoked_ms: Option<i64>,
    /// When it was last used, as far as noted.
    pub last_used_ms: Option<i64>,
}

const COLUMNS: &str = "id, owner, name, hash, role, categories, created_ms, expires_ms, revoked_ms, last_used_ms";

impl ApiKey {
    fn read(row: Row) -> Result<Self, Error> {
        let mut at = row.cells();
        Ok(Self {
            id: at.text()?,
            owner: at.text()?,
            name: at.text()?,
            hash: at.text()?,
            role: at.text()?,
            categories: at.text_or_none()?.map(|text| read_json(&text)).transpose()?,
            created_ms: at.int()?,
            expires_ms: at.int_or_none()?,
            revoked_ms: at.int_or_none()?,
            last_used_ms: at.int_or_none()?,
        })
    }
}

impl Catalog {
    /// Keeps a key, and its owner where there is none of that id yet.
    ///
    /// # Errors
    /// [`Error::Conflict`] when there is a key of that id.
    pub async fn insert_key(&self, key: ApiKey) -> Result<(), Error> {
        self.write(move |tx| {
            Box::pin(async move {
                let now = tx.now_ms();
                tx.run(
                    "INSERT INTO owners (id, name, created_ms) VALUES ($1, $1, $2) ON CONFLICT (id) DO NOTHING",
                    values![&key.owner, now],
                )
                .await?;
                let categories = key.categories.map(|categories| serde_json::json!(categories).to_string());
                let touched = tx
                    .run(
                        "INSERT INTO api_keys (id, owner, name, hash, role, categories, created_ms, expires_ms, revoked_ms,
                             last_used_ms)
                         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (id) DO NOTHING",
                        values![
                            key.id,
                            key.owner,
                            key.name,
                            key.hash,
                            key.role,
                            categories,
                            key.created_ms,
                            key.expires_ms,
                            key.revoked_ms,
                            key.last_used_ms,
                        ],
                    )
                    .await?;
                if touched == 0 { Err(Error::Conflict) } else { Ok(()) }
            })
        })
        .await
    }

    /// A key by its id, also one that was taken back.
    pub async fn key(&self, id: &str) -> Result<Option<ApiKey>, Error> {
        let sql = format!("SELECT {COLUMNS} FROM api_keys WHERE id = $1");
        self.read_one(sql, values![id]).await?.map(ApiKey::read).transpose()
    }

    /// An owner's keys, or all.
    pub async fn keys(&self, owner: Option<&str>) -> Result<Vec<ApiKey>, Error> {
        let sql = format!("SELECT {COLUMNS} FROM api_keys WHERE $1 IS NULL OR owner = $1 ORDER BY id");
        self.read(sql, values![owner]).await?.into_iter().map(ApiKey::read).collect()
    }

    /// Whether there is any key at all.
    pub async fn any_key(&self) -> Result<bool, Error> {
        let row = self.read_one("SELECT EXISTS (SELECT 1 FROM api_keys)", Vec::new()).await?;
        Ok(row.ok_or(Error::NotFound)?.cells().int()? != 0)
    }

    /// Takes a key back, from now on.
    pub async fn revoke_key(&self, owner: Option<&str>, id: &str) -> Result<(), Error> {
        let (owner, id) = (owner.map(str::to_owned), id.to_owned());
        self.write(move |tx| {
            Box::pin(async move {
                let now = tx.now_ms();
                let sql = "UPDATE api_keys SET revoked_ms = COALESCE(revoked_ms, $3) WHERE id = $1 AND ($2 IS NULL OR owner = $2)";
                match tx.run(sql, values![id, owner, now]).await? {
                    0 => Err(Error::NotFound),
                    _ => Ok(()),
                }
            })
        })
        .await
    }

    /// Notes when keys were last used.
    pub async fn touch_keys(&self, used: Vec<(String, i64)>) -> Result<(), Error> {
        self.write(move |tx| {
            Box::pin(async move {
                for (id, at_ms) in used {
                    let sql = "UPDATE api_keys SET last_used_ms = $2 WHERE id = $1 AND COALESCE(last_used_ms, 0) < $2";
                    tx.run(sql, values![id, at_ms]).await?;
                }
                Ok(())
            })
        })
        .await
    }
}
