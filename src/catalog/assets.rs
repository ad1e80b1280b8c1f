//! Assets, their versions and the variants that were made of them, as rows.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::sql::{Row, Value, values, within, words};
use super::{Catalog, Error, Page, Tx};

words! {
    /// How an asset or a version is.
    AssetState {
        /// Accepted, not looked at yet.
        Pending = "pending",
        /// Looked at, and sound.
        Ready = "ready",
        /// Looked at, and cannot be decoded.
        Broken = "broken",
        /// On its way out; answers as if it were gone.
        Deleting = "deleting",
    }
}

words! {
    /// How a variant came out.
    VariantState {
        /// It is in the store.
        Ready = "ready",
        /// It could not be made.
        Failed = "failed",
    }
}

/// An asset: what a category and an id name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Asset {
    /// Whose it is.
    pub owner: String,
    /// The category.
    pub category: String,
    /// The id in it.
    pub id: String,
    /// The current version.
    pub version: String,
    /// The current version's file name.
    pub filename: String,
    /// The current version's media type.
    pub content_type: String,
    /// The current version's size.
    pub bytes: u64,
    /// The current version's width, upright.
    pub width: u32,
    /// The current version's height, upright.
    pub height: u32,
    /// How it is.
    pub state: AssetState,
    /// Counts changes.
    pub revision: i64,
    /// When it was first accepted.
    pub created_ms: i64,
    /// When it was last changed.
    pub updated_ms: i64,
}

/// A version: one content of an asset.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Version {
    /// Whose it is.
    pub owner: String,
    /// The category.
    pub category: String,
    /// The asset's id.
    pub asset: String,
    /// `h` and the first 16 hex digits of the content's BLAKE3.
    pub version: String,
    /// Counts the asset's versions from 1.
    pub number: u32,
    /// The content's BLAKE3, 64 hex digits.
    pub blake3: String,
    /// The file name that it was uploaded with.
    pub filename: String,
    /// Media type.
    pub content_type: String,
    /// Format, as a file's extension.
    pub format: String,
    /// Size.
    pub bytes: u64,
    /// Width, upright.
    pub width: u32,
    /// Height, upright.
    pub height: u32,
    /// The colour profile's name.
    pub profile: Option<String>,
    /// Where the original lies in the store of originals.
    pub store_key: String,
    /// How it came: `upload`, `fetch`, `notification`, `presigned`.
    pub origin: String,
    /// How it is.
    pub state: AssetState,
    /// Why it is broken.
    pub error: Option<String>,
    /// What was found out about it: EXIF, colours, hashes. An empty object before.
    pub facts: Json,
    /// The job that its upload made.
    pub job: String,
    /// When it was accepted.
    pub uploaded_ms: i64,
    /// How long it took to look at it; none before.
    #[serde(default)]
    pub inspect_ms: Option<u64>,
    /// Bytes of its reduced forms, as far as jobs made them or found them.
    #[serde(default)]
    pub mezzanine_bytes: u64,
}

/// A variant that was made, or could not be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Variant {
    /// Whose it is.
    pub owner: String,
    /// The category.
    pub category: String,
    /// The asset's id.
    pub asset: String,
    /// The version that it is of.
    pub version: String,
    /// As the URL's last segment: `w_400.webp`.
    pub variant: String,
    /// The URL's path.
    pub url: String,
    /// Media type; empty where it could not be made.
    pub content_type: String,
    /// Size.
    pub bytes: u64,
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
    /// How long it took.
    pub ms: u64,
    /// How it came out.
    pub state: VariantState,
    /// Why it could not be made.
    pub error: Option<String>,
    /// Tries.
    pub attempts: u32,
    /// The job that made it.
    pub job: String,
    /// When.
    pub made_ms: i64,
}

const ASSET: &str = "owner, category, id, version, filename, content_type, bytes, width, height, state, revision, \
     created_ms, updated_ms";

const VERSION: &str = "owner, category, asset, version, number, blake3, filename, content_type, format, bytes, width, \
     height, profile, store_key, origin, state, error, facts, job, uploaded_ms, inspect_ms, mezzanine_bytes";

const VARIANT: &str = "owner, category, asset, version, variant, url, content_type, bytes, width, height, ms, state, \
     error, attempts, job, made_ms";

impl Asset {
    fn read(row: Row) -> Result<Self, Error> {
        let mut at = row.cells();
        Ok(Self {
            owner: at.text()?,
            category: at.text()?,
            id: at.text()?,
            version: at.text()?,
            filename: at.text()?,
            content_type: at.text()?,
            bytes: at.unsigned()?,
            width: at.unsigned()?,
            height: at.unsigned()?,
            state: at.word()?,
            revision: at.int()?,
            created_ms: at.int()?,
            updated_ms: at.int()?,
        })
    }

