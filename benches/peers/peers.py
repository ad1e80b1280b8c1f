"""Measures Fovea and its peers on the same tasks; `run` beside this file installs the peers and starts it.

Each round sends every task to every server, in turn and in changing order, each request with another width around the nominal
one, so that no cache can answer. CPU time is the server's own, user and system with all threads; medians over rounds.
"""

import argparse
import dataclasses
import http.client
import itertools
import json
import os
import pathlib
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import measure  # noqa: E402
import report  # noqa: E402
import servers  # noqa: E402

AT_ONCE = 32
PHOTOS_MAX = 2


@dataclasses.dataclass(frozen=True)
class Task:
    """What one request asks for. `requests` are those for one photo in one round."""

    name: str
    title: str
    photos: str
    width: int
    format: str
    quality: int
    requests: int
    aspect: float = 0.0

    def height(self, width):
        """The height that `cover` crops to."""
        return round(width * self.aspect)


TASKS = [
    Task("T1", "12 MP JPEG → 400 px JPEG q80", "p12", 400, "jpeg", 80, 4),
    Task("T2", "12 MP JPEG → 400 px WebP q80", "p12", 400, "webp", 80, 3),
    Task("T3", "2 MP JPEG → 1200 px WebP q80", "p2", 1200, "webp", 80, 2),
    Task("T4", "2 MP JPEG → 800×600 cover JPEG q80", "p2", 800, "jpeg", 80, 4, 0.75),
    Task("T5", "2 MP JPEG → 800 px AVIF q60", "p2", 800, "avif", 60, 1),
    Task("T6", "1 MP PNG with alpha → 300 px PNG", "alpha", 300, "png", 0, 6),
    Task("T6w", "1 MP PNG with alpha → 300 px WebP q80", "alpha", 300, "webp", 80, 4),
    Task("T7", "24 MP JPEG → 2000 px JPEG q80", "p24", 2000, "jpeg", 80, 2),
]
MEMORY_TASKS = ("T1", "T7")


def main():
    args = arguments()
    names = args.tasks or [task.name for task in TASKS]
    unknown = set(names) - {task.name for task in TASKS}
    if unknown:
        measure.fail(f"there is no task {', '.join(sorted(unknown))}; there are {', '.join(task.name for task in TASKS)}")
    tasks = [task for task in TASKS if task.name in names]
    groups = [name for name in args.peers.split(",") if name]
    if set(groups) - set(servers.PEERS):
        measure.fail(f"--peers takes {', '.join(servers.PEERS)}")
    photos = photo_folder(args.photos)
    files = {kind: pick(photos, kind) for kind in sorted({task.photos for task in TASKS})}
    binary = measure.fovea_binary(args.bin) if "fovea" in groups else None
    with tempfile.TemporaryDirectory(prefix="fovea-peers-") as scratch:
        peers = [kind(scratch, photos, binary) for name in servers.PEERS if name in groups for kind in servers.PEERS[name]]
        results = {
            "date": measure.today(),
            "machine": measure.machine(),
            "rounds": args.rounds,
            "threads": args.threads,
            "photos": {kind: {file: list(dimensions(photos / file)) for file in found} for kind, found in files.items()},
            "photos_made": not (args.photos or os.environ.get("FOVEA_BENCH_PHOTOS")),
            "columns": [peer.title for peer in peers],
            "versions": [peer.version() for peer in peers if not peer.same_process_as and "quick" not in peer.title],
            "tasks": {task.name: {"title": task.title, "columns": {}} for task in tasks},
            "memory": {},
        }
        cpu(peers, tasks, files, photos, args.rounds, pathlib.Path(scratch), results)
        memory(peers, files, args.threads, results)
        if not args.tasks:
            page(peers, files, args.rounds, results)
            load(peers, files, args.threads, results)
            abandoned(peers, files, args.threads, results)
            sheet(peers, pathlib.Path(scratch), pathlib.Path(args.out))
    out = pathlib.Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    text = report.table(results)
    (out / "results.md").write_text(text)
    (out / "results.svg").write_text(report.chart(results))
    print(text)
    measure.say(f"written to {out}/results.md, results.svg and results.json")


def arguments():
    """The command line; `run` explains it."""
    parser = argparse.ArgumentParser(prog="benches/peers/run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", default=",".join(servers.DEFAULT))
    parser.add_argument("--photos", default="")
    parser.add_argument("--bin", default="")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads that render while memory is measured")
    parser.add_argument("--out", default=HERE)
    parser.add_argument("tasks", nargs="*")
    return parser.parse_args()


