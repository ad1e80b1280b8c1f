//! Originals that go to the bucket without passing through us: a signed request first, and what was put then taken.

use std::time::Duration;

use super::{Error, Ingest, Order, Taken, naming};
use crate::catalog::{Upload, UploadState};
use crate::object::{self, Presigned, PutOptions};

/// What is said of an original that will be put.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offer {
    /// As for an upload through us; `origin` is set here.
    pub order: Order,
    /// Its media type, which then is part of the signature.
    pub content_type: Option<String>,
    /// Its bytes, where the client says so.
    pub bytes: Option<u64>,
}

/// A place that waits for an original.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reserved {
    /// The upload's id.
    pub id: String,
    /// How to put it.
    pub request: Presigned,
    /// Until when.
    pub valid: Duration,
}

impl Ingest {
    /// Reserves a place and signs a request for it.
    ///
    /// # Errors
    /// [`Error::NoOffers`] where the store signs nothing; else what is wrong with what was said.
    pub async fn offer(&self, offer: Offer) -> Result<Reserved, Error> {
        self.expect(&offer.order).await?;
        let bytes_max = self.bytes_max(&offer.order.category)?;
        if offer.bytes.is_some_and(|bytes| bytes > bytes_max) {
            return Err(Error::TooLarge { bytes_max });
        }
        let id = format!("u{:032x}", fastrand::u128(..));
        let store_key = format!("uploads/{id}");
        let options = PutOptions { content_type: offer.content_type.clone(), ..PutOptions::default() };
        let valid = self.parts.offer_valid;
        let request = self.store()?.presign_put(&store_key, valid, &options).await?.ok_or(Error::NoOffers)?;
        let now_ms = self.parts.catalog.now_ms();
        let order = offer.order;
        self.parts
            .catalog
            .create_upload(Upload {
                id: id.clone(),
                owner: order.owner,
                category: order.category,
                filename: naming::file_name(order.file_name.as_deref().unwrap_or(&order.id), None),
                asset: order.id,
                content_type: offer.content_type,
                bytes: offer.bytes,
                store_key,
                multipart: None,
                variants: order.variants,
                priority: order.priority,
                state: UploadState::Open,
                job: None,
                created_ms: now_ms,
                expires_ms: now_ms + valid.as_millis() as i64,
            })
            .await?;
        Ok(Reserved { id, request, valid })
    }

    /// Takes what was put at a reserved place: it is read once, hashed and looked at, as every upload is. A second call answers
    /// as the first did.
    ///
    /// # Errors
    /// [`Error::NotPut`] while nothing is there; [`Error::Expired`] once clean-up took it.
    pub async fn complete(&self, owner: Option<&str>, id: &str, trace: Option<String>) -> Result<Taken, Error> {
        let upload = self.parts.catalog.upload(owner, id).await?;
        if upload.state == UploadState::Aborted {
            return Err(Error::Expired);
        }
        let order = Order {
            owner: upload.owner.clone(),
            category: upload.category,
            id: upload.asset,
            file_name: Some(upload.filename),
            variants: upload.variants,
            priority: upload.priority,
            batch: false,
            // A repetition of the completion is answered with what it came to.
            idempotency: Some(format!("upload:{id}")),
            origin: "presigned",
            trace,
        };
        let taken = self.take_stored(order, &upload.store_key).await?;
        self.store()?.delete(&upload.store_key).await?;
        match self.parts.catalog.finish_upload(owner, id, UploadState::Completed, Some(&taken.job)).await {
            // Another call was quicker, with the same outcome.
            Err(crate::catalog::Error::State(_)) => {}
            finished => finished?,
        }
        Ok(taken)
    }

    /// What became of an upload that was completed: its asset and job.
    ///
    /// # Errors
    /// There is no such upload.
    pub async fn completed(&self, owner: Option<&str>, id: &str) -> Result<Option<Upload>, Error> {
        let upload = self.parts.catalog.upload(owner, id).await?;
        Ok(Some(upload).filter(|upload| upload.state == UploadState::Completed))
    }

    /// Reads an object of the store as if it were uploaded.
    pub(super) async fn take_stored(&self, order: Order, key: &str) -> Result<Taken, Error> {
        self.expect(&order).await?;
        let reading = match self.store()?.open(key).await {
            Err(object::Error::NotFound) => return Err(Error::NotPut),
            reading => reading?,
        };
        let bytes_max = self.bytes_max(&order.category)?;
        if reading.meta.size > bytes_max {
            return Err(Error::TooLarge { bytes_max });
        }
        self.take(order, reading.body).await
    }
}
