//! What passes: policies, signatures, keys, and the settings they come from.

use super::tests::{NOW, key, site};
use super::*;

#[test]
fn what_passes_without_a_signature() {
    use ErrorKind::SignatureNeeded;
    let urls = site();
    let table = [
        ("/shop/a/v1/thumb.auto", true),
        ("/shop/a/v1/thumb.webp", true),
        ("/shop/a/v1/info.json", true),
        ("/shop/a/v1/w_128,h_128.auto", false),
        ("/shop/a/v1/thumb,q_50.auto", false),
        ("/shop/a/v1/thumb,fit_contain.auto", false),
        ("/shop/a/v1/orig.jpg", false),
        ("/vault/a/v1/thumb.auto", false),
        ("/vault/a/v1/info.json", false),
        ("/vault/a/v1/orig.jpg", false),
        ("/open/a/v1/orig.jpg", true),
        ("/frozen/a/v0/thumb.auto", true),
        ("/frozen/a/v1/thumb.auto", false),
        ("/frozen/a/h0123456789abcdef/thumb.auto", false),
        ("/frozen/a/v1/info.json", false),
        ("/ladder/a/v1/w_400.auto", true),
        ("/ladder/a/v1/w_400,h_200.auto", true),
        ("/ladder/a/v1/w_401.auto", false),
        ("/ladder/a/v1/w_400,h_201.auto", false),
        ("/ladder/a/v1/thumb.auto", true),
        ("/ladder/a/v1/thumb,w_200.auto", true),
        ("/ladder/a/v1/thumb,w_201.auto", false),
    ];
    for (path, passes) in table {
        let kind = urls.read(path, NOW).err().map(|error| error.kind);
        assert_eq!(kind, (!passes).then_some(SignatureNeeded), "{path}");
        let signed = urls.sign("k1", 0, path).unwrap();
        assert!(urls.read(&signed, NOW).is_ok(), "{path}, signed");
    }
}

#[test]
fn signatures() {
    let urls = site();
    // Made by: printf 'fovea1:k1:0:/shop/a%%20b/v1/w_400,h_300.auto' | openssl dgst -sha256 -mac HMAC -macopt
    // hexkey:01…01 -binary | head -c 16 | basenc --base64url
    let signed = urls.sign("k1", 0, "/shop/a b/v1/w_400%2Ch_300.auto-avif?x").unwrap();
    assert_eq!(signed, "/s:k1:0:JWsvKiyDfZjlx8bMB8XwmQ/shop/a%20b/v1/w_400,h_300.auto-avif");
    let request = urls.read(&signed, NOW).unwrap();
    assert_eq!(request.signed, Some(Signed { kid: "k1".into(), expiry: 0 }));
    assert_eq!(request.canonical, "/shop/a%20b/v1/w_400,h_300.auto-avif");

    let holds = [
        signed.replace("auto-avif", "auto"),
        signed.replace("auto-avif", "auto-base"),
        signed.replace(":", "%3A").replace("/s%3A", "/s%3a"),
        signed.replace("%20", " "),
        format!("{signed}?w=1"),
    ];
    for path in holds {
        let request = urls.read(&path, NOW).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!((request.signed.is_some(), request.redirect), (true, None), "{path}");
    }
    let fails = [
        signed.replace("auto-avif", "avif"),
        signed.replace("w_400,h_300", "h_300,w_400"),
        signed.replace("/v1/", "/v2/"),
        signed.replace("/shop/", "/open/"),
        signed.replace("s:k1:", "s:k2:"),
        signed.replace("s:k1:", "s:k9:"),
        signed.replace("s:k1:0:", "s:k1:1:"),
        signed.replace("s:k1:0:", "s:k1:00:"),
        signed.replace("s:k1:0:", "s:k1::"),
        signed.replace("s:k1:0:", "s:k1:"),
        signed.replace("s:k1:0:", "s:"),
        signed.replace("s:k1:0:", "s:k1:0:A"),
        signed.replace("/shop", "=/shop"),
        signed.replace("/shop", ":/shop"),
    ];
    for path in fails {
        let error = urls.read(&path, NOW).expect_err(&path);
        assert_eq!((error.kind, error.at.as_deref()), (ErrorKind::BadSignature, Some("s:")), "{path}");
    }
    // Not in canonical order, but signed: answered as it is, with the same plan.
    let unordered = urls.sign("k2", 0, "/shop/a/v1/h_300,w_400.auto").unwrap();
    let request = urls.read(&unordered, NOW).unwrap();
    assert_eq!((request.redirect, &*request.canonical), (None, "/shop/a/v1/w_400,h_300.auto"));
    // A path that is signed already is signed anew.
    assert_eq!(urls.sign("k2", 0, &unordered).unwrap(), unordered);
    assert_eq!(sign(&key("k2", 2, &[]), 0, "/shop/a/v1/h_300,w_400.auto").unwrap(), unordered);
    assert!(urls.sign("k9", 0, "/shop/a/v1/thumb.auto").is_err());
    assert!(urls.sign("k1", 0, "/shop/../v1/thumb.auto").is_err());
}

