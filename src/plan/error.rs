//! What is wrong with a URL, in words for the person who wrote it.

/// What is wrong with a URL.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Error {
    /// Which kind of wrong; decides status and code.
    pub kind: ErrorKind,
    /// What was wrong and what is right, for a person.
    pub detail: String,
    /// Where: the offending piece of the URL, as written.
    pub at: Option<String>,
}

/// The kinds of wrong a URL can be.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ErrorKind {
    /// Not of the grammar: too few segments, a bad id, a bad version.
    Malformed,
    /// An option that does not exist.
    UnknownOption,
    /// A value that is not one, or out of range.
    BadValue,
    /// A preset that does not exist.
    UnknownPreset,
    /// A format that cannot be asked for.
    UnknownFormat,
    /// A category that is not configured.
    UnknownCategory,
    /// The signature is wrong, its key unknown, or the key may not sign for the category.
    BadSignature,
    /// The category wants a signature for this.
    SignatureNeeded,
    /// The signature has expired.
    Expired,
}

impl ErrorKind {
    /// The HTTP status that such a URL is answered with, and the stable code of its problem document.
    pub const fn code(self) -> (u16, &'static str) {
        match self {
            Self::Malformed => (400, "malformed-url"),
            Self::UnknownOption => (400, "unknown-option"),
            Self::BadValue => (400, "bad-value"),
            Self::UnknownPreset => (400, "unknown-preset"),
            Self::UnknownFormat => (400, "unknown-format"),
            Self::UnknownCategory => (404, "unknown-category"),
            Self::BadSignature => (403, "bad-signature"),
            Self::SignatureNeeded => (403, "signature-needed"),
            Self::Expired => (410, "expired"),
        }
    }
}

impl Error {
    /// An error about a piece of the URL, of which at most 80 bytes are quoted.
    pub(super) fn new(kind: ErrorKind, detail: impl Into<String>, at: &str) -> Self {
        Self { kind, detail: detail.into(), at: Some(clip(at).to_owned()) }
    }
}

/// A piece of a URL for a message: quoted, escaped, at most 80 bytes of it.
pub(super) fn quote(piece: &str) -> String {
    format!("{:?}", clip(piece))
}

fn clip(piece: &str) -> &str {
    &piece[..piece.floor_char_boundary(AT_BYTES_MAX)]
}

/// Most bytes of a URL that an error quotes.
const AT_BYTES_MAX: usize = 80;
