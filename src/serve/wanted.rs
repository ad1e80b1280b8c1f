//! A request, resolved: which variant of which asset, and under which key.

use std::sync::Arc;

use super::{Category, Client};
use crate::base::{AssetDigest, Format, VariantKey};
use crate::cache::Tags;
use crate::plan::{Ask, Bucket, Output, Plan, Quality, QualityStep, Request, Version};
use crate::render::Target;
use crate::source::{self, OriginalMeta};

/// What comes out where it is no picture.
const ORIGINAL: &str = "orig";
const INFO: &str = "info";

/// A request, resolved.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub category: Arc<Category>,
    pub asset: AssetDigest,
    /// What names the original among those that are being read: each version of an uploaded asset is one.
    pub original: AssetDigest,
    pub id: String,
    pub version: Version,
    pub version_text: String,
    /// The original's state where that is known without asking the source: what `v0` means now, where the URL says `v0` and the
    /// source can tell when that changes; the version of an uploaded original, which never changes.
    pub validator: Option<Arc<str>>,
    pub tags: Tags,
    pub what: What,
    /// The variant's key, or, where the format is still to be chosen, the key of the choice.
    pub key: VariantKey,
}

/// What is wanted of the asset.
#[derive(Clone, Debug)]
pub enum What {
    /// A variant.
    Image { plan: Arc<Plan>, target: Target },
    /// The original's bytes.
    Original,
    /// Facts about it.
    Info,
}

impl Wanted {
    /// Resolves a request with what the client said. `validator` is what `v0` means now.
    pub fn new(category: Arc<Category>, request: &Request, client: &Client, validator: Option<&str>) -> Self {
        let asset = AssetDigest::new(&category.name, &request.id);
        let version_text = match validator {
            Some(validator) => format!("v0:{validator}"),
            None => request.version.text(),
        };
        let (what, plan_text, output) = match &request.ask {
            Ask::Image(plan) => {
                let plan = resolve_plan(plan, &category, client);
                let target = resolve_target(plan.output, &category, client);
                let (text, output) = (plan.canonical(), output_name(target));
                (What::Image { plan: Arc::new(plan), target }, text, output)
            }
            Ask::Original => (What::Original, String::new(), ORIGINAL),
            Ask::Info => (What::Info, String::new(), INFO),
        };
        let key = VariantKey::new(asset, &version_text, &plan_text, output, &category.look_digest);
        let tags = Tags { category: category.name.clone(), preset: request.preset.clone() };
        let validator = if category.catalogued {
            Some(version_text.as_str().into())
        } else {
            validator.filter(|state| source::lasts(state)).map(Into::into)
        };
        let original = match category.catalogued {
            true => AssetDigest::new(&category.name, &format!("{}\0{version_text}", request.id)),
            false => asset,
        };
        Self {
            asset,
            original,
            id: request.id.clone(),
            version: request.version.clone(),
            version_text,
            validator,
            tags,
            what,
            key,
            category,
        }
    }

    /// The state of an original that was fetched; none where the source cannot tell when it changes.
    pub fn state(&self, meta: &OriginalMeta) -> Option<Arc<str>> {
        match &self.validator {
            Some(version) if self.category.catalogued => Some(version.clone()),
            _ => meta.lasting().then(|| meta.validator.as_str().into()),
        }
    }

    /// What comes out, in a word.
    pub const fn output(&self) -> &'static str {
        match self.what {
            What::Image { target, .. } => output_name(target),
            What::Original => ORIGINAL,
            What::Info => INFO,
        }
    }

    /// Whether the key names a choice that is still to be made.
    pub const fn is_alias(&self) -> bool {
        matches!(self.what, What::Image { target: Target::Best(_), .. })
    }

    /// The key of the variant that the choice came to.
    pub fn chosen(&self, plan: &Plan, format: Format, lossless: bool) -> VariantKey {
        let output = if format == Format::WebP && lossless { "webp-lossless" } else { format.extension() };
        VariantKey::new(self.asset, &self.version_text, &plan.canonical(), output, &self.category.look_digest)
    }
}

fn resolve_plan(plan: &Plan, category: &Category, client: &Client) -> Plan {
    if !category.policy.client_hints {
        return plan.resolve_hints(None, None);
    }
    let mut plan = plan.resolve_hints(client.width, client.dpr);
    if client.save_data && plan.quality.is_none() {
        plan.quality = Some(Quality::Step(QualityStep::Low));
    }
    plan
}

fn resolve_target(output: Output, category: &Category, client: &Client) -> Target {
    let allowed = &category.look.allowed;
    let best = |bucket: Bucket| {
        // What the category does not allow anyway makes no second alias.
        let bucket = if bucket == Bucket::Avif && !allowed.avif { Bucket::WebP } else { bucket };
        Target::Best(if bucket == Bucket::WebP && !allowed.webp { Bucket::Base } else { bucket })
    };
    match output {
        Output::Format(format) => Target::Format(format),
        Output::Negotiate => best(client.bucket),
        Output::Bucket(bucket) => best(bucket),
    }
}

const fn output_name(target: Target) -> &'static str {
    match target {
        Target::Format(format) => format.extension(),
        Target::Best(Bucket::Avif) => "auto-avif",
        Target::Best(Bucket::WebP) => "auto-webp",
        Target::Best(Bucket::Base) => "auto-base",
    }
}
