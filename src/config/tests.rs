//! The config from its three layers, table by table. No test asks the process's environment.

use std::collections::BTreeMap;

use super::*;

fn load(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Config, Problems> {
    let owned = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    Config::load(Inputs {
        file: (!file.is_empty()).then(|| ("fovea.toml".to_owned(), file.to_owned())),
        environment: owned(environment),
        flags: owned(flags).into_iter().map(|(key, value)| (key, value, "--flag".to_owned())).collect(),
    })
}

fn environment(pairs: &[(&str, &str)]) -> Config {
    load("", pairs, &[]).unwrap_or_else(|problems| panic!("{pairs:?}: {problems}"))
}

fn problems(file: &str, pairs: &[(&str, &str)]) -> Vec<String> {
    load(file, pairs, &[]).expect_err("there is a problem").0.iter().map(ToString::to_string).collect()
}

#[test]
fn the_defaults_are_right_and_whole() {
    let config = Config::default();
    assert_eq!(config.check(), []);
    assert!(config.places().is_empty());
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.limits, base::Limits::default());
    assert_eq!(config.memory.cache_bytes, ByteSize(256 << 20));
    let demo = &config.category["demo"];
    assert_eq!((demo.unsigned, demo.originals, demo.attempts), (Unsigned::Options, Originals::Public, 3));
    assert_eq!(config.category_default.unsigned, Unsigned::Presets);
    assert!(config.presets.all.contains_key("thumb"));
}

/// No struct has a default of its own, and none takes an unknown key: so that the built-in file loads says that both have the
/// same keys. What remains is that each is explained.
#[test]
fn every_key_has_a_comment() {
    let mut explained = false;
    let mut bare = Vec::new();
    for line in DEFAULTS.lines() {
        if line.starts_with('#') {
            explained = true;
        } else if line.is_empty() {
            explained = false;
        } else if line.starts_with('[') {
            explained |= line == "[category.demo]";
        } else if !explained {
            bare.push(line);
        }
    }
    assert!(bare.is_empty(), "no comment in config/default.toml for {bare:?}");
}

#[test]
fn every_alias_is_documented() {
    for alias in &ALIASES {
        assert!(DEFAULTS.contains(alias.name), "{} is not in config/default.toml", alias.name);
    }
}

#[test]
fn what_is_printed_loads_again() {
    let file = "[keys]\na = { secret = \"s\", categories = [\"demo\"] }\n[presets.inline]\nx = \"w_9\"\n[http]\ntrusted_proxies = [\"10.0.0.1\"]";
    let config = load(file, &[], &[]).unwrap();
    let printed = toml::to_string(&config).unwrap();
    let again = load(&printed, &[], &[]).unwrap();
    assert_eq!(toml::to_string(&again).unwrap(), printed);
}

#[test]
fn later_layers_win() {
    let file = "[http]\nlisten = \"127.0.0.1:1\"\n[api]\nlisten = \"127.0.0.1:2\"\n[memory]\ncache_bytes = 8388608";
    let config = load(
        file,
        &[("FOVEA_HTTP__LISTEN", "127.0.0.1:11"), ("FOVEA_API__LISTEN", "127.0.0.1:12")],
        &[("http.listen", "127.0.0.1:111")],
    )
    .unwrap();
    assert_eq!(config.http.listen.port(), 111);
    assert_eq!(config.api.listen.port(), 12);
    assert_eq!(config.memory.cache_bytes, ByteSize(8 << 20));
    assert_eq!(config.places()["http.listen"], "flag --flag");
    assert_eq!(config.places()["api.listen"], "environment variable FOVEA_API__LISTEN");
    assert_eq!(config.places()["memory.cache_bytes"], "fovea.toml");
    assert!(!config.places().contains_key("memory.work_bytes"));
}