#[test]
fn keys_have_categories_and_urls_expire() {
    let urls = site();
    let foreign = urls.sign("k2", 0, "/open/a/v1/thumb.auto").unwrap();
    let wrong = foreign.replace("thumb", "large");
    let (foreign, wrong) = (urls.read(&foreign, NOW).unwrap_err(), urls.read(&wrong, NOW).unwrap_err());
    assert_eq!(foreign.kind, ErrorKind::BadSignature);
    assert_eq!(foreign, wrong, "a right signature of a key that may not sign tells nothing");

    let path = urls.sign("k2", NOW, "/shop/a/v1/orig.jpg").unwrap();
    assert_eq!(urls.read(&path, NOW).unwrap().signed.unwrap().expiry, NOW);
    assert_eq!(urls.read(&path, NOW + 1).unwrap_err().kind, ErrorKind::Expired);
    let wrong = path.replace("orig.jpg", "orig.png");
    assert_eq!(urls.read(&wrong, NOW + 1).unwrap_err().kind, ErrorKind::BadSignature, "expiry is told to holders only");
    assert!(!format!("{:?} {urls:?}", key("k1", 77, &[])).contains("77, 77"), "secrets are not shown");
}

#[test]
fn settings_are_checked() {
    let with_preset = |name: &str, text: &str| Settings {
        presets: [(name.to_owned(), text.to_owned())].into(),
        ..Settings::default()
    };
    let with_rules =
        |name: &str, rules: Rules| Settings { categories: [(name.to_owned(), rules)].into(), ..Settings::default() };
    let with_keys = |keys: Vec<Key>| Settings { keys, ..Settings::default() };
    let rules = Rules::default;
    let table = [
        (with_preset("gray", "w_1"), "presets.gray"),
        (with_preset("sepia", "w_1"), "presets.sepia"),
        (with_preset("w", "w_1"), "presets.w"),
        (with_preset("info", "w_1"), "presets.info"),
        (with_preset("orig", "w_1"), "presets.orig"),
        (with_preset("auto", "w_1"), "presets.auto"),
        (with_preset("auto-avif", "w_1"), "presets.auto-avif"),
        (with_preset("Thumb", "w_1"), "presets.Thumb"),
        (with_preset("1st", "w_1"), "presets.1st"),
        (with_preset("a_b", "w_1"), "presets.a_b"),
        (with_preset("", "w_1"), "presets."),
        (with_preset("x", ""), "presets.x"),
        (with_preset("x", "w_0"), "presets.x"),
        (with_preset("x", "w_1,w_2"), "presets.x"),
        (with_preset("x", "w_1.jpg"), "presets.x"),
        (with_preset("x", "other"), "presets.x"),
        (with_rules("Demo", rules()), "category.Demo"),
        (with_rules("", rules()), "category."),
        (with_rules("x", Rules { side_max: 0, ..rules() }), "category.x.side_max"),
        (with_rules("x", Rules { side_max: 65_536, ..rules() }), "category.x.side_max"),
        (with_rules("x", Rules { pixels_max: 0, ..rules() }), "category.x.pixels_max"),
        (with_rules("x", Rules { sizes: vec![9000], ..rules() }), "category.x.sizes"),
        (with_rules("x", Rules { presets: Some(vec!["y".into()]), ..rules() }), "category.x.presets"),
        (with_keys(vec![key("", 1, &[])]), "keys."),
        (with_keys(vec![key("a:b", 1, &[])]), "keys.a:b"),
        (with_keys(vec![Key { kid: "a".into(), ..Key::default() }]), "keys.a"),
        (with_keys(vec![key("a", 1, &[]), key("a", 2, &[])]), "keys.a"),
        (with_keys(vec![key("a", 1, &["x"])]), "keys.a"),
    ];
    for (settings, at) in table {
        assert_eq!(Urls::new(&settings).expect_err(at).at, at);
    }
}
