"""Media with W&B's names: `Image`, `Audio`, `Video`, `Histogram`, `Html`, `Object3D`, `Molecule`, `Plotly`."""

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from runbase.events import Scalar
from runbase.run.encode_media import to_array
from runbase.typing import JsonObject
from runbase.values import to_parameter
from runbase.wandb.media import Media
from runbase.wandb.table import JoinedTable, Table
from runbase.wandb.terms import warn_once

if TYPE_CHECKING:
    from runbase.run.run import Run as Recorder

__all__ = [
    "Audio",
    "Bokeh",
    "Classes",
    "Graph",
    "Histogram",
    "Html",
    "Image",
    "JoinedTable",
    "Molecule",
    "Object3D",
    "Plotly",
    "Table",
    "Video",
    "box3d",
]


class Image(Media):
    """An image.

    Args:
        data_or_path: an array (height, width[, channels]), a PyTorch tensor (channels, height, width) or a batch of them,
            a PIL image, a Matplotlib figure, or a path.
        mode: the mode of PIL, such as ``L``; applied to PIL images only.
        caption: a text about the image.
        grouping: ignored.
        classes: the classes of boxes and masks.
        boxes: bounding boxes, recorded beside the caption.
        masks: not recorded.
        file_type: ignored; images are written as PNG.
        normalize: whether to scale arrays of floats whose values are outside of 0 to 1.
    """

    kind = "image-file"

    def __init__(
        self,
        data_or_path: Any,
        mode: str | None = None,
        caption: str | None = None,
        grouping: int | None = None,
        classes: Any = None,
        boxes: Mapping[str, Any] | None = None,
        masks: Mapping[str, Any] | None = None,
        file_type: str | None = None,
        normalize: bool = True,
    ) -> None:
        del grouping, file_type
        if isinstance(data_or_path, Image):
            data_or_path = cast("Any", data_or_path).image
        if mode is not None and hasattr(data_or_path, "convert"):
            data_or_path = data_or_path.convert(mode)
        if hasattr(data_or_path, "shape") and not hasattr(data_or_path, "savefig"):
            data_or_path = _pixels(data_or_path, normalize)
        elif hasattr(data_or_path, "figure") and hasattr(data_or_path.figure, "savefig"):
            data_or_path = data_or_path.figure
        self.image: Any = data_or_path
        self.caption = caption
        self.boxes, self.classes = boxes, classes
        if masks:
            warn_once("masks of images are not recorded; log them as images")

    def record(self, run: "Recorder", key: str, step: Scalar) -> None:
        """Log it as an image; boxes are a JSON record with the key `KEY/boxes`."""
        run.log_image(key, self.image, step, caption=self.caption)
        if self.boxes:
            run.log_dict(f"{key}/boxes", {"boxes": self.boxes, "classes": self.classes}, step)


class Audio(Media):
    """Audio.

    Args:
        data_or_path: samples, or a path.
        sample_rate: samples per second, for samples.
        caption: a text about the audio.
    """

    kind = "audio-file"

    def __init__(
        self, data_or_path: Any, sample_rate: int | None = None, caption: str | None = None
    ) -> None:
        self.audio, self.sample_rate, self.caption = data_or_path, sample_rate, caption

    def record(self, run: "Recorder", key: str, step: Scalar) -> None:
        """Log it as audio."""
        rate = self.sample_rate
        run.log_audio(key, self.audio, step, sample_rate=rate, caption=self.caption)


class Video(Media):
    """A video.

    Args:
        data_or_path: an array (frames, channels, height, width) or (frames, height, width), a batch of such arrays
            (one is recorded), the bytes of a file, or a path.
        caption: a text about the video.
        fps: frames per second, for an array.
        format: ignored; arrays are written as animated WebP.
    """

    kind = "video-file"

    def __init__(
        self,
        data_or_path: Any,
        caption: str | None = None,
        fps: int | None = None,
        format: str | None = None,
    ) -> None:
        del format
        if hasattr(data_or_path, "getvalue"):
            data_or_path = data_or_path.getvalue()
        elif hasattr(data_or_path, "shape"):
            data_or_path = _frames(data_or_path)
        self.video, self.caption, self.fps = data_or_path, caption, fps or 4

    def record(self, run: "Recorder", key: str, step: Scalar) -> None:
        """Log it as a video."""
        run.log_video(key, self.video, step, fps=self.fps, caption=self.caption)


