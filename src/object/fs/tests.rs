use std::os::unix::fs::symlink;

use super::pieces::PIECE_BYTES_MAX;
use super::*;

fn options(if_absent: bool) -> PutOptions {
    let user = [("width".to_owned(), "400".to_owned())].into();
    PutOptions { content_type: Some("image/webp".into()), user, if_absent, ..PutOptions::default() }
}

async fn read(store: &Fs, key: &str) -> Result<Bytes, Error> {
    store.open(key).await?.bytes(u64::MAX).await
}

/// All files below a folder, by their paths in it.
fn files(root: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let visit = &mut |path: &Path, _: &fs::Metadata| {
        files.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
        Ok(())
    };
    paths::walk(root, "", visit).unwrap();
    files.sort();
    files
}

/// Waits for what a thread does behind the requests.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("never: {what}");
}

#[tokio::test]
async fn originals_are_files_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("a")).unwrap();
    fs::write(folder.path().join("a/b.jpg"), b"12345").unwrap();
    let store = Fs::new(folder.path(), Layout::Plain).unwrap();
    let meta = store.head("a/b.jpg").await.unwrap();
    assert_eq!(meta.size, 5);
    assert!(meta.modified.is_some());
    assert_eq!(read(&store, "a/b.jpg").await.unwrap(), "12345");
    fs::write(folder.path().join("a/b.jpg"), b"54321").unwrap();
    let later = SystemTime::now() + Duration::from_secs(2);
    File::options().write(true).open(folder.path().join("a/b.jpg")).unwrap().set_modified(later).unwrap();
    assert_ne!(store.head("a/b.jpg").await.unwrap().validator, meta.validator, "same length, another time");
    for absent in ["a", "a/c", "a/b.jpg/c", "b", &format!("{}/x", "y".repeat(255))] {
        assert!(matches!(store.open(absent).await, Err(Error::NotFound)), "{absent}");
    }
}

#[tokio::test]
async fn no_key_and_no_link_leads_out() {
    let outer = tempfile::tempdir().unwrap();
    let root = outer.path().join("root");
    fs::create_dir_all(root.join("in")).unwrap();
    fs::create_dir_all(outer.path().join("out")).unwrap();
    fs::write(outer.path().join("secret"), b"secret").unwrap();
    fs::write(outer.path().join("out/secret"), b"secret").unwrap();
    fs::write(root.join("in/file"), b"inside").unwrap();
    symlink(outer.path().join("secret"), root.join("link")).unwrap();
    symlink("../../out", root.join("in/folder")).unwrap();
    symlink("file", root.join("in/alias")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    let store = Fs::new(&root, Layout::Plain).unwrap();
    assert_eq!(read(&store, "in/alias").await.unwrap(), "inside", "a link within the folder is followed");
    for key in ["link", "in/folder/secret"] {
        assert!(matches!(read(&store, key).await, Err(Error::Denied(_))), "{key}");
        assert!(matches!(store.head(key).await, Err(Error::Denied(_))), "{key}");
    }
    assert!(matches!(read(&store, "loop").await, Err(Error::NotFound)));
    for key in ["", "/etc/passwd", "../secret", "in/../../secret", "in//file", "in/./file", "a\0b", "in\\file"] {
        assert!(matches!(read(&store, key).await, Err(Error::Key(_))), "{key:?}");
    }
    let body = Bytes::from_static(b"evil");
    assert!(store.put("in/folder/new", body.clone(), &options(false)).await.is_err());
    assert!(store.delete("in/folder/secret").await.is_err());
    assert!(store.delete_prefix("in/folder/").await.is_err());
    // Over a link the object takes the link's place; what it pointed to stays.
    store.put("link", body, &options(false)).await.unwrap();
    assert_eq!(fs::read(outer.path().join("secret")).unwrap(), b"secret");
    assert_eq!(files(&outer.path().join("out")), ["secret"]);
}

#[tokio::test]
async fn a_pipe_in_the_folder_holds_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let made = std::process::Command::new("mkfifo").arg(folder.path().join("pipe")).status().unwrap();
    assert!(made.success());
    let store = Fs::new(folder.path(), Layout::Plain).unwrap();
    let read = tokio::time::timeout(Duration::from_secs(5), read(&store, "pipe")).await.unwrap();
    assert!(matches!(read, Err(Error::NotFound)));
}

