//! The names that uploads get: files, versions, keys in the store.

use super::Error;
use crate::base::{Digest, Format};
use crate::plan::ID_BYTES_MAX;

/// A file name's longest, in bytes.
const FILE_NAME_BYTES_MAX: usize = 120;

/// The version of an original: `h` and the first 16 hex digits of its BLAKE3.
pub fn version(digest: &Digest) -> String {
    format!("h{}", digest.hex(16))
}

/// The key of an original in the store.
pub fn store_key(category: &str, id: &str, version: &str, file_name: &str) -> String {
    format!("originals/{category}/{id}/{version}/{file_name}")
}

/// A file name of what a client said, or of the id: the last segment, letters, digits, dots, hyphens and underscores, with the
/// extension of what the content turned out to be where it has none.
pub fn file_name(said: &str, format: Option<Format>) -> String {
    let last = said.rsplit(['/', '\\']).next().unwrap_or_default();
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let clean: String = last.chars().map(|c| if legal(c) { c } else { '_' }).collect();
    let clean = clean.trim_start_matches('.');
    let mut name = if clean.is_empty() { "original" } else { clean }.to_owned();
    let extension = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).map(|(_, extension)| extension.len());
    if !extension.is_some_and(|length| (1..=5).contains(&length)) {
        name.truncate(FILE_NAME_BYTES_MAX - 8);
        name.push('.');
        name.push_str(format.map_or("bin", Format::extension));
    } else if name.len() > FILE_NAME_BYTES_MAX {
        // The end is kept: it is the extension.
        name = name.split_off(name.len() - FILE_NAME_BYTES_MAX);
        name = name.trim_start_matches('.').to_owned();
    }
    name
}

/// Checks an asset's id: what a URL can name, and no more.
pub fn check_id(id: &str) -> Result<(), Error> {
    let wrong = |what: &str| Err(Error::Id(what.to_owned()));
    if id.is_empty() || id.len() > ID_BYTES_MAX {
        return wrong("an id has 1 to 1024 bytes");
    }
    for segment in id.split('/') {
        match segment {
            "" => return wrong("a segment is empty"),
            "." | ".." => return wrong("a segment is made of dots"),
            _ if segment.len() > 255 => return wrong("a segment is longer than 255 bytes"),
            _ if segment.contains('\\') || segment.chars().any(char::is_control) => {
                return wrong("it holds a backslash or a control character");
            }
            _ if segment.starts_with(".fovea-") => return wrong("names that begin with .fovea- are reserved"),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_safe_and_say_what_they_hold() {
        for (said, format, name) in [
            ("photo.JPG", None, "photo.JPG"),
            ("shoes/red-42", Some(Format::Jpeg), "red-42.jpg"),
            ("C:\\pictures\\a b.png", None, "a_b.png"),
            ("../../etc/passwd", Some(Format::Png), "passwd.png"),
            ("..", Some(Format::Gif), "original.gif"),
            (".jpg", Some(Format::Jpeg), "jpg.jpg"),
            ("", None, "original.bin"),
            ("ü\u{202e}gpj.exe", Some(Format::Jpeg), "__gpj.exe"),
            ("a\"; x=\r\n.jpg", None, "a___x___.jpg"),
            ("v1.2-final release", Some(Format::WebP), "v1.2-final_release.webp"),
        ] {
            assert_eq!(file_name(said, format), name, "{said:?}");
        }
        let long = file_name(&format!("{}.jpg", "x".repeat(400)), None);
        assert!(long.len() <= FILE_NAME_BYTES_MAX && long.ends_with(".jpg"), "{long}");
        let long = file_name(&"x".repeat(400), Some(Format::Avif));
        assert!(long.len() <= FILE_NAME_BYTES_MAX && long.ends_with(".avif"), "{long}");
    }

    #[test]
    fn ids_are_what_a_url_can_name() {
        for id in ["a", "shoes/red-42", "ü/漢.jpg", "a b", "...", "100%"] {
            assert!(check_id(id).is_ok(), "{id}");
        }
        let long = "x".repeat(256);
        for id in ["", "/a", "a/", "a//b", ".", "a/../b", "a\\b", "a\nb", ".fovea-part-1", "a/.fovea-meta-x", &long] {
            assert!(check_id(id).is_err(), "{id:?}");
        }
    }
}
