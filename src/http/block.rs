//! Response heads as HTTP/1 sends them.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{CONNECTION, CONTENT_LENGTH, DATE};
use http::{HeaderMap, Response, StatusCode};

use super::headers::push_number;

/// What becomes of the connection after an answer, and whether the answer says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// It stays, as the client expects.
    Stays,
    /// It stays, which an HTTP/1.0 client has to be told.
    StaysSaid,
    /// It ends.
    Ends,
}

/// The first line of an answer, the date, and what becomes of the connection.
pub fn begin(out: &mut Vec<u8>, status: StatusCode, ending: Ending) {
    if status == StatusCode::OK {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\ndate: ");
    } else {
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(status.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
        out.extend_from_slice(b"\r\ndate: ");
    }
    push_date(out);
    out.extend_from_slice(match ending {
        Ending::Stays => b"\r\n".as_slice(),
        Ending::StaysSaid => b"\r\nconnection: keep-alive\r\n",
        Ending::Ends => b"\r\nconnection: close\r\n",
    });
}

/// Fields.
pub fn fields(out: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        field(out, name.as_str(), value.as_bytes());
    }
}

/// One field.
pub fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// `Content-Length`.
pub fn length(out: &mut Vec<u8>, bytes: usize) {
    out.extend_from_slice(b"content-length: ");
    push_number(out, bytes as u64);
    out.extend_from_slice(b"\r\n");
}

/// The whole head of a response.
pub fn head<B: AsRef<[u8]>>(out: &mut Vec<u8>, response: &mut Response<B>, ending: Ending) {
    let status = response.status();
    let headers = response.headers_mut();
    headers.remove(CONNECTION);
    headers.remove(DATE);
    // A HEAD's answer has the length of what GET would get.
    let said = headers.contains_key(CONTENT_LENGTH);
    begin(out, status, ending);
    fields(out, response.headers());
    if !said && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        length(out, response.body().as_ref().len());
    }
    out.extend_from_slice(b"\r\n");
}

/// The date of now. Its text is kept for the second.
fn push_date(out: &mut Vec<u8>) {
    thread_local! {
        static SECOND: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
    }
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    SECOND.with_borrow_mut(|(known, text)| {
        if *known != second {
            (*known, *text) = (second, httpdate::fmt_http_date(now));
        }
        out.extend_from_slice(text.as_bytes());
    });
}

/// A request id of its own: 16 hex digits.
pub fn fresh_id() -> [u8; 16] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let number = fastrand::u64(..);
    let mut text = [0_u8; 16];
    for (at, digit) in text.iter_mut().enumerate() {
        *digit = DIGITS[(number >> (4 * at) & 15) as usize];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mut response: Response<&'static str>, ending: Ending, wanted: &str) {
        let mut out = Vec::new();
        head(&mut out, &mut response, ending);
        let text = String::from_utf8(out).unwrap();
        let (before, rest) = text.split_once("date: ").unwrap();
        let (date, after) = rest.split_at("Sun, 06 Nov 1994 08:49:37 GMT".len());
        assert!(httpdate::parse_http_date(date).is_ok(), "{date}");
        assert_eq!(format!("{before}|{after}"), wanted);
    }

    #[test]
    fn a_head_has_one_length_one_date_and_says_what_comes() {
        let response = |status: u16, body| Response::builder().status(status).header("a", "b").body(body).unwrap();
        check(response(200, "hello"), Ending::Stays, "HTTP/1.1 200 OK\r\n|\r\na: b\r\ncontent-length: 5\r\n\r\n");
        check(
            response(404, ""),
            Ending::Ends,
            "HTTP/1.1 404 Not Found\r\n|\r\nconnection: close\r\na: b\r\ncontent-length: 0\r\n\r\n",
        );
        check(
            response(304, ""),
            Ending::StaysSaid,
            "HTTP/1.1 304 Not Modified\r\n|\r\nconnection: keep-alive\r\na: b\r\n\r\n",
        );
        let mut head = response(200, "");
        head.headers_mut().insert(CONTENT_LENGTH, 7.into());
        head.headers_mut().insert(DATE, http::HeaderValue::from_static("never"));
        head.headers_mut().insert(CONNECTION, http::HeaderValue::from_static("upgrade"));
        check(head, Ending::Stays, "HTTP/1.1 200 OK\r\n|\r\na: b\r\ncontent-length: 7\r\n\r\n");
    }
}
