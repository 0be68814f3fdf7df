"""Modules that were written for backpropagation, as networks with local objectives."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import forwardforward as ff
from forwardforward.step import WholeStep

CLASSES, SAMPLES = 3, 12
IMAGE = (3, 12, 12)


class Block(nn.Module):
    """A residual block with ReLUs that work in place, as torchvision's."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += self.downsample(x)
        return self.relu(out)


class ResNet(nn.Module):
    """A stem, blocks in two stages, and a classifier of pooled maps."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 4, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(2)
        self.layer1 = nn.Sequential(Block(4, 4), Block(4, 4))
        self.layer2 = nn.Sequential(Block(4, 8, stride=2))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer2(self.layer1(x))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class EncoderBlock(nn.Module):
    """Attention and a multilayer perceptron, both with a skip connection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 12), nn.GELU(), nn.Linear(12, width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class Encoder(nn.Module):
    """Blocks in a list, behind a position embedding."""

    def __init__(self, width: int, tokens: int) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.randn(1, tokens, width))
        self.blocks = nn.ModuleList(EncoderBlock(width) for _ in range(2))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.position
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class VisionTransformer(nn.Module):
    """Patches, a class token, an encoder and a classifier; options with defaults, and a functional dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.encoder = Encoder(8, 10)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor, mask: Tensor | None = None, average: bool = False) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1)
        if mask is not None:
            x = x * mask
        x = self.encoder(F.dropout(x, 0.5, self.training))
        return self.head(x.mean(1) if average else x[:, 0])


class Tokens(nn.Module):
    """A network of torch's own encoder, whose inputs are indices."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(8), enable_nested_tensor=False)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(self.embedding(x)).mean(1))


class Gated(nn.Module):
    """An activation of the user's own."""

    def forward(self, x: Tensor) -> Tensor:
        return x * x.sigmoid()


def convolutional() -> nn.Sequential:
    features = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3), Gated(), nn.MaxPool2d(2)
    )
    return nn.Sequential(features, nn.Flatten(), nn.Linear(96, 9), nn.Tanh(), nn.Dropout(0.5), nn.Linear(9, CLASSES))


#: Name to a function that makes a module, and the number of layers before the classifier.
MODULES: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "convolutional": (convolutional, 3),
    "ResNet": (ResNet, 4),
    "transformer": (VisionTransformer, 2),
    "tokens": (Tokens, 2),
}
each_module = pytest.mark.parametrize("name", MODULES)


def inputs_of(name: str) -> Tensor:
    return torch.randint(20, (SAMPLES, 5)) if name == "tokens" else torch.rand(SAMPLES, *IMAGE)


def targets() -> Tensor:
    return torch.arange(SAMPLES) % CLASSES


def run(model: ff.FFSequential, x: Tensor) -> Tensor:
    for layer in model:
        x = layer.block(x)
    return x


def encoder_layer() -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, batch_first=True)


def test_torchs_encoder_is_divided_also_if_it_is_the_module_itself() -> None:
    x = torch.rand(SAMPLES, 5, 8)
    encoder = nn.TransformerEncoder(encoder_layer(), 2, nn.LayerNorm(8))
    for model in (ff.from_module(encoder, CLASSES), ff.from_module(encoder, CLASSES, stages=["layers.0", "norm"])):
        assert len(model) == 2
        assert model[1].block.get_submodule("layers.1") is encoder.layers[1]
        torch.testing.assert_close(run(model, x), encoder(x))
    ff.fit(model, (x, targets()), epochs=1, progress=False)


class Shifted(nn.TransformerEncoder):
    """An encoder with another forward pass."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x + 1)


def test_the_forward_pass_of_an_encoders_subclass_is_kept() -> None:
    x = torch.rand(SAMPLES, 5, 8)
    module = nn.Sequential(Shifted(encoder_layer(), 2), Shifted(encoder_layer(), 2))
    model = ff.from_module(module, CLASSES)
    assert len(model) == 2
    torch.testing.assert_close(run(model, x), module(x))
    with pytest.raises(ValueError, match="got Shifted: TraceError"):
        ff.from_module(Shifted(encoder_layer(), 2), CLASSES)


class Decoders(nn.Module):
    """torch's decoders, each of which attends to its own input."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerDecoderLayer(8, 2, 12, dropout=0.0, batch_first=True)
        self.parts = nn.ModuleList([layer, nn.TransformerDecoder(layer, 2)])

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x, x)
        return x


