//! The listener over real sockets: protocols, bounds, slow clients, the orderly end.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use http_body_util::{BodyExt, Empty, Full};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::http::tls::Certificates;

/// `/` is a greeting, `/large` 64 MiB, `/slow` waits for as many milliseconds as the query says.
#[derive(Default)]
struct Test {
    begun: AtomicUsize,
    left: Arc<AtomicUsize>,
}

const LARGE: usize = 64 << 20;

impl Handler for Test {
    type Body = Full<Bytes>;

    fn handle(self: &Arc<Self>, _peer: &Peer, request: Request<Incoming>) -> Reply<Full<Bytes>> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        match request.uri().path() {
            "/large" => Reply::now(Response::new(Full::from(vec![7; LARGE]))),
            "/slow" => {
                struct Left(Arc<AtomicUsize>);
                impl Drop for Left {
                    fn drop(&mut self) {
                        self.0.fetch_add(1, Ordering::SeqCst);
                    }
                }
                let wait = Duration::from_millis(request.uri().query().unwrap().parse().unwrap());
                let left = Left(self.left.clone());
                Reply::Later(Box::pin(async move {
                    tokio::time::sleep(wait).await;
                    drop(left);
                    Response::new(Full::from("slow"))
                }))
            }
            _ => Reply::now(Response::new(Full::from("hello"))),
        }
    }
}

fn settings(change: impl FnOnce(&mut ListenerLimits)) -> Listener {
    let mut listener = Listener::new("test", vec!["127.0.0.1:0".parse().unwrap()]);
    change(&mut listener.limits);
    listener
}

fn start(settings: Listener) -> (Running, Arc<Test>, SocketAddr) {
    let handler = Arc::new(Test::default());
    let running = Server::bind(settings).unwrap().start(handler.clone()).unwrap();
    let address = running.addresses()[0];
    (running, handler, address)
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// Reads until the other end closes, or for two seconds; tells whether it closed. A reset is a close too.
async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) -> (String, bool) {
    let mut bytes = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(2), stream.read_to_end(&mut bytes)).await.is_ok();
    (String::from_utf8_lossy(&bytes).into_owned(), ended)
}

async fn ask(address: SocketAddr, request: &[u8]) -> (String, bool) {
    let mut stream = connect(address).await;
    stream.write_all(request).await.unwrap();
    read_to_end(&mut stream).await
}

#[tokio::test]
async fn http1_answers_and_keeps_the_connection() {
    let (_running, handler, address) = start(settings(|_| ()));
    let twice = b"GET / HTTP/1.1\r\nhost: x\r\n\r\nGET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let (text, ended) = ask(address, twice).await;
    assert!(ended);
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2, "{text}");
    assert_eq!(text.matches("hello").count(), 2);
    assert!(text.contains("content-length: 5") && text.contains("date: "), "{text}");
    assert_eq!(handler.begun.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn h2_by_prior_knowledge() {
    let (_running, _, address) = start(settings(|_| ()));
    let io = TokioIo::new(connect(address).await);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), io).await.unwrap();
    let driven = tokio::spawn(connection);
    for _ in 0..3 {
        let request = Request::get(format!("http://{address}/")).body(Empty::new()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.version(), http::Version::HTTP_2);
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
    }
    drop(sender);
    driven.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_post_is_no_preface() {
    let (_running, _, address) = start(settings(|_| ()));
    let mut stream = connect(address).await;
    // Byte by byte at first, so that the listener sees a `P` alone.
    for piece in ["P", "U", "T / HTTP/1.1\r\nconnection: close\r\n\r\n"] {
        stream.write_all(piece.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (text, ended) = read_to_end(&mut stream).await;
    assert!(ended && text.starts_with("HTTP/1.1 200"), "{text}");
}

#[tokio::test]
async fn heads_are_bounded() {
    let (_running, handler, address) = start(settings(|_| ()));
    let large = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(17 << 10));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(101));
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "y".repeat(70 << 10));
    for request in [large, many, long] {
        let (text, ended) = ask(address, request.as_bytes()).await;
        assert!(ended, "the connection is closed");
        // Where the client still sends, the answer may be lost to a reset; there is never a 200.
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 431") || text.starts_with("HTTP/1.1 414"), "{text}");
    }
    assert_eq!(handler.begun.load(Ordering::SeqCst), 0);
    let (text, _) = ask(address, b"GET / HTTP/1.1\r\nx: \x01\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 400"), "{text}");
}

