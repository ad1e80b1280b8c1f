//! Variants of one original that are wanted at once, from outside: one decode, and the bytes that each has alone.

use crate::support::fovea::Fovea;

/// 1633 pixels wide.
const PHOTO: &str = "mountains.jpg";

/// Without mezzanines each of a page's variants would decode the original.
const PLAIN: &str = "[category.plain]\nsource = \"file:originals\"\nunsigned = \"options\"\nmezzanine = \"off\"\n";

fn page() -> Vec<String> {
    let widths = [160, 320, 480, 640, 800, 1000, 1280];
    widths.iter().flat_map(|width| ["jpg", "webp", "avif"].map(|format| format!("w_{width}.{format}"))).collect()
}

#[tokio::test]
async fn neighbours_share_decodes_and_have_the_bytes_that_they_have_alone() {
    let (together, alone) = (Fovea::start(PLAIN).await, Fovea::start(PLAIN).await);
    for category in ["pics", "plain"] {
        let paths: Vec<String> = page().iter().map(|variant| format!("/{category}/{PHOTO}/v1/{variant}")).collect();
        let shared = together.metric("fovea_render_shared_total", &[]).await;
        let answers = futures_util::future::join_all(paths.iter().map(|path| together.get(path))).await;
        let shared = together.metric("fovea_render_shared_total", &[]).await - shared;
        assert!(shared >= 4.0, "{category}: only {shared} of {} shared a decode", paths.len());
        for (path, answer) in paths.iter().zip(answers) {
            let lone = alone.get(path).await;
            assert_eq!((lone.status.as_u16(), lone.header("etag")), (200, answer.header("etag")), "{path}");
        }
    }
    assert_eq!(alone.metric("fovea_render_shared_total", &[]).await, 0.0);
    assert_eq!(together.metric("fovea_render_variants_total", &[]).await, 42.0);
}

/// A megapixel, with a marker after each row of MCUs.
#[tokio::test]
async fn restart_markers_part_a_decode_among_idle_threads() {
    let threads = |count: &'static str| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        async move { Fovea::start_in(folder, "", &[("FOVEA_RENDER__THREADS", count)]).await }
    };
    let (together, alone) = (threads("2").await, threads("1").await);
    for variant in ["w_200.png", "w_900.jpg"] {
        let path = format!("/pics/restart_rows.jpg/v1/{variant}");
        let (parted, whole) = (together.get(&path).await, alone.get(&path).await);
        assert_eq!((parted.status.as_u16(), parted.header("etag")), (200, whole.header("etag")), "{path}");
    }
    assert!(together.metric("fovea_render_assisted_total", &[]).await >= 2.0);
    assert_eq!(alone.metric("fovea_render_assisted_total", &[]).await, 0.0);
}

#[tokio::test]
async fn one_that_leaves_and_one_that_fails_leave_the_others_theirs() {
    let server = Fovea::start(PLAIN).await;
    let [leaves, fits, outside, bounded] =
        ["w_1000.avif", "w_1001.jpg", "w_900,crop_5000:5000:10:10.jpg", "w_1002,maxb_20000.jpg"]
            .map(|variant| format!("/plain/{PHOTO}/v1/{variant}"));
    let leaves = tokio::time::timeout(std::time::Duration::from_millis(3), server.get(&leaves));
    let (_, fits, outside, bounded) =
        tokio::join!(leaves, server.get(&fits), server.get(&outside), server.get(&bounded));
    assert_eq!((fits.status.as_u16(), outside.status.as_u16(), bounded.status.as_u16()), (200, 400, 200));
    assert!(bounded.body.len() <= 20_000 && fits.body.len() > 20_000);
}

#[tokio::test]
async fn a_broken_original_is_told_to_each() {
    let server = Fovea::start(PLAIN).await;
    let mut photo = std::fs::read(crate::support::fovea::samples().join(PHOTO)).unwrap();
    photo.truncate(900);
    std::fs::write(server.folder.path().join("originals/cut.jpg"), photo).unwrap();
    let paths: Vec<String> = (0..6).map(|at| format!("/plain/cut.jpg/v1/w_{}.jpg", 100 + at)).collect();
    let answers = futures_util::future::join_all(paths.iter().map(|path| server.get(path))).await;
    assert!(answers.iter().all(|answer| answer.status == 422), "{answers:?}");
}
