//! Whole paths: what is read, how it is spelled, what is refused.

use std::collections::BTreeMap;

use super::*;

pub(super) const NOW: u64 = 1_800_000_000;

fn shipped_presets() -> BTreeMap<String, String> {
    toml::from_str(include_str!("../../config/presets.toml")).unwrap()
}

pub(super) fn key(kid: &str, secret: u8, categories: &[&str]) -> Key {
    Key { kid: kid.into(), secret: vec![secret; 32], categories: categories.iter().map(|&name| name.into()).collect() }
}

pub(super) fn site() -> Urls {
    let open = Rules { unsigned: Unsigned::Options, originals: Originals::Public, ..Rules::default() };
    let mut presets = shipped_presets();
    presets.insert("art".into(), "w_300,fit_cover,g_ne,gray,up_1,crop_0.1:0:0.5:1,anim_0,blur_2,bg_fff".into());
    let categories = [
        ("open", open.clone()),
        ("shop", Rules::default()),
        ("vault", Rules { unsigned: Unsigned::None, originals: Originals::Public, ..Rules::default() }),
        ("frozen", Rules { versions: Versions::Signed, ..Rules::default() }),
        ("ladder", Rules { sizes: vec![200, 400], ..open.clone() }),
        ("tiny", Rules { side_max: 1000, pixels_max: 500_000, presets: Some(vec!["thumb".into()]), ..open }),
    ];
    let categories = categories.map(|(name, rules)| (name.to_owned(), rules)).into();
    let keys = vec![key("k1", 1, &[]), key("k2", 2, &["shop"])];
    Urls::new(&Settings { presets, categories, keys }).unwrap()
}

fn plan(urls: &Urls, path: &str) -> Plan {
    match urls.read(path, NOW).unwrap_or_else(|error| panic!("{path}: {error}")).ask {
        Ask::Image(plan) => *plan,
        other => panic!("{path}: {other:?}"),
    }
}

