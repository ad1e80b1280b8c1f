//! An upload is accepted: asset, version, job and events in one transaction.

use serde_json::json;

use super::idempotency::Idempotency;
use super::sql::values;
use super::{Asset, AssetState, Catalog, Error, JobState, NewEvent, NewJob, Subject, Tx, VariantState, Version};

/// An original that lies in the store already, and is to become a version.
#[derive(Clone, PartialEq, Debug)]
pub struct Accept {
    /// Whose it is.
    pub owner: String,
    /// The category.
    pub category: String,
    /// The asset's id.
    pub asset: String,
    /// `h` and the first 16 hex digits of the BLAKE3.
    pub version: String,
    /// 64 hex digits.
    pub blake3: String,
    /// The file name that it came with.
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
    /// Where it lies in the store of originals.
    pub store_key: String,
    /// How it came: `upload`, `fetch`, `notification`, `presigned`.
    pub origin: String,
    /// Variants that this upload asks for, as a URL's last segment: `w_400.webp`.
    pub variants: Vec<String>,
    /// The caller's key for repeats.
    pub idempotency: Option<Idempotency>,
    /// What is to be done with it.
    pub job: NewJob,
    /// Most jobs that may wait.
    pub queue_max: u64,
}

/// An upload that was accepted, now or before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// The job that works on it, or did.
    pub job: String,
    /// The version.
    pub version: String,
    /// Whether it was accepted before, so that nothing was written.
    pub existed: bool,
}

impl Catalog {
    /// Accepts an upload. The same content again is the same version and the same job, unless that job did not come to a good
    /// end or other variants are wanted.
    ///
    /// # Errors
    /// [`Error::Full`], with nothing written; [`Error::Foreign`], [`Error::KeyReused`]; [`Error::State`] while the asset is being
    /// deleted.
    pub async fn accept(&self, accept: Accept) -> Result<Accepted, Error> {
        self.write(move |tx| Box::pin(tx.accept(accept))).await
    }
}

impl Tx {
    async fn accept(&mut self, accept: Accept) -> Result<Accepted, Error> {
        if let Some(key) = &accept.idempotency
            && let Some(answer) = self.recall(&accept.owner, key).await?
        {
            let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
            return Ok(Accepted { job: text("job"), version: text("version"), existed: true });
        }
        self.alone(&format!("asset {}/{}", accept.category, accept.asset)).await?;
        let asset = self.asset(&accept.category, &accept.asset).await?;
        if let Some(asset) = &asset {
            if asset.owner != accept.owner {
                return Err(Error::Foreign);
            }
            if asset.state == AssetState::Deleting {
                return Err(Error::State("the asset is being deleted".to_owned()));
            }
        }
        let version = self.version(&accept.category, &accept.asset, &accept.version).await?;
        let accepted = match (asset, version) {
            (Some(asset), Some(version)) => self.accept_again(&accept, asset, version).await?,
            (asset, _) => self.accept_anew(&accept, asset).await?,
        };
        if let Some(key) = &accept.idempotency {
            self.remember(&accept.owner, key, &json!({ "job": accepted.job, "version": accepted.version })).await?;
        }
        Ok(accepted)
    }

    async fn accept_anew(&mut self, accept: &Accept, asset: Option<Asset>) -> Result<Accepted, Error> {
        self.room(accept.queue_max, 1).await?;
        let now = self.now_ms();
        let number = self
            .row(
                "SELECT COALESCE(MAX(number), 0) + 1 FROM versions WHERE category = $1 AND asset = $2",
                values![&accept.category, &accept.asset],
            )
            .await?;
        let job = self.push(self::job(accept)).await?.id;
        let version = Version {
            owner: accept.owner.clone(),
            category: accept.category.clone(),
            asset: accept.asset.clone(),
            version: accept.version.clone(),
            number: number.ok_or(Error::NotFound)?.cells().unsigned()?,
            blake3: accept.blake3.clone(),
            filename: accept.filename.clone(),
            content_type: accept.content_type.clone(),
            format: accept.format.clone(),
            bytes: accept.bytes,
            width: accept.width,
            height: accept.height,
            profile: accept.profile.clone(),
            store_key: accept.store_key.clone(),
            origin: accept.origin.clone(),
            state: AssetState::Pending,
            error: None,
            facts: json!({}),
            job: job.clone(),
            uploaded_ms: now,
            inspect_ms: None,
            mezzanine_bytes: 0,
        };
        let mut asset = asset.unwrap_or_else(|| new_asset(&version));
        // What is served stays served until the new version was looked at.
        if asset.state != AssetState::Ready {
            asset.show(&version);
        }
        self.put_asset(&mut asset).await?;
        self.put_version(&version).await?;
        self.append(event(accept, &job, "asset.accepted", json!({ "asset": asset, "version": version }))).await?;
        Ok(Accepted { job, version: version.version, existed: false })
    }

