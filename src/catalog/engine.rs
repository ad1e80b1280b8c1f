//! The database behind the catalog, whichever it is.

use std::path::Path;

use futures_util::future::BoxFuture;

use super::postgres::{self, Postgres};
use super::sql::{Row, Statement, Value};
use super::sqlite::{self, Sqlite};
use super::tx::{Committed, Tx};
use super::{Error, Settings};
use crate::base::url::without_password;

/// An opened database.
#[derive(Debug)]
pub enum Engine {
    /// A file on a local disk.
    Sqlite(Box<Sqlite>),
    /// A server.
    Postgres(Postgres),
}

impl Engine {
    /// Opens the database that a URL names.
    pub async fn open(settings: &Settings, committed: Committed) -> Result<Self, Error> {
        match Place::of(&settings.url)? {
            Place::File(path) => {
                let open = sqlite::Settings {
                    path,
                    readers: settings.readers,
                    group_max: settings.group_max,
                    busy_timeout: settings.busy_timeout,
                };
                Ok(Self::Sqlite(Box::new(Sqlite::open(open, committed).await?)))
            }
            Place::Server(url) => {
                let open = postgres::Settings {
                    url,
                    readers: settings.readers,
                    writers: settings.writers,
                    busy_timeout: settings.busy_timeout,
                    statement_timeout: settings.statement_timeout,
                };
                Ok(Self::Postgres(Postgres::open(open, committed).await?))
            }
        }
    }

    /// Runs a step in a transaction; answers after its commit.
    pub async fn write<T, F>(&self, step: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, Error>> + Clone + Send + 'static,
    {
        match self {
            Self::Sqlite(engine) => engine.write(Box::new(step)).await,
            Self::Postgres(engine) => engine.write(step).await,
        }
    }

    /// Runs a statement that reads.
    pub async fn read(&self, sql: Statement, values: Vec<Value>) -> Result<Vec<Row>, Error> {
        match self {
            Self::Sqlite(engine) => engine.read(sql, values).await,
            Self::Postgres(engine) => engine.read(sql, values).await,
        }
    }

    /// Takes the time from a server.
    pub async fn ask_time(&self) -> Result<(), Error> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(engine) => engine.ask_time().await,
        }
    }

    /// The number up to which all events are there that ever will be; with one writer, any.
    pub async fn decided(&self) -> Result<i64, Error> {
        match self {
            Self::Sqlite(_) => Ok(i64::MAX),
            Self::Postgres(engine) => engine.decided().await,
        }
    }
}

/// What a URL names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place<'a> {
    /// SQLite's file: `sqlite:PATH`, `sqlite://PATH`.
    File(&'a Path),
    /// A PostgreSQL server: `postgres://…`, `postgresql://…`.
    Server(&'a str),
}

impl<'a> Place<'a> {
    /// Reads a URL.
    pub fn of(url: &'a str) -> Result<Self, Error> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::Server(url));
        }
        let path = url.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path));
        match path {
            Some(path) if !path.is_empty() && !path.starts_with(":memory:") => Ok(Self::File(Path::new(path))),
            _ => Err(Error::Unavailable(format!(
                "{:?} is no catalog; write sqlite:PATH or postgres://…",
                without_password(url)
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_places() {
        assert_eq!(Place::of("sqlite:a/b").unwrap(), Place::File(Path::new("a/b")));
        assert_eq!(Place::of("sqlite:///a/b").unwrap(), Place::File(Path::new("/a/b")));
        let server = "postgres://ann:s3cr:et@db.example/fovea?sslmode=require";
        assert_eq!(Place::of(server).unwrap(), Place::Server(server));
        for wrong in ["", "sqlite:", "sqlite::memory:", "mysql://root:pw@here/x"] {
            let error = Place::of(wrong).unwrap_err().to_string();
            assert!(!error.contains("pw"), "{error}");
        }
    }
}