    /// Takes over what the current version says of itself.
    pub(super) fn show(&mut self, version: &Version) {
        self.version.clone_from(&version.version);
        self.filename.clone_from(&version.filename);
        self.content_type.clone_from(&version.content_type);
        (self.bytes, self.width, self.height) = (version.bytes, version.width, version.height);
        self.state = version.state;
    }
}

impl Version {
    pub(super) fn read(row: Row) -> Result<Self, Error> {
        let mut at = row.cells();
        Ok(Self {
            owner: at.text()?,
            category: at.text()?,
            asset: at.text()?,
            version: at.text()?,
            number: at.unsigned()?,
            blake3: at.text()?,
            filename: at.text()?,
            content_type: at.text()?,
            format: at.text()?,
            bytes: at.unsigned()?,
            width: at.unsigned()?,
            height: at.unsigned()?,
            profile: at.text_or_none()?,
            store_key: at.text()?,
            origin: at.text()?,
            state: at.word()?,
            error: at.text_or_none()?,
            facts: at.json()?,
            job: at.text()?,
            uploaded_ms: at.int()?,
            inspect_ms: at.int_or_none()?.map(|ms| ms as u64),
            mezzanine_bytes: at.unsigned()?,
        })
    }
}

impl Variant {
    pub(super) fn read(row: Row) -> Result<Self, Error> {
        let mut at = row.cells();
        Ok(Self {
            owner: at.text()?,
            category: at.text()?,
            asset: at.text()?,
            version: at.text()?,
            variant: at.text()?,
            url: at.text()?,
            content_type: at.text()?,
            bytes: at.unsigned()?,
            width: at.unsigned()?,
            height: at.unsigned()?,
            ms: at.unsigned()?,
            state: at.word()?,
            error: at.text_or_none()?,
            attempts: at.unsigned()?,
            job: at.text()?,
            made_ms: at.int()?,
        })
    }
}

/// Which assets are listed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AssetFilter {
    /// Of this category.
    pub category: Option<String>,
    /// Whose id begins so.
    pub prefix: Option<String>,
    /// In this state.
    pub state: Option<AssetState>,
    /// Of one of these categories.
    pub within: Option<Vec<String>>,
}

impl Catalog {
    /// A version that may be served: the one named, or the current one. None where there is none, or it is on its way out.
    pub async fn find_version(
        &self,
        category: &str,
        asset: &str,
        version: Option<&str>,
    ) -> Result<Option<Version>, Error> {
        let columns = VERSION.split(", ").map(|column| format!("v.{column}")).collect::<Vec<_>>().join(", ");
        let sql = format!(
            "SELECT {columns} FROM assets a JOIN versions v ON v.category = a.category AND v.asset = a.id
                 AND v.version = COALESCE($3, a.version)
             WHERE a.category = $1 AND a.id = $2 AND a.state <> 'deleting' AND v.state <> 'deleting'"
        );
        self.read_one(sql, values![category, asset, version]).await?.map(Version::read).transpose()
    }

    /// An asset.
    pub async fn asset(&self, owner: Option<&str>, category: &str, id: &str) -> Result<Asset, Error> {
        let sql = format!("SELECT {ASSET} FROM assets WHERE category = $1 AND id = $2 AND ($3 IS NULL OR owner = $3)");
        self.read_one(sql, values![category, id, owner]).await?.map_or(Err(Error::NotFound), Asset::read)
    }

    /// Assets by category and id.
    pub async fn assets(
        &self,
        owner: Option<&str>,
        filter: &AssetFilter,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<Asset>, Error> {
        let (mut sql, mut given) = (format!("SELECT {ASSET} FROM assets WHERE 1 = 1"), Vec::new());
        let mut and = |condition: &str, value: Value| {
            given.push(value);
            sql += &format!(" AND {}", condition.replace('?', &format!("${}", given.len())));
        };
        if let Some(owner) = owner {
            and("owner = ?", owner.into());
        }
        if let Some(category) = &filter.category {
            and("category = ?", category.into());
        }
        if let Some(prefix) = &filter.prefix {
            and("SUBSTR(id, 1, LENGTH(?)) = ?", prefix.into());
        }
        if let Some(state) = filter.state {
            and("state = ?", state.into());
        }
        if let Some((category, id)) = cursor.and_then(|cursor| cursor.split_once('/')) {
            // A category holds no slash; both bounds, so that the index by (category, id) is entered at the cursor.
            and("category >= ?", category.into());
            let at = given.len();
            given.push(id.into());
            sql += &format!(" AND (category > ${at} OR id > ${})", given.len());
        }
        sql += &within("category", filter.within.as_deref(), &mut given);
        given.push(Value::from(limit + 1));
        sql += &format!(" ORDER BY category, id LIMIT ${}", given.len());
        let assets = self.read(sql, given).await?.into_iter().map(Asset::read).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::of(assets, limit, |asset| format!("{}/{}", asset.category, asset.id)))
    }