#[test]
fn every_option() {
    let urls = site();
    let base = Plan::DEFAULT;
    let flip = |horizontal, vertical| Flip { horizontal, vertical };
    let colour = |rgba: u32| Some(Colour { rgba: rgba.to_be_bytes() });
    let table = [
        ("w_400", Plan { width: Some(Width::Px(400)), ..base.clone() }),
        ("w_auto", Plan { width: Some(Width::Auto), ..base.clone() }),
        ("h_300", Plan { height: Some(300), ..base.clone() }),
        ("fit_contain", base.clone()),
        ("fit_cover", Plan { fit: Fit::Cover, ..base.clone() }),
        ("fit_fill", Plan { fit: Fit::Fill, ..base.clone() }),
        ("fit_pad", Plan { fit: Fit::Pad, ..base.clone() }),
        ("fit_crop", Plan { fit: Fit::Crop, ..base.clone() }),
        ("g_n", Plan { gravity: Gravity::Point(0.5, 0.0), ..base.clone() }),
        ("g_se", Plan { gravity: Gravity::Point(1.0, 1.0), ..base.clone() }),
        ("g_0.25:1", Plan { gravity: Gravity::Focal(0.25, 1.0), ..base.clone() }),
        ("g_0.5:0.333333", Plan { gravity: Gravity::Focal(0.5, 0.333333), ..base.clone() }),
        ("crop_10:0:200:100", Plan { crop: Some(Crop::Px(10, 0, 200, 100)), ..base.clone() }),
        ("crop_0:0:1:2", Plan { crop: Some(Crop::Px(0, 0, 1, 2)), ..base.clone() }),
        ("crop_0:0:1:0.5", Plan { crop: Some(Crop::Fraction(0.0, 0.0, 1.0, 0.5)), ..base.clone() }),
        ("crop_0.25:0.1:0.5:0.9", Plan { crop: Some(Crop::Fraction(0.25, 0.1, 0.5, 0.9)), ..base.clone() }),
        ("rot_90", Plan { rotate: 90, ..base.clone() }),
        ("rot_270", Plan { rotate: 270, ..base.clone() }),
        ("flip_h", Plan { flip: flip(true, false), ..base.clone() }),
        ("flip_v", Plan { flip: flip(false, true), ..base.clone() }),
        ("flip_hv", Plan { flip: flip(true, true), ..base.clone() }),
        ("dpr_1.5", Plan { dpr: Dpr(150), ..base.clone() }),
        ("dpr_2.25", Plan { dpr: Dpr(225), ..base.clone() }),
        ("dpr_8", Plan { dpr: Dpr(800), ..base.clone() }),
        ("bg_f80", Plan { background: colour(0xff88_00ff), ..base.clone() }),
        ("bg_fa8072", Plan { background: colour(0xfa80_72ff), ..base.clone() }),
        ("bg_00000080", Plan { background: colour(0x80), ..base.clone() }),
        ("bg_11223344", Plan { background: colour(0x1122_3344), ..base.clone() }),
        ("pad_10", Plan { pad: [10; 4], ..base.clone() }),
        ("pad_10:20", Plan { pad: [10, 20, 10, 20], ..base.clone() }),
        ("pad_10:20:30", Plan { pad: [10, 20, 30, 20], ..base.clone() }),
        ("pad_0:0:0:5", Plan { pad: [0, 0, 0, 5], ..base.clone() }),
        ("pad_10:10:20", Plan { pad: [10, 10, 20, 10], ..base.clone() }),
        ("blur_0.5", Plan { blur: 0.5, ..base.clone() }),
        ("blur_100", Plan { blur: 100.0, ..base.clone() }),
        ("sharp_1.05", Plan { sharpen: 1.05, ..base.clone() }),
        ("gray", Plan { gray: true, ..base.clone() }),
        ("up_1", Plan { enlarge: true, ..base.clone() }),
        ("anim_0", Plan { animate: false, ..base.clone() }),
        ("meta_copyright", Plan { metadata: Metadata::Copyright, ..base.clone() }),
        ("meta_all", Plan { metadata: Metadata::All, ..base.clone() }),
        ("icc_keep", Plan { keep_profile: true, ..base.clone() }),
        ("q_1", Plan { quality: Some(Quality::Level(1)), ..base.clone() }),
        ("q_100", Plan { quality: Some(Quality::Level(100)), ..base.clone() }),
        ("q_medium-low", Plan { quality: Some(Quality::Step(QualityStep::MediumLow)), ..base.clone() }),
        ("maxb_50000", Plan { bytes_max: Some(50_000), ..base.clone() }),
        ("dl_Y2F0LmpwZw", Plan { download: Some("cat.jpg".into()), ..base.clone() }),
        ("thumb", Plan { width: Some(Width::Px(128)), height: Some(128), ..base }),
    ];
    for (variant, wanted) in table {
        let path = format!("/open/a.jpg/v1/{variant}.auto");
        let request = urls.read(&path, NOW).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(request.ask, Ask::Image(Box::new(wanted)), "{path}");
        assert_eq!((request.redirect, request.canonical), (None, path.clone()), "{path} is canonical");
    }
}