class Histogram(Media):
    """A histogram.

    Args:
        sequence: the values.
        np_histogram: counts and edges, as `numpy.histogram` returns them.
        num_bins: the number of bins, for values.
    """

    kind = "histogram"

    def __init__(self, sequence: Any = None, np_histogram: Any = None, num_bins: int = 64) -> None:
        self.bins: list[float]
        self.histogram: list[float]
        if np_histogram is not None:
            counts, edges = np_histogram
            self.histogram = to_array("histogram", counts).tolist()
            self.bins = to_array("histogram", edges).tolist()
            self.not_finite = 0
            return
        from runbase.run.encode_media import histogram

        document = histogram("histogram", sequence, num_bins)
        self.histogram, self.bins = document["counts"], document["edges"]
        self.not_finite: int = document["not_finite"]

    def record(self, run: "Recorder", key: str, step: Scalar) -> None:
        """Log it as a histogram."""
        run.log_counts(key, self.histogram, self.bins, step, not_finite=self.not_finite)

    def summary(self) -> JsonObject:
        """Return the counts and the edges."""
        return {"_type": self.kind, "values": self.histogram, "bins": self.bins}


class FileMedia(Media):
    """A medium that is recorded as a file."""

    suffix = ".bin"

    def __init__(self, data_or_path: Any, caption: str | None = None) -> None:
        self.data: Any = data_or_path
        self.caption = caption

    def content(self) -> bytes | Path:
        """Return the bytes, or the path of a file that contains them."""
        if hasattr(self.data, "read"):
            text = self.data.read()
            return text if isinstance(text, bytes) else str(text).encode()
        return Path(self.data)

    def record(self, run: "Recorder", key: str, step: Scalar) -> None:
        """Log it as a file."""
        content = self.content()
        with tempfile.TemporaryDirectory(prefix="runbase-") as folder:
            path = Path(folder) / f"file{self.suffix}"
            if isinstance(content, bytes):
                path.write_bytes(content)
            else:
                path = path.with_suffix(content.suffix or self.suffix)
                shutil.copyfile(content, path)
            run.log_file(
                key, path, step, kind=self.kind.removesuffix("-file"), caption=self.caption
            )


class Html(FileMedia):
    """An HTML page.

    Args:
        data: the text of the page, an open file, or the path of a file with the suffix .html.
        inject: ignored.
        data_is_not_path: whether a text that looks like a path is the page.
    """

    kind = "html-file"
    suffix = ".html"

    def __init__(
        self,
        data: Any,
        inject: bool = True,
        data_is_not_path: bool = False,
        caption: str | None = None,
    ) -> None:
        del inject
        super().__init__(data, caption)
        self._text = data_is_not_path

    def content(self) -> bytes | Path:
        """Return the page, or the path of its file."""
        if isinstance(self.data, os.PathLike) or hasattr(self.data, "read"):
            return super().content()
        text = str(self.data)
        is_path = text.endswith(".html") and "\n" not in text and "<" not in text
        return Path(text) if is_path and not self._text else text.encode()


class Object3D(FileMedia):
    """A point cloud or a 3D model, recorded as a file.

    Args:
        data_or_path: an array of points (n, 3), (n, 4) or (n, 6), a dictionary with points and boxes, an open file, or
            the path of a file (obj, gltf, glb, stl, babylon, pts.json).
        caption: a text about it.
        options: `file_type` names the format of an open file.
    """

    kind = "object3D-file"
    suffix = ".pts.json"

    def __init__(self, data_or_path: Any, caption: str | None = None, **options: Any) -> None:
        super().__init__(data_or_path, caption)
        if options.get("file_type"):
            self.suffix = f".{options['file_type']}"

    @classmethod
    def from_numpy(cls, data: Any, caption: str | None = None) -> "Object3D":
        """Return a point cloud from an array."""
        return cls(data, caption)

    @classmethod
    def from_file(cls, data_or_path: Any, file_type: str | None = None) -> "Object3D":
        """Return the object in a file."""
        return cls(data_or_path, file_type=file_type)

    @classmethod
    def from_point_cloud(
        cls,
        points: Any,
        boxes: Sequence[Any] = (),
        vectors: Sequence[Any] | None = None,
        point_cloud_type: str = "lidar/beta",
    ) -> "Object3D":
        """Return a scene of points, boxes and vectors."""
        parts = {"points": points, "boxes": boxes, "vectors": vectors or []}
        return cls({"type": point_cloud_type, **parts})

    def content(self) -> bytes | Path:
        """Return the points as JSON, or the path of the file."""
        if hasattr(self.data, "shape"):
            return msgspec.json.encode(to_array("points", self.data).tolist())
        data: Any = self.data
        if isinstance(data, Mapping):
            scene = cast("Mapping[str, Any]", data)
            parts = {k: v.tolist() if hasattr(v, "tolist") else v for k, v in scene.items()}
            return msgspec.json.encode(to_parameter("scene", parts))
        return super().content()


