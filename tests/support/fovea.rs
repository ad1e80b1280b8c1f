//! The built binary, started on free loopback ports with a folder of its own, ended by process id; and a client for it.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// How long a server may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// A running server.
pub struct Fovea {
    child: Child,
    /// Where images are served.
    pub http: SocketAddr,
    /// Where health, metrics and purge are.
    pub api: SocketAddr,
    /// The server's folder: `originals/` is category `pics`, `derivatives/` the store.
    pub folder: tempfile::TempDir,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// How a server is started.
struct How<'a> {
    /// The subcommand.
    command: &'a str,
    /// The API's token; empty is none.
    token: &'a str,
    /// Further lines of `[api]`.
    api: &'a str,
    /// Further environment.
    environment: &'a [(&'a str, &'a str)],
}

impl Default for How<'_> {
    fn default() -> Self {
        Self { command: "serve", token: TOKEN, api: "", environment: &[] }
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Response {
    /// A header's text; empty where it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a header of ours is ASCII"))
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("loopback binds").local_addr().expect("it is bound").port()
}

/// The token of the API in tests.
pub const TOKEN: &str = "test-token";

impl Fovea {
    /// A server with category `pics` (`unsigned = "options"`) over a folder of fixtures, and what `config` adds.
    pub async fn start(config: &str) -> Self {
        Self::start_in(tempfile::tempdir().expect("a temporary folder"), config, &[]).await
    }

    /// A server in a folder that exists already, with further environment.
    pub async fn start_in(folder: tempfile::TempDir, config: &str, environment: &[(&str, &str)]) -> Self {
        Self::start_as(folder, config, &How { environment, ..How::default() }).await
    }

    /// Origin and API, and nobody who does jobs.
    pub async fn start_idle(config: &str) -> Self {
        let how = How { environment: &[("FOVEA_WORKER__ENABLED", "false")], ..How::default() };
        Self::start_as(tempfile::tempdir().expect("a temporary folder"), config, &how).await
    }

    /// The API alone.
    pub async fn start_control(config: &str) -> Self {
        let how = How { command: "api", ..How::default() };
        Self::start_as(tempfile::tempdir().expect("a temporary folder"), config, &how).await
    }

    /// Origin, API and worker in one process.
    pub async fn start_all(config: &str) -> Self {
        let how = How { command: "all", ..How::default() };
        Self::start_as(tempfile::tempdir().expect("a temporary folder"), config, &how).await
    }

    /// A server whose section `[api]` says more.
    pub async fn start_with_api(config: &str, api: &str) -> Self {
        let how = How { api, ..How::default() };
        Self::start_as(tempfile::tempdir().expect("a temporary folder"), config, &how).await
    }

    /// A server that nobody told a token.
    pub async fn start_untold(config: &str) -> Self {
        let how = How { token: "", ..How::default() };
        Self::start_as(tempfile::tempdir().expect("a temporary folder"), config, &how).await
    }

    /// Ends it and starts it again, still without a token.
    pub async fn restart_untold(mut self, config: &str) -> Self {
        self.stop().await;
        let how = How { token: "", ..How::default() };
        Self::start_as(self.take_folder(), config, &how).await
    }

    /// Ends it as a power cut would (SIGKILL), and starts origin, API and worker in its folder.
    pub async fn killed_and_started_all(mut self, config: &str) -> Self {
        self.child.kill().expect("it is ours to kill");
        self.child.wait().expect("it ends");
        let how = How { command: "all", ..How::default() };
        Self::start_as(self.take_folder(), config, &how).await
    }

    fn take_folder(&mut self) -> tempfile::TempDir {
        std::mem::replace(&mut self.folder, tempfile::tempdir().expect("a temporary folder"))
    }

    async fn start_as(folder: tempfile::TempDir, config: &str, how: &How<'_>) -> Self {
        let originals = folder.path().join("originals");
        std::fs::create_dir_all(&originals).expect("a folder");
        for entry in [fixtures(), samples()].iter().flat_map(|dir| std::fs::read_dir(dir).expect("the folder is there"))
        {
            let path = entry.expect("an entry").path();
            if path.is_file() {
                std::fs::copy(&path, originals.join(path.file_name().expect("a name"))).expect("a copy");
            }
        }
        let (http, api) = (free_port(), free_port());
        let http: SocketAddr = ([127, 0, 0, 1], http).into();
        let api: SocketAddr = ([127, 0, 0, 1], api).into();
        let text = format!("{}\n{config}\n", base_config(folder.path(), http, api, config, how));
        let file = folder.path().join("fovea.toml");
        std::fs::write(&file, text).expect("the config is written");
        let log = std::fs::File::create(folder.path().join("log.txt")).expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_fovea"))
            .args([how.command, "--config"])
            .arg(&file)
            .current_dir(folder.path())
            .env_clear()
            .envs(how.environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a handle"))
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        let client = Client::builder(TokioExecutor::new()).build_http();
        let mut server = Self { child, http, api, folder, client };
        server.wait_until_ready().await;
        server
    }

    async fn wait_until_ready(&mut self) {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the child can be asked") {
                panic!("fovea ended with {status}:\n{}", self.log());
            }
            let url = format!("http://{}/health/ready", self.api);
            if self.try_send(Method::GET, &url, &[], Bytes::new()).await.is_ok_and(|answer| answer.status == 200) {
                return;
            }
            assert!(begun.elapsed() < READY_WITHIN, "fovea was not ready in time:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What the server logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log.txt")).unwrap_or_default()
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a power cut would (SIGKILL).
    pub fn kill(&self) {
        let killed = Command::new("sh").args(["-c", "kill -KILL \"$0\"", &self.pid().to_string()]).status();
        assert!(killed.expect("a shell runs").success());
    }

    /// Asks it to end (SIGTERM), and waits; answers the exit code.
    pub async fn stop(&mut self) -> Option<i32> {
        // The shell's own: a minimal system has no other.
        let kill =
            Command::new("sh").args(["-c", "kill \"$0\"", &self.pid().to_string()]).status().expect("a shell runs");
        assert!(kill.success());
        for _ in 0..1000 {
            if let Some(status) = self.child.try_wait().expect("the child can be asked") {
                return status.code();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("fovea did not end:\n{}", self.log());
    }

    /// Ends it and gives its folder, so that another can be started there.
    pub async fn restart(mut self, config: &str) -> Self {
        self.stop().await;
        Self::start_in(self.take_folder(), config, &[]).await
    }

    /// Memory that the process holds now, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.status_kib("VmRSS:") << 10
    }

    /// The most memory that the process held since [`Fovea::forget_peak`], in bytes.
    pub fn resident_bytes_peak(&self) -> u64 {
        self.status_kib("VmHWM:") << 10
    }

    /// Lets [`Fovea::resident_bytes_peak`] begin anew from what the process holds now.
    pub fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").expect("the process is ours");
    }

    fn status_kib(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the process runs");
        let line = status.lines().find(|line| line.starts_with(name)).expect("Linux tells");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number of KiB")
    }

    /// GET of a path on the image listener.
    pub async fn get(&self, path: &str) -> Response {
        self.get_with(path, &[]).await
    }

    /// GET with headers.
    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        self.send(Method::GET, path, headers).await
    }

    /// Any method on the image listener.
    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
        let url = format!("http://{}{path}", self.http);
        self.try_send(method, &url, headers, Bytes::new()).await.unwrap_or_else(|error| {
            panic!("{url}: {error}\n{}", self.log());
        })
    }

    /// GET on the API listener.
    pub async fn api(&self, path: &str) -> Response {
        let url = format!("http://{}{path}", self.api);
        self.try_send(Method::GET, &url, &[], Bytes::new()).await.expect("the API answers")
    }

    /// A purge with the token.
    pub async fn purge(&self, body: serde_json::Value) -> Response {
        self.purge_with(TOKEN, body).await
    }

    /// A purge with any token; none where it is empty.
    pub async fn purge_with(&self, token: &str, body: serde_json::Value) -> Response {
        let url = format!("http://{}/v1/purge", self.api);
        let bearer = format!("Bearer {token}");
        let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
        let headers = if token.is_empty() { &headers[..1] } else { &headers };
        self.try_send(Method::POST, &url, headers, body.to_string().into()).await.expect("the API answers")
    }

    /// A metric's value summed over its labels; only lines that contain every one of `labels`.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = self.api("/metrics").await.body;
        let text = String::from_utf8(text.to_vec()).expect("metrics are text");
        let lines = text.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        });
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Any request, to anywhere.
    pub async fn try_send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Response, Box<dyn std::error::Error>> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.client.request(request.body(Full::new(body))?).await?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Response { status: parts.status, headers: parts.headers, body })
    }
}

impl Drop for Fovea {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The folder of fixtures.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The folder of sample pictures.
pub fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples")
}

/// The config of a test's server; a test's own text may replace the sections `[derivatives]` and `[category.pics]`.
fn base_config(folder: &Path, http: SocketAddr, api: SocketAddr, own: &str, how: &How<'_>) -> String {
    let folder = folder.display();
    let mut sections = BTreeMap::new();
    sections.insert("[http]", format!("listen = \"{http}\"\naccess_log = \"none\"\n"));
    sections.insert("[api]", format!("listen = \"{api}\"\ntoken = \"{}\"\n{}", how.token, how.api));
    sections.insert("[derivatives]", format!("store = \"file:{folder}/derivatives\"\n"));
    let pics = format!("source = \"file:{folder}/originals\"\nunsigned = \"options\"\noriginals = \"public\"\n");
    sections.insert("[category.pics]", pics);
    let kept = sections.into_iter().filter(|(name, _)| !own.lines().any(|line| line.trim() == *name));
    kept.map(|(name, body)| format!("{name}\n{body}\n")).collect()
}
