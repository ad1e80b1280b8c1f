//! The control plane against the built binary: who may, whose things are seen, jobs, events, galleries, keys, the description.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::support::api::{Caller, SHOP, text};
use crate::support::fovea::{Fovea, TOKEN, fixtures, samples};

/// A signing key, for downloads.
const KEYS: &str = "[keys]\nk1 = \"a secret of some length\"\n";

fn photo() -> Vec<u8> {
    std::fs::read(samples().join("mountains.jpg")).unwrap()
}

fn small() -> Vec<u8> {
    std::fs::read(fixtures().join("smooth.jpg")).unwrap()
}

/// Every operation that the description names: method, and path with these names in it.
async fn operations(server: &Fovea, names: &[(&str, &str)]) -> Vec<(Method, String)> {
    let description = server.root().get("/openapi.json").await;
    assert_eq!(description.status, 200);
    let description = description.json();
    let mut all = Vec::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let mut path = path.clone();
            for (name, value) in names {
                path = path.replace(&format!("{{{name}}}"), value);
            }
            assert!(!path.contains('{'), "{path} has a name that the test does not know");
            all.push((method.to_uppercase().parse().unwrap(), path));
        }
    }
    assert!(all.len() >= 35, "{}", all.len());
    all
}

#[tokio::test]
async fn nothing_answers_without_a_key() {
    let server = Fovea::start_idle(SHOP).await;
    let names = [("category", "shop"), ("id", "x")];
    for (method, path) in operations(&server, &names).await {
        for shown in ["", "wrong", "fovea_0123456789abcdef_c2VjcmV0", &TOKEN[1..]] {
            let answer = server.with_key(shown).send(method.clone(), &path, &[], "").await;
            assert_eq!(
                (answer.status.as_u16(), text(&answer.json(), "code")),
                (401, "unauthorised"),
                "{method} {path}"
            );
            assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"fovea\"", "{method} {path}");
        }
    }
    for open in ["/health", "/health/live", "/health/ready", "/metrics"] {
        assert_eq!(server.api(open).await.status, 200, "{open}");
    }
    for page in ["/openapi.json", "/docs", "/"] {
        let closed = server.api(page).await;
        assert_eq!(closed.status, 401, "{page}");
        let asked = closed.headers.get_all("www-authenticate").iter().any(|one| one.as_bytes().starts_with(b"Basic "));
        assert!(asked, "a browser asks for the key: {closed:?}");
        assert_eq!(server.root().get(page).await.status, 200, "{page}");
        // "somebody:test-token", as a browser sends it.
        let browser = [("authorization", "Basic c29tZWJvZHk6dGVzdC10b2tlbg==")];
        let nobody = server.with_key("");
        assert_eq!(nobody.send(Method::GET, page, &browser, "").await.status, 200, "{page}");
        assert_eq!(nobody.send(Method::GET, "/v1/assets", &browser, "").await.status, 401, "only for pages");
    }
    assert_eq!(server.with_key("").get("/nothing").await.status, 401);
    assert_eq!(server.with_key("").get("/v1/nothing").await.status, 401, "not even that there is nothing");
    assert_eq!(server.root().get("/v1/nothing").await.status, 404);
    // An upload that is refused gets its answer, though its body was not wanted.
    let refused = server.with_key("wrong").put("/v1/assets/shop/a", vec![1; 3 << 20]).await;
    assert_eq!(refused.status, 401);
}

