//! The command, as a person or a container runs it: arguments in, text and an exit code out.

use std::path::Path;
use std::process::{Command, Output};

/// Runs the built command in a folder, with nothing of the surrounding environment.
fn fovea(folder: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_fovea"))
        .current_dir(folder)
        .env_clear()
        .envs(environment.iter().copied())
        .args(arguments)
        .output()
        .expect("the command runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the command writes UTF-8");
    (status.code().expect("it was not killed"), text(stdout), text(stderr))
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder can be made")
}

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/samples");

#[test]
fn every_wrong_key_is_named_at_once_and_no_secret_is_shown() {
    let folder = folder();
    std::fs::write(folder.path().join("fovea.toml"), "[http]\nlisten = \"nowhere\"\nthreds = 2\n").unwrap();
    let wrong = [("FOVEA_MEMORY__WORK_BYTES", "much"), ("FOVEA_KEYS__K1", "hex:sesame")];
    let (code, out, error) = fovea(folder.path(), &wrong, &["check-config", "--config", "fovea.toml"]);
    assert_eq!((code, out.as_str()), (1, ""));
    for part in ["http.listen", "http.threds", "did you mean `threads`", "FOVEA_MEMORY__WORK_BYTES", "fovea.toml"] {
        assert!(error.contains(part), "no {part} in {error}");
    }
    assert!(!error.contains("sesame"), "{error}");

    let right = [("FOVEA_KEYS__K1", "sesame"), ("FOVEA_API__TOKEN", "sesame")];
    let (code, out, _) = fovea(folder.path(), &right, &["check-config", "--print", "--set", "http.threads=3"]);
    assert_eq!(code, 0);
    assert!(out.contains("threads = 3") && !out.contains("sesame"), "{out}");
}

#[test]
fn what_is_signed_is_understood_and_what_is_changed_is_refused() {
    let folder = folder();
    let environment = [("FOVEA_KEYS__K1", "123456"), ("FOVEA_CATEGORY__DEMO__UNSIGNED", "none")];
    let path = "/demo/dogs.jpg/v1/w_300,fit_cover,h_200.auto";
    let plan = |url: &str| {
        let (code, out, _) = fovea(folder.path(), &environment, &["plan", url]);
        (code, serde_json::from_str::<serde_json::Value>(&out).expect("a plan is JSON"))
    };
    let (code, refused) = plan(path);
    assert_eq!((code, refused["error"]["status"].as_u64()), (1, Some(403)));
    let url = format!("https://cdn.example{path}");
    let (code, signed, _) = fovea(folder.path(), &environment, &["sign", &url, "--kid", "k1", "--expires", "2h"]);
    assert_eq!(code, 0);
    assert!(signed.starts_with("https://cdn.example/s:k1:"), "{signed}");
    let (code, explained) = plan(signed.trim());
    assert_eq!((code, explained["signature"]["status"].as_str()), (0, Some("valid")));
    assert_eq!((&explained["options"]["w"], &explained["options"]["fit"]), (&"300".into(), &"cover".into()));
    assert!(explained["max_age_s"].as_u64().is_some_and(|age| (7100..=7200).contains(&age)), "{explained}");
    let (code, changed) = plan(&signed.trim().replace("w_300", "w_301"));
    assert_eq!((code, changed["error"]["status"].as_u64()), (1, Some(403)));
}

#[test]
fn presets_are_expanded_and_the_canonical_url_is_told() {
    let folder = folder();
    let (code, out, _) = fovea(folder.path(), &[], &["plan", "/demo/a/b.jpg/v0/q_60,thumb.webp"]);
    let plan: serde_json::Value = serde_json::from_str(&out).expect("a plan is JSON");
    assert_eq!(code, 0);
    assert_eq!(plan["id"], "a/b.jpg");
    assert_eq!(plan["canonical"], "/demo/a/b.jpg/v0/thumb,q_60.webp");
    assert_eq!(plan["redirect"], plan["canonical"]);
    assert_eq!((&plan["options"]["w"], &plan["options"]["q"]), (&"128".into(), &"60".into()));
    assert_eq!(plan["output"]["type"], "image/webp");
}

