"""The configuration of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal

from forwardforward._utils.annotations import describe
from forwardforward._utils.arguments import NonNegativeInt, Range, checked
from forwardforward._utils.files import parse_json
from forwardforward.recipes import Recipe
from forwardforward.training.settings import differences

__all__ = ["RunConfig", "differences"]


#: The bounds of the command line's options.
Size = Annotated[int, Range(1, 2**31 - 1)]


@checked
@dataclass(frozen=True)
class RunConfig:
    """Configuration of a run. :meth:`from_recipe` sets the fields that a recipe determines.

    Args:
        data: Name of a data set, or path of an ``.npz`` file.
        recipe: Name of the recipe.
        widths: Widths of the layers.
        epochs: Passes over the training data.
        batch_size: Samples per step.
        table: All fields of the recipe as text at the start of the run, see
            :meth:`~forwardforward.recipes.Recipe.table`.
        changes: Fields of the recipe that differ from the registered one, as text, see
            :func:`~forwardforward.recipes.set_fields`; widths, epochs and batch size have fields of their own.
        seed: Random seed for weights, shuffling and sampling; splits are fixed.
        data_dir: Folder of the data set's files; default: see :func:`forwardforward.data.load`.
        device: Device to train on.
        precision: Compute precision, ``"float32"``, ``"tf32"`` or ``"bf16"``, see
            :func:`~forwardforward.training.fit`.
        threads: Number of CPU threads; results are bit-exact for equal numbers. Default: torch's number.
        compile: Whether ``torch.compile`` compiles the training step; results are equal up to rounding.
        cuda_graph: Whether a CUDA graph contains the training step; results are equal up to rounding.
        vectors: File of pretrained word vectors; default: the recipe trains word vectors.
        validation: Whether to hold out the validation split, evaluate on it after each epoch, and use it instead of the
            test set at the end.
        train_samples: Number of training samples, a fixed class-balanced subset; default: all.
        teachers: Folders of trained runs on the same texts. With teachers, the unlabeled texts of the data set are
            training data too, with the teachers' mean predictions as targets.
        command: Command that started the run.
        input_shape: Shape of one input; set when the run begins.
        num_classes: Number of classes or labels, None for real values; set when the run begins.
        class_names: Names of the classes if the data set has them; set when the run begins.
        class_counts: Number of training samples of each class; set when the run begins.
        data_digest: Digest of the data, see :attr:`Splits.digest <forwardforward.data.Splits.digest>`; set when the run
            begins.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If a value is out of range.

    Example:
        >>> from forwardforward.recipes import get
        >>> config = RunConfig.from_recipe(get("hinton").for_dataset("digits"), "digits", seed=1)
        >>> config.seed, config.device
        (1, 'cpu')
    """

    data: str
    recipe: str
    widths: tuple[Size, ...]
    epochs: Size
    batch_size: Size
    table: Mapping[str, str]
    changes: Mapping[str, str] = field(default_factory=dict)
    seed: Annotated[int, Range(0, 2**63 - 1)] = 0
    data_dir: str | None = None
    device: str = "cpu"
    precision: Literal["float32", "tf32", "bf16"] = "float32"
    threads: Annotated[int, Range(1, 4096)] | None = None
    compile: bool = False
    cuda_graph: bool = False
    vectors: str | None = None
    validation: bool = False
    train_samples: Size | None = None
    teachers: tuple[str, ...] = ()
    command: str = ""
    input_shape: tuple[Size, ...] | None = None
    num_classes: Size | None = None
    class_names: tuple[str, ...] | None = None
    class_counts: tuple[NonNegativeInt, ...] | None = None
    data_digest: str | None = None

    def __post_init__(self) -> None:
        for name in ("widths", "input_shape", "class_names"):
            if getattr(self, name) == ():
                raise ValueError(f"{name} must not be empty, got ()")

    @classmethod
    def from_recipe(cls, recipe: Recipe, data: str, **settings: Any) -> RunConfig:
        """Return the configuration of a training by a recipe, with its widths, epochs and batch size.

        Args:
            recipe: The recipe, with the data set's settings (:meth:`~forwardforward.recipes.Recipe.for_dataset`) and
                the user's (:meth:`~forwardforward.recipes.Recipe.replace`).
            data: Name of a data set, or path of an ``.npz`` file.
            **settings: Other fields of the configuration.
        """
        sizes: dict[str, Any] = {name: getattr(recipe, name) for name in ("widths", "epochs", "batch_size")}
        return cls(data=data, recipe=recipe.name, **sizes, table=recipe.table(), **settings)

    @classmethod
    def from_json(cls, text: str) -> RunConfig:
        """Return the configuration from the text of ``config.json``.

        Raises:
            TypeError: If a value is of the wrong type.
            ValueError: If it is not valid JSON, a field is missing or unknown, or a value is out of range.
        """
        values = parse_json(text)
        names = [entry.name for entry in fields(cls)]
        if not isinstance(values, dict):
            raise ValueError(f"it must be an object with the fields of a run, got {describe(values)}")
        if missing := [name for name in names if name not in values]:
            raise ValueError(f"it must contain {', '.join(missing)}")
        if unknown := [name for name in values if name not in names]:
            raise ValueError(f"it must contain only {', '.join(names)}, got {describe(unknown)}")
        return cls(**values)

    def settings(self) -> dict[str, Any]:
        """Return the settings that determine the result, by name, for comparison with :func:`differences`.

        File names, device, number of threads and compilation are excluded: they affect the result by rounding only.
        """
        return {
            "data": self.data,
            "recipe": self.recipe,
            "seed": self.seed,
            "precision": self.precision,
            "validation": self.validation,
            "train_samples": self.train_samples,
            **({"teachers": list(self.teachers)} if self.teachers else {}),
            **self.table,
        }
