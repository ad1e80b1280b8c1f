//! From one catalog to another: every row of every table, with a check that they are the same.

use super::engine::{Engine, Place};
use super::sql::{Row, Value, values};
use super::{Catalog, Error};
use crate::base::Digest;

/// Rows that are read, and written in one transaction, at once.
const ROWS_AT_ONCE: usize = 200;

/// What fills itself: counts by triggers, the list of migrations.
const NOT_COPIED: &[&str] = &["job_counts", "_sqlx_migrations", "sqlite_sequence"];

/// Among the schedules of a catalog that is being filled: a move that was cut off goes on, and nobody takes it for whole.
const MARK: &str = "moving";
const MARKED: &str = "SELECT 1 FROM schedules WHERE name = $1";

/// Whether a move has begun to fill a catalog, and has not ended.
pub(super) async fn is_half_filled(engine: &Engine) -> Result<bool, Error> {
    Ok(!engine.read(MARKED.into(), values![MARK]).await?.is_empty())
}

/// How far a move is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moved {
    /// The table.
    pub table: String,
    /// Its rows that are there.
    pub rows: u64,
    /// Its rows in all.
    pub of: u64,
}

/// A table: its name, its columns, and those that make its key.
struct Table {
    name: String,
    columns: Vec<String>,
    key: Vec<usize>,
}

impl Catalog {
    /// Copies this catalog to another, on a server, that is empty or was left by a move that was cut off (opened as
    /// [`Settings::half_filled`](super::Settings)); then reads both and compares. Nobody else may write to either meanwhile. Tells how far
    /// it is.
    ///
    /// # Errors
    /// [`Error::State`] for a catalog that is not empty, or where the copy is not equal.
    pub async fn move_to(&self, other: &Self, mut tell: impl FnMut(&Moved)) -> Result<(), Error> {
        if !other.is_shared() {
            return Err(Error::State("a catalog is moved to postgres://…".to_owned()));
        }
        let tables = self.tables().await?;
        other.begin_move(&tables).await?;
        for table in &tables {
            self.copy(other, table, &mut tell).await?;
        }
        // Numbers go on after the last one.
        let sql = "SELECT setval(pg_get_serial_sequence('events', 'seq'), last) FROM
             (SELECT MAX(seq) AS last FROM events) AS numbers WHERE last IS NOT NULL";
        other.write(move |tx| Box::pin(async move { tx.rows(sql, Vec::new()).await.map(drop) })).await?;
        for table in &tables {
            let (mine, theirs) = (self.digest(table).await?, other.digest(table).await?);
            if mine != theirs {
                let told = format!(
                    "{}: {} rows here, {} there, or not the same; somebody wrote to one of them meanwhile. Empty the new one, and \
                     move again",
                    table.name, mine.0, theirs.0
                );
                return Err(Error::State(told));
            }
        }
        let sql = "DELETE FROM schedules WHERE name = $1";
        other.write(move |tx| Box::pin(async move { tx.run(sql, values![MARK]).await.map(drop) })).await
    }

    /// The tables, as the database itself describes them.
    async fn tables(&self) -> Result<Vec<Table>, Error> {
        let described = match Place::of(&self.inner.settings.url)? {
            Place::File(_) => {
                "SELECT m.name, c.name, c.pk FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'
                 ORDER BY m.name, c.cid"
            }
            Place::Server(_) => {
                "SELECT c.table_name::TEXT, c.column_name::TEXT, COALESCE(k.ordinal_position, 0) FROM information_schema.columns c
                 LEFT JOIN information_schema.table_constraints t ON t.table_schema = c.table_schema
                     AND t.table_name = c.table_name AND t.constraint_type = 'PRIMARY KEY'
                 LEFT JOIN information_schema.key_column_usage k ON k.constraint_name = t.constraint_name
                     AND k.table_name = c.table_name AND k.column_name = c.column_name
                 WHERE c.table_schema = current_schema() ORDER BY c.table_name, c.ordinal_position"
            }
        };
        let mut tables: Vec<(Table, Vec<(i64, usize)>)> = Vec::new();
        for row in self.read(described, Vec::new()).await? {
            let mut at = row.cells();
            let (table, column, place) = (at.text()?, at.text()?, at.int()?);
            if NOT_COPIED.contains(&table.as_str()) {
                continue;
            }
            if tables.last().is_none_or(|(last, _)| last.name != table) {
                tables.push((Table { name: table, columns: Vec::new(), key: Vec::new() }, Vec::new()));
            }
            let Some((table, key)) = tables.last_mut() else { continue };
            if place > 0 {
                key.push((place, table.columns.len()));
            }
            table.columns.push(column);
        }
        let sorted = tables.into_iter().map(|(table, mut key)| {
            key.sort_unstable();
            Table { key: key.into_iter().map(|(_, at)| at).collect(), ..table }
        });
        Ok(sorted.collect())
    }

