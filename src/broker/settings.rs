//! Where the broker is, and how a process shows who it is.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::{ConnectOptions, ServerAddr};
use percent_encoding::percent_decode_str;

use super::Error;
use crate::base::url::without_password;

/// How the broker is reached.
#[derive(Clone)]
pub struct Settings {
    /// `nats://HOST:PORT` or `tls://HOST:PORT` of one server or several of a cluster, parted by commas. The first that has a user
    /// and password, or a token, says it for all.
    pub urls: String,
    /// User and password.
    pub user: Option<(String, String)>,
    /// A token.
    pub token: Option<String>,
    /// The seed of an nkey.
    pub nkey: Option<String>,
    /// A file with a JWT and a seed, as `nsc` writes it.
    pub credentials: Option<PathBuf>,
    /// TLS.
    pub tls: Tls,
    /// What the names of all streams, buckets and subjects begin with: clusters that share a broker have different ones.
    pub prefix: String,
    /// Servers that keep a copy of each message.
    pub replicas: usize,
    /// How long one try to connect may take.
    pub connect_timeout: Duration,
    /// How long an answer is waited for.
    pub request_timeout: Duration,
}

/// TLS to the broker.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Whether a server that speaks none is refused; a `tls://` URL says the same.
    pub required: bool,
    /// A PEM file of authorities in the place of the machine's.
    pub ca_file: Option<PathBuf>,
    /// PEM files of a certificate of our own, and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

impl Settings {
    /// A broker with everything else as usual.
    pub fn new(urls: impl Into<String>) -> Self {
        Self {
            urls: urls.into(),
            user: None,
            token: None,
            nkey: None,
            credentials: None,
            tls: Tls::default(),
            prefix: "fovea".to_owned(),
            replicas: 1,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(5),
        }
    }

    /// The servers' addresses without what they say of the user, so that no log of the client's can show it, and the options.
    pub(super) async fn options(&self) -> Result<(Vec<ServerAddr>, ConnectOptions), Error> {
        let mut options = ConnectOptions::new();
        let mut said = None;
        let mut addresses = Vec::new();
        for address in addresses_of(&self.urls).map_err(Error::Settings)? {
            let (address, user) = parted(address)?;
            addresses.push(address);
            said = said.or(user);
        }
        match said {
            Some((user, Some(password))) => options = options.user_and_password(user, password),
            Some((token, None)) => options = options.token(token),
            None => {}
        }
        if let Some((user, password)) = &self.user {
            options = options.user_and_password(user.clone(), password.clone());
        }
        if let Some(token) = &self.token {
            options = options.token(token.clone());
        }
        if let Some(seed) = &self.nkey {
            options = options.nkey(seed.clone());
        }
        if let Some(path) = &self.credentials {
            let wrong = |error| Error::Settings(format!("{}: {error}", path.display()));
            options = options.credentials_file(path).await.map_err(wrong)?;
        }
        if let Some(path) = &self.tls.ca_file {
            options = options.add_root_certificates(path.clone());
        }
        if let Some((certificate, key)) = &self.tls.certificate {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        options = options
            .require_tls(self.tls.required)
            .connection_timeout(self.connect_timeout)
            .request_timeout(Some(self.request_timeout));
        Ok((addresses, options))
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // All others may hold secrets.
        let urls = without_password(&self.urls);
        out.debug_struct("Settings").field("urls", &urls).field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// Says what is wrong with servers' URLs.
///
/// # Errors
/// A sentence that shows no password.
pub fn check_urls(urls: &str) -> Result<(), String> {
    addresses_of(urls).map(drop)
}

fn addresses_of(urls: &str) -> Result<Vec<ServerAddr>, String> {
    let read = |url: &str| {
        let wrong = || format!("must be \"nats://HOST:PORT\" or \"tls://HOST:PORT\", not {:?}", without_password(url));
        let known = url.starts_with("nats://") || url.starts_with("tls://");
        let address = url.parse::<ServerAddr>().map_err(|_| wrong())?;
        if known && !address.host().is_empty() { Ok(address) } else { Err(wrong()) }
    };
    urls.split(',').map(|url| read(url.trim())).collect()
}

/// An address, and the user and password, or the token alone, that it was written with.
fn parted(address: ServerAddr) -> Result<(ServerAddr, Option<(String, Option<String>)>), Error> {
    let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let mut url = address.into_inner();
    let user = Some(plain(url.username())).filter(|user| !user.is_empty());
    let said = user.map(|user| (user, url.password().map(plain)));
    let stripped = url.set_username("").and_then(|()| url.set_password(None));
    let address = stripped.ok().and_then(|()| ServerAddr::from_url(url).ok());
    let address = address.ok_or_else(|| Error::Settings("a URL cannot be parted from its user".to_owned()))?;
    Ok((address, said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_shown_without_secrets() {
        for right in ["nats://a:4222", "tls://ann:s3cret@a", "nats://a:4222, nats://b:4222", "nats://token@[::1]:4222"]
        {
            assert_eq!(check_urls(right), Ok(()), "{right}");
        }
        for wrong in ["", "http://a", "a:4222", "nats://", "nats://a,", "nats://ann:s3cret@:x"] {
            let said = check_urls(wrong).unwrap_err();
            assert!(!said.contains("s3cret"), "{said}");
        }
        let shown = format!("{:?}", Settings::new("nats://ann:s3cret@a:1,nats://t0ken@b:2"));
        assert!(shown.contains("ann@a:1") && !shown.contains("s3cret") && !shown.contains("t0ken"), "{shown}");
    }

    #[test]
    fn the_user_is_parted_from_the_address() {
        let part = |url: &str| {
            let (address, said) = parted(url.parse().unwrap()).unwrap();
            (address.into_inner().to_string(), said)
        };
        let said = |user: &str, password: Option<&str>| Some((user.to_owned(), password.map(str::to_owned)));
        assert_eq!(part("nats://a:1"), ("nats://a:1".to_owned(), None));
        assert_eq!(part("tls://ann:p%40ss@a:1"), ("tls://a:1".to_owned(), said("ann", Some("p@ss"))));
        assert_eq!(part("nats://t0ken@a:1"), ("nats://a:1".to_owned(), said("t0ken", None)));
    }
}