#[test]
fn one_spelling() {
    let urls = site();
    let table = [
        ("h_300,w_400", "w_400,h_300"),
        ("q_80,fit_cover,h_3,w_4", "w_4,h_3,fit_cover,q_80"),
        ("w_0400", "w_400"),
        ("w_400,fit_contain", "w_400"),
        ("w_400,g_c", "w_400"),
        ("g_.50:1.0", "g_0.5:1"),
        ("rot_0", "fit_contain"),
        ("up_0,anim_1,meta_none,gray_0,pad_0:0:0:0,blur_0,sharp_0.00,dpr_1.00", "fit_contain"),
        ("crop_0:0:1:1", "fit_contain"),
        ("crop_0.0:0.0:1.0:1.0", "fit_contain"),
        ("crop_0.10:0:0.5:1", "crop_0.1:0:0.5:1"),
        ("gray_1", "gray"),
        ("flip_vh", "flip_hv"),
        ("dpr_2.50", "dpr_2.5"),
        ("bg_FFF", "bg_fff"),
        ("bg_ffffff", "bg_fff"),
        ("bg_FFEEDDff", "bg_fed"),
        ("bg_12345678", "bg_12345678"),
        ("pad_5:5:5:5", "pad_5"),
        ("pad_5:6:5:6", "pad_5:6"),
        ("pad_5:6:7:6", "pad_5:6:7"),
        ("w_100,thumb", "thumb,w_100"),
        ("thumb,w_128", "thumb"),
        ("thumb,fit_contain", "thumb"),
        ("thumbnail,q_85,h_200", "thumbnail,h_200"),
        ("art,gray_0,anim_1,up_0,fit_contain,g_c", "art,fit_contain,g_c,gray_0,up_0,anim_1"),
        ("art,crop_0:0:1:1,blur_0", "art,crop_0:0:1:1,blur_0"),
        ("gray_1,art", "art"),
        (
            "icc_keep,meta_all,sharp_1,blur_1,pad_1,bg_000,dpr_2,flip_h,rot_90,crop_1:2:3:4,g_n,fit_pad,h_2,w_2,maxb_9,q_9",
            "w_2,h_2,fit_pad,g_n,crop_1:2:3:4,rot_90,flip_h,dpr_2,bg_000,pad_1,blur_1,sharp_1,meta_all,icc_keep,q_9,maxb_9",
        ),
        // `../a.jpg`, whose slash and leading dots go.
        ("dl_Li4vYS5qcGc", "dl_X2EuanBn"),
    ];
    for (written, canonical) in table {
        let request =
            urls.read(&format!("/open/a/v0/{written}.webp"), NOW).unwrap_or_else(|e| panic!("{written}: {e}"));
        let wanted = format!("/open/a/v0/{canonical}.webp");
        assert_eq!(request.canonical, wanted, "{written}");
        assert_eq!(request.redirect, (written != canonical).then(|| wanted.clone()), "{written}");
        let again = urls.read(&wanted, NOW).unwrap();
        assert_eq!((again.redirect, again.ask), (None, request.ask), "{written}");
    }
    let jpeg = urls.read("/open/a/v0/w_1.jpeg", NOW).unwrap();
    assert_eq!(jpeg.redirect.as_deref(), Some("/open/a/v0/w_1.jpg"));
}

#[test]
fn percent_encoding_alone_never_redirects() {
    let urls = site();
    let table = [
        ("/open/a.jpg/v1/w_4%2Ch_3%2cg_0.5%3A0.5.auto", "/open/a.jpg/v1/w_4,h_3,g_0.5:0.5.auto"),
        ("/%6fpen/a%2Ejpg/%761/%74humb.auto", "/open/a.jpg/v1/thumb.auto"),
        ("/open/caf%c3%a9/v1/thumb.auto", "/open/caf%C3%A9/v1/thumb.auto"),
        ("/open/café/v1/thumb.auto", "/open/caf%C3%A9/v1/thumb.auto"),
        ("/open/a+b@c!d,e:f g%25/v1/thumb.auto", "/open/a%2Bb%40c%21d,e:f%20g%25/v1/thumb.auto"),
        ("/open/a/v1/thumb.auto?w=3&/x", "/open/a/v1/thumb.auto"),
    ];
    for (path, canonical) in table {
        let request = urls.read(path, NOW).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!((request.redirect, &*request.canonical), (None, canonical), "{path}");
    }
    let request = urls.read("/open/a%252e/%2541/v1/thumb.auto", NOW).unwrap();
    assert_eq!(request.id, "a%2e/%41", "decoded once, not twice");
}