#[tokio::test]
async fn bodies_of_any_length_come_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (framed, plain) = (folder.path().join("framed"), folder.path().join("plain"));
    fs::create_dir(&plain).unwrap();
    let stores = [Fs::new(framed, Layout::Framed).unwrap(), Fs::new(plain, Layout::Plain).unwrap()];
    let eager = EAGER_BYTES_MAX as usize;
    let lengths = [0, 1, 100, eager - 200, eager - 1, eager, eager + 1, PIECE_BYTES_MAX as usize + eager + 7];
    for store in stores {
        for length in lengths {
            let body: Bytes = (0..length).map(|at| ((at * 31) >> 3) as u8).collect();
            store.put("x", body.clone(), &options(false)).await.unwrap();
            assert_eq!(store.head("x").await.unwrap().size, length as u64);
            let reading = store.open("x").await.unwrap();
            assert_eq!(reading.meta.size, length as u64);
            assert!(reading.bytes(u64::MAX).await.unwrap() == body, "{length} bytes");
        }
        let long = store.open("x").await.unwrap();
        assert!(matches!(long.bytes(eager as u64).await, Err(Error::TooLarge { .. })));
    }
}

#[tokio::test]
async fn a_broken_derivative_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let store = Fs::new(folder.path(), Layout::Framed).unwrap();
    let body = Bytes::from(vec![7; 1000]);
    for (why, broken) in [("no end", 900), ("no body", 100), ("no head", 10), ("nothing", 0)] {
        store.put("a/x", body.clone(), &options(false)).await.unwrap();
        File::options().write(true).open(folder.path().join("a/x")).unwrap().set_len(broken).unwrap();
        assert!(matches!(store.head("a/x").await, Err(Error::NotFound)), "{why}");
        assert!(matches!(store.open("a/x").await, Err(Error::NotFound)), "{why}");
        assert_eq!(store.put("a/x", body.clone(), &options(true)).await.unwrap(), Put::Written, "{why}: made anew");
        assert_eq!(read(&store, "a/x").await.unwrap(), body);
    }
}

#[tokio::test]
async fn what_a_crash_left_is_cleared_and_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("a/.fovea-part-1"), folder.path().join("a/.fovea-part-2"));
    fs::create_dir(folder.path().join("a")).unwrap();
    for path in [&old, &new] {
        fs::write(path, b"half").unwrap();
    }
    let long_ago = SystemTime::now() - Duration::from_secs(600);
    File::options().write(true).open(&old).unwrap().set_modified(long_ago).unwrap();
    let store = Fs::new(folder.path(), Layout::Framed).unwrap();
    eventually("the old part is gone", || !old.exists());
    assert!(new.exists(), "another process may be writing this one");
    assert!(matches!(read(&store, "a/.fovea-part-2").await, Err(Error::Key(_))));
    store.put("a/x", Bytes::from_static(b"x"), &options(true)).await.unwrap();
    store.put("a/x", Bytes::from_static(b"y"), &options(true)).await.unwrap();
    store.put("a/x", Bytes::from_static(b"z"), &options(false)).await.unwrap();
    assert_eq!(files(folder.path()), ["a/.fovea-part-2", "a/x"], "puts leave nothing behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_many_writers_wins_and_readers_see_whole_objects() {
    let folder = tempfile::tempdir().unwrap();
    let store = Fs::new(folder.path(), Layout::Framed).unwrap();
    for round in 0..20 {
        let key = format!("cache/{round}/key");
        let puts = (0..8_u8).map(|writer| {
            let (store, key) = (store.clone(), key.clone());
            tokio::spawn(async move {
                let put = store.put(&key, Bytes::from(vec![writer; 50_000]), &options(true)).await.unwrap();
                let seen = read(&store, &key).await.unwrap();
                assert!(seen.len() == 50_000 && seen.iter().all(|byte| *byte == seen[0]));
                (put, seen[0] == writer)
            })
        });
        let results = futures_util::future::join_all(puts).await;
        let won: Vec<_> = results.into_iter().map(Result::unwrap).filter(|(put, _)| *put == Put::Written).collect();
        assert_eq!(won, [(Put::Written, true)], "one writer, and its bytes");
    }
}

