//! The start page: the samples in several sizes and formats, in one file without scripts.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, IF_NONE_MATCH, REFERRER_POLICY};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};

use super::image::text;
use super::settings::{Demo, Sample};
use crate::base::Digest;

const STYLE: &str = include_str!("page.css");
/// The widths of a picture's `srcset`, and the one that old browsers get.
const WIDTHS: [u32; 5] = [240, 360, 480, 720, 1080];
const WIDTH: u32 = 480;
/// What each picture is linked as: a name, and the variant.
const LINKS: [(&str, &str); 8] = [
    ("AVIF", "w_640.avif"),
    ("WebP", "w_640.webp"),
    ("JPEG", "w_640.jpg"),
    ("PNG", "w_320.png"),
    ("square", "w_320,h_320,fit_cover.auto"),
    ("gray", "w_480,gray.auto"),
    ("thumb", "thumb.auto"),
    ("info", "info.json"),
];

/// The page, ready to be sent.
pub struct Page {
    html: Bytes,
    etag: HeaderValue,
    policy: HeaderValue,
}

impl Page {
    /// The page of some samples.
    pub fn new(demo: &Demo) -> Self {
        let html = Bytes::from(html(demo));
        let etag =
            HeaderValue::try_from(format!("\"{}\"", Digest::of(&html).hex(32))).expect("hex is a legal header value");
        // The one style is named by its digest, so that no other can be slipped in.
        let style = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
        let policy = format!(
            "default-src 'none'; img-src 'self'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'"
        );
        Self { html, etag, policy: HeaderValue::try_from(policy).expect("base64 is a legal header value") }
    }

    /// The response.
    pub fn response(&self, asked: &HeaderMap) -> Response<Bytes> {
        let known = asked.get(IF_NONE_MATCH).is_some_and(|tag| *tag == self.etag);
        let body = if known { Bytes::new() } else { self.html.clone() };
        let mut response = text("text/html; charset=utf-8", body);
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let headers = response.headers_mut();
        headers.insert(ETAG, self.etag.clone());
        headers.insert(CONTENT_SECURITY_POLICY, self.policy.clone());
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=60"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        response
    }
}

fn html(demo: &Demo) -> String {
    let mut out = String::with_capacity(4096 + demo.samples.len() * 2048);
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>Fovea</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<header>\n<h1>Fovea</h1>\n\
         <p>Any image by its URL: the size, the crop and the format stand in it. Your browser picked the sizes below, and \
         its <code>Accept</code> header the format.</p>\n</header>\n<main>\n"
    );
    for (at, sample) in demo.samples.iter().enumerate() {
        // The first pictures are seen at once; the others are fetched when they come near.
        figure(&mut out, sample, at < 3);
    }
    out.push_str(
        "</main>\n<footer>\n<p>Change anything in a URL and see: <code>w_</code> and <code>h_</code> are pixels, \
         <code>fit_cover</code> crops, <code>g_ne</code> says what to keep, <code>q_40</code> is the quality, \
         <code>blur_8</code> blurs, and the end is the format.</p>\n</footer>\n</body>\n</html>\n",
    );
    out
}

fn figure(out: &mut String, sample: &Sample, eager: bool) {
    const SEGMENTS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    let base = format!("/{}/v1", utf8_percent_encode(&sample.asset, SEGMENTS));
    let (title, credit) = (escaped(&sample.title), escaped(&sample.credit));
    let set: Vec<String> = WIDTHS.iter().map(|width| format!("{base}/w_{width}.auto {width}w")).collect();
    let loading = if eager { "eager" } else { "lazy" };
    let _ = write!(
        out,
        "<figure>\n<a href=\"{base}/w_1600.auto\"><img src=\"{base}/w_{WIDTH}.auto\" srcset=\"{}\" \
         sizes=\"(min-width: 70rem) 22rem, (min-width: 40rem) 45vw, 92vw\" alt=\"{title}\" loading=\"{loading}\" \
         decoding=\"async\"></a>\n<figcaption>\n<h2>{title}</h2>\n",
        set.join(", ")
    );
    if !credit.is_empty() {
        let _ = writeln!(out, "<p class=\"credit\">{credit}</p>");
    }
    out.push_str("<p class=\"links\">");
    for (name, variant) in LINKS {
        let _ = write!(out, "<a href=\"{base}/{variant}\">{name}</a> ");
    }
    out.push_str("</p>\n</figcaption>\n</figure>\n");
}

/// Text in HTML, also between double quotes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Page {
        let sample = |asset: &str, title: &str| Sample {
            asset: asset.to_owned(),
            title: title.to_owned(),
            credit: "A. Nonymous, CC0".to_owned(),
        };
        Page::new(&Demo { samples: vec![sample("demo/a b/c\"d", "<A> & \"B\""), sample("demo/plain.jpg", "Plain")] })
    }

    #[test]
    fn what_the_settings_say_cannot_break_the_page() {
        let page = page();
        let html = std::str::from_utf8(&page.html).unwrap();
        assert!(html.contains("alt=\"&lt;A&gt; &amp; &quot;B&quot;\""));
        assert!(html.contains("/demo/a%20b/c%22d/v1/w_480.auto"));
        assert!(html.contains("/demo/plain.jpg/v1/w_640.avif"));
        assert_eq!(html.matches("<figure>").count(), 2);
    }

    #[test]
    fn the_page_keeps_to_its_own_policy() {
        let page = page();
        let html = std::str::from_utf8(&page.html).unwrap();
        let style = html.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
        let digest = STANDARD.encode(Sha256::digest(style.as_bytes()));
        assert!(page.policy.to_str().unwrap().contains(&format!("'sha256-{digest}'")));
        for forbidden in ["<script", " style=", " onload=", "http://", "https://", "@import", "url("] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
        assert_eq!(html.matches("<img ").count(), html.matches(" alt=\"").count());
    }

    #[test]
    fn the_page_is_sent_once() {
        let page = page();
        let first = page.response(&HeaderMap::new());
        assert_eq!(first.status(), StatusCode::OK);
        let mut asked = HeaderMap::new();
        asked.insert(IF_NONE_MATCH, first.headers()[ETAG].clone());
        assert_eq!(page.response(&asked).status(), StatusCode::NOT_MODIFIED);
    }
}
