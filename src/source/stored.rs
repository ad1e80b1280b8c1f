//! Originals in an object store: a folder, or a bucket.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;

use super::{Backend, Context, Error, Fault, Original, OriginalMeta};
use crate::base::Deadline;
use crate::object::{self, Meta, ObjectStore};

/// An object store as a source; an id is a key.
#[derive(Clone, Debug)]
pub struct Stored(pub Arc<dyn ObjectStore>);

impl Backend for Stored {
    fn open<'a>(&'a self, id: &'a str, _: &'a Context, _: Deadline) -> BoxFuture<'a, Result<Original, Fault>> {
        Box::pin(async move {
            let reading = self.0.open(id).await.map_err(fault)?;
            let body = reading.body.map(|part| part.map_err(|error| fault(error).into_error())).boxed();
            Ok(Original { meta: known(reading.meta), body })
        })
    }

    fn stat<'a>(&'a self, id: &'a str, _: &'a Context, _: Deadline) -> BoxFuture<'a, Result<OriginalMeta, Fault>> {
        Box::pin(async move { Ok(known(self.0.head(id).await.map_err(fault)?)) })
    }
}

fn known(meta: Meta) -> OriginalMeta {
    OriginalMeta { size: Some(meta.size), validator: meta.validator, modified: meta.modified }
}

fn fault(error: object::Error) -> Fault {
    match error {
        // A key that the store cannot keep is one that it does not have.
        object::Error::NotFound | object::Error::Key(_) => Fault::Answer(Error::NotFound),
        object::Error::TooLarge { bytes_max } => Fault::Answer(Error::TooLarge { bytes_max }),
        object::Error::Denied(why) => Fault::Answer(Error::Unavailable(format!("it refused: {why}"))),
        object::Error::Timeout(_) => Fault::Source(Error::Timeout),
        object::Error::Unavailable(why) | object::Error::Location(why) => Fault::Source(Error::Unavailable(why)),
    }
}