def test_torchs_decoders_are_blocks() -> None:
    x, module = torch.rand(SAMPLES, 5, 8), Decoders()
    model = ff.from_module(module, CLASSES)
    assert len(model) == 2
    torch.testing.assert_close(run(model, x), module(x))


class Padded(Tokens):
    """An encoder with torch's default, nested tensors, and a mask of the padding."""

    def __init__(self, padding: int) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoder(encoder_layer(), 2)
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(self.embedding(x), src_key_padding_mask=x == self.padding).mean(1))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("padding", [0, 1, 19])
@pytest.mark.parametrize("length", [5, 19])
def test_a_mask_of_the_padding_does_not_hide_the_whole_sample_of_the_dry_run(padding: int, length: int) -> None:
    model = ff.from_module(Padded(padding), CLASSES, input_shape=(length,))
    x = torch.arange(2, 2 + SAMPLES * length).reshape(SAMPLES, length) % 16 + 2
    x[::2, -2:] = padding
    ff.fit(model, (x, targets()), epochs=1, progress=False)
    assert model.predict(x).shape == (SAMPLES,)


@each_module
@pytest.mark.parametrize("training", [False, True])
def test_layers_and_classifier_compute_what_the_module_computes(name: str, training: bool) -> None:
    make, count = MODULES[name]
    module, x = make(), inputs_of(name)
    model = ff.from_module(module, CLASSES, keep_classifier=True)
    assert len(model) == count + 1
    module.train(training)  # the module itself has a mode of its own
    model.train(training)
    outputs = []
    for forward in (module, lambda value: run(model, value)):
        torch.manual_seed(0)
        outputs.append(forward(x))
    torch.testing.assert_close(*outputs, rtol=0, atol=0)
    assert outputs[0].requires_grad


@each_module
def test_layers_share_the_modules_parameters_and_buffers(name: str) -> None:
    module = MODULES[name][0]()
    model = ff.from_module(module, CLASSES, keep_classifier=True)
    blocks = {
        f"{i}.{key}": value
        for i, layer in enumerate(model)
        for key, value in layer.block.state_dict(keep_vars=True).items()
    }
    ours = {key.partition(".")[2]: value for key, value in blocks.items()}
    theirs = module.state_dict(keep_vars=True)
    assert ours.keys() == theirs.keys()  # under the module's names
    assert all(ours[key] is theirs[key] for key in theirs)


def test_a_copy_leaves_the_module_unchanged() -> None:
    module = ResNet()
    before = copy.deepcopy(module.state_dict())
    model = ff.from_module(module, CLASSES, copy=True)
    model.step((inputs_of("ResNet"), targets()), ff.LocalOptimizer(torch.optim.SGD, lr=0.1))
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())
    assert not torch.equal(model[1].block.get_parameter("layer1.0.conv1.weight"), module.layer1[0].conv1.weight)


def test_training_changes_the_module_but_not_the_classifier_that_was_dropped() -> None:
    module = ResNet()
    before = copy.deepcopy(module.state_dict())
    ff.fit(ff.from_module(module, CLASSES), (inputs_of("ResNet"), targets()), epochs=1, progress=False)
    equal = {key for key, value in module.state_dict().items() if torch.equal(before[key], value)}
    assert equal == {"fc.weight", "fc.bias"}


def test_construction_leaves_mode_hooks_and_statistics_alone() -> None:
    module = ResNet()
    module.layer1.eval()
    modes = [part.training for part in module.modules()]
    calls: list[int] = []
    module.layer1[0].register_forward_hook(lambda *_: calls.append(1))
    before = copy.deepcopy(module.state_dict())
    model = ff.from_module(module, CLASSES, input_shape=IMAGE)
    assert [part.training for part in module.modules()] == modes
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())
    calls.clear()
    model.predict(inputs_of("ResNet"))
    assert calls == [1]


