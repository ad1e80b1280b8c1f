//! What serde cannot see: bounds, pairs of keys, names, files. All of it at once.

use std::path::Path;

use super::layers::BUILT_IN;
use super::values::ByteSize;
use super::{Category, Config, Problem, SourceLocation, StoreLocation};

/// hyper's smallest buffer for a request's head.
const HEADER_BYTES_MIN: u64 = 8 << 10;

/// The smallest part of an upload that S3 takes, and the largest that is kept in flight.
const PART_BYTES_MIN: u64 = 5 << 20;
const PART_BYTES_MAX: u64 = 100_000_000;

/// Most threads of a pool.
const THREADS_MAX: usize = 1024;

/// Collects problems, and knows where each key was set.
struct Check<'a> {
    config: &'a Config,
    problems: Vec<Problem>,
}

impl Config {
    /// Everything that is wrong with the values; empty for a config that was loaded.
    pub fn check(&self) -> Vec<Problem> {
        let mut check = Check { config: self, problems: Vec::new() };
        check.http();
        check.memory();
        check.stores();
        check.ingest();
        check.keys();
        check.telemetry();
        check.jobs();
        check.nats();
        for (name, category) in self.categories() {
            check.category(name, category);
        }
        check.problems
    }
}

impl Check<'_> {
    /// Notes a problem with a key unless the condition holds.
    fn must(&mut self, holds: bool, key: &str, what: impl FnOnce() -> String) {
        if !holds {
            let place = self.config.places.get(key).map_or(BUILT_IN, String::as_str);
            self.problems.push(Problem::new(key, place, what()));
        }
    }

    fn at_least_one(&mut self, value: u64, key: &str) {
        self.must(value >= 1, key, || "must be at least 1".to_owned());
    }

    fn file(&mut self, path: Option<&String>, key: &str) {
        if let Some(path) = path {
            self.must(Path::new(path).is_file(), key, || format!("there is no file {path:?}"));
        }
    }

    fn http(&mut self) {
        let http = &self.config.http;
        self.must(http.tls_certificate.is_some() == http.tls_key.is_some(), "http.tls_certificate", || {
            "http.tls_certificate and http.tls_key go together: set both or none".to_owned()
        });
        if http.tls_key.is_some() {
            self.file(http.tls_certificate.as_ref(), "http.tls_certificate");
        }
        if http.tls_certificate.is_some() {
            self.file(http.tls_key.as_ref(), "http.tls_key");
        }
        self.must(http.header_bytes_max.bytes() >= HEADER_BYTES_MIN, "http.header_bytes_max", || {
            format!("must be at least {}", ByteSize(HEADER_BYTES_MIN))
        });
        self.must(http.header_bytes_max.bytes() <= 1 << 20, "http.header_bytes_max", || {
            "must be at most 1MiB".to_owned()
        });
        self.at_least_one(http.connections_max as u64, "http.connections_max");
        self.at_least_one(http.header_timeout_ms, "http.header_timeout_ms");
        self.at_least_one(http.idle_timeout_ms, "http.idle_timeout_ms");
        self.at_least_one(http.write_stall_ms, "http.write_stall_ms");
        self.at_least_one(http.request_timeout_ms, "http.request_timeout_ms");
        self.must(http.threads <= THREADS_MAX, "http.threads", || format!("must be at most {THREADS_MAX}"));
        let api = self.config.api.listen;
        self.must(http.listen != api || api.port() == 0, "api.listen", || {
            format!("{api} is http.listen too; the API needs a port of its own")
        });
    }

    fn memory(&mut self) {
        let memory = &self.config.memory;
        self.must(
            memory.entry_bytes_max <= memory.cache_bytes || memory.cache_bytes.bytes() == 0,
            "memory.entry_bytes_max",
            || format!("must be at most memory.cache_bytes, {}", memory.cache_bytes),
        );
        self.at_least_one(memory.work_bytes.bytes(), "memory.work_bytes");
        self.must(self.config.render.threads <= THREADS_MAX, "render.threads", || {
            format!("must be at most {THREADS_MAX}")
        });
        let limits = &self.config.limits;
        self.at_least_one(limits.source_bytes_max, "limits.source_bytes_max");
        self.at_least_one(limits.pixels_max, "limits.pixels_max");
        self.at_least_one(limits.side_max.into(), "limits.side_max");
        self.at_least_one(limits.frames_max.into(), "limits.frames_max");
        self.at_least_one(limits.animation_pixels_max, "limits.animation_pixels_max");
        let rate = &self.config.rate_limit;
        self.must(rate.per_second == 0 || rate.burst >= 1, "rate_limit.burst", || "must be at least 1".to_owned());
    }

    fn sse(&mut self, sse: Option<&String>, key: &str) {
        let Some(sse) = sse else { return };
        let known =
            sse == "AES256" || sse == "aws:kms" || sse.strip_prefix("aws:kms:").is_some_and(|id| !id.is_empty());
        self.must(known, key, || format!("must be \"AES256\", \"aws:kms\" or \"aws:kms:KEY-ID\", not {sse:?}"));
    }

    fn ingest(&mut self) {
        let ingest = &self.config.ingest;
        self.sse(ingest.sse.as_ref(), "ingest.sse");
        self.at_least_one(ingest.uploads_max as u64, "ingest.uploads_max");
        self.at_least_one(ingest.idle_timeout_ms, "ingest.idle_timeout_ms");
        self.at_least_one(ingest.upload_timeout_ms, "ingest.upload_timeout_ms");
        self.at_least_one(ingest.parts_parallel as u64, "ingest.parts_parallel");
        let part = ingest.part_bytes.bytes();
        self.must((PART_BYTES_MIN..=PART_BYTES_MAX).contains(&part), "ingest.part_bytes", || {
            "must be from 5MiB to 100MB".to_owned()
        });
        self.must((1..=604_800).contains(&ingest.offer_valid_s), "ingest.offer_valid_s", || {
            "must be from 1 to 604800, which is a week".to_owned()
        });
        let takes = self.config.categories().any(|(_, category)| category.ingest);
        self.must(!takes || ingest.store != StoreLocation::None, "ingest.store", || {
            "a category takes uploads, so their originals need a place".to_owned()
        });
        let api = &self.config.api;
        self.must(api.key_per_second == 0 || api.key_burst >= 1, "api.key_burst", || "must be at least 1".to_owned());
        self.must(api.address_per_second == 0 || api.address_burst >= 1, "api.address_burst", || {
            "must be at least 1".to_owned()
        });
    }

    fn stores(&mut self) {
        let derivatives = &self.config.derivatives;
        self.sse(derivatives.sse.as_ref(), "derivatives.sse");
        self.at_least_one(derivatives.write_queue_max as u64, "derivatives.write_queue_max");
        let s3 = &self.config.s3;
        if let Some(endpoint) = &s3.endpoint {
            self.must(is_http_url(endpoint), "s3.endpoint", || {
                format!("must be a URL such as \"http://127.0.0.1:9000\", not {endpoint:?}")
            });
        }
        self.must(!s3.region.is_empty(), "s3.region", || {
            "must not be empty; \"us-east-1\" does where there is none".to_owned()
        });
        self.must(s3.access_key_id.is_some() != s3.secret_access_key.is_empty(), "s3.access_key_id", || {
            "s3.access_key_id and s3.secret_access_key go together: set both or none".to_owned()
        });
    }

    fn keys(&mut self) {
        let config = self.config;
        for (kid, key) in &config.keys {
            let at = format!("keys.{kid}");
            self.must(is_kid(kid), &at, || {
                "a key's name is 1 to 32 letters, digits, hyphens and underscores".to_owned()
            });
            match key.secret.bytes() {
                Ok(bytes) => self.must(!bytes.is_empty(), &at, || "the secret is empty".to_owned()),
                Err(what) => self.must(false, &at, || what),
            }
            for category in key.categories.iter().flatten() {
                self.must(config.category.contains_key(category), &at, || format!("there is no category {category:?}"));
            }
        }
    }

    fn telemetry(&mut self) {
        let telemetry = &self.config.telemetry;
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&telemetry.log) {
            self.must(false, "telemetry.log", || {
                format!("{error}; write a level, or directives such as \"info,fovea::source=debug\"")
            });
        }
        if let Some(endpoint) = &telemetry.otlp_endpoint {
            self.must(is_http_url(endpoint), "telemetry.otlp_endpoint", || {
                format!("must be a URL such as \"http://127.0.0.1:4318\", not {endpoint:?}")
            });
        }
        self.must((0.0..=1.0).contains(&telemetry.otlp_ratio), "telemetry.otlp_ratio", || {
            "must be from 0 to 1".to_owned()
        });
    }

    fn jobs(&mut self) {
        let config = self.config;
        let catalog = &config.catalog;
        self.must(crate::catalog::is_url(catalog.url.expose()), "catalog.url", || {
            format!("must be \"sqlite:PATH\" or \"postgres://USER@HOST/DATABASE\", not {:?}", catalog.url)
        });
        self.at_least_one(catalog.readers as u64, "catalog.readers");
        self.at_least_one(catalog.writers as u64, "catalog.writers");
        self.at_least_one(catalog.busy_timeout_ms, "catalog.busy_timeout_ms");
        self.at_least_one(catalog.statement_timeout_ms, "catalog.statement_timeout_ms");
        let queue = &config.queue;
        self.at_least_one(queue.size_max, "queue.size_max");
        self.at_least_one(queue.deliveries_max.into(), "queue.deliveries_max");
        self.must(queue.lease_ms >= 100, "queue.lease_ms", || "must be at least 100".to_owned());
        self.must((1..=1000).contains(&queue.window), "queue.window", || "must be from 1 to 1000".to_owned());
        self.must(!queue.pauses_ms.is_empty(), "queue.pauses_ms", || "must hold a pause".to_owned());
        self.must(queue.concede_ms.len() == 4, "queue.concede_ms", || {
            "must hold four times: for critical, high, normal and low".to_owned()
        });
        self.at_least_one(config.popularity.flush_ms, "popularity.flush_ms");
        self.at_least_one(config.popularity.half_life_s, "popularity.half_life_s");
        self.at_least_one(config.popularity.shapes_max as u64, "popularity.shapes_max");
        let worker = &config.worker;
        self.at_least_one(worker.concurrency as u64, "worker.concurrency");
        self.at_least_one(worker.variants_at_once as u64, "worker.variants_at_once");
        self.at_least_one(worker.job_timeout_ms, "worker.job_timeout_ms");
        self.at_least_one(worker.poll_ms, "worker.poll_ms");
        self.at_least_one(worker.breaker_failures.into(), "worker.breaker_failures");
        self.at_least_one(worker.breaker_successes.into(), "worker.breaker_successes");
        self.must((1..=100).contains(&worker.failures_percent_max), "worker.failures_percent_max", || {
            "must be from 1 to 100".to_owned()
        });
    }

    fn nats(&mut self) {
        let nats = &self.config.nats;
        if !nats.url.is_empty()
            && let Err(what) = crate::broker::check_urls(nats.url.expose())
        {
            self.must(false, "nats.url", || what);
        }
        self.must(nats.user.is_some() != nats.password.is_empty(), "nats.user", || {
            "nats.user and nats.password go together: set both or none".to_owned()
        });
        self.must(
            nats.url.is_empty() || crate::catalog::is_server_url(self.config.catalog.url.expose()),
            "nats.url",
            // A worker would take another machine's jobs for old ones, and throw their messages away.
            || "a broker is for processes that share a catalog: set catalog.url to postgres://…".to_owned(),
        );
        let ways = [nats.user.is_some(), !nats.token.is_empty(), !nats.nkey_seed.is_empty()];
        let ways = ways.into_iter().chain([nats.credentials_file.is_some()]).filter(|set| *set).count();
        self.must(ways <= 1, "nats.user", || {
            "of nats.user, nats.token, nats.nkey_seed and nats.credentials_file one at most is set".to_owned()
        });
        self.must(nats.tls_certificate.is_some() == nats.tls_key.is_some(), "nats.tls_certificate", || {
            "nats.tls_certificate and nats.tls_key go together: set both or none".to_owned()
        });
        self.file(nats.credentials_file.as_ref(), "nats.credentials_file");
        self.file(nats.tls_ca_file.as_ref(), "nats.tls_ca_file");
        self.file(nats.tls_certificate.as_ref(), "nats.tls_certificate");
        self.file(nats.tls_key.as_ref(), "nats.tls_key");
        self.must(is_kid(&nats.prefix), "nats.prefix", || {
            "must be 1 to 32 letters, digits, hyphens and underscores".to_owned()
        });
        self.must((1..=5).contains(&nats.replicas), "nats.replicas", || "must be from 1 to 5".to_owned());
        self.at_least_one(nats.events_max_age_h, "nats.events_max_age_h");
        self.at_least_one(nats.events_bytes_max.bytes(), "nats.events_bytes_max");
        self.at_least_one(nats.connect_timeout_ms, "nats.connect_timeout_ms");
        self.at_least_one(nats.request_timeout_ms, "nats.request_timeout_ms");
    }

    fn category(&mut self, name: &str, category: &Category) {
        let at = |key: &str| format!("category.{name}.{key}");
        self.must(is_category(name), &format!("category.{name}"), || {
            "a category's name is 1 to 63 lower-case letters, digits and hyphens".to_owned()
        });
        self.must(category.ingest || category.source != SourceLocation::Unset, &at("source"), || {
            "wants \"file:PATH\", \"s3://BUCKET/PREFIX\" or \"https://HOST/BASE\"; or ingest = true, for uploads"
                .to_owned()
        });
        self.must(!category.ingest || category.source == SourceLocation::Unset, &at("ingest"), || {
            "a category that takes uploads has no source: its originals are those of ingest.store".to_owned()
        });
        if let Some(url) = &category.public.base_url {
            self.must(is_http_url(url), &at("public.base_url"), || {
                format!("must be a URL such as \"https://cdn.example.com\", not {url:?}")
            });
        }
        for (key, quality) in [
            ("quality_jpeg", category.quality_jpeg),
            ("quality_webp", category.quality_webp),
            ("quality_avif", category.quality_avif),
        ] {
            self.must((1..=100).contains(&quality), &at(key), || format!("must be from 1 to 100, not {quality}"));
        }
        self.must(category.prewarm_coverage_percent <= 100, &at("prewarm_coverage_percent"), || {
            "must be from 0 to 100".to_owned()
        });
        let most = self.config.limits.side_max;
        self.must((1..=most).contains(&category.side_max), &at("side_max"), || {
            format!("must be from 1 to limits.side_max, {most}")
        });
        for size in &category.sizes {
            self.must((1..=category.side_max).contains(size), &at("sizes"), || {
                format!("{size} is not from 1 to the category's side_max, {}", category.side_max)
            });
        }
        for origin in &category.cors {
            let legal = origin == "*" || (is_http_url(origin) && origin.matches('/').count() == 2);
            self.must(legal, &at("cors"), || {
                format!("must hold \"*\" or origins such as \"https://example.org\", not {origin:?}")
            });
        }
        self.file(category.ca_file.as_ref(), &at("ca_file"));
        self.at_least_one(category.fetch_timeout_ms, &at("fetch_timeout_ms"));
        self.must((1..=10).contains(&category.attempts), &at("attempts"), || "must be from 1 to 10".to_owned());
        self.at_least_one(category.breaker_failures.into(), &at("breaker_failures"));
        self.at_least_one(category.breaker_successes.into(), &at("breaker_successes"));
        self.at_least_one(category.concurrency as u64, &at("concurrency"));
    }
}

fn is_http_url(text: &str) -> bool {
    let uri = text.parse::<http::Uri>().ok();
    uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    })
}

fn is_category(name: &str) -> bool {
    (1..=63).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_kid(kid: &str) -> bool {
    (1..=32).contains(&kid.len()) && kid.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}
