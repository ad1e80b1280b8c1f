"""The servers that are compared: how each is started for one folder of originals, and how it spells a task in a URL."""

import itertools
import os
import pathlib
import shutil
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import measure  # noqa: E402


class Peer:
    """A server, and the knobs that a column of the table stands for."""

    #: What the column is called.
    title = ""
    #: Shares the process of another column, differing in URLs alone; its memory is that column's.
    same_process_as = None

    def __init__(self, scratch, photos, binary=None):
        self.scratch, self.photos, self.binary = pathlib.Path(scratch), pathlib.Path(photos), binary

    def start(self, threads):
        """Starts the server with so many threads that render, waits until it answers, and returns it."""
        raise NotImplementedError

    def url(self, task, photo, width):
        """The task as a URL of this server, or None when it has no such thing."""
        raise NotImplementedError

    def version(self):
        """Name and version for the table."""
        raise NotImplementedError


class Fovea(Peer):
    """Ours: file source, no derivative store, no access log (the others have none), each request a miss. What a variant costs
    when its original has been asked for before."""

    title = "Fovea"
    category = "bench"

    def start(self, threads):
        port, api = measure.free_port(), measure.free_port()
        fresh = self.scratch / "fresh"
        fresh.mkdir(exist_ok=True)
        qualities = {"unsigned": "options", "quality_jpeg": 80, "quality_webp": 80, "quality_avif": 60}
        config = self.scratch / "fovea.toml"
        config.write_text(
            measure.toml({
                "http": {"listen": f"127.0.0.1:{port}", "access_log": "none", "threads": 1, "request_timeout_ms": 120_000},
                "api": {"listen": f"127.0.0.1:{api}"},
                "memory": {"work_queue_ms": 110_000},
                "render": {"threads": threads},
                "derivatives": {"store": "none"},
                "rate_limit": {"per_second": 0},
                "telemetry": {"log": "warn"},
                "category.demo": {"enabled": False},
                "category.bench": {"source": f"file:{self.photos}", **qualities},
                "category.direct": {"source": f"file:{self.photos}", "mezzanine": "off", **qualities},
                "category.fresh": {"source": f"file:{fresh}", **qualities},
            })
        )
        server = measure.Server("fovea", [self.binary, "serve", "--config", config], port, self.scratch / "fovea.log")
        return server.wait_ready(f"/bench/{any_photo(self.photos)}/v1/w_64.jpg")

    def url(self, task, photo, width):
        # The qualities are the category's, since a default that is spelt out would be answered with a redirect.
        options = f"w_{width}"
        if task.aspect:
            options += f",h_{task.height(width)},fit_cover"
        return f"/{self.category}/{self.original(photo)}/v1/{options}.{'jpg' if task.format == 'jpeg' else task.format}"

    def original(self, photo):
        """The asset that stands for the photo."""
        return photo

    def version(self):
        return f"{measure.version_of(self.binary, '--version')} ({measure.commit()})"


class FoveaFirst(Fovea):
    """The same server; each request is the first one of its original, which makes the mezzanines too."""

    title = "Fovea, first"
    same_process_as = "Fovea"
    category = "fresh"
    numbers = itertools.count()

    def original(self, photo):
        name = f"{next(self.numbers)}-{photo}"
        if (self.photos / photo).exists():
            shutil.copyfile(self.photos / photo, self.scratch / "fresh" / name)
        return name


class FoveaDirect(Fovea):
    """The same server with `mezzanine = "off"`: every variant is rendered from its original."""

    title = "Fovea, direct"
    same_process_as = "Fovea"
    category = "direct"


class Sharp(Peer):
    """sharp (libvips) behind Node's own HTTP server, with sharp's defaults."""

    title = "sharp"
    effort = {}

    def start(self, threads):
        port = measure.free_port()
        env = {
            "PEER_PORT": str(port),
            "PEER_FILES": str(self.photos),
            "UV_THREADPOOL_SIZE": str(threads),
            "NODE_ENV": "production",
        }
        command = [os.environ["PEER_NODE"], HERE / "sharp-server.mjs"]
        server = measure.Server("sharp", command, port, self.scratch / "sharp.log", env)
        return server.wait_ready(f"/?file={any_photo(self.photos)}&w=64")

    def url(self, task, photo, width):
        url = f"/?file={photo}&w={width}&format={task.format}"
        if task.quality:
            url += f"&q={task.quality}"
        if task.aspect:
            url += f"&h={task.height(width)}"
        if task.format in self.effort:
            url += f"&effort={self.effort[task.format]}"
        return url

    def version(self):
        script = (
            "const s = require(process.argv[1]); console.log(`sharp ${s.versions.sharp} (libvips ${s.versions.vips}),"
            " Node.js ${process.version}`)"
        )
        return measure.version_of(
            os.environ["PEER_NODE"], "-e", script, pathlib.Path(os.environ["PEER_NODE_MODULES"]) / "node_modules/sharp"
        )


