//! Galleries: named, ordered collections of an owner's assets.

use serde_json::json;

use super::sql::{Row, values, within};
use super::{Catalog, Error, NewEvent, Page, Tx, id};

/// A gallery.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gallery {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub owner: String,
    /// Its name.
    pub name: String,
    /// The asset that stands for it.
    pub cover: Option<Item>,
    /// How many assets it holds.
    pub items: u64,
    /// Counts changes.
    pub revision: i64,
    /// When it was made.
    pub created_ms: i64,
    /// When it was last changed.
    pub updated_ms: i64,
}

/// An asset in a gallery: category and id.
pub type Item = (String, String);

/// What is to be changed of a gallery.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GalleryChange {
    /// Its name.
    Rename(String),
    /// Further assets, at a place counted from 0, or at the end. Those that it holds already move.
    Add {
        /// The assets.
        items: Vec<Item>,
        /// The place.
        at: Option<u32>,
    },
    /// Assets less.
    Remove(Vec<Item>),
    /// These first, in this order; the others behind, as they were.
    Order(Vec<Item>),
    /// The asset that stands for it.
    Cover(Option<Item>),
}

/// Assets that a gallery may hold.
const ITEMS_MAX: usize = 10_000;

const COLUMNS: &str = "id, owner, name, cover_category, cover_asset, \
     (SELECT COUNT(*) FROM gallery_items i WHERE i.gallery = galleries.id), revision, created_ms, updated_ms";

impl Gallery {
    fn read(row: Row) -> Result<Self, Error> {
        let mut at = row.cells();
        Ok(Self {
            id: at.text()?,
            owner: at.text()?,
            name: at.text()?,
            cover: at.text_or_none()?.zip(at.text_or_none()?),
            items: at.unsigned()?,
            revision: at.int()?,
            created_ms: at.int()?,
            updated_ms: at.int()?,
        })
    }

    fn event(&self, kind: &str) -> NewEvent {
        NewEvent {
            owner: self.owner.clone(),
            kind: kind.to_owned(),
            category: None,
            asset: None,
            version: None,
            job: None,
            data: json!({ "gallery": self.id, "name": self.name, "items": self.items }),
            trace: None,
        }
    }
}

impl Catalog {
    /// Makes a gallery.
    pub async fn create_gallery(&self, owner: &str, name: &str) -> Result<Gallery, Error> {
        let (owner, name) = (owner.to_owned(), name.to_owned());
        self.write(move |tx| {
            Box::pin(async move {
                let now = tx.now_ms();
                let key = id("gal", now);
                tx.run(
                    "INSERT INTO galleries (id, owner, name, revision, created_ms, updated_ms) VALUES ($1, $2, $3, 1, $4, $4)",
                    values![&key, &owner, &name, now],
                )
                .await?;
                let gallery = tx.gallery(Some(&owner), &key).await?;
                tx.append(gallery.event("gallery.created")).await?;
                Ok(gallery)
            })
        })
        .await
    }

    /// A gallery.
    pub async fn gallery(&self, owner: Option<&str>, id: &str) -> Result<Gallery, Error> {
        let sql = format!("SELECT {COLUMNS} FROM galleries WHERE id = $1 AND ($2 IS NULL OR owner = $2)");
        self.read_one(sql, values![id, owner]).await?.map_or(Err(Error::NotFound), Gallery::read)
    }

    /// Galleries, the youngest first.
    pub async fn galleries(
        &self,
        owner: Option<&str>,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<Gallery>, Error> {
        let sql = format!(
            "SELECT {COLUMNS} FROM galleries WHERE ($1 IS NULL OR owner = $1) AND ($2 IS NULL OR id < $2)
             ORDER BY id DESC LIMIT $3"
        );
        let rows = self.read(sql, values![owner, cursor, limit + 1]).await?;
        let galleries = rows.into_iter().map(Gallery::read).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::of(galleries, limit, |gallery| gallery.id.clone()))
    }

