//! Originals that we are told to fetch: by the category's guarded client, so that no URL reaches what a source may not.

use std::time::Duration;

use http::{HeaderMap, StatusCode, Uri};

use super::{Error, Ingest, Order, Taken};
use crate::base::Deadline;
use crate::net;

/// Longer than any client's own bound; that one counts.
const FETCH_MAX: Duration = Duration::from_secs(3600);

impl Ingest {
    /// Fetches an original and takes it.
    ///
    /// # Errors
    /// Why it could not be fetched, or was not taken.
    pub async fn fetch(&self, order: Order, url: &str) -> Result<Taken, Error> {
        self.expect(&order).await?;
        let category = self.category(&order.category)?;
        let refused = |what: &str| Error::Fetch(net::Error::Forbidden(what.to_owned()));
        let client = category.client.as_ref().ok_or_else(|| refused("the category fetches from no URL"))?;
        let url: Uri = url.parse().map_err(|_| Error::Fetch(net::Error::Url("it is no URL".to_owned())))?;
        // One more than is taken, so that it is our own bound that refuses.
        let bytes_max = category.limits.source_bytes_max.saturating_add(1);
        let answer = client.get(url, HeaderMap::new(), bytes_max, Deadline::after(FETCH_MAX)).await?;
        if answer.status != StatusCode::OK {
            return Err(Error::FetchStatus(answer.status.as_u16()));
        }
        self.take(order, answer.body).await
    }
}