def photo_folder(given):
    """The folder of originals: as given, or made from the samples, once."""
    given = given or os.environ.get("FOVEA_BENCH_PHOTOS")
    if given:
        return pathlib.Path(given).resolve()
    folder = pathlib.Path(os.environ["PEER_SCRATCH"]) / "photos"
    if not (folder / "complete").exists():
        measure.say("making photos of 2, 12 and 24 megapixels from the samples")
        folder.mkdir(parents=True, exist_ok=True)
        node(["make", measure.ROOT / "samples", folder])
    return folder


def node(words, **more):
    """Runs photos.mjs."""
    command = [os.environ["PEER_NODE"], HERE / "photos.mjs", *words]
    return subprocess.run([str(part) for part in command], check=True, text=True, **more)


def pick(photos, kind):
    """The files of one kind: plain baseline photos, large enough that no task enlarges them."""
    if kind == "alpha":
        found = sorted({*photos.glob("a_*.png"), *photos.glob("*_alpha.png")})[:1]
    else:
        plain = [path for path in sorted(photos.glob(f"{kind}_*.jpg")) if path.stem.count("_") == 1]
        widest = max(task.width for task in TASKS if task.photos == kind)
        found = [path for path in plain if dimensions(path)[0] > widest * 1.05][-PHOTOS_MAX:]
    if not found:
        measure.fail(f"{photos} has no file for {kind}")
    return [path.name for path in found]


def dimensions(path):
    """Width and height from a JPEG's or a PNG's header."""
    data = pathlib.Path(path).read_bytes()
    if data.startswith(b"\x89PNG"):
        return struct.unpack(">II", data[16:24])
    at = 2
    while at + 9 < len(data):
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + length
    measure.fail(f"{path} is neither a JPEG nor a PNG")


def cpu(peers, tasks, files, photos, rounds, scratch, results):
    """CPU time, bytes and quality of every task."""
    running = {}
    for peer in peers:
        running[peer.title] = running[peer.same_process_as] if peer.same_process_as else peer.start(threads=1)
    connections = {
        title: http.client.HTTPConnection("127.0.0.1", server.port, timeout=measure.REQUEST_S)
        for title, server in running.items()
    }

    def ask(peer, task, photo, width):
        status, headers, body = measure.get(0, peer.url(task, photo, width), connection=connections[peer.title])
        if status == 308:
            measure.fail(f"{peer.title} redirects {peer.url(task, photo, width)} to {headers.get('location')}")
        kind = headers.get("content-type", "")
        if status != 200 or kind != f"image/{task.format}":
            measure.fail(f"{peer.title} answers {task.name} with {status} {kind}: {body[:300]!r}")
        return body

    cells = [(task, peer) for task in tasks for peer in peers if peer.url(task, "x", 1)]
    measure.say("first requests, and the outputs that are scored")
    outputs = []
    for task, peer in cells:
        connections[peer.title].close()  # it opens again by itself; an idle one may have been closed by the server
        for photo in files[task.photos]:
            body = ask(peer, task, photo, task.width)
            path = scratch / f"{len(outputs)}.{task.format}"
            path.write_bytes(body)
            outputs.append((task, peer, photo, path, len(body)))

    samples = {(task.name, peer.title): [] for task, peer in cells}
    # 0 was the nominal width; the same widths for every server.
    widths = {task.name: [task.width + step for step in offsets(rounds * task.requests)] for task in tasks}
    for turn in range(rounds):
        measure.say(f"round {turn + 1} of {rounds}")
        for task in tasks:
            able = [peer for peer in peers if (task, peer) in cells]
            shift = turn % max(1, len(able))
            for peer in able[shift:] + able[:shift]:
                own = widths[task.name][turn * task.requests : (turn + 1) * task.requests]
                connections[peer.title].close()
                before = running[peer.title].cpu_s()
                for photo, width in itertools.product(files[task.photos], own):
                    ask(peer, task, photo, width)
                spent = running[peer.title].cpu_s() - before
                samples[task.name, peer.title].append(spent * 1000 / (len(own) * len(files[task.photos])))
    for server in running.values():
        server.stop()

    measure.say("scoring")
    scores = score(outputs, photos, scratch)
    for task, peer in cells:
        own = [at for at, output in enumerate(outputs) if output[0] is task and output[1] is peer]
        results["tasks"][task.name]["columns"][peer.title] = {
            "cpu_ms": measure.median(samples[task.name, peer.title]),
            "cpu_ms_rounds": samples[task.name, peer.title],
            "bytes": sum(outputs[at][4] for at in own) / len(own),
            "gamma": sum(scores[at][0] for at in own) / len(own),
            "linear": sum(scores[at][1] for at in own) / len(own),
        }


