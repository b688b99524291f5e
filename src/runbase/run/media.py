"""Media methods of `Run`: log text, JSON, tables, histograms, images, audio, video and plots at a step."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from runbase.artifacts.files import describe, safe_name
from runbase.errors import InvalidValue, MissingPackage
from runbase.events import ArtifactLogged, RecordLogged, Scalar
from runbase.run.base import Recorder
from runbase.typing import StepLike
from runbase.values import as_table, encode_json, to_parameter, to_text

LARGEST_INLINE = 2**16
"""The maximum size in bytes of a record in the journal; a larger one is written to a file."""


class MediaLog(Recorder):
    """The media of a run. Without a `step`, the step of the latest log call is used."""

    def log_text(self, key: str, text: str, step: StepLike = None) -> None:
        """Log a text at a step."""
        self._record(key, "text", to_text(text), step)

    def log_dict(self, key: str, value: object, step: StepLike = None) -> None:
        """Log a JSON document at a step."""
        self._record(key, "json", to_parameter(key, value), step)

    def log_table(
        self,
        key: str,
        rows: object,
        columns: Sequence[str] | None = None,
        step: StepLike = None,
    ) -> None:
        """Log a table at a step.

        Args:
            key: the name of the table.
            rows: a list of lists or mappings, a mapping of columns, or a DataFrame.
            columns: the names of the columns, for rows that are lists.
            step: the step.

        Raises:
            InvalidValue: `rows` is not a table.
        """
        names, body = as_table(key, rows, columns)
        self._record(key, "table", {"columns": names, "rows": to_parameter(key, body)}, step)

    def log_histogram(
        self, key: str, values: object, step: StepLike = None, bins: int = 64
    ) -> None:
        """Log the distribution of an array.

        Args:
            key: the name of the histogram.
            values: numbers in any shape: a list, an array, or a tensor on any device, with or without
                gradients. Values that are not finite are counted separately.
            step: the step.
            bins: the number of bins between the minimum and the maximum.

        Raises:
            InvalidValue: `values` are not numbers, or `bins` is not a positive integer.
        """
        from runbase.run.encode_media import histogram

        self._record(key, "histogram", histogram(key, values, bins), step)

    def log_counts(
        self,
        key: str,
        counts: Sequence[float],
        edges: Sequence[float],
        step: StepLike = None,
        *,
        not_finite: int = 0,
    ) -> None:
        """Log a histogram that is counted already.

        Args:
            key: the name of the histogram.
            counts: the number of values in each bin.
            edges: the edges of the bins, one more than bins.
            step: the step.
            not_finite: the number of values that are not finite.

        Raises:
            InvalidValue: the numbers of counts and edges do not fit.
        """
        if len(edges) != len(counts) + 1:
            raise InvalidValue(
                f"{key!r} has {len(counts)} counts and {len(edges)} edges; there must be one edge more"
            )
        value = {"counts": [*counts], "edges": [*edges], "not_finite": not_finite}
        self._record(key, "histogram", value, step)

    def log_image(
        self, key: str, image: object, step: StepLike = None, *, caption: str | None = None
    ) -> None:
        """Log an image at a step.

        Args:
            key: the name of the image.
            image: a Matplotlib figure, a PIL image, PNG bytes, a path, or an array or tensor of
                pixels, uint8 or floats from 0 to 1. Its shape is (height, width) or (height, width,
                1 | 3 | 4). PyTorch's (1 | 3 | 4, height, width) is recognised if the last dimension
                cannot be the channels.
            step: the step.
            caption: a text about the image.

        Raises:
            InvalidValue: it is not an image.
        """
        from runbase.run.encode_media import save_image

        self._keep(key, "image", step, ".png", lambda path: save_image(key, image, path), caption)

    log_figure = log_image
    """Another name of `log_image`."""

    def log_audio(
        self,
        key: str,
        audio: object,
        step: StepLike = None,
        *,
        sample_rate: int | None = None,
        caption: str | None = None,
    ) -> None:
        """Log audio at a step.

        Args:
            key: the name of the audio.
            audio: a path, the bytes of a file, or samples as an array of shape (samples,) or
                (samples, channels), int16 or floats from -1 to 1.
            step: the step.
            sample_rate: samples per second, in hertz; required for an array.
            caption: a text about the audio.

        Raises:
            InvalidValue: it is not audio.
        """
        from runbase.run.encode_media import save_audio, suffix_of

        suffix = suffix_of(audio, ".wav")
        self._keep(
            key,
            "audio",
            step,
            suffix,
            lambda path: save_audio(key, audio, path, sample_rate),
            caption,
        )

    def log_video(
        self,
        key: str,
        video: object,
        step: StepLike = None,
        *,
        fps: float = 10.0,
        caption: str | None = None,
    ) -> None:
        """Log a video at a step.

        Args:
            key: the name of the video.
            video: a path, the bytes of a file, or frames as an array of shape (frames, height, width)
                or (frames, height, width, 3), which are written as an animated WebP.
            step: the step.
            fps: frames per second, for an array.
            caption: a text about the video.

        Raises:
            InvalidValue: it is not a video.
        """
        from runbase.run.encode_media import save_video, suffix_of

        suffix = suffix_of(video, ".webp")
        self._keep(
            key, "video", step, suffix, lambda path: save_video(key, video, path, fps), caption
        )

    def log_file(
        self,
        key: str,
        path: "str | os.PathLike[str]",
        step: StepLike = None,
        *,
        kind: str = "file",
        caption: str | None = None,
    ) -> None:
        """Log a file of any other format at a step, such as an HTML page or a point cloud.

        Args:
            key: the name of the record.
            path: the file; its suffix is kept.
            step: the step.
            kind: the kind of the record, such as html or molecule.
            caption: a text about the file.

        Raises:
            InvalidValue: the file does not exist.
        """
        source = Path(path).expanduser()
        if not source.is_file():
            raise InvalidValue(f"file {source} for {key!r} not found")
        self._keep(
            key,
            kind,
            step,
            source.suffix.lower(),
            lambda target: target.write_bytes(source.read_bytes()),
            caption,
        )

    def log_plot(self, key: str, plot: Any, step: StepLike = None) -> None:
        """Log a plot at a step.

        Args:
            key: the name of the plot.
            plot: a Plotly figure or an Altair chart, stored as its JSON specification so that it
                stays interactive; or a Matplotlib figure, stored as an image.
            step: the step.

        Raises:
            InvalidValue: it is not a plot.
        """
        if hasattr(plot, "to_plotly_json"):
            import msgspec

            document = msgspec.json.decode(plot.to_json())
            self._record(key, "plot", {"library": "plotly", "figure": document}, step)
        elif hasattr(plot, "savefig"):
            self.log_image(key, plot, step)
        elif hasattr(plot, "to_dict"):
            document = to_parameter(key, plot.to_dict())
            self._record(key, "plot", {"library": "vega-lite", "figure": document}, step)
        else:
            raise InvalidValue(
                f"{key!r} is not a plot but {type(plot).__name__}; "
                "pass a Matplotlib or Plotly figure or an Altair chart"
            )

    def _record(self, key: str, kind: str, value: object, step: StepLike) -> None:
        at = self._step_of(step)
        encoded = encode_json(value)
        if len(encoded) <= LARGEST_INLINE:
            self._append(RecordLogged(time=time.time(), key=key, kind=kind, step=at, value=value))
            return
        path = f"records/{safe_name(key)}.{at}.json"

        def write() -> None:
            target = self.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(encoded)

        if not self._environment_fails(write):
            self._record_file(key, kind, at, path)

    def _keep(
        self,
        key: str,
        kind: str,
        step: StepLike,
        suffix: str,
        write: Callable[[Path], object],
        caption: str | None = None,
    ) -> None:
        """Write a file to the run folder and log it."""
        at = self._step_of(step)
        path = f"media/{safe_name(key)}.{at}{suffix}"

        def work() -> None:
            target = self.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                write(target)
            except (OSError, InvalidValue, MissingPackage):
                raise
            except Exception as error:  # any error of the library that writes the file
                raise InvalidValue(f"{key!r} cannot be written as {kind}: {error}") from error

        if not self._environment_fails(work):
            self._record_file(key, kind, at, path, caption)

    def _record_file(
        self, key: str, kind: str, step: Scalar, path: str, caption: str | None = None
    ) -> None:
        """Log a record whose value is a file; the file is also an artifact of the run."""
        now = time.time()
        about = None if caption is None else {"caption": to_text(caption)}
        self._append(RecordLogged(time=now, key=key, kind=kind, step=step, value=about, path=path))
        size, digest, mime = describe(self.folder / path)
        event = ArtifactLogged(
            time=now,
            path=path,
            kind=kind,
            uri=path,
            size=size,
            sha256=digest,
            mime=mime,
            step=step,
        )
        self._append(event)
        self._upload(event)