def plain_step(module: ResNet, projections: list[Tensor], x: Tensor, rate: float) -> None:
    """One step of plain gradient descent on every block's cross-entropy, written without the library."""
    parts = [
        nn.Sequential(module.conv1, module.bn1, module.relu, module.maxpool),
        module.layer1[0], module.layer1[1], module.layer2[0],
    ]  # fmt: skip
    for part, weight in zip(parts, projections, strict=True):
        maps = part(x.detach())
        side = maps.shape[2]
        halves = [slice(0, (side + 1) // 2), slice(side // 2, side)]  # they share the middle of three positions
        rows = torch.stack([maps[:, :, i, j].mean((2, 3)) for i in halves for j in halves], dim=2).flatten(1)
        loss = F.cross_entropy(rows @ weight.T, targets())
        parameters = [*part.parameters(), weight]
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.data -= rate * gradient
        x = maps


def test_a_step_is_that_of_a_plain_loop_with_the_running_statistics_of_one_pass() -> None:
    torch.manual_seed(0)
    module, x = ResNet(), inputs_of("ResNet")
    plain = copy.deepcopy(module).train()
    model = ff.from_module(module, CLASSES, input_shape=IMAGE).train()
    projections = [layer.objective.goodness.weight.detach().clone().requires_grad_() for layer in model]
    optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=0.1)
    for _ in range(2):
        model.step((x, targets()), optimizer)
        plain_step(plain, projections, x, 0.1)
    for key, value in plain.state_dict().items():
        torch.testing.assert_close(module.state_dict()[key], value, msg=key)
    assert module.layer2[0].bn2.num_batches_tracked == 2
    for layer, weight in zip(model, projections, strict=True):
        torch.testing.assert_close(layer.objective.goodness.weight, weight)


@pytest.mark.parametrize("name", ["ResNet", "transformer", "tokens"])  # of nn.Dropout, forms draw other numbers
def test_the_whole_form_of_the_step_gives_the_same_weights(name: str) -> None:
    torch.manual_seed(0)
    x = inputs_of(name)
    model = ff.from_module(MODULES[name][0](), CLASSES, input_shape=x.shape[1:])
    states = []
    for whole in (None, WholeStep(compile=False)):
        network = copy.deepcopy(model)
        torch.manual_seed(1)
        network.step((x, targets()), ff.LocalOptimizer(torch.optim.SGD, lr=0.1), whole_step=whole)
        states.append(network.state_dict())
    for key, value in states[0].items():
        torch.testing.assert_close(states[1][key], value, rtol=1e-4, atol=1e-5, msg=key)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ResNet", "transformer"])
def test_the_step_is_compiled_as_a_whole(name: str) -> None:
    torch.manual_seed(0)
    x = inputs_of(name)
    model = ff.from_module(MODULES[name][0](), CLASSES, input_shape=x.shape[1:])
    states = []
    for compiled in (False, True):
        network = copy.deepcopy(model)
        sgd = ff.LocalOptimizer(torch.optim.SGD, lr=0.1)
        ff.fit(network, (x, targets()), epochs=1, optimizer=sgd, compile=compiled, progress=False)
        states.append(network.state_dict())
    if name == "ResNet":  # the functional dropout of the other draws other numbers in compiled code
        for key, value in states[0].items():
            torch.testing.assert_close(states[1][key], value, rtol=1e-3, atol=1e-4, msg=key)


@pytest.mark.parametrize("name", ["ResNet", "transformer"])
def test_it_trains_predicts_saves_and_resumes_as_any_network(name: str, tmp_path: Path) -> None:
    data = inputs_of(name), targets()
    make = MODULES[name][0]

    def train(epochs: int, file: str) -> ff.FFSequential:
        torch.manual_seed(0)
        model = ff.from_module(make(), CLASSES, input_shape=data[0].shape[1:])
        options: dict[str, Any] = {"batch_size": 6, "progress": False, "checkpoint": tmp_path / file, "resume": True}
        ff.fit(model, data, epochs=epochs, schedule=ff.update_schedules.Overlapping(2, "epoch"), **options)
        return model

    whole, _, resumed = (train(*run) for run in [(2, "a.pt"), (1, "b.pt"), (2, "b.pt")])
    states = whole.state_dict(), resumed.state_dict()
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    torch.manual_seed(1)
    loaded = ff.from_module(make(), CLASSES, input_shape=data[0].shape[1:])
    loaded.load_state_dict(whole.state_dict())
    assert torch.equal(loaded.predict(data[0]), whole.predict(data[0]))
    assert ff.evaluate(loaded, data) == ff.evaluate(whole, data)
    for other in (copy.deepcopy(whole), pickle.loads(pickle.dumps(whole))):
        assert torch.equal(other.scores(data[0]), whole.scores(data[0]))


def test_pair_objectives_and_the_default_head_work() -> None:
    model = ff.from_module(
        ResNet(channels=4),
        goodness=ff.goodness.MeanOfSquares(),
        loss=ff.losses.SymBa(),
        label_encoder=ff.label_encoders.LearnedChannel(CLASSES, 12),
        normalization=ff.normalization.BatchNorm(),
    )
    history = ff.fit(model, (inputs_of("ResNet"), targets()), epochs=1, progress=False)
    assert sorted(history[0]["layers"][0]["parts"] or ["SymBa"]) == ["SymBa"]
    assert model.predict(inputs_of("ResNet")).shape == (SAMPLES,)


def test_the_classifier_that_is_kept_is_the_last_layers_goodness() -> None:
    module = ResNet()
    options = {"classifier": ff.classifiers.SumOverLayers(slice(-1, None))}
    model = ff.from_module(module, CLASSES, keep_classifier=True, input_shape=IMAGE, **options).eval()
    x = inputs_of("ResNet")
    torch.testing.assert_close(model.scores(x), module.eval()(x).detach())
    model.train().step((x, targets()), ff.LocalOptimizer(torch.optim.SGD, lr=0.1))
    assert not torch.equal(model.eval().scores(x), module.fc.bias.expand(SAMPLES, -1))


@pytest.mark.parametrize(
    ("stages", "ends"),
    [
        (["layer1", "layer2"], ["layer1_1", "layer2"]),
        (["layer2.0", "layer1.0"], ["layer1_0", "layer2_0"]),
        (["bn1", "avgpool"], ["bn1", "avgpool"]),
    ],
)
def test_named_stages_end_at_the_submodules(stages: list[str], ends: list[str]) -> None:
    module = ResNet().eval()
    model = ff.from_module(module, CLASSES, stages=stages, keep_classifier=True).eval()
    assert len(model) == len(stages) + 1
    x, outputs = inputs_of("ResNet"), {}
    for name in stages:
        module.get_submodule(name).register_forward_hook(lambda _, __, y, name=name: outputs.update({name: y.clone()}))
    expected = module(x)
    outputs = dict(outputs)
    value = x
    for index, name in enumerate(sorted(stages, key=list(outputs).index)):
        value = model[index].block(value)
        assert torch.equal(value, outputs[name])
    assert torch.equal(model[-1].block(value), expected)


def test_operations_in_place_do_not_change_the_output_of_the_layer_before() -> None:
    module = ResNet()
    model = ff.from_module(module, CLASSES, stages=["bn1", "layer1"])
    x = inputs_of("ResNet") - 0.5
    before = x.clone()
    normalized = model[0].block(x)
    copied = normalized.detach().clone()
    model[1].block(normalized)
    assert torch.equal(normalized, copied)
    first = ff.from_module(nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(3, 4, 3), nn.ReLU()), CLASSES)
    first.predict(x)
    assert torch.equal(x, before)


