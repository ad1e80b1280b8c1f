//! Lines, what they leave out, and the writer.

use super::*;
use crate::base::Stage;

fn line<'a>(id: &'a str, path: &'a str, agent: &'a str) -> Line<'a> {
    Line {
        id,
        address: IpAddr::from([192, 0, 2, 7]),
        method: "GET",
        path,
        version: Version::HTTP_11,
        status: StatusCode::OK,
        bytes: 32_768,
        phase: "memory",
        time: Duration::from_micros(42),
        stages: None,
        agent: Some(agent),
        referrer: None,
    }
}

#[test]
fn a_json_line_is_json() {
    let (id, agent) = ("id", "Mozilla/5.0 \"x\\");
    let mut stages = Stages::default();
    stages.add(Stage::Source, Duration::from_micros(1500));
    stages.add(Stage::Decode, Duration::from_micros(20));
    let mut text = String::new();
    json(&mut text, &Line { stages: Some(&stages), ..line(id, "/demo/a\"b/v1/thumb.auto", agent) });
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["path"], "/demo/a\"b/v1/thumb.auto");
    assert_eq!(value["client"], "192.0.2.7");
    assert_eq!(value["status"], 200);
    assert_eq!(value["bytes"], 32_768);
    assert_eq!(value["ms"], 0.042);
    assert_eq!(value["stages"]["source"], 1.5);
    assert_eq!(value["stages"]["decode"], 0.02);
    assert_eq!(value["agent"], "Mozilla/5.0 \"x\\");
    assert!(text.ends_with("}\n") && text.matches('\n').count() == 1);
    let time = value["time"].as_str().unwrap();
    time::OffsetDateTime::parse(time, &time::format_description::well_known::Rfc3339).unwrap();
}

#[test]
fn a_text_line_is_of_the_combined_form() {
    let (id, agent) = ("id", "curl/8");
    let mut text = String::new();
    combined(&mut text, &line(id, "/demo/a/v1/thumb.auto", agent));
    assert!(text.starts_with("192.0.2.7 - - ["), "{text}");
    assert!(
        text.ends_with("] \"GET /demo/a/v1/thumb.auto HTTP/1.1\" 200 32768 \"-\" \"curl/8\" memory 0.042 id\n"),
        "{text}"
    );
}

#[test]
fn signatures_stay_out() {
    for (text, wanted) in [
        ("/demo/a/v1/thumb.auto", "/demo/a/v1/thumb.auto"),
        ("/s:k1:1700000000:AbC-_x/demo/a/v1/w_1.jpg", "/s:k1:1700000000:-/demo/a/v1/w_1.jpg"),
        ("/s%3Ak1%3A0%3AAbC/demo/a", "/s:-/demo/a"),
        ("/%73:k1:0:AbC/demo/a", "/s:-/demo/a"),
        ("/s:AbC/demo/a", "/s:-/demo/a"),
        ("s:k1:0:AbC", "s:k1:0:-"),
        ("the URL \"/s:k1:0:AbC/x\" is bad", "the URL \"/s:k1:0:-/x\" is bad"),
        ("/demo/yes:no/v1/x.jpg", "/demo/yes:no/v1/x.jpg"),
        ("/demo/K%C3%B6ln/v1/x.jpg", "/demo/K%C3%B6ln/v1/x.jpg"),
    ] {
        assert_eq!(redacted(text), wanted);
    }
}

#[test]
fn the_writer_writes_everything_before_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let settings = AccessLog { target: Some(AccessTarget::File(path.clone())), form: AccessForm::Json };
    let (log, writer) = Log::open(&settings).unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let (id, agent) = ("id", "a");
                for _ in 0..250 {
                    log.line(&line(id, "/demo/a/v1/x.jpg", agent));
                }
            });
        }
    });
    drop(writer);
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 1000);
    for line in text.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
}

#[test]
fn a_log_that_is_not_taken_away_drops_lines_and_stays_bounded() {
    let shared = Shared {
        form: AccessForm::Text,
        shards: Default::default(),
        writer: thread::current(),
        woken: AtomicBool::new(false),
        reopen: AtomicBool::new(false),
        dropped: Counter::noop(),
    };
    for _ in 0..3000 {
        shared.add(&[b'x'; 1000]);
    }
    let held = shared.shards.iter().map(|shard| shard.lock().len()).sum::<usize>();
    assert!(held > SHARD_BYTES_FULL && held <= SHARD_BYTES_MAX, "{held}");
}
