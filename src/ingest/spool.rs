//! Bodies on their way in: to a file, hashed as they come, whatever their length in bounded memory.
//!
//! The file goes when its [`Spooled`] does, unless the store has moved it away; what a crash leaves is taken at the next start.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use super::{Error, Patience};
use crate::base::Digest;

/// Bytes of a buffer; a body has two, one that is filled and one that is written. What comes is copied into them at once, so that the
/// connection's own buffer is free again for what comes next, whatever the length of the body and of its pieces.
const BUFFER_BYTES: usize = 128 << 10;
/// How much of a body's beginning is kept in memory, for a look at its header.
const HEAD_BYTES_MAX: usize = 128 << 10;
/// A file that nobody has written to for so long was left by a crash.
const ABANDONED: Duration = Duration::from_secs(600);
/// When to come back where too many bodies are being read.
const BUSY_RETRY: Duration = Duration::from_secs(2);

/// A folder for bodies on their way in.
#[derive(Clone, Debug)]
pub struct Spool {
    folder: Arc<Path>,
    number: Arc<AtomicU64>,
    places: Arc<Semaphore>,
}

/// A body that came whole.
#[derive(Debug)]
pub struct Spooled {
    path: PathBuf,
    /// Its bytes.
    pub bytes: u64,
    /// Their BLAKE3.
    pub digest: Digest,
    /// How it begins: all of it where it is short.
    pub head: Bytes,
    _place: OwnedSemaphorePermit,
}

impl Spooled {
    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Spooled {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// The file of a body that is being read; it goes unless the body came whole.
struct Unfinished {
    path: PathBuf,
    whole: bool,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.whole {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// What the blocking side holds between two writes.
struct Sink {
    file: File,
    hasher: Box<blake3::Hasher>,
    buffer: Vec<u8>,
}

impl Sink {
    /// Takes what is in the buffer, which is empty afterwards.
    fn take(mut self) -> io::Result<Self> {
        self.hasher.update(&self.buffer);
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(self)
    }

    /// Takes what is in a buffer, in the background, and leaves an empty one in its place.
    fn write(mut self, buffer: &mut Vec<u8>) -> Disk {
        std::mem::swap(&mut self.buffer, buffer);
        Disk::Writing(tokio::task::spawn_blocking(move || self.take()))
    }
}

/// The blocking side.
enum Disk {
    Resting(Sink),
    Writing(JoinHandle<io::Result<Sink>>),
}

impl Disk {
    /// Waits until it rests.
    async fn rest(self) -> io::Result<Sink> {
        match self {
            Self::Resting(sink) => Ok(sink),
            Self::Writing(task) => task.await.unwrap_or_else(|error| Err(io::Error::other(error))),
        }
    }
}

impl Spool {
    /// A spool in a folder, which is made; for at most so many bodies at once. What a crash left there is taken away.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub fn new(folder: impl AsRef<Path>, bodies_max: usize) -> io::Result<Self> {
        let folder = folder.as_ref();
        fs::create_dir_all(folder)?;
        for entry in fs::read_dir(folder)?.flatten() {
            let written = entry.metadata().and_then(|found| found.modified());
            let age = written.ok().and_then(|at| SystemTime::now().duration_since(at).ok());
            if age.is_some_and(|age| age > ABANDONED) {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(Self {
            folder: folder.into(),
            number: Arc::new(AtomicU64::new(fastrand::u64(..))),
            places: Arc::new(Semaphore::new(bodies_max)),
        })
    }

    /// Reads a body to its end. `bytes_max` bounds it; it must hold something.
    ///
    /// # Errors
    /// [`Error::Busy`] before anything is read; else what became of the body, or of the disk.
    pub async fn receive<E: std::fmt::Display>(
        &self,
        body: impl Stream<Item = Result<Bytes, E>> + Unpin,
        bytes_max: u64,
        patience: Patience,
    ) -> Result<Spooled, Error> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| Error::Busy { retry_after: BUSY_RETRY })?;
        let path = self.folder.join(format!("{:016x}", self.number.fetch_add(1, Ordering::Relaxed)));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o640).open(&path)?;
        let mut unfinished = Unfinished { path, whole: false };
        let sink = Sink { file, hasher: Box::new(blake3::Hasher::new()), buffer: Vec::with_capacity(BUFFER_BYTES) };
        let (sink, head, bytes) = fill(sink, body, bytes_max, patience).await?;
        if bytes == 0 {
            return Err(Error::Empty);
        }
        unfinished.whole = true;
        let digest = Digest(*sink.hasher.finalize().as_bytes());
        let path = std::mem::take(&mut unfinished.path);
        Ok(Spooled { path, bytes, digest, head, _place: place })
    }
}

/// Reads and writes side by side: while the disk takes one buffer, the other is filled.
async fn fill<E: std::fmt::Display>(
    sink: Sink,
    mut body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    bytes_max: u64,
    patience: Patience,
) -> Result<(Sink, Bytes, u64), Error> {
    let end = Instant::now() + patience.total;
    let (mut head, mut bytes) = (Vec::with_capacity(HEAD_BYTES_MAX), 0_u64);
    let (mut buffer, mut disk) = (Vec::with_capacity(BUFFER_BYTES), Disk::Resting(sink));
    loop {
        let wait = patience.idle.min(end.saturating_duration_since(Instant::now()));
        let piece = tokio::time::timeout(wait, body.next()).await.map_err(|_| Error::Slow)?;
        let Some(piece) = piece else { break };
        let piece = piece.map_err(|error| Error::Broken(error.to_string()))?;
        bytes += piece.len() as u64;
        if bytes > bytes_max {
            return Err(Error::TooLarge { bytes_max });
        }
        let wanted = HEAD_BYTES_MAX.saturating_sub(head.len()).min(piece.len());
        head.extend_from_slice(&piece[..wanted]);
        let mut rest = &piece[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(BUFFER_BYTES - buffer.len()));
            buffer.extend_from_slice(now);
            if buffer.len() == BUFFER_BYTES {
                disk = disk.rest().await?.write(&mut buffer);
            }
            rest = later;
        }
    }
    let mut sink = disk.rest().await?;
    if !buffer.is_empty() {
        sink = sink.write(&mut buffer).rest().await?;
    }
    Ok((sink, head.into(), bytes))
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    const PATIENCE: Patience = Patience { idle: Duration::from_millis(50), total: Duration::from_secs(5) };

    fn pieces(lengths: &[usize]) -> Vec<Result<Bytes, String>> {
        lengths.iter().enumerate().map(|(at, length)| Ok(Bytes::from(vec![at as u8; *length]))).collect()
    }

    fn files(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[tokio::test]
    async fn a_body_is_kept_and_hashed_as_it_came() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path(), 4).unwrap();
        for lengths in [&[1][..], &[0, 5, 0], &[300_000, 300_000, 7], &[2_000_000, 1]] {
            let whole: Vec<u8> = pieces(lengths).into_iter().flat_map(|piece| piece.unwrap().to_vec()).collect();
            let spooled = spool.receive(stream::iter(pieces(lengths)), 1 << 30, PATIENCE).await.unwrap();
            assert_eq!((spooled.bytes, spooled.digest), (whole.len() as u64, Digest::of(&whole)), "{lengths:?}");
            assert!(fs::read(spooled.path()).unwrap() == whole);
            assert!(spooled.head == whole[..whole.len().min(HEAD_BYTES_MAX)]);
            drop(spooled);
            assert_eq!(files(folder.path()), 0, "it goes with whoever holds it");
        }
    }

