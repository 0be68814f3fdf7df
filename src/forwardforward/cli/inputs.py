"""Inputs for ``forwardforward predict``: image files, arrays and texts."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forwardforward._utils.arrays import is_channels_last, read_array, read_arrays
from forwardforward.data.text.reviews import read_text

#: Suffixes of image files in folders; a file named by the user may have any suffix.
IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
ARRAY_SUFFIXES = (".npy", ".npz")

#: Pillow's mode for images of a number of channels.
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


class Inputs(Protocol):
    """Named inputs, read in slices.

    Attributes:
        names: One name per input.
    """

    names: Sequence[str]

    def read(self, part: slice) -> Tensor:
        """Return a slice of the inputs, in the form that the model accepts."""


class Images:
    """Image files.

    Args:
        paths: The files.
        shape: Shape of the model's inputs, (channels, height, width).
        resize: Whether to resize images of another size; default: raise an error.

    Raises:
        ValueError: If the model's inputs are not images, a file is not an image, or an image has another size.
        ImportError: If Pillow is not installed.
    """

    def __init__(self, paths: Sequence[Path], shape: tuple[int, ...], resize: bool = False) -> None:
        if len(shape) != 3 or shape[0] not in MODES:
            raise ValueError(f"{paths[0]} cannot be read as an image: the model's inputs have shape {shape}")
        self.names: Sequence[str] = [str(path) for path in paths]
        self._mode = MODES[shape[0]]
        self._size = (shape[2], shape[1])  # Pillow's order
        self._resize = resize
        for path in paths:  # opening reads only the header: check all sizes before the first prediction
            size = _with_image(path, lambda image: image.size)
            if size != self._size and not resize:
                width, height = self._size
                raise ValueError(
                    f"{path} has {size[0]} x {size[1]} pixels, the model's images have {width} x {height}; "
                    "--resize resizes it"
                )

    def read(self, part: slice) -> Tensor:
        """Return images as uint8, (images, channels, height, width)."""
        pixels = [_with_image(Path(name), self._pixels) for name in self.names[part]]
        images = torch.from_numpy(np.stack(pixels))
        return images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2)

    def _pixels(self, image: Any) -> NDArray[np.uint8]:
        if image.mode.startswith("I"):  # 16-bit gray, which Pillow's convert would clip at 255
            from PIL import Image

            image = Image.fromarray((np.asarray(image).astype(np.int64) // 257).clip(0, 255).astype(np.uint8))
        elif image.mode == "F":
            raise ValueError("its pixels are floating-point numbers of unknown range")
        image = image.convert(self._mode)
        if image.size != self._size and self._resize:
            image = image.resize(self._size, resample=2)  # bilinear, with antialiasing
        return np.asarray(image)


class Array:
    """Inputs in an array.

    Args:
        name: Name of the array.
        array: The inputs, or a single one.
        shape: Shape of the model's inputs; the channel dimension of gray images is optional.

    Raises:
        ValueError: If the array has another shape, or contains NaN or infinity.
    """

    def __init__(self, name: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
        gray = len(shape) == 3 and shape[0] == 1
        if array.shape == shape or (gray and array.shape == shape[1:]):
            array = array.reshape(1, *shape)
        elif gray and array.shape[1:] == shape[1:]:
            array = array[:, None]
        elif array.shape[1:] != shape and is_channels_last(array.shape):
            array = array.transpose(0, 3, 1, 2)
        if array.shape[1:] != shape:
            raise ValueError(f"{name} must have shape (samples, {', '.join(map(str, shape))}), got {array.shape}")
        if array.dtype != np.uint8:
            if array.dtype.kind != "f":  # whether other integers are in 0..255 or not, the training data were not
                raise ValueError(f"{name} must be uint8 or of a floating type, got {array.dtype}")
            array = array.astype(np.float32)
            if not np.isfinite(array).all():
                raise ValueError(f"{name} must be finite, got NaN or infinity")
        self.names: Sequence[str] = [f"{name}[{index}]" for index in range(len(array))]
        self._array = array

    def read(self, part: slice) -> Tensor:
        """Return inputs as uint8 or float32."""
        return torch.from_numpy(np.ascontiguousarray(self._array[part]))


class Texts:
    """Texts.

    Args:
        names: One name per text.
        texts: The texts.
        encoder: Function from texts to the model's inputs.
    """

    def __init__(self, names: Sequence[str], texts: Sequence[str], encoder: Callable[[Sequence[str]], Tensor]) -> None:
        self.names = names
        self._texts = texts
        self._encoder = encoder

    def read(self, part: slice) -> Tensor:
        """Return the encoded texts."""
        return self._encoder(self._texts[part])


def image_inputs(words: Iterable[str], shape: tuple[int, ...], resize: bool = False) -> list[Inputs]:
    """Return the inputs of a model for images or rows of numbers.

    Args:
        words: Image files, folders of them, ``.npz`` and ``.npy`` files.
        shape: Shape of the model's inputs.
        resize: Whether to resize images of another size.

    Raises:
        FileNotFoundError: If a file does not exist, or a folder contains no images.
        ValueError: If a file does not fit the model.
    """
    inputs: list[Inputs] = []
    images: list[Path] = []  # adjacent image files, to be predicted in batches
    for word in words:
        path = Path(word)
        if path.suffix.lower() in ARRAY_SUFFIXES and path.is_file():
            if images:
                inputs.append(Images(images, shape, resize))
                images = []
            inputs.append(Array(word, _read_array(path), shape))
        else:
            images += files_in(path, IMAGE_SUFFIXES, "images")
    return [*inputs, Images(images, shape, resize)] if images else inputs


def text_inputs(words: Iterable[str], encoder: Callable[[Sequence[str]], Tensor]) -> list[Inputs]:
    """Return the inputs of a run on texts.

    Args:
        words: ``.txt`` files, folders of them, or texts.
        encoder: Function from texts to the model's inputs.

    Raises:
        FileNotFoundError: If a ``.txt`` file does not exist, or a folder contains none.
        ValueError: If a file is not UTF-8 text.
    """
    names: list[str] = []
    texts: list[str] = []
    for word in words:
        paths = _text_files(word)
        names += [word] if paths is None else map(str, paths)
        texts += [word] if paths is None else map(read_text, paths)
    return [Texts(names, texts, encoder)]


def _text_files(word: str) -> list[Path] | None:
    """Return the files that an argument names, None for an argument that is a text."""
    try:
        exists = Path(word).exists()
    except (OSError, ValueError):  # too long for a file name, or with a null character
        exists = False
    if not exists and not (word.endswith(".txt") and len(word.split()) == 1):
        return None
    return files_in(Path(word), (".txt",), ".txt files")


def files_in(path: Path, suffixes: Sequence[str], noun: str) -> list[Path]:
    """Return a list of one file, or of a folder's files with given suffixes: recursive, sorted, without hidden files.

    Args:
        path: File or folder.
        suffixes: Suffixes in lower case.
        noun: Word for the files, in the message.

    Raises:
        FileNotFoundError: If the path does not exist or a folder contains no such file.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    if not path.is_dir():
        if not path.is_file():  # reading a pipe or a device would not end
            raise FileNotFoundError(f"{path} must be a file or a folder of {noun}")
        return [path]
    files = [
        file
        for file in sorted(path.rglob("*"))
        if file.suffix.lower() in suffixes
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
        and file.is_file()
    ]
    if not files:
        raise FileNotFoundError(f"the folder {path} contains no {noun}")
    return files


def _read_array(path: Path) -> NDArray[Any]:
    """Return the array of an ``.npy`` file, or ``x`` or ``x_test`` of an ``.npz`` file.

    Raises:
        ValueError: If the file has the wrong kind or is corrupted, or has no such array.
    """
    if zipfile.is_zipfile(path):
        return next(iter(read_arrays(path, ("x",), ("x_test",)).values()))
    with open(path, "rb") as file:
        return read_array(str(path), file, path.stat().st_size)


def _with_image(path: Path, function: Callable[[Any], Any]) -> Any:
    """Return the result of a function on an opened image.

    Raises:
        ValueError: If the file is not an image that Pillow reads.
        ImportError: If Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("reading images needs Pillow: pip install pillow") from error
    try:
        with Image.open(path) as image:
            return function(image)
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds of errors, even SyntaxError
        raise ValueError(f"{path} is not an image that Pillow can read: {error}") from error
