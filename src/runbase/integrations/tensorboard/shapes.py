"""The arrays that TensorBoard's writers take, in the shapes that a run takes."""

# pyright: basic

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from runbase.errors import InvalidValue

PR_COLUMNS = ["threshold", "precision", "recall", "tp", "fp", "tn", "fn"]


def array(values: Any) -> Any:
    """Return a tensor of any framework, or nested lists, as a NumPy array."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    return np.asarray(values.numpy() if hasattr(values, "numpy") else values)


def image(values: Any, order: str) -> Any:
    """Return an image as (height, width, channels).

    Args:
        values: the pixels.
        order: what the axes of `values` are: CHW, HWC or HW.
    """
    return _ordered(values, order, "HWC")


def images(values: Any, order: str) -> Iterator[Any]:
    """Yield images as (height, width, channels); `order` is NCHW, NHWC, CHW, HWC or HW."""
    if "N" not in order.upper():
        yield image(values, order)
        return
    yield from _ordered(values, order, "NHWC")


def videos(values: Any) -> Iterator[Any]:
    """Yield videos of shape (number, frames, channels, height, width) as (frames, height, width, 3)."""
    for frames in _ordered(values, "NTCHW", "NTHWC"):
        yield np.repeat(frames, 3, axis=-1) if frames.shape[-1] == 1 else frames[..., :3]


def _ordered(values: Any, order: str, wanted: str) -> Any:
    """Move the axes of an array; a missing channel axis is added."""
    pixels, axes = array(values), order.upper()
    if pixels.ndim != len(axes) or len(set(axes)) != len(axes) or not set(axes) <= set(wanted):
        raise InvalidValue(f"the array has the shape {pixels.shape}, which is not {order}")
    if "C" not in axes:
        pixels, axes = pixels[..., None], axes + "C"
    return np.transpose(pixels, [axes.index(axis) for axis in wanted])


def with_boxes(pixels: Any, boxes: Any, labels: Sequence[str] | None, scale: float) -> Any:
    """Return an image of (height, width, channels) with boxes (xmin, ymin, xmax, ymax) in pixels."""
    from runbase.extras import load

    pillow, draw = (
        load(f"PIL.{name}", "media", "an image with boxes") for name in ("Image", "ImageDraw")
    )
    if pixels.dtype != np.uint8:
        pixels = (np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    picture = pillow.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).convert("RGB")
    pen = draw.Draw(picture)
    for place, box in enumerate(array(boxes).reshape(-1, 4).tolist()):
        pen.rectangle(box, outline=(255, 0, 0), width=2)
        if labels is not None and place < len(labels):
            pen.text((box[0] + 3, box[1] + 2), str(labels[place]), fill=(255, 0, 0))
    if scale != 1:
        picture = picture.resize((round(picture.width * scale), round(picture.height * scale)))
    return np.asarray(picture)


def embedding(points: Any, labels: Any, header: Any) -> tuple[list[str], list[list[Any]]]:
    """Return the columns and rows of a table: labels first, then the coordinates."""
    coordinates = array(points)
    rows: list[list[Any]] = coordinates.reshape(len(coordinates), -1).astype(float).tolist()
    names = [f"x{place}" for place in range(len(rows[0]) if rows else 0)]
    if labels is None:
        return names, rows
    told = [
        list(map(str, each)) if isinstance(each, list | tuple) else [str(each)] for each in labels
    ]
    titles = list(header) if header else ["label", *(f"label{n}" for n in range(1, len(told[0])))]
    return titles + names, [label + row for label, row in zip(told, rows, strict=True)]


def precision_and_recall(
    labels: Any, predictions: Any, thresholds: int, weights: Any
) -> list[list[float]]:
    """Return rows of `PR_COLUMNS` for evenly spaced thresholds from 0 to 1."""
    truth = array(labels).reshape(-1).astype(bool)
    scores = array(predictions).reshape(-1).astype(float)
    weight = np.ones(truth.size) if weights is None else array(weights).reshape(-1).astype(float)
    rows = []
    for threshold in np.linspace(0.0, 1.0, thresholds):
        chosen = scores >= threshold
        hit, miss = weight[chosen & truth].sum(), weight[chosen & ~truth].sum()
        off, gone = weight[~chosen & ~truth].sum(), weight[~chosen & truth].sum()
        precision = hit / (hit + miss) if hit + miss else 1.0
        recall = hit / (hit + gone) if hit + gone else 0.0
        rows.append([float(x) for x in (threshold, precision, recall, hit, miss, off, gone)])
    return rows


def meshes(vertices: Any, colours: Any, faces: Any) -> Iterator[str]:
    """Yield each mesh of a batch as a file in the format PLY."""
    points = array(vertices)
    tints = None if colours is None else array(colours).astype(int)
    sides = None if faces is None else array(faces).astype(int)
    for number, corners in enumerate(points):
        head = ["ply", "format ascii 1.0", f"element vertex {len(corners)}"]
        head += [f"property float {axis}" for axis in "xyz"]
        if tints is not None:
            head += [f"property uchar {name}" for name in ("red", "green", "blue")]
        own: Any = sides[number] if sides is not None else np.empty((0, 3), int)
        if len(own):
            head += [f"element face {len(own)}", "property list uchar int vertex_indices"]
        lines = [
            " ".join(map(str, [*corner, *(tints[number][place] if tints is not None else ())]))
            for place, corner in enumerate(corners.tolist())
        ]
        lines += [" ".join(map(str, [len(side), *side])) for side in own.tolist()]
        yield "\n".join([*head, "end_header", *lines, ""])
