"""The papers' networks: their parameter counts, their shapes, and that they train."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import nn

import forwardforward as ff
from forwardforward import recipes
from forwardforward.recipes import architectures


def layers(name: str, input_shape: tuple[int, ...] = (3, 32, 32), **changes: Any) -> list[ff.FFLayer]:
    return recipes.get(name).replace(**changes).layers(input_shape, 10)


def parameters(network: list[ff.FFLayer]) -> int:
    return sum(parameter.numel() for layer in network for parameter in layer.block.parameters())


def pools(network: list[ff.FFLayer]) -> list[int]:
    return [index for index, layer in enumerate(network) if layer.pool is not None]


def test_the_trifectas_parameter_counts() -> None:
    shallow, deep = layers("trifecta-s"), layers("trifecta-d")
    assert round(parameters(shallow) / 1e6, 1) == 2.8
    assert round(parameters(deep) / 1e6, 1) == 8.5
    assert [len(shallow), len(deep)] == [6, 12]
    # The paper's 25.1 M are six 2048 x 2048 matrices: with an input of 2048 numbers, label included, it is just that.
    weights = sum(layer.block.weight.numel() for layer in layers("trifecta-fcn", (2038,)))
    assert weights == 6 * 2048**2 == 25_165_824


def test_the_per_class_networks_parameter_counts() -> None:
    assert round(parameters(layers("cwcomp")) / 1e6, 2) == 0.28
    assert len(layers("deeperforward", widths=(20, 40, 80, 160))) == 17
    assert round(parameters(layers("deeperforward")) / 1e6, 1) == 30.6


def test_the_trifectas_maps_shrink_where_the_paper_pools() -> None:
    deep = layers("trifecta-d")
    assert pools(layers("trifecta-s")) == [0, 2, 5]
    assert pools(deep) == [1, 5, 9]
    assert all(layer.block.bias is None for layer in deep)


def test_the_pools_and_groups_of_the_other_convolutional_recipes() -> None:
    assert pools(layers("mono-conv")) == pools(layers("class-groups")) == pools(layers("scff")) == [0, 1, 2]
    assert pools(layers("mono-conv-wide")) == [0, 1, 3, 4]
    assert pools(layers("cwcomp")) == [1, 3]
    assert [layer.block.groups for layer in layers("cwcomp")] == [1, 10, 1, 10]
    assert [layer.block.groups for layer in layers("class-groups")] == [1, 1, 1, 1]


def test_each_papers_network_is_stated_once() -> None:
    functions = [name for name, value in vars(architectures).items() if inspect.isfunction(value)]
    assert functions == []  # the sizes of a network are in its recipe alone
    assert architectures.__all__ == sorted(architectures.__all__)


def classes(network: list[ff.FFLayer], goodness: nn.Module | None = None) -> ff.FFSequential:
    return ff.FFSequential(
        *network,
        goodness=ff.goodness.ClassGroups(10, goodness),
        loss=ff.losses.CrossEntropy(),
        normalization=ff.normalization.BatchNorm(),
    )


@pytest.mark.parametrize("name", ["cwcomp", "deeperforward"])
@pytest.mark.slow
def test_per_class_networks_learn_a_batch_by_heart(name: str) -> None:
    torch.manual_seed(0)
    if name == "cwcomp":
        model = classes(layers("cwcomp", (3, 16, 16)))
    else:
        model = classes(
            layers("deeperforward", (3, 16, 16), widths=(10, 20, 40, 80), architecture=architectures.DeeperForward()),
            goodness=ff.goodness.MeanActivation(),
        )
    images, labels = torch.randn(10, 3, 16, 16), torch.arange(10)
    optimizer = ff.LocalOptimizer(torch.optim.Adam, lr=0.01)
    for _ in range(40):
        result = model.step((images, labels), optimizer)
    assert result.layers[len(model) - 1].accuracy > 0.85


def test_deeperforwards_skip_connections() -> None:
    network = layers("deeperforward", widths=(10, 20, 40))
    skips = [(index, layer.residual) for index, layer in enumerate(network) if layer.residual is not None]
    assert [index for index, _ in skips] == [2, 4, 6, 8, 10, 12]
    assert all(skip.distance == 2 for _, skip in skips)
    assert [index for index, skip in skips if skip.concatenate] == [4, 8]
    assert [index for index, skip in skips if skip.pool == 2] == [6, 10]
    strides = [next(m.stride for m in layer.block.modules() if isinstance(m, nn.Conv2d)) for layer in network]
    assert [index for index, stride in enumerate(strides) if stride == (2, 2)] == [5, 9]


def test_deeperforward_computes_goodness_before_it_normalizes_and_concatenates() -> None:
    torch.manual_seed(0)
    network = architectures.DeeperForward()((1, 8, 8), (10, 20, 40, 80), 10)
    model = classes(network, ff.goodness.MeanActivation())
    x = torch.randn(2, 1, 8, 8)
    goodness = model.layer_goodness(x)

    outputs: list[torch.Tensor] = []
    h = nn.functional.layer_norm(x, x.shape[1:])
    for index, layer in enumerate(model.layers):
        convolution = layer.block[1] if index == 0 else layer.block
        activations = convolution(h).relu()
        torch.testing.assert_close(goodness[:, index], activations.view(2, 10, -1).mean(2), rtol=1e-4, atol=1e-6)
        h = nn.functional.group_norm(activations, 10)
        if index > 0 and index % 2 == 0:
            earlier = outputs[index - 2]
            if earlier.shape[2] > h.shape[2]:
                earlier = nn.functional.avg_pool2d(earlier, 2)
            h = torch.cat([h, earlier], 1) if index in (4, 8, 12) else h + earlier
        outputs.append(h)


def test_convolutions_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"input_shape must be \(channels, height, width\)"):
        architectures.Convolutions()((784,), (8,), 10)
    with pytest.raises(ValueError, match="input_shape must be large enough for 3 pools"):
        architectures.Convolutions(pools=(0, 1, 2))((1, 4, 4), (8, 8, 8), 10)
    with pytest.raises(ValueError, match="widths must double"):
        architectures.DeeperForward()((1, 4, 4), (10, 30), 10)
    # A pool after the last layer has no effect.
    assert pools(architectures.Convolutions(pools=(0, 1, 2))((1, 4, 4), (8, 8), 10)) == [0, 1]


def test_dense_layers_have_copies_of_the_activation() -> None:
    plain = architectures.Dense()((2, 3), (4, 5), 10)
    assert [type(layer.activation) for layer in plain] == [nn.ReLU, nn.ReLU]
    assert repr(architectures.Dense()) == "Dense()"
    architecture = architectures.Dense(nn.LeakyReLU(0.2))
    assert repr(architecture) == "Dense(activation=LeakyReLU(negative_slope=0.2))"
    first, second = architecture((2, 3), (4, 5), 10)
    assert first.activation is not second.activation
    x = torch.randn(3, 6)
    torch.testing.assert_close(first(x), nn.functional.leaky_relu(first.block(x), 0.2))


def test_residual_convolutions_add_their_input() -> None:
    torch.manual_seed(0)
    network = architectures.Convolutions(residual=True)((2, 6, 6), (4, 4, 6), 10)
    assert network[0].residual is None
    x = torch.randn(3, 4, 6, 6)
    torch.testing.assert_close(network[1](x), (network[1].block(x) + x).relu())
    wider = network[2].block(x)
    wider[:, :4] += x
    torch.testing.assert_close(network[2](x), wider.relu())


def test_architectures_pass_on_the_initial_weights() -> None:
    for architecture, ends in (
        (architectures.Convolutions(init="he_uniform"), (6 / 27, 6 / 36)),
        (architectures.Convolutions(), (1 / 27, 1 / 36)),
    ):
        largest = [float(layer.block.weight.detach().square().max()) for layer in architecture((3, 8, 8), (4, 400), 10)]
        assert all(value <= end for value, end in zip(largest, ends, strict=True))
        assert largest[1] > 0.98 * ends[1]
    [dense] = architectures.Dense(init="he_uniform")((1, 4, 4), (300,), 10)
    assert 0.98 * 6 / 16 < float(dense.block.weight.detach().square().max()) <= 6 / 16
    assert repr(architectures.Dense(init="he_uniform")) == "Dense(init='he_uniform')"


def test_random_feedback_replaces_the_kernel_in_the_gradient_of_the_layer_before() -> None:
    torch.manual_seed(0)
    architecture = architectures.Convolutions(random_feedback=True)
    model = ff.FFSequential(
        *architecture((2, 5, 5), (3, 6), 3), goodness=ff.goodness.ClassGroups(3), loss=ff.losses.CrossEntropy()
    )
    first, second = (layer.block for layer in model)
    x, y = torch.rand(4, 2, 5, 5), torch.tensor([0, 1, 2, 0])
    weight = first.weight.detach().clone().requires_grad_()
    h = nn.functional.conv2d(x, weight, padding=1).relu()
    z = nn.functional.conv2d(h.detach(), second.weight.detach(), padding=1).requires_grad_()
    goodness = z.relu().square().unflatten(1, (3, 2)).mean((2, 3, 4))
    [of_z] = torch.autograd.grad(nn.functional.cross_entropy(goodness, y), z)
    of_h = nn.functional.conv_transpose2d(of_z, second.feedback, padding=1)
    [expected] = torch.autograd.grad(h, weight, of_h)
    assert isinstance(second.feedback, torch.Tensor)
    assert "feedback" not in first.state_dict()
    optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=1.0)
    before = first.weight.detach().clone()
    model.step((x, y), optimizer, groups=ff.update_schedules.Blocks(2)(2, 0, 0, 1))
    torch.testing.assert_close(before - first.weight.detach(), expected, rtol=1e-4, atol=1e-6)


def test_inverted_bottlenecks_expand_filter_and_project() -> None:
    network = architectures.InvertedBottlenecks(pools=(1,), expansion=3)((2, 6, 6), (4, 5), 10)
    x = torch.randn(3, 4, 6, 6)
    expand, _, depthwise, _, project = network[1].block
    assert (expand.weight.shape, depthwise.weight.shape, project.weight.shape) == (
        (12, 4, 1, 1),
        (12, 1, 3, 3),
        (5, 12, 1, 1),
    )
    wide = nn.functional.conv2d(x, expand.weight).relu()
    filtered = nn.functional.conv2d(wide, depthwise.weight, padding=1, groups=12).relu()
    out = nn.functional.conv2d(filtered, project.weight).relu()
    torch.testing.assert_close(network[1](x), nn.functional.max_pool2d(out, 2))
    assert network[0].pool is None
    with pytest.raises(ValueError, match="large enough for 2 pools"):
        architectures.InvertedBottlenecks(pools=(0, 1))((2, 3, 3), (4, 5), 10)


@pytest.mark.parametrize(
    ("network", "kinds"),
    [
        (architectures.BagOfWords(12, dropout=0.3, init_std=0.1), ["FFEmbeddingBag", "FFLinear", "FFLinear"]),
        (architectures.WordConvolutions(12, dropout=0.3, init_std=0.1), ["FFEmbedding", "FFLayer", "FFLayer"]),
    ],
)
def test_networks_on_texts(network: Any, kinds: list[str]) -> None:
    torch.manual_seed(0)
    made = network((7,), (8, 6, 5), 2)
    assert [type(layer).__name__ for layer in made] == kinds
    h = torch.tensor([[3, 1, 4, 1, 5, 9, 0]] * 2)
    for layer in made:
        h = layer.eval()(h)
    assert h.shape[:2] == (2, 5)
    embeddings = next(made[0].block.parameters())
    assert 0.05 < embeddings[1:].std() < 0.15


@pytest.mark.parametrize("network", [architectures.BagOfWords(12), architectures.WordConvolutions(12)], ids=repr)
def test_networks_on_texts_need_the_size_of_their_embeddings(network: Any) -> None:
    with pytest.raises(ValueError, match="^widths must contain at least the size of the embeddings, got none$"):
        network((7,), (), 2)


def test_groups_that_do_not_divide_are_refused_before_training() -> None:
    with pytest.raises(ValueError, match="^widths must be multiples of the 7 classes around layer 1"):
        recipes.get("cwcomp").layers((3, 32, 32), 7)
    with pytest.raises(ValueError, match="num_classes must divide"):
        recipes.get("class-groups").replace(widths=(12,)).model((3, 32, 32), 10)
    for name in ("cwcomp", "class-groups", "deeperforward"):
        assert len(recipes.get(name).for_dataset("cifar100").layers((3, 32, 32), 100)) >= 4
