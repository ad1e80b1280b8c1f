//! The access log: one line a request, gathered in memory and written by a thread of its own.
//!
//! Always true: a request never waits for the log. Where the writer cannot keep up, lines are dropped and counted. No line
//! holds a query, a signature or a control character.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{StatusCode, Version};
use metrics::Counter;
use parking_lot::Mutex;
use time::OffsetDateTime;

use super::headers::{push_ms, push_number, push_thousandths};
use super::settings::{AccessForm, AccessLog, AccessTarget};
use crate::base::Stages;
use crate::telemetry::names;

/// Buffers, so that threads seldom meet in one.
const SHARDS: usize = 8;
/// Most bytes that wait in one buffer.
const SHARD_BYTES_MAX: usize = 1 << 20;
/// The writer is woken before its time when a buffer holds so many bytes.
const SHARD_BYTES_FULL: usize = 64 << 10;
/// How long a line waits at most.
const FLUSH_EVERY: Duration = Duration::from_millis(200);
/// Most bytes of a path, and of a user agent, in a line.
const TEXT_BYTES_MAX: usize = 512;

/// What a line says.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The request's id.
    pub id: &'a str,
    /// The client's address.
    pub address: IpAddr,
    /// The method.
    pub method: &'a str,
    /// The path as sent, without the query.
    pub path: &'a str,
    /// The protocol.
    pub version: Version,
    /// The answer's status.
    pub status: StatusCode,
    /// Bytes of the answer's body.
    pub bytes: u64,
    /// Where the answer came from; `-` where it came from nowhere.
    pub phase: &'static str,
    /// From the request's head to the answer's.
    pub time: Duration,
    /// Where the time went, for what was not in memory.
    pub stages: Option<&'a Stages>,
    /// The client's software.
    pub agent: Option<&'a str>,
    /// Where the client found the URL.
    pub referrer: Option<&'a str>,
}

/// The log; clones write to the same.
#[derive(Clone)]
pub struct Log(Option<Arc<Shared>>);

struct Shared {
    form: AccessForm,
    shards: [Mutex<Vec<u8>>; SHARDS],
    writer: thread::Thread,
    woken: AtomicBool,
    reopen: AtomicBool,
    dropped: Counter,
}

/// Ends the log when dropped, after everything that was logged before has been written.
pub struct Writer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Log {
    /// A log that keeps nothing.
    pub const fn off() -> Self {
        Self(None)
    }

    /// Opens the target and starts the writer. Fails where the file cannot be opened.
    pub fn open(settings: &AccessLog) -> io::Result<(Self, Writer)> {
        let stop = Arc::new(AtomicBool::new(false));
        let Some(target) = settings.target.clone() else {
            return Ok((Self::off(), Writer { stop, thread: None }));
        };
        let mut sink = Sink::open(target)?;
        let (send, receive) = std::sync::mpsc::channel::<Arc<Shared>>();
        let stopped = stop.clone();
        let thread = thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            if let Ok(shared) = receive.recv() {
                write_all(&shared, &mut sink, &stopped);
            }
        })?;
        let shared = Arc::new(Shared {
            form: settings.form,
            shards: Default::default(),
            writer: thread.thread().clone(),
            woken: AtomicBool::new(false),
            reopen: AtomicBool::new(false),
            dropped: metrics::counter!(names::HTTP_ACCESS_LINES_DROPPED),
        });
        // Fails only where the thread has ended, and it cannot before it got this.
        let _ = send.send(shared.clone());
        Ok((Self(Some(shared)), Writer { stop, thread: Some(thread) }))
    }

    /// Whether lines are kept.
    pub const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Opens the file anew before the next write, after it was moved away.
    pub fn reopen(&self) {
        if let Some(shared) = &self.0 {
            shared.reopen.store(true, Ordering::Release);
            shared.writer.unpark();
        }
    }

    /// Adds a line.
    pub fn line(&self, line: &Line<'_>) {
        let Some(shared) = &self.0 else { return };
        thread_local! {
            static TEXT: RefCell<String> = const { RefCell::new(String::new()) };
        }
        TEXT.with_borrow_mut(|text| {
            text.clear();
            match shared.form {
                AccessForm::Json => json(text, line),
                AccessForm::Text => combined(text, line),
            }
            shared.add(text.as_bytes());
        });
    }
}

