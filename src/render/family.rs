//! Several variants of one source, done together: one decode for all that take the same rows, one resize for all that show the
//! same picture, an encoder each.
//!
//! Always true: a variant has the bytes that it has when it is rendered alone. So only what takes equal rows is decoded together, or
//! parts of the same rows beside each other, as tiles are (see [`decode::Cut::beside`]); the cascade of sizes is that of the mezzanines, which the rule of [`form`](super::form) names for each
//! variant by itself.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use super::order::{self, Order, Rendered};
use super::still::{self, Placed, Wanted};
use super::{Error, Refused, noted};
use crate::base::{Size, Stage, Stages, Stopped, Work};
use crate::decode::{self, Cut};
use crate::pixels::{Head, Picture, Row, Sink};
use crate::plan::{Metadata, Output, Plan};
use crate::transform::{Geometry, Light, Steps};

/// The most bytes of pictures that one decode leaves. They are all held until they are encoded, so many large ones at once would
/// take more memory than their decodes are worth.
const PICTURES_BYTES_MAX: u64 = 12 << 20;

/// Which of some orders are decoded together, by their places.
pub fn groups(orders: &[&Order]) -> Vec<Vec<usize>> {
    if orders.len() < 2 {
        return (0..orders.len()).map(|at| vec![at]).collect();
    }
    let mut groups: Vec<Group> = Vec::new();
    for (at, order) in orders.iter().enumerate() {
        let Some(rows) = rows(order) else {
            groups.push(Group { rows: None, pictures: Vec::new(), members: vec![at] });
            continue;
        };
        let picture = rows.picture;
        match groups.iter_mut().find_map(|group| group.takes(orders, order, &rows).map(|cut| (group, cut))) {
            Some((group, cut)) => {
                group.rows = Some(cut);
                group.members.push(at);
                if !group.pictures.contains(&picture) {
                    group.pictures.push(picture);
                }
            }
            None => groups.push(Group { rows: Some(rows.cut), pictures: vec![picture], members: vec![at] }),
        }
    }
    groups.into_iter().map(|group| group.members).collect()
}

/// Orders that are decoded together.
struct Group {
    /// None for what is done alone.
    rows: Option<Cut>,
    /// The pictures that are held.
    pictures: Vec<Shape>,
    members: Vec<usize>,
}

/// What an order takes of its source, and the picture that comes of it.
struct Rows {
    cut: Cut,
    picture: Shape,
}

/// A picture by what it shows and how large it is.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Shape {
    region: [f64; 4],
    size: Size,
}

/// None for animations and for what will fail.
fn rows(order: &Order) -> Option<Rows> {
    if order.animates() {
        return None;
    }
    let geometry = order.geometry().ok()?;
    let wanted = still::wanted(order, &geometry);
    let cut = decode::cut(wanted.source, wanted.header, &wanted.want, wanted.form).ok()?;
    let size = if geometry.canvas.pixels() < geometry.scaled.pixels() { geometry.scaled } else { geometry.canvas };
    Some(Rows { cut, picture: Shape { region: geometry.region, size } })
}

impl Group {
    /// What is decoded for the group with one more order, where it goes with the others.
    fn takes(&self, orders: &[&Order], order: &Order, rows: &Rows) -> Option<Cut> {
        let (first, cut) = (orders[self.members[0]], self.rows.as_ref()?);
        let shared = cut.beside(&rows.cut).filter(|_| same_source(first, order))?;
        let others = self.pictures.iter().filter(|picture| **picture != rows.picture);
        let held = others.map(|picture| picture.size.pixels()).sum::<u64>();
        ((held + rows.picture.size.pixels()) * 4 <= PICTURES_BYTES_MAX).then_some(shared)
    }
}

fn same_source(one: &Order, other: &Order) -> bool {
    one.header == other.header
        && one.scale() == other.scale()
        && one.limits == other.limits
        && same_bytes(&one.source, &other.source)
}

/// Whether two sources are the same, which may have been read one after the other.
pub(super) fn same_bytes(one: &Bytes, other: &Bytes) -> bool {
    // Every byte is looked at only where they lie apart.
    one.as_ptr_range() == other.as_ptr_range() || one == other
}

/// A variant whose picture is there.
#[derive(Debug)]
pub struct Ready {
    picture: Arc<Picture>,
    geometry: Geometry,
    damaged: bool,
    stages: Stages,
}

impl Ready {
    /// The same picture for another variant, which has not taken the time that it took.
    pub(super) fn again(&self) -> Self {
        let (picture, geometry) = (self.picture.clone(), self.geometry.clone());
        Self { picture, geometry, damaged: self.damaged, stages: Stages::default() }
    }

