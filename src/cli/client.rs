//! As much HTTP/1.1 as talking to our own API needs: one request, one answer, over plain TCP. No runtime is started for it.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::config::Config;

/// Most bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// Where a request goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Endpoint {
    /// Host and port.
    pub authority: String,
    /// The path, with a leading slash.
    pub path: String,
}

impl Endpoint {
    /// A listener of this machine; one that listens on all addresses is asked on the loopback.
    pub fn of(listen: SocketAddr, path: &str) -> Self {
        let ip = match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        Self { authority: SocketAddr::new(ip, listen.port()).to_string(), path: path.to_owned() }
    }

    /// From `http://HOST:PORT/PATH`; `path` stands in where the URL has none.
    pub fn parse(url: &str, path: &str) -> Result<Self> {
        let rest = match url.split_once("://") {
            Some(("http", rest)) => rest,
            Some((scheme, _)) => bail!("{url}: only http:// is spoken here, not {scheme}://"),
            None => url,
        };
        let (authority, own) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        ensure!(!authority.is_empty(), "{url} has no host");
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.is_empty() && !port.ends_with(']'));
        let authority = if has_port { authority.to_owned() } else { format!("{authority}:80") };
        Ok(Self { authority, path: if own.len() > 1 { own } else { path }.to_owned() })
    }
}

/// An answer: its status and body.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: u16,
    pub body: String,
    /// When to try again, in seconds.
    pub retry_after_s: Option<u64>,
}

impl Answer {
    /// The answer as JSON, where it is a good one; else what its problem says.
    pub fn json(&self) -> Result<serde_json::Value> {
        let read: Option<serde_json::Value> = serde_json::from_str(&self.body).ok();
        if self.status / 100 == 2 {
            return read.context("the answer is not JSON");
        }
        let detail = read.as_ref().and_then(|problem| problem.get("detail").or(problem.get("title"))?.as_str());
        bail!("the API answered {}: {}", self.status, detail.unwrap_or(self.body.trim()))
    }
}

/// How to reach an API, and what to show it.
#[derive(Args, Clone)]
pub(super) struct Api {
    /// The server's API, such as http://127.0.0.1:8081. Without, the configured api.listen.
    #[arg(long, value_name = "URL", global = true)]
    api: Option<String>,
    /// An API key. Without, the configured api.token (FOVEA_API__TOKEN), which does not show in a list of processes.
    #[arg(long, global = true)]
    token: Option<String>,
}

impl Api {
    /// Asks for a path below the API, and reads the answer.
    pub fn ask(&self, config: &Config, method: &str, path: &str, body: Sent<'_>, timeout: Duration) -> Result<Answer> {
        let endpoint = match &self.api {
            Some(url) => Endpoint { path: path.to_owned(), ..Endpoint::parse(url, path)? },
            None => Endpoint::of(config.api.listen, path),
        };
        let token = self.token.as_deref().unwrap_or_else(|| config.api.token.expose());
        ensure!(!token.is_empty(), "the API wants a key: --token, FOVEA_API__TOKEN or api.token");
        let bearer = format!("Bearer {token}");
        let kind = if matches!(body, Sent::File(_)) { "application/octet-stream" } else { "application/json" };
        send(&endpoint, method, &[("authorization", bearer.as_str()), ("content-type", kind)], body, timeout)
    }
}

/// A request's body.
#[derive(Clone, Copy)]
pub(super) enum Sent<'a> {
    /// A text.
    Text(&'a str),
    /// A file, read as it is sent.
    File(&'a Path),
}

/// Sends a request and reads the answer; each step within `timeout`.
pub(super) fn request(
    to: &Endpoint,
    method: &str,
    headers: &[(&str, &str)],
    body: &str,
    timeout: Duration,
) -> Result<Answer> {
    send(to, method, headers, Sent::Text(body), timeout)
}

fn send(to: &Endpoint, method: &str, headers: &[(&str, &str)], body: Sent<'_>, timeout: Duration) -> Result<Answer> {
    let (mut reader, length): (Box<dyn Read>, u64) = match body {
        Sent::Text(text) => (Box::new(text.as_bytes()), text.len() as u64),
        Sent::File(path) => {
            let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
            let length = file.metadata()?.len();
            (Box::new(file.take(length)), length)
        }
    };
    let what = || format!("{method} http://{}{}", to.authority, to.path);
    let mut connected = Err(anyhow::anyhow!("the name has no address"));
    for address in to.authority.to_socket_addrs().with_context(what)? {
        connected = TcpStream::connect_timeout(&address, timeout).map_err(Into::into);
        if connected.is_ok() {
            break;
        }
    }
    let mut stream = connected.with_context(what)?;
    stream.set_read_timeout(Some(timeout)).and_then(|()| stream.set_write_timeout(Some(timeout))).with_context(what)?;
    let mut head = format!(
        "{method} {} HTTP/1.1\r\nhost: {}\r\nuser-agent: fovea/{}\r\nconnection: close\r\ncontent-length: {}\r\n",
        to.path,
        to.authority,
        env!("CARGO_PKG_VERSION"),
        length
    );
    for (name, value) in headers {
        ensure!(!value.contains(['\r', '\n']), "a header's value has no line breaks");
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).with_context(what)?;
    // A server that refuses may close before it has read all; its answer is what counts.
    let sent = std::io::copy(&mut reader, &mut stream);
    let mut answer = Vec::new();
    let received = stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer);
    if answer.is_empty() {
        sent.with_context(what)?;
        received.with_context(what)?;
    }
    read(&answer).with_context(what)
}

