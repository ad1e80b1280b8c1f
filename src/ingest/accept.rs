//! From a body that came whole to a record: look, store, then one transaction that names it.

use std::time::{Instant, SystemTime};

use metrics::{counter, histogram};

use super::{Error, Facts, Ingest, Spooled, naming};
use crate::base::Digest;
use crate::catalog::{self, Accept, Idempotency};
use crate::object::PutOptions;
use crate::queue::{self, Priority, Subject, Task};
use crate::telemetry::names;

/// What is said of an original that comes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Order {
    /// Whose it is.
    pub owner: String,
    /// The category.
    pub category: String,
    /// The asset's id in it.
    pub id: String,
    /// What the file was called; else the id's last segment names it.
    pub file_name: Option<String>,
    /// Variants to make beside the category's list, as a URL's last segment: `w_400.webp`.
    pub variants: Vec<String>,
    /// How urgent it is; else by what it is.
    pub priority: Option<Priority>,
    /// One of several of one request.
    pub batch: bool,
    /// The client's `Idempotency-Key`.
    pub idempotency: Option<String>,
    /// Which way it came: `upload`, `fetch`, `notification`, `presigned`.
    pub origin: &'static str,
    /// The W3C trace context that its work belongs to.
    pub trace: Option<String>,
}

/// An original that store and catalog hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Taken {
    /// The category.
    pub category: String,
    /// The asset's id in it.
    pub id: String,
    /// Its version.
    pub version: String,
    /// The job that makes its variants.
    pub job: String,
    /// Whether the version was there before.
    pub existed: bool,
    /// What its header says.
    pub facts: Facts,
    /// Its bytes.
    pub bytes: u64,
    /// Their BLAKE3.
    pub digest: Digest,
    /// The variants that were named, beside the category's list.
    pub variants: Vec<String>,
}

impl Order {
    /// What a repetition of this request must be alike in: the same key with another is a mistake of the client's.
    fn fingerprint(&self, digest: &Digest) -> String {
        let variants = self.variants.join("/");
        let parts: [&[u8]; 4] = [self.category.as_bytes(), self.id.as_bytes(), &digest.0, variants.as_bytes()];
        Digest::of_parts(&parts).hex(32)
    }
}

impl Ingest {
    /// Checks what is said of an original, and that there is room for its job: before its body is read.
    ///
    /// # Errors
    /// A category that takes none, an id that is not possible, a full queue.
    pub async fn expect(&self, order: &Order) -> Result<(), Error> {
        self.category(&order.category)?;
        naming::check_id(&order.id)?;
        match (self.room().await, &order.idempotency) {
            // A repetition makes no job.
            (Err(full), Some(key)) => match self.parts.catalog.idempotent(&order.owner, key, None).await? {
                Some(_) => Ok(()),
                None => Err(full),
            },
            (room, _) => room,
        }
    }

    /// Reads a body, and takes what came of it.
    ///
    /// # Errors
    /// Why it was not taken.
    pub async fn take<E: std::fmt::Display>(
        &self,
        order: Order,
        body: impl futures_util::Stream<Item = Result<bytes::Bytes, E>> + Unpin,
    ) -> Result<Taken, Error> {
        let origin = order.origin;
        let taken = self.take_measured(order, body).await;
        match &taken {
            Ok(taken) => {
                counter!(names::INGEST_ACCEPTED, "origin" => origin).increment(1);
                counter!(names::INGEST_BYTES).increment(taken.bytes);
            }
            Err(error) => counter!(names::INGEST_REJECTED, "reason" => error.reason()).increment(1),
        }
        taken
    }

    async fn take_measured<E: std::fmt::Display>(
        &self,
        order: Order,
        body: impl futures_util::Stream<Item = Result<bytes::Bytes, E>> + Unpin,
    ) -> Result<Taken, Error> {
        self.expect(&order).await?;
        let bytes_max = self.bytes_max(&order.category)?;
        let spooled = staged("body", self.parts.spool.receive(body, bytes_max, self.parts.patience)).await?;
        self.keep(order, spooled).await
    }

