//! Deleting an asset or a version, in steps that a crash between them does not undo: marked here, carried out by a job, and then
//! taken out of the tables; or put back, where the job could not begin.

use serde_json::json;

use super::sql::values;
use super::{Asset, AssetState, Catalog, Error, Job, NewEvent, NewJob, Subject, Tx, Version};

impl Catalog {
    /// Marks an asset, or one version, as on its way out, and queues the job that takes it away; the last version takes the asset
    /// along. Answers the job; asked again, the same.
    pub async fn begin_delete(
        &self,
        owner: Option<&str>,
        category: &str,
        asset: &str,
        version: Option<&str>,
        job: NewJob,
    ) -> Result<String, Error> {
        let (owner, version) = (owner.map(str::to_owned), version.map(str::to_owned));
        let (category, asset) = (category.to_owned(), asset.to_owned());
        self.write(move |tx| {
            Box::pin(async move {
                let found = tx.asset(&category, &asset).await?.ok_or(Error::NotFound)?;
                if owner.is_some_and(|owner| owner != found.owner) {
                    return Err(Error::NotFound);
                }
                tx.begin_delete(found, version, job).await
            })
        })
        .await
    }

    /// Takes what a delete job is about out of the tables. Done twice, it is done once.
    pub async fn finish_delete(&self, job: &Job) -> Result<(), Error> {
        let job = job.clone();
        self.write(move |tx| Box::pin(async move { tx.finish_delete(&job).await })).await
    }

    /// Puts back what a delete job marked but could not take away.
    pub async fn undo_delete(&self, job: &Job) -> Result<(), Error> {
        let job = job.clone();
        self.write(move |tx| Box::pin(async move { tx.undo_delete(&job).await })).await
    }

    /// The versions that a delete job is about: one, or all that there are.
    pub async fn doomed(&self, job: &Job) -> Result<Vec<Version>, Error> {
        let subject = job.subject.as_ref().ok_or(Error::NotFound)?;
        let all = self.versions(None, &subject.category, &subject.asset).await?;
        Ok(all.into_iter().filter(|one| subject.version.as_ref().is_none_or(|name| *name == one.version)).collect())
    }
}

impl Tx {
    async fn begin_delete(&mut self, mut asset: Asset, version: Option<String>, job: NewJob) -> Result<String, Error> {
        let all = self.versions(&asset.category, &asset.id).await?;
        let one = match &version {
            None => None,
            Some(name) => Some(all.iter().find(|one| one.version == *name).cloned().ok_or(Error::NotFound)?),
        };
        let stays = |other: &&Version| {
            other.state != AssetState::Deleting && version.as_ref().is_some_and(|name| *name != other.version)
        };
        let one = one.filter(|_| all.iter().any(|other| stays(&other)));
        let subject = Subject {
            category: asset.category.clone(),
            asset: asset.id.clone(),
            version: one.as_ref().map(|one| one.version.clone()),
        };
        let dedupe =
            format!("delete {}/{} {}", subject.category, subject.asset, subject.version.as_deref().unwrap_or(""));
        let job = NewJob { owner: asset.owner.clone(), subject: Some(subject), dedupe: Some(dedupe), ..job };
        let trace = job.trace.clone();
        let pushed = self.push(job).await?;
        if pushed.existed {
            return Ok(pushed.id);
        }
        let (kind, mut data) = match one {
            None => {
                asset.state = AssetState::Deleting;
                ("asset.deleting", json!({}))
            }
            Some(mut one) => {
                one.state = AssetState::Deleting;
                self.put_version(&one).await?;
                let next =
                    all.iter().filter(stays).max_by_key(|other| (other.state == AssetState::Ready, other.number));
                if let Some(next) = next.filter(|_| asset.version == one.version) {
                    asset.show(next);
                }
                ("version.deleting", json!({ "version": one }))
            }
        };
        self.put_asset(&mut asset).await?;
        data["asset"] = json!(asset);
        self.append(event(&asset, None, &pushed.id, kind, data, trace)).await?;
        Ok(pushed.id)
    }

    async fn finish_delete(&mut self, job: &Job) -> Result<(), Error> {
        let subject = job.subject.as_ref().ok_or(Error::NotFound)?;
        let Some(asset) = self.asset(&subject.category, &subject.asset).await? else { return Ok(()) };
        let whole = values![&subject.category, &subject.asset];
        match &subject.version {
            None if asset.state != AssetState::Deleting => Ok(()),
            None => {
                for table in ["variants", "versions", "gallery_items", "access"] {
                    self.run(format!("DELETE FROM {table} WHERE category = $1 AND asset = $2"), whole.clone()).await?;
                }
                let cover = "UPDATE galleries SET cover_category = NULL, cover_asset = NULL
                     WHERE cover_category = $1 AND cover_asset = $2";
                self.run(cover, whole.clone()).await?;
                self.run("DELETE FROM assets WHERE category = $1 AND id = $2", whole).await?;
                self.append(event(&asset, None, &job.id, "asset.deleted", json!({}), job.trace.clone())).await
            }
            Some(name) => {
                let Some(version) = self.version(&subject.category, &subject.asset, name).await? else { return Ok(()) };
                if version.state != AssetState::Deleting {
                    return Ok(());
                }
                for table in ["variants", "versions"] {
                    let sql = format!("DELETE FROM {table} WHERE category = $1 AND asset = $2 AND version = $3");
                    self.run(sql, values![&subject.category, &subject.asset, name]).await?;
                }
                let data = json!({ "version": name });
                let told = event(&asset, Some(name), &job.id, "version.deleted", data, job.trace.clone());
                self.append(told).await
            }
        }
    }

    async fn undo_delete(&mut self, job: &Job) -> Result<(), Error> {
        let subject = job.subject.as_ref().ok_or(Error::NotFound)?;
        let Some(mut asset) = self.asset(&subject.category, &subject.asset).await? else { return Ok(()) };
        let all = self.versions(&subject.category, &subject.asset).await?;
        let mut data = json!({});
        match &subject.version {
            None if asset.state != AssetState::Deleting => return Ok(()),
            None => {
                let Some(shown) = all.iter().find(|one| one.version == asset.version) else { return Ok(()) };
                asset.show(shown);
                self.put_asset(&mut asset).await?;
            }
            Some(name) => {
                let Some(mut version) = all.into_iter().find(|one| one.version == *name) else { return Ok(()) };
                if version.state != AssetState::Deleting {
                    return Ok(());
                }
                // A version that was never looked at is sound as far as anybody knows; a broken one says why.
                version.state = if version.error.is_some() { AssetState::Broken } else { AssetState::Ready };
                self.put_version(&version).await?;
                data["version"] = json!(version);
            }
        }
        data["asset"] = json!(asset);
        let told = event(&asset, subject.version.as_deref(), &job.id, "asset.restored", data, job.trace.clone());
        self.append(told).await
    }
}

fn event(
    asset: &Asset,
    version: Option<&str>,
    job: &str,
    kind: &str,
    data: serde_json::Value,
    trace: Option<String>,
) -> NewEvent {
    NewEvent {
        owner: asset.owner.clone(),
        kind: kind.to_owned(),
        category: Some(asset.category.clone()),
        asset: Some(asset.id.clone()),
        version: version.map(str::to_owned),
        job: Some(job.to_owned()),
        data,
        trace,
    }
}
