//! HTTP/1 for a listener whose requests bring no body: one read, one answer, one write, and nothing held in between.
//!
//! Enters: a connection and what answers its requests. A connection that waits for its client holds no buffer: heads are read
//! into a buffer of the thread, and answers are made in one, which are copied only where a head or an answer goes through in
//! pieces.
//!
//! Always true: answers leave in the order of their requests, one at a time; what follows a body is never read as a request.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::block::{self, Ending};
use super::head::{self, Fault, Head, Reading};
use super::sealed::{Sealed, send_more};
use super::server::{Peer, Reply};
use super::settings::ListenerLimits;
use super::watch::{Graceful, Watch, Watched, Wire};

/// Room for a usual head, and for several that came at once. What is longer is gathered in the connection.
const READ_BYTES: usize = 8 << 10;
/// Answers to one connection before others have their turn.
const TURNS_MAX: usize = 32;
/// What a client may still send of a body that nobody reads before it is cut off: enough for it to see the answer first.
const LINGER_BYTES_MAX: usize = 1 << 20;

/// What answers the requests of a connection.
pub trait Lane: Send + Sync + 'static {
    /// Answers a request. The head of an answer that is there at once is written to `out`, all but what `Cargo` brings.
    fn turn(self: &Arc<Self>, peer: &Peer, head: &Head<'_>, way: Way, out: &mut Vec<u8>) -> Turn;

    /// Answers what is no request. The connection ends after it.
    fn refuse(self: &Arc<Self>, peer: &Peer, fault: Fault) -> Response<Bytes>;
}

/// What the head of an answer says of its connection, and what that can take.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// What becomes of it.
    pub ending: Ending,
    /// Whether it is a bare socket, which takes [`Cargo::Sealed`].
    pub socket: bool,
}

/// An answer.
pub enum Turn {
    /// Its head was written; this is its body.
    Written(Cargo),
    /// Now, or later.
    Reply(Reply<Bytes>),
}

/// What of an answer follows the head that was written.
#[derive(Clone, Debug)]
pub enum Cargo {
    /// Its body; may be empty.
    Bytes(Bytes),
    /// The end of its head and its body, in the kernel's memory.
    Sealed(Arc<Sealed>),
}

/// What one thread reads into and writes from, for all of its connections.
struct Desk {
    read: Box<[u8]>,
    out: Vec<u8>,
}

thread_local! {
    static DESK: RefCell<Desk> = RefCell::new(Desk { read: vec![0; READ_BYTES].into(), out: Vec::with_capacity(2048) });
}

/// A connection: drives itself from request to request.
pub struct Connection<L, S> {
    lane: Arc<L>,
    peer: Peer,
    stream: Watched<S>,
    watch: Arc<Watch>,
    head_bytes_max: usize,
    fields_max: usize,
    /// What was read and is not answered yet.
    rest: Vec<u8>,
    /// Whether `rest` may begin with a complete head.
    unread: bool,
    finishing: bool,
    state: State,
}

enum State {
    /// For the next head.
    Head,
    /// For the answer; `keeps` says whether the client would send more, `body` whether it sends what nobody reads.
    Answer { future: Pin<Box<dyn Future<Output = Response<Bytes>> + Send>>, asked: Asked },
    /// For the client to take an answer.
    Sending(Sending),
    /// For the client to close, after the last answer. Counts what it may still send.
    Lingering(usize),
    /// For the close to be sent.
    Closing,
}

/// What the rest of the way depends on.
#[derive(Clone, Copy)]
struct Asked {
    keeps: bool,
    body: bool,
    version: http::Version,
}

/// An answer on its way.
struct Sending {
    head: Vec<u8>,
    cargo: Cargo,
    sent: usize,
    last: Last,
}

/// Whether an answer is a connection's last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    No,
    /// It ends.
    Yes,
    /// It ends, though the client may still send, and must not lose the answer over that.
    Lingers,
}

/// Whether a connection goes on.
enum Step {
    On,
    Over,
}

impl Cargo {
    /// How many bytes it has.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Sealed(sealed) => sealed.len(),
        }
    }
}

