//! What workers found and made, written so that writing it twice changes nothing the second time.

use serde_json::{Value as Json, json};

use super::sql::values;
use super::transitions::merge;
use super::{Asset, AssetState, Catalog, Error, Job, NewEvent, Tx, Variant, VariantState, Version};

/// What was found out about an original.
#[derive(Clone, PartialEq, Debug)]
pub struct Inspected {
    /// Width, upright.
    pub width: u32,
    /// Height, upright.
    pub height: u32,
    /// The colour profile's name.
    pub profile: Option<String>,
    /// EXIF, colours, hashes: an object.
    pub facts: Json,
    /// How long it took, in milliseconds.
    pub ms: u64,
}

impl Catalog {
    /// Notes what was found out about a version, or why it is broken. A sound version becomes the current one, unless a younger one
    /// is; a broken one leaves its place to the youngest that is sound.
    pub async fn record_inspected(&self, job: &Job, found: Result<Inspected, String>) -> Result<Version, Error> {
        let job = job.clone();
        self.write(move |tx| Box::pin(async move { tx.record_inspected(&job, found).await })).await
    }

    /// Notes how many bytes a version's reduced forms have. Of one that is gone nothing is noted.
    pub async fn record_mezzanines(&self, job: &Job, bytes: u64) -> Result<(), Error> {
        let job = job.clone();
        self.write(move |tx| {
            Box::pin(async move {
                let Some(subject) = &job.subject else { return Ok(()) };
                let Some(name) = &subject.version else { return Ok(()) };
                let Some(mut version) = tx.version(&subject.category, &subject.asset, name).await? else {
                    return Ok(());
                };
                if version.state == AssetState::Deleting || version.mezzanine_bytes == bytes {
                    return Ok(());
                }
                version.mezzanine_bytes = bytes;
                tx.put_version(&version).await?;
                tx.append(event(&job, &version, "version.reduced", json!({ "version": version }))).await
            })
        })
        .await
    }

    /// Notes variants that were made or could not be, and with them the job's progress. Counts only while the lease holds.
    pub async fn record_variants(&self, job: &str, lease: i64, variants: Vec<Variant>) -> Result<(), Error> {
        let id = job.to_owned();
        self.write(move |tx| {
            Box::pin(async move {
                let mut job = tx.leased(&id, lease).await?;
                for variant in variants {
                    tx.record_variant(&job, &variant).await?;
                    note(&mut job, &variant);
                }
                tx.run(
                    "UPDATE jobs SET done = $2, failed = $3, result = $4, revision = revision + 1 WHERE id = $1",
                    values![&job.id, job.done, job.failed, &job.result],
                )
                .await?;
                let data = json!({ "done": job.done, "failed": job.failed, "total": job.total });
                tx.append(job.event("job.progress", data)).await
            })
        })
        .await
    }
}

impl Catalog {
    /// Notes what was made of one asset of a partition, and that the partition has come as far as `at`: a later try goes on behind it.
    /// Counts only while the lease holds. Variants of an asset that is gone meanwhile are passed over.
    pub async fn record_step(&self, job: &Job, variants: Vec<Variant>, well: bool, at: &str) -> Result<(), Error> {
        let (id, lease, at) = (job.id.clone(), job.lease, at.to_owned());
        self.write(move |tx| {
            Box::pin(async move {
                let mut job = tx.leased(&id, lease).await?;
                for variant in &variants {
                    match tx.record_variant(&job, variant).await {
                        Ok(()) | Err(Error::NotFound) => {}
                        Err(error) => return Err(error),
                    }
                }
                let counted = if well { &mut job.done } else { &mut job.failed };
                *counted += 1;
                job.total = job.total.max(job.done + job.failed);
                job.result = json!({ "at": at });
                tx.run(
                    "UPDATE jobs SET done = $2, failed = $3, total = $4, result = $5, revision = revision + 1 WHERE id = $1",
                    values![&job.id, job.done, job.failed, job.total, &job.result],
                )
                .await?;
                let data = json!({ "done": job.done, "failed": job.failed, "total": job.total });
                tx.append(job.event("job.progress", data)).await
            })
        })
        .await
    }
}

impl Catalog {
    /// Notes that so many tiles more are there, up to `at`: a later try goes on behind them. Counts only while the lease holds.
    pub async fn record_tiles(&self, job: &Job, made: u32, at: u64) -> Result<(), Error> {
        let (id, lease) = (job.id.clone(), job.lease);
        self.write(move |tx| {
            Box::pin(async move {
                let sql = "UPDATE jobs SET done = done + $3, result = $4, revision = revision + 1
                     WHERE id = $1 AND lease = $2 AND state = 'processing' RETURNING total";
                let noted = tx.row(sql, values![&id, lease, made, &json!({ "at": at })]).await?;
                noted.map(drop).ok_or(Error::Conflict)
            })
        })
        .await
    }

    /// Lays what came of a part over what came of its batch. Counts only while the part's lease holds.
    pub async fn tell_batch(&self, part: &Job, result: Json) -> Result<(), Error> {
        let (id, lease) = (part.id.clone(), part.lease);
        self.write(move |tx| {
            Box::pin(async move {
                let part = tx.leased(&id, lease).await?;
                let mut batch = tx.job(None, part.parent.as_deref().ok_or(Error::NotFound)?).await?;
                merge(&mut batch.result, result);
                let sql = "UPDATE jobs SET result = $2, revision = revision + 1 WHERE id = $1";
                tx.run(sql, values![&batch.id, &batch.result]).await.map(drop)
            })
        })
        .await
    }
}

