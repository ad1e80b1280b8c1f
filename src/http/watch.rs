//! Keeping time over a connection, so that no client holds one for nothing: heads that do not end, connections nobody
//! uses, readers that do not read.
//!
//! Always true: a request on a busy connection arms no timer. Events leave a mark; one lazy timer a connection looks at the
//! marks when it fires and goes back to sleep, at most for the shortest of the timeouts.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::server::TlsStream;

use super::settings::ListenerLimits;

/// Why a connection was cut off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// A head, or a handshake, did not come in time.
    Head,
    /// Nobody used it.
    Idle,
    /// The client did not take what it asked for.
    Stall,
    /// The shutdown could wait no longer.
    Drain,
}

impl Cut {
    /// Its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Idle => "idle",
            Self::Stall => "stall",
            Self::Drain => "drain",
        }
    }
}

/// How heads are timed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heads {
    /// From the first byte that is read while no request is under way.
    ByReads,
    /// From where the reader says so: [`Watch::reading`].
    ByReader,
    /// Not at all: over h2, frames come without a request being on its way.
    Never,
}

/// The marks that a connection's events leave: milliseconds since the accept, plus one; zero is "not so".
#[derive(Debug)]
pub struct Watch {
    accepted: Instant,
    heads: Heads,
    /// When the last response was ready.
    answered: AtomicU64,
    /// Since when a head is being read.
    head: AtomicU64,
    /// Since when writing waits for the client.
    blocked: AtomicU64,
    /// Bytes it has taken since.
    taken: AtomicU64,
    in_flight: AtomicU32,
    /// Whether what is written counts as use.
    pub streams: bool,
}

impl Watch {
    /// A new connection.
    pub fn new(heads: Heads) -> Self {
        Self {
            accepted: Instant::now(),
            heads,
            answered: AtomicU64::new(0),
            head: AtomicU64::new(0),
            blocked: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
            streams: false,
        }
    }

    /// A request's head is complete.
    pub fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.head.store(0, Ordering::Relaxed);
    }

    /// Its response is ready, or it was given up.
    pub fn end(&self) {
        self.answered.store(self.now(), Ordering::Relaxed);
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        self.accepted.elapsed().as_millis() as u64 + 1
    }

    fn read(&self) {
        if self.heads == Heads::ByReads && self.in_flight.load(Ordering::Relaxed) == 0 {
            self.reading();
        }
    }

    /// A part of a head was read, and the rest is waited for.
    pub fn reading(&self) {
        if self.head.load(Ordering::Relaxed) == 0 {
            self.head.store(self.now(), Ordering::Relaxed);
        }
    }

    fn wrote(&self, bytes: usize, bytes_min: u64) {
        if self.streams {
            self.answered.store(self.now(), Ordering::Relaxed);
        }
        if self.blocked.load(Ordering::Relaxed) == 0 {
            return;
        }
        let taken = self.taken.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        if taken >= bytes_min {
            self.flushed();
        }
    }

    fn flushed(&self) {
        if self.blocked.load(Ordering::Relaxed) != 0 {
            self.blocked.store(0, Ordering::Relaxed);
            self.taken.store(0, Ordering::Relaxed);
        }
    }

    fn block(&self) {
        if self.blocked.load(Ordering::Relaxed) == 0 {
            self.blocked.store(self.now(), Ordering::Relaxed);
        }
    }

    /// When the connection is to be looked at next, and why it is cut off if the marks still stand then.
    fn due(&self, limits: &ListenerLimits) -> (Instant, Option<Cut>) {
        let after = |mark: u64, time: Duration| self.accepted + Duration::from_millis(mark.saturating_sub(1)) + time;
        let blocked = self.blocked.load(Ordering::Relaxed);
        if blocked != 0 {
            return (after(blocked, limits.stall_timeout), Some(Cut::Stall));
        }
        if self.in_flight.load(Ordering::Relaxed) > 0 {
            return (Instant::now() + limits.stall_timeout, None);
        }
        let (head, answered) = (self.head.load(Ordering::Relaxed), self.answered.load(Ordering::Relaxed));
        if head != 0 {
            (after(head, limits.head_timeout), Some(Cut::Head))
        } else if answered == 0 {
            (after(1, limits.head_timeout), Some(Cut::Head))
        } else {
            (after(answered, limits.idle_timeout), Some(Cut::Idle))
        }
    }
}

/// A connection's stream.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// The socket, where what is written is sent as it is.
    fn socket(&self) -> Option<&TcpStream>;
}

