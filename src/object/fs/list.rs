//! Lists of a folder's objects, by key. A folder has no order of its own, so a page walks all of it and keeps the first keys.

use std::collections::BTreeMap;

use super::super::{Error, LIST_MAX, Listed};
use super::{Shared, failed, is_absent, paths};

impl Shared {
    pub(super) fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<Listed>, Error> {
        let (folder, start) = match prefix.rsplit_once('/') {
            Some((folder, start)) => (paths::join(&self.root, folder)?, start),
            None => (self.root.clone(), prefix),
        };
        let mut first = BTreeMap::new();
        let walked = paths::walk(&folder, start, &mut |path, found| {
            let key = path.strip_prefix(&self.root).ok().and_then(|key| key.to_str());
            // What is being written, and what lies beside an object, is none.
            if let Some(key) = key.filter(|_| !paths::is_own(path))
                && after.is_none_or(|after| key > after)
            {
                first.insert(key.to_owned(), found.modified().ok());
                if first.len() > LIST_MAX {
                    first.pop_last();
                }
            }
            Ok(())
        });
        match walked {
            Err(error) if !is_absent(&error) => Err(failed(error)),
            _ => Ok(first.into_iter().map(|(key, modified)| Listed { key, modified }).collect()),
        }
    }
}
