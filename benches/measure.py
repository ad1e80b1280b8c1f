"""What the benchmarks share: servers as child processes, their CPU time and memory, requests, and numbers in text.

CPU time is user and system of a process with all its threads, read from the kernel's clock of that process in
nanoseconds, and so free of the ten-millisecond ticks of /proc/PID/stat.
"""

import atexit
import contextlib
import datetime
import http.client
import os
import pathlib
import platform
import socket
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "fovea"
READY_S = 20.0
STOP_S = 5.0
REQUEST_S = 300.0

_running = []


def say(text):
    """Tells the person who waits; results alone go to standard output."""
    print(f"==> {text}", file=sys.stderr, flush=True)


def fail(text):
    """Ends the benchmark; the servers are ended on the way out."""
    sys.exit(f"error: {text}")


GIVEN = set()


def free_port():
    """A loopback port that was free a moment ago and was not given before."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port not in GIVEN:
            GIVEN.add(port)
            return port


class Server:
    """A child process that listens on a loopback port."""

    def __init__(self, name, command, port, log, env=None, core=None, measured=None, cwd=None):
        """Starts `command` in `cwd`. `core` pins it; `measured` finds the pid to measure where it is not the child's own."""
        self.name, self.port, self.log = name, port, pathlib.Path(log)
        if core is not None:
            command = ["taskset", "-c", str(core), *command]
        # No FOVEA_ variable of the caller may change what is measured.
        clean = {key: value for key, value in os.environ.items() if not key.startswith("FOVEA_")}
        with open(self.log, "wb") as out:
            self.child = subprocess.Popen(
                [str(part) for part in command],
                env={**clean, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=cwd,
            )
        _running.append(self)
        self.pid = self.child.pid
        self._measured = measured

    def wait_ready(self, path):
        """Asks for `path` until it answers 200. Fails with the server's log after `READY_S`."""
        end = time.monotonic() + READY_S
        answer = "nothing"
        while time.monotonic() < end and self.child.poll() is None:
            try:
                status, _, body = get(self.port, path)
                if status == 200:
                    if self._measured:
                        self.pid = self._measured(self.child.pid)
                    return self
                answer = f"{status} {body[:300]!r}"
            except OSError as error:
                answer = str(error)
            time.sleep(0.02)
        tail = self.log.read_text(errors="replace")[-2000:]
        fail(f"{self.name} does not serve {path} (last answer: {answer})\n{tail}")

    def cpu_s(self):
        """CPU seconds, user and system, of all threads so far."""
        return time.clock_gettime((~self.pid << 3) | 2)

    def peak_mib(self):
        """The largest resident memory so far, in MiB."""
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) / 1024

    def stop(self):
        """Ends the process: politely, and after `STOP_S` for good."""
        if self in _running:
            _running.remove(self)
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()


@atexit.register
def _stop_all():
    for server in list(_running):
        with contextlib.suppress(Exception):
            server.stop()


def get(port, path, headers=None, connection=None):
    """One GET. Returns status, headers (lower-case names) and body."""
    conn = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=REQUEST_S)
    try:
        conn.request("GET", path, headers=headers or {})
        response = conn.getresponse()
        body = response.read()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, body
    except http.client.HTTPException as error:
        raise OSError(f"broken answer: {error!r}") from error
    finally:
        if connection is None:
            conn.close()


def fovea_binary(given):
    """The binary to measure: as given, from FOVEA_BIN, or the one that cargo builds here."""
    path = given or os.environ.get("FOVEA_BIN")
    if not path:
        target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
        say("building fovea")
        if subprocess.run(["cargo", "build", "--quiet", "--bin", "fovea"], cwd=ROOT).returncode:
            fail("fovea does not build; FOVEA_BIN names a binary that is there already")
        path = target / "debug" / "fovea"
    path = pathlib.Path(path).resolve()
    if not os.access(path, os.X_OK):
        fail(f"{path} is no program")
    return path


def toml(tables):
    """Writes `{table: {key: value}}` as TOML; values are text, whole numbers or booleans."""
    lines = []
    for table, keys in tables.items():
        lines.append(f"[{table}]")
        for key, value in keys.items():
            if isinstance(value, bool):
                value = str(value).lower()
            elif isinstance(value, (str, pathlib.Path)):
                value = '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
            lines.append(f"{key} = {value}")
    return "\n".join(lines) + "\n"


def median(values):
    """The median, or None of nothing."""
    return statistics.median(values) if values else None


def number(value, digits=3):
    """A number with so many digits that mean something, or a dash."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    whole = len(str(int(abs(value)))) if abs(value) >= 1 else 1
    return f"{value:,.{max(0, digits - whole)}f}".replace(",", " ")


def markdown(head, rows):
    """A Markdown table; the first column is text, the others are numbers."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def version_of(*command):
    """The first line of what a program says about its version."""
    try:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0].strip() if lines else "unknown"


def machine():
    """Processor, cores, memory and kernel in one line."""
    cpu = platform.machine()
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{cpu}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}"


def today():
    """The date in UTC."""
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")


def commit():
    """The commit that was measured; `+` says that files were changed."""
    def git(*words):
        done = subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""
    short = git("rev-parse", "--short=10", "HEAD") or "unknown"
    return short + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
