"""Classification by goodness: candidate lists, early exits and compiled functions give the scores of plain loops."""

from __future__ import annotations

import copy
import functools
import math
import pickle
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

import forwardforward as ff
from forwardforward.classifiers import BestInterval, Candidates, GoodnessReadout, LayerEnsemble, SumOverLayers
from forwardforward.scoring.functions import ClassGoodness, HeadFeatures, LabelGoodness

CLASSES = 4
CLOSE: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-9}


def dense(**options: Any) -> ff.FFSequential:
    torch.manual_seed(1)
    residuals = None, None, ff.layers.SkipConnection(1), ff.layers.SkipConnection(2)
    return ff.FFSequential(
        *[ff.FFLinear(i, 9, residual=r) for i, r in zip((12, 9, 9, 9), residuals, strict=True)],
        goodness=ff.goodness.MeanOfSquares(),
        loss=ff.losses.SymBa(),
        normalization=ff.normalization.RMSNorm(),
        label_encoder=ff.label_encoders.Concatenation(CLASSES),
        **options,
    ).double()


def convolutional(**options: Any) -> ff.FFSequential:
    torch.manual_seed(1)
    return ff.FFSequential(
        ff.FFConv2d(2, 5, 3, padding=1),
        ff.FFConv2d(5, 4, 3, padding=1, pool=2),
        ff.FFConv2d(4, 4, 2),
        goodness=ff.goodness.MeanOfSquares(),
        loss=ff.losses.SymBa(),
        normalization=ff.normalization.BatchNorm(),
        label_encoder=ff.label_encoders.LearnedChannel(CLASSES, 4),
        input_shape=(1, 4, 4),
        **options,
    ).double()


NETWORKS = {"dense": (dense, (8,)), "convolutional": (convolutional, (1, 4, 4))}


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> tuple[ff.FFSequential, Tensor]:
    make, shape = NETWORKS[request.param]
    return make(), torch.rand(7, *shape, dtype=torch.float64)


@torch.no_grad()
def loop_over_labels(model: ff.FFSequential, images: Tensor) -> Tensor:
    """The goodness ``(batch, layers, classes)``, one image with one label at a time, through the public layers."""
    model = copy.deepcopy(model).eval()
    assert model.label_encoder is not None
    result = torch.empty(len(images), len(model), CLASSES, dtype=torch.float64)
    for i, image in enumerate(images):
        for label in range(CLASSES):
            x = model.label_encoder(image[None], torch.tensor([label])).joined()
            outputs: list[Tensor] = []
            for index, layer in enumerate(model):
                residual = layer.residual
                skip = outputs[index - residual.distance] if isinstance(residual, ff.layers.SkipConnection) else None
                values = layer.outputs(x, skip)
                result[i, index, label] = values.goodness_input.square().mean()
                x = values.output
                outputs.append(x)
    return result


def loop_over_candidates(goodness: Tensor, k: int, after: int, margin: float) -> Tensor:
    """The scores of a candidate list, one image at a time, by the goodness of all labels."""
    scores = torch.full((len(goodness), CLASSES), -math.inf, dtype=torch.float64)
    for i, image in enumerate(goodness):
        first = [sum(float(image[layer, label]) for layer in range(after)) for label in range(CLASSES)]
        ranking = sorted(range(CLASSES), key=lambda label: -first[label])[:k]
        labels = [label for label in ranking if first[label] >= first[ranking[0]] - margin]
        for label in labels:
            scores[i, label] = 0 if len(labels) == 1 else image[1:, label].sum()
    return scores


def test_goodness_equals_a_loop_over_labels(network: tuple[ff.FFSequential, Tensor]) -> None:
    model, images = network
    goodness = model.layer_goodness(images)
    torch.testing.assert_close(goodness, loop_over_labels(model, images), **CLOSE)
    labels = torch.arange(7) % CLASSES
    torch.testing.assert_close(model.goodness(images, labels), goodness[torch.arange(7), :, labels], **CLOSE)