    pub(super) fn picture_bytes(&self) -> u64 {
        self.picture.bytes()
    }

    /// Encodes it. `order` is the one that it was made ready for.
    pub fn encode(self, order: &Order, work: &Work) -> Result<Rendered, Error> {
        let rendered = still::encoded(order, &self.picture, self.damaged, self.stages, work)?;
        Ok(order::original_if_smaller(order, &self.geometry, rendered))
    }
}

/// What an order shows of its original, without what only encoders look at.
#[derive(Clone, PartialEq, Debug)]
pub struct Sight {
    geometry: Geometry,
    plan: Plan,
    light: Light,
    flatten: Option<[u8; 3]>,
}

impl Sight {
    /// Of an order.
    pub fn of(order: &Order) -> Result<Self, Error> {
        let (geometry, plan) = (order.geometry()?, seen(&order.plan));
        // Nothing is behind a picture that is opaque and covers its canvas.
        let opaque = !order.header.alpha && geometry.canvas.pixels() == geometry.scaled.pixels();
        let flatten = still::flatten(order).filter(|_| !opaque);
        Ok(Self { geometry, plan, light: order.look.light, flatten })
    }
}

/// A picture to make, and whom for.
struct Shown<'a> {
    sight: Sight,
    plan: &'a Plan,
    work: Work,
    members: Vec<usize>,
}

/// Decodes once for orders of one of the [`groups`], and makes their pictures. Where one has been stopped, that alone is.
pub fn ready(members: &[(&Order, &Work)]) -> Result<Vec<Result<Ready, Refused>>, Error> {
    let all = Work::shared(members.iter().map(|(_, work)| (*work).clone()).collect());
    let shown = shown(members)?;
    let Some((first, _)) = members.first() else { return Ok(Vec::new()) };
    let mut steps: Vec<Steps> =
        shown.iter().map(|one| Steps::new(&one.sight.geometry, one.plan, one.sight.light, &one.work)).collect();
    let wanted = still::wanted(first, &shown[0].sight.geometry);
    let cut = shared(members)?;
    let begun = Instant::now();
    let placed = steps.iter_mut().map(|steps| Some(Placed { steps, scale: wanted.scale, bytes: 0 }));
    let mut fan = Fan { sinks: placed.collect(), bytes: 0 };
    let Wanted { source, header, want, form, limits, .. } = &wanted;
    let damaged = match &cut {
        Some(cut) => decode::stream_cut(source, header, cut, limits, &all, &mut fan)?,
        None => decode::stream(source, header, want, *form, limits, &all, &mut fan)?,
    };
    let left: Vec<bool> = fan.sinks.iter().map(Option::is_none).collect();
    let mut shared = Stages::default();
    shared.left(Stage::Decode, fan.bytes);
    let rows: Duration = steps.iter().map(Steps::time).sum();
    noted(&mut shared, Stage::Decode, begun.elapsed().saturating_sub(rows));
    let mut ready: Vec<Result<Ready, Refused>> = members.iter().map(|_| Err(Refused::Cancelled)).collect();
    for ((one, steps), left) in shown.iter().zip(steps).zip(left) {
        let (begun, rows) = (Instant::now(), steps.time());
        let picture = if left { None } else { steps.finish(one.sight.flatten).ok() };
        let Some(picture) = picture else {
            for at in &one.members {
                ready[*at] = Err(members[*at].1.check().err().map_or(Refused::Cancelled, Refused::from));
            }
            continue;
        };
        let mut stages = shared;
        noted(&mut stages, Stage::Transform, rows + begun.elapsed());
        let picture = Arc::new(still::finished(picture, &mut stages));
        for at in &one.members {
            let geometry = one.sight.geometry.clone();
            ready[*at] = Ok(Ready { picture: picture.clone(), geometry, damaged, stages });
        }
    }
    Ok(ready)
}

/// What is decoded for orders of one group, where it is more than the first alone takes.
fn shared(members: &[(&Order, &Work)]) -> Result<Option<Cut>, Error> {
    let cuts = members.iter().map(|(order, _)| rows(order).map(|rows| rows.cut).ok_or(Refused::Panicked));
    let cuts = cuts.collect::<Result<Vec<Cut>, _>>()?;
    let Some((first, others)) = cuts.split_first() else { return Ok(None) };
    let mut shared = first.clone();
    for cut in others {
        shared = shared.beside(cut).ok_or(Refused::Panicked)?;
    }
    Ok(Some(shared).filter(|shared| shared != first))
}

