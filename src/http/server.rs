//! The listener: sockets, TLS, HTTP/1.1 and h2, bounds on connections, and the orderly end.
//!
//! Enters: a [`Listener`]'s settings and a [`Handler`]. Leaves: a [`Running`] server that can be drained.
//!
//! Always true: whatever a client does or leaves undone, its connection ends, and its share of memory is bounded.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use super::meters::ConnectionMeters;
use super::settings::{Listener, ListenerLimits};
use super::watch::{Cut, Drain, Graceful, Heads, Watch, Watched, Wire, drive};

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Its address, or that of the proxy before it.
    pub address: IpAddr,
    /// Whether it came by TLS.
    pub tls: bool,
}

/// What answers requests.
pub trait Handler: Sized + Send + Sync + 'static {
    /// The body of its responses.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + Unpin + 'static;

    /// How heads are timed over HTTP/1.
    const HEADS: Heads = Heads::ByReads;

    /// Answers a request: now, or later.
    fn handle(self: &Arc<Self>, peer: &Peer, request: Request<Incoming>) -> Reply<Self::Body>;

    /// Speaks HTTP/1 over a connection: by hyper, unless the handler has a shorter way.
    fn http1<S: Wire>(
        self: &Arc<Self>,
        stream: Watched<S>,
        peer: Peer,
        watch: Arc<Watch>,
        limits: &ListenerLimits,
    ) -> impl Graceful + Send + use<Self, S> {
        let mut builder = http1::Builder::new();
        // The buffer's bound is hyper's lowest or the head's, whichever is larger; the head's own bound is exact.
        builder.header_read_timeout(None);
        builder.max_headers(limits.headers_max);
        let buffer_bytes = limits.head_bytes_max.max(limits.read_bytes_max).max(8192);
        builder.max_header_size(limits.head_bytes_max).max_buf_size(buffer_bytes);
        builder.serve_connection(TokioIo::new(stream), Bound { handler: self.clone(), peer, watch })
    }
}

/// An answer, now or later. What is ready costs no allocation and no second poll.
pub enum Reply<B> {
    /// Now; taken by the first poll.
    Ready(Option<Response<B>>),
    /// Later.
    Later(Pin<Box<dyn Future<Output = Response<B>> + Send>>),
}

impl<B> Reply<B> {
    /// An answer that is ready.
    pub fn now(response: Response<B>) -> Self {
        Self::Ready(Some(response))
    }
}

/// Connections that wait to be accepted, at most.
const BACKLOG: i32 = 4096;
/// How long accepting rests when the process has no descriptor left.
const ACCEPT_REST: Duration = Duration::from_millis(50);
/// How h2 begins where nothing was negotiated.
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What a connection above the bound is told.
const REFUSED: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\n\
    cache-control: no-store\r\ncontent-length: 0\r\n\r\n";

/// A listener that holds its sockets and does not answer yet.
pub struct Server {
    settings: Listener,
    /// One list of sockets for each thread.
    sockets: Vec<Vec<StdListener>>,
    addresses: Vec<SocketAddr>,
}

impl Server {
    /// Takes the addresses. Clients can connect from now on; they are answered after [`Server::start`].
    pub fn bind(settings: Listener) -> io::Result<Self> {
        let threads = settings.threads.map_or(1, std::num::NonZeroUsize::get);
        let reuse = settings.reuse_port || threads > 1;
        let mut addresses = Vec::with_capacity(settings.addresses.len());
        let mut sockets: Vec<Vec<StdListener>> = (0..threads).map(|_| Vec::new()).collect();
        for wanted in &settings.addresses {
            if reuse && !settings.reuse_port && wanted.port() != 0 {
                // Sockets that share a port among threads would share it with a stranger's, too, which gets some of the
                // connections without a word. One that does not share finds the stranger.
                drop(listen(*wanted, false, true).map_err(|error| cannot(*wanted, &error))?);
            }
            let dual = !settings.addresses.iter().any(|other| other.is_ipv4() && other.port() == wanted.port());
            let mut address = *wanted;
            for list in &mut sockets {
                let socket = listen(address, reuse, dual).map_err(|error| cannot(address, &error))?;
                // Port 0 became a real one, which the other threads share.
                address = socket.local_addr()?;
                list.push(socket);
            }
            addresses.push(address);
        }
        Ok(Self { settings, sockets, addresses })
    }

