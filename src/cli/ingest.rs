//! `fovea ingest`: puts files into a category by a running server's API, several at once.
//!
//! What the server has already (the same content under the same id) is passed over, so a run that was broken off is simply
//! repeated.

use std::fs::{self, File};
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::Choose;
use super::client::{Answer, Api, Sent};
use crate::config::Config;

/// What stays as it is in a path.
const SEGMENTS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// A step of an exchange.
const TIMEOUT: Duration = Duration::from_secs(120);
/// How often a file is tried that the server has no room for, or that met a failure that may pass.
const TRIES: usize = 20;
/// How long a server that says nothing of it is left alone before another try.
const REST_S: u64 = 2;
/// How often a job is looked at that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// What makes a path a pattern.
const WILD: [char; 3] = ['*', '?', '['];
/// How deep folders are walked.
const DEPTH_MAX: usize = 32;

/// The arguments of `fovea ingest`.
#[derive(Args)]
pub(super) struct Ingest {
    #[command(flatten)]
    api: Api,
    /// Files, folders (walked whole), or patterns: `*`, `?`, `[a-z]`, and `**` for any number of folders.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// The category.
    #[arg(long)]
    category: String,
    /// What every id begins with, such as `shoes/`.
    #[arg(long, default_value = "")]
    prefix: String,
    /// Variants to make beside the category's list: w_400.webp,thumb.auto
    #[arg(long)]
    variants: Option<String>,
    /// Files on their way at once.
    #[arg(long, default_value_t = 4)]
    parallel: usize,
    /// Wait until every job has ended; one that failed makes the command fail.
    #[arg(long)]
    wait: bool,
}

/// A file, and the id that it gets.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Found {
    id: String,
    path: PathBuf,
}

/// What became of a file.
enum Done {
    /// The server has taken it.
    Sent,
    /// It was there before.
    Passed,
}

impl Ingest {
    /// Puts them in, and says how that went.
    pub fn run(&self, choose: &Choose) -> Result<ExitCode> {
        let config = choose.load(&[])?;
        let mut files = Vec::new();
        for path in &self.paths {
            find(path, &self.prefix, &mut files)?;
        }
        files.sort();
        files.dedup();
        ensure!(!files.is_empty(), "there is no file at these paths");
        let progress = Progress::new(files.len());
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..self.parallel.clamp(1, 64) {
                scope.spawn(|| {
                    while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                        progress.note(file, self.one(&config, file));
                    }
                });
            }
        });
        let failed = progress.end();
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn one(&self, config: &Config, file: &Found) -> Result<Done> {
        let place = format!("/v1/assets/{}/{}", self.category, utf8_percent_encode(&file.id, SEGMENTS));
        if let Some(job) = self.there(config, &place, &file.path)? {
            // It may be that who sent it did not wait, or not to the end.
            if self.wait {
                self.wait_for(config, &job)?;
            }
            return Ok(Done::Passed);
        }
        let variants = self
            .variants
            .as_deref()
            .map_or(String::new(), |variants| format!("?variants={}", utf8_percent_encode(variants, NON_ALPHANUMERIC)));
        let path = format!("{place}{variants}");
        let answer = patiently(|| self.api.ask(config, "PUT", &path, Sent::File(&file.path), TIMEOUT))?.json()?;
        let job = answer["job_id"].as_str().map(str::to_owned);
        if let (true, Some(job)) = (self.wait, &job) {
            self.wait_for(config, job)?;
        }
        Ok(Done::Sent)
    }

    /// Where the server has this content under this id: the job that took care of it.
    fn there(&self, config: &Config, place: &str, path: &Path) -> Result<Option<String>> {
        let answer = patiently(|| self.api.ask(config, "GET", place, Sent::Text(""), TIMEOUT))?;
        if answer.status == 404 {
            return Ok(None);
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(File::open(path).with_context(|| path.display().to_string())?)?;
        let digest = hasher.finalize().to_hex().to_string();
        let json = answer.json()?;
        let same = json["versions"].as_array().into_iter().flatten().find(|version| {
            let sound = !matches!(version["state"].as_str(), Some("broken" | "deleting" | "deleted"));
            sound && version["blake3"].as_str() == Some(&digest)
        });
        Ok(same.map(|version| version["job_id"].as_str().unwrap_or_default().to_owned()))
    }

    fn wait_for(&self, config: &Config, job: &str) -> Result<()> {
        let path = format!("/v1/jobs/{job}");
        loop {
            let answer = patiently(|| self.api.ask(config, "GET", &path, Sent::Text(""), TIMEOUT))?;
            // A job that ended long ago is told of no more.
            if answer.status == 404 {
                return Ok(());
            }
            let found = answer.json()?;
            match found["status"].as_str() {
                Some("completed") => return Ok(()),
                Some(status @ ("failed" | "cancelled")) => {
                    bail!("its job {job} {status}: {}", found["error"].as_str().unwrap_or("see fovea jobs"))
                }
                _ => std::thread::sleep(LOOK_EVERY),
            }
        }
    }
}

