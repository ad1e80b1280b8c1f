//! Lists of a bucket's objects, by key.

use std::time::SystemTime;

use super::super::{Error, LIST_MAX, Listed};
use super::S3;

impl S3 {
    pub(super) async fn list_page(&self, prefix: &str, after: Option<&str>) -> Result<Vec<Listed>, Error> {
        let own = &self.settings.prefix;
        let list = self
            .client
            .list_objects_v2()
            .bucket(&self.settings.bucket)
            .prefix(format!("{own}{prefix}"))
            .set_start_after(after.map(|after| format!("{own}{after}")))
            .max_keys(LIST_MAX as i32)
            .send()
            .await
            .map_err(|error| self.failed(error))?;
        let listed = list.contents.unwrap_or_default().into_iter().filter_map(|object| {
            let key = object.key?.strip_prefix(own.as_str())?.to_owned();
            let modified = object.last_modified.and_then(|at| SystemTime::try_from(at).ok());
            Some(Listed { key, modified })
        });
        Ok(listed.collect())
    }
}
