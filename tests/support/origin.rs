//! HTTP origins that do what a test says, well-behaved or not, with and without TLS; and what they were asked.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

pub type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;

/// What an origin was asked.
pub type Asked = Arc<Mutex<Vec<Request<Bytes>>>>;

/// A running origin; it ends with the test's runtime, or when it is dropped.
pub struct Origin {
    pub address: SocketAddr,
    pub asked: Asked,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A body that is there at once.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed()
}

/// A plain answer.
pub fn answer(status: u16, bytes: impl Into<Bytes>) -> Response<Body> {
    Response::builder().status(status).body(full(bytes)).unwrap()
}

/// A redirect.
pub fn redirect(location: &str) -> Response<Body> {
    Response::builder().status(302).header("location", location).body(full("")).unwrap()
}

impl Origin {
    /// An origin on 127.0.0.1 that answers with what the function says; it is told the request and how many came before.
    pub async fn start<F>(respond: F) -> Self
    where
        F: Fn(&Request<Bytes>, usize) -> Response<Body> + Send + Sync + 'static,
    {
        Self::start_at(Ipv4Addr::LOCALHOST.into(), None, respond).await
    }

    /// The same, at another address of loopback, and with TLS where it is given.
    pub async fn start_at<F>(address: IpAddr, tls: Option<TlsAcceptor>, respond: F) -> Self
    where
        F: Fn(&Request<Bytes>, usize) -> Response<Body> + Send + Sync + 'static,
    {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Asked::default();
        let respond = Arc::new(respond);
        let log = Arc::clone(&asked);
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (log, respond, tls) = (Arc::clone(&log), Arc::clone(&respond), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, log, respond).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, log, respond).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, asked, accepting }
    }

    /// An origin that knows no HTTP: after a request's head it writes these bytes and does as `then` says.
    pub async fn raw(bytes: impl Into<Bytes>, then: Then) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let bytes = bytes.into();
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(misbehave(stream, bytes.clone(), then));
            }
        });
        Self { address, asked: Asked::default(), accepting }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many requests came.
    pub fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// A header of a request that came, as text.
    pub fn header(&self, request: usize, name: &str) -> Option<String> {
        let asked = self.asked.lock().unwrap();
        asked[request].headers().get(name).map(|value| value.to_str().unwrap().to_owned())
    }
}

/// What a misbehaving origin does after its bytes.
#[derive(Clone, Copy)]
pub enum Then {
    /// Closes the connection.
    Close,
    /// Says nothing more.
    Hang,
    /// Repeats the bytes' second half for ever.
    Flood,
    /// A byte every few milliseconds, for ever.
    Drip,
}

async fn serve<S, F>(stream: S, asked: Asked, respond: Arc<F>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(&Request<Bytes>, usize) -> Response<Body> + Send + Sync + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (asked, respond) = (Arc::clone(&asked), Arc::clone(&respond));
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let request = Request::from_parts(head, body);
            let before = asked.lock().unwrap().len();
            let response = respond(&request, before);
            asked.lock().unwrap().push(request);
            Ok::<_, Infallible>(response)
        }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn misbehave(mut stream: TcpStream, bytes: Bytes, then: Then) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    if stream.write_all(&bytes).await.is_err() {
        return;
    }
    match then {
        Then::Close => {}
        Then::Hang => std::future::pending().await,
        Then::Flood => while stream.write_all(&bytes[bytes.len() / 2..]).await.is_ok() {},
        Then::Drip => {
            while stream.write_all(b"x").await.is_ok() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }
    }
}

/// A certificate for some names, self-signed: as PEM to trust, and a server that shows it.
pub fn tls(names: &[&str]) -> (Vec<u8>, TlsAcceptor) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (made.cert.pem().into_bytes(), TlsAcceptor::from(Arc::new(config)))
}
