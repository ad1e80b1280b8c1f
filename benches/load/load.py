"""Measures hits beside nginx, answers from the derivative store, and the cold start; `run` beside this file starts it.

Server and load run on a core each. CPU time is the server's own, user and system with all threads. Rounds change the order of
the servers; medians over rounds.
"""

import argparse
import getpass
import http.client
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "peers")]

import measure  # noqa: E402
import report  # noqa: E402

OBJECT_BYTES = 32 * 1024
OBJECT_SLACK = 1024
CONNECTIONS = 32
STORE_VARIANTS = 64
STORE_CONNECTIONS = 4
COLD_STARTS = 10
HALF_TRIES = 5
HELD = 0.97
COLD_GIVE_UP_S = 10.0
STORE_WRITE_S = 10.0
GOALS = {"cpu": 0.8, "p99": 2.0, "store_ms": 1.0, "cold_ms": 100.0}
STATES = {"empty": "nothing there yet", "warm": "from the store of the run before"}
KINDS = {"200": "32 KB from memory", "304": "304 to If-None-Match"}


def main():
    args = arguments()
    only = set(args.only.split(","))
    if only - {"hits", "store", "cold"}:
        measure.fail("--only takes hits, store, cold")
    binary = None if args.without_fovea else measure.fovea_binary(args.bin)
    server_core, load_core = cores()
    with tempfile.TemporaryDirectory(prefix="fovea-load-") as scratch:
        bench = Bench(pathlib.Path(scratch), binary, server_core, load_core, args.rounds, args.seconds)
        results = {
            "date": measure.today(),
            "machine": measure.machine(),
            "rounds": args.rounds,
            "seconds": args.seconds,
            "versions": [measure.version_of("nginx", "-v").replace("nginx version: ", "")],
        }
        if binary:
            results["versions"].insert(0, f"{measure.version_of(binary, '--version')} ({measure.commit()})")
        if "hits" in only:
            results["hits"] = bench.hits()
        if "store" in only and binary:
            results["store"] = bench.store()
        if "cold" in only and binary:
            results["cold"] = bench.cold()
    text = table(results)
    out = pathlib.Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    (out / "results.md").write_text(text)
    (out / "results.svg").write_text(chart(results))
    print(text)
    measure.say(f"written to {out}/results.md, results.svg and results.json")