    /// The addresses in use, in the order of the settings.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Begins to answer. Must be called within a runtime.
    pub fn start<H: Handler>(self, handler: Arc<H>) -> io::Result<Running> {
        let name = self.settings.name;
        let own_threads = self.settings.threads.is_some();
        let drain = Arc::new(Drain::default());
        let shared = Arc::new(Shared {
            meters: ConnectionMeters::new(name),
            settings: self.settings,
            handler,
            drain: drain.clone(),
        });
        let mut threads = Vec::new();
        for (at, sockets) in self.sockets.into_iter().enumerate() {
            if !own_threads {
                for socket in sockets {
                    tokio::spawn(accept(TcpListener::from_std(socket)?, shared.clone()));
                }
                continue;
            }
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let shared = shared.clone();
            threads.push(thread::Builder::new().name(format!("{name}-{at}")).spawn(move || {
                runtime.block_on(async {
                    for socket in sockets {
                        match TcpListener::from_std(socket) {
                            Ok(listener) => drop(tokio::spawn(accept(listener, shared.clone()))),
                            Err(error) => tracing::error!(%error, "a socket cannot be listened on"),
                        }
                    }
                    shared.drain.ended().await;
                });
            })?);
        }
        let limits = shared.settings.limits.clone();
        Ok(Running { drain, threads, addresses: self.addresses, limits })
    }
}

/// A server that answers. Dropping it cuts everything off; [`Running::drain`] is the orderly end.
pub struct Running {
    drain: Arc<Drain>,
    threads: Vec<JoinHandle<()>>,
    addresses: Vec<SocketAddr>,
    limits: ListenerLimits,
}

impl Running {
    /// The addresses in use.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.drain.open()
    }

    /// Takes no new connections or requests, waits for those under way, and after `drain_timeout` cuts off what is left.
    /// Tells how many connections that were.
    pub async fn drain(mut self) -> usize {
        self.drain.begin();
        let in_time = tokio::time::timeout(self.limits.drain_timeout, self.drain.empty()).await.is_ok();
        let left = if in_time { 0 } else { self.drain.open() };
        self.drain.end();
        let threads = std::mem::take(&mut self.threads);
        // A thread ends as soon as it sees the end; its runtime drops what was cut off.
        let _ = tokio::task::spawn_blocking(move || threads.into_iter().for_each(|thread| drop(thread.join()))).await;
        left
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.drain.end();
    }
}

struct Shared<H> {
    settings: Listener,
    handler: Arc<H>,
    drain: Arc<Drain>,
    meters: ConnectionMeters,
}

fn cannot(address: SocketAddr, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
}

fn listen(address: SocketAddr, reuse_port: bool, dual: bool) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!dual)?;
    }
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    // Inherited by accepted sockets on Linux, which saves a call for each.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

async fn accept<H: Handler>(listener: TcpListener, shared: Arc<Shared<H>>) {
    loop {
        let accepted = tokio::select! {
            () = shared.drain.begun() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) if shared.drain.enter(shared.settings.limits.connections_max) => {
                shared.meters.accepted.increment(1);
                shared.meters.open.increment(1.0);
                let open = Open(shared.clone());
                tokio::spawn(async move { connection(&open.0, stream, peer.ip()).await });
            }
            Ok((stream, _)) => {
                shared.meters.refused.increment(1);
                if shared.settings.tls.is_none() {
                    // Into the socket's buffer or not at all: nobody waits for a client that is refused.
                    let _ = stream.try_write(REFUSED);
                }
            }
            Err(error) => {
                // A client that left before it was accepted is no error of ours; a lack of descriptors passes.
                tracing::debug!(%error, "a connection was not accepted");
                if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
                    tokio::time::sleep(ACCEPT_REST).await;
                }
            }
        }
    }
}

/// Counts a connection for as long as it is open, however it ends.
struct Open<H>(Arc<Shared<H>>);

impl<H> Drop for Open<H> {
    fn drop(&mut self) {
        self.0.meters.open.decrement(1.0);
        self.0.drain.leave();
    }
}

