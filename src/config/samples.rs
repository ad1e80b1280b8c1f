//! The sample pictures of the category `demo`, built into the binary. Credits stand in `samples/CREDITS.md`.

use std::io;
use std::path::Path;

use super::{Config, SourceLocation};

/// The category that shows the samples.
pub const CATEGORY: &str = "demo";

/// A sample picture.
pub struct Sample {
    /// Its file's name, which is its id.
    pub name: &'static str,
    /// What it shows, for `alt`.
    pub about: &'static str,
    /// The file.
    pub bytes: &'static [u8],
}

macro_rules! samples {
    ($($name:literal: $about:literal,)*) => {
        [$(Sample { name: $name, about: $about, bytes: include_bytes!(concat!("../../samples/", $name)) },)*]
    };
}

/// The samples, in the order in which the start page shows them.
pub static SAMPLES: [Sample; 8] = samples! {
    "mountains.jpg": "a path through a meadow towards bare mountains (photo by Aitzol Berasategi, CC BY 4.0)",
    "dandelion.jpg": "a dandelion clock before the setting sun (photo by Clements Engelhardt, CC0)",
    "dogs.jpg": "two dogs looking out of a window, stored turned by 90 degrees (photo by Aitzol Berasategi, CC BY 4.0)",
    "brushes.jpg": "paint brushes (photo by freespace, CC BY 4.0)",
    "stream.jpg": "a stream between mossy rocks (photo by Aitzol Berasategi, CC BY 4.0)",
    "shapes.png": "flat coloured shapes on a transparent ground",
    "chart.svg": "a bar chart, as vectors",
    "orbits.gif": "dots going round on ellipses, animated",
};

/// Writes the samples to the folder that the category `demo` reads from, if that is a folder which does not exist yet. Answers
/// whether it wrote. Each file is renamed into place, so that a reader never sees half a file; a folder that exists is left alone.
///
/// # Errors
/// The folder or a file cannot be written.
pub fn unpack(config: &Config) -> io::Result<bool> {
    let demo = config.categories().find(|(name, _)| *name == CATEGORY);
    let Some(SourceLocation::Folder(folder)) = demo.map(|(_, category)| &category.source) else { return Ok(false) };
    if folder.exists() || !is_default(folder) {
        return Ok(false);
    }
    std::fs::create_dir_all(folder)?;
    for sample in &SAMPLES {
        let part = folder.join(format!(".{}.{}", sample.name, std::process::id()));
        std::fs::write(&part, sample.bytes)?;
        std::fs::rename(&part, folder.join(sample.name))?;
    }
    Ok(true)
}

/// Whether a folder is the one of the built-in defaults: a folder that somebody chose is theirs, even while it is missing.
fn is_default(folder: &Path) -> bool {
    folder.ends_with(".fovea/originals/demo")
}
