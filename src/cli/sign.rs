//! `fovea sign`.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::Args;

use super::Choose;
use crate::app;

/// The arguments of `fovea sign`.
#[derive(Args)]
pub(super) struct Sign {
    /// The URL, or its path. A signature that it has is replaced; a query is left out.
    url: String,
    /// The key's name. Needed where several are configured.
    #[arg(long)]
    kid: Option<String>,
    /// When the URL expires: from now, such as 90s, 15m, 2h or 7d; or unix seconds; or never.
    #[arg(long, default_value = "never")]
    expires: String,
}

impl Sign {
    /// Prints the signed URL.
    pub fn run(&self, choose: &Choose) -> Result<ExitCode> {
        let config = choose.load(&[])?;
        let kid = match (&self.kid, config.keys.len()) {
            (Some(kid), _) => kid,
            (None, 1) => config.keys.keys().next().context("there is one key")?,
            (None, 0) => bail!("no key is configured: set [keys], or FOVEA_KEYS__K1=…"),
            (None, _) => bail!("which key? --kid {}", config.keys.keys().cloned().collect::<Vec<_>>().join(" or ")),
        };
        let expiry = expiry(&self.expires, now_unix())?;
        let (site, path) = split_site(&self.url);
        let signed = app::urls(&config)?.sign(kid, expiry, path)?;
        println!("{site}{signed}");
        Ok(ExitCode::SUCCESS)
    }
}

/// Unix seconds, now.
pub(super) fn now_unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// Scheme and host, which may be empty, and the path.
pub(super) fn split_site(url: &str) -> (&str, &str) {
    let host = url.find("://").map_or(0, |at| at + 3);
    if host == 0 {
        return ("", url);
    }
    url.split_at(url[host..].find('/').map_or(url.len(), |at| host + at))
}

/// Unix seconds of an expiry; 0 is never.
fn expiry(text: &str, now: u64) -> Result<u64> {
    if text == "never" || text == "0" {
        return Ok(0);
    }
    if let Ok(unix) = text.parse::<u64>() {
        if unix <= now {
            bail!("--expires {text} is in the past; for a time from now write a unit, such as {text}s");
        }
        return Ok(unix);
    }
    let wrong =
        || format!("--expires {text}: write a time from now such as 90s, 15m, 2h or 7d, unix seconds, or never");
    let unit = text.chars().last().with_context(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => bail!(wrong()),
    };
    let count: u64 = text[..text.len() - 1].parse().ok().with_context(wrong)?;
    count.checked_mul(seconds).and_then(|time| now.checked_add(time)).with_context(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiries() {
        for (text, expected) in [
            ("never", Some(0)),
            ("0", Some(0)),
            ("90s", Some(1_000_090)),
            ("15m", Some(1_000_900)),
            ("2h", Some(1_007_200)),
            ("7d", Some(1_604_800)),
            ("2000000", Some(2_000_000)),
            ("3600", None),
            ("soon", None),
            ("", None),
            ("-1s", None),
            ("1y", None),
            ("2é", None),
            ("99999999999999999999d", None),
            ("9999999999999999d", None),
        ] {
            assert_eq!(expiry(text, 1_000_000).ok(), expected, "{text}");
        }
    }

    #[test]
    fn sites() {
        for (url, expected) in [
            ("/a/b", ("", "/a/b")),
            ("https://host/a/b", ("https://host", "/a/b")),
            ("http://host:80", ("http://host:80", "")),
        ] {
            assert_eq!(split_site(url), expected);
        }
    }
}
