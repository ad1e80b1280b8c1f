//! Objects in a folder: originals as they lie there, or derivatives, each in one file with what is known of it.
//!
//! A derivative is written beside its place and then linked or renamed to it, so a reader (and a crash) sees all of it
//! or nothing. Where the folder is bounded, `evict` takes the least recently used away, behind the requests.

mod described;
mod evict;
mod frame;
mod list;
mod paths;
mod pieces;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};

use self::frame::Frame;
use self::pieces::{once, pieces, read_exactly};
use super::{Error, Listed, Meta, ObjectStore, Presigned, Put, PutOptions, Reading};

/// A file up to this long is read whole when it is opened: one trip to the blocking threads instead of two.
const EAGER_BYTES_MAX: u64 = 256 << 10;
/// How often a put is tried whose folder is taken away under it by an eviction.
const PUT_TRIES: usize = 4;
/// A file's access time is noted at most this often.
const TOUCH_EVERY: Duration = Duration::from_secs(3600);

/// What the files look like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    /// A file is an object's bytes, as somebody put it there: originals. Validator and times are the file's.
    Plain,
    /// A file is an object's bytes, and what was said of it lies in a second file beside it: originals that we took in. A put
    /// is on the disk when it is answered.
    Described,
    /// A file holds an object's metadata and then its bytes: derivatives, written by us alone.
    Framed,
}

/// A folder of objects.
#[derive(Clone, Debug)]
pub struct Fs {
    shared: Arc<Shared>,
}

/// What the blocking threads and the handle share.
#[derive(Debug)]
struct Shared {
    root: PathBuf,
    layout: Layout,
    bound: Option<evict::Bound>,
    temporary: AtomicU64,
}

impl Fs {
    /// Objects in the folder `root`. A framed or described folder is made when it is not there, and cleared of what a crash
    /// left half written, in the background; a plain one must exist.
    pub fn new(root: impl AsRef<Path>, layout: Layout) -> Result<Self, Error> {
        Self::bounded(root, layout, None)
    }

    /// Like [`Fs::new`], for a framed folder that keeps to `bytes_max` bytes: above it the least recently used objects go
    /// until nine tenths are left. Other files in the folder count, and go, too.
    pub fn bounded(root: impl AsRef<Path>, layout: Layout, bytes_max: Option<u64>) -> Result<Self, Error> {
        let root = root.as_ref();
        let wrong = |error: io::Error| Error::Location(format!("{}: {error}", root.display()));
        if layout != Layout::Plain {
            fs::create_dir_all(root).map_err(wrong)?;
        }
        let root = fs::canonicalize(root).map_err(wrong)?;
        if !root.is_dir() {
            return Err(Error::Location(format!("{} is not a folder", root.display())));
        }
        let bound = bytes_max.filter(|_| layout == Layout::Framed).map(evict::Bound::new);
        let shared = Arc::new(Shared { root, layout, bound, temporary: AtomicU64::new(fastrand::u64(..)) });
        if layout != Layout::Plain {
            evict::at_start(&shared);
        }
        Ok(Self { shared })
    }

    /// The folder, as the file system knows it.
    pub fn root(&self) -> &Path {
        &self.shared.root
    }

    /// Bytes in the folder as far as they are counted: none where it is not bounded, or before the first count is done.
    pub fn bytes(&self) -> Option<u64> {
        self.shared.bound.as_ref().and_then(evict::Bound::bytes)
    }

    /// Runs file work where it may block.
    fn run<'a, T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Shared>) -> Result<T, Error> + Send + 'static,
    ) -> BoxFuture<'a, Result<T, Error>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            match tokio::task::spawn_blocking(move || work(&shared)).await {
                Ok(result) => result,
                Err(error) => Err(Error::Unavailable(format!("file work ended early: {error}"))),
            }
        })
    }
}

