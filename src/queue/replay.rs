//! The history once more: assets that were accepted since a moment get the job that makes their variants again.

use std::str::FromStr;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Error, Job, NewJob, Priority, Subject, Task};
use crate::catalog::{AssetState, Catalog, Event, EventFilter, VariantState};

/// From where on history is gone through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Since {
    /// An event's number, that event included.
    Event(i64),
    /// Milliseconds since 1970.
    Time(i64),
}

/// Events that are read, and jobs that are queued, in one go.
const PAGE: u32 = 500;

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(event) = text.parse::<i64>() {
            return Ok(Self::Event(event));
        }
        match OffsetDateTime::parse(text, &Rfc3339) {
            Ok(time) => Ok(Self::Time((time.unix_timestamp_nanos() / 1_000_000) as i64)),
            Err(_) => Err(format!("{text:?} is neither a time, such as 2030-01-31T12:00:00Z, nor an event's number")),
        }
    }
}

/// Queues a job for each version that was accepted since, is still there and is not broken: what its upload asked for, what was made
/// of it, and its category's list. What is in the store is not made again. Asked for twice, it is one as long as it waits. Answers
/// how many jobs were queued.
pub async fn replay(catalog: &Catalog, since: Since) -> Result<u64, Error> {
    let mut after = match since {
        Since::Event(event) => event.saturating_sub(1),
        Since::Time(at_ms) => catalog.last_event_before(at_ms).await?,
    };
    let filter = EventFilter { kind_prefix: Some("asset.accepted".to_owned()), ..EventFilter::default() };
    let mut queued = 0;
    loop {
        let events = catalog.events(after, &filter, PAGE).await?;
        let Some(last) = events.last() else { return Ok(queued) };
        after = last.seq;
        let mut jobs = Vec::new();
        for event in events {
            jobs.extend(again(catalog, event).await?);
        }
        let pushed = catalog.push(jobs, None).await?;
        queued += pushed.iter().filter(|pushed| !pushed.existed).count() as u64;
    }
}

async fn again(catalog: &Catalog, event: Event) -> Result<Option<NewJob>, Error> {
    let Event { category: Some(category), asset: Some(asset), version: Some(version), job, trace, .. } = event else {
        return Ok(None);
    };
    let known = catalog.versions(None, &category, &asset).await?.into_iter().find(|known| known.version == version);
    let Some(known) = known.filter(|known| matches!(known.state, AssetState::Ready | AssetState::Pending)) else {
        return Ok(None);
    };
    let job = match job {
        Some(id) => catalog.job(None, &id).await.ok(),
        None => None,
    };
    // One that is not done yet comes to it by itself.
    if job.as_ref().is_some_and(|job| !job.state.ended()) {
        return Ok(None);
    }
    let mut variants = job.as_ref().map(asked).unwrap_or_default();
    for made in catalog.variants(None, &category, &asset, Some(&version)).await? {
        if made.state == VariantState::Ready && !variants.contains(&made.variant) {
            variants.push(made.variant);
        }
    }
    let dedupe = Some(format!("replay {category}/{asset} {version}"));
    let subject = Subject { category, asset, version: Some(version) };
    let next = Task::Inspect { variants, prewarm: true }.job(&known.owner, Some(subject), Priority::Low);
    Ok(Some(NewJob { dedupe, trace, ..next }))
}

/// The variants that a job names.
fn asked(job: &Job) -> Vec<String> {
    match Task::of(job) {
        Ok(Task::Inspect { variants, .. } | Task::Prewarm { variants, .. }) => variants,
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::super::{Ask, Ended, Kind, Settings, embedded};
    use super::*;
    use crate::catalog::{self, Accept, Clock};

    fn accept(asset: &str) -> Accept {
        let variants = vec!["w_300.webp".to_owned()];
        let job = Task::Inspect { variants: variants.clone(), prewarm: true }.job("ann", None, Priority::Normal);
        Accept {
            owner: "ann".to_owned(),
            category: "shoes".to_owned(),
            asset: asset.to_owned(),
            version: "h1".to_owned(),
            blake3: "1".repeat(64),
            filename: asset.to_owned(),
            content_type: "image/jpeg".to_owned(),
            format: "jpg".to_owned(),
            bytes: 1,
            width: 1,
            height: 1,
            profile: None,
            store_key: asset.to_owned(),
            origin: "upload".to_owned(),
            variants,
            idempotency: None,
            job,
            queue_max: 1000,
        }
    }

    #[tokio::test]
    async fn what_was_accepted_since_is_queued_again_once() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::still(1_800_000_000_000);
        let url = format!("sqlite:{}", folder.path().join("catalog.sqlite").display());
        let catalog = Catalog::new(catalog::Settings { clock: clock.clone(), ..catalog::Settings::new(url) });
        let queue = embedded(catalog.clone(), Settings::default());
        let ask = Ask { worker: "w".to_owned(), most: 9, kinds: vec![(Kind::Inspect, 9)] };
        for asset in ["one", "two", "three"] {
            catalog.accept(accept(asset)).await.unwrap();
            clock.advance(Duration::from_secs(60));
        }
        assert_eq!(replay(&catalog, Since::Event(0)).await.unwrap(), 0, "what is not done yet comes to it by itself");
        for job in queue.claim(&ask).await.unwrap() {
            queue.end(&job, Ended::Completed { result: json!({}), follow: Vec::new() }).await.unwrap();
        }
        let since = Since::Time(1_800_000_000_000 + 60_000);
        assert_eq!(replay(&catalog, since).await.unwrap(), 2);
        assert_eq!(replay(&catalog, since).await.unwrap(), 0, "they wait still");
        let again = queue.claim(&ask).await.unwrap();
        let mut assets: Vec<_> = again.iter().map(|job| job.subject.clone().unwrap().asset).collect();
        assets.sort();
        assert_eq!(assets, ["three", "two"]);
        assert_eq!(asked(&again[0]), ["w_300.webp"]);
        assert_eq!(replay(&catalog, Since::Event(catalog.last_event().await.unwrap() + 1)).await.unwrap(), 0);
    }

    #[test]
    fn since_is_a_time_or_a_number() {
        assert_eq!("1234".parse(), Ok(Since::Event(1234)));
        assert_eq!("1970-01-01T00:00:01.5Z".parse(), Ok(Since::Time(1500)));
        assert_eq!("1970-01-01T01:00:00+01:00".parse(), Ok(Since::Time(0)));
        assert!("yesterday".parse::<Since>().is_err());
    }
}