#[tokio::test]
async fn a_role_may_what_it_is_for() {
    let server = Fovea::start_idle(&format!("{SHOP}[category.bags]\ningest = true\n")).await;
    let root = server.root();
    let (viewer, uploader) = (root.key("viewer", "ann", &[]).await, root.key("uploader", "ann", &["shop"]).await);
    let (operator, admin) = (root.key("operator", "ann", &[]).await, root.key("admin", "ann", &[]).await);
    let status = async |key: &str, method: Method, path: &str, body: Vec<u8>| {
        server.with_key(key).send(method, path, &[], body).await.status.as_u16()
    };
    let table: [(Method, &str, Vec<u8>, [u16; 4]); 9] = [
        (Method::GET, "/v1/assets", Vec::new(), [200; 4]),
        (Method::PUT, "/v1/assets/shop/a", small(), [403, 202, 202, 202]),
        (Method::PUT, "/v1/assets/bags/a", small(), [403, 403, 202, 202]),
        (Method::GET, "/v1/dead-letters", Vec::new(), [403, 403, 200, 200]),
        (Method::GET, "/v1/keys", Vec::new(), [403, 403, 403, 200]),
        (Method::POST, "/v1/queue:clear", Vec::new(), [403, 403, 403, 428]),
        (Method::POST, "/v1/purge", br#"{"category":"shop"}"#.to_vec(), [403; 4]),
        (Method::GET, "/v1/queue", Vec::new(), [200; 4]),
        (Method::GET, "/v1/statistics?window=15m", Vec::new(), [200; 4]),
    ];
    for (method, path, body, wanted) in table {
        for (key, wanted) in [&viewer, &uploader, &operator, &admin].into_iter().zip(wanted) {
            assert_eq!(status(key, method.clone(), path, body.clone()).await, wanted, "{method} {path}");
        }
    }
    assert_eq!(status(&uploader, Method::DELETE, "/v1/assets/shop/a", Vec::new()).await, 403);
    assert_eq!(server.with_key(&uploader).get("/v1/assets").await.json()["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn keys_are_made_rotated_and_revoked() {
    let server = Fovea::start_idle(SHOP).await;
    let root = server.root();
    let admin = root.key("admin", "ann", &["shop"]).await;
    let ann = server.with_key(&admin);
    for (body, status) in [
        (json!({ "role": "emperor" }), 400),
        (json!({ "role": "viewer", "owner": "bob" }), 403),
        (json!({ "role": "viewer", "categories": ["pics"] }), 403),
        (json!({ "role": "viewer", "categories": ["none"] }), 400),
    ] {
        assert_eq!(ann.post("/v1/keys", body.clone()).await.status, status, "{body}");
    }
    let made = ann.post("/v1/keys", json!({ "role": "viewer", "name": "eyes" })).await.json();
    assert_eq!((text(&made, "owner"), &made["categories"]), ("ann", &json!(["shop"])), "no more than its maker's");
    let (old, id) = (text(&made, "secret").to_owned(), text(&made, "id"));
    assert_eq!(server.with_key(&old).get("/v1/assets").await.status, 200);
    let rotated = ann.send(Method::POST, &format!("/v1/keys/{id}/rotate"), &[], "").await.json();
    assert_eq!(server.with_key(&old).get("/v1/assets").await.status, 401);
    let new = text(&rotated, "secret");
    assert_eq!(server.with_key(new).get("/v1/assets").await.status, 200);
    let listed = ann.get("/v1/keys").await;
    assert!(!String::from_utf8_lossy(&listed.body).contains(new), "no secret is told twice");
    assert_eq!(listed.json().as_array().unwrap().len(), 3, "of this owner alone: {:?}", listed.json());
    assert_eq!(ann.delete(&format!("/v1/keys/{}", text(&rotated, "id"))).await.status, 204);
    assert_eq!(server.with_key(new).get("/v1/assets").await.status, 401);
    let database = std::fs::read(server.folder.path().join("catalog.sqlite")).unwrap();
    let secret = admin.splitn(3, '_').nth(2).unwrap().as_bytes();
    assert!(!database.windows(secret.len()).any(|window| window == secret), "no secret is kept");
}

#[tokio::test]
async fn the_first_start_makes_an_admins_key_once() {
    let config = "[api]\nlisten = \"127.0.0.1:0\"\n";
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_fovea"));
        command.args(arguments).current_dir(folder.path()).env_clear();
        command.output().unwrap()
    };
    std::fs::write(folder.path().join("f.toml"), format!("{config}{SHOP}")).unwrap();
    let made = run(&["key", "create", "--role", "uploader", "--category", "shop", "--config", "f.toml"]);
    assert!(made.status.success(), "{made:?}");
    let said = String::from_utf8(made.stdout).unwrap();
    let key = said.lines().last().unwrap();
    assert!(key.starts_with("fovea_") && !key.contains(' '), "{said}");
    let listed = String::from_utf8(run(&["key", "list", "--config", "f.toml"]).stdout).unwrap();
    assert!(listed.contains("uploader") && listed.contains("never") && !listed.contains(key), "{listed}");
    let id = key.split('_').nth(1).unwrap();
    let rotated = run(&["key", "rotate", id, "--config", "f.toml"]);
    let rotated = String::from_utf8(rotated.stdout).unwrap();
    assert!(rotated.lines().last().unwrap().starts_with("fovea_") && !rotated.contains(id), "{rotated}");
    let listed = String::from_utf8(run(&["key", "list", "--config", "f.toml"]).stdout).unwrap();
    assert!(listed.lines().any(|line| line.contains(id) && line.ends_with("(revoked)")), "{listed}");
    assert!(!run(&["key", "rotate", id, "--config", "f.toml"]).status.success(), "it is revoked");
    assert!(
        !run(&["key", "create", "--role", "uploader", "--category", "none", "--config", "f.toml"]).status.success()
    );

    let server = Fovea::start_untold("").await;
    let mut key = None;
    for _ in 0..200 {
        key = server.log().lines().find_map(|line| line.trim().strip_prefix("fovea_").map(str::to_owned));
        if key.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let key = key.expect("the key is shown");
    assert_eq!(server.with_key(&format!("fovea_{key}")).get("/v1/keys").await.status, 200);
    let server = server.restart_untold("").await;
    assert!(!server.log().contains("  fovea_"), "{}", server.log());
    assert_eq!(server.with_key(&format!("fovea_{key}")).get("/v1/keys").await.status, 200);
}

#[tokio::test]
async fn another_owner_sees_nothing_by_any_route() {
    let server = Fovea::start_all(&format!("{SHOP}{KEYS}")).await;
    let root = server.root();
    let (ann, bob) = (root.key("admin", "ann", &[]).await, root.key("admin", "bob", &[]).await);
    let (ann, bob) = (server.with_key(&ann), server.with_key(&bob));
    let taken = ann.taken("/v1/assets/shop/secret.jpg?variants=w_66.jpg", photo()).await;
    ann.completed(&taken).await;
    let gallery = ann.post("/v1/galleries", json!({ "name": "secret things", "items": ["shop/secret.jpg"] })).await;
    assert_eq!(gallery.status, 201, "{:?}", gallery.body);
    let (job, gallery) = (text(&taken, "job_id").to_owned(), text(&gallery.json(), "id").to_owned());
    let broken = ann.taken("/v1/assets/shop/secret.jpg-broken", small()[..small().len() / 2].to_vec()).await;
    assert_eq!(ann.ended(text(&broken, "job_id")).await["status"], "failed");
    let letter = text(&broken, "job_id").to_owned();
    assert_eq!(ann.get(&format!("/v1/dead-letters/{letter}")).await.status, 200);
    let scoped = server.root().key("operator", "ann", &["pics"]).await;
    let scoped = server.with_key(&scoped);
    assert_eq!(scoped.get("/v1/dead-letters").await.json()["items"], json!([]), "the key is for another category");
    for (method, path) in [(Method::GET, ""), (Method::POST, "/requeue"), (Method::DELETE, "")] {
        let path = format!("/v1/dead-letters/{letter}{path}");
        assert_eq!(scoped.send(method, &path, &[], "").await.status, 404, "{path}");
    }
    let key = ann.post("/v1/keys", json!({ "role": "viewer", "name": "secret things" })).await.json();
    let key = text(&key, "id").to_owned();
    for id in ["secret.jpg", job.as_str(), gallery.as_str(), letter.as_str(), key.as_str()] {
        for (method, path) in operations(&server, &[("category", "shop"), ("id", id)]).await {
            if path == "/v1/events" {
                continue;
            }
            let body =
                if method == Method::GET { "" } else { r#"{"asset":"shop/secret.jpg","items":["shop/secret.jpg"]}"# };
            let answer = bob.send(method.clone(), &path, &[], body).await;
            let said = String::from_utf8_lossy(&answer.body);
            assert!(!said.contains("secret.jpg") && !said.contains("secret things"), "{method} {path}: {said}");
            assert!(!said.contains(&job) || said.contains("no such"), "{method} {path}: {said}");
            assert!(answer.status != 202 && answer.status != 204, "{method} {path}: {answer:?}");
        }
    }
    let put = bob.put("/v1/assets/shop/secret.jpg", small()).await;
    assert_eq!((put.status.as_u16(), text(&put.json(), "code")), (409, "id-taken"));
    for (path, body) in [
        ("/v1/jobs", json!({ "asset": "shop/secret.jpg", "variants": ["w_9.jpg"] })),
        ("/v1/downloads", json!({ "asset": "shop/secret.jpg" })),
        ("/v1/galleries", json!({ "name": "x", "items": ["shop/secret.jpg"] })),
        ("/v1/purge", json!({ "asset": "shop/secret.jpg" })),
    ] {
        assert_eq!(bob.post(path, body).await.status, 404, "{path}");
    }
    let statistics = bob.get("/v1/statistics").await.json();
    assert_eq!((&statistics["completed"], &statistics["bytes_in"]), (&json!(0), &json!(0)), "{statistics}");
    let bytes_in = photo().len() + small().len() / 2;
    assert_eq!(ann.get("/v1/statistics").await.json()["bytes_in"], bytes_in);
    let events = listen(&bob, "/v1/events?after=0", &[], Duration::from_millis(700), |_| false).await;
    assert_eq!(events, [], "nothing of another's happens");
    assert_eq!(ann.get("/v1/assets/shop/secret.jpg").await.status, 200, "and it is all there still");
    assert_eq!(ann.get(&format!("/v1/galleries/{gallery}")).await.json()["items"], json!(["shop/secret.jpg"]));
}

/// Server-sent events until one is the last, or the time is over: id, type, data.
async fn listen(
    caller: &Caller<'_>,
    path: &str,
    headers: &[(&str, &str)],
    time: Duration,
    last: impl Fn(&(i64, String, Value)) -> bool,
) -> Vec<(i64, String, Value)> {
    let stream = TcpStream::connect(caller.server.api).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut request = Request::get(path).header("host", "x").header("authorization", format!("Bearer {}", caller.key));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["content-type"]),
        (200, &"text/event-stream".parse().unwrap())
    );
    let (mut body, mut buffer, mut events) = (answer.into_body(), String::new(), Vec::new());
    let read = async {
        while let Some(frame) = body.frame().await {
            buffer += &String::from_utf8_lossy(&frame.unwrap().into_data().unwrap());
            while let Some((block, rest)) = buffer.split_once("\n\n") {
                let field = |name: &str| {
                    block.lines().find_map(|line| line.strip_prefix(name)).map(|text| text.trim().to_owned())
                };
                if let (Some(id), Some(kind), Some(data)) = (field("id:"), field("event:"), field("data:")) {
                    events.push((id.parse().unwrap(), kind, serde_json::from_str(&data).unwrap()));
                }
                buffer = rest.to_owned();
                if events.last().is_some_and(&last) {
                    return;
                }
            }
        }
    };
    let _ = tokio::time::timeout(time, read).await;
    connection.abort();
    events
}

#[tokio::test]
async fn events_go_on_where_the_client_left() {
    let server = Fovea::start_all(SHOP).await;
    let api = server.root();
    let done = |event: &(i64, String, Value)| event.1 == "job.completed";
    let live = async { listen(&api, "/v1/events?asset=shop/a.jpg", &[], Duration::from_secs(30), done).await };
    let upload = async {
        // The listener is there first: it begins at what happens from now on.
        tokio::time::sleep(Duration::from_millis(300)).await;
        api.taken("/v1/assets/shop/other.jpg", small()).await;
        api.taken("/v1/assets/shop/a.jpg?variants=w_44.jpg,w_45.jpg", photo()).await
    };
    let (live, taken) = tokio::join!(live, upload);
    let kinds: Vec<&str> = live.iter().map(|event| event.1.as_str()).collect();
    assert!(kinds.contains(&"asset.accepted") && kinds.contains(&"job.queued"), "{kinds:?}");
    assert_eq!(kinds.iter().filter(|kind| **kind == "variant.made").count(), 2, "{kinds:?}");
    assert!(live.iter().all(|event| event.2["asset"] == "shop/a.jpg"), "{live:?}");
    assert!(live.windows(2).all(|pair| pair[0].0 < pair[1].0), "{live:?}");
    for at in [0, live.len() / 2] {
        let id = live[at].0.to_string();
        let rest =
            listen(&api, "/v1/events?asset=shop/a.jpg", &[("last-event-id", &id)], Duration::from_secs(30), done).await;
        assert_eq!(rest, live[at + 1..], "all that followed, once");
    }
    let of_job = format!("/v1/events?after=0&job={}", text(&taken, "job_id"));
    let of_job = listen(&api, &of_job, &[], Duration::from_secs(30), done).await;
    assert!(of_job.iter().all(|event| event.2["job_id"] == taken["job_id"]), "{of_job:?}");
    let made = listen(&api, "/v1/events?after=0&type=variant.", &[], Duration::from_secs(2), |_| false).await;
    assert!(made.len() >= 2 && made.iter().all(|event| event.1.starts_with("variant.")), "{made:?}");
    let wrong = api.send(Method::GET, "/v1/events", &[("last-event-id", "x")], "").await;
    assert_eq!(wrong.status, 400);
}

#[tokio::test]
async fn variants_are_made_on_demand() {
    let server = Fovea::start_all(SHOP).await;
    let api = server.root();
    for id in ["a.jpg", "b/c.jpg"] {
        api.completed(&api.taken(&format!("/v1/assets/shop/{id}"), photo()).await).await;
    }
    let named = json!({ "category": "shop", "id": "a.jpg" });
    for (path, body, variant) in [
        ("/v1/jobs", json!({ "asset": "shop/a.jpg", "variants": ["w_90.webp"] }), "w_90.webp"),
        (
            "/v1/resize",
            json!({ "asset": named, "width": 91, "height": 40, "fit": "cover", "format": "jpg" }),
            "w_91,h_40,fit_cover.jpg",
        ),
        (
            "/v1/crop",
            json!({ "asset": "shop/a.jpg", "x": 10, "y": 20, "width": 64, "height": 32, "format": "png" }),
            "crop_10:20:64:32.png",
        ),
    ] {
        let answer = api.post(path, body).await;
        assert_eq!(answer.status, 202, "{path} {:?}", answer.body);
        assert_eq!(answer.header("location"), format!("/v1/jobs/{}", text(&answer.json(), "job_id")));
        let url = answer.json()["urls"][variant].as_str().unwrap_or_else(|| panic!("{:?}", answer.json())).to_owned();
        api.completed(&answer.json()).await;
        let made = server.get(&url).await;
        assert!(made.status == 200 && made.header("cache-status").contains("hit"), "{made:?}");
    }
    let batch = api
        .post("/v1/jobs", json!({ "assets": ["shop/a.jpg", "shop/b/c.jpg"], "variants": ["w_77.jpg", "w_78.jpg"] }))
        .await;
    let job = api.completed(&batch.json()).await;
    assert_eq!(
        (&job["kind"], &job["progress"]["done"], &job["progress"]["total"]),
        (&json!("batch"), &json!(2), &json!(2)),
        "{job}"
    );
    let parts = api.get(&format!("/v1/jobs?parent={}", text(&job, "id"))).await.json();
    assert_eq!(parts["items"].as_array().unwrap().len(), 2, "{parts}");
    let both = json!({ "asset": "shop/a.jpg", "assets": ["shop/b/c.jpg"], "variants": ["w_79.jpg"] });
    let both = api.post("/v1/jobs", both).await.json();
    assert_eq!(both["urls"].as_object().unwrap().len(), 2, "each asset's own: {both}");
    assert_eq!(api.completed(&both).await["progress"]["total"], 2, "and one job that tells of both");
    let outside = json!({ "asset": "shop/a.jpg", "x": 9000, "y": 0, "width": 5, "height": 5 });
    let failed = api.ended(text(&api.post("/v1/crop", outside).await.json(), "job_id")).await;
    assert_eq!((text(&failed, "status"), text(&failed, "code")), ("failed", "variants-failed"), "{failed}");
    assert!(text(&failed, "error").contains("lies outside of"), "the job itself says why: {failed}");
    let missing = api.post("/v1/jobs", json!({ "assets": ["shop/a.jpg", "shop/none"], "variants": ["w_9.jpg"] })).await;
    assert!(text(&missing.json(), "detail").contains("shop/none"), "{:?}", missing.body);
    let send = async || {
        let body = json!({ "asset": "shop/a.jpg", "variants": ["w_81.jpg"] }).to_string();
        api.send(Method::POST, "/v1/jobs", &[("idempotency-key", "k")], body).await
    };
    let (first, again) = (send().await, send().await);
    assert_eq!((first.status.as_u16(), first.json()), (202, again.json()), "the same job, and the same URLs");
    assert_eq!(again.header("location"), first.header("location"));
    let long = "k".repeat(300);
    let body = json!({ "asset": "shop/a.jpg", "variants": ["w_82.jpg"] }).to_string();
    assert_eq!(api.send(Method::POST, "/v1/jobs", &[("idempotency-key", &long)], body).await.status, 400);
    for (body, status) in [
        (json!({ "asset": "shop/none.jpg", "variants": ["w_9.jpg"] }), 404),
        (json!({ "asset": "shop/a.jpg", "variants": [] }), 400),
        (json!({ "asset": "shop/a.jpg", "variants": ["wobble.jpg"] }), 400),
        (json!({ "asset": "shop/a.jpg", "variants": ["w_9.jpg"], "priority": "now" }), 400),
        (json!({ "asset": "nothing", "variants": ["w_9.jpg"] }), 400),
    ] {
        assert_eq!(api.post("/v1/jobs", body.clone()).await.status, status, "{body}");
    }
    assert_eq!(api.post("/v1/resize", json!({ "asset": "shop/a.jpg" })).await.status, 400);
}

#[tokio::test]
async fn jobs_are_listed_in_pages_cancelled_and_tried_again() {
    let server = Fovea::start_idle(SHOP).await;
    let api = server.root();
    let mut ids = BTreeSet::new();
    for at in 0..5 {
        ids.insert(text(&api.taken(&format!("/v1/assets/shop/{at}.jpg"), small()).await, "job_id").to_owned());
    }
    let (mut seen, mut cursor) = (BTreeSet::new(), String::new());
    for _ in 0..3 {
        let page = api.get(&format!("/v1/jobs?status=queued&limit=2{cursor}")).await.json();
        seen.extend(page["items"].as_array().unwrap().iter().map(|job| text(job, "id").to_owned()));
        cursor = page["next"].as_str().map_or(String::new(), |next| format!("&cursor={next}"));
    }
    assert_eq!((seen, cursor.as_str()), (ids.clone(), ""), "each once, and then no more");
    let id = ids.first().unwrap();
    let post = async |what: &str| api.send(Method::POST, &format!("/v1/jobs/{id}/{what}"), &[], "").await;
    assert_eq!(post("retry").await.status, 409, "it waits");
    assert_eq!(api.get(&format!("/v1/jobs/{id}")).await.json()["status"], "queued");
    assert_eq!(text(&post("cancel").await.json(), "status"), "cancelled");
    assert_eq!(
        api.get(&format!("/v1/jobs/{id}")).await.json()["status"],
        "cancelled",
        "what was remembered is forgotten"
    );
    assert_eq!(post("cancel").await.status, 409);
    assert_eq!(text(&post("retry").await.json(), "status"), "queued");
    assert_eq!(api.get("/v1/jobs?status=cancelled").await.json()["items"], json!([]));
    assert_eq!(api.get("/v1/jobs?status=happy").await.status, 400);
    let asked = api.send(Method::POST, "/v1/queue:clear", &[], "").await;
    assert_eq!(asked.status, 428, "{asked:?}");
    let wrong = api.post("/v1/queue:clear", json!({ "confirmation": "yes" })).await;
    assert_eq!(wrong.status, 403);
    assert_eq!(api.get("/v1/queue").await.json()["waiting"], 5);
    let cleared = api.post("/v1/queue:clear", json!({ "confirmation": text(&asked.json(), "confirmation") })).await;
    assert_eq!((cleared.status.as_u16(), &cleared.json()["cancelled"]), (200, &json!(5)));
    assert_eq!(api.get("/v1/queue").await.json()["waiting"], 0);
    let twice = api.post("/v1/queue:clear", json!({ "confirmation": text(&asked.json(), "confirmation") })).await;
    assert_eq!(twice.status, 403, "it counts once");
    let scoped = api.key("admin", "root", &["shop"]).await;
    assert_eq!(server.with_key(&scoped).send(Method::POST, "/v1/queue:clear", &[], "").await.status, 403);
}

#[tokio::test]
async fn galleries_keep_an_order_and_sign_downloads() {
    let server =
        Fovea::start_all(&format!("{}{KEYS}", SHOP.replace("originals = \"public\"", "originals = \"signed\""))).await;
    let api = server.root();
    let mut original = String::new();
    for id in ["a.jpg", "b.jpg", "c.jpg"] {
        let job = api.completed(&api.taken(&format!("/v1/assets/shop/{id}"), small()).await).await;
        text(&job, "original_url").clone_into(&mut original);
    }
    assert_eq!(server.get(&original).await.status, 200, "{original}");
    let expiry: u64 = original.split(':').nth(2).unwrap().parse().unwrap();
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!((now..=now + 3600).contains(&expiry), "what an answer tells does not hold for ever: {original}");
    let made = api.post("/v1/galleries", json!({ "name": "trip", "items": ["shop/a.jpg", "shop/b.jpg"] })).await;
    let place = made.header("location").to_owned();
    assert_eq!((made.status.as_u16(), made.json()["count"].as_u64()), (201, Some(2)), "{:?}", made.body);
    let items = async || api.get(&place).await.json()["items"].clone();
    assert_eq!(api.post(&format!("{place}/items"), json!({ "items": ["shop/c.jpg"], "at": 0 })).await.status, 200);
    assert_eq!(items().await, json!(["shop/c.jpg", "shop/a.jpg", "shop/b.jpg"]));
    let order = json!({ "items": ["shop/b.jpg", "shop/a.jpg", "shop/c.jpg"] }).to_string();
    assert_eq!(api.send(Method::PUT, &format!("{place}/items"), &[], order).await.status, 200);
    assert_eq!(items().await, json!(["shop/b.jpg", "shop/a.jpg", "shop/c.jpg"]));
    let change = json!({ "name": "the trip", "cover": "shop/c.jpg" }).to_string();
    let stale = api.send(Method::PATCH, &place, &[("if-match", "\"0\"")], change.clone()).await;
    assert_eq!((stale.status.as_u16(), text(&stale.json(), "code")), (409, "changed-meanwhile"));
    let changed = api.send(Method::PATCH, &place, &[], change).await.json();
    assert_eq!((text(&changed, "name"), text(&changed, "cover")), ("the trip", "shop/c.jpg"));
    let away = json!({ "items": ["shop/a.jpg"] }).to_string();
    assert_eq!(api.send(Method::DELETE, &format!("{place}/items"), &[], away).await.status, 200);
    assert_eq!(items().await, json!(["shop/b.jpg", "shop/c.jpg"]));
    assert_eq!(api.post("/v1/galleries", json!({ "name": " " })).await.status, 400);

    let links = api.post(&format!("{place}/downloads"), json!({ "expires_s": 60 })).await.json();
    let links = links["items"].as_array().unwrap().clone();
    assert_eq!(links.len(), 2);
    for link in &links {
        let got = server.get(text(link, "url")).await;
        assert!(got.status == 200 && got.body == small(), "{link} {:?}", got.status);
        let bare = format!("/{}", text(link, "url").splitn(3, '/').nth(2).unwrap());
        assert_eq!(server.get(&bare).await.status, 403, "without the signature there is none");
    }
    let alone = api.post("/v1/downloads", json!({ "asset": "shop/a.jpg", "expires_s": 1 })).await.json();
    let url = text(&alone, "url");
    assert_eq!(server.get(url).await.status, 200);
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert_eq!(server.get(url).await.status, 410, "it goes");
    assert_eq!(api.delete(&place).await.status, 204);
    assert_eq!(api.get(&place).await.status, 404);
    assert_eq!(api.get("/v1/assets/shop/b.jpg").await.status, 200, "its assets stay");
}

#[tokio::test]
async fn a_key_and_an_address_have_an_allowance() {
    let limits = "key_per_second = 1\nkey_burst = 3\naddress_per_second = 1\naddress_burst = 8\n";
    let server = Fovea::start_with_api(SHOP, limits).await;
    let seen: Vec<_> =
        futures_util::future::join_all((0..5).map(|_| async { server.root().get("/v1/assets").await })).await;
    let well: Vec<_> = seen.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(well.len(), 3, "{seen:?}");
    assert_eq!(well[0].header("ratelimit-limit"), "3");
    let mut left: Vec<&str> = well.iter().map(|answer| answer.header("ratelimit-remaining")).collect();
    left.sort_unstable();
    assert_eq!(left, ["0", "1", "2"]);
    let refused = seen.iter().find(|answer| answer.status == 429).unwrap();
    assert_eq!((text(&refused.json(), "code"), refused.header("retry-after")), ("too-many-requests", "1"));
    let wrong = futures_util::future::join_all(
        (0..9).map(|_| async { server.with_key("guess").get("/v1/assets").await.status }),
    )
    .await;
    assert!(wrong.contains(&http::StatusCode::TOO_MANY_REQUESTS), "guessing is slowed: {wrong:?}");
    assert_eq!(server.api("/health").await.status, 200, "health is not");
}

#[tokio::test]
async fn a_key_that_asks_too_often_is_told_when_it_may_again() {
    let server = Fovea::start_with_api(SHOP, "key_per_second = 1\nkey_burst = 3\n").await;
    let api = server.root();
    for left in ["2", "1", "0"] {
        let answer = api.get("/v1/queue").await;
        assert_eq!((answer.header("ratelimit-limit"), answer.header("ratelimit-remaining")), ("3", left));
    }
    let refused = api.get("/v1/queue").await;
    assert_eq!((refused.status.as_u16(), text(&refused.json(), "code")), (429, "too-many-requests"));
    assert_eq!((refused.header("ratelimit-remaining"), refused.header("ratelimit-reset")), ("0", "3"));
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(server.api("/health").await.status, 200);
}

#[tokio::test]
async fn numbers_tell_how_it_went() {
    let server = Fovea::start_all(SHOP).await;
    let api = server.root();
    let taken = api.taken("/v1/assets/shop/a.jpg?variants=w_44.jpg,w_45.jpg", photo()).await;
    api.completed(&taken).await;
    let found = api.get("/v1/statistics?window=5m").await.json();
    assert_eq!(
        (&found["completed"], &found["variants"], &found["success"]),
        (&json!(1), &json!(2), &json!(1.0)),
        "{found}"
    );
    for stage in ["wait", "run", "total", "inspect", "variant"] {
        let quantiles = &found["stages"][stage];
        let of = |name: &str| quantiles[name].as_u64().unwrap();
        assert!(of("p50_ms") <= of("p95_ms") && of("p95_ms") <= of("p99_ms"), "{stage}: {found}");
    }
    assert!(found["stages"]["total"]["p50_ms"].as_u64() >= found["stages"]["run"]["p50_ms"].as_u64(), "{found}");
    assert!(found["stages"]["inspect"]["p50_ms"].as_u64() > Some(0), "{found}");
    let asset = api.get("/v1/assets/shop/a.jpg").await.json();
    let of = |name: &str| asset["versions"][0][name].as_u64().unwrap();
    assert!(of("mezzanine_bytes") > 1000 && of("mezzanine_bytes") < of("bytes"), "{asset}");
    let variants: u64 = asset["variants"].as_array().unwrap().iter().map(|one| one["bytes"].as_u64().unwrap()).sum();
    assert_eq!(asset["bytes_total"], of("bytes") + of("mezzanine_bytes") + variants);
    assert!(found["bytes_saved"].as_u64() > Some(photo().len() as u64), "two small ones in the place of two originals");
    let queue = api.get("/v1/queue").await.json();
    assert_eq!((&queue["per_minute"], &queue["success_share"]), (&json!(1), &json!(1.0)), "{queue}");
    assert!(queue["breakers"].as_array().unwrap().iter().any(|one| one["name"] == "store"), "{queue}");
    for _ in 0..3 {
        api.get(&format!("/v1/jobs/{}", text(&taken, "job_id"))).await;
    }
    assert!(server.metric("fovea_job_cache_total", &["memory", "hit"]).await >= 1.0);
    assert!(server.metric("fovea_job_cache_total", &["catalog", "hit"]).await >= 1.0);
    assert_eq!(api.get("/v1/jobs/job_none").await.status, 404);
    assert!(server.metric("fovea_job_cache_total", &["catalog", "miss"]).await >= 1.0);
    for name in
        ["fovea_worker_utilisation", "fovea_worker_concurrency", "fovea_queue_oldest_seconds", "fovea_storage_bytes"]
    {
        let metrics = server.api("/metrics").await.body;
        assert!(String::from_utf8_lossy(&metrics).contains(&format!("\n{name}")), "{name}");
    }
}

#[tokio::test]
async fn a_preset_that_changes_is_made_anew_of_what_had_it() {
    let config = |options: &str| format!("{SHOP}[presets.inline]\nwee = \"{options}\"\n");
    let server = Fovea::start_all(&config("w_50")).await;
    let taken = server.root().taken("/v1/assets/shop/a.jpg?variants=wee.webp", photo()).await;
    server.root().completed(&taken).await;
    let url = taken["urls"]["wee.webp"].as_str().unwrap().to_owned();
    let reprocessed = async |server: &Fovea| server.root().get("/v1/jobs?kind=reprocess").await.json()["items"].clone();
    assert_eq!(reprocessed(&server).await, json!([]), "what was never seen has not changed");
    let server = server.restart(&config("w_60")).await;
    let begun = std::time::Instant::now();
    let batch = loop {
        let jobs = server.root().get("/v1/jobs?kind=batch&status=completed").await.json()["items"].clone();
        if let Some(batch) = jobs.as_array().unwrap().first() {
            break batch.clone();
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{jobs} {}", reprocessed(&server).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(batch["progress"], json!({ "done": 2, "failed": 0, "total": 2, "remaining_ms": null }), "{batch}");
    let asset = server.root().get("/v1/assets/shop/a.jpg").await.json();
    let variant = &asset["variants"][0];
    assert_eq!((&variant["variant"], &variant["width"]), (&json!("wee.webp"), &json!(60)), "{asset}");
    let answer = server.get(&url).await;
    assert!(answer.header("cache-status").contains("hit"), "{answer:?}");
    assert_eq!(reprocessed(&server).await.as_array().unwrap().len(), 1);
    let server = server.restart(&config("w_60")).await;
    assert_eq!(server.root().post("/v1/reprocess", json!({ "category": "pics" })).await.status, 404);
    let asked = server.root().post("/v1/reprocess", json!({ "category": "shop" })).await;
    assert_eq!(asked.status, 202, "{:?}", asked.body);
    server.root().completed(&asked.json()).await;
    assert_eq!(reprocessed(&server).await.as_array().unwrap().len(), 2, "the start noticed no change");
}

#[tokio::test]
async fn a_picture_is_made_in_tiles_that_cover_it_at_every_size() {
    let server = Fovea::start_all(SHOP).await;
    let api = server.root();
    let taken = api.taken("/v1/assets/shop/large/peaks.jpg", photo()).await;
    api.completed(&taken).await;
    let asked = api.post("/v1/pyramids", json!({ "asset": "shop/large/peaks.jpg", "tile": 256 })).await;
    assert_eq!(asked.status, 202, "{:?}", asked.body);
    let again = api.post("/v1/pyramids", json!({ "asset": "shop/large/peaks.jpg", "tile": 256 })).await;
    let batch = api.completed(&asked.json()).await;
    if again.json()["job_id"] != batch["id"] {
        api.completed(&again.json()).await;
    }
    let pyramid = &batch["result"]["pyramid"];
    let levels = pyramid["levels"].as_array().unwrap();
    let number = |of: &Value, name: &str| of[name].as_u64().unwrap();
    let [width, height] = ["width", "height"].map(|name| number(&levels[0], name));
    assert_eq!((width, height, levels.len()), (1633, 1225, 12), "{batch}");
    for level in levels {
        let scale = number(level, "scale");
        let mut pixels = 0;
        for row in 0..number(level, "rows") {
            for column in 0..number(level, "columns") {
                let span = |at: u64, shown: &str, whole: u64| {
                    let shown = (number(level, shown) - at * 256).min(256);
                    (at * 256 * scale, (shown * scale).min(whole - at * 256 * scale), shown)
                };
                let ((x, across, w), (y, down, h)) = (span(column, "width", width), span(row, "height", height));
                let values = [("x", x), ("y", y), ("across", across), ("down", down), ("width", w), ("height", h)];
                let path = values.iter().fold(text(pyramid, "path").to_owned(), |path, (name, value)| {
                    path.replace(&format!("{{{name}}}"), &value.to_string())
                });
                let tile = server.get(&path).await;
                assert!(tile.status == 200 && tile.header("cache-status").contains("hit"), "{path}: {tile:?}");
                let header = fovea::decode::probe(&tile.body, &fovea::base::Limits::default()).unwrap();
                assert_eq!((u64::from(header.size.width), u64::from(header.size.height)), (w, h), "{path}");
                pixels += w * h;
            }
        }
        assert_eq!(pixels, number(level, "width") * number(level, "height"));
    }
    assert!(server.metric("fovea_render_shared_total", &[]).await > 10.0, "neighbours take one decode");
    let refused = api.post("/v1/pyramids", json!({ "asset": "shop/large/peaks.jpg", "tile": 7 })).await;
    assert_eq!(refused.status, 400);
    let missing = api.post("/v1/pyramids", json!({ "asset": "shop/none.jpg" })).await;
    assert_eq!(missing.status, 404);
}
