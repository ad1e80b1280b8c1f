//! What a bucket tells of new objects (S3's event messages, as MinIO, SeaweedFS and others send them to a URL): originals
//! that somebody put below the inbox, `inbox/CATEGORY/ID`, are taken and leave it.

use percent_encoding::percent_decode_str;
use serde::Deserialize;

use super::{Error, Ingest, Order, Taken};

/// Below which originals are found.
pub const INBOX: &str = "inbox/";
/// Most records of one message.
pub const RECORDS_MAX: usize = 1000;

/// A message.
#[derive(Deserialize, Debug)]
pub struct Message {
    /// What happened, in order.
    #[serde(rename = "Records", default)]
    pub records: Vec<Record>,
}

/// One thing that happened.
#[derive(Deserialize, Debug)]
pub struct Record {
    /// Such as `ObjectCreated:Put`; some senders write `s3:ObjectCreated:Put`.
    #[serde(rename = "eventName", default)]
    pub event: String,
    /// Where.
    pub s3: Place,
}

/// Where something happened.
#[derive(Deserialize, Debug)]
pub struct Place {
    /// The bucket.
    pub bucket: Bucket,
    /// The object.
    pub object: Object,
}

/// A bucket.
#[derive(Deserialize, Debug)]
pub struct Bucket {
    /// Its name.
    pub name: String,
}

/// An object.
#[derive(Deserialize, Debug)]
pub struct Object {
    /// Its key, encoded as in a form.
    pub key: String,
}

/// What a record came to.
#[derive(Debug)]
pub enum Outcome {
    /// The original was taken.
    Taken(Box<Taken>),
    /// It names nothing of ours: another bucket, another prefix, a deletion.
    Passed,
    /// It was not taken.
    Failed(Error),
}

impl Record {
    /// Category and id of an original that was put into our inbox.
    fn original(&self, bucket: &str, prefix: &str) -> Option<(String, String)> {
        if !self.event.trim_start_matches("s3:").starts_with("ObjectCreated:") || self.s3.bucket.name != bucket {
            return None;
        }
        let key = self.s3.object.key.replace('+', " ");
        let key = percent_decode_str(&key).decode_utf8().ok()?.into_owned();
        let (category, id) = key.strip_prefix(prefix)?.strip_prefix(INBOX)?.split_once('/')?;
        (!category.is_empty() && !id.is_empty()).then(|| (category.to_owned(), id.to_owned()))
    }
}

impl Ingest {
    /// Takes the original that a record tells of, and takes it out of the inbox. `bucket` and `prefix` are those of the store;
    /// `allowed` says for which categories it may.
    pub async fn notified(
        &self,
        owner: &str,
        record: &Record,
        bucket: &str,
        prefix: &str,
        allowed: &(dyn Fn(&str) -> bool + Sync),
    ) -> Outcome {
        let Some((category, id)) = record.original(bucket, prefix).filter(|(category, _)| allowed(category)) else {
            return Outcome::Passed;
        };
        let key = format!("{INBOX}{category}/{id}");
        let order =
            Order { owner: owner.to_owned(), category, id, origin: "notification", batch: true, ..Order::default() };
        match self.take_stored(order, &key).await {
            // A message that comes twice: the first one took it.
            Err(Error::NotPut) => Outcome::Passed,
            Err(error) => Outcome::Failed(error),
            Ok(taken) => match self.empty(&key).await {
                Ok(()) => Outcome::Taken(Box::new(taken)),
                Err(error) => Outcome::Failed(error),
            },
        }
    }

    async fn empty(&self, key: &str) -> Result<(), Error> {
        Ok(self.store()?.delete(key).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_names_an_original_of_the_inbox_or_nothing() {
        let check = |event: &str, bucket: &str, key: &str| {
            let place = Place { bucket: Bucket { name: bucket.to_owned() }, object: Object { key: key.to_owned() } };
            Record { event: event.to_owned(), s3: place }.original("ours", "pre/")
        };
        let shoes = |id: &str| Some(("shop".to_owned(), id.to_owned()));
        assert_eq!(check("ObjectCreated:Put", "ours", "pre/inbox/shop/red.jpg"), shoes("red.jpg"));
        assert_eq!(check("s3:ObjectCreated:Put", "ours", "pre/inbox/shop/a%2Fb+c%2B.jpg"), shoes("a/b c+.jpg"));
        assert_eq!(check("ObjectCreated:CompleteMultipartUpload", "ours", "pre/inbox/shop/a/b"), shoes("a/b"));
        assert_eq!(check("ObjectRemoved:Delete", "ours", "pre/inbox/shop/a"), None);
        assert_eq!(check("ObjectCreated:Put", "other", "pre/inbox/shop/a"), None);
        assert_eq!(check("ObjectCreated:Put", "ours", "inbox/shop/a"), None);
        assert_eq!(check("ObjectCreated:Put", "ours", "pre/originals/shop/a/h1/a.jpg"), None);
        assert_eq!(check("ObjectCreated:Put", "ours", "pre/inbox/shop"), None);
    }
}
