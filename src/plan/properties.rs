//! What holds for every path: canonical forms, signatures, no panic. And what a read costs.

use std::time::Instant;

use proptest::prelude::*;

use super::tests::{NOW, site};
use super::*;

#[test]
fn the_corpus_of_the_fuzzer() {
    let corpus: [&[u8]; 12] = [
        b"/demo/a/v1/thumb.auto",
        b"/demo/a/b%20c/v0/art,gray_0,crop_0:0:1:1.jpeg",
        b"/demo/a/v1/rot_0.png?x=/s:",
        b"/demo/a/v1/dl_Li4vYS5qcGc.auto-base",
        b"/s:fuzz:0:AAAAAAAAAAAAAAAAAAAAAA/demo/a/v1/thumb.auto",
        b"/s%3afuzz:0:/demo/a/v1/thumb.auto",
        b"/s:",
        b"/demo/\xff\xfe/v1/thumb.auto",
        b"/demo/a/h0000000000000000/orig.auto",
        b"/demo/a/v1/g_0.0000009:1,crop_0.999999:0:0.000001:1.gif",
        b"/demo/%/v1/thumb.auto",
        b"//////",
    ];
    for input in corpus {
        fuzz_url(input);
        fuzz_accept(input);
    }
}

/// Any option with a value that it takes, by row.
fn piece() -> impl Strategy<Value = (usize, String)> {
    let fraction = || (0u32..=1_000_000).prop_map(|value| format!("{}.{:06}", value / 1_000_000, value % 1_000_000));
    let hundredths =
        |range| proptest::strategy::Strategy::prop_map(range, |v: u32| format!("{}.{:02}", v / 100, v % 100));
    prop_oneof![
        (1u32..2000).prop_map(|px| (0, format!("w_{px}"))),
        Just((0, "w_auto".to_owned())),
        (1u32..2000).prop_map(|px| (1, format!("h_{px:05}"))),
        prop::sample::select(vec!["contain", "cover", "fill", "pad", "crop"]).prop_map(|fit| (2, format!("fit_{fit}"))),
        prop::sample::select(vec!["c", "n", "s", "e", "w", "ne", "nw", "se", "sw"]).prop_map(|g| (3, format!("g_{g}"))),
        (fraction(), fraction()).prop_map(|(x, y)| (3, format!("g_{x}:{y}"))),
        (0u32..3, 0u32..3, 1u32..900, 2u32..900).prop_map(|(x, y, w, h)| (4, format!("crop_{x}:{y}:{w}:{h}"))),
        (0u32..1000, 0u32..1000).prop_map(|(x, w)| {
            let (x, w) = (x * 500, (w + 1) * 500);
            (4, format!("crop_0.{x:06}:0:0.{:06}:1", w.min(999_999)))
        }),
        prop::sample::select(vec![0, 90, 180, 270]).prop_map(|turn| (5, format!("rot_{turn}"))),
        prop::sample::select(vec!["h", "v", "hv", "vh"]).prop_map(|flip| (6, format!("flip_{flip}"))),
        hundredths(100u32..=250).prop_map(|dpr| (7, format!("dpr_{dpr}"))),
        "[0-9a-fA-F]{3}|[0-9a-fA-F]{6}|[0-9a-fA-F]{8}".prop_map(|hex| (8, format!("bg_{hex}"))),
        prop::collection::vec(0u32..20, 1..=4).prop_map(|sides| {
            let sides: Vec<String> = sides.iter().map(u32::to_string).collect();
            (9, format!("pad_{}", sides.join(":")))
        }),
        hundredths(10u32..=10_000).prop_map(|sigma| (10, format!("blur_{sigma}"))),
        hundredths(10u32..=1_000).prop_map(|sigma| (11, format!("sharp_{sigma}"))),
        prop::sample::select(vec!["gray", "gray_0", "gray_1"]).prop_map(|gray| (12, gray.to_owned())),
        (0..2).prop_map(|up| (13, format!("up_{up}"))),
        (0..2).prop_map(|anim| (14, format!("anim_{anim}"))),
        prop::sample::select(vec!["none", "copyright", "all"]).prop_map(|meta| (15, format!("meta_{meta}"))),
        Just((16, "icc_keep".to_owned())),
        (1u32..=100).prop_map(|q| (17, format!("q_{q}"))),
        prop::sample::select(vec!["low", "medium-low", "medium-high", "high"]).prop_map(|q| (17, format!("q_{q}"))),
        (1u32..=1_000_000_000).prop_map(|bytes| (18, format!("maxb_{bytes}"))),
        "\\PC{1,40}".prop_map(|name| {
            use base64::Engine as _;
            (19, format!("dl_{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(format!("a{name}"))))
        }),
        prop::sample::select(vec!["thumb", "art", "web"]).prop_map(|preset| (20, preset.to_owned())),
    ]
}

/// A variant of up to eight different options in random order, and the same in another order.
fn variant() -> impl Strategy<Value = (String, String)> {
    let different = prop::collection::vec(piece(), 1..8).prop_map(|mut pieces| {
        let mut seen = std::collections::HashSet::new();
        pieces.retain(|(row, _)| seen.insert(*row));
        pieces.into_iter().map(|(_, piece)| piece).collect::<Vec<_>>()
    });
    different.prop_flat_map(|pieces| {
        let other = Just(pieces.clone()).prop_shuffle();
        (Just(pieces), other).prop_map(|(one, other)| (one.join(","), other.join(",")))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn canonical_forms_mean_the_same((one, other) in variant(), format in "auto|auto-webp|jpg|jpeg|png") {
        let urls = site();
        let [one, other] = [one, other].map(|variant| format!("/open/a/b.jpg/v1/{variant}.{format}"));
        let (first, second) = (urls.read(&one, NOW), urls.read(&other, NOW));
        let (Ok(first), Ok(second)) = (first, second) else {
            panic!("{one}: {:?}", urls.read(&one, NOW));
        };
        prop_assert_eq!(&first.ask, &second.ask);
        prop_assert_eq!(&first.canonical, &second.canonical, "any order leads to one canonical form");
        let again = urls.read(&first.canonical, NOW).unwrap();
        prop_assert_eq!(&again.redirect, &None);
        prop_assert_eq!(&again.ask, &first.ask);
        prop_assert_eq!(first.redirect.is_some(), one != first.canonical);
        let (Ask::Image(plan), Ask::Image(plan_again)) = (&first.ask, &again.ask) else { panic!() };
        prop_assert_eq!(plan.canonical(), plan_again.canonical());
        // The expanded spelling is a variant that means the plan, but for the file's name.
        let expanded = urls.variant(&plan.canonical(), plan.output).unwrap();
        prop_assert_eq!(&expanded, &Plan { download: None, ..(**plan).clone() });
    }

    #[test]
    fn ids_survive(id in "[^/\\\\?%\\x00-\\x1f\\x7f-\\u{9f}]{1,40}") {
        prop_assume!(id != "." && id != "..");
        let urls = site();
        let request = urls.read(&format!("/open/{id}/v1/thumb.auto"), NOW).unwrap();
        prop_assert_eq!(&request.id, &id);
        prop_assert_eq!(urls.read(&request.canonical, NOW).unwrap().id, id);
    }

    #[test]
    fn nothing_panics(text in "\\PC{0,80}", bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        fuzz_url(text.as_bytes());
        fuzz_url(&bytes);
        fuzz_url(&[b"/demo/", &bytes[..], b"/v1/thumb.auto"].concat());
        fuzz_url(format!("/demo/{text}/v1/thumb.auto").as_bytes());
        fuzz_url(format!("/demo/a/{text}").as_bytes());
        fuzz_url(format!("/demo/a/v1/{text}.auto").as_bytes());
        fuzz_url(format!("/s:fuzz:{text}").as_bytes());
        fuzz_accept(text.as_bytes());
        fuzz_accept(&bytes);
    }

    #[test]
    fn nearly_right_never_panics(text in "[whqgf0-9_.,:%/cropadit-]{0,60}") {
        fuzz_url(format!("/demo/a/v1/{text}").as_bytes());
        fuzz_url(format!("/demo/{text}").as_bytes());
    }

    #[test]
    fn any_other_character_breaks_a_signature(at in 0usize..200, to in "[A-Za-z0-9_.,:/-]") {
        let urls = site();
        let path = urls.sign("k1", NOW + 10, "/shop/a.jpg/v12/w_400,h_300.webp").unwrap();
        let at = at % path.len();
        let mut flipped = path.clone();
        flipped.replace_range(at..=at, &to);
        prop_assume!(flipped != path);
        let outcome = urls.read(&flipped, NOW);
        prop_assert!(outcome.is_err(), "{flipped}: {outcome:?}");
    }
}

/// How long a read takes; printed, since a bound would fail on a busy machine: `cargo test --lib plan:: -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn the_cost_of_a_read() {
    let urls = site();
    let signed = urls.sign("k1", 0, "/shop/shoes/red-42.jpg/v3/w_400,h_300,fit_cover.auto").unwrap();
    for path in
        ["/open/shoes/red-42.jpg/v3/w_400,h_300,fit_cover.auto", "/shop/shoes/red-42.jpg/v3/thumb.auto", &*signed]
    {
        let best = (0..20).map(|_| {
            let start = Instant::now();
            for _ in 0..10_000 {
                std::hint::black_box(urls.read(std::hint::black_box(path), NOW).is_ok());
            }
            start.elapsed().as_nanos() / 10_000
        });
        println!("{path}: {} ns", best.min().unwrap());
    }
}
