//! Environment variables that deployments of this kind already set, and what they mean here.
//!
//! Always true: a key set by its own `FOVEA_…` name wins over an alias, and an alias over a file.

use super::environment::Override;
use super::{Environment, Problem};

/// An alias, for the docs and for `check-config`.
pub struct Alias {
    /// The variable.
    pub name: &'static str,
    /// What it means.
    pub meaning: &'static str,
}

/// Every alias. Where two name one key, the earlier in this table wins.
pub const ALIASES: [Alias; 24] = [
    Alias {
        name: "STORAGE_TYPE",
        meaning: "`s3` or `minio`: BUCKET_NAME is used; `minio` also sets s3.path_style; `local`: it is not",
    },
    Alias {
        name: "BUCKET_NAME",
        meaning: "derivatives.store = s3://NAME, and a category `images` with source s3://NAME/originals",
    },
    Alias { name: "STORAGE_ENDPOINT", meaning: "s3.endpoint" },
    Alias { name: "AWS_ENDPOINT_URL_S3", meaning: "s3.endpoint" },
    Alias { name: "AWS_ENDPOINT_URL", meaning: "s3.endpoint" },
    Alias { name: "AWS_REGION", meaning: "s3.region" },
    Alias { name: "AWS_DEFAULT_REGION", meaning: "s3.region" },
    Alias { name: "MINIO_ACCESS_KEY", meaning: "s3.access_key_id" },
    Alias { name: "AWS_ACCESS_KEY_ID", meaning: "s3.access_key_id" },
    Alias { name: "MINIO_SECRET_KEY", meaning: "s3.secret_access_key" },
    Alias { name: "AWS_SECRET_ACCESS_KEY", meaning: "s3.secret_access_key" },
    Alias { name: "AWS_SESSION_TOKEN", meaning: "s3.session_token" },
    Alias {
        name: "PROCESSOR_MEMORY_LIMIT",
        meaning: "memory.work_bytes; a number below 1048576 counts MiB, a larger one bytes, a text has its unit: `512m`, `2GiB`",
    },
    Alias { name: "PROCESSOR_THREAD_COUNT", meaning: "render.threads" },
    Alias { name: "DATABASE_URL", meaning: "catalog.url" },
    Alias { name: "NATS_URL", meaning: "nats.url" },
    Alias { name: "WORKER_CONCURRENCY", meaning: "worker.concurrency" },
    Alias { name: "MAX_CONCURRENT_PROCESSING", meaning: "worker.concurrency" },
    Alias { name: "MAX_RETRIES", meaning: "queue.retries_max" },
    Alias {
        name: "JOB_TIMEOUT",
        meaning: "worker.job_timeout_ms; `30s`, `500ms`; a number below 1000 counts seconds, a larger one milliseconds",
    },
    Alias { name: "IMAGE_PROCESSING_TIMEOUT", meaning: "worker.job_timeout_ms, as JOB_TIMEOUT" },
    Alias { name: "IMAGE_PROCESSING_QUEUE_SIZE", meaning: "queue.size_max" },
    Alias { name: "RUST_LOG", meaning: "telemetry.log" },
    Alias { name: "OTEL_EXPORTER_OTLP_ENDPOINT", meaning: "telemetry.otlp_endpoint" },
];

/// Numbers under this are MiB in `PROCESSOR_MEMORY_LIMIT`.
const MIB_BELOW: u64 = 1 << 20;

/// What the aliases in an environment say, and what is wrong with them. Empty variables say nothing.
pub(super) fn read(environment: &Environment) -> (Vec<Override>, Vec<Problem>) {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    // Backwards, since of two overrides of one key the later wins.
    for Alias { name, meaning } in ALIASES.iter().rev() {
        let Some(value) = environment.get(*name).map(String::as_str).filter(|value| !value.is_empty()) else {
            continue;
        };
        let mut set = |key: &str, value: &str| found.push(Override::text(key, value, name));
        match *name {
            "STORAGE_TYPE" => match value.to_ascii_lowercase().as_str() {
                "minio" => set("s3.path_style", "true"),
                "s3" | "local" => {}
                _ => problems.push(Problem::new(
                    name,
                    "the environment",
                    format!("must be local, s3 or minio, not {value:?}"),
                )),
            },
            "BUCKET_NAME" => {
                if in_bucket(environment) {
                    set("derivatives.store", &format!("s3://{value}"));
                    set("category.images.source", &format!("s3://{value}/originals"));
                }
            }
            "PROCESSOR_MEMORY_LIMIT" => match value.parse::<u64>() {
                Ok(mib) if mib < MIB_BELOW => set("memory.work_bytes", &format!("{mib}MiB")),
                _ => set("memory.work_bytes", value),
            },
            "JOB_TIMEOUT" | "IMAGE_PROCESSING_TIMEOUT" => match timeout_ms(value) {
                Some(ms) => set("worker.job_timeout_ms", &ms.to_string()),
                None => problems.push(Problem::new(
                    name,
                    "the environment",
                    format!("must be a time such as 30, 30s or 500ms, not {value:?}"),
                )),
            },
            // All others stand for one key, which is their meaning.
            _ => set(meaning, value),
        }
    }
    (found, problems)
}

/// A time, with a unit or without: numbers below 1000 are seconds then.
fn timeout_ms(text: &str) -> Option<u64> {
    let text = text.trim();
    let number = |digits: &str| digits.trim().parse::<u64>().ok();
    if let Some(digits) = text.strip_suffix("ms") {
        return number(digits);
    }
    if let Some(digits) = text.strip_suffix('s') {
        return number(digits)?.checked_mul(1000);
    }
    number(text).map(|value| if value < 1000 { value * 1000 } else { value })
}

/// Whether `STORAGE_TYPE` names a bucket.
fn in_bucket(environment: &Environment) -> bool {
    environment.get("STORAGE_TYPE").is_some_and(|kind| matches!(kind.to_ascii_lowercase().as_str(), "s3" | "minio"))
}