#[test]
fn the_environment_gives_every_kind_of_value() {
    let config = environment(&[
        ("FOVEA_HTTP__THREADS", "3"),
        ("FOVEA_HTTP__START_PAGE", "off"),
        ("FOVEA_HTTP__TRUSTED_PROXIES", "10.0.0.0/8, 127.0.0.1"),
        ("FOVEA_MEMORY__WORK_BYTES", "1GiB"),
        ("FOVEA_MEMORY__ENTRY_BYTES_MAX", "65536"),
        ("FOVEA_TELEMETRY__OTLP_RATIO", "1"),
        ("FOVEA_KEYS__K1", "123456"),
        ("FOVEA_KEYS__K2", "{ secret = \"0x1\", categories = [\"demo\"] }"),
        ("FOVEA_KEYS__K3__SECRET", "007"),
        ("FOVEA_KEYS__K3__CATEGORIES", "demo,my-shoes"),
        ("FOVEA_API__TOKEN", "0042"),
        ("FOVEA_CATEGORY__MY_SHOES__SOURCE", "s3://shoes/originals/"),
        ("FOVEA_CATEGORY__MY_SHOES__SIZES", "100,200"),
        ("FOVEA_CATEGORY__MY_SHOES__UNSIGNED", "none"),
        ("FOVEA_CATEGORY__OTHER__SOURCE", "https://example.org/pictures/"),
        ("FOVEA_CATEGORY__DEMO__ENABLED", "false"),
        ("FOVEA_PRESETS__INLINE__TINY", "w_16"),
        ("FOVEA_DERIVATIVES__STORE", "none"),
        ("FOVEA_S3__PATH_STYLE", "false"),
        ("FOVEA_SERVICE_HOST", "10.1.2.3"),
        ("FOVEA_PORT", "tcp://10.1.2.3:80"),
    ]);
    assert_eq!((config.http.threads, config.http.start_page), (3, false));
    assert_eq!(
        config.http.trusted_proxies.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["10.0.0.0/8", "127.0.0.1/32"]
    );
    assert_eq!((config.memory.work_bytes, config.memory.entry_bytes_max), (ByteSize(1 << 30), ByteSize(65536)));
    assert_eq!(config.keys["k1"].secret.expose(), "123456");
    assert_eq!(config.keys["k2"].categories.as_deref(), Some(&["demo".to_owned()][..]));
    assert_eq!(config.keys["k3"].secret.expose(), "007");
    assert_eq!(config.keys["k3"].categories.as_ref().map(Vec::len), Some(2));
    assert_eq!(config.api.token.expose(), "0042");
    let shoes = &config.category["my-shoes"];
    assert_eq!(shoes.source, SourceLocation::Bucket { bucket: "shoes".into(), prefix: "originals".into() });
    assert_eq!((shoes.sizes.as_slice(), shoes.unsigned, shoes.quality_jpeg), (&[100, 200][..], Unsigned::None, 68));
    assert_eq!(config.category["other"].source, SourceLocation::Http("https://example.org/pictures".into()));
    assert_eq!(config.categories().map(|(name, _)| name).collect::<Vec<_>>(), ["my-shoes", "other"]);
    assert_eq!(config.presets.all["tiny"], "w_16");
    assert_eq!(config.derivatives.store, StoreLocation::None);
    assert!(!config.s3.in_path());
}

#[test]
fn categories_take_what_category_default_says() {
    let file = "[category_default]\nquality_webp = 70\nquality_jpeg = 71\n[category.a]\nsource = \"file:a\"\nquality_jpeg = 90";
    let config = load(file, &[("FOVEA_CATEGORY_DEFAULT__WEBP", "false")], &[]).unwrap();
    let a = &config.category["a"];
    assert_eq!((a.quality_webp, a.quality_jpeg, a.webp), (70, 90, false));
    assert_eq!(config.category["demo"].quality_jpeg, 71);
}