    /// A gallery's assets in its order, those of some categories or all. The cursor is the place of the last one.
    pub async fn gallery_items(
        &self,
        owner: Option<&str>,
        id: &str,
        categories: Option<&[String]>,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<Item>, Error> {
        self.gallery(owner, id).await?;
        let after: i64 = cursor.and_then(|cursor| cursor.parse().ok()).unwrap_or(-1);
        let mut given = values![id, after, limit + 1];
        let within = within("category", categories, &mut given);
        let sql = format!(
            "SELECT place, category, asset FROM gallery_items WHERE gallery = $1 AND place > $2{within}
             ORDER BY place LIMIT $3"
        );
        let mut items = Vec::new();
        for row in self.read(sql, given).await? {
            let mut at = row.cells();
            items.push((at.int()?, (at.text()?, at.text()?)));
        }
        let page = Page::of(items, limit, |(place, _)| place.to_string());
        Ok(Page { items: page.items.into_iter().map(|(_, item)| item).collect(), next: page.next })
    }

    /// Changes a gallery.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it is not in the revision that was expected; [`Error::NotFound`] for an asset that is not the
    /// owner's.
    pub async fn change_gallery(
        &self,
        owner: Option<&str>,
        id: &str,
        expected: Option<i64>,
        change: GalleryChange,
    ) -> Result<Gallery, Error> {
        let (owner, id) = (owner.map(str::to_owned), id.to_owned());
        self.write(move |tx| {
            Box::pin(async move {
                let gallery = tx.gallery(owner.as_deref(), &id).await?;
                if expected.is_some_and(|expected| expected != gallery.revision) {
                    return Err(Error::Conflict);
                }
                tx.change_gallery(&gallery, change).await?;
                let now = tx.now_ms();
                let sql = "UPDATE galleries SET revision = revision + 1, updated_ms = $2 WHERE id = $1";
                tx.run(sql, values![&id, now]).await?;
                let gallery = tx.gallery(None, &id).await?;
                tx.append(gallery.event("gallery.changed")).await?;
                Ok(gallery)
            })
        })
        .await
    }

    /// Takes a gallery away; its assets stay.
    pub async fn delete_gallery(&self, owner: Option<&str>, id: &str) -> Result<(), Error> {
        let (owner, id) = (owner.map(str::to_owned), id.to_owned());
        self.write(move |tx| {
            Box::pin(async move {
                let gallery = tx.gallery(owner.as_deref(), &id).await?;
                tx.run("DELETE FROM gallery_items WHERE gallery = $1", values![&id]).await?;
                tx.run("DELETE FROM galleries WHERE id = $1", values![&id]).await?;
                tx.append(gallery.event("gallery.deleted")).await
            })
        })
        .await
    }
}

impl Tx {
    async fn gallery(&mut self, owner: Option<&str>, id: &str) -> Result<Gallery, Error> {
        let lock = self.for_update();
        let sql = format!("SELECT {COLUMNS} FROM galleries WHERE id = $1 AND ($2 IS NULL OR owner = $2){lock}");
        self.row(sql, values![id, owner]).await?.map_or(Err(Error::NotFound), Gallery::read)
    }

    async fn change_gallery(&mut self, gallery: &Gallery, change: GalleryChange) -> Result<(), Error> {
        match change {
            GalleryChange::Rename(name) => {
                self.run("UPDATE galleries SET name = $2 WHERE id = $1", values![&gallery.id, name]).await.map(drop)
            }
            GalleryChange::Cover(cover) => {
                if let Some(item) = &cover
                    && !self.items(gallery).await?.contains(item)
                {
                    return Err(Error::State("a cover is one of the gallery's assets; put it in first".to_owned()));
                }
                let (category, asset) = cover.unzip();
                let sql = "UPDATE galleries SET cover_category = $2, cover_asset = $3 WHERE id = $1";
                self.run(sql, values![&gallery.id, category, asset]).await.map(drop)
            }
            GalleryChange::Add { items, at } => {
                for item in &items {
                    self.owned(gallery, item).await?;
                }
                let mut all = self.items(gallery).await?;
                all.retain(|item| !items.contains(item));
                let at = at.map_or(all.len(), |at| (at as usize).min(all.len()));
                all.splice(at..at, items);
                self.put_items(gallery, all).await
            }
            GalleryChange::Remove(items) => {
                let mut all = self.items(gallery).await?;
                all.retain(|item| !items.contains(item));
                self.put_items(gallery, all).await
            }
            GalleryChange::Order(first) => {
                let all = self.items(gallery).await?;
                let (mut ordered, rest): (Vec<Item>, Vec<Item>) =
                    all.into_iter().partition(|item| first.contains(item));
                ordered.sort_by_key(|item| first.iter().position(|one| one == item));
                ordered.extend(rest);
                self.put_items(gallery, ordered).await
            }
        }
    }

    /// Whether an asset is the gallery's owner's.
    async fn owned(&mut self, gallery: &Gallery, (category, asset): &Item) -> Result<(), Error> {
        match self.asset(category, asset).await? {
            Some(asset) if asset.owner == gallery.owner => Ok(()),
            _ => Err(Error::NotFound),
        }
    }

    async fn items(&mut self, gallery: &Gallery) -> Result<Vec<Item>, Error> {
        let sql = "SELECT category, asset FROM gallery_items WHERE gallery = $1 ORDER BY place";
        let read = |row: Row| {
            let mut at = row.cells();
            Ok((at.text()?, at.text()?))
        };
        self.rows(sql, values![&gallery.id]).await?.into_iter().map(read).collect()
    }

    /// Writes the items anew, so that their places count from 0 without gaps. A cover that is none of them is none any more.
    async fn put_items(&mut self, gallery: &Gallery, mut items: Vec<Item>) -> Result<(), Error> {
        let mut seen = std::collections::HashSet::new();
        items.retain(|item| seen.insert(item.clone()));
        if items.len() > ITEMS_MAX {
            return Err(Error::State(format!("a gallery holds at most {ITEMS_MAX} assets")));
        }
        self.run("DELETE FROM gallery_items WHERE gallery = $1", values![&gallery.id]).await?;
        for (place, (category, asset)) in items.into_iter().enumerate() {
            let sql = "INSERT INTO gallery_items (gallery, category, asset, owner, place) VALUES ($1, $2, $3, $4, $5)";
            self.run(sql, values![&gallery.id, category, asset, &gallery.owner, place]).await?;
        }
        let sql = "UPDATE galleries SET cover_category = NULL, cover_asset = NULL WHERE id = $1 AND NOT EXISTS
             (SELECT 1 FROM gallery_items WHERE gallery = $1 AND category = cover_category AND asset = cover_asset)";
        self.run(sql, values![&gallery.id]).await.map(drop)
    }
}
