//! Pictures that were made a moment ago: while variants of an original are being made, one that comes later and shows the same picture in
//! another format takes it from here, and neither decodes nor resizes.
//!
//! Always true: a picture is taken only for the same bytes of the source, and what it holds is charged.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::family::{Ready, Sight, same_bytes};
use super::order::Order;
use super::{Charge, SharedHeader};
use crate::base::Limits;

/// The most bytes of pictures of one original.
const BYTES_MAX: u64 = 6 << 20;

/// Pictures of one original, the oldest first.
#[derive(Debug, Default)]
pub struct Album {
    pages: VecDeque<Arc<Page>>,
    bytes: u64,
}

/// A picture, with all that it was made of.
#[derive(Debug)]
struct Page {
    /// These carry their charge.
    source: Bytes,
    headers: [SharedHeader; 2],
    limits: Limits,
    sight: Sight,
    ready: Ready,
    bytes: u64,
    _charge: Charge,
}

/// Some pictures, which can be looked through without holding the album.
#[derive(Debug, Default)]
pub struct Pages(Vec<Arc<Page>>);

impl Album {
    /// What it holds.
    pub fn pages(&self) -> Pages {
        Pages(self.pages.iter().cloned().collect())
    }

    /// Puts pictures in; the oldest make room.
    pub fn put(&mut self, pages: Pages) {
        for mut page in pages.0 {
            // A source that was read twice is held once.
            if let Some(page) = Arc::get_mut(&mut page)
                && let Some(known) = self.pages.iter().find(|known| same_bytes(&known.source, &page.source))
            {
                page.source = known.source.clone();
            }
            self.bytes += page.bytes;
            self.pages.push_back(page);
            while self.bytes > BYTES_MAX {
                let Some(oldest) = self.pages.pop_front() else { break };
                self.bytes -= oldest.bytes;
            }
        }
    }
}

impl Pages {
    /// The picture of an order, if it is there.
    pub fn find(&self, order: &Order) -> Option<Ready> {
        if self.0.is_empty() || order.animates() {
            return None;
        }
        let sight = Sight::of(order).ok()?;
        self.0.iter().find(|page| page.shows(order, &sight)).map(|page| page.ready.again())
    }

    /// Adds the picture of an order, whose bytes are split from its charge.
    pub fn add(&mut self, order: &Order, ready: &Ready, charge: &mut Charge) {
        let bytes = ready.picture_bytes();
        let Ok(sight) = Sight::of(order) else { return };
        if bytes > BYTES_MAX || charge.bytes() < bytes || self.0.iter().any(|page| page.shows(order, &sight)) {
            return;
        }
        let page = Page {
            source: order.source.clone(),
            headers: [order.header.clone(), order.original.clone()],
            limits: order.limits,
            sight,
            ready: ready.again(),
            bytes,
            _charge: charge.split(bytes),
        };
        self.0.push(Arc::new(page));
    }
}

impl Page {
    fn shows(&self, order: &Order, sight: &Sight) -> bool {
        let like = self.sight == *sight
            && self.limits == order.limits
            && self.headers[0] == order.header
            && self.headers[1] == order.original;
        like && same_bytes(&self.source, &order.source)
    }
}
