//! The head of an HTTP/1 request, as it lies in the buffer: read once, copied only where somebody needs it longer.
//!
//! Always true: a head that could be understood in two ways is refused, and after a request with a body the connection ends, so
//! that nothing which a body holds is ever taken for a request.

use std::mem::MaybeUninit;

use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Uri, Version};

/// Most header fields that any setting may allow.
pub const FIELDS_MAX: usize = 256;

/// Why a head is not answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// It is not HTTP, or could be understood in two ways.
    Malformed,
    /// Its fields are too many, or too long.
    FieldsTooLarge,
    /// Its first line is too long.
    TargetTooLong,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    Version,
}

/// A complete head.
#[derive(Debug)]
pub struct Head<'a> {
    /// As sent.
    pub method: &'a str,
    /// As sent: a path with a query, an address, or `*`.
    pub target: &'a str,
    /// 1.0 or 1.1.
    pub version: Version,
    /// The fields that are looked at before any other.
    pub known: Known<'a>,
    fields: &'a [httparse::Header<'a>],
}

/// What the fields say that every request is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// `Accept`.
    pub accept: Option<&'a [u8]>,
    /// `If-None-Match`.
    pub if_none_match: Option<&'a [u8]>,
    /// `X-Request-Id`.
    pub request_id: Option<&'a [u8]>,
    /// `User-Agent`.
    pub agent: Option<&'a [u8]>,
    /// `Referer`.
    pub referrer: Option<&'a [u8]>,
    /// Whether there are further conditions, a range, or one of the above twice.
    pub involved: bool,
    /// Whether a body follows.
    pub body: bool,
    close: bool,
    keep: bool,
    hosts: u8,
}

/// How far reading came.
#[derive(Debug)]
pub enum Reading<'a> {
    /// More is to come.
    Partial,
    /// A head, and how many bytes it has.
    Whole(Head<'a>, usize),
}

/// Room for the fields of a head while it is answered.
pub type Fields<'a> = [MaybeUninit<httparse::Header<'a>>; FIELDS_MAX];

/// Empty room.
pub const fn fields<'a>() -> Fields<'a> {
    [const { MaybeUninit::uninit() }; FIELDS_MAX]
}

impl<'a> Head<'a> {
    /// Reads the head that a buffer begins with.
    pub fn read(
        buffer: &'a [u8],
        fields: &'a mut Fields<'a>,
        bytes_max: usize,
        fields_max: usize,
    ) -> Result<Reading<'a>, Fault> {
        let fields = &mut fields[..fields_max.min(FIELDS_MAX)];
        let mut request = httparse::Request::new(&mut []);
        let length = match request.parse_with_uninit_headers(buffer, fields) {
            Ok(httparse::Status::Complete(length)) if length <= bytes_max => length,
            Ok(httparse::Status::Partial) if buffer.len() <= bytes_max => return Ok(Reading::Partial),
            Ok(_) => return Err(too_large(buffer, bytes_max)),
            Err(httparse::Error::TooManyHeaders) => return Err(Fault::FieldsTooLarge),
            Err(httparse::Error::Version) => return Err(Fault::Version),
            Err(_) => return Err(Fault::Malformed),
        };
        let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
            return Err(Fault::Malformed);
        };
        let version = if minor == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
        let fields: &'a [httparse::Header<'a>] = request.headers;
        let known = Known::of(fields)?;
        // RFC 9112 section 3.2: one host, and only an old client may leave it out.
        if known.hosts > 1 || (known.hosts == 0 && version == Version::HTTP_11) {
            return Err(Fault::Malformed);
        }
        Ok(Reading::Whole(Self { method, target, version, known, fields }, length))
    }

    /// Whether the client means to send another request over this connection.
    pub const fn keeps(&self) -> bool {
        !self.known.close && (self.known.keep || matches!(self.version, Version::HTTP_11))
    }

    /// The path of a target that is a path; none of others.
    pub fn path(&self) -> Option<&'a str> {
        let end = self.target.find(['?', '#']).unwrap_or(self.target.len());
        self.target.starts_with('/').then(|| &self.target[..end])
    }

    /// The values of a field, in order, as far as they are text.
    pub fn lines(&self, name: &HeaderName) -> Vec<&'a str> {
        let same = |field: &&httparse::Header<'a>| field.name.eq_ignore_ascii_case(name.as_str());
        self.fields.iter().filter(same).filter_map(|field| std::str::from_utf8(field.value).ok()).collect()
    }

    /// A copy that outlives the buffer.
    pub fn parts(&self) -> Result<Parts, Fault> {
        let mut request = http::Request::new(());
        *request.method_mut() = Method::from_bytes(self.method.as_bytes()).map_err(|_| Fault::Malformed)?;
        *request.uri_mut() = self.target.parse::<Uri>().map_err(|_| match self.target.len() {
            ..0xffff => Fault::Malformed,
            _ => Fault::TargetTooLong,
        })?;
        *request.version_mut() = self.version;
        let headers = request.headers_mut();
        headers.reserve(self.fields.len());
        for field in self.fields {
            let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Fault::Malformed)?;
            headers.append(name, HeaderValue::from_bytes(field.value).map_err(|_| Fault::Malformed)?);
        }
        Ok(request.into_parts().0)
    }
}

