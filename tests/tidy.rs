//! Holds the shape of the source: who may import whom, which crate may be used where, how long a file may be. Reads `src/` as
//! text, so that an arrow that should not exist fails with a sentence that says why. The tables here are the ones that
//! ARCHITECTURE.md explains.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms, in the order in which data flows, and what each may import. `base` and `telemetry` are open to all but `base`.
const ROOMS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("telemetry", &[]),
    ("plan", &[]),
    ("pixels", &[]),
    ("object", &[]),
    ("net", &[]),
    ("broker", &[]),
    ("catalog", &[]),
    ("events", &["broker", "catalog"]),
    ("queue", &["broker", "catalog"]),
    ("popularity", &["catalog"]),
    ("source", &["object", "net"]),
    ("decode", &["pixels"]),
    ("encode", &["pixels"]),
    ("inspect", &["pixels", "decode"]),
    ("transform", &["plan", "pixels"]),
    ("render", &["plan", "pixels", "decode", "inspect", "transform", "encode"]),
    ("cache", &["plan", "object"]),
    // `serve` is the union of the rooms' errors, so it names those of `transform` and `encode` too; and it takes the small
    // picture that info.json is made of from one room to the other.
    (
        "serve",
        &[
            "plan",
            "pixels",
            "object",
            "source",
            "decode",
            "inspect",
            "transform",
            "encode",
            "render",
            "cache",
            "catalog",
            "broker",
        ],
    ),
    // A worker tells whose fault a failure is, so it names the errors of every room that `serve` unites.
    (
        "worker",
        &[
            "plan",
            "object",
            "source",
            "decode",
            "transform",
            "render",
            "cache",
            "serve",
            "catalog",
            "queue",
            "popularity",
        ],
    ),
    ("auth", &["catalog"]),
    ("ingest", &["plan", "object", "net", "decode", "inspect", "catalog", "queue"]),
    (
        "http",
        &[
            "plan",
            "object",
            "source",
            "render",
            "cache",
            "serve",
            "ingest",
            "catalog",
            "queue",
            "auth",
            "popularity",
            "broker",
            "events",
        ],
    ),
    ("config", ALL),
    ("app", ALL),
    ("cli", ALL),
    ("main", ALL),
    ("lib", ALL),
];

/// May import everything.
const ALL: &[&str] = &["*"];

/// Single files that may import more than their room, and why.
const IMPORTS_ALLOWED: &[(&str, &str, &str)] = &[
    ("http/problem.rs", "decode", "the one table from errors to status names every room's errors"),
    ("http/problem.rs", "transform", "the one table from errors to status names every room's errors"),
    ("http/problem.rs", "encode", "the one table from errors to status names every room's errors"),
    ("http/problem.rs", "net", "the one table from errors to status names every room's errors"),
];

/// Rooms that compute and never wait: no runtime, no files, no sockets, no environment.
const PURE: &[&str] = &["base", "plan", "pixels", "decode", "transform", "encode", "inspect"];

/// What a pure room must not name.
const IMPURE: &[&str] =
    &["tokio", "hyper", "std::fs", "std::net", "std::env", "std::process", "std::thread::sleep", "std::io::stdin"];

