//! From a host's name to a connection: resolve, ask the guard, connect. What the guard refuses is never sent a packet.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Error, Guard};

/// How many of a host's addresses are tried.
const ADDRESSES_MAX: usize = 4;

/// Opens TCP connections to where the guard lets it.
#[derive(Clone, Debug)]
pub struct Dial {
    guard: Arc<Guard>,
    connect_timeout: Duration,
}

/// [`Error`] on its way through the HTTP library.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct DialError(#[from] pub Error);

impl Dial {
    /// A dialler with so long to resolve and connect.
    pub fn new(guard: Guard, connect_timeout: Duration) -> Self {
        Self { guard: Arc::new(guard), connect_timeout }
    }

    async fn dial(self, url: Uri) -> Result<TcpStream, Error> {
        let host = url.host().ok_or_else(|| Error::Url("it has no host".into()))?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let usual = if url.scheme_str() == Some("https") { 443 } else { 80 };
        let port = url.port_u16().unwrap_or(usual);
        let end = Instant::now() + self.connect_timeout;
        let found = timeout_at(end, tokio::net::lookup_host((host, port))).await;
        let found = found.map_err(|_| Error::Timeout("resolving the host"))?;
        let found = found.map_err(|error| Error::Connect(format!("{host} does not resolve: {error}")))?;
        let mut refused = None;
        let allowed: Vec<SocketAddr> = found
            .filter(|address| {
                let allowed = self.guard.allows(address.ip());
                if !allowed {
                    refused = Some(address.ip());
                }
                allowed
            })
            .take(ADDRESSES_MAX)
            .collect();
        if allowed.is_empty() {
            return Err(match refused {
                Some(address) => Error::Forbidden(format!("{host} is at {address}, which is not a public address")),
                None => Error::Connect(format!("{host} has no address")),
            });
        }
        let mut last = Error::Timeout("connecting");
        for (at, address) in allowed.iter().enumerate() {
            // Each address gets its share of what is left, so that one that swallows packets does not use up all.
            let share = end.saturating_duration_since(Instant::now()) / (allowed.len() - at) as u32;
            match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => last = Error::Connect(format!("{host}: {error}")),
                Err(_) => last = Error::Timeout("connecting"),
            }
        }
        Err(last)
    }
}

impl tower_service::Service<Uri> for Dial {
    type Response = TokioIo<TcpStream>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        let dial = self.clone();
        Box::pin(async move { Ok(TokioIo::new(dial.dial(url).await?)) })
    }
}
