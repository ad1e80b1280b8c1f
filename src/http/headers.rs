//! The headers of an answer: caching, validators, `Vary`, tags, timing, and what makes any served content harmless.
//!
//! Always true: `Vary` depends on the URL and its category alone, so it is the same on 200, 304, 308 and errors.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{
    ACCEPT_RANGES, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, CONTENT_DISPOSITION,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, LAST_MODIFIED, LINK, ORIGIN, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::base::{Stage, Stages};
use crate::plan::{Ask, Output, Request, Version, Width};
use crate::serve::{Entry, Phase, Policy};

/// RFC 9211.
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// Space-separated purge tags, for Fastly and Varnish.
pub const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");
/// Comma-separated purge tags, for Cloudflare, Akamai, Bunny.
pub const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
/// Where the time went.
pub const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
/// `1` where the original is broken and this is what could be saved of it.
pub const DAMAGED: HeaderName = HeaderName::from_static("fovea-damaged");
/// The request's id, in and out.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const ACCEPT_CH: HeaderName = HeaderName::from_static("accept-ch");
const TIMING_ALLOW_ORIGIN: HeaderName = HeaderName::from_static("timing-allow-origin");
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// No script, no request, no plugin: with it a served SVG is a picture and nothing else.
const POLICY_OF_CONTENT: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox";
/// What a script of an allowed site may read beside what every script may.
const EXPOSED: &str = "Accept-Ranges, Cache-Status, Content-Disposition, Content-Length, Content-Range, ETag, Fovea-Damaged, Link, \
    Retry-After, Server-Timing, X-Request-Id";
/// How long a cache may keep a redirect to the canonical spelling.
const REDIRECT_MAX_AGE_S: u64 = 86_400;

/// What of the request is looked at beside its URL.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Looked {
    /// `Accept`.
    pub accept: bool,
    /// `Sec-CH-Width`, `Width`, `Sec-CH-DPR`, `DPR`.
    pub size: bool,
    /// `Save-Data`.
    pub save_data: bool,
    /// `Origin`.
    pub origin: bool,
}

impl Looked {
    /// By a URL that was understood.
    pub fn at(request: &Request, policy: &Policy) -> Self {
        let origin = lists_origins(policy);
        match &request.ask {
            Ask::Image(plan) => {
                let auto = plan.output == Output::Negotiate;
                let size = policy.client_hints && plan.width == Some(Width::Auto);
                let save_data = policy.client_hints && (auto || size);
                Self { accept: auto && policy.negotiates, size, save_data, origin }
            }
            Ask::Original | Ask::Info => Self { origin, ..Self::default() },
        }
    }

    /// By a URL that was not understood, told from its text, so that its errors vary as its answers would.
    pub fn at_path(path: &str, policy: &Policy) -> Self {
        let variant = path.rsplit('/').next().unwrap_or_default();
        let auto = variant.ends_with(".auto");
        let size = policy.client_hints && variant.split([',', '.']).any(|option| option == "w_auto");
        Self {
            accept: auto && policy.negotiates,
            size,
            save_data: policy.client_hints && (auto || size),
            origin: lists_origins(policy),
        }
    }

    /// The `Vary` header.
    pub fn vary(self) -> Option<HeaderValue> {
        static VALUES: LazyLock<Vec<Option<HeaderValue>>> = LazyLock::new(|| (0..16).map(vary_value).collect());
        let index = [self.accept, self.size, self.save_data, self.origin];
        let index = index.iter().enumerate().map(|(bit, on)| usize::from(*on) << bit).sum::<usize>();
        VALUES[index].clone()
    }
}

fn vary_value(bits: usize) -> Option<HeaderValue> {
    let names = ["Accept", "Sec-CH-Width, Sec-CH-DPR, Width, DPR", "Save-Data", "Origin"];
    let chosen: Vec<&str> = (0..4).filter(|bit| bits >> bit & 1 == 1).map(|bit| names[bit]).collect();
    (!chosen.is_empty()).then(|| HeaderValue::from_str(&chosen.join(", ")).expect("names of headers are legal"))
}

fn lists_origins(policy: &Policy) -> bool {
    !policy.cors.is_empty() && !policy.cors.iter().any(|origin| origin == "*")
}

/// What every response of the image listener carries.
pub fn common(headers: &mut HeaderMap, request_id: &HeaderValue) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY_OF_CONTENT));
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
    headers.insert(TIMING_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(REQUEST_ID, request_id.clone());
}