impl ObjectStore for Fs {
    fn open<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Reading, Error>> {
        let key = key.to_owned();
        self.run(move |shared| shared.open(&key))
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Meta, Error>> {
        let key = key.to_owned();
        self.run(move |shared| shared.head(&key))
    }

    fn put<'a>(&'a self, key: &'a str, body: Bytes, options: &'a PutOptions) -> BoxFuture<'a, Result<Put, Error>> {
        let (key, options) = (key.to_owned(), options.clone());
        self.run(move |shared| {
            let put = shared.put(&key, &body, &options)?;
            if put == Put::Written {
                evict::written(shared, body.len() as u64);
            }
            Ok(put)
        })
    }

    fn put_file<'a>(
        &'a self,
        key: &'a str,
        file: &'a Path,
        options: &'a PutOptions,
    ) -> BoxFuture<'a, Result<Put, Error>> {
        let (key, file, options) = (key.to_owned(), file.to_owned(), options.clone());
        self.run(move |shared| shared.put_file(&key, &file, &options))
    }

    fn presign_put<'a>(
        &'a self,
        _: &'a str,
        _: Duration,
        _: &'a PutOptions,
    ) -> BoxFuture<'a, Result<Option<Presigned>, Error>> {
        Box::pin(async { Ok(None) })
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        let key = key.to_owned();
        self.run(move |shared| shared.delete(&key))
    }

    fn delete_prefix<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<u64, Error>> {
        let prefix = prefix.to_owned();
        self.run(move |shared| shared.delete_prefix(&prefix))
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a str>) -> BoxFuture<'a, Result<Vec<Listed>, Error>> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        self.run(move |shared| shared.list(&prefix, after.as_deref()))
    }

    fn ping<'a>(&'a self) -> BoxFuture<'a, Result<(), Error>> {
        self.run(|shared| fs::read_dir(&shared.root).map(drop).map_err(failed))
    }
}

impl Shared {
    fn open(&self, key: &str) -> Result<Reading, Error> {
        let (file, found) = self.find(key)?;
        let length = found.len();
        if self.layout != Layout::Framed {
            let meta = self.unframed_meta(key, &found)?;
            // A long original is not read before the caller has charged its bytes.
            let body = match length {
                0..=EAGER_BYTES_MAX => once(read_exactly(&file, 0, length)?.into()),
                _ => pieces(file, 0, length),
            };
            return Ok(Reading { meta, body });
        }
        let head = Bytes::from(read_exactly(&file, 0, length.min(EAGER_BYTES_MAX))?);
        let frame = self.frame(key, &head, length)?;
        self.touch(&file, &found);
        let body = match frame.body_at + frame.meta.size {
            end if end <= head.len() as u64 => once(head.slice(frame.body_at as usize..)),
            end => {
                let start = head.slice(frame.body_at as usize..);
                stream::once(async { Ok(start) }).chain(pieces(file, head.len() as u64, end)).boxed()
            }
        };
        Ok(Reading { meta: frame.meta, body })
    }

    fn head(&self, key: &str) -> Result<Meta, Error> {
        let (file, found) = self.find(key)?;
        match self.layout {
            Layout::Plain | Layout::Described => self.unframed_meta(key, &found),
            Layout::Framed => {
                let head = read_exactly(&file, 0, found.len().min(frame::HEAD_BYTES_MAX))?;
                self.frame(key, &head, found.len()).map(|frame| frame.meta)
            }
        }
    }

    /// Reads a frame's head. A file that a power cut left without its end is taken away, and counts as not there.
    fn frame(&self, key: &str, head: &[u8], length: u64) -> Result<Frame, Error> {
        Frame::read(head, length).ok_or_else(|| {
            tracing::warn!(key, length, "a stored object is broken; it is deleted");
            let _ = self.delete(key);
            Error::NotFound
        })
    }