    /// Refuses what the record would refuse anyway, before the store gets it: an id of another owner's, a key that named another
    /// request. The record has the last word.
    async fn check(&self, order: &Order, spooled: &Spooled) -> Result<(), Error> {
        if let Some(key) = &order.idempotency {
            let fingerprint = order.fingerprint(&spooled.digest);
            self.parts.catalog.idempotent(&order.owner, key, Some(&fingerprint)).await?;
        }
        match self.parts.catalog.asset(None, &order.category, &order.id).await {
            Ok(asset) if asset.owner != order.owner => Err(catalog::Error::Foreign.into()),
            Ok(_) | Err(catalog::Error::NotFound) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes a body that came whole: its header is looked at, the store gets it, and then the catalog.
    pub(super) async fn keep(&self, order: Order, spooled: Spooled) -> Result<Taken, Error> {
        self.check(&order, &spooled).await?;
        let facts = Facts::of(&spooled, &self.category(&order.category)?.limits).await?;
        let version = naming::version(&spooled.digest);
        let file_name = naming::file_name(order.file_name.as_deref().unwrap_or(&order.id), Some(facts.format));
        let store_key = naming::store_key(&order.category, &order.id, &version, &file_name);
        let options = described(&order, &facts, &spooled, &file_name);
        staged("store", self.store()?.put_file(&store_key, spooled.path(), &options)).await?;
        let priority = self.priority(
            order.priority,
            &queue::Facts {
                category: order.category.clone(),
                owner: order.owner.clone(),
                pixels: facts.size.pixels(),
                batch: order.batch,
            },
        );
        let subject =
            Subject { category: order.category.clone(), asset: order.id.clone(), version: Some(version.clone()) };
        let task = Task::Inspect { variants: order.variants.clone(), prewarm: true };
        let mut job = task.job(&order.owner, Some(subject), priority);
        job.trace.clone_from(&order.trace);
        let fingerprint = order.fingerprint(&spooled.digest);
        let accepted = self.parts.catalog.accept(Accept {
            owner: order.owner,
            category: order.category.clone(),
            asset: order.id.clone(),
            version: version.clone(),
            blake3: spooled.digest.hex(64),
            filename: file_name,
            content_type: facts.format.mime().to_owned(),
            format: facts.format.extension().to_owned(),
            bytes: spooled.bytes,
            width: facts.size.width,
            height: facts.size.height,
            profile: facts.profile.clone(),
            store_key,
            origin: order.origin.to_owned(),
            variants: order.variants.clone(),
            idempotency: order.idempotency.map(|key| Idempotency { key, fingerprint }),
            job,
            queue_max: self.parts.queue_max,
        });
        let accepted = staged("record", accepted).await?;
        Ok(Taken {
            category: order.category,
            id: order.id,
            version: accepted.version,
            job: accepted.job,
            existed: accepted.existed,
            facts,
            bytes: spooled.bytes,
            digest: spooled.digest,
            variants: order.variants,
        })
    }
}

/// Measures a stage.
async fn staged<T>(stage: &'static str, work: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let done = work.await;
    histogram!(names::INGEST_SECONDS, "stage" => stage).record(begun.elapsed().as_secs_f64());
    done
}

/// What the store is told of an original: enough to record it anew.
fn described(order: &Order, facts: &Facts, spooled: &Spooled, file_name: &str) -> PutOptions {
    let now = SystemTime::now();
    let ascii = |text: &str| text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect();
    let mut user: std::collections::BTreeMap<String, String> = [
        ("blake3", spooled.digest.hex(64)),
        ("width", facts.size.width.to_string()),
        ("height", facts.size.height.to_string()),
        ("format", facts.format.extension().to_owned()),
        ("filename", file_name.to_owned()),
        ("owner", ascii(&order.owner)),
        ("uploaded-at", httpdate::fmt_http_date(now)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    if let Some(profile) = &facts.profile {
        user.insert("profile".to_owned(), ascii(profile));
    }
    PutOptions { content_type: Some(facts.format.mime().to_owned()), user, if_absent: true, ..PutOptions::default() }
}