impl Shared {
    fn add(&self, line: &[u8]) {
        let mut buffer = self.shards[shard()].lock();
        if buffer.len() + line.len() > SHARD_BYTES_MAX {
            drop(buffer);
            self.dropped.increment(1);
            return;
        }
        buffer.extend_from_slice(line);
        let full = buffer.len() >= SHARD_BYTES_FULL;
        drop(buffer);
        if full && !self.woken.swap(true, Ordering::Relaxed) {
            self.writer.unpark();
        }
    }
}

/// This thread's buffer.
fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    MINE.with(|mine| {
        if mine.get() == usize::MAX {
            mine.set(NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS);
        }
        mine.get()
    })
}

/// The writer's thread: takes each buffer whole, so that a lock is held for an exchange of two pointers only.
fn write_all(shared: &Shared, sink: &mut Sink, stop: &AtomicBool) {
    let mut spare = Vec::with_capacity(SHARD_BYTES_FULL * 2);
    loop {
        let last = stop.load(Ordering::Acquire);
        shared.woken.store(false, Ordering::Relaxed);
        if shared.reopen.swap(false, Ordering::AcqRel) {
            sink.reopen();
        }
        for shard in &shared.shards {
            std::mem::swap(&mut *shard.lock(), &mut spare);
            if !spare.is_empty() {
                sink.write(&spare);
                spare.clear();
            }
        }
        if last {
            return;
        }
        thread::park_timeout(FLUSH_EVERY);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

enum Sink {
    Stdout(io::Stdout),
    File { path: PathBuf, file: File, failing: bool },
}

impl Sink {
    fn open(target: AccessTarget) -> io::Result<Self> {
        Ok(match target {
            AccessTarget::Stdout => Self::Stdout(io::stdout()),
            AccessTarget::File(path) => Self::File { file: append(&path)?, path, failing: false },
        })
    }

    fn reopen(&mut self) {
        if let Self::File { path, file, .. } = self {
            match append(path) {
                Ok(opened) => *file = opened,
                Err(error) => tracing::warn!(path = %path.display(), %error, "the access log was not opened again"),
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        match self {
            // A closed standard output is not worth a word: there is nobody to read it.
            Self::Stdout(out) => drop(out.write_all(bytes).and_then(|()| out.flush())),
            Self::File { path, file, failing } => match file.write_all(bytes) {
                Ok(()) => *failing = false,
                Err(error) if !*failing => {
                    *failing = true;
                    tracing::warn!(path = %path.display(), %error, "the access log cannot be written");
                }
                Err(_) => (),
            },
        }
    }
}

fn append(path: &std::path::Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn json(text: &mut String, line: &Line<'_>) {
    text.push_str("{\"time\":\"");
    push_time(text);
    text.push_str("\",\"id\":\"");
    push_escaped(text, line.id);
    text.push_str("\",\"client\":\"");
    push_address(text, line.address);
    text.push_str("\",\"method\":\"");
    push_escaped(text, line.method);
    text.push_str("\",\"path\":\"");
    push_escaped(text, cut(&redacted_path(line.path)));
    text.push_str("\",\"protocol\":\"");
    text.push_str(protocol(line.version));
    text.push_str("\",\"status\":");
    push_number(text, u64::from(line.status.as_u16()));
    text.push_str(",\"bytes\":");
    push_number(text, line.bytes);
    text.push_str(",\"phase\":\"");
    text.push_str(line.phase);
    text.push_str("\",\"ms\":");
    push_ms(text, line.time);
    if let Some(stages) = line.stages {
        text.push_str(",\"stages\":{");
        for (at, (stage, time)) in stages.iter().enumerate() {
            text.push_str(if at == 0 { "\"" } else { ",\"" });
            text.push_str(stage.name());
            text.push_str("\":");
            push_ms(text, time);
        }
        text.push('}');
    }
    for (name, value) in [("agent", line.agent), ("referrer", line.referrer)] {
        if let Some(value) = value {
            text.push_str(",\"");
            text.push_str(name);
            text.push_str("\":\"");
            push_escaped(text, cut(&without_query(value)));
            text.push('"');
        }
    }
    text.push_str("}\n");
}

fn combined(text: &mut String, line: &Line<'_>) {
    push_address(text, line.address);
    text.push_str(" - - [");
    push_time(text);
    text.push_str("] \"");
    push_escaped(text, line.method);
    text.push(' ');
    push_escaped(text, cut(&redacted_path(line.path)));
    text.push(' ');
    text.push_str(protocol(line.version));
    text.push_str("\" ");
    push_number(text, u64::from(line.status.as_u16()));
    text.push(' ');
    push_number(text, line.bytes);
    for value in [line.referrer, line.agent] {
        text.push_str(" \"");
        push_escaped(text, cut(&without_query(value.unwrap_or("-"))));
        text.push('"');
    }
    text.push(' ');
    text.push_str(line.phase);
    text.push(' ');
    push_ms(text, line.time);
    text.push(' ');
    push_escaped(text, line.id);
    text.push('\n');
}

const fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

/// RFC 3339 with milliseconds. The second's text is kept for the second.
fn push_time(text: &mut String) {
    thread_local! {
        static SECOND: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    SECOND.with_borrow_mut(|(second, written)| {
        if *second != now.as_secs() {
            *second = now.as_secs();
            let moment =
                OffsetDateTime::from_unix_timestamp(now.as_secs() as i64).unwrap_or(OffsetDateTime::UNIX_EPOCH);
            let (date, clock) = (moment.date(), moment.time());
            *written = format!(
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.",
                date.year(),
                u8::from(date.month()),
                date.day(),
                clock.hour(),
                clock.minute(),
                clock.second()
            );
        }
        text.push_str(written);
    });
    push_thousandths(text, now.subsec_millis());
    text.push('Z');
}

fn push_address(text: &mut String, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (at, octet) in address.octets().into_iter().enumerate() {
                if at > 0 {
                    text.push('.');
                }
                push_number(text, u64::from(octet));
            }
        }
        IpAddr::V6(address) => {
            use std::fmt::Write as _;
            let _ = write!(text, "{address}");
        }
    }
}

/// At most [`TEXT_BYTES_MAX`] bytes, at a character's border.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A referrer's query may hold what its site keeps secret.
fn without_query(text: &str) -> Cow<'_, str> {
    let end = if text.starts_with("http") { text.find(['?', '#']).unwrap_or(text.len()) } else { text.len() };
    redacted(&text[..end])
}

/// As inside a JSON string; also safe between quotes of the combined form.
fn push_escaped(text: &mut String, said: &str) {
    if !said.bytes().any(|byte| byte < 0x20 || byte == 0x7f || byte == b'"' || byte == b'\\') {
        text.push_str(said);
        return;
    }
    for character in said.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            _ if character.is_control() => {
                use std::fmt::Write as _;
                let _ = write!(text, "\\u{:04x}", u32::from(character));
            }
            _ => text.push(character),
        }
    }
}

/// A path whose first segment, if a signature, shows its key and expiry but not itself.
fn redacted_path(path: &str) -> Cow<'_, str> {
    // The common case costs one comparison.
    match path.as_bytes().get(1) {
        Some(b's' | b'%' | b'/') => redacted(path),
        _ => Cow::Borrowed(path),
    }
}

/// A text in which what looks like a signature segment (`s:kid:expiry:sig`) is replaced: `s:kid:expiry:-`.
pub fn redacted(text: &str) -> Cow<'_, str> {
    let colon =
        |rest: &str| rest.starts_with("s:") || rest.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("s%3a"));
    let encoded_s = |rest: &str| rest.starts_with("%73");
    if !text.contains("s:") && !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let ends = |character: char| matches!(character, '/' | '"' | '\'' | '`' | '?') || character.is_whitespace();
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    loop {
        let end = rest.find(ends).unwrap_or(rest.len());
        let segment = &rest[..end];
        if colon(segment) || encoded_s(segment) {
            let parts: Vec<&str> = segment.splitn(4, ':').collect();
            match parts[..] {
                ["s", kid, expiry, _] => {
                    for part in ["s:", kid, ":", expiry, ":-"] {
                        out.push_str(part);
                    }
                }
                _ => out.push_str("s:-"),
            }
        } else {
            out.push_str(segment);
        }
        let Some(separator) = rest[end..].chars().next() else { break };
        out.push(separator);
        rest = &rest[end + separator.len_utf8()..];
    }
    Cow::Owned(out)
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