#[test]
fn ids_and_versions() {
    let urls = site();
    let request = urls.read("/open/shoes/red-42/side.v2.jpg/v3/thumb.auto", NOW).unwrap();
    assert_eq!((&*request.category, &*request.id), ("open", "shoes/red-42/side.v2.jpg"));
    assert_eq!(request.version, Version::Number(3));
    assert_eq!(request.preset.as_deref(), Some("thumb"));
    // The longest id, all of it encoded, still leaves room for a canonical path.
    let id = "é".repeat(ID_BYTES_MAX / 2);
    let request = urls.read(&format!("/open/{id}/v1/thumb.auto"), NOW).unwrap();
    assert_eq!(urls.read(&request.canonical, NOW).unwrap().id, id);

    for (text, version) in [
        ("v0", Version::Latest),
        ("v18446744073709551615", Version::Number(u64::MAX)),
        ("h0123456789abcdef", Version::Hash([1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef])),
    ] {
        assert_eq!(urls.read(&format!("/open/a/{text}/thumb.auto"), NOW).unwrap().version, version);
        assert_eq!(version.text(), text);
    }
}

#[test]
fn what_is_refused() {
    use ErrorKind::*;
    let urls = site();
    let long_id = format!("/open/{}/v1/thumb.auto", "a".repeat(ID_BYTES_MAX + 1));
    let long_path = format!("/open/a/v1/thumb.auto{}", "a".repeat(PATH_BYTES_MAX));
    let long_name = format!("/open/a/v1/dl_{}.auto", "YWFh".repeat(100));
    let table = [
        ("", Malformed, None),
        ("open/a/v1/thumb.auto", Malformed, None),
        ("/", Malformed, Some("/")),
        ("/open/v1/thumb.auto", Malformed, Some("/open/v1/thumb.auto")),
        ("/open//v1/thumb.auto", Malformed, Some("")),
        ("/open/a//b/v1/thumb.auto", Malformed, Some("")),
        ("//a/v1/thumb.auto", Malformed, Some("")),
        ("/open/a/v1/thumb.auto/", Malformed, Some("thumb.auto")),
        ("/open/../v1/thumb.auto", Malformed, Some("..")),
        ("/open/a/%2e%2E/b/v1/thumb.auto", Malformed, Some("%2e%2E")),
        ("/open/a/./b/v1/thumb.auto", Malformed, Some(".")),
        ("/open/a%2fb/v1/thumb.auto", Malformed, Some("a%2fb")),
        ("/open/a%5cb/v1/thumb.auto", Malformed, Some("a%5cb")),
        ("/open/a\\b/v1/thumb.auto", Malformed, Some("a\\b")),
        ("/open/a%00/v1/thumb.auto", Malformed, Some("a%00")),
        ("/open/a%0a/v1/thumb.auto", Malformed, Some("a%0a")),
        ("/open/a\x7f/v1/thumb.auto", Malformed, Some("a\x7f")),
        ("/open/a%c2%85/v1/thumb.auto", Malformed, Some("a%c2%85")),
        ("/open/a%ff/v1/thumb.auto", Malformed, Some("a%ff")),
        ("/open/a%c3/%a9/v1/thumb.auto", Malformed, Some("a%c3")),
        ("/open/a%/v1/thumb.auto", Malformed, Some("a%")),
        ("/open/a%4/v1/thumb.auto", Malformed, Some("a%4")),
        ("/open/a%zz/v1/thumb.auto", Malformed, Some("a%zz")),
        ("/open/a%+1/v1/thumb.auto", Malformed, Some("a%+1")),
        (&long_id, Malformed, Some(&long_id[6..86])),
        (&long_path, Malformed, None),
        ("/open/a/1/thumb.auto", Malformed, Some("1")),
        ("/open/a/v01/thumb.auto", Malformed, Some("v01")),
        ("/open/a/v/thumb.auto", Malformed, Some("v")),
        ("/open/a/v+1/thumb.auto", Malformed, Some("v+1")),
        ("/open/a/v18446744073709551616/thumb.auto", Malformed, Some("v18446744073709551616")),
        ("/open/a/h0123456789abcde/thumb.auto", Malformed, Some("h0123456789abcde")),
        ("/open/a/h0123456789ABCDEF/thumb.auto", Malformed, Some("h0123456789ABCDEF")),
        ("/open/a/h+123456789abcdef/thumb.auto", Malformed, Some("h+123456789abcdef")),
        ("/none/a/v1/thumb.auto", UnknownCategory, Some("none")),
        ("/open/a/v1/thumb", Malformed, Some("thumb")),
        ("/open/a/v1/.auto", Malformed, Some("")),
        ("/open/a/v1/w_1,,h_1.auto", Malformed, Some("")),
        ("/open/a/v1/w_1,.auto", Malformed, Some("")),
        ("/open/a/v1/thumb.", UnknownFormat, Some("")),
        ("/open/a/v1/thumb.tiff", UnknownFormat, Some("tiff")),
        ("/open/a/v1/thumb.jxl", UnknownFormat, Some("jxl")),
        ("/open/a/v1/thumb.json", UnknownFormat, Some("json")),
        ("/open/a/v1/thumb.AUTO", UnknownFormat, Some("AUTO")),
        ("/open/a/v1/info.jpg", UnknownFormat, Some("jpg")),
        ("/open/a/v1/orig.exe", UnknownFormat, Some("exe")),
        ("/open/a/v1/info,w_1.json", UnknownFormat, Some("json")),
        ("/open/a/v1/orig,w_1.jpg", Malformed, Some("orig")),
        ("/open/a/v1/srcset.html", UnknownOption, Some("srcset")),
        ("/open/a/v1/picture.html", UnknownOption, Some("picture")),
        ("/open/a/v1/giant.auto", UnknownPreset, Some("giant")),
        ("/open/a/v1/thumb,web.auto", BadValue, Some("web")),
        ("/open/a/v1/thumb,thumb.auto", BadValue, Some("thumb")),
        ("/open/a/v1/w_1,w_1.auto", BadValue, Some("w_1")),
        ("/open/a/v1/gray,gray_1.auto", BadValue, Some("gray_1")),
        ("/open/a/v1/W_1.auto", UnknownOption, Some("W_1")),
        ("/open/a/v1/width_1.auto", UnknownOption, Some("width_1")),
        ("/open/a/v1/_1.auto", UnknownOption, Some("_1")),
        ("/open/a/v1/w.auto", BadValue, Some("w")),
        ("/open/a/v1/trim_10.auto", UnknownOption, Some("trim_10")),
        ("/open/a/v1/px_10.auto", UnknownOption, Some("px_10")),
        ("/open/a/v1/bri_10.auto", UnknownOption, Some("bri_10")),
        ("/open/a/v1/sepia.auto", UnknownOption, Some("sepia")),
        ("/open/a/v1/invert.auto", UnknownOption, Some("invert")),
        ("/open/a/v1/round_max.auto", UnknownOption, Some("round_max")),
        ("/open/a/v1/wm_x:1.auto", UnknownOption, Some("wm_x:1")),
        ("/open/a/v1/text_x.auto", UnknownOption, Some("text_x")),
        ("/open/a/v1/frame_3.auto", UnknownOption, Some("frame_3")),
        ("/open/a/v1/g_smart.auto", BadValue, Some("g_smart")),
        ("/open/a/v1/q_auto.auto", BadValue, Some("q_auto")),
        (&long_name, BadValue, Some(&long_name[11..91])),
    ];
    for (path, kind, at) in table {
        let error = urls.read(path, NOW).expect_err(path);
        assert_eq!((error.kind, error.at.as_deref()), (kind, at), "{path}: {error}");
        assert!(!error.detail.is_empty() && error.detail.len() < 400, "{path}: {error}");
    }
}

