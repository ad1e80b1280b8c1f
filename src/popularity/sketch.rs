//! A category's most frequent shapes in bounded memory: the space-saving sketch of Metwally, Agrawal and El Abbadi (2005), whose
//! counts fade. With `m` places every shape above `1/m` of all counts is among them, overestimated by that much at most.

use std::collections::HashMap;

use crate::catalog::Shape;

/// The sketch.
#[derive(Debug)]
pub struct Sketch {
    places: usize,
    shapes: HashMap<Box<str>, Place>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    count: f64,
    /// What of the count may be others'.
    error: f64,
    /// Bytes of a body, the mean over `count`.
    bytes: f64,
}

impl Sketch {
    /// With so many places.
    pub fn new(places: usize) -> Self {
        Self { places: places.max(1), shapes: HashMap::new() }
    }

    /// Counts a shape so many times, with so many bytes a body.
    pub fn add(&mut self, shape: &str, count: f64, bytes: u64) {
        let bytes = bytes as f64;
        if let Some(place) = self.shapes.get_mut(shape) {
            place.bytes += (bytes - place.bytes) * count / (place.count + count);
            place.count += count;
            return;
        }
        let error = if self.shapes.len() < self.places { 0.0 } else { self.least() };
        self.shapes.insert(shape.into(), Place { count: error + count, error, bytes });
    }

    /// Takes the place of the least frequent one away, and answers its count.
    fn least(&mut self) -> f64 {
        let least = self.shapes.iter().min_by(|a, b| a.1.count.total_cmp(&b.1.count)).map(|(shape, _)| shape.clone());
        least.and_then(|shape| self.shapes.remove(&shape)).map_or(0.0, |place| place.count)
    }

    /// Leaves a share of every count.
    pub fn fade(&mut self, share: f64) {
        for place in self.shapes.values_mut() {
            place.count *= share;
            place.error *= share;
        }
    }

    /// Takes over what another one counted.
    pub fn merge(&mut self, other: Self) {
        for (shape, place) in other.shapes {
            self.add(&shape, place.count - place.error, place.bytes as u64);
        }
    }

    /// What is sure of each shape.
    pub fn shapes(&self, owner: &str, category: &str) -> impl Iterator<Item = Shape> {
        self.shapes.iter().filter(|(_, place)| place.count > place.error).map(move |(shape, place)| Shape {
            owner: owner.to_owned(),
            category: category.to_owned(),
            shape: shape.to_string(),
            count: place.count - place.error,
            bytes: place.bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_frequent_is_found_among_much_that_is_not() {
        let mut sketch = Sketch::new(20);
        for at in 0..10_000 {
            sketch.add(&format!("w_{at}.jpg"), 1.0, 10);
            if at % 4 == 0 {
                sketch.add("thumb.auto", 1.0, 20);
            }
            if at % 10 == 0 {
                sketch.add("w_400.webp", 1.0, 30);
            }
        }
        assert!(sketch.shapes.len() <= 20);
        let mut shapes: Vec<Shape> = sketch.shapes("ann", "shop").collect();
        shapes.sort_by(|a, b| b.count.total_cmp(&a.count));
        assert_eq!((shapes[0].shape.as_str(), shapes[1].shape.as_str()), ("thumb.auto", "w_400.webp"));
        assert!(shapes[0].count > 1500.0 && shapes[0].count <= 2500.0, "never more than it was: {shapes:?}");
        assert_eq!(shapes[0].bytes, 20.0);
        sketch.fade(0.5);
        let most = sketch.shapes("ann", "shop").map(|shape| shape.count).fold(0.0, f64::max);
        assert_eq!(most, shapes[0].count / 2.0);
    }
}
