//! What is known of an original, and of which state of it: a small JSON object beside its derivatives.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Error;
use super::wanted::Wanted;
use crate::base::{Digest, Format, Orientation, Size, VariantKey};
use crate::decode::{Header, Model};
use crate::plan::{Plan, Version};
use crate::render::{Form, Look, form, mezzanine, order};
use crate::transform;

/// What is known of an original.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// The source's validator at which it is true.
    pub state: Arc<str>,
    /// Its header, without metadata.
    pub header: Arc<Header>,
    /// Whether it has EXIF metadata, which a plan may want to keep.
    pub exif: bool,
    /// Its BLAKE3, where the category checks versions.
    pub digest: Option<Digest>,
    /// Whether it turned out to be flat graphics, or broken, and so has no mezzanines.
    pub plain: bool,
}

/// As it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    state: String,
    format: String,
    width: u32,
    height: u32,
    orientation: u32,
    alpha: bool,
    frames: u32,
    bits: u8,
    model: String,
    palette: u16,
    progressive: bool,
    exif: bool,
    digest: Option<String>,
    plain: bool,
}

impl Known {
    /// Of a header that was just read.
    pub fn new(state: Arc<str>, header: &Header, digest: Option<Digest>) -> Self {
        let exif = header.exif.is_some();
        let header = Header { icc: None, exif: None, ..header.clone() };
        Self { state, header: Arc::new(header), exif, digest, plain: false }
    }

    /// Where it is kept.
    pub fn key(wanted: &Wanted) -> VariantKey {
        let digest = match wanted.category.catalogued {
            true => Digest::of_parts(&[b"known", &wanted.original.0.0]),
            false => Digest::of_parts(&[b"known"]),
        };
        VariantKey { asset: wanted.asset, digest }
    }

    /// Where the mezzanine of a width is kept. The URL's version is no part of it: all versions of a URL that the source answers
    /// alike share their mezzanines.
    pub fn mezzanine_key(&self, wanted: &Wanted, width: u32) -> VariantKey {
        let light = format!("{:?}", wanted.category.look.light);
        let (revision, width) = (mezzanine::REVISION.to_le_bytes(), width.to_le_bytes());
        let parts: [&[u8]; 5] = [b"mezzanine", &revision, self.state.as_bytes(), light.as_bytes(), &width];
        VariantKey { asset: wanted.asset, digest: Digest::of_parts(&parts) }
    }

    /// Whether it has mezzanines, made or still to be made.
    pub fn has_mezzanines(&self, look: &Look) -> bool {
        !self.plain && !form::widths(&self.header, look).is_empty()
    }

    /// The form that a plan is rendered from.
    pub fn form(&self, plan: &Plan, look: &Look) -> Result<Form, Error> {
        if self.plain {
            return Ok(Form::Original);
        }
        let widths = form::widths(&self.header, look);
        let geometry = order::geometry(&self.header, plan).map_err(|error: transform::Error| Error::from(error))?;
        Ok(form::form(&self.header, &widths, self.exif, &geometry, plan))
    }

    /// Where the category checks versions, one must be the original's own digest.
    pub fn check_version(&self, wanted: &Wanted) -> Result<(), Error> {
        match (wanted.category.checked, &wanted.version, self.digest) {
            (false, ..) | (true, Version::Latest, _) => Ok(()),
            (true, Version::Hash(expected), Some(digest)) if digest.0[..8] == *expected => Ok(()),
            (true, ..) => Err(Error::NoVersion),
        }
    }

    /// As JSON.
    pub fn to_json(&self) -> Vec<u8> {
        let header = &*self.header;
        let (model, palette) = match header.model {
            Model::Gray => ("gray", 0),
            Model::Rgb => ("rgb", 0),
            Model::Palette(colours) => ("palette", colours),
            Model::Cmyk => ("cmyk", 0),
            Model::Vector => ("vector", 0),
        };
        let written = Written {
            state: self.state.to_string(),
            format: header.format.extension().to_owned(),
            width: header.size.width,
            height: header.size.height,
            orientation: header.orientation.exif(),
            alpha: header.alpha,
            frames: header.frames,
            bits: header.bits,
            model: model.to_owned(),
            palette,
            progressive: header.progressive,
            exif: self.exif,
            digest: self.digest.map(|digest| digest.hex(64)),
            plain: self.plain,
        };
        serde_json::to_vec(&written).expect("a struct of plain values serialises")
    }

    /// From JSON; none if it is not ours.
    pub fn from_json(json: &[u8]) -> Option<Self> {
        let written: Written = serde_json::from_slice(json).ok()?;
        let model = match written.model.as_str() {
            "gray" => Model::Gray,
            "rgb" => Model::Rgb,
            "palette" => Model::Palette(written.palette),
            "cmyk" => Model::Cmyk,
            "vector" => Model::Vector,
            _ => return None,
        };
        let header = Header {
            format: Format::from_extension(&written.format)?,
            size: Size::new(written.width.max(1), written.height.max(1)),
            orientation: Orientation::from_exif(written.orientation),
            alpha: written.alpha,
            frames: written.frames,
            loops: 0,
            bits: written.bits,
            model,
            progressive: written.progressive,
            // Not known; and nothing is decoded by this header.
            streams: false,
            icc: None,
            exif: None,
        };
        let digest = match &written.digest {
            Some(text) => Some(Digest::from_hex(text)?),
            None => None,
        };
        Some(Self {
            state: written.state.into(),
            header: Arc::new(header),
            exif: written.exif,
            digest,
            plain: written.plain,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_survives_its_form_as_json() {
        let header = Header {
            format: Format::Png,
            size: Size::new(300, 200),
            orientation: Orientation::Rotate90,
            alpha: true,
            frames: 1,
            loops: 0,
            bits: 16,
            model: Model::Palette(7),
            progressive: true,
            streams: false,
            icc: Some([1, 2].as_slice().into()),
            exif: Some([3].as_slice().into()),
        };
        let known = Known::new("\"etag\"".into(), &header, Some(Digest::of(b"original")));
        let again = Known::from_json(&known.to_json()).unwrap();
        assert_eq!(format!("{again:?}"), format!("{known:?}"));
        assert!(again.exif && again.header.icc.is_none());
        assert!(Known::from_json(b"{}").is_none());
    }
}
