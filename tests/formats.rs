//! Every fixture in every output format, through the server: the matrix that users live in.

use fovea::base::{Format, Limits};
use fovea::decode;

use crate::support::fovea::{Fovea, fixtures};

/// Whether a file of the fixtures is a picture that can be read.
fn is_picture(name: &str) -> bool {
    let known = ["jpg", "png", "webp", "avif", "gif", "tiff", "bmp", "svg"];
    name.rsplit('.').next().is_some_and(|extension| known.contains(&extension))
}

#[tokio::test]
async fn every_format_in_becomes_every_format_out() {
    let server = Fovea::start("").await;
    let mut names: Vec<String> = std::fs::read_dir(fixtures())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| is_picture(name))
        .collect();
    names.sort();
    assert!(names.len() > 40, "the fixtures are there");
    for name in &names {
        let upright =
            decode::probe(&std::fs::read(fixtures().join(name)).unwrap(), &Limits::default()).unwrap().upright();
        for format in ["jpg", "png", "webp", "avif", "gif", "auto"] {
            let path = format!("/pics/{name}/v1/w_20,h_20,fit_fill,up_1.{format}");
            let answer = server.get_with(&path, &[("accept", "image/avif,image/webp")]).await;
            assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
            let header =
                decode::probe(&answer.body, &Limits::default()).unwrap_or_else(|error| panic!("{path}: {error}"));
            assert_eq!(answer.header("content-type"), header.format.mime(), "{path}");
            if format != "auto" {
                assert_eq!(header.format, Format::from_extension(format).unwrap(), "{path}");
            }
            assert_eq!((header.size.width, header.size.height), (20, 20), "{path}");
        }
        let contained = server.get(&format!("/pics/{name}/v1/w_16,up_1.png")).await;
        let header = decode::probe(&contained.body, &Limits::default()).unwrap();
        let ratio = f64::from(upright.height) / f64::from(upright.width);
        let expected = (16.0 * ratio).round().max(1.0);
        assert!((f64::from(header.size.height) - expected).abs() <= 1.0, "{name}: {:?} of {upright:?}", header.size);
    }
}

#[tokio::test]
async fn animations_stay_animations_between_gif_and_webp() {
    let server = Fovea::start("").await;
    for (name, format) in
        [("animated.webp", "gif"), ("disposal.gif", "webp"), ("disposal.gif", "gif"), ("animated.webp", "webp")]
    {
        let before = decode::probe(&std::fs::read(fixtures().join(name)).unwrap(), &Limits::default()).unwrap();
        assert!(before.frames > 1, "{name} is animated");
        let kept = server.get(&format!("/pics/{name}/v1/w_24.{format}")).await;
        let after = decode::probe(&kept.body, &Limits::default()).unwrap();
        assert_eq!((after.frames, after.loops), (before.frames, before.loops), "{name} to {format}");
        let still = server.get(&format!("/pics/{name}/v1/w_24,anim_0.{format}")).await;
        assert_eq!(decode::probe(&still.body, &Limits::default()).unwrap().frames, 1, "{name} to {format}");
    }
    let auto = server.get_with("/pics/disposal.gif/v1/w_24.auto", &[("accept", "image/avif,image/webp")]).await;
    assert_eq!(auto.header("content-type"), "image/webp", "AVIF would lose the movement");
    let base = server.get_with("/pics/disposal.gif/v1/w_24.auto", &[("accept", "*/*")]).await;
    assert_eq!(base.header("content-type"), "image/gif");
}

#[tokio::test]
async fn what_the_picture_needs_decides_auto() {
    let server = Fovea::start("").await;
    for (path, accept, expected) in [
        // Transparency never becomes a JPEG.
        ("/pics/shapes.png/v1/w_100.auto", "*/*", "image/png"),
        // Flat graphics stay without loss.
        ("/pics/chart.svg/v1/w_300.auto", "image/avif,image/webp", "image/webp"),
        ("/pics/chart.svg/v1/w_300.auto", "*/*", "image/png"),
        ("/pics/mountains.jpg/v1/w_100.auto", "image/avif,image/webp", "image/avif"),
        ("/pics/mountains.jpg/v1/w_100.auto", "*/*", "image/jpeg"),
    ] {
        let answer = server.get_with(path, &[("accept", accept)]).await;
        assert_eq!(answer.header("content-type"), expected, "{path} {accept}");
    }
}

#[tokio::test]
async fn an_answer_is_never_larger_than_the_original_at_its_size() {
    let server = Fovea::start("").await;
    for name in ["mountains.jpg", "shapes.png", "progressive.jpg", "lossy.webp", "disposal.gif", "palette8.png"] {
        let format = name.rsplit('.').next().unwrap();
        let original = server.get(&format!("/pics/{name}/v1/orig.{format}")).await.body.len();
        for quality in ["", ",q_100"] {
            let answer = server.get(&format!("/pics/{name}/v1/w_8000{quality}.{format}")).await;
            assert_eq!(answer.status, 200);
            assert!(answer.body.len() <= original, "{name}{quality}: {} of {original} bytes", answer.body.len());
        }
    }
    // Turned, the original's bytes cannot stand for an answer; a lower quality makes it no larger.
    let original = server.get("/pics/mountains.jpg/v1/orig.jpg").await.body.len();
    for turned in ["rot_90,q_100", "flip_h,q_98"] {
        let answer = server.get(&format!("/pics/mountains.jpg/v1/{turned}.jpg")).await;
        assert_eq!(answer.status, 200, "{turned}");
        let (length, half) = (answer.body.len(), original / 2);
        assert!((half..=original).contains(&length), "{turned}: {length} of {original} bytes");
    }
}

#[tokio::test]
async fn a_film_that_is_too_long_is_refused_and_not_cut() {
    for limits in ["frames_max = 3", "animation_pixels_max = 500"] {
        let server = Fovea::start(&format!("[limits]\n{limits}\n")).await;
        for format in ["webp", "gif", "auto"] {
            let film = server.get(&format!("/pics/disposal.gif/v1/w_10.{format}")).await;
            assert_eq!(film.status, 413, "{limits} {format}");
            assert!(film.json()["detail"].as_str().is_some_and(|detail| detail.contains("anim_0")), "{}", film.json());
        }
        for still in ["w_10,anim_0.webp", "w_10.jpg", "info.json"] {
            assert_eq!(server.get(&format!("/pics/disposal.gif/v1/{still}")).await.status, 200, "{limits} {still}");
        }
    }
}
