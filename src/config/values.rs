//! The kinds of value a config key can have beside serde's own: sizes with units, secrets, texts that may be empty.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use base64::Engine;
use ipnet::IpNet;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::base::url::without_password;

/// A number of bytes, written as a number or with a unit: `"256MiB"`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ByteSize(pub u64);

/// The units of a [`ByteSize`], upper case, and what they multiply by. `K`, `M`, `G` alone mean powers of two, as they do for
/// container limits.
const UNITS: [(&str, u64); 14] = [
    ("", 1),
    ("B", 1),
    ("K", 1 << 10),
    ("KI", 1 << 10),
    ("KIB", 1 << 10),
    ("M", 1 << 20),
    ("MI", 1 << 20),
    ("MIB", 1 << 20),
    ("G", 1 << 30),
    ("GI", 1 << 30),
    ("GIB", 1 << 30),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

impl ByteSize {
    /// So many bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is no size; write bytes, or a number with KiB, MiB or GiB, such as \"256MiB\"");
        let trimmed = text.trim();
        let split = trimmed.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(split);
        let number: u64 = number.replace('_', "").parse().map_err(|_| wrong())?;
        let unit = unit.trim().to_ascii_uppercase();
        let (_, factor) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        number.checked_mul(factor).map(Self).ok_or_else(|| format!("{text:?} is more bytes than can be counted"))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = [(30, "GiB"), (20, "MiB"), (10, "KiB")]
            .into_iter()
            .find(|(bits, _)| self.0 != 0 && self.0.is_multiple_of(1 << bits));
        match unit {
            Some((bits, name)) => write!(out, "{}{name}", self.0 >> bits),
            None => write!(out, "{}", self.0),
        }
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        text_or_number(from, "a size: bytes, or a text such as \"256MiB\"")?.parse().map_err(de::Error::custom)
    }
}

/// A text that is never shown: not by `Debug`, not in logs, not by `check-config`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

/// What stands in for a secret.
pub(super) const HIDDEN: &str = "(hidden)";

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes that it stands for: `base64:` (either alphabet, padded or not), `hex:`, else the text's own.
    pub fn bytes(&self) -> Result<Vec<u8>, String> {
        if let Some(text) = self.0.strip_prefix("base64:") {
            let plain = text.trim_end_matches('=').replace('-', "+").replace('_', "/");
            let engine = base64::engine::general_purpose::STANDARD_NO_PAD;
            engine.decode(plain).map_err(|_| "what follows `base64:` is not base64".to_owned())
        } else if let Some(text) = self.0.strip_prefix("hex:") {
            let digits: Option<Vec<u8>> =
                text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
            match digits {
                Some(digits) if digits.len() % 2 == 0 => {
                    Ok(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
                }
                _ => Err("what follows `hex:` is not pairs of hex digits".to_owned()),
            }
        } else {
            Ok(self.0.clone().into_bytes())
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if self.0.is_empty() { "\"\"" } else { HIDDEN })
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(if self.0.is_empty() { "" } else { HIDDEN })
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        text_or_number(from, "a text").map(Self)
    }
}

/// A server's URL, which may hold a password: shown without it.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct ServerUrl(String);

impl ServerUrl {
    /// The URL itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&without_password(&self.0))
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}", without_password(&self.0))
    }
}

impl Serialize for ServerUrl {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// Whether a bucket stands in the path of a URL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PathStyle {
    /// Where an endpoint is set.
    Auto,
    /// Always or never.
    Fixed(bool),
}

impl Serialize for PathStyle {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => to.serialize_str("auto"),
            Self::Fixed(value) => to.serialize_bool(*value),
        }
    }
}

impl<'de> Deserialize<'de> for PathStyle {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match text_or_number(from, "\"auto\", true or false")?.as_str() {
            "auto" => Ok(Self::Auto),
            "true" | "1" => Ok(Self::Fixed(true)),
            "false" | "0" => Ok(Self::Fixed(false)),
            other => Err(de::Error::custom(format!("{other:?} is not one of \"auto\", true, false"))),
        }
    }
}