#[tokio::test]
async fn a_prefix_takes_its_objects_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let store = Fs::new(folder.path(), Layout::Framed).unwrap();
    let keys = ["cache/ab/1/x", "cache/ab/1/y", "cache/ab/12/x", "cache/ab/2/z/deep", "cache/cd/1/x"];
    let put_all = async || {
        for key in keys {
            store.put(key, Bytes::from_static(b"x"), &options(false)).await.unwrap();
        }
    };
    let table = [
        ("cache/ab/1/", 2, vec!["cache/ab/12/x", "cache/ab/2/z/deep", "cache/cd/1/x"]),
        ("cache/ab/1", 3, vec!["cache/ab/2/z/deep", "cache/cd/1/x"]),
        ("cache/ab/1/x", 1, vec!["cache/ab/1/y", "cache/ab/12/x", "cache/ab/2/z/deep", "cache/cd/1/x"]),
        ("cache/zz/", 0, keys.to_vec()),
        ("cache/ab/1/x/", 0, keys.to_vec()),
        ("", 5, vec![]),
    ];
    for (prefix, count, left) in table {
        put_all().await;
        assert_eq!(store.delete_prefix(prefix).await.unwrap(), count, "{prefix:?}");
        let mut left = left;
        left.sort_unstable();
        assert_eq!(files(folder.path()), left, "{prefix:?}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "empty folders go, too");
}

#[tokio::test]
async fn a_bounded_folder_keeps_what_was_used_last() {
    let folder = tempfile::tempdir().unwrap();
    let bytes_max = 40 * 4096;
    let store = Fs::bounded(folder.path(), Layout::Framed, Some(bytes_max)).unwrap();
    eventually("the first count", || store.bytes() == Some(0));
    let body = Bytes::from(vec![1; 3000]);
    for number in 0..40 {
        let key = format!("cache/{number}/x");
        store.put(&key, body.clone(), &options(false)).await.unwrap();
        let used = SystemTime::now() - Duration::from_secs(86_400 - 60 * number);
        let file = File::options().write(true).open(folder.path().join(&key)).unwrap();
        file.set_modified(used).unwrap();
    }
    assert_eq!(store.bytes(), Some(bytes_max));
    assert_eq!(files(folder.path()).len(), 40, "at the bound nothing goes");
    // Reading the oldest makes it the newest.
    read(&store, "cache/0/x").await.unwrap();
    store.put("cache/new/x", body, &options(false)).await.unwrap();
    eventually("nine tenths are left", || store.bytes() == Some(36 * 4096));
    let gone: Vec<u64> = (0..40).filter(|number| !folder.path().join(format!("cache/{number}")).exists()).collect();
    assert_eq!(gone, [1, 2, 3, 4, 5], "the least recently used, with their empty folders");
    let again = Fs::bounded(folder.path(), Layout::Framed, Some(20 * 4096)).unwrap();
    eventually("a smaller bound is kept at start", || again.bytes().is_some_and(|bytes| bytes <= 18 * 4096));
    assert!(folder.path().join("cache/0/x").exists() && folder.path().join("cache/new/x").exists());
}

#[tokio::test]
async fn the_validator_does_not_change_with_use() {
    let folder = tempfile::tempdir().unwrap();
    let store = Fs::bounded(folder.path(), Layout::Framed, Some(1 << 30)).unwrap();
    store.put("x", Bytes::from_static(b"x"), &options(false)).await.unwrap();
    let path = folder.path().join("x");
    let yesterday = SystemTime::now() - Duration::from_secs(86_400);
    File::options().write(true).open(&path).unwrap().set_modified(yesterday).unwrap();
    let before = store.head("x").await.unwrap();
    read(&store, "x").await.unwrap();
    assert!(fs::metadata(&path).unwrap().modified().unwrap() > yesterday, "its use was noted");
    assert_eq!(store.head("x").await.unwrap(), before);
    store.put("x", Bytes::from_static(b"x"), &options(false)).await.unwrap();
    assert_ne!(store.head("x").await.unwrap().validator, before.validator, "written again");
}
