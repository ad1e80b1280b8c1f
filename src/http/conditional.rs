//! Conditional and range requests, in the order of RFC 9110 section 13.2.2.

use std::ops::Range;
use std::time::SystemTime;

use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue};

/// What to send of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Part {
    /// All of it, 200.
    Whole,
    /// These bytes, 206.
    Bytes(Range<u64>),
    /// Nothing: the client has it, 304.
    NotModified,
    /// Nothing: a precondition did not hold, 412.
    Failed,
    /// Nothing: the range holds no byte, 416.
    Unsatisfiable,
}

/// Decides what to send of an answer of `length` bytes. `ranges` says whether `Range` is looked at (GET only). `etag` is
/// strong and quoted, `modified` whole seconds.
pub fn part(headers: &HeaderMap, ranges: bool, etag: &str, modified: SystemTime, length: u64) -> Part {
    if headers.contains_key(IF_MATCH) {
        if !any(headers, IF_MATCH, |list| holds(list, etag)) {
            return Part::Failed;
        }
    } else if let Some(since) = date(headers, IF_UNMODIFIED_SINCE)
        && modified > since
    {
        return Part::Failed;
    }
    if headers.contains_key(IF_NONE_MATCH) {
        if any(headers, IF_NONE_MATCH, |list| knows(list, etag)) {
            return Part::NotModified;
        }
    } else if let Some(since) = date(headers, IF_MODIFIED_SINCE)
        && modified <= since
    {
        return Part::NotModified;
    }
    match headers.get(RANGE) {
        Some(range) if ranges && range_holds(headers, etag, modified) => byte_range(range, length),
        _ => Part::Whole,
    }
}

/// Whether something holds for any line of a header.
fn any(headers: &HeaderMap, name: HeaderName, holds: impl Fn(&str) -> bool) -> bool {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).any(holds)
}

/// Whether a list of entity tags holds `*` or the tag as it is: what `If-Match` asks.
fn holds(list: &str, etag: &str) -> bool {
    let list = list.trim();
    list == "*" || Tags(list).any(|tag| tag == etag)
}

/// Whether a list of entity tags holds `*` or the tag, weak or strong: what `If-None-Match` asks.
pub fn knows(list: &str, etag: &str) -> bool {
    let list = list.trim();
    list == "*" || Tags(list).any(|tag| tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// The entity tags of a list, with their quotes and `W/`; what is no tag ends the list. A tag may hold commas.
struct Tags<'a>(&'a str);

impl<'a> Iterator for Tags<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.0.trim_start_matches([',', ' ', '\t']);
        let opaque = rest.strip_prefix("W/").unwrap_or(rest);
        let end = opaque.strip_prefix('"')?.find('"')? + 2 + (rest.len() - opaque.len());
        self.0 = &rest[end..];
        Some(&rest[..end])
    }
}

/// Whether `If-Range`, if there, names the current answer. Only a strong tag or the very date does.
fn range_holds(headers: &HeaderMap, etag: &str, modified: SystemTime) -> bool {
    match headers.get(IF_RANGE).map(HeaderValue::to_str) {
        None => true,
        Some(Ok(text)) if text.starts_with('"') => text.trim_end() == etag,
        Some(Ok(text)) => httpdate::parse_http_date(text).is_ok_and(|date| date == modified),
        Some(Err(_)) => false,
    }
}

