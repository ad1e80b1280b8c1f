//! A piece of a file as a request's body, read as it is sent.
//!
//! Always true: what is read lies in buffers that all bodies of a store share and use again, so that memory is what is under way at
//! once, whatever the length of the files.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

/// Bytes of a buffer. The client takes a few ahead of what the socket takes.
const BUFFER_BYTES: usize = 128 << 10;
/// Buffers that are kept while nobody uses them.
const KEPT_MAX: usize = 32;

/// Buffers that wait to be used again. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

/// A filled buffer; it goes back when the last of its bytes is sent.
struct Filled {
    bytes: Vec<u8>,
    buffers: Buffers,
}

impl AsRef<[u8]> for Filled {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        let mut kept = self.buffers.0.lock();
        if kept.len() < KEPT_MAX {
            kept.push(std::mem::take(&mut self.bytes));
        }
    }
}

impl Buffers {
    /// Bytes from..to of a file as a body; a try that is repeated reads them again.
    pub fn body(&self, file: &Arc<File>, from: u64, to: u64) -> ByteStream {
        let (buffers, file) = (self.clone(), file.clone());
        ByteStream::new(SdkBody::retryable(move || {
            let (buffers, file) = (buffers.clone(), file.clone());
            SdkBody::from_body_1_x(Piece { buffers, file, at: from, to, reading: None })
        }))
    }

    /// A buffer, to be filled. Taken where many bodies are polled, not where files are read: each thread's memory is its own.
    fn take(&self) -> Vec<u8> {
        self.0.lock().pop().unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES))
    }

    /// Reads what comes next, at most a buffer full.
    fn read(&self, mut bytes: Vec<u8>, file: &File, from: u64, to: u64) -> io::Result<Bytes> {
        let length = (to - from).min(BUFFER_BYTES as u64) as usize;
        bytes.resize(length, 0);
        let filled = file.read_exact_at(&mut bytes, from);
        let filled = filled.map(|()| Bytes::from_owner(Filled { bytes, buffers: self.clone() }));
        filled.map_err(|error| io::Error::new(error.kind(), format!("the file could not be read on: {error}")))
    }
}

/// The body.
struct Piece {
    buffers: Buffers,
    file: Arc<File>,
    at: u64,
    to: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Body for Piece {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        if this.at >= this.to {
            return Poll::Ready(None);
        }
        let reading = this.reading.get_or_insert_with(|| {
            let (buffers, file, from, to) = (this.buffers.clone(), this.file.clone(), this.at, this.to);
            let bytes = buffers.take();
            tokio::task::spawn_blocking(move || buffers.read(bytes, &file, from, to))
        });
        let read = ready!(Pin::new(reading).poll(cx)).unwrap_or_else(|error| Err(io::Error::other(error)));
        this.reading = None;
        if let Ok(bytes) = &read {
            this.at += bytes.len() as u64;
        }
        Poll::Ready(Some(read.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.at >= self.to
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.to - self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_piece_is_read_again_from_buffers_that_are_used_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let whole: Vec<u8> = (0..1_000_000_usize).map(|at| ((at * 2_654_435_761) >> 9) as u8).collect();
        std::fs::write(file.path(), &whole).unwrap();
        let (buffers, opened) = (Buffers::default(), Arc::new(File::open(file.path()).unwrap()));
        for (from, to) in [(0, 1_000_000), (5, 6), (7, 7), (100_000, 700_001)] {
            let body = buffers.body(&opened, from as u64, to as u64).into_inner();
            let again = body.try_clone().unwrap();
            for body in [body, again] {
                assert_eq!(body.content_length(), Some((to - from) as u64));
                let read = ByteStream::new(body).collect().await.unwrap();
                assert!(read.into_bytes() == whole[from..to], "{from}..{to}");
            }
        }
        assert!((1..=8).contains(&buffers.0.lock().len()), "all are back, and none was made twice");
        let short = buffers.body(&opened, 999_990, 1_000_001);
        let error = short.collect().await.unwrap_err().to_string();
        assert!(!error.is_empty());
    }
}
