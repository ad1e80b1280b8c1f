//! Mezzanines before any variant asks for them.

use std::sync::Arc;

use super::forms::asset_tags;
use super::wanted::Wanted;
use super::{Client, Error, Origin};
use crate::base::{Deadline, Stages, Work};
use crate::render::{Urgency, form};

impl Origin {
    /// Makes an original's mezzanines, unless they are there; answers how many it has. `path` is that of its `info.json`.
    ///
    /// # Errors
    /// As for a variant of it.
    pub async fn mezzanines(self: &Arc<Self>, path: &str, deadline: Deadline) -> Result<usize, Error> {
        let request = self.urls().read_trusted(path)?;
        let category = self.category(&request.category)?;
        if category.look.mezzanines.widths().is_empty() {
            return Ok(0);
        }
        let (client, work) = (Client::default(), Work::until(deadline));
        let wanted = Wanted::new(category, &request, &client, None);
        if let Some(known) = self.recall_known(&wanted, &client, &mut Stages::default(), &work).await? {
            let widths = if known.plain { Vec::new() } else { form::widths(&known.header, &wanted.category.look) };
            let mut there = 0;
            for width in &widths {
                let key = known.mezzanine_key(&wanted, *width);
                there += usize::from(self.stored(&key, &asset_tags(&wanted)).await.is_some());
            }
            if there == widths.len() {
                return Ok(there);
            }
        }
        self.forms(&wanted, &client, None, Urgency::Ahead, &work).await.map(|forms| forms.len())
    }
}
