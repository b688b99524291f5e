"""Write images, audio and video to files, from figures, arrays, tensors, bytes or paths."""

import math
import os
from pathlib import Path
from typing import Any, cast

from runbase import extras
from runbase.errors import InvalidValue
from runbase.typing import JsonObject


def suffix_of(source: object, default: str) -> str:
    """Return the suffix of a path, or the suffix for the format of bytes, or a default."""
    if isinstance(source, str | os.PathLike):
        return Path(cast("str", source)).suffix.lower() or default
    if isinstance(source, bytes):
        for start, suffix in _STARTS.items():
            if source.startswith(start):
                return suffix
        if source[4:8] == b"ftyp":
            return ".mp4"
    return default


_STARTS = {
    b"GIF8": ".gif",
    b"\x1a\x45\xdf\xa3": ".webm",
    b"OggS": ".ogg",
    b"ID3": ".mp3",
    b"\xff\xfb": ".mp3",
    b"fLaC": ".flac",
}
"""The first bytes of a file → its suffix."""


def to_array(key: str, value: Any) -> Any:
    """Return a NumPy array of numbers from a list, an array, or a tensor on any device, with or without gradients.

    Raises:
        InvalidValue: the value cannot be converted; the message names the key.
    """
    import numpy as np

    try:
        if isinstance(value, list | tuple):
            items = cast("list[Any]", value)
            value = [to_array(key, item) if hasattr(item, "detach") else item for item in items]
        for method in ("detach", "cpu"):  # of PyTorch tensors: NumPy cannot read GPU memory
            if callable(getattr(value, method, None)):
                value = getattr(value, method)()
        if "bfloat16" in str(getattr(value, "dtype", "")):  # NumPy has no such type
            value = value.float() if hasattr(value, "float") else value.astype("float32")
        array: Any = np.asarray(value)
    except Exception as error:  # any error of the library that owns the value
        raise InvalidValue(f"{key!r} cannot be converted to an array: {error}") from error
    if array.dtype.kind == "O":
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError, OverflowError):
            pass
    if array.dtype.kind not in "biuf":
        kind = type(value).__name__
        raise InvalidValue(f"{key!r} is not an array of numbers, but {kind} of {array.dtype}")
    return array


def histogram(key: str, values: object, bins: object) -> JsonObject:
    """Return the counts and edges of a histogram, and the number of values that are not finite."""
    import numpy as np

    if not isinstance(bins, int) or bins < 1:
        raise InvalidValue(f"bins of {key!r} is {bins!r}; pass an integer of at least 1")
    flat: Any = to_array(key, values).astype(np.float64).ravel()
    finite = flat[np.isfinite(flat)]
    scale = 1.0
    if finite.size and not math.isfinite(float(finite.max()) - float(finite.min())):
        scale, finite = 4.0, finite / 4.0  # so that the range fits a float
    try:
        counts, edges = np.histogram(finite, bins=bins)
    except ValueError:  # the range is too small for this number of edges
        counts, edges = np.histogram(finite, bins=1)
    return {
        "counts": counts.tolist(),
        "edges": (edges * scale).tolist(),
        "not_finite": int(flat.size - finite.size),
    }


def save_image(key: str, image: Any, path: Path) -> None:
    """Write a figure (savefig), a PIL image (save), bytes, a file, or an array of pixels as PNG."""
    if hasattr(image, "savefig"):
        image.savefig(path, format="png", bbox_inches="tight")
    elif hasattr(image, "save") and hasattr(image, "convert"):
        plain = image.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I")
        (image if plain else image.convert("RGB")).save(path, format="PNG")
    elif not _save_as_it_is(key, image, path):
        _picture(key, image).save(path, format="PNG")


def save_audio(key: str, audio: Any, path: Path, sample_rate: int | None) -> None:
    """Write bytes or a file unchanged; write samples as 16-bit WAV."""
    if _save_as_it_is(key, audio, path):
        return
    import wave

    import numpy as np

    if sample_rate is None:
        raise InvalidValue(f"{key!r} has no sample_rate; pass it in hertz")
    samples = to_array(key, audio)
    if samples.ndim == 2 and samples.shape[0] <= _MOST_CHANNELS < samples.shape[1]:
        samples = samples.T  # (channels, samples), as in torchaudio
    if samples.ndim not in (1, 2) or not samples.size:
        raise InvalidValue(
            f"{key!r} has the shape {samples.shape}; audio must be (samples,) or (samples, channels)"
        )
    if samples.dtype.kind == "f":
        samples = np.clip(np.nan_to_num(samples), -1, 1) * 32767
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(int(sample_rate))
        file.writeframes(np.clip(samples, -(2**15), 2**15 - 1).astype("<i2").tobytes())


def save_video(key: str, video: Any, path: Path, fps: float) -> None:
    """Write bytes or a file unchanged; write frames as an animated WebP."""
    if _save_as_it_is(key, video, path):
        return
    frames = [_picture(key, frame) for frame in video]
    if not frames:
        raise InvalidValue(f"{key!r} has no frames; pass at least one")
    frames[0].save(
        path, format="WEBP", save_all=True, append_images=frames[1:], duration=round(1000 / fps)
    )


_MOST_CHANNELS = 8
"""The maximum number of audio channels; a longer first dimension contains samples."""


def _save_as_it_is(key: str, source: object, path: Path) -> bool:
    if isinstance(source, bytes):
        path.write_bytes(source)
        return True
    if isinstance(source, str | os.PathLike):
        file = Path(cast("str", source)).expanduser()
        if not file.is_file():
            raise InvalidValue(f"file {file} for {key!r} not found")
        path.write_bytes(file.read_bytes())
        return True
    return False


def _picture(key: str, image: Any) -> Any:
    import numpy as np

    images = extras.load("PIL.Image", "media", "log_image of an array")

    pixels = to_array(key, image)
    shape = pixels.shape
    if pixels.ndim == 3 and shape[2] not in _CHANNELS and shape[0] in _CHANNELS:
        pixels = np.moveaxis(pixels, 0, 2)  # channels first, as in PyTorch
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
        raise InvalidValue(
            f"{key!r} has the shape {shape}; an image must be (height, width) or "
            "(height, width, 1 | 3 | 4), with the channels last or first"
        )
    if not pixels.size:
        raise InvalidValue(f"{key!r} has the shape {shape}, which contains no pixels")
    if pixels.dtype.kind == "f":
        pixels = (np.clip(np.nan_to_num(pixels), 0, 1) * 255).round()
    elif pixels.dtype.kind == "b":
        pixels = pixels.astype(np.uint8) * 255
    elif pixels.dtype == np.uint16:
        pixels = pixels >> 8
    return images.fromarray(np.ascontiguousarray(np.clip(pixels, 0, 255).astype(np.uint8)))


_CHANNELS = (1, 3, 4)
"""The channels of an image: grey, RGB, RGBA."""