#[test]
fn files_are_rendered_without_a_server() {
    let folder = folder();
    let dogs = format!("{SAMPLES}/dogs.jpg");
    for (output, options, magic) in [
        ("out.webp", "w_80,h_60,fit_cover", &b"RIFF"[..]),
        ("out.png", "w_80", b"\x89PNG"),
        ("out.jpg", "thumb", b"\xff\xd8\xff"),
    ] {
        let (code, _, told) = fovea(folder.path(), &[], &["render", &dogs, output, options]);
        assert_eq!(code, 0, "{told}");
        // The sample is stored turned: what is told is the upright size.
        assert!(told.starts_with("jpg 1154x1733"), "{told}");
        assert!(std::fs::read(folder.path().join(output)).unwrap().starts_with(magic), "{output}");
    }
    for (output, options) in [("out.tiff", "w_80"), ("out.jpg", "w_0"), ("out", "w_80")] {
        assert_eq!(fovea(folder.path(), &[], &["render", &dogs, output, options]).0, 1, "{output} {options}");
    }
}

#[test]
fn health_and_purge_fail_where_no_server_is() {
    let folder = folder();
    // Port 9 is discard's; on a loopback nobody listens there.
    let (code, _, error) = fovea(folder.path(), &[], &["health", "--url", "http://127.0.0.1:9"]);
    assert_eq!(code, 1);
    assert!(error.contains("127.0.0.1:9"), "{error}");
    let (code, _, error) = fovea(folder.path(), &[], &["purge", "category", "demo"]);
    assert_eq!(code, 1);
    assert!(error.contains("token"), "{error}");
    assert_eq!(fovea(folder.path(), &[], &["purge"]).0, 2, "wrong usage");
}

#[test]
fn several_results_of_one_picture_are_what_each_is_alone() {
    let folder = folder();
    let photo = format!("{SAMPLES}/mountains.jpg");
    let outputs =
        ["a.jpg", "w_300", "b.webp", "w_300", "c.avif", "w_200,h_200,fit_cover", "d.png", "crop_0.5:0.5:0.5:0.5,w_200"];
    let all: Vec<&str> = ["render", &photo].into_iter().chain(outputs).collect();
    let (code, _, said) = fovea(folder.path(), &[], &all);
    assert_eq!((code, said.lines().count()), (0, 4), "{said}");
    for (output, options) in outputs.as_chunks::<2>().0.iter().map(|[output, options]| (*output, *options)) {
        let alone = format!("alone-{output}");
        assert_eq!(fovea(folder.path(), &[], &["render", &photo, &alone, options]).0, 0);
        let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
        assert!(read(output) == read(&alone), "{output} differs from the one that is made alone");
    }
    let (code, _, error) = fovea(folder.path(), &[], &["render", &photo, "a.jpg", "w_300", "b.jpg"]);
    assert!(code == 1 && error.contains("b.jpg"), "{error}");
}

#[test]
fn a_profile_shows_every_stage_and_the_form_that_was_rendered_from() {
    let folder = folder();
    let photo = format!("{SAMPLES}/mountains.jpg");
    let profile = |words: &[&str]| {
        let arguments: Vec<&str> = ["profile", &photo, "--rounds", "1"].iter().chain(words).copied().collect();
        let (code, out, error) = fovea(folder.path(), &[], &arguments);
        assert_eq!((code, error.as_str()), (0, ""));
        out
    };
    let out = profile(&["w_400", "--format", "webp"]);
    for part in [
        "jpg 1633x1225",
        "webp 400x300",
        "640 px wide as jpg",
        "from its mezzanine",
        "decode",
        "transform",
        "encode",
        " ms",
        "█",
    ] {
        assert!(out.contains(part), "no {part} in\n{out}");
    }
    let out = profile(&["w_400", "--format", "webp", "--set", "category_default.mezzanine=off"]);
    assert!(out.contains("from the original") && !out.contains("640 px wide"), "{out}");
}
