//! Statements, values and rows as the rest of the room sees them, so that it need not know which engine runs them.
//!
//! A statement names its parameters `$1`, `$2`, …, which SQLite and PostgreSQL both take.

use std::str::FromStr;

use serde_json::Value as Json;
use sqlx::{AssertSqlSafe, SqlSafeStr};

use super::Error;

/// A statement: written in the source, or put together from what is.
pub type Statement = std::borrow::Cow<'static, str>;

/// Every statement is put together from texts of this room; what comes from outside is a parameter.
pub fn safe(sql: Statement) -> sqlx::SqlStr {
    match sql {
        Statement::Borrowed(text) => text.into_sql_str(),
        Statement::Owned(text) => AssertSqlSafe(text).into_sql_str(),
    }
}

/// A parameter, or a cell of a row.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Nothing.
    Null,
    /// A whole number.
    Int(i64),
    /// A number.
    Real(f64),
    /// A text.
    Text(String),
}

macro_rules! value_from {
    ($($type:ty => $variant:ident $(as $cast:ty)?),* $(,)?) => {
        $(impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::$variant(value $(as $cast)?)
            }
        })*
    };
}

value_from!(i64 => Int, u64 => Int as i64, u32 => Int as i64, usize => Int as i64, f64 => Real, String => Text);

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Int(value.into())
    }
}

impl From<&Json> for Value {
    fn from(json: &Json) -> Self {
        Self::Text(json.to_string())
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// ` AND (column IS NULL OR column IN ($3, $4))`, and its parameters: rows of these categories, and of none; nothing for all.
pub fn within(column: &str, categories: Option<&[String]>, given: &mut Vec<Value>) -> String {
    let Some(categories) = categories else { return String::new() };
    let places = categories.iter().map(|name| {
        given.push(name.into());
        format!("{column} = ${}", given.len())
    });
    let any: Vec<String> = std::iter::once(format!("{column} IS NULL")).chain(places).collect();
    format!(" AND ({})", any.join(" OR "))
}

/// Parameters: `values![id, owner, now]`.
macro_rules! values {
    ($($value:expr),* $(,)?) => { vec![$($crate::catalog::sql::Value::from($value)),*] };
}
pub(crate) use values;

/// A row, read from its first column to its last.
#[derive(Debug)]
pub struct Row(pub Vec<Value>);

impl Row {
    /// Its cells, in the order of the statement's columns.
    pub fn cells(self) -> Cells {
        Cells(self.0.into_iter())
    }
}

/// The cells of a row that were not read yet.
pub struct Cells(std::vec::IntoIter<Value>);

impl Cells {
    fn next(&mut self) -> Result<Value, Error> {
        self.0.next().ok_or_else(|| Error::Corrupt("a row has fewer columns than were asked for".to_owned()))
    }

    /// A whole number.
    pub fn int(&mut self) -> Result<i64, Error> {
        self.int_or_none()?.ok_or_else(|| Error::Corrupt("a number is missing".to_owned()))
    }

    /// A whole number or nothing.
    pub fn int_or_none(&mut self) -> Result<Option<i64>, Error> {
        match self.next()? {
            Value::Null => Ok(None),
            Value::Int(value) => Ok(Some(value)),
            other => Err(Error::Corrupt(format!("{other:?} is no whole number"))),
        }
    }

    /// A whole number that is not negative.
    pub fn unsigned<T: TryFrom<i64>>(&mut self) -> Result<T, Error> {
        let value = self.int()?;
        T::try_from(value).map_err(|_| Error::Corrupt(format!("{value} is out of range")))
    }

    /// A number.
    pub fn real(&mut self) -> Result<f64, Error> {
        match self.next()? {
            Value::Real(value) => Ok(value),
            Value::Int(value) => Ok(value as f64),
            other => Err(Error::Corrupt(format!("{other:?} is no number"))),
        }
    }

    /// A text.
    pub fn text(&mut self) -> Result<String, Error> {
        self.text_or_none()?.ok_or_else(|| Error::Corrupt("a text is missing".to_owned()))
    }

    /// A text or nothing.
    pub fn text_or_none(&mut self) -> Result<Option<String>, Error> {
        match self.next()? {
            Value::Null => Ok(None),
            Value::Text(value) => Ok(Some(value)),
            other => Err(Error::Corrupt(format!("{other:?} is no text"))),
        }
    }

    /// A text that stands for one of a few words.
    pub fn word<T: FromStr<Err = Error>>(&mut self) -> Result<T, Error> {
        self.text()?.parse()
    }

    /// A JSON document.
    pub fn json(&mut self) -> Result<Json, Error> {
        read_json(&self.text()?)
    }
}

/// Reads a JSON document that the catalog wrote.
pub fn read_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| Error::Corrupt(error.to_string()))
}

/// Words for an enumeration that is kept as text.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$help:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub enum $name { $($(#[$help])* $variant),* }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str(self.word())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::catalog::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    _ => Err($crate::catalog::Error::Corrupt(format!("{text:?} is no {}", stringify!($name)))),
                }
            }
        }

        impl From<$name> for $crate::catalog::sql::Value {
            fn from(word: $name) -> Self {
                word.word().into()
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.word())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(from)?;
                text.parse().map_err(|_| serde::de::Error::unknown_variant(&text, &[$($text),*]))
            }
        }
    };
}
pub(crate) use words;
