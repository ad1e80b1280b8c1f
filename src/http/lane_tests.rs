//! HTTP/1 without hyper, over real sockets: what is answered in which order, what ends a connection, what a client that leaves,
//! stalls or sends what nobody asked for comes to.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::StatusCode;
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::http::head::Head;
use crate::http::server::{Handler, Running, Server};
use crate::http::settings::Listener;
use crate::http::watch::Heads;

/// `/later?N` answers after N milliseconds, `/sealed` from the kernel's memory, all else with its own method and target.
#[derive(Default)]
struct Test {
    begun: AtomicUsize,
    left: Arc<AtomicUsize>,
}

/// Larger than what a socket takes at once.
const LARGE: usize = 24 << 20;

impl Lane for Test {
    fn turn(self: &Arc<Self>, _: &Peer, head: &Head<'_>, way: Way, out: &mut Vec<u8>) -> Turn {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let now = |body: Vec<u8>| Turn::Reply(Reply::now(Response::new(Bytes::from(body))));
        match (head.path().unwrap_or_default(), head.target.split_once('?')) {
            ("/sealed", _) if way.socket => {
                block::begin(out, StatusCode::OK, way.ending);
                let head = format!("content-length: {LARGE}\r\n\r\n");
                Turn::Written(Cargo::Sealed(Sealed::of(&[head.as_bytes(), &large()]).unwrap()))
            }
            ("/large" | "/sealed", _) => now(large()),
            ("/later", Some((_, wait))) => {
                struct Left(Arc<AtomicUsize>);
                impl Drop for Left {
                    fn drop(&mut self) {
                        self.0.fetch_add(1, Ordering::SeqCst);
                    }
                }
                let (wait, left) = (Duration::from_millis(wait.parse().unwrap()), Left(self.left.clone()));
                Turn::Reply(Reply::Later(Box::pin(async move {
                    tokio::time::sleep(wait).await;
                    drop(left);
                    Response::new(Bytes::from_static(b"later"))
                })))
            }
            _ => now(format!("{} {}", head.method, head.target).into_bytes()),
        }
    }

    fn refuse(self: &Arc<Self>, _: &Peer, fault: Fault) -> Response<Bytes> {
        let body = Bytes::from(format!("{fault:?}"));
        Response::builder().status(StatusCode::BAD_REQUEST).body(body).unwrap()
    }
}

impl Handler for Test {
    type Body = Full<Bytes>;

    const HEADS: Heads = Heads::ByReader;

    fn handle(self: &Arc<Self>, _: &Peer, _: http::Request<Incoming>) -> Reply<Full<Bytes>> {
        unreachable!("no test speaks h2")
    }

    fn http1<S: Wire>(
        self: &Arc<Self>,
        stream: Watched<S>,
        peer: Peer,
        watch: Arc<Watch>,
        limits: &ListenerLimits,
    ) -> impl Graceful + Send + use<S> {
        Connection::new(self.clone(), peer, stream, watch, limits)
    }
}

fn large() -> Vec<u8> {
    (0..LARGE).map(|at| (at % 253) as u8).collect()
}

fn start(change: impl FnOnce(&mut ListenerLimits)) -> (Running, Arc<Test>, SocketAddr) {
    let mut listener = Listener::new("test", vec!["127.0.0.1:0".parse().unwrap()]);
    change(&mut listener.limits);
    let handler = Arc::new(Test::default());
    let running = Server::bind(listener).unwrap().start(handler.clone()).unwrap();
    let address = running.addresses()[0];
    (running, handler, address)
}

/// Reads until the other end closes, or for two seconds; tells whether it closed.
async fn rest(stream: &mut TcpStream) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(2), stream.read_to_end(&mut bytes)).await;
    (bytes, ended.is_ok_and(|read| read.is_ok()))
}

async fn ask(address: SocketAddr, request: &str) -> (String, bool) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let (bytes, ended) = rest(&mut stream).await;
    (String::from_utf8_lossy(&bytes).into_owned(), ended)
}

async fn until(what: impl Fn() -> bool) {
    let wait = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(2), wait).await.expect("it happens in time");
}

