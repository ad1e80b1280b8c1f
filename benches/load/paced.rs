//! Sends GET requests at a fixed rate and prints how long the answers took.
//!
//! `paced PORT PATH RATE SECONDS CONNECTIONS STATUS [HEADER: VALUE]` prints one line of JSON. Requests are due on a fixed
//! schedule, whatever the answers do, and a time runs from when its request was due: a server that stalls pays for all
//! requests that it kept waiting. One thread that spins on its own core, so that no timer's grain is in the numbers; the
//! first tenth is not counted. Standard library only; `run` compiles it with rustc alone.
//!
//! An answer is `wrong` where its status is another one, and `missing` where no answer at all came for five seconds. A machine
//! that cannot hold the rate gives neither: the schedule slips, and `rate` says what was done.

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// When nothing at all was answered for so long, what is still asked is missing.
const PATIENCE: Duration = Duration::from_secs(5);
const HEAD_BYTES_MAX: usize = 16 * 1024;

struct Connection {
    stream: TcpStream,
    /// When the request under way was due.
    due: Option<Instant>,
    head: Vec<u8>,
    /// Bytes of the body that are still to come, once the head is complete.
    missing: Option<usize>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [port, path, rate, seconds, connections, status, headers @ ..] = args.as_slice() else {
        return Err("usage: paced PORT PATH RATE SECONDS CONNECTIONS STATUS [HEADER: VALUE]".into());
    };
    let (rate, seconds): (f64, f64) = (rate.parse()?, seconds.parse()?);
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n");
    let expected = format!("HTTP/1.1 {status} ");

    let mut pool = Vec::new();
    for _ in 0..connections.parse::<usize>()? {
        let stream = TcpStream::connect(("127.0.0.1", port.parse()?))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        pool.push(Connection { stream, due: None, head: Vec::new(), missing: None });
    }

    let interval = Duration::from_secs_f64(1.0 / rate);
    let total = (rate * seconds) as u64;
    let start = Instant::now();
    let counted_from = start + Duration::from_secs_f64(seconds / 10.0);
    let (mut sent, mut done, mut wrong) = (0u64, 0u64, 0u64);
    let mut micros: Vec<f64> = Vec::with_capacity(total as usize);
    let mut finished = start;
    let mut buffer = vec![0u8; 64 * 1024];

    while done < total && finished.elapsed() < PATIENCE {
        for connection in &mut pool {
            if connection.due.is_none() && sent < total {
                let due = start + interval.mul_f64(sent as f64);
                if Instant::now() >= due {
                    // A request is far smaller than the socket's buffer, and that is empty: it goes out whole.
                    connection.stream.write_all(request.as_bytes())?;
                    connection.due = Some(due);
                    sent += 1;
                }
            }
            let Some(due) = connection.due else { continue };
            if let Some(as_expected) = connection.receive(&mut buffer, &expected)? {
                finished = Instant::now();
                connection.due = None;
                done += 1;
                wrong += u64::from(!as_expected);
                if due >= counted_from {
                    micros.push((finished - due).as_secs_f64() * 1e6);
                }
            }
        }
    }

    micros.sort_by(f64::total_cmp);
    let at = |part: f64| micros.get(((micros.len() as f64 * part) as usize).min(micros.len().saturating_sub(1)));
    let at = |part: f64| at(part).copied().unwrap_or(f64::MAX);
    println!(
        "{{\"sent\": {sent}, \"done\": {done}, \"wrong\": {wrong}, \"missing\": {}, \"rate\": {:.1}, \"p50_us\": {:.1}, \"p99_us\": {:.1}, \"max_us\": {:.1}}}",
        sent - done,
        done as f64 / (finished - start).as_secs_f64().max(1e-9),
        at(0.5),
        at(0.99),
        at(1.0),
    );
    Ok(())
}

impl Connection {
    /// Reads what is there. Answers whether the status was the expected one, once the answer is complete.
    fn receive(&mut self, buffer: &mut [u8], expected: &str) -> Result<Option<bool>, Box<dyn Error>> {
        let read = match self.stream.read(buffer) {
            Ok(0) => return Err("the server closed a connection".into()),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut missing = match self.missing {
            Some(missing) => missing.checked_sub(read).ok_or("more bytes than announced")?,
            None => {
                self.head.extend_from_slice(&buffer[..read]);
                let Some(body) = self.head.windows(4).position(|window| window == b"\r\n\r\n") else {
                    return if self.head.len() > HEAD_BYTES_MAX { Err("endless head".into()) } else { Ok(None) };
                };
                let here = self.head.len() - body - 4;
                self.head.truncate(body + 4);
                content_length(&self.head)?.checked_sub(here).ok_or("more bytes than announced")?
            }
        };
        if missing > 0 {
            self.missing = Some(missing);
            // What is left is often there already.
            while missing > 0 {
                match self.stream.read(buffer) {
                    Ok(0) => return Err("the server closed a connection".into()),
                    Ok(read) => missing = missing.checked_sub(read).ok_or("more bytes than announced")?,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        self.missing = Some(missing);
                        return Ok(None);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        let as_expected = self.head.starts_with(expected.as_bytes());
        self.missing = None;
        self.head.clear();
        Ok(Some(as_expected))
    }
}

/// The body's length: none for a 304, whatever its headers say.
fn content_length(head: &[u8]) -> Result<usize, Box<dyn Error>> {
    let head = std::str::from_utf8(head)?;
    if head.starts_with("HTTP/1.1 304 ") {
        return Ok(0);
    }
    for line in head.lines() {
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            return Ok(value.trim().parse()?);
        }
    }
    Err(format!("an answer without Content-Length: {head}").into())
}