#[test]
fn values_that_are_none() {
    let urls = site();
    let pieces = "w_ w_0 w_-1 w_+1 w_1.5 w_1e3 w_8193 w_99999999999 w_Auto h_0 h_auto h_8193 fit_inside fit_ g_x g_1 \
        g_0.5 g_0.5:1.1 g_0.5:-0.1 g_0.5:0.5:0.5 g_:1 g_0.1234567:0 g_nan:0 crop_1:2:3 crop_1:2:3:4:5 crop_1:1:1:1 \
        crop_0:0:0:1 crop_5:5:0:9 crop_5:5:9:0 crop_0.5:0:0.6:1 crop_0.5:0:2:1 crop_0:0:0.0:1 crop_0:0:9999999:1 rot_45 \
        rot_-90 rot_360 rot_090 flip_x flip_ flip_hh dpr_0 dpr_0.99 dpr_8.01 dpr_9 dpr_1.005 dpr_1. bg_ bg_ff bg_ffff \
        bg_ggg bg_+ff bg_fffffffff pad_ pad_1:2:3:4:5 pad_-1 pad_1: pad_70000 blur_0.05 blur_100.01 blur_-1 blur_1.005 \
        blur_inf sharp_10.5 sharp_ gray_2 gray_ up_2 up_true anim_2 meta_exif icc_srgb q_0 q_101 q_8.5 q_best q_ maxb_0 \
        maxb_1000000001 maxb_9k dl_ dl_! dl_YQ= dl__w dl_Li4 dl_YR";
    for piece in pieces.split_whitespace() {
        let path = format!("/open/a/v1/{piece}.auto");
        let error = urls.read(&path, NOW).expect_err(&path);
        assert_eq!((error.kind, error.at.as_deref()), (ErrorKind::BadValue, Some(piece)), "{path}: {error}");
    }
}