    #[tokio::test]
    async fn what_does_not_come_whole_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path(), 1).unwrap();
        let too_large = spool.receive(stream::iter(pieces(&[10, 10])), 19, PATIENCE).await.unwrap_err();
        assert!(matches!(too_large, Error::TooLarge { bytes_max: 19 }), "{too_large}");
        let empty = spool.receive(stream::iter(pieces(&[0])), 19, PATIENCE).await.unwrap_err();
        assert!(matches!(empty, Error::Empty), "{empty}");
        let broken = [Ok(Bytes::from_static(b"begun")), Err("reset")];
        let broken = spool.receive(stream::iter(broken), 19, PATIENCE).await.unwrap_err();
        assert!(matches!(&broken, Error::Broken(why) if why == "reset"), "{broken}");
        let stalled = stream::iter(pieces(&[5])).chain(stream::pending());
        let slow = spool.receive(stalled, 19, PATIENCE).await.unwrap_err();
        assert!(matches!(slow, Error::Slow), "{slow}");
        assert_eq!(files(folder.path()), 0);
    }

    #[tokio::test]
    async fn so_many_bodies_at_once_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path(), 1).unwrap();
        let held = spool.receive(stream::iter(pieces(&[5])), 10, PATIENCE).await.unwrap();
        let busy = spool.receive(stream::iter(pieces(&[5])), 10, PATIENCE).await.unwrap_err();
        assert!(matches!(busy, Error::Busy { .. }), "{busy}");
        drop(held);
        spool.receive(stream::iter(pieces(&[5])), 10, PATIENCE).await.unwrap();
    }

    #[test]
    fn what_a_crash_left_goes_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        for (name, age) in [("old", 2 * ABANDONED), ("young", Duration::ZERO)] {
            let file = File::create(folder.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        }
        Spool::new(folder.path(), 1).unwrap();
        assert!(folder.path().join("young").exists() && !folder.path().join("old").exists());
    }
}