    /// Sees that the catalog is empty or half filled, and marks it.
    async fn begin_move(&self, tables: &[Table]) -> Result<(), Error> {
        let marked = self.read_one(MARKED, values![MARK]).await?.is_some();
        for table in tables {
            if !marked && self.rows_of(table).await? > 0 {
                return Err(Error::State(format!("the catalog to move to is not empty: {} has rows", table.name)));
            }
        }
        let sql = "INSERT INTO schedules (name, next_ms, holder) VALUES ($1, 0, '') ON CONFLICT (name) DO NOTHING";
        self.write(move |tx| Box::pin(async move { tx.run(sql, values![MARK]).await.map(drop) })).await
    }

    async fn rows_of(&self, table: &Table) -> Result<u64, Error> {
        let sql = format!("SELECT COUNT(*) FROM {}", table.name);
        self.read_one(sql, Vec::new()).await?.ok_or(Error::NotFound)?.cells().unsigned()
    }

    async fn copy(&self, other: &Self, table: &Table, tell: &mut impl FnMut(&Moved)) -> Result<(), Error> {
        let mut moved = Moved { table: table.name.clone(), rows: 0, of: self.rows_of(table).await? };
        let mut after = None;
        loop {
            let rows = self.page(table, after.take()).await?;
            let Some(last) = rows.last() else { break };
            after = Some(table.key_of(last));
            let (sql, count) = (table.insert(rows.len()), rows.len());
            let given: Vec<Value> = rows.into_iter().flat_map(|row| row.0).collect();
            other.write(move |tx| Box::pin(async move { tx.run(sql, given).await.map(drop) })).await?;
            moved.rows += count as u64;
            tell(&moved);
            if count < ROWS_AT_ONCE {
                break;
            }
        }
        Ok(())
    }

    /// The rows after a key, in the keys' order.
    async fn page(&self, table: &Table, after: Option<Vec<Value>>) -> Result<Vec<Row>, Error> {
        let key: Vec<&str> = table.key.iter().map(|at| table.columns[*at].as_str()).collect();
        let key = key.join(", ");
        let given = after.unwrap_or_default();
        let names: Vec<String> = (1..=given.len()).map(|at| format!("${at}")).collect();
        let beyond = if given.is_empty() { String::new() } else { format!("WHERE ({key}) > ({})", names.join(", ")) };
        let sql = format!(
            "SELECT {} FROM {} {beyond} ORDER BY {key} LIMIT {ROWS_AT_ONCE}",
            table.columns.join(", "),
            table.name
        );
        self.read(sql, given).await
    }

    /// How many rows a table has, and the digest of all of them; the move's own mark left out.
    async fn digest(&self, table: &Table) -> Result<(u64, Digest), Error> {
        let (mut count, mut digest, mut after) = (0, Digest::of(b""), None);
        loop {
            let rows = self.page(table, after.take()).await?;
            let full = rows.len() == ROWS_AT_ONCE;
            after = rows.last().map(|last| table.key_of(last));
            for row in rows {
                if table.name == "schedules" && row.0.contains(&Value::from(MARK)) {
                    continue;
                }
                let text = format!("{:?}", row.0);
                digest = Digest::of_parts(&[&digest.0, text.as_bytes()]);
                count += 1;
            }
            if !full {
                return Ok((count, digest));
            }
        }
    }
}

impl Table {
    fn key_of(&self, row: &Row) -> Vec<Value> {
        self.key.iter().map(|at| row.0[*at].clone()).collect()
    }

    /// A statement that adds so many rows; those that are there already, from before a move was cut off, stay.
    fn insert(&self, rows: usize) -> String {
        let width = self.columns.len();
        let row = |at: usize| {
            let names: Vec<String> = (1..=width).map(|column| format!("${}", at * width + column)).collect();
            format!("({})", names.join(", "))
        };
        let rows: Vec<String> = (0..rows).map(row).collect();
        let (name, columns) = (&self.name, self.columns.join(", "));
        // Numbers of events are kept, though the server draws them otherwise.
        format!(
            "INSERT INTO {name} ({columns}) OVERRIDING SYSTEM VALUE VALUES {} ON CONFLICT DO NOTHING",
            rows.join(", ")
        )
    }
}