/// Where the access log goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AccessLog {
    /// Nowhere.
    None,
    /// To standard output.
    Stdout,
    /// To a file, appended.
    File(String),
}

impl Serialize for AccessLog {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(match self {
            Self::None => "none",
            Self::Stdout => "stdout",
            Self::File(path) => path,
        })
    }
}

impl<'de> Deserialize<'de> for AccessLog {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(match String::deserialize(from)?.as_str() {
            "none" | "" => Self::None,
            "stdout" => Self::Stdout,
            path => Self::File(path.to_owned()),
        })
    }
}

/// `#[serde(with = "blank")]`: an option whose none is written as the empty text.
pub(super) mod blank {
    use super::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &Option<String>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(value.as_deref().unwrap_or_default())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
        let text = String::deserialize(from)?;
        Ok((!text.is_empty()).then_some(text))
    }
}

/// `#[serde(with = "sized")]`: a `usize` or `u64` written as a [`ByteSize`].
pub(super) mod sized {
    use super::{ByteSize, Deserialize, Deserializer, Serialize, Serializer, de};

    pub fn serialize<S: Serializer, T: Copy + TryInto<u64>>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        ByteSize((*value).try_into().unwrap_or(u64::MAX)).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>, T: TryFrom<u64>>(from: D) -> Result<T, D::Error> {
        let size = ByteSize::deserialize(from)?;
        T::try_from(size.0).map_err(|_| de::Error::custom(format!("{size} is too large for this machine")))
    }
}

/// An address and a port that may be left out as an empty text.
pub(super) mod blank_address {
    use super::*;

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
        let text = String::deserialize(from)?;
        if text.is_empty() { Ok(None) } else { read_address(&text).map(Some).map_err(de::Error::custom) }
    }

    pub fn serialize<S: Serializer>(address: &Option<SocketAddr>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&address.map(|address| address.to_string()).unwrap_or_default())
    }
}

/// An address and a port; `localhost` is 127.0.0.1, so that nothing is looked up.
pub(super) fn address<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    read_address(&String::deserialize(from)?).map_err(de::Error::custom)
}

fn read_address(text: &str) -> Result<SocketAddr, String> {
    let numeric = text.replacen("localhost:", "127.0.0.1:", 1);
    numeric.parse().map_err(|_| format!("must be an address and a port such as \"127.0.0.1:8080\", not {text:?}"))
}

/// Networks, where a lone address is a network of one.
pub(super) fn networks<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<IpNet>, D::Error> {
    let read = |text: &String| {
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from));
        network.map_err(|_| de::Error::custom(format!("{text:?} is no network; write one such as \"10.0.0.0/8\"")))
    };
    Vec::<String>::deserialize(from)?.iter().map(read).collect()
}

/// Whole numbers, which the environment gives as texts.
pub(super) fn whole_numbers<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u32>, D::Error> {
    struct Whole(u32);
    impl<'de> Deserialize<'de> for Whole {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            let text = text_or_number(from, "a whole number")?;
            text.trim().parse().map(Whole).map_err(|_| de::Error::custom(format!("{text:?} is no whole number")))
        }
    }
    Ok(Vec::<Whole>::deserialize(from)?.into_iter().map(|whole| whole.0).collect())
}

/// Takes a text, or a number or boolean as its text.
pub(super) fn text_or_number<'de, D: Deserializer<'de>>(from: D, expected: &'static str) -> Result<String, D::Error> {
    struct Text(&'static str);
    impl Visitor<'_> for Text {
        type Value = String;
        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str(self.0)
        }
        fn visit_str<E: de::Error>(self, value: &str) -> Result<String, E> {
            Ok(value.to_owned())
        }
        fn visit_bool<E: de::Error>(self, value: bool) -> Result<String, E> {
            Ok(value.to_string())
        }
        fn visit_u64<E: de::Error>(self, value: u64) -> Result<String, E> {
            Ok(value.to_string())
        }
        fn visit_i64<E: de::Error>(self, value: i64) -> Result<String, E> {
            Ok(value.to_string())
        }
    }
    from.deserialize_any(Text(expected))
}
