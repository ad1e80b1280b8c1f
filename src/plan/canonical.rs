//! The canonical spelling of plans: the preset, then every option that says something else than would hold without it, in
//! the table's order, each value spelled one way. What the grammar leaves open is spelled so:
//!
//! - a plan of all defaults without a preset is `fit_contain`; a default that undoes a preset's value is written
//!   (`art,gray_0,crop_0:0:1:1`);
//! - a flag is its name alone (`gray`), fractions and sigmas are the shortest decimals, hex is lower-case and `bg` the
//!   shortest of its forms, `pad` the shortest list as in CSS, `dl` the file name that is sent.

use super::options::{self, NOTHING, TABLE};
use super::presets::Preset;
use super::{Output, Plan};

impl Plan {
    /// The options that decide the picture, in canonical order and spelling, a preset's among them, defaults left out: the
    /// same for all plans that make the same picture of one original. Holds neither the output nor `dl`, which only
    /// names the file. Is itself a legal variant; the plan of all defaults is `fit_contain`.
    pub fn canonical(&self) -> String {
        let mut out = String::with_capacity(64);
        let (_dl, rows) = TABLE.split_last().expect("the table has rows");
        options::write(self, &Plan::DEFAULT, rows, 0, &mut out);
        if out.is_empty() {
            out.push_str(NOTHING);
        }
        out
    }
}

/// Adds a variant's canonical spelling with its format: the preset, then what differs from it.
pub(super) fn push_variant(plan: &Plan, preset: Option<&Preset>, output: Output, out: &mut String) {
    let start = out.len();
    if let Some(preset) = preset {
        out.push_str(&preset.name);
    }
    options::write(plan, preset.map_or(&Plan::DEFAULT, |preset| &preset.plan), &TABLE, start, out);
    if out.len() == start {
        out.push_str(NOTHING);
    }
    out.push('.');
    out.push_str(output.name());
}
