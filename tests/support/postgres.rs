//! A real PostgreSQL server, on a free loopback port, with a folder of its own, ended when the tests end however they do.
//!
//! Its programs are in `$FOVEA_POSTGRES_BIN`, or where Debian puts them (`apt-get install postgresql`). It does not run as root, so
//! root runs it as the user `postgres`.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const READY_WITHIN: Duration = Duration::from_secs(60);

/// Makes a cluster whose texts sort as English does (so that what must not depend on it is seen not to), and runs the server until
/// its standard input closes, which the kernel does for us even when the tests are killed.
const WATCHDOG: &str = r#"
folder=$1 bin=$2 port=$3; shift 3
as=
if [ "$(id -u)" = 0 ]; then
    chown postgres "$folder"
    as="setpriv --reuid=postgres --regid=postgres --init-groups"
fi
cd "$folder"
export LC_ALL=C.UTF-8
$as "$bin/initdb" -D "$folder/data" -U fovea -A trust -E UTF8 --locale=C.UTF-8 --locale-provider=icu --icu-locale=en \
    --no-sync >"$folder/log" 2>&1 </dev/null
run() {
    $as "$bin/postgres" -D "$folder/data" -c listen_addresses=127.0.0.1 -c port="$port" -c unix_socket_directories= \
        -c max_connections=300 -c shared_buffers=64MB -c jit=off "$@" >>"$folder/log" 2>&1 </dev/null &
    server=$!
}
run "$@"
# Each line is a wish for a restart, as after a crash.
while read -r wish; do
    kill -QUIT $server
    wait $server 2>/dev/null
    run "$@"
done
kill -QUIT $server
wait $server 2>/dev/null
rm -rf "$folder"
"#;

/// A running server. Dropped, it ends and its folder goes.
pub struct Postgres {
    watchdog: Child,
    folder: PathBuf,
    port: u16,
}

/// The server that all tests of this binary share; each makes a database of its own. It does not wait for the disk.
pub fn shared() -> &'static Postgres {
    static SHARED: OnceLock<Postgres> = OnceLock::new();
    SHARED.get_or_init(|| Postgres::start(&["-c", "fsync=off"]))
}

impl Postgres {
    /// Starts a server with further settings, and waits until it answers.
    pub fn start(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder").keep();
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("loopback binds").port();
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "sh"])
            .arg(&folder)
            .arg(programs())
            .arg(port.to_string())
            .args(settings)
            .stdin(Stdio::piped())
            .spawn()
            .expect("there is a shell");
        let server = Self { watchdog, folder, port };
        server.wait();
        server
    }

    /// Ends it at once, with what is under way, and starts it again on its data.
    pub fn restart(&self) {
        let mut wishes = self.watchdog.stdin.as_ref().expect("the watchdog has a pipe");
        writeln!(wishes, "restart").expect("the watchdog listens");
        // Until the old one is gone it might still answer.
        std::thread::sleep(Duration::from_millis(100));
        self.wait();
    }

    /// Makes a database; answers its URL.
    pub fn database(&self) -> String {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("test{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        format!("postgres://fovea@127.0.0.1:{}/{name}", self.port)
    }

    /// Runs a statement in a database; answers its rows, a line each, cells parted by `|`.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let output = self.psql(database, sql);
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn psql(&self, database: &str, sql: &str) -> std::process::Output {
        Command::new(programs().join("psql"))
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "fovea", "-d", database])
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql])
            .stdin(Stdio::null())
            .output()
            .expect("psql stands beside the server")
    }

    fn wait(&self) {
        let until = Instant::now() + READY_WITHIN;
        while !self.psql("postgres", "SELECT 1").status.success() {
            assert!(Instant::now() < until, "PostgreSQL is not ready:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
    }
}

/// Where the server's programs are.
fn programs() -> PathBuf {
    if let Some(path) = std::env::var_os("FOVEA_POSTGRES_BIN") {
        return path.into();
    }
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path());
    let newest = installed.filter(|path| path.join("bin/postgres").exists()).max_by_key(|path| version(path));
    let newest =
        newest.expect("PostgreSQL is installed (apt-get install postgresql), or FOVEA_POSTGRES_BIN says where it is");
    newest.join("bin")
}