#[tokio::test]
async fn clients_that_send_slowly_are_cut_off() {
    let (running, handler, address) = start(settings(|limits| {
        limits.head_timeout = Duration::from_millis(300);
        limits.idle_timeout = Duration::from_secs(60);
    }));
    let since = Instant::now();
    for begin in ["", "P", "GET / HTTP/1.1\r\nhost: x\r\n"] {
        let mut stream = connect(address).await;
        stream.write_all(begin.as_bytes()).await.unwrap();
        let (text, ended) = read_to_end(&mut stream).await;
        assert!(ended && text.is_empty(), "{begin:?}: {text}");
    }
    // A head that trickles in: each byte is progress, the whole is not.
    let mut stream = connect(address).await;
    let (mut reading, mut writing) = stream.split();
    let trickle = async {
        for byte in "GET / HTTP/1.1\r\nx-padding: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy".bytes() {
            if writing.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    };
    let ((), (text, ended)) = tokio::join!(trickle, read_to_end(&mut reading));
    assert!(ended && text.is_empty(), "{text}");
    assert!(since.elapsed() < Duration::from_secs(8));
    assert_eq!(handler.begun.load(Ordering::SeqCst), 0);
    tokio::time::timeout(Duration::from_secs(2), running.drain()).await.unwrap();
}

#[tokio::test]
async fn connections_that_nobody_uses_are_closed() {
    let (_running, _, address) = start(settings(|limits| {
        limits.idle_timeout = Duration::from_millis(300);
        limits.head_timeout = Duration::from_secs(60);
    }));
    let since = Instant::now();
    let (text, ended) = ask(address, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(ended && text.ends_with("hello"), "{text}");
    assert!(since.elapsed() >= Duration::from_millis(250), "{:?}", since.elapsed());

    let io = TokioIo::new(connect(address).await);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), io).await.unwrap();
    let driven = tokio::spawn(connection);
    sender.send_request(Request::get(format!("http://{address}/")).body(Empty::new()).unwrap()).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(2), driven).await;
    assert!(ended.is_ok(), "an idle h2 connection gets GOAWAY");
}

#[tokio::test]
async fn clients_that_do_not_read_are_cut_off() {
    let (running, _, address) = start(settings(|limits| limits.stall_timeout = Duration::from_millis(400)));
    let mut idle = connect(address).await;
    idle.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(30)).await;
        if running.connections() == 0 {
            break;
        }
    }
    assert_eq!(running.connections(), 0, "a reader that takes nothing is cut off");

    // Slow, but reading: gets everything, though it takes longer than the timeout.
    let mut slow = connect(address).await;
    slow.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let (mut bytes, mut buffer) = (0, vec![0; 4 << 20]);
    let since = Instant::now();
    while let Ok(read @ 1..) = slow.read(&mut buffer).await {
        bytes += read;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(bytes > LARGE, "{bytes} after {:?}", since.elapsed());
}