/// The pictures that orders show, each once.
fn shown<'a>(members: &[(&'a Order, &Work)]) -> Result<Vec<Shown<'a>>, Error> {
    let mut all: Vec<Shown> = Vec::new();
    for (at, (order, work)) in members.iter().enumerate() {
        let sight = Sight::of(order)?;
        match all.iter_mut().find(|one| one.sight == sight) {
            Some(one) => one.members.push(at),
            None => all.push(Shown { sight, plan: &order.plan, work: (*work).clone(), members: vec![at] }),
        }
    }
    // A picture goes on for the last of those that wait for it.
    for one in &mut all {
        one.work = Work::shared(one.members.iter().map(|at| members[*at].1.clone()).collect());
    }
    Ok(all)
}

/// What of a plan is seen in the picture: all but what is the encoder's.
fn seen(plan: &Plan) -> Plan {
    let (quality, bytes_max, download, metadata) = (None, None, None, Metadata::None);
    Plan { quality, bytes_max, download, metadata, animate: true, output: Output::Negotiate, ..plan.clone() }
}

/// Gives each row to all who still want one.
struct Fan<'a, 'b> {
    /// None for what was stopped.
    sinks: Vec<Option<Placed<'a, 'b>>>,
    bytes: u64,
}

impl Fan<'_, '_> {
    fn each(&mut self, mut give: impl FnMut(&mut dyn Sink) -> Result<(), Stopped>) -> Result<(), Stopped> {
        let mut stopped = Err(Stopped::Cancelled);
        for slot in &mut self.sinks {
            let Some(sink) = slot else { continue };
            match give(sink) {
                Ok(()) => stopped = Ok(()),
                Err(_) => *slot = None,
            }
        }
        stopped
    }
}

impl Sink for Fan<'_, '_> {
    fn begin(&mut self, head: &Head) -> Result<(), Stopped> {
        self.bytes = head.bytes();
        self.each(|sink| sink.begin(head))
    }

    fn row(&mut self, row: Row<'_>) -> Result<(), Stopped> {
        self.each(|sink| if sink.done() { Ok(()) } else { sink.row(row) })
    }

    fn done(&self) -> bool {
        self.sinks.iter().flatten().all(Sink::done)
    }
}

