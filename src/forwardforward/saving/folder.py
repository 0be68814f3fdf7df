"""The files of a saved model."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from forwardforward._utils.annotations import describe
from forwardforward._utils.checks import all_finite
from forwardforward._utils.files import parse_json, replacing
from forwardforward._utils.plugins import one_line
from forwardforward.saving.card import MARK, model_card
from forwardforward.saving.configuration import encoded, from_config
from forwardforward.specs import example_inputs

__all__ = ["CONFIG", "WEIGHTS", "is_model_folder", "read", "write"]

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
FORMAT = "forwardforward-model-1"

#: The entries of ``config.json`` with their types.
ENTRIES: dict[str, Any] = {
    **{"format": str, "version": str, "model": dict, "dtype": str, "class_names": list | None},
    **{"epochs_trained": int, "frozen": list, "card": dict, "sha256": str},
}

#: Largest configuration that is read, in bytes.
LARGEST_CONFIG = 2**26

#: Precisions of stored weights and of models.
DTYPES = {
    str(dtype).removeprefix("torch."): dtype for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16)
}


class Saved(NamedTuple):
    """A model as it is saved: its state, and what its configuration contains beside the constructor calls."""

    class_names: tuple[str, ...] | None
    epochs_trained: int
    card: Mapping[str, Any]


def is_model_folder(folder: Path) -> bool:
    """Return whether a folder contains a saved model, also a corrupted one."""
    if not os.path.isfile(folder / CONFIG):  # also for a name that is too long, unlike Path.is_file
        return False
    try:
        config = _parsed(folder)
    except ValueError:
        return (folder / WEIGHTS).is_file()
    return isinstance(config, dict) and "format" in config


def write(model: nn.Module, folder: Path, saved: Saved, dtype: torch.dtype | None, version: str) -> None:
    """Write a model to a folder.

    Args:
        model: The model.
        folder: The folder, which is made if it does not exist.
        saved: What is saved beside the model.
        dtype: Precision of the stored weights; None for the model's.
        version: Version of this library.

    Raises:
        FileExistsError: If the folder contains files of the same names that are not of a saved model.
        ValueError: If a part of the model cannot be saved, or a weight exceeds the range of ``dtype``.
    """
    if dtype is not None and dtype not in DTYPES.values():
        raise ValueError(f"dtype must be one of {', '.join(map(str, DTYPES.values()))}, got {dtype}")
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file")
    if (taken := [name for name in (CONFIG, WEIGHTS) if (folder / name).exists()]) and not is_model_folder(folder):
        raise FileExistsError(f"{folder} already contains {taken[0]}, which is not that of a saved model")
    config, plugins = encoded(model)
    floats = {
        str(value.dtype).removeprefix("torch.") for value in model.state_dict().values() if value.is_floating_point()
    }
    if len(floats) > 1 or not floats <= set(DTYPES):
        raise ValueError(f"model must have weights of one floating type to be saved, got {', '.join(sorted(floats))}")
    content = {
        "format": FORMAT,
        "version": version,
        "model": config,
        "dtype": next(iter(floats), "float32"),
        "class_names": None if saved.class_names is None else list(saved.class_names),
        "epochs_trained": saved.epochs_trained,
        "frozen": [name for name, p in model.named_parameters() if not p.requires_grad],
        "card": dict(saved.card),
    }
    _check_rebuilt(model, content, plugins)
    weights = _packed(model.state_dict(), dtype)
    text = json.dumps({**content, "sha256": hashlib.sha256(weights).hexdigest()}, indent=1, allow_nan=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"folder {folder} cannot be made: {error.strerror}") from error
    with replacing(folder / WEIGHTS, "wb") as file:
        file.write(weights)
    with replacing(folder / CONFIG) as file:  # last, since it contains the checksum of the weights
        file.write(text + "\n")
    card = folder / CARD
    if not card.exists() or MARK in card.read_text(encoding="utf-8", errors="replace"):  # else it is the user's own
        with replacing(card) as file:
            file.write(model_card(model, saved.class_names, saved.card))


def read(folder: Path, plugins: Sequence[Callable[..., Any]] = ()) -> tuple[nn.Module, Saved]:
    """Return a saved model, in evaluation mode on the CPU, and what was saved beside it.

    Args:
        folder: The folder.
        plugins: The user's classes and functions that the configuration may name.

    Raises:
        FileNotFoundError: If there is no saved model.
        ValueError: If the files are corrupted or of something else, or name a class that is not passed.
    """
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"there is no saved model in {folder}: it has no {name}")
    try:
        content = _checked_entries(_parsed(folder))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{folder / CONFIG} is not the configuration of a saved model: {one_line(error)}") from error
    tensors = _unpacked(folder / WEIGHTS, content["sha256"])
    try:
        model = _built(content, plugins)
        _load(model, tensors)
        _freeze(model, content["frozen"])
    except ValueError as error:
        raise ValueError(f"cannot build the model of {folder}: {one_line(error)}") from error
    names = content["class_names"]
    return model.eval(), Saved(None if names is None else tuple(names), content["epochs_trained"], content["card"])


def _parsed(folder: Path) -> Any:
    path = folder / CONFIG
    if path.stat().st_size > LARGEST_CONFIG:
        raise ValueError(f"it must have at most {LARGEST_CONFIG} bytes, got {path.stat().st_size}")
    return parse_json(path.read_text(encoding="utf-8"))


def _checked_entries(content: Any) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise ValueError(f"it must be an object, got {describe(content)}")
    if content.get("format") != FORMAT:
        raise ValueError(f"its format must be {FORMAT!r}, got {describe(content.get('format'))}")
    for name, kind in ENTRIES.items():
        if name not in content:
            raise ValueError(f"it lacks {name}")
        if not isinstance(content[name], kind) or isinstance(content[name], bool):
            raise ValueError(f"{name} must not be {describe(content[name])}")
    if content["dtype"] not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {content['dtype']!r}")
    for name in ("class_names", "frozen"):
        if not all(isinstance(item, str) for item in content[name] or ()):
            raise ValueError(f"{name} must be strings, got {describe(content[name])}")
    return content


def _built(content: Mapping[str, Any], plugins: Sequence[Callable[..., Any]]) -> nn.Module:
    """Return the model of a configuration, with initial weights that leave the caller's random state alone."""
    with torch.random.fork_rng(devices=[]):
        model = from_config(content["model"], plugins)
    if not isinstance(model, nn.Module):
        raise ValueError(f"model must be a network, got {describe(model)}")
    return model.to(DTYPES[content["dtype"]])