/// What every response under a category carries: `Vary`, CORS, `Accept-CH`.
pub fn of_category(headers: &mut HeaderMap, policy: &Policy, looked: Looked, asked: &HeaderMap) {
    if let Some(vary) = looked.vary() {
        headers.insert(VARY, vary);
    }
    if looked.origin {
        if let Some(origin) = asked.get(ORIGIN)
            && policy.cors.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes())
        {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        }
    } else if !policy.cors.is_empty() {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
    if headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
    if policy.client_hints {
        headers.insert(ACCEPT_CH, HeaderValue::from_static("Sec-CH-Width, Sec-CH-DPR, Width, DPR"));
    }
}

/// The tags by which a CDN purges: the category, the asset, the preset. `demo demo/shoes/red-42 demo:thumb`.
pub fn tags(headers: &mut HeaderMap, request: &Request) {
    let mut text = String::with_capacity(2 * request.category.len() + request.id.len() + 32);
    text.push_str(&request.category);
    text.push(' ');
    push_asset(&mut text, request);
    if let Some(preset) = &request.preset {
        text.push(' ');
        text.push_str(&request.category);
        text.push(':');
        text.push_str(preset);
    }
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.insert(SURROGATE_KEY, value);
    }
    let commas = text.replace(' ', ",");
    if let Ok(value) = HeaderValue::try_from(commas) {
        headers.insert(CACHE_TAG, value);
    }
}

/// A token holds no space, comma or colon of the id's own.
const TOKEN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn push_asset(text: &mut String, request: &Request) {
    text.push_str(&request.category);
    text.push('/');
    text.extend(utf8_percent_encode(&request.id, TOKEN));
}

/// What describes an answer, whole, partial or unchanged: validators, caching, tags, where it came from.
pub fn of_answer(headers: &mut HeaderMap, request: &Request, policy: &Policy, entry: &Entry, phase: Phase) {
    if let Ok(etag) = HeaderValue::from_str(&entry.etag) {
        headers.insert(ETAG, etag);
    }
    if let Ok(modified) = HeaderValue::try_from(httpdate::fmt_http_date(entry.modified)) {
        headers.insert(LAST_MODIFIED, modified);
    }
    headers.insert(CACHE_CONTROL, Lifetime::of(request, policy, SystemTime::now).value());
    headers.insert(CACHE_STATUS, cache_status(phase));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    tags(headers, request);
    let mut link = String::with_capacity(request.canonical.len() + 20);
    let _ = write!(link, "<{}>; rel=\"canonical\"", request.canonical);
    if let Ok(link) = HeaderValue::try_from(link) {
        headers.insert(LINK, link);
    }
    if entry.damaged {
        headers.insert(DAMAGED, HeaderValue::from_static("1"));
    }
}

/// What describes the content of a 200 or 206.
pub fn of_content(headers: &mut HeaderMap, request: &Request, entry: &Entry) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(entry.content_type));
    let download = match &request.ask {
        Ask::Image(plan) => plan.download.as_deref(),
        Ask::Original | Ask::Info => None,
    };
    let disposition = match download {
        Some(name) => HeaderValue::from_str(&attachment(name)).unwrap_or(HeaderValue::from_static("attachment")),
        None => HeaderValue::from_static("inline"),
    };
    headers.insert(CONTENT_DISPOSITION, disposition);
}

/// `attachment` with the name twice, as RFC 6266 has it: what every client reads, and the name itself.
fn attachment(name: &str) -> String {
    let plain = |character: char| match character {
        '"' | '\\' | '/' | '%' => '_',
        ' '..='~' => character,
        _ => '_',
    };
    let fallback: String = name.chars().map(plain).collect();
    const ATTRIBUTE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    format!("attachment; filename=\"{fallback}\"; filename*=UTF-8''{}", utf8_percent_encode(name, ATTRIBUTE))
}

/// `Cache-Control` of a redirect to the canonical spelling: the spelling lasts, presets may change.
pub fn of_redirect(headers: &mut HeaderMap, policy: &Policy) {
    let age = REDIRECT_MAX_AGE_S.min(policy.max_age.as_secs());
    headers.insert(CACHE_CONTROL, Lifetime { max_age_s: age, immutable: false, stale_s: None }.value());
}

/// How long a cache may keep an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Lifetime {
    max_age_s: u64,
    immutable: bool,
    stale_s: Option<u64>,
}