def arguments():
    """The command line; `run` explains it."""
    parser = argparse.ArgumentParser(prog="benches/load/run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4, help="of each single measurement")
    parser.add_argument("--only", default="hits,store,cold")
    parser.add_argument("--without-fovea", action="store_true")
    parser.add_argument("--bin", default="")
    parser.add_argument("--out", default=HERE)
    return parser.parse_args()


def cores():
    """A core for the server and another for the load, or None where there is only one."""
    able = sorted(os.sched_getaffinity(0))
    return (able[0], able[1]) if len(able) > 1 else (None, None)


class Bench:
    """One run: its folder, the binary, the cores and how long to measure."""

    def __init__(self, scratch, binary, server_core, load_core, rounds, seconds):
        self.scratch, self.binary = scratch, binary
        self.server_core, self.load_core = server_core, load_core
        self.rounds, self.seconds = rounds, seconds
        self.photos = measure.ROOT / "samples"
        # How often the rate of half load could not be held.
        self.slipped = 0

    def fovea(self, name, memory=None, derivatives="none", photo="stream.jpg"):
        """Starts ours with an access log, as nginx has one. Returns the server without waiting for it."""
        port, api = measure.free_port(), measure.free_port()
        config = self.scratch / f"{name}.toml"
        config.write_text(
            measure.toml({
                "http": {"listen": f"127.0.0.1:{port}", "access_log": self.scratch / f"{name}-access.log", "threads": 1},
                "api": {"listen": f"127.0.0.1:{api}"},
                "memory": memory or {},
                "render": {"threads": 1},
                "derivatives": {"store": derivatives},
                "rate_limit": {"per_second": 0},
                "telemetry": {"log": "warn"},
                "category.demo": {"enabled": False},
                "category.bench": {"source": f"file:{self.photos}", "unsigned": "options"},
            })
        )
        log = self.scratch / f"{name}.log"
        return measure.Server(name, [self.binary, "serve", "--config", config], port, log, core=self.server_core)

    def nginx(self, body):
        """Starts nginx with the same bytes as a static file, one worker, its usual log, and its cache of open files."""
        port = measure.free_port()
        folder = self.scratch / "nginx"
        (folder / "files").mkdir(parents=True, exist_ok=True)
        (folder / "files" / "object.jpg").write_bytes(body)
        config = folder / "nginx.conf"
        config.write_text(f"""
daemon off;
worker_processes 1;
{"user " + getpass.getuser() + ";" if os.getuid() == 0 else ""}
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log {self.scratch}/nginx-access.log combined;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 75;
    keepalive_requests 1000000000;
    open_file_cache max=64 inactive=60s;
    open_file_cache_valid 60s;
    types {{ image/jpeg jpg; }}
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{
        listen 127.0.0.1:{port};
        root {folder}/files;
        add_header Cache-Control "public, max-age=31536000, immutable";
    }}
}}
""")
        command = ["nginx", "-p", folder, "-e", folder / "error.log", "-c", config]
        return measure.Server("nginx", command, port, folder / "log", core=self.server_core, measured=only_child)

    def hits(self):
        """Requests a CPU second at full load, and times at full and at half load, for the object and for its 304."""
        targets = {}
        body = None
        if self.binary:
            server = self.fovea("fovea").wait_ready("/bench/stream.jpg/v1/w_64.jpg")
            path, body = object_of_size(server)
            targets["fovea"] = (server, path)
        if body is None:
            body = os.urandom(OBJECT_BYTES)
        targets["nginx"] = (self.nginx(body).wait_ready("/object.jpg"), "/object.jpg")
        headers = {name: if_none_match(*target) for name, target in targets.items()}

        found = {name: {kind: {} for kind in KINDS} for name in targets}
        for turn in range(self.rounds):
            measure.say(f"hits at full load, round {turn + 1} of {self.rounds}")
            for kind in KINDS:
                for name in in_turn(targets, turn):
                    keep(found[name][kind], self.full(*targets[name], kind, headers[name]))
        rates = {}
        for kind in KINDS:
            # The same rate for all: half of what the slower one can do.
            rates[kind] = min(measure.median(found[name][kind]["rate"]) for name in targets) / 2
        for turn in range(self.rounds):
            measure.say(f"hits at half load, round {turn + 1} of {self.rounds}")
            for kind in KINDS:
                for name in in_turn(targets, turn):
                    keep(found[name][kind], self.half(*targets[name], kind, headers[name], rates[kind]))
        for server, _ in targets.values():
            server.stop()
        medians = {
            name: {kind: {key: measure.median(values) for key, values in one.items()} for kind, one in kinds.items()}
            for name, kinds in found.items()
        }
        return {"object_bytes": len(body), "half_rate": rates, "slipped": self.slipped, "medians": medians, "rounds": found}

    def full(self, server, path, kind, header):
        """As many requests as `CONNECTIONS` connections get through."""
        before = server.cpu_s()
        done, rate, p50, p99 = self.wrk(server, path, CONNECTIONS, header if kind == "304" else None)
        spent = server.cpu_s() - before
        return {"per_cpu_s": done / spent, "rate": rate, "p50_ms": p50, "p99_ms": p99}

    def half(self, server, path, kind, header, rate):
        """The paced client at `rate` requests a second."""
        command = [os.environ["LOAD_PACED"], server.port, path, f"{rate:.1f}", self.seconds, CONNECTIONS, kind]
        for _ in range(HALF_TRIES):
            answer = json.loads(self.on_load_core(command + ([header] if kind == "304" else [])))
            if answer["wrong"] or answer["missing"]:
                measure.fail(f"{server.name}: {answer['wrong']} of {answer['sent']} requests were not answered with {kind},"
                             f" and {answer['missing']} not at all")
            if answer["rate"] >= rate * HELD:
                break
            # Something else had the cores: neither server's times mean anything then.
            measure.say(f"{server.name}: {answer['rate']:.0f} of {rate:.0f} requests a second; the machine is busy, once more")
        else:
            self.slipped += 1
        return {"half_p50_ms": answer["p50_us"] / 1000, "half_p99_ms": answer["p99_us"] / 1000, "half_rate": answer["rate"]}

    def wrk(self, server, path, connections, header=None, script=None):
        """Runs wrk. Returns requests done, requests a second, and the times' median and 99th percentile in ms."""
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(self.seconds))}s", "--latency"]
        command += ["-H", header] if header else []
        command += ["-s", script] if script else []
        text = self.on_load_core([*command, f"http://127.0.0.1:{server.port}{path}"])
        if re.search(r"Non-2xx|Socket errors", text):
            measure.fail(f"{server.name} fails under load:\n{text}")
        done = int(re.search(r"(\d+) requests in", text).group(1))
        rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1))
        p50, p99 = (milliseconds(re.search(rf"\s{part}%\s+([\d.]+)(us|ms|s)\b", text)) for part in (50, 99))
        return done, rate, p50, p99

    def on_load_core(self, command):
        """Runs a load generator and returns what it says."""
        pin = [] if self.load_core is None else ["taskset", "-c", str(self.load_core)]
        done = subprocess.run([*pin, *map(str, command)], capture_output=True, text=True, timeout=self.seconds + 60)
        if done.returncode:
            measure.fail(f"{command[0]}: {done.stderr.strip()}")
        return done.stdout

    def store(self):
        """CPU of answers from a folder store: with the memory cache off, and of each variant's first after a restart."""
        folder = self.scratch / "derivatives"
        paths = [f"/bench/stream.jpg/v1/w_{600 + at}.jpg" for at in range(STORE_VARIANTS)]
        server = self.fovea("store", {"cache_bytes": 0}, f"file:{folder}").wait_ready(paths[0])
        sizes = [len(measure.get(server.port, path)[2]) for path in paths]
        end = time.monotonic() + STORE_WRITE_S
        while waiting := [path for path in paths if "store" not in cache_status(server, path)]:
            if time.monotonic() > end:
                measure.fail(f"{waiting[0]} is not answered from the store but with {cache_status(server, waiting[0])}")
            time.sleep(0.05)
        script = self.scratch / "in-turn.lua"
        listed = ", ".join(f'"{path}"' for path in paths)
        script.write_text(f"local at, paths = 0, {{{listed}}}\n"
                          "request = function() at = at % #paths + 1 return wrk.format(nil, paths[at]) end\n")
        off = []
        for turn in range(self.rounds):
            measure.say(f"hits in the store, round {turn + 1} of {self.rounds}")
            before = server.cpu_s()
            done, *_ = self.wrk(server, paths[0], STORE_CONNECTIONS, script=script)
            off.append((server.cpu_s() - before) * 1000 / done)
        server.stop()
        first = []
        for turn in range(self.rounds):
            server = self.fovea(f"restarted-{turn}", None, f"file:{folder}").wait_ready("/robots.txt")
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=measure.REQUEST_S)
            before = server.cpu_s()
            answers = [measure.get(server.port, path, connection=connection)[1].get("cache-status", "") for path in paths]
            first.append((server.cpu_s() - before) * 1000 / len(paths))
            if elsewhere := [status for status in answers if "store" not in status]:
                measure.fail(f"after a restart {len(elsewhere)} variants are not in the store: {elsewhere[0]}")
            server.stop()
        return {
            "bytes": measure.median(sizes),
            "variants": len(paths),
            "cpu_ms": measure.median(off),
            "first_cpu_ms": measure.median(first),
            "rounds": off,
            "first_rounds": first,
        }

    def cold(self):
        """Milliseconds from starting the process, as it is shipped, to the last byte of the first image; not pinned."""
        found = {}
        for path in ["/demo/mountains.jpg/v1/w_400.jpg", "/demo/mountains.jpg/v1/w_400.auto"]:
            times = {"empty": [], "warm": []}
            for turn in range(COLD_STARTS):
                # Nothing there at first: not even the samples, which are unpacked before the listeners open.
                folder = self.scratch / f"cold-{turn}-{path.rsplit('.', 1)[1]}"
                folder.mkdir()
                for state, runs in times.items():
                    port, api = measure.free_port(), measure.free_port()
                    env = {"FOVEA_HTTP__LISTEN": f"127.0.0.1:{port}", "FOVEA_API__LISTEN": f"127.0.0.1:{api}"}
                    start = time.perf_counter()
                    server = measure.Server(f"cold-{state}", [self.binary, "serve"], port, folder / f"{state}.log", env, cwd=folder)
                    runs.append(first_answer(server, path, start))
                    # The variant is written behind its answer; a stop waits for that.
                    server.stop()
            for state, runs in times.items():
                measure.say(f"{state} start to {path}: {', '.join(f'{value:.0f}' for value in runs)} ms")
                found[f"{path}, {STATES[state]}"] = {"ms": measure.median(runs), "runs": runs}
        return found