@pytest.mark.parametrize("chunk_size", [1, 500, 2**23])
@pytest.mark.parametrize("after", [1, 2])
@pytest.mark.parametrize("k", [1, 2, 9])
def test_candidates_equal_a_loop(network: tuple[ff.FFSequential, Tensor], k: int, after: int, chunk_size: int) -> None:
    model, images = network
    model.chunk_size = chunk_size
    goodness = loop_over_labels(model, images)
    gaps = goodness[:, :after].sum(1).sort(1).values.diff().abs()
    for margin in (0.0, 1.01 * float(gaps.median()), 2 * float(gaps.max()), math.inf):
        model.classifier = Candidates(k, after, margin)
        expected = loop_over_candidates(goodness, min(k, CLASSES), after, margin)
        torch.testing.assert_close(model.scores(images), expected, **CLOSE)
        torch.testing.assert_close(model.classify(goodness), expected, **CLOSE)
        assert torch.equal(model.predict(images), expected.argmax(1))
        torch.testing.assert_close(model.predict_proba(images, batch_size=3), expected.softmax(1), **CLOSE)


def test_all_labels_as_candidates_give_the_scores_without_a_list(network: tuple[ff.FFSequential, Tensor]) -> None:
    model, images = network
    scores = model.scores(images)
    for margin in (math.inf, 1e6):
        model.classifier = Candidates(CLASSES, margin=margin)
        torch.testing.assert_close(model.scores(images), scores, **CLOSE)


@pytest.mark.parametrize(("k", "margin", "rows"), [(2, math.inf, 14), (3, math.inf, 21), (1, math.inf, 0), (3, 0.0, 0)])
def test_later_layers_compute_the_candidates_alone(k: int, margin: float, rows: int) -> None:
    model, images = dense(), torch.rand(7, 8, dtype=torch.float64)
    model.classifier = Candidates(k, margin=margin)
    counts: list[list[int]] = [[] for _ in range(4)]
    for layer, count in zip(model, counts, strict=True):
        layer.register_forward_hook(lambda layer, inputs, output, count=count: count.append(len(output)))
    model.predict(images)
    assert [sum(count) for count in counts] == [7 * CLASSES, rows, rows, rows]


def test_samples_with_a_large_margin_leave_the_batch() -> None:
    model, images = dense(), torch.rand(7, 8, dtype=torch.float64)
    first = model.layer_goodness(images)[:, 0].topk(2).values
    margins = first[:, 0] - first[:, 1]
    threshold = float(margins.sort().values[3:5].mean())
    model.classifier = Candidates(2, margin=threshold)
    rows: list[int] = []
    model[3].register_forward_hook(lambda layer, inputs, output: rows.append(len(output)))
    scores = model.scores(images)
    assert rows == [2 * 4]
    assert torch.equal((scores > -math.inf).sum(1) == 1, margins > threshold)


def test_labels_are_never_read() -> None:
    model, images = dense(classifier=Candidates(2, margin=0.01)), torch.rand(7, 8, dtype=torch.float64)
    predictions = model.predict(images)
    for labels in (torch.zeros(7, dtype=torch.long), predictions, (predictions + 1) % CLASSES):
        assert torch.equal(model.predict(ff.TensorData(images, labels)), predictions)


def test_evaluation_counts_the_errors_of_candidates() -> None:
    model, images = dense(classifier=Candidates(1)), torch.rand(50, 8, dtype=torch.float64)
    labels = torch.arange(50) % CLASSES
    error = 100 * float((model.layer_goodness(images)[:, 0].argmax(1) != labels).double().mean())
    assert ff.evaluate(model, (images, labels)).error == pytest.approx(error)


