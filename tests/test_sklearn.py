"""Tests of the estimators as users of scikit-learn use them, and by scikit-learn's own checks."""

from __future__ import annotations

import pickle
import sys
from typing import Any

import numpy as np
import pytest
import torch

import forwardforward as ff

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.datasets import load_digits, make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from forwardforward.sklearn.weights import weighted_loader

SMALL: dict[str, Any] = {"widths": (10,), "epochs": 4, "lr": 0.03, "random_state": 0}


def classifier(**options: Any) -> Any:
    """A small classifier."""
    return ff.sklearn.FFClassifier(**{**SMALL, **options})


def features(**options: Any) -> Any:
    """A small transformer."""
    return ff.sklearn.FFFeatures(**{**SMALL, **options})


@pytest.fixture(scope="module")
def table() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Samples of three classes with names."""
    X, y = make_classification(150, 6, n_informative=4, n_classes=3, class_sep=2.0, random_state=0)
    return X, np.array(["cat", "bird", "ant"])[y]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:train has no samples")  # of a class with the weight 0.0001
@parametrize_with_checks([classifier(), features(epochs=1, widths=(10, 10)), classifier(recipe="symba", epochs=8)])
def test_the_checks_of_scikit_learn_pass(estimator: Any, check: Any) -> None:
    check(estimator)


def test_string_labels_are_learned_and_returned(table: Any) -> None:
    X, y = table
    model = classifier().fit(X, y)
    assert model.classes_.tolist() == ["ant", "bird", "cat"]
    assert model.score(X, y) > 0.8
    probabilities = model.predict_proba(X)
    assert (model.classes_[probabilities.argmax(1)] == model.predict(X)).all()
    np.testing.assert_allclose(probabilities.sum(1), 1)


@pytest.mark.parametrize("recipe", ["symba", "hinton"])
def test_pair_recipes_append_the_label_to_the_features_of_a_table(recipe: str, table: Any) -> None:
    X, y = table
    model = ff.sklearn.FFClassifier(recipe, widths=(20, 20), epochs=2, random_state=0).fit(X, y)
    assert isinstance(model.model_.label_encoder, ff.label_encoders.Concatenation)
    assert set(model.predict(X)) <= set(y)


def test_a_classifier_in_ten_lines_is_trained_saved_and_reloaded() -> None:
    import joblib

    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X[:600], y[:600], random_state=0)
    model = ff.sklearn.FFClassifier(epochs=6, random_state=0).fit(X_train, y_train)
    assert model.score(X_test, y_test) > 0.85
    restored = joblib.hash(pickle.loads(pickle.dumps(model)).predict_proba(X_test))
    assert restored == joblib.hash(model.predict_proba(X_test))


def test_a_clone_has_the_settings_and_a_fit_with_the_same_seed_the_same_weights(table: Any) -> None:
    model = classifier(class_weight="balanced", callbacks=(ff.training.EarlyStopping(1),), validation_fraction=0.2)
    copy = clone(model)
    assert copy.get_params()["class_weight"] == "balanced"
    torch.manual_seed(1)
    first = model.fit(*table).predict_proba(table[0])
    torch.manual_seed(2)  # the global generator has no effect
    np.testing.assert_array_equal(copy.fit(*table).predict_proba(table[0]), first)
    assert copy.history_.validation()[0] is not None


def test_fit_leaves_the_global_generator_alone(table: Any) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    classifier(epochs=1).fit(*table)
    assert torch.equal(torch.rand(3), expected)


def test_a_grid_search_over_a_pipeline_finds_the_better_setting(table: Any) -> None:
    pipeline = make_pipeline(StandardScaler(), classifier())
    search = GridSearchCV(pipeline, {"ffclassifier__lr": [0.0, 0.03], "ffclassifier__widths": [(10,)]}, cv=2)
    search.fit(*table)
    assert search.best_params_["ffclassifier__lr"] == 0.03
    assert search.best_score_ > 0.8


def test_features_feed_another_classifier(table: Any) -> None:
    X, y = table
    pipeline = make_pipeline(features(widths=(12, 8)), LogisticRegression())
    assert cross_val_score(pipeline, X, y, cv=2).mean() > 0.7
    transformer = features(widths=(12, 8), layers=(0, -1)).fit(X, y)
    rows = transformer.transform(X)
    assert rows.shape == (150, 20)
    assert len(transformer.get_feature_names_out()) == 20
    outputs = transformer.model_.activations(torch.from_numpy(X))
    for part, output in ((rows[:, :12], outputs[0]), (rows[:, 12:], outputs[1])):
        expected = output / output.square().mean(1, keepdim=True).sqrt()
        np.testing.assert_allclose(part, expected.detach(), atol=1e-6)


def test_a_recipe_without_labels_is_trained_without_them() -> None:
    X = np.random.default_rng(0).random((40, 64))
    transformer = ff.sklearn.FFFeatures("unsupervised", widths=(8, 8), epochs=1, input_shape=(1, 8, 8))
    assert transformer.fit(X).transform(X).shape == (40, 8)
    with pytest.raises(ValueError, match="requires y to be passed"):
        features().fit(X)


def test_partial_fit_continues_with_the_state_of_the_optimizer(table: Any) -> None:
    X, y = table
    model = classifier()
    for _ in range(3):
        model.partial_fit(X, y, classes=["ant", "bird", "cat"])
    assert model.n_iter_ == 3
    reference = classifier(epochs=1).fit(X, y)  # for its initial weights and seed
    network = reference._new_model(reference._settings(), torch.from_numpy(X), num_classes=3, seed=reference._seed)
    optimizer = reference._settings().replace(lr_schedule=None).local_optimizer()
    targets = torch.from_numpy(np.searchsorted(model.classes_, y))
    for _ in range(3):
        ff.fit(network, (torch.from_numpy(X), targets), epochs=1, batch_size=32, optimizer=optimizer,
               seed=reference._seed, progress=False)  # fmt: skip
    for name, value in network.state_dict().items():
        assert torch.equal(value, model.model_.state_dict()[name]), name


def test_partial_fit_continues_a_fit_and_checks_the_classes(table: Any) -> None:
    X, y = table
    with pytest.raises(ValueError, match="classes must be passed on the first call to partial_fit"):
        classifier().partial_fit(X, y)
    model = classifier().fit(X, y)
    before = model.model_
    assert model.partial_fit(X[:20], y[:20]).model_ is before
    assert pickle.loads(pickle.dumps(model)).partial_fit(X, y).n_iter_ == 6
    with pytest.raises(ValueError, match="y must contain the classes .* got 'dog'"):
        model.partial_fit(X[:2], ["dog", "cat"])
    with pytest.raises(ValueError, match="classes must be those of the first call"):
        model.partial_fit(X, y, classes=["ant", "bird"])


def attributes(estimator: Any) -> dict[str, Any]:
    """All attributes of an estimator that no argument sets, with the weights of its network."""
    found = {name: value for name, value in vars(estimator).items() if name not in estimator.get_params()}
    if "model_" in found:
        found["weights"] = {name: value.clone() for name, value in found.pop("model_").state_dict().items()}
    return found


FAILURES: dict[str, tuple[dict[str, Any], type[Exception]]] = {
    "a refused argument": ({"lr": -1.0}, ValueError),
    "a divergence": ({"lr": 1e30}, ff.training.TrainingDiverged),
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("make", [classifier, features])
def test_a_fit_that_fails_leaves_the_estimator_as_it_was(failure: str, make: Any, table: Any) -> None:
    X, y = table
    changes, error = FAILURES[failure]
    untouched, fitted = make(**changes), make().fit(X, y)
    before = attributes(fitted)
    for estimator in (untouched, fitted):
        with pytest.raises(error):
            estimator.set_params(**changes).fit(X[:, :3], [f"new {label}" for label in y])
    assert attributes(untouched) == {}
    assert str(attributes(fitted)) == str(before)


def test_a_partial_fit_that_fails_leaves_the_estimator_as_it_was(table: Any) -> None:
    X, y = table
    model = classifier()
    with pytest.raises(ValueError, match="y must contain the classes"):
        model.partial_fit(X, y, classes=["ant", "bird"])
    assert attributes(model) == {}
    model.partial_fit(X, y, classes=["ant", "bird", "cat"])
    expected = pickle.loads(pickle.dumps(model)).partial_fit(X, y).predict_proba(X)

    class Fails(ff.training.Callback):
        def on_epoch_end(self, state: Any) -> None:
            raise RuntimeError("disk full")

    with pytest.raises(ValueError, match="y must contain the classes"):
        model.partial_fit(X[:2], ["dog", "cat"])
    with pytest.raises(RuntimeError, match="disk full"):  # after the steps
        model.set_params(callbacks=[Fails()]).partial_fit(X, y)
    model.set_params(callbacks=()).partial_fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), expected)


def test_samples_are_drawn_by_their_weights() -> None:
    targets = torch.arange(300) % 3
    loader = weighted_loader(torch.arange(300.0)[:, None], targets, torch.tensor([1.0, 3.0, 0.0])[targets], 32)
    loader.sampler.generator.manual_seed(0)  # type: ignore[attr-defined]
    batches = list(loader)
    drawn = torch.cat([labels for _, labels in batches])
    assert [len(labels) for _, labels in batches] == [len(labels) for _, labels in weighted_loader(
        torch.zeros(300, 1), targets, torch.ones(300), 32)]  # fmt: skip
    counts = torch.bincount(drawn, minlength=3)
    assert counts[2] == 0
    assert 0.68 < counts[1] / 300 < 0.82  # 3/4, with a standard deviation of 0.025
    assert all(torch.equal(inputs[:, 0] % 3, labels) for inputs, labels in batches)


def test_class_weights_move_the_decision() -> None:
    X = np.random.default_rng(0).normal(size=(200, 2))
    y = np.array(["rare", "usual"])[(np.arange(200) % 10 > 0).astype(int)]
    plain, weighted = (classifier(class_weight=w).fit(X, y).predict(X) for w in (None, {"rare": 200.0, "usual": 0.1}))
    assert (plain == "rare").mean() < 0.2
    assert (weighted == "rare").mean() > 0.9


def test_a_function_makes_a_network_of_the_users_own(table: Any) -> None:
    def network(input_shape: tuple[int, ...], num_classes: int) -> ff.FFSequential:
        goodness = ff.goodness.LearnedProjection(num_classes)
        return ff.FFSequential(ff.FFLinear(*input_shape, 7), goodness=goodness, loss=ff.losses.CrossEntropy())

    model = ff.sklearn.FFClassifier(network, epochs=2).fit(*table)
    assert model.model_[0].block.out_features == 7
    with pytest.raises(ValueError, match="widths must be None with a function as recipe"):
        ff.sklearn.FFClassifier(network, widths=(3,)).fit(*table)
    with pytest.raises(TypeError, match="recipe must return a network"):
        ff.sklearn.FFClassifier(lambda shape, classes: torch.nn.Linear(2, 2)).fit(*table)


def test_a_function_must_make_a_network_of_the_classes_of_the_labels(table: Any) -> None:
    def network(outputs: int, loss: Any = None) -> Any:
        def make(input_shape: tuple[int, ...], num_classes: int) -> ff.FFSequential:
            goodness = ff.goodness.LearnedProjection(outputs)
            return ff.FFSequential(ff.FFLinear(6, 7), goodness=goodness, loss=loss or ff.losses.CrossEntropy())

        return make

    def unnamed(input_shape: tuple[int, ...], num_classes: int) -> ff.FFSequential:
        objective = ff.objectives.ClassObjective(lambda h: h[:, :7], torch.nn.functional.cross_entropy)
        return ff.FFSequential(ff.FFLinear(6, 7), objective=objective)

    def late(input_shape: tuple[int, ...], num_classes: int) -> ff.FFSequential:
        objective = ff.objectives.ClassObjective(lambda h: h[:, :7], torch.nn.functional.cross_entropy)
        return ff.FFSequential(torch.nn.LazyLinear(7), objective=objective)

    for recipe in (network(7), network(2), unnamed, late):
        with pytest.raises(ValueError, match=r"^recipe must return a network of num_classes=3 classes, got one of"):
            ff.sklearn.FFClassifier(recipe, epochs=1).fit(*table)
    for loss in (ff.losses.BinaryCrossEntropy(), ff.losses.SquaredError(), ff.losses.OrdinalCrossEntropy()):
        with pytest.raises(ValueError, match=r"^recipe must be one for one class per sample, got a network of targets"):
            ff.sklearn.FFClassifier(network(3, loss), epochs=1).fit(*table)


def test_images_keep_their_shape_and_single_precision() -> None:
    X = np.random.default_rng(0).random((30, 64), dtype=np.float32)
    model = ff.sklearn.FFClassifier("mono-conv", widths=(10, 10), epochs=1, input_shape=(1, 8, 8))
    model.fit(X, np.arange(30) % 2)
    assert model.model_.input_shape == (1, 8, 8)
    assert model.model_.dtype == torch.float32
    assert model.model_[0].block.weight.shape[1] == 1
    with pytest.raises(ValueError, match=r"input_shape must have 64 values, one per feature of X, got \(1, 7, 8\)"):
        clone(model).set_params(input_shape=(1, 7, 8)).fit(X, np.arange(30) % 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"lr": -1.0}, "lr must be at least 0, got -1.0"),
        ({"random_state": "head"}, "^random_state must be None, a whole number .* got 'head'$"),
        ({"widths": (5, 0)}, r"widths\[1\] must be at least 1, got 0"),
        ({"validation_fraction": 1.0}, r"validation_fraction must be in \[0, 1\), got 1.0"),
        ({"validation_fraction": 1e-3}, "^validation_fraction must leave samples of every class .*, got 0.001 of"),
        ({"class_weight": "even"}, "class_weight must be 'balanced'"),
        ({"class_weight": {"ant": -1.0}}, "class_weight must contain weights of at least 0"),
        ({"recipe": "monoo"}, "did you mean 'mono'"),
        ({"recipe": "imdb-mono"}, "recipe must be one for arrays"),
        ({"recipe": "multi-label"}, r"^recipe must be one for one class per sample, got multi-label of targets MultiL"),
        ({"recipe": "ordinal"}, r"^recipe must be one for one class per sample, got ordinal of targets RealValues"),
        (
            {"callbacks": [ff.training.EarlyStopping(5)]},
            r"^validation_fraction must be above 0 for EarlyStopping of 'validation.error', got 0.0$",
        ),
    ],
)
def test_settings_are_checked_by_fit(options: dict[str, Any], message: str, table: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        classifier(**options).fit(*table)


@pytest.mark.parametrize("name", ["FFClassifier", "FFFeatures"])
def test_an_unknown_argument_is_refused_by_the_estimators_name(name: str) -> None:
    estimator: Any = getattr(ff.sklearn, name)
    message = rf"^{name}\(\) got an unexpected keyword argument 'epoch': did you mean 'epochs'\?$"
    with pytest.raises(TypeError, match=message):
        estimator(epoch=3)
    with pytest.raises(TypeError, match=rf"^{name}\(\) got an unexpected keyword argument 'xyz'$"):
        estimator(xyz=3)
    with pytest.raises(TypeError, match=rf"^{name}\(\): too many positional arguments$"):
        estimator("mono", (10,))

    class Own(estimator):  # type: ignore[misc]
        pass

    with pytest.raises(TypeError, match=r"^Own\(\) got an unexpected"):
        Own(epoch=3)
    assert clone(Own(epochs=3)).get_params()["epochs"] == 3


@pytest.mark.parametrize(
    ("features", "example"), [(64, "(1, 8, 8)"), (3 * 36, "(3, 6, 6)"), (7, "(channels, height, width)")]
)
def test_a_convolutional_recipe_without_input_shape_says_what_to_give(features: int, example: str) -> None:
    X, y = np.random.default_rng(0).random((20, features)), np.arange(20) % 2
    with pytest.raises(ValueError, match=r"^input_shape must be \(channels, height, width\)") as error:
        ff.sklearn.FFClassifier("mono-conv", epochs=1).fit(X, y)
    assert str(error.value).endswith(f"got ({features},): pass input_shape={example}, the shape of one row of X")
    wrong = ff.sklearn.FFClassifier("mono-conv", epochs=1, input_shape=(features,))
    with pytest.raises(ValueError, match=rf"got \({features},\)$"):
        wrong.fit(X, y)


def test_log_probabilities_are_those_of_the_probabilities(table: Any) -> None:
    model = classifier().fit(*table)
    X = table[0]
    np.testing.assert_allclose(model.predict_log_proba(X), np.log(model.predict_proba(X)), rtol=1e-9, atol=1e-9)
    assert model.predict_log_proba(X).dtype == model.predict_proba(X).dtype
    model.model_.layers[0].objective.goodness.weight.data.mul_(1e4)
    assert (model.predict_proba(X) == 0).any()
    assert np.isfinite(model.predict_log_proba(X)).all()
    with pytest.raises(Exception, match="not fitted yet"):
        classifier().predict_log_proba(X)


def test_partial_fit_has_no_validation_data(table: Any) -> None:
    model = classifier(callbacks=[ff.training.EarlyStopping(5)], validation_fraction=0.2)
    with pytest.raises(ValueError, match=r"^callbacks must not monitor validation data, which partial_fit has not"):
        model.partial_fit(*table, classes=["ant", "bird", "cat"])


def test_layers_of_the_features_are_checked(table: Any) -> None:
    with pytest.raises(ValueError, match=r"layers must be indices of the 1 layers, got \[1\]"):
        features(layers=(1,)).fit(*table)


def test_without_scikit_learn_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    names: dict[str, Any] = {}
    exec("from forwardforward import *", names)
    message = r"^ff.sklearn.FFClassifier needs scikit-learn: pip install scikit-learn$"
    with pytest.raises(ImportError, match=message):
        _ = names["sklearn"].FFClassifier
    with pytest.raises(AttributeError, match="module 'forwardforward.sklearn' has no attribute 'FFRegressor'"):
        _ = ff.sklearn.FFRegressor