def first_answer(server, path, start):
    """Milliseconds from `start` until `path` is answered with 200."""
    while time.perf_counter() - start < COLD_GIVE_UP_S:
        try:
            status, _, body = measure.get(server.port, path)
            if status == 200 and body:
                return (time.perf_counter() - start) * 1000
        except OSError:
            pass
        time.sleep(0.0005)
    measure.fail(f"no {path} within {COLD_GIVE_UP_S} s\n{server.log.read_text(errors='replace')[-2000:]}")


def only_child(pid):
    """nginx's worker: the master itself serves nothing."""
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    if len(children) != 1:
        measure.fail(f"nginx has {len(children)} workers, not one")
    return int(children[0])


def object_of_size(server):
    """A width whose JPEG has about `OBJECT_BYTES`, as path and bytes."""
    low, high = 64, 1600
    while low <= high:
        width = (low + high) // 2
        path = f"/bench/mountains.jpg/v1/w_{width}.jpg"
        status, _, body = measure.get(server.port, path)
        if status != 200:
            measure.fail(f"{path}: {status} {body[:300]!r}")
        if abs(len(body) - OBJECT_BYTES) <= OBJECT_SLACK:
            return path, body
        low, high = (width + 1, high) if len(body) < OBJECT_BYTES else (low, width - 1)
    measure.fail(f"no width of mountains.jpg gives {OBJECT_BYTES} bytes")


