"""What uploads cost, and how soon their variants are ready. See `run` for what it takes and writes."""

import argparse
import concurrent.futures
import http.client
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import measure
import quality
from measure import ROOT, Server, fail, fovea_binary, free_port, markdown, median, number, say

TOKEN = "bench"
WIDTHS = [160, 320, 480, 640, 960, 1280]
FORMATS = ["jpg", "webp", "avif"]
SIX = ["w_160.webp", "w_320.webp", "w_480.jpg", "w_640.webp", "w_960.jpg", "w_200,h_200,fit_cover.webp"]
UPLOAD_BYTES = 3_000_000
# Assets whose outputs are scored, and at which widths.
SCORED = 4
SCORED_WIDTHS = [320, 1280]


def folder_of(given):
    """Where photos are."""
    return pathlib.Path(given or os.environ.get("FOVEA_BENCH_PHOTOS") or ROOT / "samples")


def photos(folder):
    """JPEGs of a folder, or the samples, largest pictures last."""
    folder = folder_of(folder)
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    found = [path for path in found if path.stat().st_size > 50_000]
    return found or fail(f"{folder} holds no photos")


def distinct(photo, at, length=0):
    """A photo's bytes as a content of its own: what follows a JPEG's end is no part of the picture."""
    body = photo.read_bytes() + f"copy {at}".encode()
    return body + b"\0" * max(0, length - len(body))


class Fovea:
    """A server with a folder of its own, with workers or without."""

    def __init__(self, binary, workers=True, more=None):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fovea-ingest-"))
        self.images, self.api = free_port(), free_port()
        tables = {
            "http": {"listen": f"127.0.0.1:{self.images}", "access_log": "none"},
            "api": {"listen": f"127.0.0.1:{self.api}", "token": TOKEN, "key_per_second": 0, "address_per_second": 0},
            "derivatives": {"store": f"file:{self.folder}/derivatives"},
            "ingest": {"store": f"file:{self.folder}/ingest"},
            "catalog": {"url": f"sqlite:{self.folder}/catalog.sqlite"},
            "worker": {"enabled": workers},
            "category.demo": {"enabled": False},
            "category.shop": {"ingest": True, "unsigned": "options"},
            **(more or {}),
        }
        config = self.folder / "fovea.toml"
        config.write_text(measure.toml(tables))
        command = [binary, "serve", "--config", config]
        self.server = Server("fovea", command, self.api, self.folder / "log.txt", cwd=self.folder)
        self.server.wait_ready("/health/ready")

    def ask(self, method, path, body=None):
        # In pieces, as clients send files: three megabytes at once would all be out of the processor's cache when they are read.
        connection = http.client.HTTPConnection("127.0.0.1", self.api, timeout=120, blocksize=64 << 10)
        headers = {"authorization": f"Bearer {TOKEN}", "content-length": str(len(body or b""))}
        connection.request(method, path, body=io.BytesIO(body) if body else None, headers=headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status // 100 != 2:
            fail(f"{method} {path}: {answer.status} {text[:300]!r}")
        return json.loads(text)

    def put(self, name, body, variants=()):
        query = f"?variants={','.join(variants)}" if variants else ""
        return self.ask("PUT", f"/v1/assets/shop/{name}{query}", body)

    def completed(self, job):
        while True:
            found = self.ask("GET", f"/v1/jobs/{job}")
            if found["status"] in ("completed", "failed", "cancelled"):
                return found
            time.sleep(0.005)

    def output(self, name, width, format, into):
        """A variant that was made, as a file."""
        version = self.ask("GET", f"/v1/assets/shop/{name}")["version"]
        status, _, body = measure.get(self.images, f"/shop/{name}/{version}/w_{width}.{format}")
        if status != 200:
            fail(f"{name} {width} {format}: {status}")
        path = into / f"{name}.{width}.{format}"
        path.write_bytes(body)
        return path

    def end(self):
        self.server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def upload(binary, pictures):
    """CPU, speed and memory of 3 MB uploads, with nobody who makes variants."""
    fovea = Fovea(binary, workers=False)
    for at in range(4):
        fovea.put(f"warm-{at}.jpg", distinct(pictures[0], at, UPLOAD_BYTES))
    one = []
    for at in range(40):
        body = distinct(pictures[0], f"one-{at}", UPLOAD_BYTES)
        cpu = fovea.server.cpu_s()
        fovea.put(f"one-{at}.jpg", body)
        one.append(fovea.server.cpu_s() - cpu)
    before = fovea.server.peak_mib()
    bodies = [distinct(pictures[0], f"many-{at}", UPLOAD_BYTES) for at in range(200)]
    began, cpu = time.monotonic(), fovea.server.cpu_s()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda at: fovea.put(f"many-{at}.jpg", bodies[at]), range(len(bodies))))
    wall, cpu = time.monotonic() - began, fovea.server.cpu_s() - cpu
    result = {
        "cpu_ms": median(one) * 1e3,
        "cpu_ms_8_at_once": cpu / len(bodies) * 1e3,
        "mb_s_8_at_once": len(bodies) * UPLOAD_BYTES / wall / 1e6,
        "memory_grown_mib": fovea.server.peak_mib() - before,
    }
    fovea.end()
    return result