#[test]
fn aliases() {
    let config = environment(&[
        ("STORAGE_TYPE", "minio"),
        ("STORAGE_ENDPOINT", "http://minio:9000"),
        ("AWS_ENDPOINT_URL", "http://elsewhere:1"),
        ("BUCKET_NAME", "pictures"),
        ("MINIO_ACCESS_KEY", "12345"),
        ("MINIO_SECRET_KEY", "67890"),
        ("AWS_DEFAULT_REGION", "eu-north-1"),
        ("PROCESSOR_MEMORY_LIMIT", "768"),
        ("PROCESSOR_THREAD_COUNT", "5"),
        ("DATABASE_URL", "postgres://ann:s3cret@db/catalog"),
        ("NATS_URL", "nats://ann:s3cret@a:4222,nats://b:4222"),
        ("WORKER_CONCURRENCY", "7"),
        ("MAX_CONCURRENT_PROCESSING", "9"),
        ("MAX_RETRIES", "2"),
        ("JOB_TIMEOUT", "45"),
        ("IMAGE_PROCESSING_TIMEOUT", "45000"),
        ("IMAGE_PROCESSING_QUEUE_SIZE", "500"),
    ]);
    assert_eq!(config.catalog.url.expose(), "postgres://ann:s3cret@db/catalog");
    assert_eq!(config.nats.url.to_string(), "nats://ann@a:4222,nats://b:4222");
    assert_eq!((config.worker.concurrency, config.worker.job_timeout_ms), (7, 45_000));
    assert_eq!((config.queue.retries_max, config.queue.size_max), (2, 500));
    for (text, ms) in [("30", 30_000), ("30s", 30_000), ("500ms", 500), ("30000", 30_000)] {
        assert_eq!(environment(&[("IMAGE_PROCESSING_TIMEOUT", text)]).worker.job_timeout_ms, ms, "{text}");
    }
    assert_eq!(config.s3.endpoint.as_deref(), Some("http://minio:9000"));
    assert!(config.s3.in_path());
    assert_eq!(config.s3.access_key_id.as_deref(), Some("12345"));
    assert_eq!(config.s3.secret_access_key.expose(), "67890");
    assert_eq!(config.s3.region, "eu-north-1");
    assert_eq!((config.memory.work_bytes, config.render.threads), (ByteSize(768 << 20), 5));
    assert_eq!(config.derivatives.store, StoreLocation::Bucket { bucket: "pictures".into(), prefix: String::new() });
    assert_eq!(config.category["images"].source.to_string(), "s3://pictures/originals");

    let own = environment(&[("AWS_REGION", "eu-west-1"), ("FOVEA_S3__REGION", "eu-west-2")]);
    assert_eq!(own.s3.region, "eu-west-2");
    let over_file =
        load("[s3]\nregion = \"eu-west-3\"", &[("AWS_REGION", "eu-west-1"), ("AWS_DEFAULT_REGION", "x")], &[]);
    assert_eq!(over_file.unwrap().s3.region, "eu-west-1");
    let local = environment(&[("STORAGE_TYPE", "local"), ("BUCKET_NAME", "pictures"), ("AWS_REGION", "")]);
    assert_eq!((local.category.len(), local.s3.region.as_str()), (1, "us-east-1"));

    for (limit, bytes) in [("512", 512 << 20), ("512m", 512 << 20), ("2GiB", 2 << 30), ("1073741824", 1 << 30)] {
        assert_eq!(environment(&[("PROCESSOR_MEMORY_LIMIT", limit)]).memory.work_bytes, ByteSize(bytes), "{limit}");
    }
    assert_eq!(
        problems("", &[("STORAGE_TYPE", "azure")]),
        ["`STORAGE_TYPE` (the environment): must be local, s3 or minio, not \"azure\""]
    );
}

#[test]
fn sizes_have_units() {
    for (text, bytes) in
        [("0", 0), ("1_000", 1000), ("64 KiB", 65536), ("2g", 2 << 30), ("3Mi", 3 << 20), ("5MB", 5_000_000), ("7B", 7)]
    {
        assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
    }
    for text in ["", "MiB", "-1", "1.5GiB", "10 PiB", "99999999999GiB", "1 2"] {
        assert!(text.parse::<ByteSize>().is_err(), "{text}");
    }
    for (bytes, text) in [(0, "0"), (1024, "1KiB"), (1536, "1536"), (3 << 20, "3MiB"), (4 << 30, "4GiB")] {
        assert_eq!(ByteSize(bytes).to_string(), text);
    }
}

