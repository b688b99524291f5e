"""`SummaryWriter`: the methods of `torch.utils.tensorboard.SummaryWriter`, which log into a run."""

# pyright: basic

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, Unpack

import numpy as np

from runbase.integrations.held import HeldRun, RunArguments, numbers
from runbase.integrations.tensorboard import shapes
from runbase.run.run import Run


class SummaryWriter:
    """Logs what a script writes for TensorBoard into a run: change the import only.

    Args:
        log_dir: its last part names the run. No event file is written.
        comment: added to the name.
        purge_step: ignored: all points are kept, and the latest one of a step is read.
        max_queue: ignored.
        flush_secs: ignored.
        filename_suffix: ignored.
        experiment: the experiment. Default: the run that you have started, else that of `start_run`.
        options: `name`, `params`, `tags`, `run_id`, `run` and others; see `held.RunArguments`.
    """

    def __init__(
        self,
        log_dir: Any = None,
        comment: str = "",
        purge_step: int | None = None,
        max_queue: int = 10,
        flush_secs: int = 120,
        filename_suffix: str = "",
        *,
        experiment: str | None = None,
        **options: Unpack[RunArguments],
    ) -> None:
        del purge_step, max_queue, flush_secs, filename_suffix
        self._log_dir = None if log_dir is None else str(log_dir)
        title = f"{'' if log_dir is None else Path(str(log_dir)).name}{comment}"
        if title and not options.get("name"):
            options["name"] = title
        self.held = HeldRun(experiment, **options)

    @property
    def run(self) -> Run:
        """The open run; it begins here if it must."""
        return self.held.run

    def get_logdir(self) -> str:
        """Return the folder that was passed, else that of the run."""
        return self._log_dir or str(self.run.folder)

    def add_scalar(
        self, tag: str, scalar_value: Any, global_step: Any = None, walltime: float | None = None,
        new_style: bool = False, double_precision: bool = False,
    ) -> None:  # fmt: skip
        """Log a number."""
        self._log({tag: _item(scalar_value)}, global_step, walltime)

    def add_scalars(
        self, main_tag: str, tag_scalar_dict: Mapping[str, Any], global_step: Any = None,
        walltime: float | None = None,
    ) -> None:  # fmt: skip
        """Log several numbers as `main_tag/key`."""
        values = {f"{main_tag}/{key}": _item(value) for key, value in tag_scalar_dict.items()}
        self._log(values, global_step, walltime)

    def _log(self, values: Mapping[str, Any], step: Any, walltime: float | None) -> None:
        if walltime is None:
            self.run.log(values, step)
        else:
            at = self.run._step_of(step)
            self.run._append_points("m", at, numbers(values), None, walltime)

    def add_hparams(
        self, hparam_dict: Mapping[str, Any], metric_dict: Mapping[str, Any],
        hparam_domain_discrete: Any = None, run_name: str | None = None, global_step: Any = None,
    ) -> None:  # fmt: skip
        """Set parameters, and log the metrics that belong to them."""
        self.held.log_params(hparam_dict)
        if metric_dict:
            self._log({key: _item(value) for key, value in metric_dict.items()}, global_step, None)

    def add_histogram(
        self, tag: str, values: Any, global_step: Any = None, bins: Any = "tensorflow",
        walltime: float | None = None, max_bins: int | None = None,
    ) -> None:  # fmt: skip
        """Log the distribution of an array, in 64 bins or in as many as `max_bins` says."""
        number = bins if isinstance(bins, int) else max_bins or 64
        self.run.log_histogram(tag, values, global_step, bins=number)

    def add_histogram_raw(
        self, tag: str, min: float, max: float, num: int, sum: float, sum_squares: float,
        bucket_limits: Sequence[float], bucket_counts: Sequence[float], global_step: Any = None,
        walltime: float | None = None,
    ) -> None:  # fmt: skip
        """Log a distribution that is counted already: `bucket_limits` are the right edges."""
        edges = [float(min), *(float(limit) for limit in bucket_limits)]
        counts = [float(count) for count in bucket_counts]
        value = {"counts": counts, "edges": edges, "not_finite": 0}
        self.run._record(tag, "histogram", value, global_step)

    def add_image(
        self, tag: str, img_tensor: Any, global_step: Any = None, walltime: float | None = None,
        dataformats: str = "CHW",
    ) -> None:  # fmt: skip
        """Log an image, uint8 or floats from 0 to 1."""
        self.run.log_image(tag, shapes.image(img_tensor, dataformats), global_step)

    def add_images(
        self, tag: str, img_tensor: Any, global_step: Any = None, walltime: float | None = None,
        dataformats: str = "NCHW",
    ) -> None:  # fmt: skip
        """Log images as `tag/0`, `tag/1`, …"""
        for place, pixels in enumerate(shapes.images(img_tensor, dataformats)):
            self.run.log_image(f"{tag}/{place}", pixels, global_step)

    def add_image_with_boxes(
        self, tag: str, img_tensor: Any, box_tensor: Any, global_step: Any = None,
        walltime: float | None = None, rescale: float = 1, dataformats: str = "CHW", labels: Any = None,
    ) -> None:  # fmt: skip
        """Log an image with boxes (xmin, ymin, xmax, ymax) drawn into it."""
        pixels = shapes.with_boxes(
            shapes.image(img_tensor, dataformats), box_tensor, labels, rescale
        )
        self.run.log_image(tag, pixels, global_step)

    def add_figure(
        self, tag: str, figure: Any, global_step: Any = None, close: bool = True,
        walltime: float | None = None,
    ) -> None:  # fmt: skip
        """Log a Matplotlib figure, or several as `tag/0`, `tag/1`, …"""
        several = isinstance(figure, list)
        for place, one in enumerate(figure if several else [figure]):
            self.run.log_figure(f"{tag}/{place}" if several else tag, one, global_step)
            if close:
                from matplotlib import pyplot

                pyplot.close(one)

    def add_video(
        self, tag: str, vid_tensor: Any, global_step: Any = None, fps: float = 4,
        walltime: float | None = None,
    ) -> None:  # fmt: skip
        """Log videos of shape (number, frames, channels, height, width)."""
        videos = list(shapes.videos(vid_tensor))
        for place, frames in enumerate(videos):
            name = tag if len(videos) == 1 else f"{tag}/{place}"
            self.run.log_video(name, frames, global_step, fps=fps)

    def add_audio(
        self, tag: str, snd_tensor: Any, global_step: Any = None, sample_rate: int = 44100,
        walltime: float | None = None,
    ) -> None:  # fmt: skip
        """Log mono audio, floats from -1 to 1."""
        samples = shapes.array(snd_tensor).astype(np.float32).reshape(-1)
        self.run.log_audio(tag, samples, global_step, sample_rate=sample_rate)

    def add_text(
        self, tag: str, text_string: str, global_step: Any = None, walltime: float | None = None
    ) -> None:
        """Log a text."""
        self.run.log_text(tag, text_string, global_step)

    def add_tensor(
        self, tag: str, tensor: Any, global_step: Any = None, walltime: float | None = None
    ) -> None:
        """Log an array as a file that `numpy.load` reads."""
        with tempfile.TemporaryDirectory() as folder:
            step = self.run._step_of(global_step)
            path = Path(folder) / "tensor.npy"
            np.save(path, shapes.array(tensor), allow_pickle=False)
            name = f"tensors/{tag}/{step}.npy"
            self.run.log_artifact(path, name=name, kind="tensor", step=step)

    def add_graph(
        self,
        model: Any,
        input_to_model: Any = None,
        verbose: bool = False,
        use_strict_trace: bool = True,
    ) -> None:
        """Log the layers of a model as a text."""
        self.run.log_text("graph", str(model), 0)

    def add_onnx_graph(self, prototxt: Any) -> None:
        """Log an ONNX file as an artifact."""
        self.run.log_artifact(prototxt, kind="model")

    def add_embedding(
        self, mat: Any, metadata: Any = None, label_img: Any = None, global_step: Any = None,
        tag: str = "default", metadata_header: Any = None,
    ) -> None:  # fmt: skip
        """Log points with labels as a table."""
        columns, rows = shapes.embedding(mat, metadata, metadata_header)
        self.run.log_table(f"embedding/{tag}", rows, columns, global_step)

    def add_pr_curve(
        self, tag: str, labels: Any, predictions: Any, global_step: Any = None,
        num_thresholds: int = 127, weights: Any = None, walltime: float | None = None,
    ) -> None:  # fmt: skip
        """Log precision and recall by threshold as a table."""
        rows = shapes.precision_and_recall(labels, predictions, num_thresholds, weights)
        self.run.log_table(tag, rows, shapes.PR_COLUMNS, global_step)

    def add_pr_curve_raw(
        self, tag: str, true_positive_counts: Any, false_positive_counts: Any,
        true_negative_counts: Any, false_negative_counts: Any, precision: Any, recall: Any,
        global_step: Any = None, num_thresholds: int = 127, weights: Any = None,
        walltime: float | None = None,
    ) -> None:  # fmt: skip
        """Log precision and recall that are computed already."""
        shares = np.linspace(0.0, 1.0, len(shapes.array(precision)))
        columns = (shares, precision, recall, true_positive_counts, false_positive_counts)
        rest = (true_negative_counts, false_negative_counts)
        rows = np.stack(
            [shapes.array(one).astype(float) for one in columns + rest], axis=1
        ).tolist()
        self.run.log_table(tag, rows, shapes.PR_COLUMNS, global_step)

    def add_mesh(
        self, tag: str, vertices: Any, colors: Any = None, faces: Any = None, config_dict: Any = None,
        global_step: Any = None, walltime: float | None = None,
    ) -> None:  # fmt: skip
        """Log meshes (batch, points, 3) as PLY files."""
        step = self.run._step_of(global_step)
        for place, text in enumerate(shapes.meshes(vertices, colors, faces)):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "mesh.ply"
                path.write_text(text)
                name = f"meshes/{tag}/{step}-{place}.ply"
                self.run.log_artifact(path, name=name, kind="mesh", step=step)

    def add_custom_scalars(self, layout: Mapping[str, Any]) -> None:
        """Keep TensorBoard's layout of charts as a document."""
        self.run.log_dict("custom_scalars", dict(layout), 0)

    def add_custom_scalars_multilinechart(
        self, tags: Sequence[str], category: str = "default", title: str = "untitled"
    ) -> None:
        """Keep a chart of several metrics as a document."""
        self.add_custom_scalars({category: {title: ["Multiline", list(tags)]}})

    def add_custom_scalars_marginchart(
        self, tags: Sequence[str], category: str = "default", title: str = "untitled"
    ) -> None:
        """Keep a chart of a metric between two others as a document."""
        self.add_custom_scalars({category: {title: ["Margin", list(tags)]}})

    def flush(self) -> None:
        """Write what was logged to the database."""
        self.held.flush()

    def close(self) -> None:
        """End the run, unless it is one that you started. A further value continues it."""
        self.held.finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self.held.finish(error)


def _item(value: Any) -> Any:
    """Return a number: of an array with one element, the element; of an old Caffe2 name, an error says so."""
    array = getattr(value, "reshape", None)
    if array is not None and getattr(value, "shape", ()) not in ((), None):
        flat = shapes.array(value).reshape(-1)
        return flat[0] if flat.size == 1 else value
    return value