    async fn accept_again(&mut self, accept: &Accept, mut asset: Asset, version: Version) -> Result<Accepted, Error> {
        if version.state == AssetState::Deleting {
            return Err(Error::State("the version is being deleted".to_owned()));
        }
        if version.state == AssetState::Ready && asset.version != version.version {
            asset.show(&version);
            self.put_asset(&mut asset).await?;
            self.append(event(accept, &version.job, "asset.current", json!({ "asset": asset }))).await?;
        }
        let known = self.job(None, &version.job).await.ok();
        let lost = known.as_ref().is_none_or(|job| matches!(job.state, JobState::Failed | JobState::Cancelled));
        let again = version.state != AssetState::Broken && (lost && version.state == AssetState::Pending);
        let more = version.state != AssetState::Broken && self.wants_more(accept, &version).await?;
        if !again && !more {
            return Ok(Accepted { job: version.job, version: version.version, existed: true });
        }
        self.room(accept.queue_max, 1).await?;
        let job = self.push(self::job(accept)).await?.id;
        Ok(Accepted { job, version: version.version, existed: true })
    }

    /// Whether variants are wanted that neither are there nor will be by the version's own job.
    async fn wants_more(&mut self, accept: &Accept, version: &Version) -> Result<bool, Error> {
        let job = self.job(None, &version.job).await.ok().filter(|job| !job.state.ended());
        for variant in &accept.variants {
            let coming = job.as_ref().is_some_and(|job| {
                job.payload["variants"].as_array().is_some_and(|all| all.iter().any(|one| one == variant))
            });
            let made = self.variant(version, variant).await?;
            if !coming && made.is_none_or(|made| made.state != VariantState::Ready) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes a version's row.
    pub async fn put_version(&mut self, version: &Version) -> Result<(), Error> {
        self.run(
            "INSERT INTO versions (owner, category, asset, version, number, blake3, filename, content_type, format, bytes,
                 width, height, profile, store_key, origin, state, error, facts, job, uploaded_ms, inspect_ms,
                 mezzanine_bytes)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)
             ON CONFLICT (category, asset, version) DO UPDATE SET width = excluded.width, height = excluded.height,
                 profile = excluded.profile, state = excluded.state, error = excluded.error, facts = excluded.facts,
                 inspect_ms = excluded.inspect_ms, mezzanine_bytes = excluded.mezzanine_bytes",
            values![
                &version.owner,
                &version.category,
                &version.asset,
                &version.version,
                version.number,
                &version.blake3,
                &version.filename,
                &version.content_type,
                &version.format,
                version.bytes,
                version.width,
                version.height,
                version.profile.as_deref(),
                &version.store_key,
                &version.origin,
                version.state,
                version.error.as_deref(),
                &version.facts,
                &version.job,
                version.uploaded_ms,
                version.inspect_ms,
                version.mezzanine_bytes,
            ],
        )
        .await
        .map(drop)
    }
}

fn new_asset(version: &Version) -> Asset {
    Asset {
        owner: version.owner.clone(),
        category: version.category.clone(),
        id: version.asset.clone(),
        version: version.version.clone(),
        filename: version.filename.clone(),
        content_type: version.content_type.clone(),
        bytes: version.bytes,
        width: version.width,
        height: version.height,
        state: version.state,
        revision: 0,
        created_ms: version.uploaded_ms,
        updated_ms: version.uploaded_ms,
    }
}

/// The upload's job, about this version whatever its maker said.
fn job(accept: &Accept) -> NewJob {
    let subject = Subject {
        category: accept.category.clone(),
        asset: accept.asset.clone(),
        version: Some(accept.version.clone()),
    };
    NewJob { owner: accept.owner.clone(), subject: Some(subject), ..accept.job.clone() }
}

fn event(accept: &Accept, job: &str, kind: &str, data: serde_json::Value) -> NewEvent {
    NewEvent {
        owner: accept.owner.clone(),
        kind: kind.to_owned(),
        category: Some(accept.category.clone()),
        asset: Some(accept.asset.clone()),
        version: Some(accept.version.clone()),
        job: Some(job.to_owned()),
        data,
        trace: accept.job.trace.clone(),
    }
}