def test_a_list_of_the_best_interval_chooses_its_layers() -> None:
    images, labels = torch.rand(40, 8, dtype=torch.float64), torch.arange(40) % CLASSES
    model = dense(classifier=Candidates(2, classifier=BestInterval()))
    goodness = model.layer_goodness(images)
    expected = BestInterval()
    expected.choose(goodness, labels)
    ff.fit(model, (images, labels), validation=(images, labels), epochs=1, progress=False, optimizer=frozen())
    assert isinstance(model.classifier, Candidates)
    assert model.classifier.classifier.layers == expected.layers
    assert torch.equal(model.state_dict()["classifier.classifier.bounds"], expected.bounds)


def frozen() -> ff.LocalOptimizer:
    return ff.LocalOptimizer(torch.optim.SGD, lr=0.0)


def test_per_class_goodness_has_candidates_too() -> None:
    model = ff.FFSequential(
        ff.FFLinear(8, 6),
        ff.FFLinear(6, 5),
        goodness=ff.goodness.LearnedProjection(CLASSES),
        loss=ff.losses.CrossEntropy(),
        classifier=Candidates(2),
    )
    images = torch.rand(7, 8)
    torch.testing.assert_close(model.scores(images), Candidates(2)(model.layer_goodness(images)))


def test_errors() -> None:
    with pytest.raises(ValueError, match="^classifier must score each label by itself, as SumOverLayers"):
        Candidates(classifier=LayerEnsemble())
    with pytest.raises(TypeError, match="^classifier must be"):
        Candidates(classifier=GoodnessReadout(3, depth=2))
    with pytest.raises(ValueError, match="^k must be"):
        Candidates(0)
    with pytest.raises(ValueError, match="^margin must be"):
        Candidates(margin=-1.0)
    model, images = dense(classifier=Candidates(2, after=4)), torch.rand(2, 8)
    for call in (model.scores, lambda x: model.classify(model.layer_goodness(x))):
        with pytest.raises(ValueError, match="^after must be below the number of layers, 4, for candidates, got 4"):
            call(images)
    model.classifier = Candidates(2, margin=0.1)
    with torch.no_grad():
        model[0].block.weight.fill_(math.nan)
    with pytest.raises(ValueError, match="^scores must be finite"):
        model.scores(images)


def test_a_list_can_be_replaced_by_a_function() -> None:
    model, images = dense(head=ff.heads.LinearHead(CLASSES)), torch.rand(2, 8)
    expected = model.scores(images)
    for classifier in (Candidates(2), "head", Candidates(2), SumOverLayers(slice(1, None))):
        model.classifier = classifier
        scores = model.scores(images)
    assert torch.equal(scores, expected)
    assert repr(Candidates(2, margin=0.5)) == (
        "Candidates(k=2, after=1, margin=0.5, classifier=SumOverLayers(slice(1, None, None)))"
    )


