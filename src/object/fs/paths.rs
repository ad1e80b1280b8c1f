//! Keys as paths: safe to join, never out of the folder, walked without following links.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::super::Error;

/// How the names of files start that are being written. No key may have such a segment.
pub const TEMPORARY: &str = ".fovea-part-";

/// How the names of files start that hold what was said of an object beside them. No key may have such a segment.
pub const DESCRIPTION: &str = ".fovea-meta-";

/// A key's longest, in bytes.
const KEY_BYTES_MAX: usize = 2048;
/// How deep a walk goes.
const DEPTH_MAX: usize = 64;

/// The file of a key.
pub fn join(root: &Path, key: &str) -> Result<PathBuf, Error> {
    if key.len() > KEY_BYTES_MAX {
        return Err(Error::Key(format!("it is longer than {KEY_BYTES_MAX} bytes")));
    }
    let mut path = root.to_path_buf();
    for segment in key.split('/') {
        let wrong = match segment {
            "" => "a segment is empty",
            "." | ".." => "a segment is made of dots",
            _ if segment.contains(['\0', '\\']) => "a segment holds a backslash or a zero",
            _ if segment.len() > 255 => "a segment is longer than 255 bytes",
            _ if segment.starts_with(TEMPORARY) || segment.starts_with(DESCRIPTION) => "the name is reserved",
            _ => {
                path.push(segment);
                continue;
            }
        };
        return Err(Error::Key(wrong.into()));
    }
    Ok(path)
}

/// Fails unless an open file lies in the folder. Asked of the file that is open, not of its name, so that no link that is
/// exchanged meanwhile deceives it; `path` is asked where the system cannot say.
pub fn inside(root: &Path, file: &File, path: &Path) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let real = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).or_else(|_| fs::canonicalize(path))?;
    if real.starts_with(root) {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::PermissionDenied, "a link leads out of the folder"))
    }
}

/// Whether a file is one that was being written.
pub fn is_temporary(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(TEMPORARY))
}

/// Whether a file is ours and no object.
pub fn is_own(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(".fovea-"))
}

/// Visits every file (and link, unfollowed) below a folder whose path in it starts with `start`. What vanishes meanwhile is
/// passed over. Holds one open folder a level.
pub fn walk(
    folder: &Path,
    start: &str,
    visit: &mut impl FnMut(&Path, &fs::Metadata) -> io::Result<()>,
) -> io::Result<()> {
    let mut levels = vec![fs::read_dir(folder)?];
    while let Some(level) = levels.last_mut() {
        let entry = match level.next() {
            None => {
                levels.pop();
                continue;
            }
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => continue,
            Some(entry) => entry?,
        };
        if levels.len() == 1 && !entry.file_name().as_encoded_bytes().starts_with(start.as_bytes()) {
            continue;
        }
        let path = entry.path();
        let is_folder = match entry.file_type() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            kind => kind?.is_dir(),
        };
        if is_folder {
            match fs::read_dir(&path) {
                Ok(below) if levels.len() < DEPTH_MAX => levels.push(below),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            continue;
        }
        match entry.metadata() {
            Ok(found) => visit(&path, &found)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Takes empty folders away, from this one upwards; the root stays.
pub fn prune(root: &Path, folder: &Path) {
    let mut folder = folder;
    while folder != root && folder.starts_with(root) && fs::remove_dir(folder).is_ok() {
        match folder.parent() {
            Some(parent) => folder = parent,
            None => return,
        }
    }
}

/// Takes empty folders away below this one, in those whose name starts with `start`.
pub fn prune_below(folder: &Path, start: &str) {
    prune_level(folder, start, 0);
}

fn prune_level(folder: &Path, start: &str, depth: usize) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && depth < DEPTH_MAX && entry.file_name().as_encoded_bytes().starts_with(start.as_bytes()) {
            prune_level(&entry.path(), "", depth + 1);
            let _ = fs::remove_dir(entry.path());
        }
    }
}