impl<L: Lane, S: Wire> Connection<L, S> {
    /// A connection whose first request is to come.
    pub fn new(lane: Arc<L>, peer: Peer, stream: Watched<S>, watch: Arc<Watch>, limits: &ListenerLimits) -> Self {
        Self {
            lane,
            peer,
            stream,
            watch,
            head_bytes_max: limits.head_bytes_max,
            fields_max: limits.headers_max,
            rest: Vec::new(),
            unread: false,
            finishing: false,
            state: State::Head,
        }
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Step>> {
        match &mut self.state {
            State::Head => DESK.with_borrow_mut(|desk| self.head(cx, desk)),
            State::Answer { future, asked } => {
                let asked = *asked;
                if let Poll::Ready(response) = future.as_mut().poll(cx) {
                    self.watch.end();
                    let mut out = Vec::with_capacity(1024);
                    return self.respond(cx, response, asked, &mut out);
                }
                DESK.with_borrow_mut(|desk| self.listen(cx, &mut desk.read))
            }
            State::Sending(sending) => {
                let sent = send(&mut self.stream, cx, &sending.head, &sending.cargo, &mut sending.sent);
                ready!(sent)?;
                let last = sending.last;
                self.sent(cx, last)
            }
            State::Lingering(left) => {
                let taken = DESK.with_borrow_mut(|desk| read(&mut self.stream, cx, &mut desk.read));
                let taken = ready!(taken)?;
                *left = left.saturating_sub(taken);
                Poll::Ready(Ok(if taken == 0 || *left == 0 { Step::Over } else { Step::On }))
            }
            State::Closing => {
                ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
                Poll::Ready(Ok(Step::Over))
            }
        }
    }

    /// Reads the next head, and answers it.
    fn head(&mut self, cx: &mut Context<'_>, desk: &mut Desk) -> Poll<io::Result<Step>> {
        if self.unread {
            self.unread = false;
            let rest = std::mem::take(&mut self.rest);
            return self.take(cx, &rest, &mut desk.out);
        }
        let taken = match read(&mut self.stream, cx, &mut desk.read) {
            Poll::Ready(taken) => taken?,
            Poll::Pending if self.finishing && self.rest.is_empty() => {
                self.state = State::Closing;
                return Poll::Ready(Ok(Step::On));
            }
            Poll::Pending => {
                if !self.rest.is_empty() {
                    self.watch.reading();
                }
                return Poll::Pending;
            }
        };
        let new = &desk.read[..taken];
        if new.is_empty() {
            return Poll::Ready(Ok(Step::Over));
        }
        if self.rest.is_empty() {
            return self.take(cx, new, &mut desk.out);
        }
        self.rest.extend_from_slice(new);
        // A head that trickles in is read again only where a line has ended, or where it is too long.
        self.unread = new.contains(&b'\n') || self.rest.len() > self.head_bytes_max;
        Poll::Ready(Ok(Step::On))
    }

    /// Answers the head that a buffer begins with, and keeps what follows it.
    fn take(&mut self, cx: &mut Context<'_>, buffer: &[u8], out: &mut Vec<u8>) -> Poll<io::Result<Step>> {
        let mut fields = head::fields();
        out.clear();
        let (head, length) = match Head::read(buffer, &mut fields, self.head_bytes_max, self.fields_max) {
            Ok(Reading::Whole(head, length)) => (head, length),
            Ok(Reading::Partial) => {
                self.rest = buffer.to_vec();
                return Poll::Ready(Ok(Step::On));
            }
            Err(fault) => {
                self.watch.begin();
                let response = self.lane.refuse(&self.peer, fault);
                self.watch.end();
                let asked = Asked { keeps: false, body: true, version: http::Version::HTTP_11 };
                return self.respond(cx, response, asked, out);
            }
        };
        let asked = Asked { keeps: head.keeps(), body: head.known.body, version: head.version };
        if !asked.body && length < buffer.len() {
            self.rest = buffer[length..].to_vec();
            self.unread = true;
        }
        self.watch.begin();
        let ending = self.ending(asked);
        let way = Way { ending, socket: self.stream.is_socket() };
        match self.lane.turn(&self.peer, &head, way, out) {
            Turn::Written(cargo) => {
                self.watch.end();
                self.send(cx, out, cargo, last(ending, asked))
            }
            Turn::Reply(Reply::Ready(response)) => {
                self.watch.end();
                let response = response.expect("a reply is taken once");
                self.respond(cx, response, asked, out)
            }
            Turn::Reply(Reply::Later(future)) => {
                self.state = State::Answer { future, asked };
                Poll::Ready(Ok(Step::On))
            }
        }
    }

    /// While the answer is made: sees the client leave, which ends the work, and keeps what it sends meanwhile.
    fn listen(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<Step>> {
        loop {
            if self.rest.len() > self.head_bytes_max {
                return Poll::Pending;
            }
            let taken = ready!(read(&mut self.stream, cx, buffer))?;
            if taken == 0 {
                self.watch.end();
                return Poll::Ready(Ok(Step::Over));
            }
            if let State::Answer { asked: Asked { body: false, .. }, .. } = self.state {
                self.rest.extend_from_slice(&buffer[..taken]);
                self.unread = true;
            }
        }
    }

    fn ending(&self, asked: Asked) -> Ending {
        if !asked.keeps || asked.body || self.finishing {
            Ending::Ends
        } else if asked.version == http::Version::HTTP_10 {
            Ending::StaysSaid
        } else {
            Ending::Stays
        }
    }

    fn respond(
        &mut self,
        cx: &mut Context<'_>,
        mut response: Response<Bytes>,
        asked: Asked,
        out: &mut Vec<u8>,
    ) -> Poll<io::Result<Step>> {
        let ending = self.ending(asked);
        out.clear();
        block::head(out, &mut response, ending);
        self.send(cx, out, Cargo::Bytes(response.into_body()), last(ending, asked))
    }

    fn send(&mut self, cx: &mut Context<'_>, head: &[u8], cargo: Cargo, last: Last) -> Poll<io::Result<Step>> {
        let mut sent = 0;
        if send(&mut self.stream, cx, head, &cargo, &mut sent)?.is_pending() {
            self.state = State::Sending(Sending { head: head.to_vec(), cargo, sent, last });
            return Poll::Pending;
        }
        self.sent(cx, last)
    }

    fn sent(&mut self, cx: &mut Context<'_>, last: Last) -> Poll<io::Result<Step>> {
        self.state = match last {
            Last::No => State::Head,
            Last::Yes => State::Closing,
            Last::Lingers => {
                self.watch.reading();
                if Pin::new(&mut self.stream).poll_shutdown(cx)?.is_pending() {
                    // Only TLS waits here; it needs no lingering, as its close says that it is one.
                    self.state = State::Closing;
                    return Poll::Pending;
                }
                State::Lingering(LINGER_BYTES_MAX)
            }
        };
        Poll::Ready(Ok(Step::On))
    }
}

const fn last(ending: Ending, asked: Asked) -> Last {
    match (ending, asked.body) {
        (Ending::Ends, true) => Last::Lingers,
        (Ending::Ends, false) => Last::Yes,
        (Ending::Stays | Ending::StaysSaid, _) => Last::No,
    }
}

fn read<S: Wire>(stream: &mut Watched<S>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
    let mut buffer = ReadBuf::new(buffer);
    ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
    Poll::Ready(Ok(buffer.filled().len()))
}

/// Sends what of head and body was not sent yet, and flushes it.
fn send<S: Wire>(
    stream: &mut Watched<S>,
    cx: &mut Context<'_>,
    head: &[u8],
    cargo: &Cargo,
    sent: &mut usize,
) -> Poll<io::Result<()>> {
    let whole = head.len() + cargo.len();
    while *sent < whole {
        let (head, at) = (&head[(*sent).min(head.len())..], sent.saturating_sub(head.len()));
        let written = match cargo {
            Cargo::Sealed(_) if !head.is_empty() => stream.poll_socket(cx, |socket| send_more(socket, head)),
            Cargo::Sealed(sealed) => stream.poll_socket(cx, |socket| sealed.send(socket, at)),
            Cargo::Bytes(bytes) => {
                let body = &bytes[at..];
                match (head.is_empty(), body.is_empty()) {
                    (false, false) if stream.is_write_vectored() => {
                        Pin::new(&mut *stream).poll_write_vectored(cx, &[IoSlice::new(head), IoSlice::new(body)])
                    }
                    (false, _) => Pin::new(&mut *stream).poll_write(cx, head),
                    (true, _) => Pin::new(&mut *stream).poll_write(cx, body),
                }
            }
        };
        match ready!(written)? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => *sent += written,
        }
    }
    Pin::new(stream).poll_flush(cx)
}

impl<L: Lane, S: Wire> Future for Connection<L, S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..TURNS_MAX {
            match ready!(self.step(cx)) {
                Ok(Step::On) => (),
                Ok(Step::Over) => return Poll::Ready(()),
                Err(error) => {
                    tracing::debug!(%error, "a connection broke");
                    return Poll::Ready(());
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<L: Lane, S: Wire> Graceful for Connection<L, S> {
    fn finish(mut self: Pin<&mut Self>) {
        self.finishing = true;
    }
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