fn too_large(buffer: &[u8], bytes_max: usize) -> Fault {
    // The first line alone fills what a head may have.
    let first = buffer.iter().skip_while(|byte| matches!(byte, b'\r' | b'\n')).take(bytes_max);
    if first.into_iter().any(|byte| *byte == b'\n') { Fault::FieldsTooLarge } else { Fault::TargetTooLong }
}

impl<'a> Known<'a> {
    fn of(fields: &[httparse::Header<'a>]) -> Result<Self, Fault> {
        let mut known = Self::default();
        let mut length = None;
        for field in fields {
            let is = |name: &str| field.name.eq_ignore_ascii_case(name);
            // Most names differ in length, so that most fields cost one comparison.
            match field.name.len() {
                4 if is("host") => known.hosts = known.hosts.saturating_add(1),
                5 if is("range") => known.involved = true,
                6 if is("accept") => known.once(|known| &mut known.accept, field.value),
                7 if is("referer") => known.once(|known| &mut known.referrer, field.value),
                8 if is("if-match") || is("if-range") => known.involved = true,
                10 if is("user-agent") => known.once(|known| &mut known.agent, field.value),
                10 if is("connection") => known.connection(field.value),
                12 if is("x-request-id") => known.once(|known| &mut known.request_id, field.value),
                13 if is("if-none-match") => known.once(|known| &mut known.if_none_match, field.value),
                14 if is("content-length") => {
                    let said = number(field.value).ok_or(Fault::Malformed)?;
                    if length.is_some_and(|before| before != said) {
                        return Err(Fault::Malformed);
                    }
                    length = Some(said);
                    known.body |= said > 0;
                }
                17 if is("transfer-encoding") => known.body = true,
                17 if is("if-modified-since") => known.involved = true,
                19 if is("if-unmodified-since") => known.involved = true,
                _ => (),
            }
        }
        Ok(known)
    }

    fn once(&mut self, place: impl Fn(&mut Self) -> &mut Option<&'a [u8]>, value: &'a [u8]) {
        self.involved |= place(self).replace(value).is_some();
    }

    fn connection(&mut self, value: &[u8]) {
        for word in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            self.close |= word.eq_ignore_ascii_case(b"close");
            self.keep |= word.eq_ignore_ascii_case(b"keep-alive");
        }
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    plain.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, wanted: impl FnOnce(Result<Option<(&Head<'_>, usize)>, Fault>)) {
        let mut room = fields();
        match Head::read(text.as_bytes(), &mut room, 1000, 10) {
            Ok(Reading::Whole(head, length)) => wanted(Ok(Some((&head, length)))),
            Ok(Reading::Partial) => wanted(Ok(None)),
            Err(fault) => wanted(Err(fault)),
        }
    }

    #[test]
    fn a_head_says_what_it_says() {
        let text = "GET /a/b?c#d HTTP/1.1\r\nHOST: x\r\nAccept: image/webp\r\nif-none-match: \"e\"\r\n\r\nmore";
        check(text, |read| {
            let (head, length) = read.unwrap().unwrap();
            assert_eq!((head.method, head.path(), length), ("GET", Some("/a/b"), text.len() - 4));
            assert_eq!((head.known.accept, head.known.if_none_match), (Some(&b"image/webp"[..]), Some(&b"\"e\""[..])));
            assert!(head.keeps() && !head.known.body && !head.known.involved);
            let parts = head.parts().unwrap();
            assert_eq!((parts.uri.path(), parts.uri.query(), parts.headers.len()), ("/a/b", Some("c"), 3));
            assert_eq!(head.lines(&http::header::HOST), ["x"]);
        });
        check(&text[..text.len() - 6], |read| assert!(read.unwrap().is_none()));
    }

    #[test]
    fn what_ends_a_connection_and_what_keeps_it() {
        for (rest, keeps, body, involved) in [
            ("1.1\r\nhost: x\r\n", true, false, false),
            ("1.1\r\nhost: x\r\nconnection: x, Close\r\n", false, false, false),
            ("1.0\r\n", false, false, false),
            ("1.0\r\nconnection: Keep-Alive\r\n", true, false, false),
            ("1.1\r\nhost: x\r\ncontent-length: 0\r\n", true, false, false),
            ("1.1\r\nhost: x\r\ncontent-length: 3\r\n", true, true, false),
            ("1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n", true, true, false),
            ("1.1\r\nhost: x\r\nrange: bytes=0-1\r\n", true, false, true),
            ("1.1\r\nhost: x\r\naccept: a/b\r\naccept: c/d\r\n", true, false, true),
            ("1.1\r\nhost: x\r\nif-modified-since: now\r\n", true, false, true),
        ] {
            check(&format!("GET / HTTP/{rest}\r\n"), |read| {
                let (head, _) = read.unwrap().unwrap();
                assert_eq!((head.keeps(), head.known.body, head.known.involved), (keeps, body, involved), "{rest:?}");
            });
        }
    }

    #[test]
    fn what_could_mean_two_things_is_refused() {
        let many = format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(10));
        let long = format!("GET / HTTP/1.1\r\nhost: x\r\na: {}", "b".repeat(1000));
        let target = format!("GET /{}", "b".repeat(1000));
        for (text, wanted) in [
            ("GET / HTTP/1.1\r\n\r\n", Fault::Malformed),
            ("GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n", Fault::Malformed),
            ("GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", Fault::Malformed),
            ("GET / HTTP/1.1\r\nhost: x\r\ncontent-length: +1\r\n\r\n", Fault::Malformed),
            ("GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\n", Fault::Malformed),
            ("GET / HTTP/1.1\r\nhost : x\r\n\r\n", Fault::Malformed),
            ("GET / HTTP/1.1\r\nhost: x\r\nx: \x01\r\n\r\n", Fault::Malformed),
            ("GET / HTTP/1.1\r\nhost: x\r\n folded\r\n\r\n", Fault::Malformed),
            ("GET / HTTP/2.0\r\nhost: x\r\n\r\n", Fault::Version),
            ("\x16\x03\x01", Fault::Malformed),
            (&many, Fault::FieldsTooLarge),
            (&long, Fault::FieldsTooLarge),
            (&target, Fault::TargetTooLong),
        ] {
            check(text, |read| assert_eq!(read.err(), Some(wanted), "{text:?}"));
        }
    }

    #[test]
    fn a_target_that_is_no_path() {
        for (target, path) in [("*", None), ("http://x/a?b", None), ("/a?b", Some("/a"))] {
            check(&format!("OPTIONS {target} HTTP/1.1\r\nhost: x\r\n\r\n"), |read| {
                let (head, _) = read.unwrap().unwrap();
                assert_eq!(head.path(), path);
                assert_eq!(head.parts().unwrap().uri.path(), if target == "*" { "*" } else { "/a" });
            });
        }
    }
}