class Crossing(nn.Module):
    """A connection from the first to the third layer, as in a U-Net, and a submodule that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Linear(4, 4) for _ in range(3))
        self.relu = nn.ReLU()
        self.unused = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        first = self.relu(self.first(x))
        second = self.relu(self.second(first))
        return self.third(second) + first


class Branching(nn.Module):
    """A forward pass that depends on values."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 4), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) if x.sum() > 0 else x


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        (ResNet(), {"stages": ["layer3"]}, r"'layer3' \(did you mean layer2\?\); there are conv1, bn1, .*layer1.*, fc"),
        (ResNet(), {"stages": ["layer1", "layer1.0"]}, "parts of each other, got 'layer1'"),
        (ResNet(), {"stages": ["fc", "fc"]}, "each name once"),
        (ResNet(), {"stages": ["layer1.0.relu"]}, "called 2 times"),
        (ResNet(), {"stages": ["layer1.0.conv1"]}, "after 'layer1.0.conv1', since .* read the output of maxpool"),
        (Crossing(), {"stages": ["second"]}, "cannot be divided after 'second', since .* output of relu"),
        (Crossing(), {"stages": ["unused"]}, "'unused' is called 0 times"),
        (Crossing(), {"stages": []}, "stages must contain at least one name"),
        (nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3)), {}, "stages were not found in Sequential.*, of 0, 1$"),
        (Branching(), {}, "can record, got Branching: TraceError: .* FFSequential.* some of inner, inner.0, inner.1$"),
        (nn.Bilinear(4, 4, 4), {}, "must take one input, got input1, input2"),
        (ResNet(), {"num_classes": None}, "num_classes must be given for the default objective"),
        (ResNet(), {"num_classes": 4, "keep_classifier": True, "input_shape": IMAGE}, "got 4 classes for outputs"),
        (nn.Sequential(nn.Linear(4, 4), nn.ReLU()), {"keep_classifier": True}, "keep_classifier must be False"),
    ],
)  # fmt: skip
def test_what_cannot_be_divided_is_refused_with_the_submodules(
    module: nn.Module, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as error:
        ff.from_module(module, **{"num_classes": CLASSES, **options})
    assert "\n" not in str(error.value)


def test_shared_parameters_and_networks_are_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.weight of layer 0 is 2\.weight of layer 1"):
        ff.from_module(tied(), CLASSES)
    model = ff.from_module(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), CLASSES)
    with pytest.raises(TypeError, match="module must not have local objectives yet"):
        ff.from_module(model, CLASSES)


