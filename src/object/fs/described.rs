//! Originals that we took in: a file as it came, and beside it a small one with what is known of it, so that the folder
//! can be read by anybody, and a lost catalog be made anew of it.
//!
//! What is put is on the disk when it is answered: the file, its description, and the folders that name them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::super::{Error, Meta, Put, PutOptions};
use super::{Layout, Shared, failed, is_absent, link, paths, plain_meta};

/// The longest description that is read.
const DESCRIPTION_BYTES_MAX: u64 = 64 << 10;

/// What is kept of an object beside it.
#[derive(Serialize, Deserialize, Default)]
struct Description {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    user: BTreeMap<String, String>,
}

impl Shared {
    /// What is known of a file that is an object as it is.
    pub(super) fn unframed_meta(&self, key: &str, found: &fs::Metadata) -> Result<Meta, Error> {
        let meta = plain_meta(found);
        if self.layout != Layout::Described {
            return Ok(meta);
        }
        let Description { content_type, user } = read(&beside(&paths::join(&self.root, key)?));
        Ok(Meta { content_type, user, ..meta })
    }

    /// Writes an object of this layout from memory.
    pub(super) fn put_described(&self, key: &str, body: &[u8], options: &PutOptions) -> Result<Put, Error> {
        let place = paths::join(&self.root, key)?;
        let folder = self.folder_of(&place)?;
        let temporary = self.temporary(&folder);
        fs::write(&temporary, body).map_err(failed)?;
        let put = self.put_file(key, &temporary, options);
        let _ = fs::remove_file(&temporary);
        put
    }

    /// Writes an object by giving a file its name, or by copying it where it lies on another file system.
    pub(super) fn put_file(&self, key: &str, file: &Path, options: &PutOptions) -> Result<Put, Error> {
        if self.layout == Layout::Framed {
            return self.put(key, &fs::read(file).map_err(failed)?, options);
        }
        let place = paths::join(&self.root, key)?;
        if options.if_absent && self.find(key).is_ok() {
            return Ok(Put::Existed);
        }
        let known = self.known_above(&place);
        let folder = self.folder_of(&place)?;
        File::open(file).and_then(|file| file.sync_all()).map_err(failed)?;
        if self.layout == Layout::Described {
            self.describe(&place, &folder, options)?;
        }
        let put = self.name(file, &place, &folder, options.if_absent).map_err(failed)?;
        sync_folders(&folder, &known).map_err(failed)?;
        Ok(put)
    }

    /// The folder of a place, made where it is missing; it lies in the store whatever links say.
    fn folder_of(&self, place: &Path) -> Result<PathBuf, Error> {
        let folder = place.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).map_err(failed)?;
        let real = fs::canonicalize(folder).map_err(failed)?;
        if real.starts_with(&self.root) {
            Ok(real)
        } else {
            Err(Error::Denied("the folder lies outside of the store".into()))
        }
    }

    fn temporary(&self, folder: &Path) -> PathBuf {
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        folder.join(format!("{}{number:016x}", paths::TEMPORARY))
    }

    fn describe(&self, place: &Path, folder: &Path, options: &PutOptions) -> Result<(), Error> {
        let description = Description { content_type: options.content_type.clone(), user: options.user.clone() };
        let text = serde_json::to_vec(&description).map_err(|error| Error::Key(format!("metadata: {error}")))?;
        let temporary = self.temporary(folder);
        let written = fs::write(&temporary, text)
            .and_then(|()| File::open(&temporary)?.sync_all())
            .and_then(|()| fs::rename(&temporary, beside(place)));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written.map_err(failed)
    }

    fn name(&self, file: &Path, place: &Path, folder: &Path, if_absent: bool) -> io::Result<Put> {
        let give = |file: &Path| match if_absent {
            true => link(file, place),
            false => fs::rename(file, place).map(|()| Put::Written),
        };
        match give(file) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                let temporary = self.temporary(folder);
                let copied = fs::copy(file, &temporary)
                    .and_then(|_| File::open(&temporary)?.sync_all())
                    .and_then(|()| give(&temporary));
                let _ = fs::remove_file(&temporary);
                copied
            }
            given => given,
        }
    }

    /// The nearest folder above a place that is there already: those between are still to be made.
    fn known_above(&self, place: &Path) -> PathBuf {
        let above = place.ancestors().skip(1).take_while(|folder| folder.starts_with(&self.root));
        let known = above.into_iter().find(|folder| folder.is_dir()).unwrap_or(&self.root);
        fs::canonicalize(known).unwrap_or_else(|_| self.root.clone())
    }
}

/// Makes the names in a folder outlive a crash, and those of the folders that were made for it, up to one that was there.
fn sync_folders(folder: &Path, known: &Path) -> io::Result<()> {
    for folder in folder.ancestors().take_while(|folder| folder.starts_with(known)) {
        match File::open(folder).and_then(|folder| folder.sync_all()) {
            Err(error) if !is_absent(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Takes away what was said of an object that is gone.
pub fn forget(place: &Path) {
    let _ = fs::remove_file(beside(place));
}

/// The file that says what is known of the one at a place.
fn beside(place: &Path) -> PathBuf {
    let name = place.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    place.with_file_name(format!("{}{name}", paths::DESCRIPTION))
}

/// What is said of an object; nothing where that is missing or broken.
fn read(path: &Path) -> Description {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(DESCRIPTION_BYTES_MAX).read_to_end(&mut text));
    read.ok().and_then(|_| serde_json::from_slice(&text).ok()).unwrap_or_default()
}