# Compiled functions, traced here and not compiled: the compiler takes long


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The functions that were traced."""
    functions: list[Any] = []
    compile = torch.compile

    def trace(function: Any, **options: Any) -> Any:
        functions.append(function)
        return compile(function, backend="eager", **options)

    monkeypatch.setattr(torch, "compile", trace)
    return functions


@pytest.mark.slow
def test_compiled_scores_equal_the_scores(network: tuple[ff.FFSequential, Tensor], traced: list[Any]) -> None:
    model, images = network
    compiled = copy.deepcopy(model)
    compiled.compile_scoring()
    first = model.layer_goodness(images)[:, 0].topk(2).values
    margin = 1.01 * float((first[:, 0] - first[:, 1]).median())  # rounding does not cross it
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="classification continues")
        for classifier in (SumOverLayers(), Candidates(2), Candidates(3, margin=margin)):
            model.classifier = compiled.classifier = classifier
            for batch in (images, images[:3], images.flip(0)):
                torch.testing.assert_close(compiled.scores(batch), model.scores(batch), **CLOSE)
    assert len(traced) == 4  # the last list has one function before and one after the candidates are known
    with torch.no_grad():
        for weight in (*model.parameters(), *compiled.parameters()):
            weight.mul_(1.5)
    torch.testing.assert_close(compiled.scores(images), model.scores(images), **CLOSE)


def test_a_compiled_head_and_per_class_goodness_under_autocast(traced: list[Any]) -> None:
    torch.manual_seed(1)
    model = ff.FFSequential(
        ff.FFConv2d(1, 5, 3, padding=1),
        ff.FFConv2d(5, 4, 3, padding=1, pool=2),
        goodness=ff.goodness.LearnedProjection(CLASSES),
        loss=ff.losses.CrossEntropy(),
        normalization=ff.normalization.RMSNorm(),
        head=ff.heads.LinearHead(CLASSES),
        input_shape=(1, 4, 4),
    )
    compiled, images = copy.deepcopy(model), torch.rand(7, 1, 4, 4)
    compiled.compile_scoring()
    for _ in range(2):
        torch.testing.assert_close(compiled.layer_goodness(images), model.layer_goodness(images))
        torch.testing.assert_close(compiled.head_logits(images), model.head_logits(images))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(compiled.layer_goodness(images), model.layer_goodness(images), rtol=0.02, atol=0.02)
    assert len(traced) == 3


def test_chunks_of_one_compiled_shape(traced: list[Any]) -> None:
    model, images = dense(), torch.rand(7, 8, dtype=torch.float64)
    expected = model.scores(images)
    model.compile_scoring()
    model.chunk_size = 12 * CLASSES * 3
    torch.testing.assert_close(model.scores(images), expected, **CLOSE)
    assert len(traced) == 1


def test_another_shape_is_compiled_when_it_occurs_twice_in_succession(traced: list[Any]) -> None:
    model = dense()
    model.compile_scoring()
    for size, count in ((7, 1), (3, 1), (7, 1), (3, 1), (3, 2)):
        model.scores(torch.rand(size, 8))
        assert len(traced) == count


def test_a_compiler_that_fails_gives_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(function: Any, **options: Any) -> Any:
        def call(*arguments: Any) -> Any:
            raise RuntimeError("\nno compiler here\nsecond line")

        return call

    monkeypatch.setattr(torch, "compile", fail)
    model, images = dense(), torch.rand(7, 8)
    expected = model.scores(images)
    model.compile_scoring()
    with pytest.warns(UserWarning, match="^classification continues without torch.compile: no compiler here$"):
        assert torch.equal(model.scores(images), expected)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="classification continues")
        assert torch.equal(model.scores(images), expected)


@pytest.mark.slow
def test_copies_have_compiled_nothing(traced: list[Any]) -> None:
    model, images = dense(), torch.rand(7, 8)
    model.compile_scoring()
    expected = model.scores(images)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        traced.clear()
        assert torch.equal(other.scores(images), expected)
        assert len(traced) == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_compiled_candidates_predict_the_same(precision: torch.dtype) -> None:
    torch.manual_seed(0)  # of other images, one may have two labels of equal goodness
    model, images = dense().float(), torch.rand(50, 8)
    compiled = copy.deepcopy(model)
    compiled.compile_scoring()
    autocast = functools.partial(torch.autocast, "cpu", dtype=torch.bfloat16, enabled=precision == torch.bfloat16)
    for classifier in (SumOverLayers(), Candidates(2), Candidates(2, margin=0.05)):
        model.classifier = compiled.classifier = classifier
        with autocast(), warnings.catch_warnings():
            warnings.filterwarnings("error", message="classification continues")
            same = compiled.predict(images) == model.predict(images)
        assert same.double().mean() > (0.9 if precision == torch.bfloat16 else 0.99)


@pytest.mark.parametrize("kind", [ClassGoodness, LabelGoodness, HeadFeatures])
def test_a_function_has_a_hash_before_its_fields(kind: type) -> None:
    """Torch below 2.13 hashes the objects that compiled code makes before they have fields."""
    assert isinstance(hash(object.__new__(kind)), int)