def tied() -> nn.Sequential:
    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU())
    module[2].weight = module[0].weight
    return module


class DependsOnMode(nn.Module):
    """Operations, or an argument that is no mode itself, that differ between training and evaluation."""

    def __init__(self, operations: bool) -> None:
        super().__init__()
        self.layer, self.other = nn.Linear(4, 4), nn.Linear(4, 4)
        self.operations = operations

    def forward(self, x: Tensor) -> Tensor:
        if self.operations:
            return self.layer(x).relu() if self.training else self.other(x).relu()
        return F.leaky_relu(self.layer(x), 0.1 if self.training else 0.2)


@pytest.mark.parametrize("operations", [False, True])
def test_operations_that_depend_on_the_mode_are_refused(operations: bool) -> None:
    with pytest.raises(ValueError, match="depend on the training mode"):
        ff.from_module(DependsOnMode(operations), CLASSES)


class Masked(Tokens):
    """torch's encoder with a mask, which is one layer."""

    def forward(self, x: Tensor) -> Tensor:
        mask = torch.ones(5, 5).triu(1).bool()
        return self.head(self.encoder(self.embedding(x), mask).mean(1))


def test_an_encoder_with_a_mask_is_one_layer() -> None:
    module = Masked().eval()
    attributes = set(vars(module))
    model = ff.from_module(module, CLASSES, keep_classifier=True).eval()
    assert set(vars(module)) == attributes
    assert len(model) == 2
    x = inputs_of("tokens")
    torch.testing.assert_close(run(model, x), module(x))


def test_lazy_modules_are_weights() -> None:
    module = nn.Sequential(nn.Flatten(), nn.LazyLinear(5), nn.ReLU(), nn.LazyLinear(CLASSES))
    model = ff.from_module(module, CLASSES, keep_classifier=True, input_shape=(2, 4))
    assert len(model) == 2
    assert module[1].in_features == 8