def if_none_match(server, path):
    """The header that is answered with 304; fails when it is not."""
    etag = measure.get(server.port, path)[1].get("etag", "")
    status = measure.get(server.port, path, {"If-None-Match": etag})[0]
    if status != 304:
        measure.fail(f"{server.name} answers If-None-Match: {etag} with {status}")
    return f"If-None-Match: {etag}"


def cache_status(server, path):
    """The Cache-Status of an answer."""
    return measure.get(server.port, path)[1].get("cache-status", "")


def in_turn(targets, turn):
    """The servers, each round another one first."""
    names = list(targets)
    return names[turn % len(names) :] + names[: turn % len(names)]


def keep(into, values):
    """Appends each value to its list."""
    for key, value in values.items():
        into.setdefault(key, []).append(value)


def milliseconds(match):
    """wrk's `1.23ms` as a number."""
    return float(match.group(1)) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[match.group(2)]


def table(results):
    """The Markdown page."""
    parts = [
        "# Hits beside nginx, store and cold start\n",
        "Written by `./x bench load`; do not edit.\n",
        f"- Date: {results['date']}",
        f"- Machine: {results['machine']}",
        f"- Versions: {'; '.join(results['versions'])}",
        f"- Medians over {results['rounds']} interleaved rounds of {results['seconds']:g} s; the server on one core, the load on"
        " another\n",
    ]
    if "hits" in results:
        parts += hits_table(results["hits"])
    rows = []
    if "store" in results:
        store = results["store"]
        about = f"{store['variants']} variants of about {store['bytes'] / 1024:.0f} KiB in a folder store"
        rows.append([f"{about}, memory off, CPU ms an answer", measure.number(store["cpu_ms"]), f"< {GOALS['store_ms']:g}"])
        rows.append([f"{about}, each one's first answer after a restart, CPU ms", measure.number(store["first_cpu_ms"]),
                     f"< {GOALS['store_ms']:g}"])
    for path, one in results.get("cold", {}).items():
        rows.append([f"from process start to the first image, {path}, ms", measure.number(one["ms"]), f"< {GOALS['cold_ms']:g}"])
    if rows:
        parts += ["## Store and cold start\n", measure.markdown(["", "Fovea", "goal"], rows)]
    return "\n".join(parts) + "\n"


