//! Mezzanines before any variant asks for them.

use std::sync::Arc;

use super::forms::{Forms, asset_tags};
use super::wanted::Wanted;
use super::{Client, Error, Origin};
use crate::base::{Deadline, Stages, Work};
use crate::cache::Entry;
use crate::render::{Urgency, form};

/// The mezzanines of an original.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Mezzanines {
    /// How many.
    pub count: usize,
    /// Their bytes.
    pub bytes: u64,
}

impl Mezzanines {
    fn add(&mut self, entry: &Entry) {
        self.count += 1;
        self.bytes += entry.bytes.len() as u64;
    }
}

impl Origin {
    /// Makes an original's mezzanines, unless they are there. `path` is that of its `info.json`.
    ///
    /// # Errors
    /// As for a variant of it.
    pub async fn mezzanines(self: &Arc<Self>, path: &str, deadline: Deadline) -> Result<Mezzanines, Error> {
        let wanted = self.wanted_reduced(path)?;
        let (client, work) = (Client::default(), Work::until(deadline));
        if wanted.category.look.mezzanines.widths().is_empty() {
            return Ok(Mezzanines::default());
        }
        let (there, missing) = self.look_for_reduced(&wanted, &client, &work).await?;
        if missing == Some(0) {
            return Ok(there);
        }
        let forms = self.forms(&wanted, &client, None, Urgency::Ahead, &work).await?;
        let mut made = Mezzanines::default();
        forms.entries().for_each(|entry| made.add(entry));
        Ok(made)
    }

    /// The mezzanines of an original that are there now. `path` is that of its `info.json`.
    ///
    /// # Errors
    /// What the source says of the original.
    pub async fn mezzanines_there(self: &Arc<Self>, path: &str, deadline: Deadline) -> Result<Mezzanines, Error> {
        let wanted = self.wanted_reduced(path)?;
        if wanted.category.look.mezzanines.widths().is_empty() {
            return Ok(Mezzanines::default());
        }
        let (there, _) = self.look_for_reduced(&wanted, &Client::default(), &Work::until(deadline)).await?;
        Ok(there)
    }

    fn wanted_reduced(&self, path: &str) -> Result<Wanted, Error> {
        let request = self.urls().read_trusted(path)?;
        Ok(Wanted::new(self.category(&request.category)?, &request, &Client::default(), None))
    }

    /// An original's mezzanines, where all are there now.
    pub(super) async fn forms_there(
        self: &Arc<Self>,
        wanted: &Wanted,
        client: &Client,
        work: &Work,
    ) -> Result<Option<Forms>, Error> {
        let Some(known) = self.recall_known(wanted, client, &mut Stages::default(), work).await? else {
            return Ok(None);
        };
        let mut files = Vec::new();
        for width in form::widths(&known.header, &wanted.category.look) {
            let key = known.mezzanine_key(wanted, width);
            let Some(entry) = self.stored(&key, &asset_tags(wanted)).await else { return Ok(None) };
            files.push((width, entry));
        }
        Ok((!files.is_empty()).then_some(Forms { known, files }))
    }

    /// Which are there, and how many are not: none where nothing is known of the original yet.
    async fn look_for_reduced(
        self: &Arc<Self>,
        wanted: &Wanted,
        client: &Client,
        work: &Work,
    ) -> Result<(Mezzanines, Option<usize>), Error> {
        let mut there = Mezzanines::default();
        let Some(known) = self.recall_known(wanted, client, &mut Stages::default(), work).await? else {
            return Ok((there, None));
        };
        let widths = if known.plain { Vec::new() } else { form::widths(&known.header, &wanted.category.look) };
        for width in &widths {
            let key = known.mezzanine_key(wanted, *width);
            if let Some(entry) = self.stored(&key, &asset_tags(wanted)).await {
                there.add(&entry);
            }
        }
        Ok((there, Some(widths.len() - there.count)))
    }
}