def ready(binary, pictures):
    """From an upload to its job's end, six variants, on a machine with nothing else to do; and a batch of 10 MB."""
    fovea = Fovea(binary)
    times = []
    for at in range(12):
        body = distinct(pictures[at % len(pictures)], f"ready-{at}", UPLOAD_BYTES)
        began = time.monotonic()
        taken = fovea.put(f"ready-{at}.jpg", body, SIX)
        job = fovea.completed(taken["job_id"])
        if job["status"] != "completed":
            fail(json.dumps(job))
        times.append((time.monotonic() - began) * 1e3)
    waits = fovea.ask("GET", "/v1/statistics?window=15m")["stages"]["wait"]
    began, jobs, sent, at = time.monotonic(), [], 0, 0
    while sent < 10_000_000:
        body = distinct(pictures[at % len(pictures)], f"batch-{at}")
        jobs.append(fovea.put(f"batch-{at}.jpg", body, SIX)["job_id"])
        sent, at = sent + len(body), at + 1
    ends = [fovea.completed(job)["status"] for job in jobs]
    result = {
        "ready_ms_p50": median(times),
        "ready_ms_worst": max(times),
        "wait_ms_p50": waits["p50_ms"],
        "wait_ms_p99": waits["p99_ms"],
        "batch_10mb_s": time.monotonic() - began,
        "batch_files": len(jobs),
        "batch_completed": ends.count("completed") / len(ends),
    }
    fovea.end()
    return result


