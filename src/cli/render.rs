//! `fovea render`: one file to another, without a server.

use std::fs;
use std::io::{Read, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use super::Choose;
use crate::app;
use crate::base::{Deadline, Work};
use crate::config::Config;
use crate::decode;
use crate::plan::{Bucket, Output, Plan};
use crate::render::order::{self, Order, Target};

/// Time for one file.
const TIMEOUT: Duration = Duration::from_secs(600);

/// The arguments of `fovea render`.
#[derive(Args)]
pub(super) struct Render {
    /// The original; - is standard input.
    input: String,
    /// The result, whose extension says the format (jpg, png, webp, avif, gif); - is standard output.
    output: String,
    /// Options as in a URL, such as w_800,h_600,fit_cover; without, only the format changes.
    #[arg(default_value = "")]
    options: String,
    /// The format, over the output's extension; auto takes what suits the picture.
    #[arg(long)]
    format: Option<String>,
}

impl Render {
    /// Renders, and says on standard error what came out.
    pub fn run(&self, choose: &Choose) -> Result<ExitCode> {
        let begun = Instant::now();
        let config = choose.load(&[])?;
        let extension = self.output.rsplit_once('.').map(|(_, extension)| extension);
        let name =
            self.format.as_deref().or(extension).context("which format? name one with --format")?.to_ascii_lowercase();
        let (plan, target) = asked(&config, &self.options, &name)?;
        let source = read(&self.input, config.limits.source_bytes_max)?;
        let bytes = source.len();
        let header = decode::probe(&source, &config.limits)?;
        let (from, size) = (header.format, header.upright());
        let look = Arc::new(app::look(&config.category_default));
        let header = Arc::new(header);
        let (source, original) = (source.into(), header.clone());
        let order = Order { source, header, original, plan, target, look, limits: config.limits };
        let rendered = order::run(&order, &Work::until(Deadline::after(TIMEOUT)))?;
        write(&self.output, &rendered.bytes)?;
        eprintln!(
            "{} {}x{} ({bytes} bytes) -> {} {}x{} ({} bytes{}) in {} ms{}",
            from.extension(),
            size.width,
            size.height,
            rendered.format.extension(),
            rendered.size.width,
            rendered.size.height,
            rendered.bytes.len(),
            rendered.quality.map(|quality| format!(", quality {quality}")).unwrap_or_default(),
            begun.elapsed().as_millis(),
            if rendered.damaged { "; the original is damaged" } else { "" }
        );
        Ok(ExitCode::SUCCESS)
    }
}

/// What options and a format's name ask for.
pub(super) fn asked(config: &Config, options: &str, format: &str) -> Result<(Arc<Plan>, Target)> {
    let output = Output::from_name(format)
        .with_context(|| format!("{format:?} is no format that is written here: jpg, png, webp, avif, gif, or auto"))?;
    let target = match output {
        Output::Format(format) => Target::Format(format),
        Output::Negotiate => Target::Best(Bucket::Avif),
        Output::Bucket(bucket) => Target::Best(bucket),
    };
    // The canonical spelling of "no options".
    let options = if options.is_empty() { "fit_contain" } else { options };
    let plan = app::urls(config)?.variant(options, output).with_context(|| format!("options {options:?}"))?;
    Ok((Arc::new(plan.resolve_hints(None, None)), target))
}

pub(super) fn read(path: &str, bytes_max: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let reader: Box<dyn Read> = match path {
        "-" => Box::new(std::io::stdin()),
        path => Box::new(fs::File::open(path).with_context(|| format!("opening {path}"))?),
    };
    reader.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).with_context(|| format!("reading {path}"))?;
    if bytes.len() as u64 > bytes_max {
        bail!("{path} is larger than limits.source_bytes_max, {bytes_max} bytes");
    }
    Ok(bytes)
}

fn write(path: &str, bytes: &[u8]) -> Result<()> {
    if path == "-" {
        return std::io::stdout().write_all(bytes).context("writing to standard output");
    }
    fs::write(path, bytes).with_context(|| format!("writing {path}"))
}