#[tokio::test]
async fn requests_in_one_packet_are_answered_in_their_order() {
    let (_running, handler, address) = start(|_| ());
    let asked = "GET /a HTTP/1.1\r\nhost: x\r\n\r\nGET /later?50 HTTP/1.1\r\nhost: x\r\n\r\nGET /b HTTP/1.1\r\nhost: x\r\n\
        connection: close\r\n\r\nGET /after-the-end HTTP/1.1\r\nhost: x\r\n\r\n";
    let (text, ended) = ask(address, asked).await;
    let bodies: Vec<&str> = ["GET /a", "later", "GET /b"].into_iter().filter(|body| text.contains(body)).collect();
    assert!(ended && bodies.len() == 3, "{text}");
    assert!(text.find("GET /a") < text.find("later") && text.find("later") < text.find("GET /b"), "{text}");
    assert_eq!(text.matches("HTTP/1.1 200 OK\r\ndate: ").count(), 3);
    assert_eq!(text.matches("connection: close").count(), 1);
    assert_eq!(handler.begun.load(Ordering::SeqCst), 3, "what follows the last request is none");
}

#[tokio::test]
async fn more_requests_than_a_turn_takes() {
    let (_running, handler, address) = start(|_| ());
    let many = "GET /a HTTP/1.1\r\nhost: x\r\n\r\n".repeat(5 * TURNS_MAX);
    let (text, ended) = ask(address, &format!("{many}GET /b HTTP/1.0\r\n\r\n")).await;
    assert!(ended && text.ends_with("GET /b"), "{text}");
    assert_eq!(handler.begun.load(Ordering::SeqCst), 5 * TURNS_MAX + 1);
}