def folder(binary, photos_at, assets, peer_assets):
    """A folder with 18 outputs of each picture: CPU of the server, and of sharp doing the same; and what both are worth."""
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="fovea-photos-"))
    originals_at = scratch / "originals"
    originals_at.mkdir()
    modules = os.environ["PEER_NODE_MODULES"]
    say(f"cutting {assets} originals out of the photos")
    cut = json.loads(quality.node(HERE / "originals.mjs", modules, photos_at, originals_at, assets))
    names = sorted(path.name for path in originals_at.iterdir())
    wanted = [f"w_{width}.{format}" for width in WIDTHS for format in FORMATS]
    fovea = Fovea(binary)
    api = f"http://127.0.0.1:{fovea.api}"
    command = [binary, "ingest", "--api", api, "--token", TOKEN, "--category", "shop", "--wait"]
    command += ["--variants", ",".join(wanted), originals_at]
    say(f"{assets} assets with {len(wanted)} outputs by fovea")
    began, cpu = time.monotonic(), fovea.server.cpu_s()
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    wall, cpu = time.monotonic() - began, fovea.server.cpu_s() - cpu
    if done.returncode:
        fail(done.stdout + done.stderr)
    numbers = fovea.ask("GET", "/v1/statistics?window=24h")
    result = {
        "photos": cut["photos"],
        "assets": assets,
        "outputs": numbers["variants"],
        "success": numbers["success"],
        "original_bytes": sum((originals_at / name).stat().st_size for name in names) / assets,
        "cpu_ms_an_asset": cpu / assets * 1e3,
        "wall_s": wall,
        "peak_mib": fovea.server.peak_mib(),
    }
    # Every n-th, so that all photos have a part; another one is scored than is measured.
    peers = names[:: max(1, len(names) // peer_assets)][:peer_assets]
    scored = names[3 :: max(1, len(names) // SCORED)][:SCORED]
    ours = {(name, width, format): fovea.output(name, width, format, scratch) for name in scored for width in SCORED_WIDTHS for format in FORMATS}
    fovea.end()
    say(f"scoring outputs of {len(scored)} assets, and sharp's at several efforts")
    rows, equal = quality.compare(HERE, modules, originals_at, scored, SCORED_WIDTHS, ours, scratch)
    usual = {quality.SHARP_FORMATS[f]: quality.options(f, quality.EFFORT_USUAL[f], quality.QUALITY[f]) for f in FORMATS}
    for name, settings in (("usual", usual), ("equal", equal)):
        say(f"{len(peers)} of them by sharp, {name} effort: {settings}")
        widths = ",".join(map(str, WIDTHS))
        said = quality.node(HERE / "sharp-folder.mjs", modules, originals_at, ",".join(peers), widths, json.dumps(settings))
        said = json.loads(said)
        result[f"sharp_{name}_cpu_ms_an_asset"] = said["cpu_ms"] / said["pictures"]
    result["of_sharp_usual"] = result["cpu_ms_an_asset"] / result["sharp_usual_cpu_ms_an_asset"]
    result["of_sharp_equal"] = result["cpu_ms_an_asset"] / result["sharp_equal_cpu_ms_an_asset"]
    shutil.rmtree(scratch, ignore_errors=True)
    return result, {"rows": rows, "equal": equal}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--assets", type=int, default=200)
    parser.add_argument("--peer-assets", type=int, default=20)
    parser.add_argument("--only", default="upload,ready,folder")
    parser.add_argument("--photos")
    parser.add_argument("--bin")
    parser.add_argument("--out", default=HERE)
    given = parser.parse_args()
    binary, pictures = fovea_binary(given.bin), photos(given.photos)
    out = pathlib.Path(given.out)
    kept = out / "results.json"
    # Parts that are not measured this time stay as they were, each with its own date.
    results = json.loads(kept.read_text()) if kept.exists() else {}
    doing = {
        "upload": lambda: upload(binary, pictures),
        "ready": lambda: ready(binary, pictures),
        "folder": lambda: folder(binary, folder_of(given.photos), given.assets, min(given.assets, given.peer_assets)),
    }
    for part in given.only.split(","):
        about = {"date": measure.today(), "machine": measure.machine(), "commit": measure.commit(), "photos": len(pictures)}
        done = doing[part]()
        values, more = done if isinstance(done, tuple) else (done, None)
        results[part] = {**about, "values": values} | ({"quality": more} if more else {})
    kept.write_text(json.dumps(results, indent=1) + "\n")
    text = "# Taking originals in\n\nPhotos over and over, each copy a content of its own. See `run`.\n"
    for part, result in results.items():
        text += f"\n{part}: {result['date']}, {result['machine']}, commit {result['commit']}, {result['photos']} photos\n\n"
        rows = [[name.replace("_", " "), number(value)] for name, value in result["values"].items()]
        text += markdown(["what", "value"], rows)
        if "quality" in result:
            text += f"\nSSIMULACRA2 and mean bytes of the outputs {', '.join(map(str, SCORED_WIDTHS))} pixels wide of {SCORED} assets\n\n"
            rows = [[f"{row[0]} {row[1]}", *map(number, row[2:])] for row in result["quality"]["rows"]]
            text += markdown(["outputs", "score", "bytes", "bytes at our score"], rows)
            text += f"\nsharp with the least effort that weighs no more than ours at our score: `{json.dumps(result['quality']['equal'])}`\n"
    (out / "results.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