fn read(answer: &[u8]) -> Result<Answer> {
    let split = answer.windows(4).position(|four| four == b"\r\n\r\n").context("the answer has no head")?;
    let head = String::from_utf8_lossy(&answer[..split]).into_owned();
    let body = &answer[split + 4..];
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("the answer has no status")?;
    let chunked = head.lines().any(|line| {
        line.split_once(':').is_some_and(|(name, value)| {
            name.eq_ignore_ascii_case("transfer-encoding") && value.trim().eq_ignore_ascii_case("chunked")
        })
    });
    let retry_after_s = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("retry-after").then(|| value.trim().parse().ok())?
    });
    let body = if chunked { dechunked(body)? } else { body.to_vec() };
    Ok(Answer { retry_after_s, status, body: String::from_utf8_lossy(&body).into_owned() })
}

fn dechunked(mut rest: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").context("a chunk has no size")?;
        let size = std::str::from_utf8(&rest[..end])?.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).context("a chunk has no size")?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Ok(body);
        }
        ensure!(rest.len() >= size.saturating_add(2), "the answer ends in a chunk");
        body.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(5);

    /// A server that takes one request, answers with fixed bytes, and gives back what it was asked.
    fn server(answer: &'static str) -> (Endpoint, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = Endpoint::of(listener.local_addr().unwrap(), "/health");
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            let mut part = [0; 1024];
            while !String::from_utf8_lossy(&asked).ends_with("{}") {
                let read = stream.read(&mut part).unwrap();
                asked.extend_from_slice(&part[..read]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(asked).unwrap()
        });
        (endpoint, thread)
    }

    #[test]
    fn asks_and_reads() {
        for (answer, status, body) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", 200, "hi"),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\nnot yet", 503, "not yet"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", 200, "abcde"),
        ] {
            let (endpoint, thread) = server(answer);
            let got = request(&endpoint, "POST", &[("authorization", "Bearer t")], "{}", TIMEOUT).unwrap();
            assert_eq!((got.status, got.body.as_str()), (status, body));
            let asked = thread.join().unwrap();
            assert!(asked.starts_with("POST /health HTTP/1.1\r\n"), "{asked}");
            assert!(
                asked.contains(&format!("host: {}\r\n", endpoint.authority))
                    && asked.contains("authorization: Bearer t\r\n")
            );
        }
        let (endpoint, _thread) = server("nonsense");
        assert!(request(&endpoint, "POST", &[], "{}", TIMEOUT).is_err());
        assert!(dechunked(b"5\r\nab").is_err());
        assert!(dechunked(b"ffffffffffffffff\r\nab").is_err());
    }

    #[test]
    fn endpoints() {
        for (url, authority, path) in [
            ("http://127.0.0.1:8081", "127.0.0.1:8081", "/x"),
            ("http://127.0.0.1:8081/", "127.0.0.1:8081", "/x"),
            ("http://host/health", "host:80", "/health"),
            ("host:1", "host:1", "/x"),
            ("http://[::1]/", "[::1]:80", "/x"),
        ] {
            assert_eq!(
                Endpoint::parse(url, "/x").unwrap(),
                Endpoint { authority: authority.into(), path: path.into() }
            );
        }
        assert!(Endpoint::parse("https://host", "/x").is_err());
        for (listen, authority) in
            [("0.0.0.0:8081", "127.0.0.1:8081"), ("[::]:1", "[::1]:1"), ("10.0.0.1:1", "10.0.0.1:1")]
        {
            assert_eq!(Endpoint::of(listen.parse().unwrap(), "/").authority, authority);
        }
    }
}
