//! A server that takes uploads, and a client of its API.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use serde_json::Value;

use super::fovea::{Fovea, Response, TOKEN};

/// How long a job may take in a test.
const JOB_WITHIN: Duration = Duration::from_secs(60);

/// The config of a category `shop` that takes uploads, in the server's folder.
pub const SHOP: &str = "[ingest]\nstore = \"file:ingest\"\n\
    [catalog]\nurl = \"sqlite:catalog.sqlite\"\n\
    [category.shop]\ningest = true\nunsigned = \"options\"\noriginals = \"public\"\n";

/// Who asks, by what they show.
pub struct Caller<'a> {
    pub server: &'a Fovea,
    pub key: String,
}

impl Fovea {
    /// The API, as the configured token sees it.
    pub fn root(&self) -> Caller<'_> {
        Caller { server: self, key: TOKEN.to_owned() }
    }

    /// The API, as somebody with a key sees it.
    pub fn with_key(&self, key: &str) -> Caller<'_> {
        Caller { server: self, key: key.to_owned() }
    }
}

impl Caller<'_> {
    /// Any request.
    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Response {
        let url = format!("http://{}{path}", self.server.api);
        let bearer = format!("Bearer {}", self.key);
        let mut all = vec![("authorization", bearer.as_str())];
        if self.key.is_empty() {
            all.clear();
        }
        all.extend_from_slice(headers);
        let answer = self.server.try_send(method, &url, &all, body.into()).await;
        answer.unwrap_or_else(|error| panic!("{url}: {error}\n{}", self.server.log()))
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Response {
        self.send(Method::GET, path, &[], "").await
    }

    /// POST of JSON.
    pub async fn post(&self, path: &str, body: Value) -> Response {
        self.send(Method::POST, path, &[("content-type", "application/json")], body.to_string()).await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Response {
        self.send(Method::DELETE, path, &[], "").await
    }

    /// An upload.
    pub async fn put(&self, path: &str, body: impl Into<Bytes>) -> Response {
        self.send(Method::PUT, path, &[], body).await
    }

    /// An upload that is taken.
    pub async fn taken(&self, path: &str, body: impl Into<Bytes>) -> Value {
        let answer = self.put(path, body).await;
        assert_eq!(answer.status, 202, "{:?}\n{}", answer.body, self.server.log());
        answer.json()
    }

    /// A key of an owner.
    pub async fn key(&self, role: &str, owner: &str, categories: &[&str]) -> String {
        let mut body = serde_json::json!({ "role": role, "owner": owner, "name": role });
        if !categories.is_empty() {
            body["categories"] = serde_json::json!(categories);
        }
        let answer = self.post("/v1/keys", body).await;
        assert_eq!(answer.status, 201, "{:?}", answer.body);
        answer.json()["secret"].as_str().expect("the key's text").to_owned()
    }

    /// A job when it has ended.
    pub async fn ended(&self, id: &str) -> Value {
        let begun = Instant::now();
        loop {
            let job = self.get(&format!("/v1/jobs/{id}")).await;
            assert_eq!(job.status, 200, "{:?}", job.body);
            let job = job.json();
            if matches!(job["status"].as_str(), Some("completed" | "failed" | "cancelled")) {
                return job;
            }
            assert!(begun.elapsed() < JOB_WITHIN, "it takes too long: {job}\n{}", self.server.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A job of an upload's answer when it is completed.
    pub async fn completed(&self, answer: &Value) -> Value {
        let job = self.ended(text(answer, "job_id")).await;
        assert_eq!(job["status"], "completed", "{job}\n{}", self.server.log());
        job
    }
}

/// A text of an answer.
pub fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is no text in {value}"))
}

/// A form with files.
pub fn form(parts: &[(&str, Option<&str>, &[u8])]) -> (String, Vec<u8>) {
    let boundary = "fovea-test-boundary";
    let mut body = Vec::new();
    for (name, file_name, bytes) in parts {
        let file = file_name.map_or(String::new(), |file| format!("; filename=\"{file}\""));
        let head = format!("--{boundary}\r\ncontent-disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={boundary}"), body)
}