/// Asks again while the server has no room or fails in a way that may pass.
fn patiently(ask: impl Fn() -> Result<Answer>) -> Result<Answer> {
    let mut tries = 0;
    loop {
        tries += 1;
        let answer = ask();
        let rest_s = match &answer {
            Ok(answer) if matches!(answer.status, 429 | 502..=504) => answer.retry_after_s.unwrap_or(REST_S),
            Ok(_) => return answer,
            Err(_) => REST_S,
        };
        if tries == TRIES {
            return answer;
        }
        std::thread::sleep(Duration::from_secs(rest_s));
    }
}

/// The files at a path: itself, all below it, or those that a pattern names. A pattern's ids are the paths below the folder that it
/// begins in.
fn find(path: &Path, prefix: &str, files: &mut Vec<Found>) -> Result<()> {
    let text = path.to_str().unwrap_or_default();
    if !path.exists() && text.contains(WILD) {
        let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        let plain = parts.iter().take_while(|part| !part.contains(WILD)).count();
        let root = if text.starts_with('/') { "/" } else { "./" };
        let base = parts[..plain].iter().fold(PathBuf::from(root), |base, part| base.join(part));
        return glob(&base, &parts[plain..], prefix, 0, files);
    }
    let known = fs::metadata(path).with_context(|| path.display().to_string())?;
    if known.is_dir() {
        walk(path, prefix, 0, files)
    } else {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        files.push(Found { id: format!("{prefix}{name}"), path: path.to_owned() });
        Ok(())
    }
}

/// The files below a folder whose paths in it are of a pattern's parts; `**` is any number of folders.
fn glob(folder: &Path, parts: &[&str], prefix: &str, depth: usize, files: &mut Vec<Found>) -> Result<()> {
    ensure!(depth < DEPTH_MAX, "{} is more than {DEPTH_MAX} folders deep", folder.display());
    let Some((part, rest)) = parts.split_first() else { return Ok(()) };
    if *part == "**" {
        glob(folder, rest, prefix, depth, files)?;
    }
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
        let of_part = *part == "**" || matches(part.as_bytes(), name.as_bytes());
        if entry.path().is_dir() {
            let below = if *part == "**" { parts } else { rest };
            if of_part && !below.is_empty() {
                glob(&entry.path(), below, &format!("{prefix}{name}/"), depth + 1, files)?;
            }
        } else if of_part && rest.is_empty() {
            files.push(Found { id: format!("{prefix}{name}"), path: entry.path() });
        }
    }
    Ok(())
}

/// All files below a folder, hidden ones left out; their ids are their paths in it.
fn walk(folder: &Path, prefix: &str, depth: usize, files: &mut Vec<Found>) -> Result<()> {
    ensure!(depth < DEPTH_MAX, "{} is more than {DEPTH_MAX} folders deep", folder.display());
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(&entry.path(), &format!("{prefix}{name}/"), depth + 1, files)?;
        } else if kind.is_file() {
            files.push(Found { id: format!("{prefix}{name}"), path: entry.path() });
        }
    }
    Ok(())
}

/// Whether a name is of a pattern: `*` is any text, `?` any one byte, `[a-z]` one of these, `[!a-z]` one of the others.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => (0..=name.len()).any(|at| matches(rest, &name[at..])),
        Some((b'?', rest)) => !name.is_empty() && matches(rest, &name[1..]),
        Some((b'[', rest)) if rest.contains(&b']') => {
            let end = rest.iter().position(|byte| *byte == b']').unwrap_or_default();
            let (set, rest) = (&rest[..end], &rest[end + 1..]);
            let (no, set) = set.strip_prefix(b"!").map_or((false, set), |set| (true, set));
            name.split_first().is_some_and(|(byte, name)| one_of(set, *byte) != no && matches(rest, name))
        }
        Some((byte, rest)) => name.first() == Some(byte) && matches(rest, &name[1..]),
    }
}

