//! What must hold for every input, as functions that tests replay over a corpus and a fuzzer calls.

use std::sync::OnceLock;

use super::{Key, Originals, Request, Rules, Settings, Unsigned, Urls, bucket};

const NOW: u64 = 1_800_000_000;
const KID: &str = "fuzz";

/// Reads bytes as a path. Nothing panics; what is read has a canonical form that reads to the same request, asks for no
/// redirect, and can be signed.
///
/// # Panics
/// When that does not hold: a defect.
pub fn fuzz_url(data: &[u8]) {
    let path = String::from_utf8_lossy(data);
    let urls = site();
    let Ok(first) = urls.read(&path, NOW) else { return };
    assert!(first.redirect.is_none() || first.signed.is_none(), "a signed URL is never redirected: {path}");
    assert!(first.redirect.as_ref().is_none_or(|to| *to == first.canonical), "a redirect leads to the canonical path");

    let again = urls.read(&first.canonical, NOW).expect("a canonical path is read");
    assert_eq!(again.redirect, None, "a canonical path is canonical");
    same(&first, &again);

    let signed = urls.sign(KID, 0, &path).expect("what is read can be signed");
    let signed = urls.read(&signed, NOW).expect("a signed path is read");
    assert!(signed.signed.is_some());
    same(&first, &signed);
}

/// Reads bytes as an `Accept` header; nothing panics.
pub fn fuzz_accept(data: &[u8]) {
    bucket(Some(&String::from_utf8_lossy(data)));
}

fn same(first: &Request, other: &Request) {
    assert_eq!(first.category, other.category);
    assert_eq!(first.id, other.id);
    assert_eq!(first.version, other.version);
    assert_eq!(first.ask, other.ask);
    assert_eq!(first.preset, other.preset);
    assert_eq!(first.canonical, other.canonical);
}

/// A site where everything passes unsigned, so that canonical paths can be read.
fn site() -> &'static Urls {
    static SITE: OnceLock<Urls> = OnceLock::new();
    SITE.get_or_init(|| {
        let open = Rules { unsigned: Unsigned::Options, originals: Originals::Public, ..Rules::default() };
        let presets =
            [("thumb", "w_128,h_128"), ("art", "w_300,fit_cover,g_ne,gray,up_1,crop_0.1:0:0.5:1,anim_0,q_low")];
        let settings = Settings {
            presets: presets.map(|(name, text)| (name.to_owned(), text.to_owned())).into(),
            categories: [("demo".to_owned(), open)].into(),
            keys: vec![Key { kid: KID.to_owned(), secret: vec![7; 32], categories: Vec::new() }],
        };
        Urls::new(&settings).expect("these settings are valid")
    })
}