#[tokio::test]
async fn a_head_in_pieces() {
    let (_running, _, address) = start(|_| ());
    let mut stream = TcpStream::connect(address).await.unwrap();
    for piece in ["G", "ET /pie", "ces HTTP/1.1\r\nho", "st: x\r\n", "\r\nGET /ne", "xt HTTP/1.0\r\n\r", "\n"] {
        stream.write_all(piece.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (bytes, ended) = rest(&mut stream).await;
    let text = String::from_utf8(bytes).unwrap();
    assert!(ended && text.contains("GET /pieces") && text.ends_with("GET /next"), "{text}");
}

#[tokio::test]
async fn an_old_client_keeps_its_connection_where_it_asks_to() {
    let (_running, _, address) = start(|_| ());
    let twice = "GET /a HTTP/1.0\r\nconnection: keep-alive\r\n\r\nGET /b HTTP/1.0\r\n\r\n";
    let (text, ended) = ask(address, twice).await;
    assert!(ended && text.contains("GET /a") && text.ends_with("GET /b"), "{text}");
    assert_eq!((text.matches("connection: keep-alive").count(), text.matches("connection: close").count()), (1, 1));
}

#[tokio::test]
async fn a_body_is_never_a_request() {
    let (_running, handler, address) = start(|_| ());
    let hidden = "GET /hidden HTTP/1.1\r\nhost: x\r\n\r\n";
    for fields in [format!("content-length: {}", hidden.len()), "transfer-encoding: chunked".to_owned()] {
        let (text, ended) = ask(address, &format!("POST /a HTTP/1.1\r\nhost: x\r\n{fields}\r\n\r\n{hidden}")).await;
        assert!(!text.contains("hidden") && text.contains("connection: close"), "{text}");
        assert!(ended && text.ends_with("POST /a"), "{text}");
    }
    assert_eq!(handler.begun.load(Ordering::SeqCst), 2);
    // A client that sends a large body first sees the answer all the same.
    let mut stream = TcpStream::connect(address).await.unwrap();
    let upload = format!("PUT /a HTTP/1.1\r\nhost: x\r\ncontent-length: 500000\r\n\r\n{}", "y".repeat(500_000));
    stream.write_all(upload.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let (bytes, ended) = rest(&mut stream).await;
    assert!(ended && bytes.ends_with(b"PUT /a"), "{}", String::from_utf8_lossy(&bytes));
}

#[tokio::test]
async fn what_is_no_request_is_told_so() {
    let (_running, handler, address) = start(|limits| limits.head_bytes_max = 4000);
    for (request, fault) in [
        ("nonsense\r\n\r\n".to_owned(), "Malformed"),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "Malformed"),
        ("GET / HTTP/3.0\r\nhost: x\r\n\r\n".to_owned(), "Version"),
        (format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(101)), "FieldsTooLarge"),
        (format!("GET / HTTP/1.1\r\nhost: x\r\na: {}\r\n\r\n", "b".repeat(4000)), "FieldsTooLarge"),
        (format!("GET / HTTP/1.1\r\nhost: x\r\na: {}", "b".repeat(4000)), "FieldsTooLarge"),
        (format!("GET /{}", "b".repeat(5000)), "TargetTooLong"),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let (bytes, ended) = rest(&mut stream).await;
        let text = String::from_utf8(bytes).unwrap();
        assert!(ended && text.starts_with("HTTP/1.1 400") && text.ends_with(fault), "{request:?}: {text}");
        assert!(text.contains("connection: close"), "{text}");
    }
    assert_eq!(handler.begun.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn large_answers_arrive_whole_whichever_way_they_are_sent() {
    let (_running, _, address) = start(|_| ());
    for path in ["/large", "/sealed"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        // So that the socket fills and the answer goes through in pieces.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let (bytes, ended) = rest(&mut stream).await;
        let body = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        assert!(ended && bytes[body..] == large(), "{path}: {} bytes", bytes.len() - body);
    }
}

#[tokio::test]
async fn clients_that_send_or_read_too_slowly_are_cut_off() {
    let (running, handler, address) = start(|limits| {
        limits.head_timeout = Duration::from_millis(200);
        limits.stall_timeout = Duration::from_millis(300);
        limits.idle_timeout = Duration::from_secs(60);
    });
    for begin in ["", "G", "GET / HTTP/1.1\r\nhost: x\r\n", "GET / HTTP/1.1\r\nhost: x\r\n\r\nGET /"] {
        let since = Instant::now();
        let (_, ended) = ask(address, begin).await;
        assert!(ended && since.elapsed() >= Duration::from_millis(150), "{begin:?} {:?}", since.elapsed());
    }
    for path in ["/large", "/sealed"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
        until(|| running.connections() == 1).await;
        until(|| running.connections() == 0).await;
    }
    // Nor is one kept that goes on sending a body.
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 99999\r\n\r\n").await.unwrap();
    until(|| running.connections() == 1).await;
    until(|| running.connections() == 0).await;
    assert_eq!(handler.begun.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_client_that_nobody_hears_from_is_closed_on() {
    let (_running, _, address) = start(|limits| limits.idle_timeout = Duration::from_millis(200));
    let since = Instant::now();
    let (text, ended) = ask(address, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(ended && text.ends_with("GET /") && since.elapsed() >= Duration::from_millis(150), "{text}");
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_work() {
    let (_running, handler, address) = start(|_| ());
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /later?60000 HTTP/1.1\r\nhost: x\r\n\r\nGET /more").await.unwrap();
    until(|| handler.begun.load(Ordering::SeqCst) == 1).await;
    drop(stream);
    until(|| handler.left.load(Ordering::SeqCst) == 1).await;
}

#[tokio::test]
async fn draining_answers_what_is_under_way_and_closes_the_rest() {
    let (running, handler, address) = start(|_| ());
    let under_way = tokio::spawn(ask(address, "GET /later?300 HTTP/1.1\r\nhost: x\r\n\r\n"));
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET /idle HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut begun = TcpStream::connect(address).await.unwrap();
    begun.write_all(b"GET /begun HTTP/1.1\r\nho").await.unwrap();
    until(|| handler.begun.load(Ordering::SeqCst) == 2).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let drained = tokio::spawn(running.drain());
    let (bytes, ended) = rest(&mut idle).await;
    assert!(ended && bytes.ends_with(b"GET /idle"), "an idle connection closes at once");
    begun.write_all(b"st: x\r\n\r\n").await.unwrap();
    let (bytes, ended) = rest(&mut begun).await;
    let text = String::from_utf8(bytes).unwrap();
    assert!(ended && text.ends_with("GET /begun") && text.contains("connection: close"), "{text}");
    let (text, ended) = under_way.await.unwrap();
    assert!(ended && text.ends_with("later") && text.contains("connection: close"), "{text}");
    assert_eq!(drained.await.unwrap(), 0);
}
