//! W3C trace context: taken from the caller where legal, made otherwise, passed on to sources.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A place in a W3C trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trace {
    /// The trace.
    pub trace: u128,
    /// The caller's span, where the trace was taken from a caller.
    pub caller: Option<u64>,
    /// Our span, the parent of what we ask of others.
    pub span: u64,
    /// Whether somebody records the trace.
    pub sampled: bool,
    /// Whether the caller gave the trace.
    pub taken: bool,
}

impl Trace {
    /// The caller's trace, or a new one where it gave none that is legal.
    pub fn of(headers: &HeaderMap) -> Self {
        let span = fastrand::u64(1..);
        let mut lines = headers.get_all(TRACEPARENT).iter();
        match (lines.next().and_then(parse_traceparent), lines.next()) {
            (Some((trace, caller, sampled)), None) => Self { trace, caller: Some(caller), span, sampled, taken: true },
            _ => Self { trace: fastrand::u128(1..), caller: None, span, sampled: false, taken: false },
        }
    }

    /// Makes a span a part of the trace, where spans are exported; then the exported span is the one that is passed on.
    pub fn adopt(self, span: &Span) -> Self {
        let sampled = if self.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
        if let Some(caller) = self.caller {
            let (trace, caller) = (TraceId::from(self.trace), SpanId::from(caller));
            let remote = SpanContext::new(trace, caller, sampled, true, TraceState::default());
            // Fails only where no exporter is installed, and then there is nothing to be a part of.
            let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(remote));
        }
        let context = span.context();
        let exported = context.span().span_context().clone();
        if !exported.is_valid() {
            return self;
        }
        Self {
            trace: u128::from_be_bytes(exported.trace_id().to_bytes()),
            span: u64::from_be_bytes(exported.span_id().to_bytes()),
            sampled: exported.is_sampled(),
            ..self
        }
    }

    /// The `traceparent` to pass on.
    pub fn parent(&self) -> String {
        format!("00-{:032x}-{:016x}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

/// Trace, parent and whether sampled, of a legal `traceparent`.
fn parse_traceparent(value: &HeaderValue) -> Option<(u128, u64, bool)> {
    let text = value.to_str().ok()?.trim();
    let mut parts = text.splitn(4, '-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    // Later versions may append fields; this one may not.
    let flags = if version == "00" {
        flags
    } else {
        flags.get(..2).filter(|_| flags.len() == 2 || flags.as_bytes()[2] == b'-')?
    };
    let hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    if !hex(version, 2) || version == "ff" || !hex(trace, 32) || !hex(span, 16) || !hex(flags, 2) {
        return None;
    }
    let trace = u128::from_str_radix(trace, 16).ok().filter(|trace| *trace != 0)?;
    let span = u64::from_str_radix(span, 16).ok().filter(|span| *span != 0)?;
    Some((trace, span, u8::from_str_radix(flags, 16).ok()? & 1 == 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    #[test]
    fn traces_are_taken_where_legal() {
        let taken = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = Trace::of(&headers(&[("traceparent", taken)]));
        assert!(trace.taken && trace.sampled && trace.caller == Some(0x00f0_67aa_0ba9_02b7));
        let parent = trace.parent();
        assert!(parent.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && parent.ends_with("-01"), "{parent}");
        assert!(!parent.contains("00f067aa0ba902b7"), "the source's parent is our span");
        assert!(Trace::of(&headers(&[("traceparent", &format!("{}-later", taken.replacen("00-", "01-", 1)))])).taken);
        for illegal in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-+1",
        ] {
            let trace = Trace::of(&headers(&[("traceparent", illegal)]));
            assert!(!trace.taken && trace.trace != 0, "{illegal}");
        }
    }
}
