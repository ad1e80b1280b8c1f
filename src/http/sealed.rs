//! Answers in the kernel's own memory: a hot one is written once into a sealed memory file, and sent from there by `sendfile`.
//!
//! A plain write of 32 KiB copies it into pages that are fetched for it: 29 % of a hit's CPU time as `perf` saw it, and twice that
//! where other processes fill the caches. From a file the socket takes the pages themselves.
//!
//! Always true: a sealed answer cannot change, and there are at most [`SEALED_MAX`] in the process; whatever cannot be sealed is
//! sent by writing it.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create, sendfile};
use rustix::net::{SendFlags, send};
use tokio::net::TcpStream;

/// Most sealed answers at once: each holds a file descriptor.
const SEALED_MAX: usize = 256;

static SEALED: AtomicUsize = AtomicUsize::new(0);

/// Most of an answer, in the kernel's memory.
#[derive(Debug)]
pub struct Sealed {
    file: OwnedFd,
    length: usize,
    _counted: Counted,
}

/// Counts a sealed answer for as long as it lives.
#[derive(Debug)]
struct Counted;

impl Counted {
    fn one() -> Option<Self> {
        let before = SEALED.fetch_add(1, Ordering::Relaxed);
        let counted = Self;
        (before < SEALED_MAX).then_some(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        SEALED.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Sealed {
    /// A sealed copy of some parts. None where there are too many, or the system has no such files.
    pub fn of(parts: &[&[u8]]) -> Option<Arc<Self>> {
        let counted = Counted::one()?;
        let length = parts.iter().map(|part| part.len()).sum();
        let sealed = seal(parts).map(|file| Self { file, length, _counted: counted });
        sealed.map(Arc::new).inspect_err(|error| tracing::debug!(%error, "an answer was not sealed")).ok()
    }

    /// How many bytes it has.
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Sends what follows the first `from` bytes, as much as the socket takes now.
    pub fn send(&self, stream: &TcpStream, from: usize) -> io::Result<usize> {
        let mut offset = from as u64;
        Ok(sendfile(stream, &self.file, Some(&mut offset), self.length.saturating_sub(from))?)
    }
}

/// Sends bytes that are followed by more at once, so that both travel in the same packets.
pub fn send_more(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    Ok(send(stream, bytes, SendFlags::MORE | SendFlags::NOSIGNAL)?)
}

fn seal(parts: &[&[u8]]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create("fovea-answer", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    for part in parts {
        file.write_all(part)?;
    }
    fcntl_add_seals(&file, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn what_was_sealed_arrives_behind_what_was_sent_before_it() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        let (mut client, (server, _)) = (client.unwrap(), accepted.unwrap());
        let body: Vec<u8> = (0..100_000_u32).map(|at| (at % 251) as u8).collect();
        let sealed = Sealed::of(&[&body[..10], &body[10..]]).unwrap();
        assert_eq!(sealed.length, body.len());
        assert!(rustix::io::write(&sealed.file, b"x").is_err(), "it is sealed");
        assert_eq!(send_more(&server, b"head").unwrap(), 4);
        let (mut sent, mut got) = (0, Vec::new());
        while got.len() < 4 + body.len() {
            match sealed.send(&server, sent) {
                Ok(more) => sent += more,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
            client.read_buf(&mut got).await.unwrap();
        }
        assert_eq!(sent, body.len());
        assert!(got[..4] == *b"head" && got[4..] == body);
    }
}