def _load(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load weights into a model, in its precision; names and shapes must be the model's."""
    preprocessing = getattr(model, "preprocessing", None)
    mean = tensors.get("preprocessing.mean")
    if mean is not None and isinstance(preprocessing, nn.Module) and not preprocessing.is_set_up:
        preprocessing.setup(tuple(mean.shape))  # type: ignore[operator]
    current = model.state_dict()
    differences = [f"lack {name}" for name in current if name not in tensors]
    differences += [f"have {name}, which is not the model's" for name in sorted(tensors) if name not in current]
    differences += [
        f"have the shape {tuple(tensors[name].shape)} of {name} in place of {tuple(current[name].shape)}"
        for name in current
        if name in tensors and tensors[name].shape != current[name].shape
    ]
    differences += [
        f"have the type {tensors[name].dtype} of {name} in place of {value.dtype}"
        for name, value in current.items()
        if name in tensors and tensors[name].is_floating_point() != value.is_floating_point()
    ]
    if differences:
        raise ValueError(f"its weights {differences[0]}")
    model.load_state_dict({name: value.to(current[name].dtype) for name, value in tensors.items()})


def _freeze(model: nn.Module, names: Sequence[str]) -> None:
    parameters = dict(model.named_parameters())
    for name in names:
        if name not in parameters:
            raise ValueError(f"frozen must name parameters of the model, got {name!r}")
        parameters[name].requires_grad_(False)


def _packed(state: Mapping[str, Tensor], dtype: torch.dtype | None) -> bytes:
    """Return the content of the weights' file."""
    from safetensors.torch import save

    tensors = {}
    for name, value in state.items():
        stored = value.detach().cpu()
        if dtype is not None and stored.is_floating_point():
            stored = stored.to(dtype)
            if not all_finite(stored):
                raise ValueError(f"dtype must represent every weight, got {dtype} for {name}, which has larger values")
        elif stored.is_floating_point() and not all_finite(stored):
            raise ValueError(f"weights must be finite to be saved, got NaN or infinity in {name}")
        tensors[name] = stored.contiguous().clone()  # the format has no shared memory
    packed: bytes = save(tensors, metadata={"format": "pt"})
    return packed


def _unpacked(path: Path, checksum: str) -> dict[str, Tensor]:
    """Return the tensors of the weights' file, whose checksum is compared first."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != checksum:
        raise ValueError(f"{path} is corrupted, or not that of {CONFIG}: its checksum differs")
    try:
        tensors: dict[str, Tensor] = load(content)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{path} is not a file of weights: {one_line(error)}") from error
    for name, value in tensors.items():
        if value.is_floating_point() and not all_finite(value):
            raise ValueError(f"{path} must contain finite weights, got NaN or infinity in {name}")
    return tensors


def _check_rebuilt(model: nn.Module, content: Mapping[str, Any], plugins: Sequence[Callable[..., Any]]) -> None:
    """Check that the configuration builds the same model, so that nothing is lost without a message.

    Raises:
        ValueError: If it does not.
    """
    try:
        rebuilt = _built(parse_json(json.dumps(content, allow_nan=False)), plugins)
        _load(rebuilt, model.state_dict())
    except (ValueError, TypeError) as error:
        raise ValueError(f"model cannot be saved, since it cannot be built from its configuration: {error}") from error
    rebuilt.train(model.training)
    others = dict(rebuilt.named_modules())
    for name, module in model.named_modules():
        other = others.get(name)
        if other is None or type(module) is not type(other) or module.extra_repr() != other.extra_repr():
            raise ValueError(
                f"model cannot be saved, since its configuration would build another {name or 'model'}: "
                f"{describe(other)} in place of {describe(module)}"
            )
    if difference := _difference(content["model"], encoded(rebuilt)[0]):
        raise ValueError(f"model cannot be saved, since a model built from its configuration has another {difference}")
    _check_outputs(model, rebuilt)


def _difference(before: Any, after: Any, place: str = "configuration") -> str:
    """Return the place of the first difference of two values of JSON with both values, "" if they are equal."""
    pairs: list[tuple[Any, Any, Any]] = []
    if isinstance(before, dict) and isinstance(after, dict) and before.keys() == after.keys():
        pairs = [(name, before[name], after[name]) for name in before]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = [(index, *values) for index, values in enumerate(zip(before, after, strict=True))]
    elif json.dumps(before) != json.dumps(after):  # as text, in which NaN equals NaN
        return f"{place}: {describe(after)} in place of {describe(before)}"
    inner = (_difference(first, second, f"{place}.{name}") for name, first, second in pairs)
    return next(filter(None, inner), "")


def _answers(model: nn.Module, x: Tensor) -> list[Tensor]:
    """Return the features of a network, and its scores if it has any for this input."""
    features: Tensor = model(x)
    try:
        scores: Tensor = model.scores(x)  # type: ignore[operator]
    except ValueError:  # such as of a classifier that has not been fitted
        return [features]
    return [features, scores]


def _check_outputs(model: nn.Module, rebuilt: nn.Module) -> None:
    """Compare the outputs of a model and of its copy for one input, if the shape of inputs is known."""
    shape = getattr(model, "input_shape", None)
    if shape is None or getattr(model, "needs_fit", False):
        return
    num_embeddings = getattr(model, "num_embeddings", None)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, *shape, generator=generator)
    if num_embeddings is not None:
        x = example_inputs(2, shape, num_embeddings, x.dtype, x.device)
    training = [module.training for module in model.modules()]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            values = [_answers(network.to(device).eval(), x) for network in (model, rebuilt)]
    finally:
        for module, mode in zip(model.modules(), training, strict=True):
            module.training = mode
    if not all(torch.allclose(a, b, rtol=1e-3, atol=1e-5, equal_nan=True) for a, b in zip(*values, strict=True)):
        raise ValueError(
            "model cannot be saved, since a model built from its configuration returns other outputs: a plug-in has "
            "state that is neither in its constructor's arguments nor in its state dict"
        )
