//! OpenTelemetry traces, exported by OTLP over HTTP.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::{SpanExporter as OtlpExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, SpanData, SpanExporter};
use tokio::runtime::Handle;

use super::Error;

/// Where OTLP's traces go below an endpoint.
const PATH: &str = "/v1/traces";

/// Time for one export.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where and how much to export.
#[derive(Clone, PartialEq, Debug)]
pub struct Otlp {
    /// Such as `http://127.0.0.1:4318`; `/v1/traces` is added.
    pub endpoint: String,
    /// The part of traces that begin here and are exported, 0..=1; a caller's own decision is followed.
    pub ratio: f64,
}

/// Builds the provider; must be called in a tokio runtime, on which exports then run.
pub(super) fn provider(otlp: &Otlp) -> Result<(SdkTracerProvider, SdkTracer), Error> {
    let failed = |what: String| Error::Otlp { endpoint: otlp.endpoint.clone(), what };
    let runtime = Handle::try_current().map_err(|error| failed(error.to_string()))?;
    let base = otlp.endpoint.trim_end_matches('/');
    let endpoint = if base.ends_with(PATH) { base.to_owned() } else { format!("{base}{PATH}") };
    let builder = OtlpExporter::builder().with_http().with_endpoint(&endpoint).with_timeout(EXPORT_TIMEOUT);
    let builder = if endpoint.starts_with("https:") {
        let ring = rustls::crypto::ring::default_provider();
        let connector = hyper_rustls::HttpsConnectorBuilder::new().with_provider_and_native_roots(ring);
        let connector = connector.map_err(|error| failed(error.to_string()))?.https_only().enable_http1().build();
        builder.with_http_client(HyperClient::new(connector, EXPORT_TIMEOUT, None))
    } else {
        builder.with_http_client(HyperClient::with_default_connector(EXPORT_TIMEOUT, None))
    };
    let exporter = builder.build().map_err(|error| failed(error.to_string()))?;
    let resource = Resource::builder()
        .with_service_name("fovea")
        .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let provider = SdkTracerProvider::builder()
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(otlp.ratio))))
        .with_batch_exporter(OnRuntime { exporter: Arc::new(exporter), runtime })
        .with_resource(resource)
        .build();
    let tracer = provider.tracer("fovea");
    Ok((provider, tracer))
}

/// Exports on our runtime: the batch processor polls exporters on a thread of its own, where hyper finds no reactor.
#[derive(Debug)]
struct OnRuntime {
    exporter: Arc<OtlpExporter>,
    runtime: Handle,
}

impl SpanExporter for OnRuntime {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let exporter = self.exporter.clone();
        let task = self.runtime.spawn(async move { exporter.export(batch).await });
        task.await.unwrap_or_else(|error| Err(OTelSdkError::InternalFailure(error.to_string())))
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        if let Some(exporter) = Arc::get_mut(&mut self.exporter) {
            exporter.set_resource(resource);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use tracing_subscriber::layer::SubscriberExt;

    use super::super::{TraceContext, adopt, outgoing};
    use super::*;

    /// Takes one request and gives back its head and body.
    fn collector() -> (String, std::thread::JoinHandle<(String, Vec<u8>)>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut got, mut part) = (Vec::new(), [0; 4096]);
            loop {
                let read = stream.read(&mut part).unwrap();
                got.extend_from_slice(&part[..read]);
                let Some(split) = got.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
                let head = String::from_utf8_lossy(&got[..split]).to_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if got.len() - split - 4 >= length.map_or(0, |length| length.parse().unwrap()) {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
                    return (head, got.split_off(split + 4));
                }
            }
        });
        (endpoint, thread)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_sampled_callers_trace_is_exported_and_passed_on() {
        let (endpoint, thread) = collector();
        let (provider, tracer) = provider(&Otlp { endpoint, ratio: 0.0 }).unwrap();
        let subscriber = tracing_subscriber::registry().with(tracing_opentelemetry::layer().with_tracer(tracer));
        let caller: TraceContext = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap();
        let passed = tracing::subscriber::with_default(subscriber, || {
            let ignored = tracing::info_span!("not sampled: it begins here, and the ratio is 0");
            drop(ignored.entered());
            let span = tracing::info_span!("a span of the test");
            adopt(&span, caller, None);
            let _entered = span.enter();
            outgoing(&span, Some(caller)).unwrap()
        });
        assert_eq!((passed.trace_id, passed.sampled), (caller.trace_id, true));
        assert_ne!(passed.span_id, caller.span_id);
        tokio::task::spawn_blocking(move || provider.shutdown()).await.unwrap().unwrap();
        let (head, body) = thread.join().unwrap();
        assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
        assert!(head.contains("content-type: application/x-protobuf"), "{head}");
        let holds = |bytes: &[u8]| body.windows(bytes.len()).any(|window| window == bytes);
        assert!(holds(b"a span of the test") && holds(&caller.trace_id) && holds(&passed.span_id) && holds(b"fovea"));
        assert!(!holds(b"not sampled"));
    }
}