def offsets(count):
    """+1, −1, +2, −2 and so on."""
    return [step // 2 + 1 if step % 2 == 0 else -(step // 2 + 1) for step in range(count)]


def score(outputs, photos, scratch):
    """SSIMULACRA2 of each output against both references, in their order."""
    names = sorted({output[2] for output in outputs})
    originals = {name: scratch / f"original-{at}.raw" for at, name in enumerate(names)}
    jobs = [(photos / name, raw) for name, raw in originals.items()]
    jobs += [(output[3], output[3].with_suffix(".raw")) for output in outputs]
    lines = "".join(f"{source}\t{raw}\n" for source, raw in jobs)
    decoded = node(["decode"], input=lines, stdout=subprocess.PIPE).stdout.splitlines()
    sizes = [tuple(int(side) for side in line.split("\t")) for line in decoded]
    raw_sizes = {raw: size for (_, raw), size in zip(jobs, sizes, strict=True)}

    order = sorted(range(len(outputs)), key=lambda at: outputs[at][2])
    lines = []
    for at in order:
        task, _, photo, path, _ = outputs[at]
        original, candidate = originals[photo], path.with_suffix(".raw")
        whole, size = raw_sizes[original], raw_sizes[candidate]
        fields = [original, *whole, candidate, *size, *crops(whole, size, task.aspect)]
        lines.append("\t".join(str(field) for field in fields))
    done = subprocess.run(
        [os.environ["PEER_SCORE"]], input="\n".join(lines) + "\n", stdout=subprocess.PIPE, text=True, check=True
    )
    found = [tuple(float(value) for value in line.split("\t")) for line in done.stdout.splitlines()]
    scores = [None] * len(outputs)
    for at, value in zip(order, found, strict=True):
        scores[at] = value
    return scores


def crops(whole, size, cover):
    """The part of the original that an output shows. A centred crop has several honest roundings; all are tried."""
    width, height = whole
    if not cover:
        return [f"0:0:{width}:{height}"]
    scale = max(size[0] / width, size[1] / height)
    full_w, full_h = size[0] / scale, size[1] / scale
    found = {f"{(width - full_w) / 2:.6f}:{(height - full_h) / 2:.6f}:{full_w:.6f}:{full_h:.6f}"}
    scaled_w, scaled_h = round(width * scale), round(height * scale)
    for left, top in itertools.product({(scaled_w - size[0]) // 2, (scaled_w - size[0] + 1) // 2},
                                       {(scaled_h - size[1]) // 2, (scaled_h - size[1] + 1) // 2}):
        across, down = width / scaled_w, height / scaled_h
        found.add(f"{left * across:.6f}:{top * down:.6f}:{size[0] * across:.6f}:{size[1] * down:.6f}")
    return sorted(found)


def memory(peers, files, threads, results):
    """Peak resident memory of a fresh server after one task in turn, and of another after `AT_ONCE` large ones at once."""
    measure.say(f"memory, with {threads} threads that render")
    by_name = {task.name: task for task in TASKS}
    small, large = (by_name[name] for name in MEMORY_TASKS)
    for peer in peers:
        if peer.same_process_as:
            continue
        server = peer.start(threads)
        for photo, width in itertools.product(files[small.photos], range(small.width, small.width + 5)):
            measure.get(server.port, peer.url(small, photo, width))
        after_small = server.peak_mib()
        server.stop()

        server = peer.start(threads)
        answers = []
        photos = itertools.cycle(files[large.photos])
        urls = [peer.url(large, photo, large.width + step) for step, photo in zip(range(AT_ONCE), photos)]
        clients = [
            threading.Thread(target=lambda port, url: answers.append(status_of(port, url)), args=[server.port, url])
            for url in urls
        ]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        results["memory"][peer.title] = {
            "T1_mib": after_small,
            "T7_at_once_mib": server.peak_mib(),
            "T7_at_once_ok": answers.count(200),
        }
        server.stop()


PAGE_WIDTHS = (160, 320, 480, 640, 800, 1000, 1280, 1600)
PAGE_FORMATS = (("jpeg", 80), ("webp", 80), ("avif", 60))


def page(peers, files, rounds, results):
    """The CPU of a whole page: every width in every format, of a photo that nobody asked for before."""
    tasks = [
        Task("page", "", "p12", width, name, quality, 1) for width in PAGE_WIDTHS for name, quality in PAGE_FORMATS
    ]
    results["page_title"] = f"{', '.join(map(str, PAGE_WIDTHS))} px wide, each as JPEG, WebP and AVIF"
    results["page"] = {}
    photo = files["p12"][0]
    quick = next((peer for peer in peers if peer.title == "sharp, quick"), None)
    for peer in peers:
        # sharp's AVIF at its default effort would take most of a minute.
        spell = {"avif": quick} if peer.title == "sharp" else {}
        if peer.title not in ("Fovea, first", "sharp", "thumbor"):
            continue
        measure.say(f"a page by {peer.title}")
        server = peer.start(threads=1)
        samples = []
        for turn in range(rounds):
            # One asset a page; the widths differ from page to page.
            names = [spell.get(task.format, peer).url(task, photo, task.width - turn) for task in tasks]
            if isinstance(peer, servers.FoveaFirst):
                asset = peer.original(photo)
                names = [url.replace(url.split("/")[2], asset) for url in names]
            before = server.cpu_s()
            answers = at_once(server.port, names, 6)
            if any(status != 200 for status, _ in answers):
                measure.fail(f"{peer.title} answers a page with {sorted({status for status, _ in answers})}")
            samples.append((server.cpu_s() - before) * 1000)
        server.stop()
        results["page"][peer.title] = measure.median(samples)


def load(peers, files, threads, results):
    """How T1 goes with 1, 2, 8 and 32 requests at once."""
    results["load"] = {}
    (small,) = [task for task in TASKS if task.name == MEMORY_TASKS[0]]
    for peer in peers:
        if peer.title not in ("Fovea", "Fovea, direct", "sharp"):
            continue
        measure.say(f"load on {peer.title}")
        server = peer.start(threads)
        widths = itertools.count(200)
        ask = lambda count: [peer.url(small, files["p12"][0], next(widths)) for _ in range(count)]
        at_once(server.port, ask(4), 2)
        cells = {}
        for clients in (1, 2, 8, 32):
            urls = ask(max(32, clients * 4))
            begun = time.monotonic()
            answers = at_once(server.port, urls, clients)
            spent = time.monotonic() - begun
            times = sorted(1000 * took for _, took in answers)
            cells[str(clients)] = {
                "per_core": len(answers) / spent / min(clients, threads),
                "p50_ms": times[len(times) // 2],
                "p99_ms": times[min(len(times) - 1, len(times) * 99 // 100)],
                "ok": sum(status == 200 for status, _ in answers),
            }
        results["load"][peer.title] = cells
        server.stop()


def abandoned(peers, files, threads, results):
    """The CPU that a server spends after 24 clients that asked for T7 have hung up."""
    results["abandoned"] = {}
    (large,) = [task for task in TASKS if task.name == MEMORY_TASKS[1]]
    for peer in peers:
        if peer.same_process_as or not peer.url(large, "x", 1):
            continue
        measure.say(f"hang-ups on {peer.title}")
        server = peer.start(threads)
        sockets = []
        for step in range(24):
            client = socket.create_connection(("127.0.0.1", server.port))
            url = peer.url(large, files["p24"][0], large.width - step)
            client.sendall(f"GET {url} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            sockets.append(client)
        time.sleep(0.05)
        for client in sockets:
            client.close()
        before = server.cpu_s()
        time.sleep(6)
        results["abandoned"][peer.title] = server.cpu_s() - before
        server.stop()


def sheet(peers, scratch, out):
    """A contact sheet of hard cases at 400 px as JPEG q80, one column a peer, for eyes."""
    measure.say("a contact sheet of hard cases")
    folder = scratch / "hard"
    folder.mkdir()
    node(["hard", measure.ROOT / "samples", folder])
    (small,) = [task for task in TASKS if task.name == MEMORY_TASKS[0]]
    lines = []
    for kind in peers:
        if kind.title in ("Fovea, first", "sharp, quick"):
            continue
        peer = type(kind)(scratch, folder, kind.binary)
        server = (servers.Fovea(scratch, folder, kind.binary) if isinstance(kind, servers.Fovea) else peer).start(threads=1)
        for file in sorted(folder.glob("x_*.jpg")):
            status, _, body = measure.get(server.port, peer.url(small, file.name, 400))
            if status != 200:
                measure.fail(f"{peer.title} answers {file.name} with {status}")
            path = scratch / f"sheet-{len(lines)}.jpg"
            path.write_bytes(body)
            lines.append(f"{file.stem[2:]}\t{peer.title}\t{path}\n")
        server.stop()
    out.mkdir(parents=True, exist_ok=True)
    node(["sheet", out / "results-sheet.webp"], input="".join(sorted(lines, key=lambda line: line.split("\t")[0])))


def at_once(port, urls, clients):
    """Asks for every URL with so many clients; statuses and seconds in the order of their ends."""
    left, answers = list(reversed(urls)), []

    def client():
        while True:
            try:
                url = left.pop()
            except IndexError:
                return
            begun = time.monotonic()
            answers.append((status_of(port, url), time.monotonic() - begun))

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def status_of(port, url):
    """The status, or 0 when the connection broke."""
    try:
        return measure.get(port, url)[0]
    except OSError:
        return 0


if __name__ == "__main__":
    main()