def test_frozen_layers_stay_frozen() -> None:
    module = ResNet()
    module.layer1.requires_grad_(False)
    before = copy.deepcopy(module.state_dict())
    ff.fit(ff.from_module(module, CLASSES), (inputs_of("ResNet"), targets()), epochs=1, progress=False)
    assert torch.equal(module.layer1[0].conv1.weight, before["layer1.0.conv1.weight"])
    assert not torch.equal(module.layer2[0].conv1.weight, before["layer2.0.conv1.weight"])


def test_replicas_of_a_modules_layers_train() -> None:
    replicas = ff.replicate(lambda: ff.from_module(ResNet(), CLASSES, input_shape=IMAGE), seeds=(0, 1))
    inputs, sgd = inputs_of("ResNet"), ff.LocalOptimizer(torch.optim.SGD, lr=0.1)
    ff.fit(replicas, (inputs, targets()), epochs=1, optimizer=sgd, progress=False)
    torch.manual_seed(1)
    alone = ff.from_module(ResNet(), CLASSES, input_shape=IMAGE)
    sgd = ff.LocalOptimizer(torch.optim.SGD, lr=0.1)
    ff.fit(alone, (inputs, targets()), epochs=1, seed=1, optimizer=sgd, progress=False)
    for key, value in replicas.member(1).state_dict().items():
        torch.testing.assert_close(value, alone.state_dict()[key], rtol=1e-3, atol=1e-4, msg=key)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("resnet18", 9),
        *(
            pytest.param(*values, marks=pytest.mark.slow)
            for values in [("resnet50", 17), ("vgg11_bn", 10), ("mobilenet_v3_small", 14), ("densenet121", 5)]
        ),
    ],
)
def test_torchvisions_networks(name: str, count: int) -> None:
    models = pytest.importorskip("torchvision.models")
    module = models.get_model(name, num_classes=CLASSES).eval()
    model = ff.from_module(module, CLASSES, keep_classifier=True).eval()
    assert len(model) == count + 1
    x = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(run(model, x), module(x), rtol=0, atol=0)


def test_a_shape_that_the_module_refuses_is_refused_by_name_with_its_reason() -> None:
    models = pytest.importorskip("torchvision.models")
    module = models.VisionTransformer(8, 4, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=12)
    message = (
        r"^layer 0 does not accept inputs of shape \(3, 6, 6\): Wrong image height! Expected 8 but got another value!$"
    )
    with pytest.raises(ValueError, match=message):
        ff.from_module(module, CLASSES, input_shape=(3, 6, 6))
    with pytest.raises(ValueError, match=message):
        ff.fit(ff.from_module(module, CLASSES), (torch.rand(4, 3, 6, 6), torch.arange(4) % CLASSES), progress=False)


def test_the_page_shows_a_program_from_import_to_a_reloaded_model_in_ten_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sklearn")
    page = (Path(__file__).parents[1] / "docs" / "your_own_model.md").read_text(encoding="utf-8")
    [program] = [block for block in page.split("```python\n") if block.startswith("import torch")]
    program = program.split("```")[0]
    assert len([line for line in program.splitlines() if line]) <= 10
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(program, names)
    model, loaded, images = names["model"], names["loaded"], names["data"].test.inputs
    assert model[0].block.get_parameter("1.weight") is not loaded[0].block.get_parameter("1.weight")
    assert torch.equal(loaded.eval().predict_proba(images), model.eval().predict_proba(images))
    assert ff.evaluate(loaded, names["data"].test).error < 30


def test_torchvisions_vision_transformer() -> None:
    models = pytest.importorskip("torchvision.models")
    module = models.VisionTransformer(8, 4, num_layers=3, num_heads=2, hidden_dim=8, mlp_dim=12, num_classes=CLASSES)
    model = ff.from_module(module, CLASSES, keep_classifier=True, input_shape=(3, 8, 8))
    assert len(model) == 4
    x = torch.rand(SAMPLES, 3, 8, 8)
    ff.fit(model, (x, targets()), epochs=1, progress=False)
    torch.testing.assert_close(run(model.eval(), x), module.eval()(x), rtol=0, atol=0)
