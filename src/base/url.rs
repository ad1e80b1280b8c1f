//! URLs of servers, as they may be shown.

/// A URL, or several parted by commas, without passwords, for logs and messages.
pub fn without_password(urls: &str) -> String {
    let each: Vec<&str> = urls.split(',').collect();
    // A comma may stand in one URL too, between hosts.
    if each.len() > 1 && each.iter().all(|url| url.contains("://")) {
        return each.into_iter().map(one_without_password).collect::<Vec<_>>().join(",");
    }
    one_without_password(urls)
}

fn one_without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let host = match host.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((name, _)) => format!("{name}@{host}"),
            // A broker's token stands alone, where others have a user.
            None if scheme.starts_with("postgres") => format!("{user}@{host}"),
            None => host.to_owned(),
        },
        None => host.to_owned(),
    };
    // Libraries take a password among the parameters too.
    let path = path.split_once("password=").map_or(path, |(before, _)| before.trim_end_matches(['?', '&']));
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        for (url, shown) in [
            (
                "postgres://ann:s3cr:et@db.example/fovea?sslmode=require",
                "postgres://ann@db.example/fovea?sslmode=require",
            ),
            ("postgres://ann:s3@cr@db.example", "postgres://ann@db.example"),
            ("postgres://db.example/fovea?user=ann&password=s3cret", "postgres://db.example/fovea?user=ann"),
            ("nats://token@nats.example:4222", "nats://nats.example:4222"),
            ("postgres://ann@db.example/fovea", "postgres://ann@db.example/fovea"),
            ("sqlite:a/b", "sqlite:a/b"),
            ("nats://ann:s3cret@a,tls://t0ken@b:1", "nats://ann@a,tls://b:1"),
            ("postgres://ann:s3,cret@a:1,b:2/db", "postgres://ann@a:1,b:2/db"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}
