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
use crate::render::family;
use crate::render::order::{Order, Target};

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
    /// More results, each with its options: OUTPUT OPTIONS OUTPUT OPTIONS … What can share a decode does, and all cores encode.
    #[arg(value_names = ["OUTPUT", "OPTIONS"])]
    more: Vec<String>,
    /// The format of all results, over their extensions; auto takes what suits the picture.
    #[arg(long)]
    format: Option<String>,
}

impl Render {
    /// Renders, and says on standard error what came out.
    pub fn run(&self, choose: &Choose) -> Result<ExitCode> {
        let begun = Instant::now();
        let config = choose.load(&[])?;
        let outputs = self.outputs()?;
        let asked = outputs.iter().map(|(output, options)| self.asked(&config, output, options));
        let asked: Vec<(Arc<Plan>, Target)> = asked.collect::<Result<_>>()?;
        let source = read(&self.input, config.limits.source_bytes_max)?;
        let bytes = source.len();
        let header = Arc::new(decode::probe(&source, &config.limits)?);
        let (from, size) = (header.format, header.upright());
        let look = Arc::new(app::look(&config.category_default));
        let first = Order {
            source: source.into(),
            header: header.clone(),
            original: header,
            plan: Arc::new(Plan::DEFAULT),
            target: Target::Best(Bucket::Base),
            look,
            limits: config.limits,
        };
        let orders: Vec<Order> =
            asked.into_iter().map(|(plan, target)| Order { plan, target, ..first.clone() }).collect();
        for ((output, _), rendered) in outputs.iter().zip(family::run(&orders, &Work::until(Deadline::after(TIMEOUT))))
        {
            let rendered = rendered.with_context(|| format!("making {output}"))?;
            write(output, &rendered.bytes)?;
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
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The results and their options.
    fn outputs(&self) -> Result<Vec<(&str, &str)>> {
        let (pairs, rest) = self.more.as_chunks::<2>();
        if let [output] = rest {
            bail!("{output}: a further result takes its options behind it");
        }
        let more = pairs.iter().map(|[output, options]| (output.as_str(), options.as_str()));
        Ok(std::iter::once((self.output.as_str(), self.options.as_str())).chain(more).collect())
    }

    fn asked(&self, config: &Config, output: &str, options: &str) -> Result<(Arc<Plan>, Target)> {
        let extension = output.rsplit_once('.').map(|(_, extension)| extension);
        let name = self.format.as_deref().or(extension).context("which format? name one with --format")?;
        asked(config, options, &name.to_ascii_lowercase())
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
