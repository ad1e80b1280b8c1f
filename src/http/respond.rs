//! The responses of the image listener: whole, partial, unchanged, elsewhere, or a problem; what all of them go through last.
//!
//! Always true: every response is counted and logged once, in [`Images::close`].

use std::net::IpAddr;
use std::time::Instant;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, LOCATION, REFERER, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use tracing::Level;

use super::conditional::{Part, part};
use super::front::Slot;
use super::headers::{self, Looked, phase_name};
use super::image::{Body, HEADERS, Images};
use super::log::Line;
use super::problem::{Problem, Refusal};
use crate::base::Stages;
use crate::plan;
use crate::serve::{Answer, Error, Phase, Policy};

/// The phase of an answer that is no picture.
pub(super) const NOWHERE: (&str, Option<&Stages>) = ("none", None);

/// A request under way.
pub(super) struct Exchange {
    pub(super) started: Instant,
    pub(super) id: HeaderValue,
    pub(super) address: IpAddr,
    pub(super) head: Parts,
}

impl Exchange {
    pub(super) fn path(&self) -> &str {
        self.head.uri.path()
    }
}

impl Images {
    /// The answer to a URL that this thread answered a moment ago. What is not whole or unchanged takes the long way.
    pub(super) fn recent(&self, exchange: &Exchange, slot: &Slot) -> Option<Response<Body>> {
        let (asked, entry) = (&exchange.head.headers, &slot.entry);
        let length = entry.bytes.len() as u64;
        let (status, mut map, body) = match part(asked, true, &entry.etag, entry.modified, length) {
            Part::Whole => (StatusCode::OK, slot.whole.clone(), entry.bytes.clone()),
            Part::NotModified => (StatusCode::NOT_MODIFIED, slot.unchanged(), Bytes::new()),
            Part::Bytes(_) | Part::Failed | Part::Unsatisfiable => return None,
        };
        slot.answered();
        let time = exchange.started.elapsed();
        map.insert(headers::REQUEST_ID, exchange.id.clone());
        map.insert(headers::SERVER_TIMING, headers::server_timing(Phase::Memory, &Stages::default(), time));
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = map;
        Some(self.close(exchange, response, (phase_name(Phase::Memory), None)))
    }

    /// The answer, or as much of it as the request's conditions and range leave.
    pub(super) fn answer(
        &self,
        exchange: &Exchange,
        request: &plan::Request,
        policy: &Policy,
        looked: Looked,
        answer: &Answer,
    ) -> Response<Body> {
        let entry = &*answer.entry;
        let length = entry.bytes.len() as u64;
        let asked = &exchange.head.headers;
        let mut map = HeaderMap::with_capacity(HEADERS);
        headers::of_category(&mut map, policy, looked, asked);
        let part = part(asked, exchange.head.method == Method::GET, &entry.etag, entry.modified, length);
        let (status, body) = match part {
            Part::Whole => (StatusCode::OK, entry.bytes.clone()),
            Part::Bytes(range) => {
                let last = range.end - 1;
                let value = HeaderValue::try_from(format!("bytes {}-{last}/{length}", range.start));
                map.insert(CONTENT_RANGE, value.expect("numbers are a legal header value"));
                (StatusCode::PARTIAL_CONTENT, entry.bytes.slice(range.start as usize..range.end as usize))
            }
            Part::NotModified => (StatusCode::NOT_MODIFIED, Bytes::new()),
            Part::Failed => {
                return self.problem(exchange, &Refusal::Precondition.into(), map, &"a precondition did not hold");
            }
            Part::Unsatisfiable => {
                let value = HeaderValue::try_from(format!("bytes */{length}"));
                map.insert(CONTENT_RANGE, value.expect("numbers are a legal header value"));
                return self.problem(exchange, &Refusal::Range.into(), map, &"a range holds nothing");
            }
        };
        headers::common(&mut map, &exchange.id);
        headers::of_answer(&mut map, request, policy, entry, answer.phase);
        if status != StatusCode::NOT_MODIFIED {
            headers::of_content(&mut map, request, entry);
        }
        let timing = headers::server_timing(answer.phase, &answer.stages, exchange.started.elapsed());
        map.insert(headers::SERVER_TIMING, timing);
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = map;
        let stages = (answer.phase != Phase::Memory).then_some(&answer.stages);
        self.close(exchange, response, (phase_name(answer.phase), stages))
    }

