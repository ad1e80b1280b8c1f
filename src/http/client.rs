//! What a request says of its client: address behind trusted proxies, capabilities, hints, trace context, request id.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::header::{ACCEPT, FORWARDED};
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use super::block::fresh_id;
use super::headers::{Looked, REQUEST_ID};
use super::settings::AddressHeader;
use crate::plan::{self, Bucket};
use crate::serve::Client;
use crate::source::Context;
use crate::telemetry::TraceContext;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const SEC_CH_WIDTH: HeaderName = HeaderName::from_static("sec-ch-width");
const WIDTH: HeaderName = HeaderName::from_static("width");
const SEC_CH_DPR: HeaderName = HeaderName::from_static("sec-ch-dpr");
const DPR: HeaderName = HeaderName::from_static("dpr");
const SAVE_DATA: HeaderName = HeaderName::from_static("save-data");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// Most hops of a forwarding header that are looked at.
const HOPS_MAX: usize = 32;
/// Most bytes of `tracestate` that are passed on (W3C asks for at least 512).
const TRACESTATE_BYTES_MAX: usize = 1024;
/// Most bytes of `CDN-Loop` that are passed on.
const CDN_LOOP_BYTES_MAX: usize = 2048;
/// Most bytes of a client's own request id.
const REQUEST_ID_BYTES_MAX: usize = 64;
/// The largest width a hint may ask for.
const HINT_WIDTH_MAX: u32 = 32_768;

/// What the URL looks at of what the client says. The context is empty: only a miss needs it, see [`context`].
pub fn client(headers: &HeaderMap, looked: Looked, address: IpAddr) -> Client {
    let bucket = if looked.accept { bucket(headers) } else { Bucket::Base };
    let (width, dpr) = if looked.size {
        (hint(headers, &SEC_CH_WIDTH, &WIDTH).and_then(width), hint(headers, &SEC_CH_DPR, &DPR).and_then(ratio))
    } else {
        (None, None)
    };
    let save_data = looked.save_data && hint(headers, &SAVE_DATA, &SAVE_DATA).is_some_and(saves);
    Client { bucket, width, dpr, save_data, address: Some(address), context: Context::default() }
}

/// The values of a header, as far as they are text.
pub fn lines<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Vec<&'a str> {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect()
}

/// What the client can show, by `Accept`; several lines of it are one list.
pub fn bucket(headers: &HeaderMap) -> Bucket {
    let mut lines = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    match (lines.next(), lines.next()) {
        (first, None) => plan::bucket(first),
        (first, second) => {
            let all: Vec<&str> = first.into_iter().chain(second).chain(lines).collect();
            plan::bucket(Some(&all.join(",")))
        }
    }
}

/// The new name of a hint, else the old one.
fn hint<'a>(headers: &'a HeaderMap, new: &HeaderName, old: &HeaderName) -> Option<&'a str> {
    headers.get(new).or_else(|| headers.get(old))?.to_str().ok().map(str::trim)
}

fn width(text: &str) -> Option<u32> {
    text.parse::<f64>()
        .ok()
        .filter(|width| (1.0..=f64::from(HINT_WIDTH_MAX)).contains(width))
        .map(|width| width.ceil() as u32)
}

/// A ratio in hundredths, held in the range that a URL may ask for.
fn ratio(text: &str) -> Option<u16> {
    let ratio = text.parse::<f64>().ok().filter(|ratio| ratio.is_finite() && *ratio > 0.0)?;
    Some((ratio * 100.0).round().clamp(100.0, 800.0) as u16)
}

fn saves(text: &str) -> bool {
    text.split(';').next().is_some_and(|token| token.trim().eq_ignore_ascii_case("on"))
}

/// The client's address: the peer's, or, where the peer is a trusted proxy, the last hop that is not one. `lines` gives the
/// values of a header, in order.
pub fn address<'a>(
    lines: impl FnOnce(&HeaderName) -> Vec<&'a str>,
    peer: IpAddr,
    trusted: &[IpNet],
    header: AddressHeader,
) -> IpAddr {
    let peer = peer.to_canonical();
    let trusts = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    if trusted.is_empty() || !trusts(&peer) {
        return peer;
    }
    let name = match header {
        AddressHeader::XForwardedFor => X_FORWARDED_FOR,
        AddressHeader::Forwarded => FORWARDED,
    };
    let lines = lines(&name);
    let mut nearest = peer;
    for hop in lines.iter().rev().flat_map(|line| line.rsplit(',')).take(HOPS_MAX) {
        let said = match header {
            AddressHeader::XForwardedFor => parse_address(hop.trim()),
            AddressHeader::Forwarded => forwarded_for(hop),
        };
        // What is no address ends the chain: nothing before it can be believed.
        let Some(said) = said else { break };
        nearest = said;
        if !trusts(&said) {
            break;
        }
    }
    nearest
}

/// The `for` of one element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let pair = element.split(';').filter_map(|pair| pair.split_once('='));
    let (_, node) = pair.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    parse_address(node.trim().trim_matches('"'))
}

/// An address with or without a port, IPv6 with or without brackets.
fn parse_address(text: &str) -> Option<IpAddr> {
    let bare = || text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    bare().or_else(with_port).or_else(bracketed).map(|address| address.to_canonical())
}

/// The caller's trace, where it gave one that is legal.
pub fn trace(headers: &HeaderMap) -> Option<TraceContext> {
    let mut lines = headers.get_all(TRACEPARENT).iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) => line.to_str().ok()?.parse().ok(),
        _ => None,
    }
}

/// The caller's own notes on its trace.
pub fn tracestate(headers: &HeaderMap) -> Option<String> {
    joined(headers, TRACESTATE).filter(|text| text.len() <= TRACESTATE_BYTES_MAX)
}

/// What is passed on to the source: our place in the trace, and where the request has been.
pub fn context(headers: &HeaderMap, outgoing: Option<TraceContext>, taken: bool) -> Context {
    // A loop header too long to keep is the sign of a loop; its end is kept, where our own name would be.
    let cdn_loop = joined(headers, CDN_LOOP).map(|text| {
        let from = text.len().saturating_sub(CDN_LOOP_BYTES_MAX);
        text.get(from..).unwrap_or_default().to_owned()
    });
    // A state without its trace means nothing.
    let tracestate = if taken { tracestate(headers) } else { None };
    Context { traceparent: outgoing.map(|trace| trace.to_string()), tracestate, cdn_loop }
}

/// Every line of a header as one list.
fn joined(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let lines: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    Some(lines.join(", ")).filter(|text| !text.is_empty())
}

/// The client's request id where it is sane (letters, digits, `-_.:`), else a new one of 16 hex digits.
pub fn request_id(headers: &HeaderMap) -> HeaderValue {
    match headers.get(REQUEST_ID).filter(|given| is_sane(given.as_bytes())) {
        Some(given) => given.clone(),
        None => HeaderValue::from_bytes(&fresh_id()).expect("hex digits are a legal header value"),
    }
}

/// Whether a request id may be taken over.
pub fn is_sane(id: &[u8]) -> bool {
    (1..=REQUEST_ID_BYTES_MAX).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte))
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
