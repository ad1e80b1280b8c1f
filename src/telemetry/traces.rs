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
