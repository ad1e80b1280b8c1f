//! `fovea profile`: where the time and the bytes of one variant go, stage by stage.

use std::fmt::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use super::Choose;
use super::render::{asked, read};
use crate::app;
use crate::base::{Deadline, Stage, Stages, Work};
use crate::decode::{self, Header};
use crate::render::order::{self, Order, Rendered};
use crate::render::{Form, Job, Making, form};

/// Time for one run.
const TIMEOUT: Duration = Duration::from_secs(600);

/// How wide the bar of the longest stage is, in letters.
const BAR: usize = 32;

/// The arguments of `fovea profile`.
#[derive(Args)]
pub(super) struct Profile {
    /// The original; - is standard input.
    image: String,
    /// Options as in a URL, such as w_800,h_600,fit_cover.
    #[arg(default_value = "")]
    options: String,
    /// The format: auto (what suits the picture), jpg, png, webp, avif or gif.
    #[arg(long, default_value = "auto")]
    format: String,
    /// How often it is done; each stage shows its median.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
}

impl Profile {
    /// Renders as the server would (with the settings of `category_default`) and shows what each stage took and left.
    pub fn run(&self, choose: &Choose) -> Result<ExitCode> {
        let config = choose.load(&[])?;
        let (plan, target) = asked(&config, &self.options, &self.format)?;
        let source = read(&self.image, config.limits.source_bytes_max)?;
        let header = Arc::new(decode::probe(&source, &config.limits)?);
        let look = Arc::new(app::look(&config.category_default));
        let original = Order {
            source: source.into(),
            header: header.clone(),
            original: header,
            plan,
            target,
            look,
            limits: config.limits,
        };
        let mut text = String::new();
        let order = match self.mezzanine(&original, &mut text)? {
            Some(order) => order,
            None => original.clone(),
        };
        let runs: Vec<Rendered> = (0..self.rounds).map(|_| order::run(&order, &work())).collect::<Result<_, _>>()?;
        let rendered = runs.last().context("there is at least one round")?;
        let stages: Vec<Stages> = runs.iter().map(|run| run.stages).collect();
        let from = if order.source.len() == original.source.len() {
            "the original"
        } else {
            "its mezzanine, as every later variant"
        };
        let title = format!("the variant, from {from}; at most {} beside the source", size(order.bytes_of_work()?));
        table(&mut text, &title, &stages);
        println!("{}\n\n{text}", summary(&self.image, &original, rendered));
        Ok(ExitCode::SUCCESS)
    }

    /// Where the rule names a mezzanine: makes it, shows what that took, and answers the order that is rendered from it.
    fn mezzanine(&self, original: &Order, text: &mut String) -> Result<Option<Order>> {
        let widths = form::widths(&original.header, &original.look);
        let geometry = original.geometry()?;
        let exif = original.header.exif.is_some();
        let Form::Mezzanine(width) = form::form(&original.header, &widths, exif, &geometry, &original.plan) else {
            return Ok(None);
        };
        let making = Making {
            source: original.source.clone(),
            header: original.header.clone(),
            widths,
            look: original.look.clone(),
            limits: original.limits,
        };
        let made: Vec<_> =
            (0..self.rounds).map(|_| making.clone().run(Duration::ZERO, &work())).collect::<Result<_, _>>()?;
        let files = &made.last().context("there is at least one round")?.files;
        let Some(file) = files.iter().find(|file| file.width == width) else { return Ok(None) };
        let stages: Vec<Stages> = made.iter().map(|made| made.stages).collect();
        let most = size(making.bytes_of_work()?);
        table(text, &format!("the mezzanines, once for the original; at most {most} beside the source"), &stages);
        for file in files {
            let _ = writeln!(
                text,
                "  {} px wide as {}: {}",
                file.width,
                file.format.extension(),
                size(file.bytes.len() as u64)
            );
        }
        text.push('\n');
        let source = bytes::Bytes::from(file.bytes.clone());
        let header: Arc<Header> = Arc::new(decode::probe(&source, &original.limits)?);
        Ok(Some(Order { source, header, ..original.clone() }))
    }
}

fn work() -> Work {
    Work::until(Deadline::after(TIMEOUT))
}

fn summary(name: &str, original: &Order, rendered: &Rendered) -> String {
    let from = original.header.upright();
    format!(
        "{name}: {} {}x{}, {}\n  -> {} {}x{}, {}{}{}",
        original.header.format.extension(),
        from.width,
        from.height,
        size(original.source.len() as u64),
        rendered.format.extension(),
        rendered.size.width,
        rendered.size.height,
        size(rendered.bytes.len() as u64),
        rendered.quality.map(|quality| format!(", quality {quality}")).unwrap_or_default(),
        if rendered.damaged { "; the original is damaged" } else { "" }
    )
}

/// One line a stage: its median time, what it left, and a bar.
fn table(text: &mut String, title: &str, runs: &[Stages]) {
    let median = |stage: Stage| {
        let mut times: Vec<Duration> = runs.iter().map(|stages| stages.of(stage)).collect();
        times.sort_unstable();
        times[times.len() / 2]
    };
    let shown: Vec<(Stage, Duration)> =
        Stage::ALL.into_iter().map(|stage| (stage, median(stage))).filter(|(_, time)| !time.is_zero()).collect();
    let longest = shown.iter().map(|(_, time)| *time).max().unwrap_or_default();
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let _ = writeln!(text, "{title}");
    for (stage, time) in &shown {
        let bar = "\u{2588}".repeat((time.as_secs_f64() / longest.as_secs_f64() * BAR as f64).ceil() as usize);
        let left =
            runs.last().map(|stages| stages.bytes(*stage)).filter(|bytes| *bytes > 0).map(size).unwrap_or_default();
        let _ = writeln!(text, "  {:<10}{:>9.2} ms {:>10}  {bar}", stage.name(), ms(*time), left);
    }
    let whole: Duration = shown.iter().map(|(_, time)| *time).sum();
    let _ = writeln!(text, "  {:<10}{:>9.2} ms", "together", ms(whole));
}

/// A number of bytes for people.
fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
