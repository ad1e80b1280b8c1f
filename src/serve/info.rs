//! `info.json`: facts about an original, at the cost of one small decode; and originals as they are.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::fetch::Fetched;
use super::wanted::Wanted;
use super::{Client, Error, Origin};
use crate::base::{Digest, Format, Work};
use crate::cache::Entry;
use crate::decode::{self, Model};
use crate::inspect;
use crate::pixels::Picture;
use crate::render::{Order, Urgency};

impl Origin {
    /// The entry of `info.json`.
    pub(super) async fn info_entry(
        &self,
        wanted: &Wanted,
        client: &Client,
        fetched: Arc<Fetched>,
        work: &Work,
    ) -> Result<Entry, Error> {
        let facts = self.facts(wanted, client, fetched, false, Urgency::Live, work).await?;
        let json = serde_json::to_vec_pretty(&facts).expect("a JSON value serialises");
        Ok(Entry::json(Bytes::from(json)))
    }

    /// The entry of an original's own bytes.
    pub(super) fn original_entry(&self, bytes: Bytes) -> Result<Entry, Error> {
        let format = Format::sniff(&bytes).ok_or(decode::Error::Unsupported)?;
        Ok(Entry::image(bytes, format))
    }
}

/// What is told of an original, by a small form of it.
pub(super) fn facts(order: &Order, sample: &Picture) -> Value {
    let facts = inspect::facts(sample);
    let header = &*order.header;
    let upright = header.upright();
    // EXIF is a TIFF's own structure: its directories say what a block in another format would.
    let exif = header.exif.as_deref().or((header.format == Format::Tiff).then_some(&*order.source));
    let exif = exif.map(|exif| exif_json(exif, order.look.location)).filter(|facts| {
        let mut facts = facts.as_object().into_iter().flat_map(Map::values);
        header.exif.is_some() || facts.any(|fact| !fact.is_null())
    });
    let colours: Vec<Value> = facts
        .dominant_colours
        .iter()
        .map(|colour| {
            let [red, green, blue] = colour.rgb;
            json!({ "hex": format!("#{red:02x}{green:02x}{blue:02x}"), "share": (f64::from(colour.share) * 1000.0).round() / 1000.0 })
        })
        .collect();
    json!({
        "format": header.format.extension(),
        "content_type": header.format.mime(),
        "width": upright.width,
        "height": upright.height,
        "stored_width": header.size.width,
        "stored_height": header.size.height,
        "orientation": header.orientation.exif(),
        "bytes": order.source.len(),
        "alpha": header.alpha,
        "frames": header.frames,
        "loops": (header.frames > 1).then_some(header.loops),
        "bits_per_sample": header.bits,
        "colour_model": model_name(header.model),
        "progressive": header.progressive,
        "icc_profile": header.icc.as_deref().and_then(inspect::icc_name),
        "exif": exif,
        "dominant_colours": colours,
        "blurhash": facts.blurhash,
        "thumbhash": facts.thumbhash,
        "flat": facts.flat,
        "blake3": Digest::of(&order.source).hex(64),
        "version": format!("h{}", Digest::of(&order.source).hex(16)),
    })
}

fn exif_json(exif: &[u8], location: bool) -> Value {
    let facts = inspect::exif_facts(exif, location);
    let mut value = json!({
        "make": facts.make,
        "model": facts.model,
        "lens": facts.lens,
        "taken_at": facts.taken_at,
        "exposure": facts.exposure,
        "f_number": facts.f_number,
        "iso": facts.iso,
        "focal_length": facts.focal_length,
    });
    if let Some((latitude, longitude)) = facts.gps {
        value["location"] = json!({ "latitude": latitude, "longitude": longitude });
    }
    value
}

const fn model_name(model: Model) -> &'static str {
    match model {
        Model::Gray => "gray",
        Model::Rgb => "rgb",
        Model::Palette(_) => "palette",
        Model::Cmyk => "cmyk",
        Model::Vector => "vector",
    }
}