    fn put(&self, key: &str, body: &[u8], options: &PutOptions) -> Result<Put, Error> {
        let place = paths::join(&self.root, key)?;
        if options.if_absent && self.find(key).is_ok() {
            return Ok(Put::Existed);
        }
        let head = match self.layout {
            Layout::Described => return self.put_described(key, body, options),
            Layout::Plain => Vec::new(),
            Layout::Framed => frame::head(body.len() as u64, options)?,
        };
        let mut tries = 0;
        loop {
            tries += 1;
            match self.write(&place, &head, body, options.if_absent) {
                Ok(put) => return Ok(put),
                // An eviction took the folder away as it was empty.
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < PUT_TRIES => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// Writes a file beside its place, then gives it its name.
    fn write(&self, place: &Path, head: &[u8], body: &[u8], if_absent: bool) -> io::Result<Put> {
        let folder = place.parent().unwrap_or(&self.root);
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = folder.join(format!("{}{number:016x}", paths::TEMPORARY));
        let create = || OpenOptions::new().write(true).create_new(true).custom_flags(libc::O_NOFOLLOW).open(&temporary);
        let mut file = match create() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(folder)?;
                create()?
            }
            other => other?,
        };
        let written = paths::inside(&self.root, &file, &temporary)
            .and_then(|()| file.write_all(head))
            .and_then(|()| file.write_all(body))
            .and_then(|()| {
                if if_absent { link(&temporary, place) } else { fs::rename(&temporary, place).map(|()| Put::Written) }
            });
        if !matches!(written, Ok(Put::Written)) || if_absent {
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    fn delete(&self, key: &str) -> Result<(), Error> {
        let place = paths::join(&self.root, key)?;
        let folder = place.parent().unwrap_or(&self.root);
        match fs::canonicalize(folder) {
            Ok(real) if real.starts_with(&self.root) => {}
            Ok(_) => return Err(Error::Denied("the folder lies outside of the store".into())),
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(failed(error)),
        }
        let length = fs::symlink_metadata(&place).map_or(0, |found| found.len());
        match fs::remove_file(&place) {
            Ok(()) => {
                evict::removed(self, length);
                if self.layout == Layout::Described {
                    described::forget(&place);
                }
                paths::prune(&self.root, folder);
                Ok(())
            }
            Err(error) if is_absent(&error) || error.kind() == io::ErrorKind::IsADirectory => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    fn delete_prefix(&self, prefix: &str) -> Result<u64, Error> {
        let (folder, start) = match prefix.rsplit_once('/') {
            Some((folder, start)) => (paths::join(&self.root, folder)?, start),
            None => (self.root.clone(), prefix),
        };
        match fs::canonicalize(&folder) {
            Ok(real) if real.starts_with(&self.root) && real.is_dir() => {}
            Ok(real) if real.starts_with(&self.root) => return Ok(0),
            Ok(_) => return Err(Error::Denied("the folder lies outside of the store".into())),
            Err(error) if is_absent(&error) => return Ok(0),
            Err(error) => return Err(failed(error)),
        }
        let mut deleted = 0;
        paths::walk(&folder, start, &mut |path, found| {
            match fs::remove_file(path) {
                Ok(()) => {
                    if !paths::is_own(path) {
                        deleted += 1;
                    }
                    evict::removed(self, found.len());
                }
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(error),
            }
            Ok(())
        })
        .map_err(failed)?;
        paths::prune_below(&folder, start);
        paths::prune(&self.root, &folder);
        Ok(deleted)
    }

    /// Opens a key's file, which must be a file that lies in the folder, whatever links say.
    fn find(&self, key: &str) -> Result<(File, fs::Metadata), Error> {
        let place = paths::join(&self.root, key)?;
        // Not blocking, lest a pipe that somebody left in the folder holds a thread for ever.
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(&place).map_err(failed)?;
        let found = file.metadata().map_err(failed)?;
        if !found.is_file() {
            return Err(Error::NotFound);
        }
        paths::inside(&self.root, &file, &place).map_err(failed)?;
        Ok((file, found))
    }

    /// Notes that a file was used, for the eviction.
    fn touch(&self, file: &File, found: &fs::Metadata) {
        let now = SystemTime::now();
        let stale = found.modified().is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age > TOUCH_EVERY));
        if self.bound.is_some() && stale {
            let _ = file.set_modified(now);
        }
    }
}

/// Gives a written file its name unless that is taken.
fn link(temporary: &Path, place: &Path) -> io::Result<Put> {
    match fs::hard_link(temporary, place) {
        Ok(()) => Ok(Put::Written),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Put::Existed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(error),
        // A file system without hard links: whoever comes last wins, with an object that is whole all the same.
        Err(_) if place.exists() => Ok(Put::Existed),
        Err(_) => fs::rename(temporary, place).map(|()| Put::Written),
    }
}

/// What is known of a file that is an object as it is.
fn plain_meta(found: &fs::Metadata) -> Meta {
    let modified = found.modified().ok();
    let nanos = modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map_or(0, |since| since.as_nanos());
    Meta {
        size: found.len(),
        validator: format!("{:x}-{nanos:x}", found.len()),
        modified,
        content_type: None,
        user: Default::default(),
    }
}

/// Whether an error says that there is no such file.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// A file system's error in the room's words.
fn failed(error: io::Error) -> Error {
    match error.kind() {
        _ if is_absent(&error) => Error::NotFound,
        io::ErrorKind::IsADirectory => Error::Key("it names a folder".into()),
        io::ErrorKind::InvalidFilename => Error::Key("a segment is too long for the file system".into()),
        io::ErrorKind::PermissionDenied => Error::Denied(error.to_string()),
        // A loop of links, as Linux says it.
        _ if error.raw_os_error() == Some(libc::ELOOP) => Error::NotFound,
        // A socket, or a pipe that nobody writes.
        _ if error.raw_os_error() == Some(libc::ENXIO) => Error::NotFound,
        _ => Error::Unavailable(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
