//! Which hosts a client may ask, by name; where they lie is [`super::guard`]'s question.

use http::Uri;

use super::Error;

/// Hosts that may be asked. Empty allows none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Hosts(Vec<Pattern>);

#[derive(Clone, PartialEq, Eq, Debug)]
struct Pattern {
    /// Lower case; with a leading dot for all names below it, empty for every name.
    name: String,
    /// None: the scheme's own.
    port: Option<u16>,
}

impl Hosts {
    /// Every host on its scheme's own port.
    pub fn any() -> Self {
        Self(vec![Pattern { name: String::new(), port: None }])
    }

    /// From patterns: `host`, `host:port`, `*.domain`, `*`. Without a port only the scheme's own is allowed.
    pub fn new<T: AsRef<str>>(patterns: impl IntoIterator<Item = T>) -> Result<Self, Error> {
        patterns.into_iter().map(|pattern| parse(pattern.as_ref())).collect::<Result<_, _>>().map(Self)
    }

    /// Just the host and port of a URL.
    pub fn of(url: &Uri) -> Self {
        let name = url.host().unwrap_or_default().to_ascii_lowercase();
        Self(vec![Pattern { name, port: url.port_u16() }])
    }

    /// These and those.
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Whether a URL's host and port are among them.
    pub fn allow(&self, url: &Uri) -> bool {
        let Some(host) = url.host() else { return false };
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let usual = if url.scheme_str() == Some("https") { 443 } else { 80 };
        let port = url.port_u16().unwrap_or(usual);
        self.0.iter().any(|pattern| {
            let named = match pattern.name.as_str() {
                "" => true,
                below if below.starts_with('.') => host.len() > below.len() && host.ends_with(below),
                name => name == host,
            };
            named && pattern.port.unwrap_or(usual) == port
        })
    }
}

fn parse(text: &str) -> Result<Pattern, Error> {
    let wrong = || Error::Settings(format!("{text:?} is no host, host:port, *.domain or *"));
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port.parse().map_err(|_| wrong())?)),
        _ => (text, None),
    };
    let name = match name.strip_prefix('*') {
        Some("") => String::new(),
        Some(below) if below.starts_with('.') && below.len() > 1 => below.to_ascii_lowercase(),
        Some(_) => return Err(wrong()),
        None => name.to_ascii_lowercase(),
    };
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'[' | b']' | b':');
    if text.is_empty() || (name.is_empty() && !text.starts_with('*')) || !name.bytes().all(legal) {
        return Err(wrong());
    }
    Ok(Pattern { name, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_matched_with_their_ports() {
        let table: [(&str, &str, bool); 18] = [
            ("a.example", "https://a.example/x", true),
            ("a.example", "https://A.EXAMPLE./x", true),
            ("a.example", "http://a.example/x", true),
            ("a.example", "https://a.example:8443/x", false),
            ("a.example", "https://a.example:22/x", false),
            ("a.example", "https://b.a.example/", false),
            ("a.example", "https://xa.example/", false),
            ("a.example:8443", "https://a.example:8443/", true),
            ("a.example:8443", "https://a.example/", false),
            ("a.example:443", "https://a.example/", true),
            ("*.a.example", "https://b.a.example/", true),
            ("*.a.example", "https://c.b.a.example/", true),
            ("*.a.example", "https://a.example/", false),
            ("*.a.example", "https://a.example.evil.example/", false),
            ("*", "https://whatever.example/", true),
            ("*", "https://whatever.example:6379/", false),
            ("[::1]:80", "http://[::1]/", true),
            ("[::1]", "http://[::2]/", false),
        ];
        for (pattern, url, wanted) in table {
            let hosts = Hosts::new([pattern]).unwrap();
            assert_eq!(hosts.allow(&url.parse().unwrap()), wanted, "{pattern} {url}");
        }
        assert!(!Hosts::default().allow(&"https://a.example/".parse().unwrap()));
        for wrong in ["", "*a.example", "*.", "a.example:", "a.example:x", "http://a.example", "a/b", ":80"] {
            assert!(Hosts::new([wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_host_of_a_url_allows_that_url() {
        for url in ["http://127.0.0.1:8000/base", "https://a.example/base", "http://[::1]:81/"] {
            let url: Uri = url.parse().unwrap();
            assert!(Hosts::of(&url).allow(&url));
        }
        assert!(!Hosts::of(&"http://127.0.0.1:8000/".parse().unwrap()).allow(&"http://127.0.0.1/".parse().unwrap()));
    }
}