#[test]
fn locations() {
    let folder = |path: &str| Ok(SourceLocation::Folder(path.into()));
    let bucket =
        |bucket: &str, prefix: &str| Ok(SourceLocation::Bucket { bucket: bucket.into(), prefix: prefix.into() });
    for (text, expected) in [
        ("file:pictures", folder("pictures")),
        ("file:/srv/pictures", folder("/srv/pictures")),
        ("file:///srv/pictures", folder("/srv/pictures")),
        ("s3://a-bucket", bucket("a-bucket", "")),
        ("s3://b/one/two/", bucket("b", "one/two")),
        ("https://example.org", Ok(SourceLocation::Http("https://example.org".into()))),
        ("http://127.0.0.1:8000/x/", Ok(SourceLocation::Http("http://127.0.0.1:8000/x".into()))),
    ] {
        assert_eq!(text.parse(), expected, "{text}");
    }
    for text in
        ["pictures", "file:", "s3://", "s3://Bad_Name!", "https://", "https://a:b@c/", "https://a/?q", "ftp://a"]
    {
        assert!(text.parse::<SourceLocation>().is_err(), "{text}");
    }
    assert!("https://example.org".parse::<StoreLocation>().is_err());
    assert_eq!("none".parse(), Ok(StoreLocation::None));
}

#[test]
fn secrets_are_decoded_and_never_shown() {
    for (text, bytes) in [
        ("plain", &b"plain"[..]),
        ("hex:00ff10", &[0, 255, 16]),
        ("base64:AP8Q", &[0, 255, 16]),
        ("base64:-_8=", &[251, 255]),
    ] {
        assert_eq!(Secret::new(text).bytes().as_deref(), Ok(bytes), "{text}");
    }
    for text in ["hex:0", "hex:zz", "base64:*"] {
        assert!(Secret::new(text).bytes().is_err(), "{text}");
    }
    let config = environment(&[
        ("FOVEA_KEYS__A", "sesame-one"),
        ("FOVEA_API__TOKEN", "sesame-two"),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "sesame-three"),
        ("AWS_SESSION_TOKEN", "sesame-four"),
    ]);
    for shown in [format!("{config:?}"), toml::to_string(&config).unwrap()] {
        assert!(!shown.contains("sesame"), "{shown}");
        assert!(shown.contains(values::HIDDEN));
    }
    let wrong = "[keys]\na = [\"sesame\"]\nb = { secret = \"hex:sesame\" }\nc = { secrt = \"sesame\" }";
    for problem in problems(wrong, &[("FOVEA_KEYS__D", "{ secret = sesame }")]) {
        assert!(!problem.contains("sesame"), "{problem}");
    }
}

#[test]
fn every_problem_is_named_at_once() {
    let file = "[http]\nlisten = \"nowhere\"\nthreds = 4\ndrain_ms = -1\n[category.a]\nsource = \"file:a\"\nunsigned = \"maybe\"\n\
                [category.b]\nquality_jpeg = 101\n[memry]\n[category_default]\nattempts = \"three\"";
    let pairs =
        [("FOVEA_MEMORY__WORK_QUEUE_MAX", "many"), ("FOVEA_HTTP_LISTEN", "127.0.0.1:1"), ("FOVEA_HTTP__NO_KEY", "1")];
    let found = problems(file, &pairs);
    for expected in [
        "`FOVEA_HTTP_LISTEN` (the environment): did you mean FOVEA_HTTP__LISTEN?",
        "`memory.work_queue_max` (environment variable FOVEA_MEMORY__WORK_QUEUE_MAX): must be a whole number of at least 0, not \"many\"",
        "`category_default.attempts` (fovea.toml): must be a whole number from 0 to 4294967295, not the text \"three\"",
        "`http.threds` (fovea.toml): there is no such key; did you mean `threads`?",
        "`memry` (fovea.toml): there is no such key; did you mean `memory`?",
        "`category.a.unsigned` (fovea.toml): must be one of `options`, `presets`, `none`, not \"maybe\"",
        "`category.b.quality_jpeg` (fovea.toml): must be from 1 to 100, not 101",
        "`category.b.source` (the built-in defaults): wants \"file:PATH\", \"s3://BUCKET/PREFIX\" or \"https://HOST/BASE\"; or ingest = true, for uploads",
    ] {
        assert!(found.iter().any(|problem| problem == expected), "not found: {expected}\nin {found:#?}");
    }
    for start in [
        "`http.listen` (fovea.toml): must be an address and a port such as \"127.0.0.1:8080\", not \"nowhere\"",
        "`http.drain_ms` (fovea.toml): must be a whole number of at least 0",
        "`http.no_key` (environment variable FOVEA_HTTP__NO_KEY): there is no such key; known here: ",
    ] {
        assert!(found.iter().any(|problem| problem.starts_with(start)), "not found: {start}\nin {found:#?}");
    }
    assert_eq!(found.len(), 11, "{found:#?}");
}

