//! The tables, in order, in both dialects; each step runs once. What differs between them stands here alone.

use std::borrow::Cow;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// Who speaks which SQL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

/// A step: its number, its name, its SQLite, its PostgreSQL.
type Both = (i64, &'static str, &'static str, &'static str);

macro_rules! both {
    ($number:literal, $name:literal) => {
        (
            $number,
            $name,
            include_str!(concat!("migrations/sqlite/", $name, ".sql")),
            include_str!(concat!("migrations/postgres/", $name, ".sql")),
        )
    };
}

const MIGRATIONS: &[Both] = &[
    both!(1, "0001_catalog"),
    both!(2, "0002_job_counts"),
    both!(3, "0003_popular"),
    both!(4, "0004_handed"),
    both!(5, "0005_owners_and_stages"),
];

/// The steps of a dialect.
pub fn of(dialect: Dialect) -> Migrator {
    let step = |(number, name, sqlite, postgres): &Both| {
        let sql = match dialect {
            Dialect::Sqlite => *sqlite,
            Dialect::Postgres => *postgres,
        };
        let name = name.split_once('_').map_or(*name, |(_, name)| name);
        Migration::new(*number, Cow::Borrowed(name), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(MIGRATIONS.iter().map(step).collect())
}
