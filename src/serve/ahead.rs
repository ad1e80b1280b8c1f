//! Variants before anybody asks: made as a request would have them made, behind every request that somebody waits for, and done
//! when they are in the store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{join_all, try_join_all};

use super::wanted::{Wanted, What};
use super::{Client, Error, Origin, Phase};
use crate::base::{Deadline, Size, VariantKey};
use crate::plan::{Bucket, Output, Request, Version};
use crate::render::Urgency;

/// How many variants are made at once by [`Origin::family`]: each is charged to the memory budget, which requests share.
const FAMILY_MAX: usize = 16;

/// A variant that is ready.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Prepared {
    /// Media type.
    pub content_type: &'static str,
    /// Size.
    pub bytes: u64,
    /// The picture's size; none for JSON.
    pub size: Option<Size>,
    /// How long it took, all forms of an `auto` together.
    pub time: Duration,
    /// Whether it had to be made.
    pub made: bool,
}

impl Origin {
    /// Makes what a path names, unless it is there: an `auto` in all its forms, of which the one for the most capable client is
    /// told. The path needs no signature, and no policy is applied.
    pub async fn ahead(self: &Arc<Self>, path: &str, deadline: Deadline) -> Result<Prepared, Error> {
        let begun = Instant::now();
        let request = self.urls().read_trusted(path)?;
        let auto = matches!(&request.ask, crate::plan::Ask::Image(plan) if plan.output == Output::Negotiate);
        let buckets: &[Bucket] = if auto { &[Bucket::Avif, Bucket::WebP, Bucket::Base] } else { &[Bucket::Base] };
        let client = |bucket: &Bucket| Client { bucket: *bucket, ..Client::default() };
        let all = try_join_all(buckets.iter().map(|bucket| self.prepare(&request, client(bucket), deadline))).await?;
        let made = all.iter().any(|prepared| prepared.made);
        let first = all.into_iter().next().ok_or_else(|| Error::Internal("a path names no variant".into()))?;
        Ok(Prepared { made, time: begun.elapsed(), ..first })
    }

    /// The same for several paths, whose outcomes come in their order. Those of one original are wanted at the same time, so that
    /// they are made of one decode where they take the same of it: at most `FAMILY_MAX` are under way.
    pub async fn family(self: &Arc<Self>, paths: &[String], deadline: Deadline) -> Vec<Result<Prepared, Error>> {
        let mut outcomes = Vec::with_capacity(paths.len());
        for some in paths.chunks(FAMILY_MAX) {
            outcomes.extend(join_all(some.iter().map(|path| self.ahead(path, deadline))).await);
        }
        outcomes
    }

    async fn prepare(
        self: &Arc<Self>,
        request: &Request,
        client: Client,
        deadline: Deadline,
    ) -> Result<Prepared, Error> {
        let category = self.category(&request.category)?;
        let validator = match request.version {
            Version::Latest => Some(self.validator(&category, &request.id, &client, deadline).await?),
            Version::Number(_) | Version::Hash(_) => None,
        };
        let wanted = Wanted::new(category, request, &client, validator.as_deref());
        let key = wanted.key;
        let flight = {
            let wanted = wanted.clone();
            |work| self.clone().make(wanted, client, Urgency::Ahead, work)
        };
        let (outcome, _) = self.variants.join(key, deadline, flight).await;
        let made = outcome.ok_or_else(|| Error::Internal("the work on this variant ended abnormally".into()))??;
        // A request's own flight writes behind its answer, and may not have come to it.
        if made.phase != Phase::Store
            && !matches!(wanted.what, What::Original)
            && let Some(derivatives) = &self.derivatives
        {
            let store = |error: crate::object::Error| Error::Store(error.to_string().into());
            let key = VariantKey { asset: wanted.asset, digest: made.key.digest };
            if !derivatives.has(&key).await.map_err(store)? {
                self.keep_surely(&wanted, key, &made.entry).await?;
            }
        }
        Ok(Prepared {
            content_type: made.entry.content_type,
            bytes: made.entry.bytes.len() as u64,
            size: made.entry.size,
            time: Duration::ZERO,
            made: made.phase == Phase::Miss,
        })
    }
}
