//! A real NATS server with JetStream, on a free loopback port, with a folder of its own, ended when the tests end however they do.
//!
//! The program is `$FOVEA_NATS_SERVER`, or `nats-server` in the path (`apt-get install nats-server`).

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

const READY_WITHIN: Duration = Duration::from_secs(60);

/// Runs the server, does what it is told line by line and says so, and ends the server when its standard input closes, which the
/// kernel does for us even when the tests are killed.
const WATCHDOG: &str = r#"
program=$1 folder=$2
cd "$folder"
run() { "$program" -c "$folder/server.conf" >>"$folder/log" 2>&1 </dev/null & server=$!; }
run
while read -r what; do
    case $what in
        start) run ;;
        kill) kill -KILL $server; wait $server 2>/dev/null ;;
        pause) kill -STOP $server ;;
        resume) kill -CONT $server ;;
    esac
    echo done
done
kill -KILL $server 2>/dev/null
wait $server 2>/dev/null
rm -rf "$folder"
"#;

/// A running server. Dropped, it ends and its folder goes.
pub struct Nats {
    watchdog: Child,
    told: Mutex<Option<(ChildStdin, BufReader<ChildStdout>)>>,
    folder: PathBuf,
    port: u16,
}

/// The server that all tests of this binary share; each takes a prefix of its own.
pub fn shared() -> &'static Nats {
    static SHARED: OnceLock<Nats> = OnceLock::new();
    SHARED.get_or_init(|| Nats::start(""))
}

impl Nats {
    /// Starts a server with further lines of its configuration, and waits until it answers.
    pub fn start(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder").keep();
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("loopback binds").port();
        let data = folder.join("data");
        let text = format!(
            "listen: \"127.0.0.1:{port}\"\nserver_name: \"test{port}\"\njetstream {{ store_dir: {data:?} }}\n{config}\n"
        );
        fs::write(folder.join("server.conf"), text).expect("the config is written");
        let program = std::env::var_os("FOVEA_NATS_SERVER").unwrap_or_else(|| "nats-server".into());
        let mut watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "sh"])
            .arg(program)
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("there is a shell");
        let pipes = watchdog.stdin.take().zip(watchdog.stdout.take().map(BufReader::new));
        let server = Self { watchdog, told: Mutex::new(pipes), folder, port };
        server.wait();
        server
    }

    /// Starts servers that are one cluster. Clients find none of them but those that they were told of.
    pub fn cluster(servers: usize) -> Vec<Self> {
        let listeners: Vec<TcpListener> =
            (0..servers).map(|_| TcpListener::bind("127.0.0.1:0").expect("loopback binds")).collect();
        let ports: Vec<u16> =
            listeners.iter().map(|listener| listener.local_addr().expect("it is bound").port()).collect();
        drop(listeners);
        let routes: Vec<String> = ports.iter().map(|port| format!("\"nats-route://127.0.0.1:{port}\"")).collect();
        let config = |port| {
            let routes = routes.join(", ");
            format!("cluster {{ name: test, listen: \"127.0.0.1:{port}\", routes: [{routes}], no_advertise: true }}")
        };
        ports.iter().map(|port| Self::start(&config(port))).collect()
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// A prefix that no other test of this binary has.
    pub fn prefix(&self) -> String {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        format!("test{}", COUNT.fetch_add(1, Ordering::Relaxed))
    }

    /// Ends it as a power cut would (SIGKILL). Its data stay.
    pub fn kill(&self) {
        self.tell("kill");
    }

    /// Starts it again on its data, and waits until it answers.
    pub fn start_again(&self) {
        self.tell("start");
        self.wait();
    }

    /// Stops it in the middle of what it does (SIGSTOP): connections stay, and nothing answers.
    pub fn pause(&self) {
        self.tell("pause");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.tell("resume");
    }

    fn tell(&self, what: &str) {
        let mut told = self.told.lock().expect("nobody panicked while telling");
        let (stdin, stdout) = told.as_mut().expect("the watchdog has pipes");
        writeln!(stdin, "{what}").and_then(|()| stdin.flush()).expect("the watchdog listens");
        let mut line = String::new();
        stdout.read_line(&mut line).expect("the watchdog answers");
        assert_eq!(line, "done\n");
    }

    /// A server says what it is to whoever connects; over TLS too it says that first.
    fn wait(&self) {
        let until = Instant::now() + READY_WITHIN;
        let says = || -> std::io::Result<String> {
            let stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.set_read_timeout(Some(Duration::from_secs(2)))?;
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line)?;
            Ok(line)
        };
        while !says().is_ok_and(|line| line.contains("\"jetstream\":true")) {
            assert!(Instant::now() < until, "NATS is not ready (apt-get install nats-server):\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        drop(self.told.lock().expect("nobody panicked while telling").take());
        let _ = self.watchdog.wait();
    }
}