/// A date header; one that is no date counts as absent.
fn date(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

/// One byte range. What is malformed, of another unit, or several ranges is ignored, as RFC 9110 section 14.2 allows:
/// several ranges of a picture serve no one but an attacker.
fn byte_range(value: &HeaderValue, length: u64) -> Part {
    let Some((first, last)) = value.to_str().ok().and_then(spec) else { return Part::Whole };
    match (first, last) {
        (Some(first), last) => {
            let last = last.unwrap_or(u64::MAX);
            if last < first {
                Part::Whole
            } else if first >= length {
                Part::Unsatisfiable
            } else {
                Part::Bytes(first..last.saturating_add(1).min(length))
            }
        }
        (None, Some(suffix)) if suffix == 0 || length == 0 => Part::Unsatisfiable,
        (None, Some(suffix)) => Part::Bytes(length.saturating_sub(suffix)..length),
        (None, None) => Part::Whole,
    }
}

/// `bytes=first-last`, either of them optional. A number too large for 64 bits counts as the largest.
fn spec(text: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (unit, set) = text.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = set.trim().split_once('-')?;
    let number = |digits: &str| {
        if digits.is_empty() {
            Some(None)
        } else if digits.bytes().all(|byte| byte.is_ascii_digit()) {
            Some(Some(digits.parse().unwrap_or(u64::MAX)))
        } else {
            None
        }
    };
    Some((number(first)?, number(last)?))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    const ETAG: &str = "\"abc,d\"";
    const MADE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn check(headers: &[(&'static str, &str)], wanted: Part) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let modified = UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(part(&map, true, ETAG, modified, 100), wanted, "{headers:?}");
        if matches!(wanted, Part::Bytes(_) | Part::Unsatisfiable) {
            assert_eq!(part(&map, false, ETAG, modified, 100), Part::Whole, "HEAD knows no ranges: {headers:?}");
        }
    }

    #[test]
    fn preconditions_in_the_order_of_rfc_9110() {
        check(&[], Part::Whole);
        check(&[("if-none-match", ETAG)], Part::NotModified);
        check(&[("if-none-match", "W/\"abc,d\"")], Part::NotModified);
        check(&[("if-none-match", "*")], Part::NotModified);
        check(&[("if-none-match", "\"x\" , W/\"y\",\"abc,d\"")], Part::NotModified);
        check(&[("if-none-match", "\"x\""), ("if-none-match", ETAG)], Part::NotModified);
        check(&[("if-none-match", "\"abc\"")], Part::Whole);
        check(&[("if-none-match", "abc,d")], Part::Whole);
        check(&[("if-none-match", "\"abc,d")], Part::Whole);
        check(&[("if-none-match", "\"x\""), ("if-modified-since", LATER)], Part::Whole);
        check(&[("if-modified-since", MADE)], Part::NotModified);
        check(&[("if-modified-since", LATER)], Part::NotModified);
        check(&[("if-modified-since", EARLIER)], Part::Whole);
        check(&[("if-modified-since", "yesterday")], Part::Whole);
        check(&[("if-match", ETAG)], Part::Whole);
        check(&[("if-match", "*")], Part::Whole);
        check(&[("if-match", "W/\"abc,d\"")], Part::Failed);
        check(&[("if-match", "\"x\"")], Part::Failed);
        check(&[("if-match", "\"x\""), ("if-none-match", ETAG)], Part::Failed);
        check(&[("if-match", ETAG), ("if-none-match", ETAG)], Part::NotModified);
        check(&[("if-unmodified-since", EARLIER)], Part::Failed);
        check(&[("if-unmodified-since", MADE)], Part::Whole);
        check(&[("if-match", ETAG), ("if-unmodified-since", EARLIER)], Part::Whole);
        check(&[("if-none-match", ETAG), ("range", "bytes=0-1")], Part::NotModified);
    }

    #[test]
    fn ranges() {
        check(&[("range", "bytes=0-0")], Part::Bytes(0..1));
        check(&[("range", "BYTES=10-19")], Part::Bytes(10..20));
        check(&[("range", "bytes=90-")], Part::Bytes(90..100));
        check(&[("range", "bytes=90-1000")], Part::Bytes(90..100));
        check(&[("range", "bytes=-10")], Part::Bytes(90..100));
        check(&[("range", "bytes=-1000")], Part::Bytes(0..100));
        check(&[("range", "bytes=0-99999999999999999999999")], Part::Bytes(0..100));
        check(&[("range", "bytes=100-")], Part::Unsatisfiable);
        check(&[("range", "bytes=99999999999999999999999-")], Part::Unsatisfiable);
        check(&[("range", "bytes=-0")], Part::Unsatisfiable);
        for ignored in
            ["bytes=5-4", "bytes=0-1,3-4", "bytes=", "bytes=-", "bytes=a-b", "bytes=+1-2", "items=0-1", "0-1"]
        {
            check(&[("range", ignored)], Part::Whole);
        }
    }

    #[test]
    fn if_range_wants_a_strong_validator() {
        for (condition, wanted) in [
            (ETAG, Part::Bytes(0..1)),
            (MADE, Part::Bytes(0..1)),
            ("W/\"abc,d\"", Part::Whole),
            ("\"x\"", Part::Whole),
            (LATER, Part::Whole),
            ("nonsense", Part::Whole),
        ] {
            check(&[("range", "bytes=0-0"), ("if-range", condition)], wanted);
        }
    }

    #[test]
    fn nothing_lies_in_an_empty_answer() {
        let mut map = HeaderMap::new();
        map.insert(RANGE, HeaderValue::from_static("bytes=-5"));
        assert_eq!(part(&map, true, ETAG, UNIX_EPOCH, 0), Part::Unsatisfiable);
    }
}
