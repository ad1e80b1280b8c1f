//! Mezzanines, from outside: made once, kept, rendered from; and never in the way of the truth.

use crate::origin::{dimensions, wait_for_store};
use crate::support::fovea::{Fovea, Response, samples};

/// 1633 pixels wide: its mezzanine is 640.
const PHOTO: &str = "mountains.jpg";

const PLAIN: &str = "[category.plain]\nsource = \"file:originals\"\nunsigned = \"options\"\nmezzanine = \"off\"\n";

async fn made(server: &Fovea) -> f64 {
    server.metric("fovea_render_mezzanines_total", &[]).await
}

fn took(answer: &Response, stage: &str) -> bool {
    answer.header("server-timing").contains(&format!("{stage};dur"))
}

#[tokio::test]
async fn the_first_variant_makes_them_and_later_ones_read_no_original() {
    // A folder of its own: the harness writes the others anew at every start, which changes the originals' state.
    let own = "[category.own]\nsource = \"file:own\"\nunsigned = \"options\"\n";
    let server = Fovea::start(own).await;
    std::fs::copy(samples().join(PHOTO), server.folder.path().join("own").join(PHOTO)).unwrap();
    let first = server.get(&format!("/own/{PHOTO}/v1/w_400.jpg")).await;
    assert!(first.status == 200 && took(&first, "mezzanine"), "{first:?}");
    assert_eq!((dimensions(&first.body).0, made(&server).await), (400, 1.0));
    let read = server.metric("fovea_source_bytes_total", &[]).await;
    for variant in ["w_399.webp", "w_200,h_200,fit_cover.avif", "w_100,rot_90.png", "w_100,crop_0.25:0.25:0.5:0.5.jpg"]
    {
        let later = server.get(&format!("/own/{PHOTO}/v1/{variant}")).await;
        assert!(later.status == 200 && !took(&later, "mezzanine"), "{variant}: {later:?}");
    }
    assert_eq!((made(&server).await, server.metric("fovea_source_bytes_total", &[]).await), (1.0, read));
    wait_for_store(&server).await;

    // Another process takes them from the store, for another version of the URL too: the original is the same.
    let server = server.restart(own).await;
    let later = server.get(&format!("/own/{PHOTO}/v2/w_398.jpg")).await;
    assert!(later.status == 200 && !took(&later, "mezzanine"), "{later:?}");
    assert_eq!((made(&server).await, server.metric("fovea_source_bytes_total", &[]).await), (0.0, 0.0));
}

#[tokio::test]
async fn equal_plans_give_equal_bytes_whatever_was_made_before() {
    let config = format!("{PLAIN}[derivatives]\nstore = \"none\"\n[memory]\nmezzanine_bytes = 0\n");
    let (warm, cold) = (Fovea::start("").await, Fovea::start(&config).await);
    for variant in ["w_300.jpg", "w_640.webp", "w_200,h_300,fit_cover,g_n.jpg"] {
        let path = format!("/pics/{PHOTO}/v1/{variant}");
        let (warm, cold) = (warm.get(&path).await, cold.get(&path).await);
        assert_eq!((warm.header("etag"), &warm.body), (cold.header("etag"), &cold.body), "{variant}");
    }
    // Where the rule names the original, mezzanines change nothing.
    let (with, without) = (
        warm.get(&format!("/pics/{PHOTO}/v1/w_1200.jpg")).await,
        cold.get(&format!("/plain/{PHOTO}/v1/w_1200.jpg")).await,
    );
    assert_eq!(with.body, without.body);
}

#[tokio::test]
async fn a_new_version_of_a_url_shows_the_new_original() {
    let server = Fovea::start("").await;
    let original = server.folder.path().join("originals/changing.jpg");
    std::fs::copy(samples().join(PHOTO), &original).unwrap();
    let old = server.get("/pics/changing.jpg/v1/w_320.jpg").await;
    assert_eq!((dimensions(&old.body), made(&server).await), ((320, 240), 1.0));
    std::fs::copy(samples().join("brushes.jpg"), &original).unwrap();
    let new = server.get("/pics/changing.jpg/v2/w_320.jpg").await;
    assert_eq!((dimensions(&new.body), made(&server).await), ((320, 252), 2.0), "1594x1254 at 320");
    assert_eq!(server.get("/pics/changing.jpg/v1/w_320.jpg").await.body, old.body, "what v1 answered stays");
}