/// Makes several variants on this thread and others, as many as the machine has cores; in the order of `orders`.
pub fn run(orders: &[Order], work: &Work) -> Vec<Result<Rendered, Error>> {
    let mut made: Vec<Option<Result<Rendered, Error>>> = orders.iter().map(|_| None).collect();
    let every: Vec<&Order> = orders.iter().collect();
    for group in groups(&every) {
        let members: Vec<(&Order, &Work)> = group.iter().map(|at| (every[*at], work)).collect();
        let ready = if group.len() > 1 { ready(&members).ok() } else { None };
        let Some(ready) = ready else {
            group.iter().for_each(|at| made[*at] = Some(order::run(every[*at], work)));
            continue;
        };
        let list: Mutex<VecDeque<_>> = Mutex::new(group.iter().copied().zip(ready).collect());
        let slots = Mutex::new(&mut made);
        let encode = || {
            loop {
                let Some((at, ready)) = list.lock().pop_front() else { return };
                let result = ready.map_err(Error::from).and_then(|ready| ready.encode(every[at], work));
                slots.lock()[at] = Some(result);
            }
        };
        std::thread::scope(|scope| {
            let others = std::thread::available_parallelism().map_or(1, usize::from).min(group.len()) - 1;
            for _ in 0..others {
                scope.spawn(encode);
            }
            encode();
        });
    }
    made.into_iter().map(|made| made.unwrap_or_else(|| Err(Refused::Panicked.into()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Deadline, Format, Limits};
    use crate::plan::{Crop, Width};
    use crate::render::{Look, Target};

    fn work() -> Work {
        Work::until(Deadline::after(Duration::from_secs(60)))
    }

    /// Orders of one source for widths, with a crop in the middle or without.
    fn orders(file: &str, wanted: &[(u32, bool, Format)]) -> Vec<Order> {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let source = bytes::Bytes::from(std::fs::read(path).unwrap());
        let header = Arc::new(decode::probe(&source, &Limits::default()).unwrap());
        let order = |(width, cropped, format): &(u32, bool, Format)| Order {
            source: source.clone(),
            header: header.clone(),
            original: header.clone(),
            plan: Arc::new(Plan {
                width: Some(Width::Px(*width)),
                crop: cropped.then_some(Crop::Fraction(0.3, 0.3, 0.2, 0.2)),
                ..Plan::DEFAULT
            }),
            target: Target::Format(*format),
            look: Arc::new(Look::default()),
            limits: Limits::default(),
        };
        wanted.iter().map(order).collect()
    }

    #[test]
    fn what_takes_equal_rows_is_decoded_together() {
        use Format::{Avif, Jpeg, WebP};
        // 1633 pixels wide: 500 and 580 are averaged two by two, 1000 wants all of it.
        let wanted =
            [(500, false, Jpeg), (580, false, WebP), (1000, false, Jpeg), (1000, false, Avif), (90, true, Jpeg)];
        let orders = orders("samples/mountains.jpg", &wanted);
        let orders: Vec<&Order> = orders.iter().collect();
        assert_eq!(groups(&orders), [vec![0, 1], vec![2, 3], vec![4]]);
        let mut again = orders[1].clone();
        again.source = bytes::Bytes::copy_from_slice(&again.source);
        assert_eq!(groups(&[orders[0], &again]), [[0, 1]], "read twice, the same");
        again.source = bytes::Bytes::copy_from_slice(&again.source[1..]);
        assert_eq!(groups(&[orders[0], &again]), [[0], [1]]);
        assert_eq!(groups(&orders[..1]), [[0]]);
    }

    #[test]
    fn pictures_that_are_held_at_once_are_bounded() {
        let many: Vec<_> = (0..8).map(|at| (1600 - at, false, Format::Jpeg)).collect();
        let orders = orders("samples/mountains.jpg", &many);
        let groups = groups(&orders.iter().collect::<Vec<_>>());
        assert!(groups.len() == 8, "1600x1200 four times would be 23 MB: {groups:?}");
    }

    #[test]
    fn each_has_the_bytes_that_it_has_alone() {
        use Format::{Jpeg, Png, WebP};
        for (file, wanted) in [
            (
                "samples/mountains.jpg",
                vec![(500, false, Jpeg), (500, false, WebP), (90, true, Png), (580, false, Jpeg)],
            ),
            ("samples/shapes.png", vec![(60, false, Png), (60, false, Jpeg), (40, true, WebP), (50, false, WebP)]),
        ] {
            let orders = orders(file, &wanted);
            for (made, (order, wanted)) in run(&orders, &work()).into_iter().zip(orders.iter().zip(wanted)) {
                let (made, alone) = (made.unwrap(), order::run(order, &work()).unwrap());
                assert!(made.bytes == alone.bytes && made.quality == alone.quality, "{file} {wanted:?}");
                assert!(!made.stages.of(Stage::Decode).is_zero() && made.stages.bytes(Stage::Encode) > 0);
            }
        }
    }

    #[test]
    fn tiles_beside_each_other_take_one_decode_and_have_the_bytes_that_they_have_alone() {
        // 1633x1225: two rows of tiles of 400 pixels at full size, two of 200 pixels at half of it.
        let mut all = orders("samples/mountains.jpg", &[(400, false, Format::WebP); 8]);
        for (at, order) in all.iter_mut().enumerate() {
            let (column, row) = (at as u32 % 4, at as u32 / 4);
            let width = if row == 0 { 400 } else { 200 };
            order.plan = Arc::new(Plan {
                width: Some(Width::Px(width)),
                crop: Some(Crop::Px(column * 400, row * 400, 400, 400)),
                ..Plan::DEFAULT
            });
        }
        let every: Vec<&Order> = all.iter().collect();
        assert_eq!(groups(&every), [vec![0, 1, 2, 3], vec![4, 5, 6, 7]]);
        for (at, made) in run(&all, &work()).into_iter().enumerate() {
            assert!(made.unwrap().bytes == order::run(&all[at], &work()).unwrap().bytes, "tile {at}");
        }
    }

    #[test]
    fn one_that_is_stopped_stops_alone() {
        let orders = orders("samples/mountains.jpg", &[(500, false, Format::Jpeg), (580, false, Format::Jpeg)]);
        let (stopped, goes_on) = (work(), work());
        stopped.cancel();
        let made = ready(&[(&orders[0], &stopped), (&orders[1], &goes_on)]).unwrap();
        assert!(matches!(made[..], [Err(Refused::Cancelled), Ok(_)]));
        let none = ready(&[(&orders[0], &stopped), (&orders[1], &stopped)]);
        assert!(matches!(none, Err(Error::Refused(Refused::Cancelled) | Error::Decode(decode::Error::Stopped(_)))));
    }
}
