//! Hostile originals, through the server: a 4xx, or what could be saved and flagged; in under two seconds, and little memory.

use std::time::{Duration, Instant};

use crate::support::fovea::{Fovea, fixtures};
use crate::support::hostile::{self, Expect, Hostile, many_frames_gif};
use crate::support::origin::{Origin, answer};

/// How long an answer to a hostile original may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// How much memory more than before it may take.
const MEMORY_MORE_MAX: u64 = 64 << 20;

/// What is asked of every hostile original: a thumbnail, a film, facts.
const ASKED: [&str; 4] = ["w_200.jpg", "w_64.webp", "w_300,anim_0.png", "info.json"];

/// Measures one answer: how it went, and what was too much about it.
async fn ask(server: &Fovea, path: &str) -> (crate::support::fovea::Response, Vec<String>) {
    server.forget_peak();
    let before = server.resident_bytes();
    let begun = Instant::now();
    let answer = server.get(path).await;
    let (took, more) = (begun.elapsed(), server.resident_bytes_peak().saturating_sub(before));
    let mut wrong = Vec::new();
    if took >= ANSWER_WITHIN {
        wrong.push(format!("{path} took {took:?}"));
    }
    if more >= MEMORY_MORE_MAX {
        wrong.push(format!("{path} took {} MiB more ({})", more >> 20, answer.status));
    }
    (answer, wrong)
}