#[tokio::test]
async fn a_purge_takes_them_too() {
    let server = Fovea::start("").await;
    server.get(&format!("/pics/{PHOTO}/v1/w_400.jpg")).await;
    wait_for_store(&server).await;
    let purged = server.purge(serde_json::json!({ "asset": format!("pics/{PHOTO}") })).await;
    assert_eq!(purged.status, 200, "{purged:?}");
    let again = server.get(&format!("/pics/{PHOTO}/v1/w_400.jpg")).await;
    assert!(took(&again, "mezzanine"), "{again:?}");
    assert_eq!(made(&server).await, 2.0);
}

#[tokio::test]
async fn misses_of_one_original_that_overlap_decode_it_once() {
    let server = Fovea::start("").await;
    let paths: Vec<String> = (0..24).map(|at| format!("/pics/{PHOTO}/v1/w_{}.jpg", 100 + 10 * at)).collect();
    let answers = futures_util::future::join_all(paths.iter().map(|path| server.get(path))).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(made(&server).await, 1.0);
    assert_eq!(server.metric("fovea_render_variants_total", &[]).await, 24.0);
}

#[tokio::test]
async fn graphics_stay_as_they_are_and_transparency_is_kept() {
    let server = Fovea::start(PLAIN).await;
    std::fs::write(server.folder.path().join("originals/large.png"), stripes()).unwrap();
    let before = made(&server).await;
    let graphics = server.get("/pics/large.png/v1/w_300.png").await;
    let direct = server.get("/plain/large.png/v1/w_300.png").await;
    assert_eq!((graphics.body, made(&server).await), (direct.body, before), "flat graphics have no mezzanine");
    // A photo with an alpha channel: the corner of a rotated and padded picture is transparent.
    let photo = server.get(&format!("/pics/{PHOTO}/v1/w_1500,h_1500,fit_pad,bg_00000000.png")).await;
    std::fs::write(server.folder.path().join("originals/cut.png"), &photo.body).unwrap();
    let answer = server.get("/pics/cut.png/v1/w_300.webp").await;
    assert!(answer.status == 200 && took(&answer, "mezzanine"), "{answer:?}");
    assert_eq!(made(&server).await, before + 1.0);
    let info = server.get("/pics/cut.png/v1/info.json").await.json();
    assert_eq!(info["alpha"], true, "{info}");
    let png = server.get("/pics/cut.png/v1/w_300.png").await;
    let reader = png::Decoder::new(std::io::Cursor::new(png.body.to_vec())).read_info().unwrap();
    assert_eq!(reader.info().color_type, png::ColorType::Rgba);
}

#[tokio::test]
async fn checked_versions_are_checked_without_the_original_too() {
    let checked = "[category.checked]\nsource = \"file:originals\"\nunsigned = \"options\"\nversions = \"checked\"\n";
    let server = Fovea::start(checked).await;
    let info = server.get(&format!("/pics/{PHOTO}/v1/info.json")).await.json();
    let version = info["version"].as_str().unwrap().to_owned();
    for width in [300, 299] {
        assert_eq!(server.get(&format!("/checked/{PHOTO}/{version}/w_{width}.jpg")).await.status, 200);
        let other = server.get(&format!("/checked/{PHOTO}/h0123456789abcdef/w_{width}.jpg")).await;
        assert_eq!(other.status, 404, "{other:?}");
    }
}

/// A 1600x1200 RGB PNG of coloured stripes with slanted edges.
fn stripes() -> Vec<u8> {
    let colour = |x: u32, y: u32| match (x + y / 7) / 100 % 4 {
        0 => [200, 30, 30],
        1 => [250, 250, 250],
        2 => [20, 60, 180],
        _ => [0, 0, 0],
    };
    let pixels: Vec<u8> = (0..1200).flat_map(|y| (0..1600).flat_map(move |x| colour(x, y))).collect();
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, 1600, 1200);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    file
}