/// Whether a byte is one of a set: `abc`, `a-z`.
fn one_of(set: &[u8], byte: u8) -> bool {
    match set {
        [from, b'-', to, rest @ ..] => (*from..=*to).contains(&byte) || one_of(rest, byte),
        [one, rest @ ..] => *one == byte || one_of(rest, byte),
        [] => false,
    }
}

/// How far it is, on standard error: a line that is rewritten on a terminal, a line a failure elsewhere.
struct Progress {
    begun: Instant,
    all: usize,
    sent: AtomicUsize,
    passed: AtomicUsize,
    failed: AtomicUsize,
    shown: bool,
}

impl Progress {
    fn new(all: usize) -> Self {
        let zero = AtomicUsize::default;
        let shown = std::io::stderr().is_terminal();
        Self { begun: Instant::now(), all, sent: zero(), passed: zero(), failed: zero(), shown }
    }

    fn note(&self, file: &Found, done: Result<Done>) {
        let mut text = String::new();
        match done {
            Ok(Done::Sent) => drop(self.sent.fetch_add(1, Ordering::Relaxed)),
            Ok(Done::Passed) => drop(self.passed.fetch_add(1, Ordering::Relaxed)),
            Err(error) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                text = format!("{}{}: {error:#}\n", if self.shown { "\r\x1b[K" } else { "" }, file.path.display());
            }
        }
        if self.shown {
            let counts = [&self.sent, &self.passed, &self.failed].map(|count| count.load(Ordering::Relaxed));
            let done: usize = counts.iter().sum();
            let bar = "#".repeat(done * 30 / self.all);
            text += &format!("\r\x1b[K[{bar:<30}] {done}/{}, {} failed", self.all, counts[2]);
        }
        // Nobody may be reading; that is no reason to stop.
        drop(std::io::stderr().write_all(text.as_bytes()));
    }

    /// Says how it went; answers how many failed.
    fn end(&self) -> usize {
        let [sent, passed, failed] =
            [&self.sent, &self.passed, &self.failed].map(|count| count.load(Ordering::Relaxed));
        let line = if self.shown { "\r\x1b[K" } else { "" };
        let seconds = self.begun.elapsed().as_secs_f64();
        drop(std::io::stderr().write_all(line.as_bytes()));
        println!("{sent} taken, {passed} there before, {failed} failed, in {seconds:.1} s");
        failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, wanted) in [
            ("*.jpg", "a.jpg", true),
            ("*.jpg", "a.jpeg", false),
            ("a?c*", "abcdef", true),
            ("a?c", "ac", false),
            ("*", "", true),
            ("**x*", "axb", true),
            ("[a-c]?.[jp]*", "b1.jpg", true),
            ("[!a-c]*", "b", false),
            ("[!a-c]*", "d", true),
            ("[", "[", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), wanted, "{pattern} {name}");
        }
    }

    #[test]
    fn folders_are_walked_and_ids_are_paths_in_them() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("shoes/red")).unwrap();
        for name in ["a.jpg", "shoes/b.png", "shoes/red/c.webp", ".hidden", "shoes/.fovea"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let ids = |path: &Path| {
            let mut files = Vec::new();
            find(path, "p/", &mut files).unwrap();
            files.sort();
            files.into_iter().map(|file| file.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(folder.path()), ["p/a.jpg", "p/shoes/b.png", "p/shoes/red/c.webp"]);
        assert_eq!(ids(&folder.path().join("shoes/*.png")), ["p/b.png"]);
        assert_eq!(ids(&folder.path().join("a.jpg")), ["p/a.jpg"]);
        assert_eq!(ids(&folder.path().join("sh*/*/c.we??")), ["p/shoes/red/c.webp"]);
        assert_eq!(ids(&folder.path().join("**/*.[jw]*")), ["p/a.jpg", "p/shoes/red/c.webp"]);
        assert_eq!(ids(&folder.path().join("shoes/**")), ["p/b.png", "p/red/c.webp"]);
        assert!(find(&folder.path().join("none"), "", &mut Vec::new()).is_err());
    }
}