/// Puts a variant among the job's results, in the place of an earlier try of it.
fn note(job: &mut Job, variant: &Variant) {
    let entry = json!({
        "variant": variant.variant,
        "url": variant.url,
        "state": variant.state,
        "content_type": variant.content_type,
        "bytes": variant.bytes,
        "width": variant.width,
        "height": variant.height,
        "ms": variant.ms,
        "error": variant.error,
        "attempts": variant.attempts,
    });
    if !job.result.is_object() {
        job.result = json!({});
    }
    if !job.result["variants"].is_array() {
        job.result["variants"] = json!([]);
    }
    let Some(all) = job.result["variants"].as_array_mut() else { return };
    match all.iter_mut().find(|one| one["variant"] == entry["variant"]) {
        Some(one) => *one = entry,
        None => all.push(entry),
    }
    let count = |state: VariantState| all.iter().filter(|one| one["state"] == state.word()).count() as u32;
    (job.done, job.failed) = (count(VariantState::Ready), count(VariantState::Failed));
}

impl Tx {
    async fn record_inspected(&mut self, job: &Job, found: Result<Inspected, String>) -> Result<Version, Error> {
        let subject = job.subject.as_ref().ok_or(Error::NotFound)?;
        let (category, id) = (&subject.category, &subject.asset);
        let name = subject.version.as_deref().ok_or(Error::NotFound)?;
        let mut asset = self.asset(category, id).await?.ok_or(Error::NotFound)?;
        let mut version = self.version(category, id, name).await?.ok_or(Error::NotFound)?;
        if version.state == AssetState::Deleting || asset.state == AssetState::Deleting {
            return Err(Error::NotFound);
        }
        let mut before = version.clone();
        let kind = match found {
            Ok(found) => {
                (version.width, version.height, version.profile) = (found.width, found.height, found.profile);
                (version.facts, version.state, version.error) = (found.facts, AssetState::Ready, None);
                version.inspect_ms = Some(found.ms);
                "asset.inspected"
            }
            Err(error) => {
                (version.state, version.error) = (AssetState::Broken, Some(error));
                "asset.broken"
            }
        };
        // A repeat that took another time tells nothing new.
        before.inspect_ms = version.inspect_ms;
        if version == before {
            return Ok(version);
        }
        self.put_version(&version).await?;
        let shown = self.next_shown(&asset, &version).await?;
        if let Some(shown) = shown {
            asset.show(&shown);
            self.put_asset(&mut asset).await?;
        }
        self.append(event(job, &version, kind, json!({ "asset": asset, "version": version }))).await?;
        Ok(version)
    }

    /// The version that the asset should show now, where that is to change.
    async fn next_shown(&mut self, asset: &Asset, version: &Version) -> Result<Option<Version>, Error> {
        let all = self.versions(&asset.category, &asset.id).await?;
        let sound = all.iter().find(|one| one.state == AssetState::Ready);
        Ok(match sound {
            Some(sound) if sound.version != asset.version || sound.version == version.version => Some(sound.clone()),
            Some(_) => None,
            None if asset.version == version.version => Some(version.clone()),
            None => None,
        })
    }

    async fn record_variant(&mut self, job: &Job, variant: &Variant) -> Result<(), Error> {
        let version = self.version(&variant.category, &variant.asset, &variant.version).await?;
        let version = version.filter(|version| version.state != AssetState::Deleting).ok_or(Error::NotFound)?;
        if let Some(known) = self.variant(&version, &variant.variant).await? {
            // A repeat, after a worker was lost between making and ending: nothing new is told.
            let same = known.state == variant.state && known.bytes == variant.bytes && known.error == variant.error;
            if same && known.job == variant.job {
                return Ok(());
            }
        }
        self.run(
            "INSERT INTO variants (owner, category, asset, version, variant, url, content_type, bytes, width, height, ms,
                 state, error, attempts, job, made_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
             ON CONFLICT (category, asset, version, variant) DO UPDATE SET url = excluded.url,
                 content_type = excluded.content_type, bytes = excluded.bytes, width = excluded.width,
                 height = excluded.height, ms = excluded.ms, state = excluded.state, error = excluded.error,
                 attempts = excluded.attempts, job = excluded.job, made_ms = excluded.made_ms",
            values![
                &variant.owner,
                &variant.category,
                &variant.asset,
                &variant.version,
                &variant.variant,
                &variant.url,
                &variant.content_type,
                variant.bytes,
                variant.width,
                variant.height,
                variant.ms,
                variant.state,
                variant.error.as_deref(),
                variant.attempts,
                &variant.job,
                variant.made_ms,
            ],
        )
        .await?;
        let kind = match variant.state {
            VariantState::Ready => "variant.made",
            VariantState::Failed => "variant.failed",
        };
        self.append(event(job, &version, kind, json!({ "variant": variant }))).await
    }
}

pub(super) fn event(job: &Job, version: &Version, kind: &str, data: Json) -> NewEvent {
    NewEvent {
        owner: version.owner.clone(),
        kind: kind.to_owned(),
        category: Some(version.category.clone()),
        asset: Some(version.asset.clone()),
        version: Some(version.version.clone()),
        job: Some(job.id.clone()),
        data,
        trace: job.trace.clone(),
    }
}
