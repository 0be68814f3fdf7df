"""The papers' networks: their parameter counts, and that they train."""

from __future__ import annotations

import pytest
import torch

import forwardforward as ff
from forwardforward.recipes import architectures


def parameters(layers: list[ff.FFLayer]) -> int:
    return sum(p.numel() for layer in layers for p in layer.block.parameters())


def test_the_trifectas_parameter_counts() -> None:
    assert round(parameters(architectures.trifecta_shallow(4)) / 1e6, 1) == 2.8
    assert round(parameters(architectures.trifecta_deep(4)) / 1e6, 1) == 8.5
    assert [len(architectures.trifecta_shallow(4)), len(architectures.trifecta_deep(4))] == [6, 12]
    # The paper's 25.1 M are six 2048 x 2048 matrices; without biases, an input of 2048 gives just that.
    weights = sum(layer.block.weight.numel() for layer in architectures.trifecta_fcn(2048))
    assert weights == 6 * 2048**2 == 25_165_824


def test_the_per_class_networks_parameter_counts() -> None:
    assert round(parameters(architectures.cwcomp(3)) / 1e6, 2) == 0.28
    assert len(architectures.deeperforward(3, width=20)) == 17
    assert round(parameters(architectures.deeperforward(3)) / 1e6, 1) == 30.6


def test_the_trifectas_maps_shrink_where_the_paper_pools() -> None:
    shallow = [layer.pool is not None for layer in architectures.trifecta_shallow(4)]
    deep = [layer.pool is not None for layer in architectures.trifecta_deep(4)]
    assert [i for i, pooled in enumerate(shallow, 1) if pooled] == [1, 3, 6]
    assert [i for i, pooled in enumerate(deep, 1) if pooled] == [2, 6, 10]
    assert all(layer.block.bias is None for layer in architectures.trifecta_deep(4))


def classes(layers: list[ff.FFLayer], goodness: torch.nn.Module | None = None) -> ff.FFSequential:
    return ff.FFSequential(
        *layers,
        goodness=ff.goodness.ClassGroups(10, goodness),
        loss=ff.losses.CrossEntropy(),
        normalization=ff.normalization.BatchNorm(),
    )


@pytest.mark.parametrize("name", ["cwcomp", "deeperforward"])
def test_per_class_networks_learn_a_batch_by_heart(name: str) -> None:
    torch.manual_seed(0)
    if name == "cwcomp":
        model = classes(architectures.cwcomp(3))
    else:
        model = classes(architectures.deeperforward(3, width=10), ff.goodness.MeanActivation())
    images, labels = torch.randn(10, 3, 16, 16), torch.arange(10)
    optimizer = ff.LocalOptimizer(torch.optim.Adam, lr=0.01)
    for _ in range(40):
        result = model.step((images, labels), optimizer)
    assert result.layers[len(model) - 1].accuracy > 0.85


def test_deeperforward_reads_goodness_before_it_normalizes_and_joins() -> None:
    torch.manual_seed(0)
    model = classes(architectures.deeperforward(1, width=10), ff.goodness.MeanActivation())
    x = torch.randn(2, 1, 8, 8)
    found = model.layer_goodness(x)

    normalized = torch.nn.functional.layer_norm(x, x.shape[1:])
    passed: list[torch.Tensor] = []
    now = normalized
    for i, layer in enumerate(model.stack):
        convolution = layer.block[1] if i == 0 else layer.block
        h = convolution(now).relu()
        torch.testing.assert_close(found[:, i], h.view(2, 10, -1).mean(2), rtol=1e-4, atol=1e-6)
        now = torch.nn.functional.group_norm(h, 10)
        if i > 0 and i % 2 == 0:  # the second of two: from two layers earlier
            held = passed[i - 2]
            if held.shape[2] > now.shape[2]:
                held = torch.nn.functional.avg_pool2d(held, 2)
            now = torch.cat([now, held], 1) if i in (4, 8, 12) else now + held
        passed.append(now)


def test_convolutions_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"input_shape must be \(channels, height, width\)"):
        architectures.Convolutions()((784,), (8,), 10)
    with pytest.raises(ValueError, match="input_shape must be large enough for 3 pools"):
        architectures.Convolutions(pools=(1, 2, 3))((1, 4, 4), (8, 8, 8), 10)
    with pytest.raises(ValueError, match="widths must double"):
        architectures.DeeperForward()((1, 4, 4), (10, 30), 10)


def test_dense_layers_have_the_activation_that_they_are_given() -> None:
    plain = architectures.Dense()((2, 3), (4, 5), 10)
    assert [type(layer.activation) for layer in plain] == [torch.nn.ReLU, torch.nn.ReLU]
    assert repr(architectures.Dense()) == "Dense()"
    architecture = architectures.Dense(torch.nn.LeakyReLU(0.2))
    assert repr(architecture) == "Dense(activation=LeakyReLU(negative_slope=0.2))"
    first, second = architecture((2, 3), (4, 5), 10)
    assert first.activation is not second.activation
    x = torch.randn(3, 6)
    torch.testing.assert_close(first(x), torch.nn.functional.leaky_relu(first.block(x), 0.2))


def test_residual_convolutions_add_their_input() -> None:
    torch.manual_seed(0)
    layers = architectures.Convolutions(residual=True)((2, 6, 6), (4, 4, 6), 10)
    x = torch.randn(3, 4, 6, 6)
    torch.testing.assert_close(layers[1](x), (layers[1].block(x) + x).relu())
    wider = layers[2].block(x)
    wider[:, :4] += x
    torch.testing.assert_close(layers[2](x), wider.relu())


def test_groups_that_do_not_divide_are_refused_before_training() -> None:
    with pytest.raises(ValueError, match="^widths must be multiples of the 7 classes around layers"):
        architectures.cwcomp(3, num_classes=7)
    with pytest.raises(ValueError, match="^num_classes must divide the layer's features"):
        classes([ff.FFConv2d(3, 12, 3)])
    for name in ("cwcomp", "class-groups", "deeperforward"):
        assert len(ff.recipes.get(name).for_dataset("cifar100").model((3, 32, 32), 100)) >= 4