async fn connection<H: Handler>(shared: &Shared<H>, stream: TcpStream, address: IpAddr) {
    let limits = &shared.settings.limits;
    let cut = match &shared.settings.tls {
        None => match first_bytes(&stream, limits.head_timeout, &shared.drain).await {
            Ok(h2) => serve(shared, stream, Peer { address, tls: false }, h2).await,
            Err(cut) => cut,
        },
        Some(certificates) => {
            let handshake = tokio::select! {
                () = shared.drain.begun() => return,
                handshake = tokio::time::timeout(limits.head_timeout, certificates.acceptor().accept(stream)) => handshake,
            };
            match handshake {
                Ok(Ok(stream)) => {
                    let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    serve(shared, stream, Peer { address, tls: true }, h2).await
                }
                Ok(Err(error)) => {
                    tracing::debug!(%error, "a TLS handshake failed");
                    None
                }
                Err(_) => Some(Cut::Head),
            }
        }
    };
    if let Some(cut) = cut {
        shared.meters.cut(cut.name());
    }
}

/// Whether the first bytes are the preface of h2; an error where the connection ended before it began. Looks without taking,
/// so that HTTP/1 reads its own bytes.
async fn first_bytes(stream: &TcpStream, timeout: Duration, drain: &Drain) -> Result<bool, Option<Cut>> {
    let look = async {
        let mut seen = [0; H2_PREFACE.len()];
        loop {
            let length = stream.peek(&mut seen).await.map_err(|_| None)?;
            match &seen[..length] {
                [] => return Err(None),
                // Three bytes tell PRI from POST and PUT; what is wrong after them is for h2 to refuse.
                [first, second, third, ..] => return Ok(*b"PRI" == [*first, *second, *third]),
                few if H2_PREFACE.starts_with(few) => tokio::time::sleep(Duration::from_millis(5)).await,
                _ => return Ok(false),
            }
        }
    };
    tokio::select! {
        () = drain.begun() => Err(None),
        seen = tokio::time::timeout(timeout, look) => seen.unwrap_or(Err(Some(Cut::Head))),
    }
}

async fn serve<H: Handler, S: Wire>(shared: &Shared<H>, stream: S, peer: Peer, h2: bool) -> Option<Cut> {
    let limits = &shared.settings.limits;
    let heads = if h2 { Heads::Never } else { H::HEADS };
    let mut watch = Watch::new(heads);
    watch.streams = limits.streams;
    let watch = Arc::new(watch);
    let stream = Watched::new(stream, watch.clone(), limits.stall_bytes_min);
    if h2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams_max)
            .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
            .keep_alive_interval(limits.stall_timeout)
            .keep_alive_timeout(limits.stall_timeout);
        let bound = Bound { handler: shared.handler.clone(), peer, watch: watch.clone() };
        drive(builder.serve_connection(TokioIo::new(stream), bound), &watch, limits, &shared.drain).await
    } else {
        drive(shared.handler.http1(stream, peer, watch.clone(), limits), &watch, limits, &shared.drain).await
    }
}

impl<I, S, B> Graceful for http1::Connection<I, S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<Box<dyn StdError + Send + Sync>>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: Body<Error: Into<Box<dyn StdError + Send + Sync>>> + 'static,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, S, B, E> Graceful for http2::Connection<I, S, E>
where
    Self: Future,
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<Box<dyn StdError + Send + Sync>>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: Body<Error: Into<Box<dyn StdError + Send + Sync>>> + 'static,
    E: hyper::rt::bounds::Http2ServerConnExec<S::Future, B>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// The handler, bound to one connection.
struct Bound<H> {
    handler: Arc<H>,
    peer: Peer,
    watch: Arc<Watch>,
}

impl<H: Handler> Service<Request<Incoming>> for Bound<H> {
    type Response = Response<H::Body>;
    type Error = Infallible;
    type Future = InFlight<H::Body>;

    fn call(&self, request: Request<Incoming>) -> InFlight<H::Body> {
        self.watch.begin();
        let watch = self.watch.clone();
        InFlight { reply: self.handler.handle(&self.peer, request), watch }
    }
}

/// A request under way.
struct InFlight<B> {
    reply: Reply<B>,
    watch: Arc<Watch>,
}

impl<B: Unpin> Future for InFlight<B> {
    type Output = Result<Response<B>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.reply {
            Reply::Ready(response) => match response.take() {
                Some(response) => Poll::Ready(Ok(response)),
                None => Poll::Pending,
            },
            Reply::Later(future) => future.as_mut().poll(cx).map(Ok),
        }
    }
}

impl<B> Drop for InFlight<B> {
    fn drop(&mut self) {
        self.watch.end();
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
