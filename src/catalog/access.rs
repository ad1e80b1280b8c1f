//! How often assets and variants were asked for, a day at a time; sampled at the origins, read by tiering.

use std::collections::HashMap;

use super::sql::{Value, values};
use super::{Catalog, Error};

/// So many requests.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Access {
    /// Days since 1970.
    pub day: i64,
    /// The category.
    pub category: String,
    /// The asset's id.
    pub asset: String,
    /// As a URL's last segment; empty for the original.
    pub variant: String,
    /// So many.
    pub count: u64,
}

impl Catalog {
    /// Adds counts; of assets that are not catalogued nothing is kept.
    pub async fn touch_access(&self, counts: Vec<Access>) -> Result<(), Error> {
        self.write(move |tx| {
            Box::pin(async move {
                for one in counts {
                    tx.run(
                        "INSERT INTO access (day, category, asset, variant, owner, n)
                         SELECT $1, $2, $3, $4, owner, $5 FROM assets WHERE category = $2 AND id = $3
                         ON CONFLICT (category, asset, variant, day) DO UPDATE SET n = access.n + excluded.n",
                        values![one.day, one.category, one.asset, one.variant, one.count],
                    )
                    .await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Whose assets of a category are, by their ids; those that are not catalogued are left out.
    pub async fn owners(&self, category: &str, assets: &[&str]) -> Result<HashMap<String, String>, Error> {
        let places: Vec<String> = (0..assets.len()).map(|at| format!("${}", at + 2)).collect();
        let sql = format!("SELECT id, owner FROM assets WHERE category = $1 AND id IN ({})", places.join(", "));
        let given = std::iter::once(category).chain(assets.iter().copied()).map(Value::from).collect();
        let mut owners = HashMap::new();
        for row in self.read(sql, given).await? {
            let mut at = row.cells();
            owners.insert(at.text()?, at.text()?);
        }
        Ok(owners)
    }

    /// An asset's counts, the youngest day first.
    pub async fn access(&self, owner: Option<&str>, category: &str, asset: &str) -> Result<Vec<Access>, Error> {
        let sql = "SELECT day, category, asset, variant, n FROM access
             WHERE category = $1 AND asset = $2 AND ($3 IS NULL OR owner = $3) ORDER BY day DESC, variant";
        let mut counts = Vec::new();
        for row in self.read(sql, values![category, asset, owner]).await? {
            let mut at = row.cells();
            counts.push(Access {
                day: at.int()?,
                category: at.text()?,
                asset: at.text()?,
                variant: at.text()?,
                count: at.unsigned()?,
            });
        }
        Ok(counts)
    }
}