impl Lifetime {
    /// Of a URL: immutable where a version and free options say everything; a preset or `v0` can change; a signed answer
    /// never outlives its signature, nor is served stale after it.
    fn of(request: &Request, policy: &Policy, now: impl Fn() -> SystemTime) -> Self {
        let latest = request.version == Version::Latest;
        let (age, immutable) = if latest {
            (policy.latest_max_age, false)
        } else if request.preset.is_some() {
            (policy.preset_max_age, false)
        } else {
            (policy.max_age, true)
        };
        let stale_s = policy.stale_while_revalidate.map(|time| time.as_secs()).filter(|_| !immutable);
        let whole = Self { max_age_s: age.as_secs(), immutable, stale_s };
        match request.signed.as_ref().map(|signed| signed.expiry) {
            None | Some(0) => whole,
            Some(expiry) => {
                let now = now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
                let max_age_s = whole.max_age_s.min(expiry.saturating_sub(now));
                Self { max_age_s, immutable: false, stale_s: None }
            }
        }
    }

    /// The header. Most sites have a handful of lifetimes, so each thread remembers some.
    fn value(self) -> HeaderValue {
        const REMEMBERED_MAX: usize = 16;
        thread_local! {
            static KNOWN: RefCell<Vec<(Lifetime, HeaderValue)>> = const { RefCell::new(Vec::new()) };
        }
        KNOWN.with_borrow_mut(|known| {
            if let Some((_, value)) = known.iter().find(|(lifetime, _)| *lifetime == self) {
                return value.clone();
            }
            let mut text = format!("public, max-age={}", self.max_age_s);
            if self.immutable {
                text.push_str(", immutable");
            }
            if let Some(stale) = self.stale_s {
                let _ = write!(text, ", stale-while-revalidate={stale}");
            }
            let value = HeaderValue::try_from(text).expect("words and numbers are a legal header value");
            if known.len() < REMEMBERED_MAX {
                known.push((self, value.clone()));
            }
            value
        })
    }
}

/// RFC 9211.
fn cache_status(phase: Phase) -> HeaderValue {
    HeaderValue::from_static(match phase {
        Phase::Memory => "fovea; hit; detail=memory",
        Phase::Store => "fovea; hit; detail=store",
        Phase::Miss => "fovea; fwd=miss; stored",
        Phase::Collapsed => "fovea; fwd=miss; collapsed",
        Phase::Source => "fovea; fwd=miss; detail=source",
    })
}

/// The name of a phase in logs, metrics and `Server-Timing`.
pub const fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Memory => "memory",
        Phase::Store => "store",
        Phase::Miss => "miss",
        Phase::Collapsed => "collapsed",
        Phase::Source => "source",
    }
}

/// `Server-Timing`: where the answer came from, its stages, and the whole, in milliseconds; what a stage left, in bytes.
pub fn server_timing(phase: Phase, stages: &Stages, total: Duration) -> HeaderValue {
    let mut text = String::with_capacity(192);
    text.push_str("cache;desc=");
    text.push_str(phase_name(phase));
    let push = |text: &mut String, name: &str, time: Duration| {
        text.push_str(", ");
        text.push_str(name);
        text.push_str(";dur=");
        push_ms(text, time);
    };
    for stage in Stage::ALL {
        let time = stages.of(stage);
        if !time.is_zero() {
            push(&mut text, stage.name(), time);
            if let bytes @ 1.. = stages.bytes(stage) {
                let _ = write!(text, ";desc=\"{bytes} bytes\"");
            }
        }
    }
    push(&mut text, "total", total);
    HeaderValue::try_from(text).expect("names and numbers are a legal header value")
}

/// What text is written into on the way of every hit: a line of the log, a head.
pub trait Text {
    /// Adds to its end.
    fn add(&mut self, text: &str);
}

impl Text for String {
    fn add(&mut self, text: &str) {
        self.push_str(text);
    }
}

impl Text for Vec<u8> {
    fn add(&mut self, text: &str) {
        self.extend_from_slice(text.as_bytes());
    }
}

/// Milliseconds with three decimals. By hand, as it is on the way of every hit.
pub fn push_ms(text: &mut impl Text, time: Duration) {
    let micros = time.as_micros().min(u128::from(u64::MAX)) as u64;
    push_number(text, micros / 1000);
    text.add(".");
    push_thousandths(text, (micros % 1000) as u32);
}

/// Three decimals.
pub fn push_thousandths(text: &mut impl Text, thousandths: u32) {
    let digits = [thousandths / 100, thousandths / 10 % 10, thousandths % 10].map(|digit| b'0' + (digit % 10) as u8);
    text.add(std::str::from_utf8(&digits).expect("digits are ASCII"));
}

/// A decimal number.
pub fn push_number(text: &mut impl Text, mut number: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    text.add(std::str::from_utf8(&digits[at..]).expect("digits are ASCII"));
}

#[cfg(test)]
#[path = "headers_tests.rs"]
pub(super) mod tests;
