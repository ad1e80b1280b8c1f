//! Reading a file: at once, or piece by piece on the blocking threads.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};

use super::super::Error;
use super::failed;

/// A longer file comes in pieces of at most this many bytes.
pub const PIECE_BYTES_MAX: u64 = 16 << 20;

/// Exactly the file's bytes from..to; a file that is shorter by now is a failure.
pub fn read_exactly(file: &File, from: u64, to: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::with_capacity((to - from) as usize);
    let mut part = PositionedRead { file, at: from };
    (&mut part).take(to - from).read_to_end(&mut bytes).map_err(failed)?;
    if (bytes.len() as u64) < to - from {
        return Err(Error::Unavailable("the file became shorter while it was read".into()));
    }
    Ok(bytes)
}

/// Reads at a place of its own, so that the file's cursor does not matter.
struct PositionedRead<'a> {
    file: &'a File,
    at: u64,
}

impl Read for PositionedRead<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// A body that is there already.
pub fn once(bytes: Bytes) -> BoxStream<'static, Result<Bytes, Error>> {
    stream::iter((!bytes.is_empty()).then_some(Ok(bytes))).boxed()
}

/// A body that is read piece by piece, as it is asked for.
pub fn pieces(file: File, from: u64, end: u64) -> BoxStream<'static, Result<Bytes, Error>> {
    stream::try_unfold((Arc::new(file), from), move |(file, at)| async move {
        if at >= end {
            return Ok(None);
        }
        let to = end.min(at + PIECE_BYTES_MAX);
        let reader = Arc::clone(&file);
        let piece = tokio::task::spawn_blocking(move || read_exactly(&reader, at, to))
            .await
            .map_err(|error| Error::Unavailable(format!("file work ended early: {error}")))??;
        Ok(Some((Bytes::from(piece), (file, to))))
    })
    .boxed()
}