#[test]
fn bounds() {
    for (file, key) in [
        ("[http]\nheader_bytes_max = 100", "http.header_bytes_max"),
        ("[http]\ntls_key = \"k.pem\"", "http.tls_certificate"),
        ("[api]\nlisten = \"127.0.0.1:8080\"", "api.listen"),
        ("[memory]\ncache_bytes = \"1MiB\"", "memory.entry_bytes_max"),
        ("[s3]\nendpoint = \"minio:9000\"", "s3.endpoint"),
        ("[s3]\naccess_key_id = \"a\"", "s3.access_key_id"),
        ("[derivatives]\nsse = \"rot13\"", "derivatives.sse"),
        ("[nats]\nurl = \"nats://127.0.0.1:4222\"", "nats.url"),
        ("[queue]\nwindow = 0", "queue.window"),
        ("[telemetry]\nlog = \"fovea=loud\"", "telemetry.log"),
        ("[telemetry]\notlp_ratio = 2.0", "telemetry.otlp_ratio"),
        ("[keys]\n\"a.b\" = \"x\"", "keys.a.b"),
        ("[keys]\nk = \"\"", "keys.k"),
        ("[keys]\nk = { secret = \"x\", categories = [\"nope\"] }", "keys.k"),
        ("[category.Upper]\nsource = \"file:a\"", "category.Upper"),
        ("[category.demo]\ncors = [\"example.org\"]", "category.demo.cors"),
        ("[category.demo]\nsizes = [9000]", "category.demo.sizes"),
        ("[category.demo]\nca_file = \"/no/such/file\"", "category.demo.ca_file"),
        ("[presets]\nfile = \"/no/such/file\"", "presets.file"),
    ] {
        let found = load(file, &[], &[]).expect_err(file).0;
        assert_eq!(found.iter().map(|problem| problem.key.as_str()).collect::<Vec<_>>(), [key], "{file}: {found:?}");
    }
    assert!(problems("[http\n", &[])[0].starts_with("fovea.toml is not TOML"));
}

#[test]
fn reloading_reads_the_file_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fovea.toml");
    std::fs::write(&path, "[keys]\na = \"one\"").unwrap();
    let flags = vec![("http.threads".to_owned(), "2".to_owned(), "--threads".to_owned())];
    let config = Config::load(Inputs::read(Some(&path), Environment::new(), flags).unwrap()).unwrap();
    std::fs::write(&path, "[keys]\nb = \"two\"").unwrap();
    let again = config.reload().unwrap();
    assert_eq!(again.keys.keys().collect::<Vec<_>>(), ["b"]);
    assert_eq!(again.http.threads, 2);
    std::fs::remove_file(&path).unwrap();
    assert!(config.reload().is_err());
}

#[test]
fn samples_are_unpacked_once() {
    let folder = tempfile::tempdir().unwrap();
    let demo = folder.path().join(".fovea/originals/demo");
    let config = environment(&[("FOVEA_CATEGORY__DEMO__SOURCE", &format!("file:{}", demo.display()))]);
    assert!(samples::unpack(&config).unwrap());
    for sample in &samples::SAMPLES {
        let bytes = std::fs::read(demo.join(sample.name)).unwrap();
        assert!(base::Format::sniff(&bytes).is_some(), "{}", sample.name);
    }
    assert_eq!(std::fs::read_dir(&demo).unwrap().count(), samples::SAMPLES.len());
    std::fs::remove_file(demo.join("dogs.jpg")).unwrap();
    assert!(!samples::unpack(&config).unwrap());
    let elsewhere = environment(&[("FOVEA_CATEGORY__DEMO__SOURCE", "file:/no/such/folder")]);
    assert!(!samples::unpack(&elsewhere).unwrap());
}
