//! The shortest way over HTTP/1: a URL that this thread answered a moment ago is answered from the buffer it was read into, with
//! a head that was made before. Everything else takes the way that h2 takes, too.
//!
//! Always true: what a client gets over the short way is what it would get over the long one.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, Uri, Version};

use super::block::{self, fresh_id};
use super::client;
use super::conditional::knows;
use super::front::{self, Slot};
use super::head::{Fault, Head};
use super::headers::{self, Text as _, phase_name, push_ms};
use super::image::Images;
use super::lane::{Cargo, Lane, Turn, Way};
use super::log::Line;
use super::problem::{Problem, Refusal};
use super::respond::Exchange;
use super::server::{Peer, Reply};
use crate::plan::{self, Bucket};
use crate::serve::Phase;

impl Lane for Images {
    fn turn(self: &Arc<Self>, peer: &Peer, head: &Head<'_>, way: Way, out: &mut Vec<u8>) -> Turn {
        let started = Instant::now();
        if let Some(cargo) = self.hit(started, peer, head, way, out) {
            return Turn::Written(cargo);
        }
        match head.parts() {
            Ok(parts) => Turn::Reply(self.respond(started, peer, parts)),
            Err(fault) => Turn::Reply(Reply::now(self.refuse(peer, fault))),
        }
    }

    fn refuse(self: &Arc<Self>, peer: &Peer, fault: Fault) -> Response<Bytes> {
        let refusal = match fault {
            Fault::Malformed => Refusal::NoRequest,
            Fault::FieldsTooLarge => Refusal::FieldsTooLarge,
            Fault::TargetTooLong => Refusal::UrlTooLong,
            Fault::Version => Refusal::HttpVersion,
        };
        let mut head = http::Request::new(()).into_parts().0;
        // Nothing of what came is believed, not even its method.
        head.method = Method::from_bytes(b"-").expect("a dash is a token");
        (head.uri, head.version) = (Uri::from_static("*"), Version::HTTP_11);
        let id = client::request_id(&head.headers);
        let exchange = Exchange { started: Instant::now(), id, address: peer.address.to_canonical(), head };
        self.problem(&exchange, &Problem::from(refusal), HeaderMap::new(), &"no request that can be answered")
    }
}

impl Images {
    /// Answers a plain GET, with or without `If-None-Match`, if this thread has the answer at hand.
    fn hit(&self, started: Instant, peer: &Peer, head: &Head<'_>, way: Way, out: &mut Vec<u8>) -> Option<Cargo> {
        if head.method != "GET" || head.known.involved {
            return None;
        }
        let knows_of = match head.known.if_none_match.map(text) {
            // What is no text is for the long way to judge.
            Some(None) => return None,
            Some(tags) => tags,
            None => None,
        };
        let path = head.path()?;
        let bucket = || head.known.accept.and_then(text).map_or(Bucket::Base, |accept| plan::bucket(Some(accept)));
        front::find(path, bucket, self.origin.epoch(), started, |slot| {
            let status = match knows_of {
                Some(tags) if knows(tags, &slot.entry.etag) => StatusCode::NOT_MODIFIED,
                _ => StatusCode::OK,
            };
            self.write(started, peer, head, (slot, status), way, out)
        })
    }

    fn write(
        &self,
        started: Instant,
        peer: &Peer,
        head: &Head<'_>,
        (slot, status): (&Slot, StatusCode),
        way: Way,
        out: &mut Vec<u8>,
    ) -> Cargo {
        slot.answered();
        let fresh = fresh_id();
        let given = head.known.request_id.filter(|id| client::is_sane(id));
        let id = given.unwrap_or(&fresh);
        block::begin(out, status, way.ending);
        block::field(out, headers::REQUEST_ID.as_str(), id);
        let time = started.elapsed();
        out.add("server-timing: cache;desc=memory, total;dur=");
        push_ms(out, time);
        out.add("\r\n");
        let body = if status == StatusCode::OK { slot.entry.bytes.clone() } else { Bytes::new() };
        let bytes = body.len() as u64;
        let cargo = match slot.sealed().filter(|_| way.socket && status == StatusCode::OK) {
            Some(sealed) => Cargo::Sealed(sealed.clone()),
            None => {
                out.extend_from_slice(slot.fields(status));
                Cargo::Bytes(body)
            }
        };
        let phase = phase_name(Phase::Memory);
        self.meters.answered(&Method::GET, status, phase, bytes, time);
        if self.log.is_on() {
            let (proxies, header) = (&self.settings.trusted_proxies, self.settings.address_header);
            self.log.line(&Line {
                id: text(id).unwrap_or("-"),
                address: client::address(|name| head.lines(name), peer.address, proxies, header),
                method: head.method,
                path: head.path().unwrap_or("-"),
                version: head.version,
                status,
                bytes,
                phase,
                time,
                stages: None,
                agent: head.known.agent.and_then(text),
                referrer: head.known.referrer.and_then(text),
            });
        }
        cargo
    }
}

/// Visible ASCII, as the long way takes it.
fn text(value: &[u8]) -> Option<&str> {
    let visible = value.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
    visible.then(|| std::str::from_utf8(value).ok()).flatten()
}
