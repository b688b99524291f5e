"""Pictures, sounds and films as files, from the forms that people have them in."""

import os
from pathlib import Path
from typing import Any, cast

from runbase.errors import InvalidValue


def suffix_of(source: Any, default: str) -> str:
    """The suffix of the file that `source` names, or one for what it holds."""
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
"""How files of media begin."""


def save_image(image: Any, path: Path) -> None:
    """A figure (savefig), a PIL image (save), bytes or a path, or an array of pixels, as PNG.

    Arrays are (height, width) or (height, width, 1 | 3 | 4), of uint8, or of floats from 0 to 1.
    """
    if hasattr(image, "savefig"):
        image.savefig(path, format="png", bbox_inches="tight")
    elif hasattr(image, "save") and not hasattr(image, "__array_interface__"):
        image.save(path, format="PNG")
    elif not _save_as_it_is(image, path):
        _picture(image).save(path, format="PNG")


def save_audio(audio: Any, path: Path, sample_rate: int | None) -> None:
    """Bytes or a path as they are; samples as WAV with 16 bits."""
    if _save_as_it_is(audio, path):
        return
    import wave

    import numpy as np

    if sample_rate is None:
        raise InvalidValue("samples become sound at a sample_rate, in hertz; give one")
    samples: Any = np.asarray(audio)
    if samples.ndim not in (1, 2) or not samples.size:
        raise InvalidValue(f"an array of shape {samples.shape} is no sound: (samples, channels)")
    if samples.dtype.kind == "f":
        samples = np.clip(np.nan_to_num(samples), -1, 1) * 32767
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(int(sample_rate))
        file.writeframes(samples.astype("<i2").tobytes())


def save_video(video: Any, path: Path, fps: float) -> None:
    """Bytes or a path as they are; frames as an animated WebP."""
    if _save_as_it_is(video, path):
        return
    frames = [_picture(frame) for frame in video]
    if not frames:
        raise InvalidValue("a video has at least one frame")
    frames[0].save(
        path, format="WEBP", save_all=True, append_images=frames[1:], duration=round(1000 / fps)
    )


def _save_as_it_is(source: Any, path: Path) -> bool:
    if isinstance(source, bytes):
        path.write_bytes(source)
        return True
    if isinstance(source, str | os.PathLike):
        found = Path(cast("str", source)).expanduser()
        if not found.is_file():
            raise InvalidValue(f"there is no file {found}")
        path.write_bytes(found.read_bytes())
        return True
    return False


def _picture(image: Any) -> Any:
    import numpy as np
    from PIL import Image

    pixels: Any = np.asarray(image)
    if pixels.dtype.kind == "f":
        pixels = (np.clip(np.nan_to_num(pixels), 0, 1) * 255).round()
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
        raise InvalidValue(f"an array of shape {pixels.shape} is no image")
    return Image.fromarray(pixels.astype(np.uint8))
