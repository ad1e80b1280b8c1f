//! Originals on their way in: charged before they are read, one fetch an asset at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use super::wanted::Wanted;
use super::{Client, Error, Origin};
use crate::base::{Digest, Work};
use crate::decode::{self, Header};
use crate::plan::Version;
use crate::render::{Charge, Refused};
use crate::source::OriginalMeta;

/// A fetched original. Its bytes carry their charge: it is given back when the last clone of them goes.
#[derive(Debug)]
pub struct Fetched {
    pub bytes: Bytes,
    pub meta: OriginalMeta,
    pub time: Duration,
}

/// Bytes that give their charge back when they go.
struct Charged {
    bytes: Bytes,
    _charge: Charge,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Up to so many bytes a header probe or a digest is quicker than handing it to another thread.
const INLINE_BYTES_MAX: usize = 128 << 10;

impl Origin {
    /// Fetches an original; overlapping fetches of one asset are one.
    pub(super) async fn fetch(
        self: &Arc<Self>,
        wanted: &Wanted,
        client: &Client,
        work: &Work,
    ) -> Result<Arc<Fetched>, Error> {
        let (origin, wanted, client, original) = (self.clone(), wanted.clone(), client.clone(), wanted.original);
        let load = |work: Work| async move { origin.fetch_alone(&wanted, &client, None, &work).await.map(Arc::new) };
        let (outcome, _) = self.fetches.join(original, work.deadline(), load).await;
        outcome.ok_or_else(|| Error::Internal("fetching the original ended abnormally".into()))?
    }

    /// Fetches an original into a charge that was made before, or makes one.
    pub(super) async fn fetch_alone(
        &self,
        wanted: &Wanted,
        client: &Client,
        prepaid: Option<Charge>,
        work: &Work,
    ) -> Result<Fetched, Error> {
        let id = self.source_id(wanted).await?;
        let begun = Instant::now();
        let deadline = work.deadline();
        let bytes_max = wanted.category.limits.source_bytes_max;
        let (prepaid, budget) = (Mutex::new(prepaid), self.renderer.budget());
        let admit = |meta: OriginalMeta| {
            let (most, prepaid, budget) = (meta.size.unwrap_or(bytes_max), prepaid.lock().take(), budget.clone());
            async move {
                match prepaid {
                    Some(charge) if charge.bytes() >= most => Ok(charge),
                    // The original grew since its size was charged, or its source stopped to tell the size.
                    Some(_) => Err(Error::from(Refused::Overloaded { retry_after: Duration::from_secs(1) })),
                    None => Ok(budget.charge(most, deadline).await?),
                }
            }
        };
        let source = &wanted.category.source;
        let (meta, bytes, mut charge) = source.fetch(&id, &client.context, deadline, admit).await?;
        charge.shrink(bytes.len() as u64);
        let bytes = Bytes::from_owner(Charged { bytes, _charge: charge });
        Ok(Fetched { bytes, meta, time: begun.elapsed() })
    }

    /// Reads the header; of a large file on the pool, since some formats are walked through to count frames.
    pub(super) async fn probe(&self, wanted: &Wanted, bytes: &Bytes, work: &Work) -> Result<Arc<Header>, Error> {
        let limits = wanted.category.limits;
        if bytes.len() <= INLINE_BYTES_MAX {
            return Ok(Arc::new(decode::probe(bytes, &limits)?));
        }
        let bytes = bytes.clone();
        let probe = move |_: &Work| Ok(decode::probe(&bytes, &limits)?);
        Ok(Arc::new(self.renderer.run(work, probe).await?))
    }

    /// Where the category checks versions, one must be the original's own digest.
    pub(super) async fn check_version(&self, wanted: &Wanted, bytes: &Bytes, work: &Work) -> Result<(), Error> {
        if !wanted.category.checked {
            return Ok(());
        }
        match wanted.version {
            Version::Latest => Ok(()),
            Version::Number(_) => Err(Error::NoVersion),
            Version::Hash(expected) => {
                let bytes = bytes.clone();
                let digest = self.renderer.run(work, move |_: &Work| Ok(Digest::of(&bytes))).await?;
                if digest.0[..8] == expected { Ok(()) } else { Err(Error::NoVersion) }
            }
        }
    }
}
