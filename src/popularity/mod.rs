//! Which shapes of variants each category's traffic asks for, and how often its assets are: counted where requests are answered,
//! told to the catalog now and then, and read again when it is to be decided what a new asset gets before anybody asks.
//!
//! Enters: canonical paths that were answered. Leaves: counts that fade, merged in the catalog with those of other origins; and the
//! head of a list that covers so much of the traffic.
//!
//! Always true: counting takes no more memory however many URLs are asked for, and never waits for the catalog.

mod choose;
mod seen;
mod sketch;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

pub use choose::{Coverage, choose};
pub use seen::Seen;

use crate::catalog::{Access, Catalog, Error, Shape};
use seen::Counters;
use sketch::Sketch;

/// Rows of one write to the catalog, so that uploads wait for none that is long.
const ROWS: usize = 500;
/// Assets' counts that wait for the catalog at most; what is asked for least goes.
const ACCESS_MAX: usize = 20_000;

/// How it is counted.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// How often the catalog is told.
    pub flush: Duration,
    /// After which time a request counts half.
    pub half_life: Duration,
    /// Shapes of a category that are told apart.
    pub shapes_max: usize,
    /// Categories whose assets' counts are kept, too: those of uploads.
    pub catalogued: BTreeSet<String>,
}

/// What is asked for. One a process.
#[derive(Debug)]
pub struct Popularity {
    settings: Settings,
    counters: Counters,
    /// Told when a part of the counters is full.
    full: Notify,
    pending: Mutex<Pending>,
    /// Accesses whose shapes the catalog was told, but which it did not take themselves.
    refused: Mutex<Vec<Access>>,
}

/// What the catalog was not told yet.
#[derive(Debug, Default)]
struct Pending {
    /// Of categories whose assets have no owners.
    shapes: HashMap<Arc<str>, Sketch>,
    /// Of uploads: whose they are, the catalog knows.
    access: HashMap<Asked, Times>,
    since: Option<Instant>,
}

/// Category, asset, and variant; of the original none.
type Asked = (Arc<str>, Box<str>, Box<str>);

/// How often, and how many bytes it was the last time.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    count: u64,
    bytes: u64,
}

impl Popularity {
    /// Nothing was asked for yet.
    pub fn new(settings: Settings) -> Arc<Self> {
        let (counters, full, pending, refused) = Default::default();
        Arc::new(Self { settings, counters, full, pending, refused })
    }

    /// Counts an answer by its canonical path. What comes back counts further ones of the same path, at the cost of an addition.
    pub fn note(&self, canonical: &str, category: &Arc<str>, bytes: usize) -> Option<Arc<Seen>> {
        let (seen, full) = self.counters.note(canonical, category, bytes)?;
        if full {
            self.full.notify_one();
        }
        Some(seen)
    }

    /// Tells the catalog now and then, for ever; spawned once.
    pub async fn keep_up(self: Arc<Self>, catalog: Catalog) {
        let mut next = tokio::time::Instant::now() + self.settings.flush;
        loop {
            tokio::select! {
                () = self.full.notified() => self.fold(),
                () = tokio::time::sleep_until(next) => {
                    next = tokio::time::Instant::now() + self.settings.flush;
                    if let Err(error) = self.flush(&catalog).await {
                        tracing::debug!(%error, "what is popular could not be written down; it is kept until it can");
                    }
                }
            }
        }
    }

    /// Tells the catalog what was counted since; what it does not take is kept.
    ///
    /// # Errors
    /// The catalog's.
    pub async fn flush(&self, catalog: &Catalog) -> Result<(), Error> {
        self.fold();
        let Pending { shapes, access, .. } = std::mem::take(&mut *self.pending.lock());
        let owned = match self.owned(catalog, &access).await {
            Ok(owned) => owned,
            Err(error) => {
                self.give_back(shapes, access);
                return Err(error);
            }
        };
        let ownerless = shapes.iter().flat_map(|(category, sketch)| sketch.shapes("", category));
        let owned = owned.iter().flat_map(|((category, owner), sketch)| sketch.shapes(owner, category));
        let told: Vec<Shape> = ownerless.chain(owned).collect();
        for (at, rows) in told.chunks(ROWS).enumerate() {
            if let Err(error) = catalog.merge_popularity(rows.to_vec(), self.settings.half_life).await {
                // What came before this part was taken, and is not told twice.
                if at == 0 {
                    self.give_back(shapes, access);
                }
                return Err(error);
            }
        }
        let day = catalog.now_ms().div_euclid(86_400_000);
        let row = |((category, asset, variant), times): (Asked, Times)| Access {
            day,
            category: category.to_string(),
            asset: asset.into(),
            variant: variant.into(),
            count: times.count,
        };
        let mut rows = std::mem::take(&mut *self.refused.lock());
        rows.extend(access.into_iter().map(row));
        for (at, part) in rows.chunks(ROWS).enumerate() {
            if let Err(error) = catalog.touch_access(part.to_vec()).await {
                rows.drain(..at * ROWS);
                rows.truncate(ACCESS_MAX);
                *self.refused.lock() = rows;
                return Err(error);
            }
        }
        Ok(())
    }

