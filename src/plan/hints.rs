//! `w_auto`: a width from the client's hints, rounded up to steps so that there are few variants.

use super::{Dpr, Plan, Width};

/// The physical widths, in pixels, that a hint is rounded up to; the last is also the most.
pub const WIDTH_STEPS: [u32; 14] = [160, 240, 320, 480, 640, 800, 960, 1200, 1440, 1600, 1920, 2400, 3200, 3840];

/// The ratios, in hundredths, that a hint is rounded up to; the last is also the most.
pub const DPR_STEPS: [u16; 4] = [100, 150, 200, 300];

/// The physical width of `w_auto` where the client says nothing, as most browsers do.
pub const WIDTH_WITHOUT_HINT: u32 = 1200;

impl Plan {
    /// The plan with `w_auto` decided: `width` is the client's `Sec-CH-Width` (physical pixels), `dpr` its `Sec-CH-DPR` in
    /// hundredths. The ratio of the URL goes before the client's; it then scales height and padding, for the width is
    /// physical already. A plan without `w_auto` stays as it is.
    pub fn resolve_hints(&self, width: Option<u32>, dpr: Option<u16>) -> Self {
        let mut plan = self.clone();
        if plan.width != Some(Width::Auto) {
            return plan;
        }
        if let (Dpr::ONE, Some(hint)) = (plan.dpr, dpr) {
            plan.dpr = Dpr(step(&DPR_STEPS, hint));
        }
        let physical = step(&WIDTH_STEPS, width.unwrap_or(WIDTH_WITHOUT_HINT));
        // Rounded up: never less than what was asked for.
        plan.width = Some(Width::Px((physical * 100).div_ceil(plan.dpr.0.into())));
        plan
    }
}

/// The most device pixels across that `w_auto` becomes: the last step, and the most that rounding CSS pixels up adds.
pub(super) const fn width_px_max() -> u64 {
    WIDTH_STEPS[WIDTH_STEPS.len() - 1] as u64 + 8
}

/// The first step that is no less, else the last.
fn step<T: Copy + Ord>(steps: &[T], hint: T) -> T {
    let at = steps.partition_point(|step| *step < hint).min(steps.len() - 1);
    steps[at]
}
