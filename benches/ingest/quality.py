"""What the 18 outputs are worth beside sharp's: SSIMULACRA2 and bytes by format, and with which effort sharp's weigh as much as
Fovea's at the same score."""

import json
import math
import os
import pathlib
import subprocess

from measure import fail

SHARP_FORMATS = {"jpg": "jpeg", "webp": "webp", "avif": "avif"}
# sharp's own defaults, by its documentation.
QUALITY = {"jpg": 80, "webp": 80, "avif": 50}
STEP = {"jpg": 8, "webp": 8, "avif": 8}
EFFORTS = {"jpg": ["default"], "webp": [0, 2, 4], "avif": [0, 2, 4]}
EFFORT_USUAL = {"jpg": "default", "webp": 4, "avif": 4}
# What weighs at most so much more at an equal score counts as equal.
EQUAL = 1.01


def node(*arguments, text=None):
    command = [os.environ["PEER_NODE"], *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, input=text)
    if done.returncode:
        fail(done.stderr)
    return done.stdout


def options(format, effort, quality):
    """sharp's options of a format."""
    return {"quality": quality} if effort == "default" else {"quality": quality, "effort": effort}


def scores(here, folder, outputs):
    """SSIMULACRA2 of outputs (original, file) against Lanczos references of their originals in gamma space and in linear light,
    the better of both."""
    decoder = here.parent / "peers" / "photos.mjs"
    raws = {path: pathlib.Path(f"{path}.raw") for path in {folder / name for name, _ in outputs} | {path for _, path in outputs}}
    order = list(raws)
    lines = node(decoder, "decode", text="".join(f"{path}\t{raws[path]}\n" for path in order)).splitlines()
    sizes = {path: line.split("\t") for path, line in zip(order, lines, strict=True)}
    by_original = sorted(range(len(outputs)), key=lambda at: outputs[at][0])
    jobs = []
    for at in by_original:
        name, path = outputs[at]
        whole = sizes[folder / name]
        jobs.append("\t".join(map(str, [raws[folder / name], *whole, raws[path], *sizes[path], f"0:0:{whole[0]}:{whole[1]}"])))
    done = subprocess.run(
        [os.environ["PEER_SCORE"]], input="\n".join(jobs) + "\n", stdout=subprocess.PIPE, text=True, check=True
    )
    found = [None] * len(outputs)
    for at, line in zip(by_original, done.stdout.splitlines(), strict=True):
        found[at] = max(map(float, line.split("\t")))
    for raw in raws.values():
        raw.unlink()
    return found


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def compare(here, modules, folder, names, widths, ours, scratch):
    """Rows (format, who, score, bytes, bytes at ours' score), and the settings of sharp that weigh the same at ours' score with the
    least effort. `ours` maps (name, width, format) to a file."""
    sharp = here / "sharp-folder.mjs"
    outputs = [(name, path) for (name, _, _), path in ours.items()]
    keys = [(format, "fovea") for (_, _, format) in ours]
    for step in (-1, 0, 1):
        for effort_at in range(max(map(len, EFFORTS.values()))):
            settings, made = {}, []
            for format, efforts in EFFORTS.items():
                if effort_at < len(efforts):
                    effort, quality = efforts[effort_at], QUALITY[format] + step * STEP[format]
                    settings[SHARP_FORMATS[format]] = options(format, effort, quality)
                    made.append((format, effort, quality))
            keep = scratch / f"sharp-{step}-{effort_at}"
            keep.mkdir()
            node(sharp, modules, folder, ",".join(names), ",".join(map(str, widths)), json.dumps(settings), keep)
            for format, effort, quality in made:
                for name in names:
                    for width in widths:
                        outputs.append((name, keep / f"{name}.{width}.{SHARP_FORMATS[format]}"))
                        keys.append((format, (effort, quality)))
    found = {}
    for key, (_, path), score in zip(keys, outputs, scores(here, folder, outputs), strict=True):
        found.setdefault(key, []).append((score, path.stat().st_size))
    points = {key: (mean(score for score, _ in all), mean(size for _, size in all)) for key, all in found.items()}
    rows, equal = [], {}
    for format, efforts in EFFORTS.items():
        score, size = points[format, "fovea"]
        rows.append([format, "fovea", score, size, size])
        for effort in efforts:
            curve = sorted(
                (*points[format, (effort, quality)], quality)
                for quality in (QUALITY[format] + step * STEP[format] for step in (-1, 0, 1))
            )
            at_score, quality = interpolated(curve, score)
            usual = points[format, (effort, QUALITY[format])]
            rows.append([format, f"sharp, effort {effort}", *usual, at_score])
            if format not in equal and (at_score <= size * EQUAL or effort == efforts[-1]):
                equal[format] = options(format, effort, quality)
    return rows, {SHARP_FORMATS[format]: settings for format, settings in equal.items()}


def interpolated(curve, score):
    """Bytes and quality at a score, between the two points of a curve (score, bytes, quality) that are nearest: bytes grow by
    powers with the score."""
    below, above = (curve[0], curve[1]) if score < curve[1][0] else (curve[1], curve[2])
    part = (score - below[0]) / (above[0] - below[0])
    size = math.exp(math.log(below[1]) + part * (math.log(above[1]) - math.log(below[1])))
    return size, max(1, min(100, round(below[2] + part * (above[2] - below[2]))))