#[test]
fn results_stay_in_bounds() {
    let urls = site();
    let table = [
        ("/open/a/v1/w_8192.auto", None),
        ("/open/a/v1/w_4096,dpr_2.auto", None),
        ("/open/a/v1/w_4097,dpr_2.auto", Some("dpr_2")),
        ("/open/a/v1/h_1100,dpr_8.auto", Some("dpr_8")),
        ("/open/a/v1/w_8192,pad_0:0:0:1.auto", Some("pad_0:0:0:1")),
        ("/open/a/v1/pad_4000:0.auto", None),
        ("/open/a/v1/pad_5000:0.auto", Some("pad_5000:0")),
        ("/tiny/a/v1/w_1001.auto", Some("w_1001")),
        ("/tiny/a/v1/h_1001.auto", Some("h_1001")),
        ("/tiny/a/v1/w_1000,h_500.auto", None),
        ("/tiny/a/v1/w_1000,h_501.auto", Some("w_1000")),
        ("/tiny/a/v1/thumb,dpr_8.auto", Some("dpr_8")),
        ("/tiny/a/v1/w_auto.auto", Some("w_auto")),
        ("/open/a/v1/w_auto,h_2730.auto", None),
        ("/open/a/v1/w_auto,h_2731.auto", Some("h_2731")),
    ];
    for (path, at) in table {
        let error = urls.read(path, NOW).err();
        assert_eq!(error.as_ref().and_then(|error| error.at.as_deref()), at, "{path}: {error:?}");
        assert!(error.is_none_or(|error| error.kind == ErrorKind::BadValue));
    }
    let error = urls.read("/tiny/a/v1/web.auto", NOW).unwrap_err();
    assert_eq!(error.kind, ErrorKind::UnknownPreset);
    assert!(error.detail.contains("thumb") && !error.detail.contains("large"), "{error}");
}

#[test]
fn originals_and_info() {
    let urls = site();
    for extension in ["jpg", "png", "webp", "avif", "gif", "tiff", "bmp", "svg", "auto", "auto-avif"] {
        let path = format!("/open/a/v1/orig.{extension}");
        let request = urls.read(&path, NOW).unwrap();
        assert_eq!((request.ask, request.redirect, request.canonical), (Ask::Original, None, path));
    }
    let request = urls.read("/open/a/v1/orig.jpeg", NOW).unwrap();
    assert_eq!(request.redirect.as_deref(), Some("/open/a/v1/orig.jpg"));
    assert_eq!(urls.read("/open/a/v1/info.json", NOW).unwrap().ask, Ask::Info);
}