def hits_table(hits):
    """Hits, ours beside nginx."""
    medians = hits["medians"]
    names = list(medians)
    both = "fovea" in medians and "nginx" in medians
    rows = []
    for kind, title in KINDS.items():
        half = f"at {hits['half_rate'][kind]:.0f}/s"
        for key, label, goal in [
            ("per_cpu_s", "requests a server CPU second", f"≥ {GOALS['cpu']:g}"),
            ("rate", "requests a second", ""),
            ("p50_ms", "p50 at full load, ms", ""),
            ("p99_ms", "p99 at full load, ms", ""),
            ("half_p50_ms", f"p50 {half}, ms", ""),
            ("half_p99_ms", f"p99 {half}, ms", f"≤ {GOALS['p99']:g}"),
        ]:
            values = [medians[name][kind][key] for name in names]
            ratio = f"{measure.number(values[0] / values[1])}" if both else "–"
            shown = [f"{value:.0f}" if value >= 1000 else measure.number(value) for value in values]
            rows.append([f"{title}: {label}", *shown, ratio, goal])
    return [
        "## Hits\n",
        f"An object of {hits['object_bytes']} bytes, {CONNECTIONS} connections kept alive; nginx serves the same bytes as a file"
        " (one worker, sendfile, open_file_cache), both with an access log in a file. At full load as many as wrk gets through;"
        " at half load a steady rate, half of what the slower of the two can do, times counted from when a request was due.\n",
        *slipped(hits),
        measure.markdown(["", *names, "ratio", "goal"], rows),
    ]


def chart(results):
    """Hits as bars, a panel for each kind on its own scale."""
    hits = results.get("hits", {"medians": {}})["medians"]
    panels = []
    for kind, title in KINDS.items() if hits else ():
        panels.append((f"{title}: requests a server CPU second", [(name, one[kind]["per_cpu_s"]) for name, one in hits.items()]))
        panels.append((f"{title}: p99 at half load, ms", [(name, one[kind]["half_p99_ms"]) for name, one in hits.items()]))
    note = f"each on its own scale; one thread; {results['machine'].split(',')[0]}; {results['date']}"
    return report.page("Hits beside nginx", note, panels)


def slipped(hits):
    """A word on a machine that was too busy to hold the rate."""
    if not hits["slipped"]:
        return []
    return [f"In {hits['slipped']} measurements at half load the machine was too busy to hold the rate; their times count all the"
            " same.\n"]


if __name__ == "__main__":
    main()