class SharpQuick(Sharp):
    """The same server, asked for its encoders' quick settings where they have any: WebP effort 2, AVIF effort 0."""

    title = "sharp, quick"
    same_process_as = "sharp"
    effort = {"webp": 2, "avif": 0}

    def url(self, task, photo, width):
        return super().url(task, photo, width) if task.format in self.effort else None


class Oximg(Peer):
    """oximg with its defaults: full decode, linear light, progressive jpegli."""

    title = "oximg"
    profile = {}

    def start(self, threads):
        port = measure.free_port()
        env = {
            "PORT": str(port),
            "OXIMG_BIND": "127.0.0.1",
            "IMAGES_DIR": str(self.photos),
            "OXIMG_OPTIONS_PREFIX": "/image",
            "OXIMG_WORKERS": str(threads),
            **self.profile,
        }
        name = self.title.replace(", ", "-")
        server = measure.Server(name, [os.environ["PEER_OXIMG"]], port, self.scratch / f"{name}.log", env)
        return server.wait_ready(f"/image/width=64/{any_photo(self.photos)}")

    def url(self, task, photo, width):
        if task.aspect or task.format == "avif":
            return None  # no cover, and AVIF only where a system SVT-AV1 4.1 was compiled in
        quality = f",quality={task.quality}" if task.quality else ""
        return f"/image/width={width}{quality},format={task.format}/{photo}"

    def version(self):
        done = measure.version_of(os.environ["PEER_OXIMG"], "--version")
        return done if "oximg" in done else f"oximg {done}"


class OximgQuick(Oximg):
    """oximg's quick settings: mozjpeg baseline, and libjpeg's shrink-on-load with its former margin."""

    title = "oximg, quick"
    profile = {"PRESET": "fast", "OXIMG_DCT_MARGIN": "1.7"}


class Thumbor(Peer):
    """thumbor (Pillow) from a folder, without its storages."""

    title = "thumbor"

    def start(self, threads):
        port = measure.free_port()
        config = self.scratch / "thumbor.conf"
        config.write_text(
            "LOADER = 'thumbor.loaders.file_loader'\n"
            f"FILE_LOADER_ROOT_PATH = {str(self.photos)!r}\n"
            "STORAGE = 'thumbor.storages.no_storage'\n"
            "RESULT_STORAGE = None\n"
            "ALLOW_UNSAFE_URL = True\n"
            f"ENGINE_THREADPOOL_SIZE = {threads}\n"
        )
        command = [os.environ["PEER_THUMBOR"], "-i", "127.0.0.1", "-p", port, "-c", config, "-l", "error"]
        server = measure.Server("thumbor", command, port, self.scratch / "thumbor.log")
        return server.wait_ready(f"/unsafe/64x0/{any_photo(self.photos)}")

    def url(self, task, photo, width):
        quality = f":quality({task.quality})" if task.quality else ""
        height = task.height(width) if task.aspect else 0
        return f"/unsafe/{width}x{height}/filters:format({task.format}){quality}/{photo}"

    def version(self):
        python = pathlib.Path(os.environ["PEER_THUMBOR"]).with_name("python")
        script = "import PIL, thumbor; print(f'thumbor {thumbor.__version__} (Pillow {PIL.__version__})')"
        return measure.version_of(python, "-c", script)


def any_photo(photos):
    """The smallest JPEG of the folder, to see whether a server works."""
    return min(pathlib.Path(photos).glob("*.jpg"), key=lambda path: path.stat().st_size).name


#: Columns by the name that --peers takes, in the table's order.
PEERS = {"fovea": [Fovea, FoveaFirst, FoveaDirect], "sharp": [Sharp, SharpQuick], "oximg": [Oximg, OximgQuick], "thumbor": [Thumbor]}
#: thumbor brings a Python environment of its own; it is measured when it is asked for.
DEFAULT = ["fovea", "sharp", "oximg"]