/// Crates that stay in their rooms.
const VENDORS: &[(&str, &[&str])] = &[
    ("axum", &["http"]),
    ("hyper", &["http", "net", "source"]),
    ("hyper_util", &["http", "net", "source", "app"]),
    ("hyper_rustls", &["net", "source", "telemetry"]),
    ("tokio_rustls", &["http", "net"]),
    ("rustls", &["http", "net", "source", "object", "telemetry", "app"]),
    ("aws_config", &["object"]),
    ("aws_sdk_s3", &["object"]),
    ("aws_smithy_http_client", &["object"]),
    ("aws_smithy_types", &["object"]),
    ("moka", &["cache"]),
    ("sqlx", &["catalog"]),
    ("async_nats", &["broker"]),
    ("governor", &["http", "serve"]),
    ("utoipa", &["http"]),
    ("utoipa_axum", &["http"]),
    ("getrandom", &["auth"]),
    ("image", &["decode", "encode"]),
    ("gif", &["decode", "encode"]),
    ("weezl", &["decode"]),
    ("png", &["decode", "encode"]),
    ("oxipng", &["encode"]),
    ("zune_core", &["decode"]),
    ("zune_jpeg", &["decode"]),
    ("tiff", &["decode"]),
    ("turbojpeg", &["decode", "encode"]),
    ("webp", &["decode", "encode"]),
    ("libwebp_sys", &["decode", "encode"]),
    ("rav1d", &["decode"]),
    ("resvg", &["decode"]),
    ("ravif", &["encode"]),
    ("libaom_sys", &["encode"]),
    ("avif_serialize", &["encode"]),
    ("color_quant", &["encode"]),
    ("fast_image_resize", &["transform"]),
    ("moxcms", &["decode", "transform", "inspect"]),
    ("blurhash", &["inspect"]),
    ("thumbhash", &["inspect"]),
    ("metrics_exporter_prometheus", &["telemetry"]),
    ("opentelemetry", &["telemetry"]),
    ("opentelemetry_sdk", &["telemetry"]),
    ("opentelemetry_otlp", &["telemetry"]),
    ("tracing_opentelemetry", &["telemetry"]),
    ("tracing_subscriber", &["telemetry", "config"]),
    ("figment", &["config"]),
    ("toml", &["config", "cli"]),
    ("clap", &["cli", "main"]),
    ("anyhow", &["main", "cli", "app"]),
    ("libmimalloc_sys", &["main"]),
    ("mimalloc", &["main"]),
];

/// Lines of a file before its tests: about 400.
const LINES_MAX: usize = 420;

/// Longer files, how long each may be, and why it is one file.
const LONGER: &[(&str, usize, &str)] = &[
    (
        "http/log.rs",
        470,
        "the writer, its buffers and both forms of a line: what is cut out of lines stands beside what is put in",
    ),
    (
        "http/watch.rs",
        430,
        "the marks, the stream that leaves them and the one timer that reads them are one mechanism",
    ),
    (
        "http/problem.rs",
        620,
        "the one table from errors to status: what every room and every listener may refuse stands in it",
    ),
];

/// Files that may say `unsafe`, and what for.
const UNSAFE: &[(&str, &str)] = &[
    ("decode/jpeg/turbo.rs", "libjpeg-turbo's own interface, for scaled and partial decoding"),
    ("decode/jpeg/baseline/mod.rs", "loops compiled once more for AVX2 and BMI2, which the machine is asked for first"),
    ("decode/jpeg/baseline/ahead.rs", "the same"),
    ("decode/jpeg/baseline/light.rs", "the same for AVX2 alone"),
    ("decode/jpeg/baseline/vector.rs", "AVX2's own instructions, of which the compiler does not find all"),
    ("decode/webp.rs", "libwebp's own interface, for animations"),
    ("decode/avif/av1.rs", "rav1d's interface, which is dav1d's C interface"),
    ("encode/avif/aom.rs", "libaom's own interface: there is no safe one"),
    (
        "encode/jpeg/baseline.rs",
        "the encoder compiled once more for AVX2, BMI and LZCNT, which the machine is asked for first",
    ),
    ("encode/jpeg/lanes.rs", "AVX2's own instructions, of which the compiler does not find all"),
    ("encode/planes/dispatch.rs", "a call of what is compiled for AVX2, where the machine has it"),
    ("encode/planes/words.rs", "AVX2's own instructions, of which the compiler does not find all"),
    ("encode/vp8/avx2.rs", "AVX2's own instructions, of which the compiler does not find all"),
    ("encode/vp8/dispatch.rs", "calls what is compiled for vectors that it has asked for"),
    ("encode/webp.rs", "libwebp's own interface, for its progress hook and its settings"),
    ("main.rs", "mimalloc's own interface, for an option"),
    ("transform/cpu/lanes.rs", "loops compiled once more for AVX2, which the machine is asked for first"),
];