    /// An asset's versions, the youngest first.
    pub async fn versions(&self, owner: Option<&str>, category: &str, asset: &str) -> Result<Vec<Version>, Error> {
        let sql = format!(
            "SELECT {VERSION} FROM versions WHERE category = $1 AND asset = $2 AND ($3 IS NULL OR owner = $3)
             ORDER BY number DESC"
        );
        self.read(sql, values![category, asset, owner]).await?.into_iter().map(Version::read).collect()
    }

    /// What was made of an asset, of one version or of all.
    pub async fn variants(
        &self,
        owner: Option<&str>,
        category: &str,
        asset: &str,
        version: Option<&str>,
    ) -> Result<Vec<Variant>, Error> {
        let sql = format!(
            "SELECT {VARIANT} FROM variants WHERE category = $1 AND asset = $2 AND ($3 IS NULL OR owner = $3)
                 AND ($4 IS NULL OR version = $4) ORDER BY version, variant"
        );
        self.read(sql, values![category, asset, owner, version]).await?.into_iter().map(Variant::read).collect()
    }
}

impl Tx {
    /// The asset, as it is in this transaction, and stays until its end.
    pub async fn asset(&mut self, category: &str, id: &str) -> Result<Option<Asset>, Error> {
        let sql = format!("SELECT {ASSET} FROM assets WHERE category = $1 AND id = $2{}", self.for_update());
        self.row(sql, values![category, id]).await?.map(Asset::read).transpose()
    }

    /// The version, as it is in this transaction, and stays until its end.
    pub async fn version(&mut self, category: &str, asset: &str, version: &str) -> Result<Option<Version>, Error> {
        let lock = self.for_update();
        let sql = format!("SELECT {VERSION} FROM versions WHERE category = $1 AND asset = $2 AND version = $3{lock}");
        self.row(sql, values![category, asset, version]).await?.map(Version::read).transpose()
    }

    /// An asset's versions, the youngest first.
    pub async fn versions(&mut self, category: &str, asset: &str) -> Result<Vec<Version>, Error> {
        let sql = format!("SELECT {VERSION} FROM versions WHERE category = $1 AND asset = $2 ORDER BY number DESC");
        self.rows(sql, values![category, asset]).await?.into_iter().map(Version::read).collect()
    }

    /// A variant, as it is in this transaction.
    pub async fn variant(&mut self, version: &Version, variant: &str) -> Result<Option<Variant>, Error> {
        let sql = format!(
            "SELECT {VARIANT} FROM variants WHERE category = $1 AND asset = $2 AND version = $3 AND variant = $4"
        );
        let given = values![&version.category, &version.asset, &version.version, variant];
        self.row(sql, given).await?.map(Variant::read).transpose()
    }

    /// Writes an asset's row; its revision is the next.
    pub async fn put_asset(&mut self, asset: &mut Asset) -> Result<(), Error> {
        let before = asset.revision;
        asset.revision += 1;
        asset.updated_ms = self.now_ms();
        let touched = self
            .run(
                "INSERT INTO assets (owner, category, id, version, filename, content_type, bytes, width, height, state,
                     revision, created_ms, updated_ms)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
                 ON CONFLICT (category, id) DO UPDATE SET version = excluded.version, filename = excluded.filename,
                     content_type = excluded.content_type, bytes = excluded.bytes, width = excluded.width,
                     height = excluded.height, state = excluded.state, revision = excluded.revision,
                     updated_ms = excluded.updated_ms
                 WHERE assets.revision = $14",
                values![
                    &asset.owner,
                    &asset.category,
                    &asset.id,
                    &asset.version,
                    &asset.filename,
                    &asset.content_type,
                    asset.bytes,
                    asset.width,
                    asset.height,
                    asset.state,
                    asset.revision,
                    asset.created_ms,
                    asset.updated_ms,
                    before,
                ],
            )
            .await?;
        if touched == 0 {
            self.lost_a_race();
            return Err(Error::Conflict);
        }
        Ok(())
    }
}