class Molecule(FileMedia):
    """A molecule, recorded as a file (pdb, pqr, mmcif, mcif, cif, sdf, sd, gro, mol2, mmtf).

    Args:
        data_or_path: the path of the file, or an open file.
        caption: a text about it.
        options: `file_type` names the format of an open file.
    """

    kind = "molecule-file"
    suffix = ".pdb"

    def __init__(self, data_or_path: Any, caption: str | None = None, **options: Any) -> None:
        super().__init__(data_or_path, caption)
        if options.get("file_type"):
            self.suffix = f".{options['file_type']}"


class Plotly(Media):
    """A figure of Plotly or Matplotlib.

    Args:
        val: the figure.
    """

    kind = "plotly-file"

    def __init__(self, val: Any) -> None:
        self.figure = val

    def record(self, run: "Recorder", key: str, step: Scalar) -> None:
        """Log it as a plot."""
        run.log_plot(key, self.figure, step)


class Bokeh(FileMedia):
    """A plot of Bokeh, recorded as an HTML page.

    Args:
        data_or_path: the plot, or the path of its file.
    """

    kind = "bokeh-file"
    suffix = ".html"

    def content(self) -> bytes | Path:
        """Return the page."""
        source: Any = self.data
        if isinstance(source, str | os.PathLike):
            return Path(cast("str", source))
        from importlib import import_module

        embed: Any = import_module("bokeh.embed")
        return str(embed.file_html(self.data)).encode()


class Graph(Media):
    """The graph of a model. It is not recorded; log `str(model)` as a text."""

    kind = "graph-file"

    def __init__(self, format: str = "keras") -> None:
        self.format = format

    def record(self, run: "Recorder", key: str, step: Scalar) -> None:
        """Warn that graphs are not recorded."""
        del run, step
        warn_once(f"the graph {key!r} is not recorded; log the text of the model")


class Classes(Media):
    """The classes of boxes and masks.

    Args:
        class_set: mappings of id and name.
    """

    kind = "classes"

    def __init__(self, class_set: Sequence[Mapping[str, Any]]) -> None:
        self.class_set = [dict(one) for one in class_set]

    def record(self, run: "Recorder", key: str, step: Scalar) -> None:
        """Log it as JSON."""
        run.log_dict(key, self.class_set, step)


def box3d(
    center: Any, size: Any, orientation: Any, color: Any, label: Any = None, score: Any = None
) -> JsonObject:
    """Return a box of a scene; see W&B's `box3d`."""
    parts = {"center": center, "size": size, "orientation": orientation, "color": color}
    return {**parts, **{k: v for k, v in {"label": label, "score": score}.items() if v is not None}}


def _pixels(image: Any, normalize: bool) -> Any:
    """Return pixels as W&B reads them: channels last, floats scaled to 0 to 1."""
    import numpy as np

    is_torch = hasattr(image, "permute") and hasattr(image, "detach")
    pixels: Any = to_array("image", image)
    if is_torch and pixels.ndim == 4:
        pixels = np.concatenate(list(pixels), axis=-1)  # a batch, side by side
    if is_torch and pixels.ndim == 3:
        pixels = np.moveaxis(pixels, 0, 2)
    if not normalize or pixels.dtype.kind not in "fi" or not pixels.size:
        return pixels
    if pixels.dtype.kind == "i":
        return np.clip(pixels, 0, 255).astype(np.uint8)
    low, high = float(np.nanmin(pixels)), float(np.nanmax(pixels))
    if low < 0 and high > low:
        return (pixels - low) / (high - low)
    return pixels / 255 if high > 1 else pixels


def _frames(video: Any) -> Any:
    """Return frames with the channels last, from (frames, channels, height, width) or a batch of such."""
    import numpy as np

    frames: Any = to_array("video", video)
    if frames.ndim == 5:
        frames = np.concatenate(list(frames), axis=-1)  # a batch, side by side
    if frames.ndim == 4 and frames.shape[1] in (1, 3, 4):
        frames = np.moveaxis(frames, 1, 3)
    return frames
