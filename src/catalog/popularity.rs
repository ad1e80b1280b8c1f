//! Which shapes of variants a category's traffic asks for: counts that fade, merged from all origins.

use std::collections::HashMap;
use std::time::Duration;

use super::sql::values;
use super::{Catalog, Error};

/// A shape, and how much it is asked for.
#[derive(Clone, PartialEq, Debug)]
pub struct Popular {
    /// As a URL's last segment: `w_400.webp`.
    pub shape: String,
    /// Requests, faded to now.
    pub count: f64,
    /// Its part of the category's requests, 0 to 1.
    pub share: f64,
    /// Bytes of a body, as they were of late.
    pub bytes: f64,
}

/// Counts of a shape that are to be added.
#[derive(Clone, PartialEq, Debug)]
pub struct Shape {
    /// Whose assets were asked for; empty where they have no owners.
    pub owner: String,
    /// The category.
    pub category: String,
    /// As a URL's last segment: `w_400.webp`.
    pub shape: String,
    /// Requests.
    pub count: f64,
    /// Bytes of a body, the mean over these requests.
    pub bytes: f64,
}

/// Shapes of a category that an owner keeps; what is asked for least goes.
const SHAPES_MAX: u32 = 1000;

impl Catalog {
    /// Adds counts to those that are kept, which have faded by half in each half-life since.
    pub async fn merge_popularity(&self, counts: Vec<Shape>, half_life: Duration) -> Result<(), Error> {
        let half_life_ms = (half_life.as_millis() as f64).max(1.0);
        self.write(move |tx| {
            Box::pin(async move {
                let now = tx.now_ms();
                tx.alone("popularity").await?;
                let mut touched = std::collections::BTreeSet::new();
                for Shape { owner, category, shape, count, bytes } in counts {
                    let known =
                        "SELECT n, at_ms, bytes FROM popularity WHERE owner = $1 AND category = $2 AND shape = $3";
                    let (kept, mean) = match tx.row(known, values![&owner, &category, &shape]).await? {
                        None => (0.0, bytes),
                        Some(row) => {
                            let mut at = row.cells();
                            (faded(at.real()?, now - at.int()?, half_life_ms), at.real()?)
                        }
                    };
                    let all = kept + count;
                    let bytes = if all > 0.0 { mean + (bytes - mean) * count / all } else { bytes };
                    tx.run(
                        "INSERT INTO popularity (owner, category, shape, n, at_ms, bytes) VALUES ($1, $2, $3, $4, $5, $6)
                         ON CONFLICT (owner, category, shape) DO UPDATE
                         SET n = excluded.n, at_ms = excluded.at_ms, bytes = excluded.bytes",
                        values![&owner, &category, shape, all, now, bytes],
                    )
                    .await?;
                    touched.insert((owner, category));
                }
                for (owner, category) in touched {
                    tx.run(
                        "DELETE FROM popularity WHERE owner = $1 AND category = $2 AND shape NOT IN
                             (SELECT shape FROM popularity WHERE owner = $1 AND category = $2 ORDER BY n DESC LIMIT $3)",
                        values![owner, category, SHAPES_MAX],
                    )
                    .await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// A category's shapes, of one owner's assets or of all, the most popular first, each with its share of them, faded to now.
    pub async fn popularity(
        &self,
        owner: Option<&str>,
        category: &str,
        half_life: Duration,
        limit: u32,
    ) -> Result<Vec<Popular>, Error> {
        let (now, half_life_ms) = (self.now_ms(), (half_life.as_millis() as f64).max(1.0));
        let mut shapes: HashMap<String, (f64, f64)> = HashMap::new();
        let sql = "SELECT shape, n, at_ms, bytes FROM popularity WHERE category = $1 AND ($2 IS NULL OR owner = $2)";
        for row in self.read(sql, values![category, owner]).await? {
            let mut at = row.cells();
            let (shape, count) = (at.text()?, at.real()?);
            let count = faded(count, now - at.int()?, half_life_ms);
            let bytes = at.real()?;
            let (all, mean) = shapes.entry(shape).or_default();
            *all += count;
            *mean += if *all > 0.0 { (bytes - *mean) * count / *all } else { bytes };
        }
        let popular = |(shape, (count, bytes))| Popular { shape, count, share: 0.0, bytes };
        let mut all: Vec<Popular> = shapes.into_iter().map(popular).collect();
        let total: f64 = all.iter().map(|one| one.count).sum();
        for one in &mut all {
            one.share = if total > 0.0 { one.count / total } else { 0.0 };
        }
        all.sort_by(|a, b| b.count.total_cmp(&a.count).then_with(|| a.shape.cmp(&b.shape)));
        all.truncate(limit as usize);
        Ok(all)
    }
}

fn faded(count: f64, age_ms: i64, half_life_ms: f64) -> f64 {
    count * (-(age_ms.max(0) as f64) / half_life_ms).exp2()
}
