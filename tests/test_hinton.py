"""Hinton's program by hand, against the library."""

import pytest
import torch
from torch import Tensor

import forwardforward as ff

SIZES = (12, 9, 8)
CLASSES = 3
BATCH = 7


class Given(ff.negatives.LabelNegatives):
    """Wrong labels that were decided beforehand."""

    def __init__(self, wrong: Tensor) -> None:
        self.wrong = wrong

    def wrong_labels(self, labels, num_classes, scores, generator):
        if len(labels) != len(self.wrong):  # the trial in the network's setup
            return (labels + 1) % num_classes
        return self.wrong


class ByHand:
    """The Matlab program: two hidden layers and a one-pass softmax, all gradients taken before any update."""

    def __init__(self, weights, biases, head) -> None:
        self.weights = [w.clone() for w in weights]  # inputs x outputs
        self.biases = [b.clone() for b in biases]
        self.head = head.clone()  # classes x features
        self.head_bias = head.new_zeros(CLASSES)
        zero = torch.zeros_like
        self.smooth = [zero(w) for w in weights]
        self.smooth_bias = [zero(b) for b in biases]
        self.smooth_head, self.smooth_head_bias = zero(self.head), zero(self.head_bias)
        self.means = [torch.full((n,), 0.5, dtype=torch.float64) for n in SIZES[1:]]
        self.gradients: list[Tensor] = []

    @staticmethod
    def normalized(x: Tensor) -> Tensor:
        return torch.stack([row / (row.square().sum() / len(row)).sqrt() for row in x])

    def states(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        states, inputs = [], [self.normalized(x)]
        for w, b in zip(self.weights, self.biases, strict=True):
            states.append((inputs[-1] @ w + b).clamp(min=0))
            inputs.append(self.normalized(states[-1]))
        return states, inputs

    def step(self, images: Tensor, labels: Tensor, wrong: Tensor) -> None:
        eye = torch.eye(CLASSES, dtype=torch.float64)

        def labeled(code: Tensor) -> Tensor:
            return torch.cat([code, images[:, CLASSES:]], dim=1)

        neutral = labeled(torch.full((BATCH, CLASSES), 1 / CLASSES, dtype=torch.float64))
        features = self.states(neutral)[1][2]  # the normalized second layer
        shares = (features @ self.head.T + self.head_bias).softmax(1)
        head_up = (eye[labels] - shares).T @ features / BATCH
        head_bias_up = (eye[labels] - shares).sum(0) / BATCH

        positive, positive_in = self.states(labeled(eye[labels]))
        negative, negative_in = self.states(labeled(eye[wrong]))
        self.gradients, ups, bias_ups = [], [], []
        for layer, width in enumerate(SIZES[1:]):
            p = torch.sigmoid(positive[layer].square().sum(1) - width)
            q = torch.sigmoid(negative[layer].square().sum(1) - width)
            self.means[layer] = 0.9 * self.means[layer] + 0.1 * positive[layer].mean(0)
            up = (1 - p)[:, None] * positive[layer] + 0.03 * (self.means[layer].mean() - self.means[layer])
            down = -q[:, None] * negative[layer]
            ups.append((positive_in[layer].T @ up + negative_in[layer].T @ down) / BATCH)
            bias_ups.append((up.sum(0) + down.sum(0)) / BATCH)
            self.gradients.append(ups[-1])
        for layer in range(len(ups)):
            self.smooth[layer] = 0.9 * self.smooth[layer] + 0.1 * ups[layer]
            self.smooth_bias[layer] = 0.9 * self.smooth_bias[layer] + 0.1 * bias_ups[layer]
            self.biases[layer] = self.biases[layer] + 0.01 * self.smooth_bias[layer]
            self.weights[layer] = self.weights[layer] + 0.01 * (self.smooth[layer] - 0.001 * self.weights[layer])
        self.smooth_head = 0.9 * self.smooth_head + 0.1 * head_up
        self.smooth_head_bias = 0.9 * self.smooth_head_bias + 0.1 * head_bias_up
        self.head = self.head + 0.1 * (self.smooth_head - 0.003 * self.head)
        self.head_bias = self.head_bias + 0.1 * self.smooth_head_bias


def ours(negatives: Given) -> tuple[ff.FFSequential, ff.LocalOptimizer]:
    model = ff.FFSequential(
        ff.FFLinear(SIZES[0], SIZES[1]),
        ff.FFLinear(SIZES[1], SIZES[2]),
        goodness=ff.goodness.SumOfSquares(),
        loss=ff.losses.Threshold(theta="width"),
        normalization=ff.normalization.RMSNorm(eps=1e-30),
        peer=ff.normalization.PeerNormalization(),
        label_encoder=ff.label_encoders.Overlay(CLASSES),
        negatives=negatives,
        head=ff.heads.LinearHead(CLASSES),
    ).double()
    with torch.no_grad():
        for layer in model:
            layer.block.weight.mul_(1.4)  # goodness on both sides of the threshold
        model.head.linear.weight.normal_()
    optimizer = ff.LocalOptimizer(
        ff.optimizers.SmoothedSGD, lr=0.005, weight_cost=0.002, overrides={"head": {"lr": 0.1, "weight_cost": 0.003}}
    )
    return model, optimizer.attach(model)


@pytest.mark.parametrize("seed", range(3))
def test_three_steps_of_hintons_program_by_hand(seed: int) -> None:
    torch.manual_seed(seed)
    images = torch.rand(BATCH, SIZES[0], dtype=torch.float64)
    labels = torch.randint(CLASSES, (BATCH,))
    wrong = (labels + 1) % CLASSES
    model, optimizer = ours(Given(wrong))
    blocks = [layer.block for layer in model]
    hand = ByHand(
        [block.weight.detach().T for block in blocks],
        [block.bias.detach() for block in blocks],
        model.head.linear.weight.detach(),
    )
    close = {"rtol": 1e-6, "atol": 1e-8}  # torch takes softplus(x) = x above 20, and the head has its own epsilon
    for _ in range(3):
        model.step((images, labels), optimizer)
        hand.step(images, labels, wrong)
        for layer, block in enumerate(blocks):
            # his direction is up the goodness and leaves out the 2 of the squares
            torch.testing.assert_close(block.weight.grad, -2 * hand.gradients[layer].T, **close)
            torch.testing.assert_close(block.weight.detach(), hand.weights[layer].T, **close)
            torch.testing.assert_close(block.bias.detach(), hand.biases[layer], **close)
            torch.testing.assert_close(model[layer].peer.means, hand.means[layer], **close)
        torch.testing.assert_close(model.head.linear.weight.detach(), hand.head, **close)
        torch.testing.assert_close(model.head.linear.bias.detach(), hand.head_bias, **close)


def test_the_peer_term_revives_a_dead_unit() -> None:
    images, labels = torch.rand(BATCH, SIZES[0], dtype=torch.float64), torch.zeros(BATCH, dtype=torch.int64)
    model, optimizer = ours(Given(labels + 1))
    block = model[0].block
    with torch.no_grad():
        block.bias[0] = -100.0
    model.step((images, labels), optimizer)
    for _ in range(30):  # its mean must first fall behind its peers'
        model.step((images, labels), optimizer)
    assert block.bias[0] > -100
    assert float(block.weight.grad[0].abs().max()) > 0
