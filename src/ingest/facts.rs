//! A first look at an original: what it is by its content, and whether its header keeps to the limits. The full decode is the
//! worker's.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::{Error, Spooled};
use crate::base::{Format, Limits, Size};
use crate::decode::{self, Header};
use crate::inspect;

/// How much is held in memory at once of originals whose headers do not stand at the beginning: MiB. A longer one is held alone.
const WHOLE_MIB_MAX: u32 = 16;
static WHOLE: Semaphore = Semaphore::const_new(WHOLE_MIB_MAX as usize);

/// What an original's header says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// What it is, by content.
    pub format: Format,
    /// Its upright size.
    pub size: Size,
    /// The name of its colour profile.
    pub profile: Option<String>,
}

impl Facts {
    /// Reads them from a body that came whole.
    ///
    /// # Errors
    /// [`Error::Decode`] for what is no picture, is broken in its header, or is beyond the limits.
    pub async fn of(spooled: &Spooled, limits: &Limits) -> Result<Self, Error> {
        let header = match Format::sniff(&spooled.head).ok_or(decode::Error::Unsupported)? {
            // Their headers stand at the beginning, and frames are not counted.
            Format::Jpeg | Format::Png | Format::Bmp => {
                match decode::probe_head(&spooled.head, spooled.bytes, limits) {
                    Ok(header) => header,
                    Err(error @ decode::Error::TooLarge(_)) => return Err(error.into()),
                    Err(error) if spooled.bytes as usize == spooled.head.len() => return Err(error.into()),
                    Err(_) => whole(spooled, limits).await?,
                }
            }
            Format::WebP | Format::Avif | Format::Gif | Format::Tiff | Format::Svg => whole(spooled, limits).await?,
        };
        let profile = header.icc.as_deref().and_then(inspect::icc_name);
        Ok(Self { format: header.format, size: header.upright(), profile })
    }
}

/// Reads the header with all that follows it in sight.
async fn whole(spooled: &Spooled, limits: &Limits) -> Result<Header, Error> {
    let limits = *limits;
    if spooled.bytes as usize == spooled.head.len() {
        return Ok(decode::probe(&spooled.head, &limits)?);
    }
    let mib = u32::try_from(spooled.bytes.div_ceil(1 << 20)).unwrap_or(WHOLE_MIB_MAX).min(WHOLE_MIB_MAX);
    let _turn = WHOLE.acquire_many(mib).await.map_err(std::io::Error::other)?;
    let path: Arc<std::path::Path> = spooled.path().into();
    let probed = tokio::task::spawn_blocking(move || {
        let bytes = std::fs::read(path)?;
        Ok::<_, std::io::Error>(decode::probe(&bytes, &limits))
    });
    Ok(probed.await.map_err(std::io::Error::other)???)
}