    /// The shapes of uploads, by category and owner. What is no longer catalogued is nobody's.
    async fn owned(
        &self,
        catalog: &Catalog,
        access: &HashMap<Asked, Times>,
    ) -> Result<HashMap<(Arc<str>, Arc<str>), Sketch>, Error> {
        let mut assets: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (category, asset, _) in access.keys() {
            assets.entry(category).or_default().insert(asset);
        }
        let mut owners: HashMap<(&str, &str), Arc<str>> = HashMap::new();
        for (category, assets) in assets {
            let assets: Vec<&str> = assets.into_iter().collect();
            for some in assets.chunks(ROWS) {
                let found = catalog.owners(category, some).await?;
                let known =
                    some.iter().filter_map(|asset| Some(((category, *asset), found.get(*asset)?.as_str().into())));
                owners.extend(known);
            }
        }
        let mut shapes: HashMap<(Arc<str>, Arc<str>), Sketch> = HashMap::new();
        for ((category, asset, variant), times) in access.iter().filter(|((_, _, variant), _)| !variant.is_empty()) {
            let Some(owner) = owners.get(&(&**category, &**asset)) else { continue };
            let sketch = shapes.entry((category.clone(), owner.clone()));
            let sketch = sketch.or_insert_with(|| Sketch::new(self.settings.shapes_max));
            sketch.add(variant, times.count as f64, times.bytes);
        }
        Ok(shapes)
    }

    fn give_back(&self, shapes: HashMap<Arc<str>, Sketch>, access: HashMap<Asked, Times>) {
        let mut pending = self.pending.lock();
        for (category, sketch) in shapes {
            let kept = pending.shapes.entry(category).or_insert_with(|| Sketch::new(self.settings.shapes_max));
            kept.merge(sketch);
        }
        for (asked, times) in access {
            pending.ask(asked, times);
        }
    }

    /// Takes over what the counters hold.
    fn fold(&self) {
        let mut pending = self.pending.lock();
        let pending = &mut *pending;
        let now = Instant::now();
        // Told every minute nothing fades here; while the catalog is away it does.
        let passed = pending.since.map_or(Duration::ZERO, |since| now - since);
        pending.since = Some(now);
        let share = (-passed.as_secs_f64() / self.settings.half_life.as_secs_f64().max(1.0)).exp2();
        pending.shapes.values_mut().for_each(|sketch| sketch.fade(share));
        self.counters.drain(|seen, count| {
            let is_original = seen.variant.starts_with("orig.");
            if self.settings.catalogued.contains(&*seen.category) {
                let variant = if is_original { "" } else { &*seen.variant };
                let asked = (seen.category.clone(), seen.asset.clone(), variant.into());
                pending.ask(asked, Times { count: count.into(), bytes: seen.bytes() });
            } else if !is_original {
                let sketch = pending.shapes.entry(seen.category.clone());
                let sketch = sketch.or_insert_with(|| Sketch::new(self.settings.shapes_max));
                sketch.add(&seen.variant, f64::from(count), seen.bytes());
            }
        });
    }
}

impl Pending {
    /// Counts requests for something of an upload, where there is room.
    fn ask(&mut self, asked: Asked, times: Times) {
        let room = self.access.len() < ACCESS_MAX;
        if let Some(known) = self.access.get_mut(&asked) {
            known.count += times.count;
            known.bytes = times.bytes;
        } else if room {
            self.access.insert(asked, times);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog;

    fn settings() -> Settings {
        Settings {
            flush: Duration::from_secs(60),
            half_life: Duration::from_secs(86_400),
            shapes_max: 50,
            catalogued: BTreeSet::from(["shop".to_owned()]),
        }
    }

    #[tokio::test]
    async fn what_is_asked_for_is_told_to_the_catalog_by_shape_and_merged() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("catalog.sqlite").display());
        let catalog = Catalog::new(catalog::Settings::new(url));
        let (one, other) = (Popularity::new(settings()), Popularity::new(settings()));
        let pics: Arc<str> = "pics".into();
        for at in 0..30 {
            let seen = one.note(&format!("/pics/a/b{at}/v1/w_400.webp"), &pics, 1000).unwrap();
            seen.add();
            other.note(&format!("/pics/{at}/v0/thumb.auto"), &pics, 50).unwrap();
        }
        one.note("/pics/a/v1/orig.jpg", &pics, 9).unwrap();
        assert!(one.note("/", &pics, 9).is_none());
        one.flush(&catalog).await.unwrap();
        other.flush(&catalog).await.unwrap();
        let found = catalog.popularity(None, "pics", settings().half_life, 10).await.unwrap();
        let found: Vec<_> =
            found.iter().map(|one| (one.shape.as_str(), one.count.round(), one.bytes.round())).collect();
        assert_eq!(found, [("w_400.webp", 60.0, 1000.0), ("thumb.auto", 30.0, 50.0)]);
        // Told once.
        one.flush(&catalog).await.unwrap();
        let again = catalog.popularity(None, "pics", settings().half_life, 10).await.unwrap();
        assert_eq!(again[0].count.round(), 60.0);
        assert!((again[0].share - 2.0 / 3.0).abs() < 0.01, "{again:?}");
    }

    #[tokio::test]
    async fn a_catalog_that_is_away_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let nowhere = Catalog::new(catalog::Settings::new("sqlite:/proc/none/catalog.sqlite"));
        let url = format!("sqlite:{}", folder.path().join("catalog.sqlite").display());
        let popularity = Popularity::new(settings());
        for _ in 0..5 {
            popularity.note("/pics/a/v1/w_1.jpg", &"pics".into(), 10);
            assert!(popularity.flush(&nowhere).await.is_err());
        }
        let catalog = Catalog::new(catalog::Settings::new(url));
        popularity.flush(&catalog).await.unwrap();
        let found = catalog.popularity(None, "pics", settings().half_life, 10).await.unwrap();
        assert_eq!(found[0].count.round(), 5.0);
    }
}