#[test]
fn outputs() {
    let urls = site();
    for name in ["auto", "auto-base", "auto-webp", "auto-avif", "jpg", "png", "webp", "avif", "gif"] {
        let output = plan(&urls, &format!("/open/a/v1/thumb.{name}")).output;
        assert_eq!((output.name(), Output::from_name(name)), (name, Some(output)));
    }
}

#[test]
fn the_presets_that_ship() {
    let urls = site();
    let sized = |name: &str| {
        let plan = plan(&urls, &format!("/open/a/v1/{name}.auto"));
        assert_eq!((plan.fit, plan.output), (Fit::Contain, Output::Negotiate));
        (plan.width, plan.height, plan.quality)
    };
    let px = |width, height, q: Option<u8>| (Some(Width::Px(width)), Some(height), q.map(Quality::Level));
    assert_eq!(sized("thumb"), px(128, 128, None));
    assert_eq!(sized("small"), px(512, 512, None));
    assert_eq!(sized("large"), px(1024, 1024, None));
    assert_eq!(sized("thumbnail"), px(300, 300, Some(85)));
    assert_eq!(sized("preview"), px(800, 600, Some(85)));
    assert_eq!(sized("web"), px(1200, 1200, Some(90)));
    assert_eq!(shipped_presets().len(), 6);
}

#[test]
fn plans_are_spelled_with_their_presets_expanded() {
    let urls = site();
    for (variant, canonical) in [
        ("thumb", "w_128,h_128"),
        ("w_128,h_128", "w_128,h_128"),
        ("thumb,w_200,dl_Y2F0LmpwZw", "w_200,h_128"),
        ("rot_0", "fit_contain"),
        ("art", "w_300,fit_cover,g_ne,crop_0.1:0:0.5:1,bg_fff,blur_2,gray,up_1,anim_0"),
    ] {
        let plan = urls.variant(variant, Output::Negotiate).unwrap();
        assert_eq!(plan.canonical(), canonical);
        assert_eq!(urls.variant(canonical, Output::Negotiate).unwrap(), Plan { download: None, ..plan });
    }
}

#[test]
fn hints_round_up_to_steps() {
    let urls = site();
    let auto = plan(&urls, "/open/a/v1/w_auto,h_300.auto");
    for (width, dpr, wanted) in [
        (None, None, (1200, 100)),
        (Some(1), None, (160, 100)),
        (Some(321), None, (480, 100)),
        (Some(480), Some(100), (480, 100)),
        (Some(1000), Some(200), (600, 200)),
        (Some(1000), Some(175), (600, 200)),
        (Some(1000), Some(125), (800, 150)),
        (Some(300), Some(263), (107, 300)),
        (Some(u32::MAX), Some(u16::MAX), (1280, 300)),
        (Some(0), Some(0), (160, 100)),
        (None, Some(200), (600, 200)),
    ] {
        let plan = auto.resolve_hints(width, dpr);
        assert_eq!((plan.width, plan.dpr), (Some(Width::Px(wanted.0)), Dpr(wanted.1)), "{width:?} {dpr:?}");
        assert!(plan.dpr.scale(wanted.0) <= super::hints::width_px_max());
    }
    let own = plan(&urls, "/open/a/v1/w_auto,dpr_4.auto").resolve_hints(Some(900), Some(100));
    assert_eq!((own.width, own.dpr), (Some(Width::Px(240)), Dpr(400)), "the URL's ratio goes before the client's");
    let fixed = plan(&urls, "/open/a/v1/w_300.auto");
    assert_eq!(fixed.resolve_hints(Some(900), Some(200)), fixed);
}