/// Sends every original through every question; tells all that went wrong at once.
async fn check(format: &str, originals: Vec<Hostile>) {
    let server = Fovea::start("").await;
    // One of each first, so that what a first use costs is not laid on a hostile file.
    for warm in
        ["mountains.jpg", "shapes.png", "disposal.gif", "animated.webp", "chart.svg", "alpha.avif", "rgba8.tiff"]
    {
        for asked in ASKED {
            assert_eq!(server.get(&format!("/pics/{warm}/v1/{asked}")).await.status, 200, "{warm} {asked}");
        }
    }
    let mut wrong = Vec::new();
    assert!(!originals.is_empty(), "{format}");
    for Hostile { name, bytes, expect } in originals {
        std::fs::write(server.folder.path().join("originals").join(&name), bytes).unwrap();
        for asked in ASKED {
            let path = format!("/pics/{name}/v1/{asked}");
            let (answer, too_much) = ask(&server, &path).await;
            wrong.extend(too_much);
            let saved = answer.status == 200 && answer.header("fovea-damaged") == "1";
            // Facts are of the header, the small picture that they look at may be what could be saved.
            let fine = expect == Expect::Anything || asked == "info.json";
            if !(answer.status.is_client_error() || saved || (fine && answer.status == 200)) {
                wrong.push(format!(
                    "{path}: {} {}",
                    answer.status,
                    String::from_utf8_lossy(&answer.body[..answer.body.len().min(200)])
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(server.get("/pics/mountains.jpg/v1/w_77.jpg").await.status, 200, "the server lives");
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(fixtures().join(name)).unwrap()
}

#[tokio::test]
async fn the_corpus() {
    let names = ["bomb30k_1bit.png", "lying_dims.jpg", "text.jpg"];
    let known = names.map(|name| Hostile {
        name: name.to_owned(),
        bytes: fixture(&format!("hostile/{name}")),
        expect: Expect::Refused,
    });
    let empty = Hostile { name: "zero.jpg".to_owned(), bytes: Vec::new(), expect: Expect::Refused };
    check("corpus", known.into_iter().chain([empty]).collect()).await;
}

#[tokio::test]
async fn jpegs() {
    check("jpeg", hostile::jpegs(&fixture("smooth.jpg"), &fixture("smooth_progressive.jpg"))).await;
}

#[tokio::test]
async fn pngs() {
    check("png", hostile::pngs(&fixture("rgba8.png"), &fixture("palette8.png"))).await;
}

#[tokio::test]
async fn webps() {
    check("webp", hostile::webps(&fixture("lossy.webp"), &fixture("lossless.webp"), &fixture("animated.webp"))).await;
}

#[tokio::test]
async fn gifs() {
    check("gif", hostile::gifs(&fixture("disposal.gif"))).await;
}

#[tokio::test]
async fn tiffs() {
    let [picture, palette, jpeg] = ["rgb8_lzw.tiff", "palette8_lzw.tiff", "rgb8_jpeg_tiled.tiff"].map(fixture);
    check("tiff", hostile::tiffs(&picture, &palette, &jpeg)).await;
}

#[tokio::test]
async fn bmps() {
    check("bmp", hostile::bmps(&fixture("rgb24.bmp"), &fixture("palette8.bmp"))).await;
}

#[tokio::test]
async fn avifs() {
    check("avif", hostile::avifs(&fixture("rgb420.avif"), &fixture("grid.avif"))).await;
}

#[tokio::test]
async fn svgs() {
    check("svg", hostile::svgs()).await;
}

/// Nothing outside of a document is looked at, nor what it embeds.
#[tokio::test]
async fn a_document_reaches_nothing() {
    let elsewhere = Origin::start(|_, _| answer(200, "<svg xmlns='http://www.w3.org/2000/svg'/>")).await;
    let server = Fovea::start("").await;
    let originals = server.folder.path().join("originals");
    std::fs::copy(fixtures().join("rgb8.png"), originals.join("near.png")).unwrap();
    let (url, folder) = (elsewhere.url(), originals.display().to_string());
    let red = "<rect width='40' height='40' fill='#f00'/>";
    for (name, reach) in [
        ("image", format!("<image width='40' height='40' xlink:href='{url}/a.png'/>")),
        ("near", "<image width='40' height='40' xlink:href='near.png'/>".to_owned()),
        ("file", format!("<image width='40' height='40' href='file://{folder}/near.png'/>")),
        ("use", format!("<use xlink:href='{url}/a.svg#a'/>")),
        ("style", format!("<style>@import url({url}/a.css); text {{ fill: url({url}/a.svg#p) }}</style>")),
        (
            "sheet",
            format!(
                "<style>@font-face {{ font-family: a; src: url({url}/a.ttf) }}</style><text font-family='a'></text>"
            ),
        ),
        ("filter", format!("<filter id='f'><feImage href='{url}/a.png'/></filter><g filter='url(#f)'></g>")),
    ] {
        let document = format!(
            "<?xml-stylesheet href='{url}/a.css'?><svg xmlns='http://www.w3.org/2000/svg' \
             xmlns:xlink='http://www.w3.org/1999/xlink' width='40' height='40'>{red}{reach}</svg>"
        );
        std::fs::write(originals.join(format!("{name}.svg")), document).unwrap();
        let drawn = server.get(&format!("/pics/{name}.svg/v1/w_40.png")).await;
        assert_eq!(drawn.status, 200, "{name}: {}", String::from_utf8_lossy(&drawn.body));
        let mut reader = png::Decoder::new(std::io::Cursor::new(&drawn.body[..]));
        reader.set_transformations(png::Transformations::EXPAND);
        let mut reader = reader.read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!(pixels[..3], [255, 0, 0], "{name}: only the document's own is drawn");
    }
    assert_eq!(elsewhere.count(), 0);
}

#[tokio::test]
async fn ten_thousand_frames_are_bounded() {
    let server = Fovea::start("").await;
    let put =
        |name: &str, bytes: &[u8]| std::fs::write(server.folder.path().join("originals").join(name), bytes).unwrap();
    put("long.gif", &many_frames_gif(10_000, 320, 240));
    assert_eq!(server.get("/pics/disposal.gif/v1/w_20.webp").await.status, 200);
    for (asked, status) in [
        ("w_20.webp", 413),
        ("w_20.gif", 413),
        ("w_20.auto", 413),
        ("w_20,anim_0.webp", 200),
        ("w_20.jpg", 200),
        ("info.json", 200),
    ] {
        let (answer, wrong) = ask(&server, &format!("/pics/long.gif/v1/{asked}")).await;
        assert_eq!((answer.status.as_u16(), wrong), (status, vec![]), "{asked}");
    }
}

#[tokio::test]
async fn truncations_never_crash_the_server() {
    let server = Fovea::start("").await;
    let originals = server.folder.path().join("originals");
    for name in [
        "baseline_420.jpg",
        "progressive.jpg",
        "cmyk.jpg",
        "palette8.png",
        "rgb16_interlaced.png",
        "lossy.webp",
        "lossless_alpha.webp",
        "animated.webp",
        "alpha.avif",
        "grid.avif",
        "disposal.gif",
        "gray16.tiff",
        "palette8_lzw.tiff",
        "rgb8_jpeg_tiled.tiff",
        "rgb24.bmp",
        "quarters.svg",
    ] {
        let whole = std::fs::read(fixtures().join(name)).unwrap();
        let picture = server.get(&format!("/pics/{name}/v1/w_30.png")).await.body;
        for at in 0..16 {
            let cut = format!("cut_{at}_{name}");
            std::fs::write(originals.join(&cut), &whole[..whole.len() * at / 16]).unwrap();
            let (answer, wrong) = ask(&server, &format!("/pics/{cut}/v1/w_30.png")).await;
            assert_eq!(wrong, Vec::<String>::new());
            // What is cut off behind the last pixel takes nothing from the picture.
            let whole = answer.body == picture;
            let saved = answer.status == 200 && (whole || answer.header("fovea-damaged") == "1");
            assert!(saved || answer.status.is_client_error(), "{cut}: {} {:?}", answer.status, answer.headers);
            let facts = server.get(&format!("/pics/{cut}/v1/info.json")).await;
            assert!(facts.status == 200 || facts.status.is_client_error(), "{cut}: {}", facts.status);
        }
    }
    assert_eq!(server.get("/pics/baseline_420.jpg/v1/w_30.png").await.status, 200, "the server lives");
}
