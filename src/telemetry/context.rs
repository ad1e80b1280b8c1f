//! W3C trace context: <https://www.w3.org/TR/trace-context/>. Taken from a request's `traceparent`, passed on to sources.

use std::fmt;
use std::str::FromStr;

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// A `traceparent`: which trace, which span of it, and whether it is recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TraceContext {
    /// The trace; not zero.
    pub trace_id: [u8; 16],
    /// The calling span; not zero.
    pub span_id: [u8; 8],
    /// Whether the caller records it.
    pub sampled: bool,
}

/// Why a header is not a `traceparent`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a traceparent header")]
pub struct NotTraceparent;

impl TraceContext {
    /// The first span of a new trace.
    pub fn root(sampled: bool) -> Self {
        Self { trace_id: not_zero(|| fastrand::u128(..).to_be_bytes()), span_id: new_span(), sampled }
    }

    /// A new span of the same trace.
    #[must_use]
    pub fn child(self) -> Self {
        Self { span_id: new_span(), ..self }
    }
}

impl FromStr for TraceContext {
    type Err = NotTraceparent;

    /// Reads version 00, and what later versions must keep of it.
    fn from_str(text: &str) -> Result<Self, NotTraceparent> {
        let mut parts = text.trim().split('-');
        let version: [u8; 1] = hex(parts.next())?;
        let trace_id: [u8; 16] = hex(parts.next())?;
        let span_id: [u8; 8] = hex(parts.next())?;
        let flags: [u8; 1] = hex(parts.next())?;
        let more = parts.next().is_some();
        if version[0] == 0xff || (version[0] == 0 && more) || trace_id == [0; 16] || span_id == [0; 8] {
            return Err(NotTraceparent);
        }
        Ok(Self { trace_id, span_id, sampled: flags[0] & 1 == 1 })
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, span) = (u128::from_be_bytes(self.trace_id), u64::from_be_bytes(self.span_id));
        write!(out, "00-{trace:032x}-{span:016x}-{:02x}", u8::from(self.sampled))
    }
}

/// Makes a span the child of a caller's. Without OTLP export this does nothing. Call it before the span is entered.
pub fn adopt(span: &Span, caller: TraceContext, tracestate: Option<&str>) {
    let flags = if caller.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    let state = tracestate.and_then(|text| TraceState::from_str(text).ok()).unwrap_or_default();
    let (trace, id) = (TraceId::from_bytes(caller.trace_id), SpanId::from_bytes(caller.span_id));
    let parent =
        opentelemetry::Context::new().with_remote_span_context(SpanContext::new(trace, id, flags, true, state));
    // The error is that no layer exports traces.
    let _ = span.set_parent(parent);
}

/// What to pass on from a span: its own context where traces are exported, else a child of the caller's. None where there is
/// neither, since a trace that nobody records helps nobody.
pub fn outgoing(span: &Span, caller: Option<TraceContext>) -> Option<TraceContext> {
    let context = span.context();
    let own = context.span().span_context().clone();
    if own.is_valid() {
        let (trace_id, span_id) = (own.trace_id().to_bytes(), own.span_id().to_bytes());
        return Some(TraceContext { trace_id, span_id, sampled: own.is_sampled() });
    }
    caller.map(TraceContext::child)
}

fn new_span() -> [u8; 8] {
    not_zero(|| fastrand::u64(..).to_be_bytes())
}

fn not_zero<const N: usize>(mut make: impl FnMut() -> [u8; N]) -> [u8; N] {
    loop {
        let made = make();
        if made != [0; N] {
            return made;
        }
    }
}

/// Exactly `2 * N` lower-case hex digits.
fn hex<const N: usize>(text: Option<&str>) -> Result<[u8; N], NotTraceparent> {
    let digits = text.ok_or(NotTraceparent)?.as_bytes();
    if digits.len() != 2 * N {
        return Err(NotTraceparent);
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => Err(NotTraceparent),
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn reads_and_writes_what_the_specification_shows() {
        let context: TraceContext = EXAMPLE.parse().unwrap();
        assert!(context.sampled);
        assert_eq!(context.span_id, [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]);
        assert_eq!(context.to_string(), EXAMPLE);
        let child = context.child();
        assert_eq!((child.trace_id, child.sampled), (context.trace_id, true));
        assert_ne!(child.span_id, context.span_id);
        assert_eq!(TraceContext::root(false).to_string().parse::<TraceContext>().map(|c| c.sampled), Ok(false));
    }

    #[test]
    fn later_versions_may_say_more() {
        assert!(EXAMPLE.replacen("00", "cc", 1).parse::<TraceContext>().is_ok());
        assert!(format!("{}-what-follows", EXAMPLE.replacen("00", "cc", 1)).parse::<TraceContext>().is_ok());
        assert!(format!("{EXAMPLE}-what-follows").parse::<TraceContext>().is_err());
    }

    #[test]
    fn refuses_all_else() {
        for text in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c8031-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-ääääääääääääääää-b7ad6b7169203331-01",
        ] {
            assert_eq!(text.parse::<TraceContext>(), Err(NotTraceparent), "{text}");
        }
    }

    #[test]
    fn without_export_the_callers_trace_goes_on() {
        let caller: TraceContext = EXAMPLE.parse().unwrap();
        let span = Span::none();
        adopt(&span, caller, Some("vendor=value"));
        assert_eq!(outgoing(&span, Some(caller)).map(|c| c.trace_id), Some(caller.trace_id));
        assert_eq!(outgoing(&span, None), None);
    }
}