    /// Why there is no answer to a URL that was understood.
    pub(super) fn failure(
        &self,
        exchange: &Exchange,
        request: &plan::Request,
        policy: &Policy,
        looked: Looked,
        error: &Error,
    ) -> Response<Body> {
        let mut map = HeaderMap::with_capacity(HEADERS);
        headers::of_category(&mut map, policy, looked, &exchange.head.headers);
        // Tagged as the picture would be: its arrival purges the news of its absence.
        headers::tags(&mut map, request);
        self.problem(exchange, &Problem::from(error), map, error)
    }

    pub(super) fn redirect(
        &self,
        exchange: &Exchange,
        request: &plan::Request,
        policy: &Policy,
        looked: Looked,
        target: &str,
    ) -> Response<Body> {
        let mut map = HeaderMap::with_capacity(HEADERS);
        headers::of_category(&mut map, policy, looked, &exchange.head.headers);
        let Ok(location) = HeaderValue::from_str(target) else {
            return self.problem(exchange, &Refusal::Header.into(), map, &"a redirect's target is no header value");
        };
        map.insert(LOCATION, location);
        headers::common(&mut map, &exchange.id);
        headers::of_redirect(&mut map, policy);
        headers::tags(&mut map, request);
        let mut response = Response::new(Body::default());
        *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
        *response.headers_mut() = map;
        self.close(exchange, response, NOWHERE)
    }

    pub(super) fn problem(
        &self,
        exchange: &Exchange,
        problem: &Problem,
        mut map: HeaderMap,
        cause: &dyn std::fmt::Display,
    ) -> Response<Body> {
        let id = exchange.id.to_str().unwrap_or_default();
        report(problem, id, cause);
        self.meters.problem(problem.code);
        headers::common(&mut map, &exchange.id);
        problem.headers(&mut map);
        let mut response = Response::new(problem.body(id));
        *response.status_mut() = problem.status;
        *response.headers_mut() = map;
        self.close(exchange, response, NOWHERE)
    }

    /// What every response goes through last: HEAD, counts, the log.
    pub(super) fn close(
        &self,
        exchange: &Exchange,
        mut response: Response<Body>,
        (phase, stages): (&'static str, Option<&Stages>),
    ) -> Response<Body> {
        let head = &exchange.head;
        let mut bytes = response.body().len() as u64;
        if head.method == Method::HEAD {
            let length = HeaderValue::from(bytes);
            *response.body_mut() = Body::default();
            if !matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
                response.headers_mut().insert(CONTENT_LENGTH, length);
            }
            bytes = 0;
        }
        let time = exchange.started.elapsed();
        self.meters.answered(&head.method, response.status(), phase, bytes, time);
        if self.log.is_on() {
            self.log.line(&Line {
                id: exchange.id.to_str().unwrap_or("-"),
                address: exchange.address,
                method: head.method.as_str(),
                path: head.uri.path(),
                version: head.version,
                status: response.status(),
                bytes,
                phase,
                time,
                stages,
                agent: text(head.headers.get(USER_AGENT)),
                referrer: text(head.headers.get(REFERER)),
            });
        }
        response
    }
}

fn text(value: Option<&HeaderValue>) -> Option<&str> {
    value.and_then(|value| value.to_str().ok())
}

/// Every header of a 200 but the request's own.
pub(super) fn whole(
    request: &plan::Request,
    policy: &Policy,
    looked: Looked,
    answer: &Answer,
    asked: &HeaderMap,
) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(HEADERS);
    headers::common(&mut map, &HeaderValue::from_static(""));
    headers::of_category(&mut map, policy, looked, asked);
    headers::of_answer(&mut map, request, policy, &answer.entry, answer.phase);
    headers::of_content(&mut map, request, &answer.entry);
    map
}

/// Logs a problem, once, at its own level.
pub(super) fn report(problem: &Problem, request_id: &str, cause: &dyn std::fmt::Display) {
    let (code, status) = (problem.code, problem.status.as_u16());
    match problem.level {
        Level::ERROR => tracing::error!(code, status, request_id, error = %cause, "{}", problem.title),
        Level::WARN => tracing::warn!(code, status, request_id, error = %cause, "{}", problem.title),
        Level::INFO => tracing::info!(code, status, request_id, error = %cause, "{}", problem.title),
        _ => tracing::debug!(code, status, request_id, "{}", problem.title),
    }
}