impl Wire for TcpStream {
    fn socket(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

impl Wire for TlsStream<TcpStream> {
    fn socket(&self) -> Option<&TcpStream> {
        None
    }
}

/// A stream that leaves marks.
pub struct Watched<S> {
    stream: S,
    watch: std::sync::Arc<Watch>,
    stall_bytes_min: u64,
}

impl<S> Watched<S> {
    /// A stream that leaves marks with the watch.
    pub const fn new(stream: S, watch: std::sync::Arc<Watch>, stall_bytes_min: u64) -> Self {
        Self { stream, watch, stall_bytes_min }
    }

    /// Whether [`Watched::poll_socket`] may be called.
    pub fn is_socket(&self) -> bool
    where
        S: Wire,
    {
        self.stream.socket().is_some()
    }

    /// Sends by a call of the socket's own, as soon as it takes something.
    pub fn poll_socket(
        &self,
        cx: &mut Context<'_>,
        send: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>>
    where
        S: Wire,
    {
        let Some(socket) = self.stream.socket() else { return Poll::Ready(Err(io::ErrorKind::Unsupported.into())) };
        loop {
            match socket.poll_write_ready(cx) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => return self.mark(Poll::Pending),
            }
            match socket.try_io(Interest::WRITABLE, || send(socket)) {
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => (),
                sent => return self.mark(Poll::Ready(sent)),
            }
        }
    }

    fn mark(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Pending => self.watch.block(),
            Poll::Ready(Ok(bytes)) => self.watch.wrote(*bytes, self.stall_bytes_min),
            Poll::Ready(Err(_)) => (),
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.watch.read();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.mark(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.mark(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        match &flushed {
            Poll::Pending => self.watch.block(),
            Poll::Ready(_) => self.watch.flushed(),
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        if shut.is_pending() {
            self.watch.block();
        }
        shut
    }
}

/// The end of a listener: began (no new connections or requests), over (what is left is cut off). Counts connections.
#[derive(Debug, Default)]
pub struct Drain {
    began: AtomicBool,
    over: AtomicBool,
    on_began: Notify,
    on_over: Notify,
    open: AtomicUsize,
    on_empty: Notify,
}

impl Drain {
    /// Begins the end.
    pub fn begin(&self) {
        self.began.store(true, Ordering::SeqCst);
        self.on_began.notify_waiters();
    }

    /// Cuts off what is left.
    pub fn end(&self) {
        self.begin();
        self.over.store(true, Ordering::SeqCst);
        self.on_over.notify_waiters();
    }

    /// Whether the end began.
    pub fn has_begun(&self) -> bool {
        self.began.load(Ordering::Relaxed)
    }

    /// Waits for the beginning of the end.
    pub async fn begun(&self) {
        Self::wait(&self.on_began, &self.began).await;
    }

    /// Waits for the end.
    pub async fn ended(&self) {
        Self::wait(&self.on_over, &self.over).await;
    }

    /// Waits until no connection is open.
    pub async fn empty(&self) {
        loop {
            let mut notified = pin!(self.on_empty.notified());
            notified.as_mut().enable();
            if self.open() == 0 {
                return;
            }
            notified.await;
        }
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Counts a connection, unless there are too many.
    pub fn enter(&self, connections_max: usize) -> bool {
        let entered = self.open.fetch_add(1, Ordering::SeqCst) < connections_max;
        if !entered {
            self.leave();
        }
        entered
    }

    /// A counted connection has closed.
    pub fn leave(&self) {
        if self.open.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.on_empty.notify_waiters();
        }
    }

    async fn wait(notify: &Notify, flag: &AtomicBool) {
        let mut notified = pin!(notify.notified());
        notified.as_mut().enable();
        if !flag.load(Ordering::SeqCst) {
            notified.await;
        }
    }
}

/// A connection that can be asked to end after what is under way.
pub trait Graceful: Future {
    /// Asks it.
    fn finish(self: Pin<&mut Self>);
}

/// Drives a connection until it ends by itself, or says why it was cut off.
pub async fn drive(connection: impl Graceful, watch: &Watch, limits: &ListenerLimits, drain: &Drain) -> Option<Cut> {
    let mut connection = pin!(connection);
    let (mut began, mut over) = (pin!(drain.on_began.notified()), pin!(drain.on_over.notified()));
    // A mark can appear right after a look, so no look is further away than the shortest time that a mark may stand.
    let look = limits.head_timeout.min(limits.idle_timeout).min(limits.stall_timeout);
    let mut alarm = pin!(tokio::time::sleep(look));
    let (mut registered, mut finishing) = (false, None::<Instant>);
    poll_fn(|cx| {
        if !registered {
            // Once is enough: the waker of a task stays the same, and the flags are looked at on every wake.
            registered = true;
            let _ = (began.as_mut().poll(cx), over.as_mut().poll(cx));
        }
        if drain.has_begun() {
            if drain.over.load(Ordering::Relaxed) {
                return Poll::Ready(Some(Cut::Drain));
            }
            if finishing.is_none() {
                finishing = Some(Instant::now());
                connection.as_mut().finish();
            }
        }
        loop {
            if connection.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            if alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let (due, cut) = watch.due(limits);
            let now = Instant::now();
            let next = match (cut, finishing) {
                (None, _) => due,
                _ if due > now => due,
                (Some(Cut::Idle), None) => {
                    // The polite end: GOAWAY, or just a close. A peer that ignores it is cut off.
                    finishing = Some(now);
                    connection.as_mut().finish();
                    now + look
                }
                (Some(Cut::Idle), Some(since)) if since + limits.stall_timeout > now => since + limits.stall_timeout,
                (Some(cut), _) => return Poll::Ready(Some(cut)),
            };
            alarm.as_mut().reset(next.min(now + look).into());
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_use_where_responses_are_streams() {
        for streams in [false, true] {
            let watch = Watch { streams, ..Watch::new(Heads::Never) };
            watch.begin();
            watch.end();
            let limits = ListenerLimits::default();
            let (before, cut) = watch.due(&limits);
            assert_eq!(cut, Some(Cut::Idle));
            std::thread::sleep(Duration::from_millis(20));
            watch.wrote(1, 1);
            assert_eq!(watch.due(&limits).0 > before, streams, "{streams}");
        }
    }
}