#[tokio::test]
async fn what_the_client_left_is_cancelled() {
    let (_running, handler, address) = start(settings(|_| ()));
    let mut stream = connect(address).await;
    stream.write_all(b"GET /slow?60000 HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    while handler.begun.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(stream);
    let left = async {
        while handler.left.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(2), left).await.expect("the request's future is dropped");
}

#[tokio::test]
async fn a_connection_above_the_bound_is_refused() {
    let (_running, _, address) = start(settings(|limits| limits.connections_max = 1));
    let first = connect(address).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (text, ended) = read_to_end(&mut connect(address).await).await;
    assert!(ended && text.starts_with("HTTP/1.1 503") && text.contains("retry-after: 1"), "{text}");
    drop(first);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (text, _) = ask(address, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
}

#[tokio::test]
async fn draining_finishes_what_is_under_way() {
    let (running, handler, address) = start(settings(|_| ()));
    let under_way = tokio::spawn(async move { ask(address, b"GET /slow?400 HTTP/1.1\r\nhost: x\r\n\r\n").await });
    let mut idle = connect(address).await;
    idle.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    while handler.begun.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let drained = tokio::spawn(running.drain());
    let (text, ended) = read_to_end(&mut idle).await;
    assert!(ended && text.ends_with("hello"), "an idle connection closes at once: {text}");
    assert!(!drained.is_finished());
    assert!(TcpStream::connect(address).await.is_err(), "nobody is accepted any more");
    let (text, ended) = under_way.await.unwrap();
    assert!(ended && text.ends_with("slow") && text.contains("connection: close"), "{text}");
    assert_eq!(drained.await.unwrap(), 0);
}

#[tokio::test]
async fn draining_does_not_wait_for_ever() {
    let (running, handler, address) = start(settings(|limits| limits.drain_timeout = Duration::from_millis(200)));
    let mut stream = connect(address).await;
    stream.write_all(b"GET /slow?60000 HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    while handler.begun.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let left = tokio::time::timeout(Duration::from_secs(2), running.drain()).await.unwrap();
    assert_eq!(left, 1);
    let (text, ended) = read_to_end(&mut stream).await;
    assert!(ended && text.is_empty(), "{text}");
}

#[tokio::test]
async fn threads_of_its_own_share_one_port() {
    let mut listener = settings(|_| ());
    listener.threads = NonZeroUsize::new(3);
    let (running, handler, address) = start(listener);
    for _ in 0..20 {
        let (text, _) = ask(address, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert!(text.ends_with("hello"), "{text}");
    }
    assert_eq!(handler.begun.load(Ordering::SeqCst), 20);
    assert_eq!(tokio::time::timeout(Duration::from_secs(5), running.drain()).await.unwrap(), 0);
    assert!(TcpStream::connect(address).await.is_err());
}

/// A client that trusts exactly one certificate.
async fn tls(
    address: SocketAddr,
    root: &CertificateDer<'static>,
    alpn: &[u8],
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, connect(address).await).await
}

#[tokio::test]
async fn tls_speaks_both_protocols_and_takes_a_new_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
    let write = || {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(&chain, cert.pem()).unwrap();
        std::fs::write(&key, signing_key.serialize_pem()).unwrap();
        cert.der().clone()
    };
    let first = write();
    let certificates = Arc::new(Certificates::load(&chain, &key).unwrap());
    let mut listener = settings(|limits| limits.head_timeout = Duration::from_millis(500));
    listener.tls = Some(certificates.clone());
    let (_running, _, address) = start(listener);

    let mut stream = tls(address, &first, b"http/1.1").await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let (text, _) = read_to_end(&mut stream).await;
    assert!(text.ends_with("hello"), "{text}");

    let io = TokioIo::new(tls(address, &first, b"h2").await.unwrap());
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let response = sender.send_request(Request::get("https://localhost/").body(Empty::new()).unwrap()).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");

    let second = write();
    assert!(tls(address, &second, b"h2").await.is_err(), "not before it is read");
    certificates.reload().unwrap();
    assert!(tls(address, &second, b"h2").await.is_ok());
    std::fs::write(&key, "nonsense").unwrap();
    assert!(certificates.reload().is_err());
    assert!(tls(address, &second, b"h2").await.is_ok(), "the old pair stays");

    // A handshake that does not come is cut off.
    let (text, ended) = ask(address, b"\x16\x03\x01").await;
    assert!(ended && text.is_empty(), "{text}");
}