/// How far above a `panic!` its function may document it.
const PANICS_LINES: usize = 16;

/// Words that name no thing.
const EMPTY_NAMES: &[&str] = &["util", "utils", "helper", "helpers", "manager", "common", "misc", "shared", "types"];

/// A source file.
struct Source {
    /// From `src/` on.
    path: String,
    /// The room: the first folder, or the file's stem.
    room: String,
    /// As written.
    text: String,
    /// Without tests; comments and the insides of texts blanked, so that line numbers and columns stay.
    code: String,
    /// Without tests, as written.
    own: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    paths.sort();
    let read = |path: &PathBuf| {
        let relative = path.strip_prefix(&root).expect("it is under src").to_str().expect("names are ASCII").to_owned();
        let room = relative.split('/').next().expect("a path has a first part").trim_end_matches(".rs").to_owned();
        let text = fs::read_to_string(path).expect("sources are readable");
        let (code, own) = without_tests(&blanked(&text), &text);
        Source { path: relative, room, text, code, own }
    };
    // A file of tests alone is held to nothing but compiling.
    let tests: Vec<PathBuf> = paths.iter().flat_map(|path| test_files(path)).collect();
    paths.iter().filter(|path| !tests.contains(path)).map(read).collect()
}

/// The files that a file declares as modules for tests alone.
fn test_files(path: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(path).expect("sources are readable");
    let folder = path.parent().expect("a file is in a folder");
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let beside = if ["mod", "lib", "main"].contains(&stem) { folder.to_owned() } else { folder.join(stem) };
    let mut files = Vec::new();
    for after in text.split("#[cfg(test)]").skip(1) {
        let item = after.split(['{', ';']).next().unwrap_or_default();
        if let Some(name) = item.split("#[path = \"").nth(1).and_then(|rest| rest.split('"').next()) {
            files.push(folder.join(name));
        } else if let Some(name) = item.split_whitespace().skip_while(|word| *word != "mod").nth(1) {
            files.push(beside.join(format!("{name}.rs")));
            files.push(beside.join(name).join("mod.rs"));
        }
    }
    files
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("src is readable") {
        let path = entry.expect("src is readable").path();
        if path.is_dir() {
            walk(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// Blanks comments and the insides of string and character literals; every byte but a newline becomes a space.
fn blanked(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    let blank = |out: &mut Vec<u8>, from: usize, to: usize| {
        for byte in &mut out[from..to] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
    };
    while at < bytes.len() {
        let rest = &bytes[at..];
        let word_before = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
        if rest.starts_with(b"//") {
            let end = rest.iter().position(|b| *b == b'\n').map_or(bytes.len(), |n| at + n);
            blank(&mut out, at, end);
            at = end;
        } else if rest.starts_with(b"/*") {
            let end = find(bytes, at + 2, b"*/").map_or(bytes.len(), |n| n + 2);
            blank(&mut out, at, end);
            at = end;
        } else if !word_before && let Some((quote, hashes)) = raw_string(rest) {
            let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
            let end = find(bytes, at + quote + 1, &close).unwrap_or(bytes.len());
            blank(&mut out, at + quote + 1, end);
            at = end + close.len();
        } else if rest[0] == b'"' {
            let end = string_end(bytes, at + 1, b'"');
            blank(&mut out, at + 1, end);
            at = end + 1;
        } else if rest[0] == b'\'' && is_char_literal(rest) {
            let end = string_end(bytes, at + 1, b'\'');
            blank(&mut out, at + 1, end);
            at = end + 1;
        } else {
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// For `r"`, `r#"`, `br"`: where the quote stands, and how many hashes precede it.
fn raw_string(rest: &[u8]) -> Option<(usize, usize)> {
    let start = usize::from(rest[0] == b'b');
    if rest.get(start) != Some(&b'r') {
        return None;
    }
    let hashes = rest[start + 1..].iter().take_while(|b| **b == b'#').count();
    (rest.get(start + 1 + hashes) == Some(&b'"')).then_some((start + 1 + hashes, hashes))
}

/// A quote that begins a character, not a lifetime.
fn is_char_literal(rest: &[u8]) -> bool {
    match rest.get(1) {
        Some(b'\\') => true,
        Some(byte) if byte.is_ascii() => rest.get(2) == Some(&b'\''),
        Some(_) => rest.iter().skip(2).take(4).any(|b| *b == b'\''),
        None => false,
    }
}

fn string_end(bytes: &[u8], mut at: usize, quote: u8) -> usize {
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at.min(bytes.len())
}

fn find(bytes: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    (from..bytes.len().saturating_sub(what.len() - 1)).find(|at| bytes[*at..].starts_with(what))
}

/// Blanks each item under `#[cfg(test)]`, in the blanked text and in the text as written.
fn without_tests(code: &str, text: &str) -> (String, String) {
    let (mut code, mut own) = (code.as_bytes().to_vec(), text.as_bytes().to_vec());
    while let Some(start) = find(&code, 0, b"#[cfg(test)]") {
        let mut depth = 0usize;
        let mut end = start + b"#[cfg(test)]".len();
        while end < code.len() {
            match code[end] {
                b'{' => depth += 1,
                b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            let closed = depth == 0 && matches!(code[end], b'}' | b';');
            end += 1;
            if closed {
                break;
            }
        }
        for bytes in [&mut code, &mut own] {
            bytes[start..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        }
    }
    (String::from_utf8_lossy(&code).into_owned(), String::from_utf8_lossy(&own).into_owned())
}

/// Where a path or word stands by itself, as line numbers. `::` or a dot before it makes it part of something else.
fn uses(code: &str, word: &str) -> Vec<usize> {
    let bytes = code.as_bytes();
    let part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut lines = Vec::new();
    let mut from = 0;
    while let Some(at) = find(bytes, from, word.as_bytes()) {
        let before = at.checked_sub(1).map(|n| bytes[n]);
        let after = bytes.get(at + word.len()).copied();
        if !before.is_some_and(|b| part(b) || b == b':' || b == b'.') && !after.is_some_and(part) {
            lines.push(line_of(code, at));
        }
        from = at + word.len();
    }
    lines
}

fn line_of(code: &str, at: usize) -> usize {
    code.as_bytes()[..at].iter().filter(|b| **b == b'\n').count() + 1
}

/// The rooms that a file imports by `crate::…`, with the line of each: `crate::room::x`, `crate::{room, room::{…}}`, and `super`
/// where that is the crate's root.
fn imports(source: &Source) -> Vec<(String, usize)> {
    let code = &source.code;
    let mut found = Vec::new();
    let mut starts = vec!["crate::"];
    if source.path.matches('/').count() == 1 {
        starts.push(if source.path.ends_with("/mod.rs") { "super::" } else { "super::super::" });
    }
    for start in starts {
        let mut from = 0;
        while let Some(at) = find(code.as_bytes(), from, start.as_bytes()) {
            from = at + start.len();
            let inside = at > 0 && matches!(code.as_bytes()[at - 1], b':' | b'_' | b'a'..=b'z');
            if inside {
                continue;
            }
            let line = line_of(code, at);
            for name in first_segments(&code[from..]) {
                if ROOMS.iter().any(|(room, _)| *room == name) && name != source.room {
                    found.push((name, line));
                }
            }
        }
    }
    found
}

/// The first segments of a path or of each path in a brace group.
fn first_segments(rest: &str) -> Vec<String> {
    let word = |text: &str| -> String { text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
    let Some(group) = rest.strip_prefix('{') else { return vec![word(rest)] };
    let (mut names, mut depth, mut fresh) = (Vec::new(), 0, true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            c if fresh && (c.is_alphabetic() || c == '_') => {
                names.push(word(&group[at..]));
                fresh = false;
            }
            _ => {}
        }
    }
    names
}

/// The lines around one, as written.
fn near(text: &str, line: usize, above: usize, below: usize) -> String {
    let first = line.saturating_sub(above + 1);
    text.lines().skip(first).take(line - first + below).collect::<Vec<_>>().join("\n")
}

fn report(problems: &[String]) {
    let mut text = String::new();
    for problem in problems {
        let _ = writeln!(text, "  {problem}");
    }
    assert!(problems.is_empty(), "\n{text}");
}

#[test]
fn rooms_import_only_what_the_table_says() {
    let mut problems = Vec::new();
    for source in sources() {
        let Some((room, allowed)) = ROOMS.iter().find(|(room, _)| *room == source.room) else {
            problems.push(format!(
                "src/{} is in no room of the table in tests/tidy.rs; give the room its row",
                source.path
            ));
            continue;
        };
        for (imported, line) in imports(&source) {
            let open = *allowed == ALL
                || allowed.contains(&imported.as_str())
                || (*room != "base" && imported == "base")
                || (!["base", "telemetry"].contains(room) && imported == "telemetry")
                || IMPORTS_ALLOWED.iter().any(|(path, to, _)| *path == source.path && *to == imported);
            if !open {
                let may = if allowed.is_empty() {
                    "nothing beside base and telemetry".to_owned()
                } else {
                    allowed.join(", ")
                };
                problems.push(format!(
                    "src/{}:{line} imports `{imported}`, but `{room}` may import {may}: the arrow would make `{room}` know what it must not depend on",
                    source.path
                ));
            }
        }
    }
    report(&problems);
}

#[test]
fn pure_rooms_do_no_io() {
    let mut problems = Vec::new();
    for source in sources().iter().filter(|source| PURE.contains(&source.room.as_str())) {
        for word in IMPURE {
            for line in uses(&source.code, word) {
                problems.push(format!(
                    "src/{}:{line} names `{word}`, but `{}` is pure: it computes from what it is given, so that it can be tested and fuzzed alone and never blocks the runtime",
                    source.path, source.room
                ));
            }
        }
        if source.room == "plan" {
            for clock in ["SystemTime::now", "Instant::now"] {
                for line in uses(&source.code, clock) {
                    problems.push(format!("src/{}:{line} asks the clock; `plan` takes the time as an argument, so that one URL always means one plan", source.path));
                }
            }
        }
    }
    report(&problems);
}

#[test]
fn vendors_stay_in_their_rooms() {
    let all = sources();
    let mut problems = Vec::new();
    for source in &all {
        for (vendor, rooms) in VENDORS {
            // A room's own module of the same name hides the crate.
            let folder = format!("{}/{vendor}", source.room);
            let own = all
                .iter()
                .any(|other| other.path == format!("{folder}.rs") || other.path == format!("{folder}/mod.rs"));
            let lines = || {
                let paths = uses(&source.code, &format!("{vendor}::"));
                let bare = uses(&source.code, vendor).into_iter().filter(|line| {
                    let line = source.code.lines().nth(line - 1).unwrap_or_default().trim_start();
                    line.starts_with(&format!("use {vendor}"))
                });
                paths.into_iter().chain(bare).collect::<std::collections::BTreeSet<_>>()
            };
            if rooms.contains(&source.room.as_str()) || own {
                continue;
            }
            for line in lines() {
                problems.push(format!(
                    "src/{}:{line} uses the crate `{vendor}`, which stays in {}: what knows a vendor must be one room, so that it can be exchanged there",
                    source.path,
                    rooms.join(", ")
                ));
            }
        }
    }
    report(&problems);
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let mut problems = Vec::new();
    for source in sources() {
        let lines = source.own.trim_end().lines().count();
        let longer = LONGER.iter().find(|(path, _, _)| *path == source.path);
        let most = longer.map_or(LINES_MAX, |(_, most, _)| *most);
        if lines > most {
            problems.push(format!(
                "src/{} has {lines} lines before its tests, more than {most}: split it by what it does, or give it a row with a reason in LONGER",
                source.path
            ));
        }
        if longer.is_some() && lines <= LINES_MAX {
            problems.push(format!("src/{} is short enough now: take its row out of LONGER", source.path));
        }
        if !source.text.starts_with("//!") && !source.text.starts_with("#![") {
            problems.push(format!("src/{} does not begin with `//!`: a file says first what it is for", source.path));
        }
        if source.path.ends_with("/mod.rs")
            && source.path.matches('/').count() == 1
            && !source.text.contains("Always true:")
        {
            problems.push(format!("src/{} names nothing that is \"Always true:\" of its room", source.path));
        }
        let stem = source.path.trim_end_matches("/mod.rs").trim_end_matches(".rs");
        let name = stem.rsplit('/').next().unwrap_or_default();
        if EMPTY_NAMES.contains(&name) {
            problems.push(format!("src/{} has a name that says nothing: name it after what it holds", source.path));
        }
    }
    for (path, _, _) in LONGER {
        if !sources().iter().any(|source| source.path == *path) {
            problems.push(format!("LONGER has a row for src/{path}, which is not there"));
        }
    }
    report(&problems);
}

#[test]
fn nothing_is_left_unfinished_or_loud() {
    let rules: &[(&str, &[&str], &str)] = &[
        ("todo!", &[], "a stub answers nobody; finish it"),
        ("unimplemented!", &[], "a stub answers nobody; finish it"),
        ("dbg!", &[], "it writes to the terminal of whoever runs this"),
        ("println!", &["cli", "main", "app"], "standard output belongs to the access log and to commands; use tracing"),
        ("print!", &["cli", "main", "app"], "standard output belongs to the access log and to commands; use tracing"),
        ("eprintln!", &["cli", "main", "app"], "use tracing, so that it has a level and a format"),
        (
            "std::env::var",
            &["cli", "main"],
            "the environment is read once, at the start, into config::Inputs, so that tests need none",
        ),
        (
            "std::env::vars",
            &["cli", "main"],
            "the environment is read once, at the start, into config::Inputs, so that tests need none",
        ),
        (
            "env::var",
            &["cli", "main"],
            "the environment is read once, at the start, into config::Inputs, so that tests need none",
        ),
        // A command that asks a server has threads of its own and no runtime.
        ("std::thread::sleep", &["cli"], "async rooms wait with tokio::time, pixel rooms compute"),
        ("thread::sleep", &["cli"], "async rooms wait with tokio::time, pixel rooms compute"),
        ("panic!", &[], "no input panics; a broken invariant is said with `expect`, a caller's duty under `# Panics`"),
    ];
    let mut problems = Vec::new();
    for source in sources() {
        for (word, rooms, why) in rules {
            if !rooms.contains(&source.room.as_str()) {
                for line in uses(&source.code, word) {
                    if *word != "panic!" || !near(&source.text, line, PANICS_LINES, 0).contains("# Panics") {
                        problems.push(format!("src/{}:{line} says `{word}`: {why}", source.path));
                    }
                }
            }
        }
        for (at, line) in source.code.lines().enumerate() {
            if line.contains(".unwrap()") || line.contains(".unwrap_err()") {
                problems.push(format!(
                    "src/{}:{} unwraps outside of tests: answer the error, or state with `expect` why there is none",
                    source.path,
                    at + 1
                ));
            }
        }
    }
    report(&problems);
}

#[test]
fn unsafe_is_rare_and_explained() {
    let mut problems = Vec::new();
    for source in sources() {
        let lines = uses(&source.code, "unsafe");
        let row = UNSAFE.iter().any(|(path, _)| *path == source.path);
        if row && lines.is_empty() {
            problems.push(format!("src/{} has no `unsafe` any more: take its row out of UNSAFE", source.path));
        }
        if !row && !lines.is_empty() {
            problems.push(format!(
                "src/{}:{} says `unsafe`: it is denied but in the files of the table UNSAFE, each with a reason",
                source.path, lines[0]
            ));
        }
        for line in lines {
            // A function's own comment may stand in its body, where it calls what is unsafe.
            let is_function = source.code.lines().nth(line - 1).is_some_and(|line| line.contains("fn "));
            let around = near(&source.text, line, 8, if is_function { 6 } else { 0 });
            if !around.contains("SAFETY") && !around.contains("# Safety") {
                problems.push(format!(
                    "src/{}:{line} has no SAFETY comment just above: say why this is sound",
                    source.path
                ));
            }
        }
    }
    report(&problems);
}

#[test]
fn metrics_are_declared_once_and_used() {
    let all = sources();
    let table =
        all.iter().find(|source| source.path == "telemetry/metrics.rs").expect("telemetry declares the metrics");
    let declared: Vec<(String, String)> = table
        .own
        .lines()
        .filter_map(|line| {
            let (head, help) = line.trim().split_once(" = \"fovea_")?;
            let (name, _) = help.split_once('"')?;
            Some((head.split(' ').nth(1)?.to_owned(), format!("fovea_{name}")))
        })
        .collect();
    assert!(declared.len() > 20, "the table of metrics was found");
    let mut problems = Vec::new();
    let mut used = std::collections::BTreeSet::new();
    for source in &all {
        let is_table = source.path == "telemetry/metrics.rs";
        for (at, line) in source.own.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for (name, text) in &declared {
                let by_text = !is_table && line.contains(&format!("\"{text}\""));
                if by_text || line.contains(&format!("names::{name})")) || line.contains(&format!("names::{name},")) {
                    used.insert(name);
                }
            }
            if is_table {
                continue;
            }
            for text in line.split("\"fovea_").skip(1) {
                let text = format!("fovea_{}", text.split('"').next().unwrap_or_default());
                if !declared.iter().any(|(_, declared)| *declared == text) {
                    problems.push(format!(
                        "src/{}:{} counts `{text}`, which telemetry/metrics.rs does not declare: without a row it has no help and is in no list",
                        source.path,
                        at + 1
                    ));
                }
            }
            if line.contains("describe_counter!")
                || line.contains("describe_gauge!")
                || line.contains("describe_histogram!")
            {
                problems.push(format!(
                    "src/{}:{} describes a metric: its help stands in telemetry/metrics.rs",
                    source.path,
                    at + 1
                ));
            }
        }
    }
    for (name, text) in declared.iter().filter(|(name, _)| !used.contains(name)) {
        problems.push(format!("telemetry/metrics.rs declares {name} (`{text}`), which nothing counts"));
    }
    report(&problems);
}

#[test]
fn problems_map_every_error_by_name() {
    let mut problems = Vec::new();
    for source in sources().iter().filter(|source| source.path == "http/problem.rs") {
        for (at, line) in source.code.lines().enumerate() {
            if line.trim_start().starts_with("_ =>") {
                problems.push(format!(
                    "src/http/problem.rs:{} has a wildcard: an error that is added must be given its status by name",
                    at + 1
                ));
            }
        }
    }
    report(&problems);
}

/// The reader itself, so that the tests above cannot pass by seeing nothing.
#[test]
fn the_reader_sees() {
    let text = "use crate::{plan::{self, Bucket}, render};\n// use crate::cache;\nlet a = \"crate::serve\"; let c = '\"'; crate::source::x();\n\
                #[cfg(test)]\nmod tests {\n    use crate::http::x;\n}\nlet b: &'static str = r#\"todo!()\"#; tokio::spawn(b);";
    let (code, own) = without_tests(&blanked(text), text);
    assert_eq!(code.lines().count(), text.lines().count());
    let source = Source { path: "decode/jpeg.rs".into(), room: "decode".into(), text: text.into(), code, own };
    let found: Vec<String> = imports(&source).into_iter().map(|(room, line)| format!("{room}:{line}")).collect();
    assert_eq!(found, ["plan:1", "render:1", "source:3"]);
    assert_eq!(uses(&source.code, "tokio"), [8]);
    assert!(uses(&source.code, "todo!").is_empty());
    assert!(sources().len() > 20, "the sources were found");
}
