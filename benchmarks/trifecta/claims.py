"""The paper's claims by study, apart from those about tables 1 and 2, which are beside the tables."""

from __future__ import annotations

import math
from collections.abc import Mapping

from benchmarks.cells import Content
from benchmarks.claims import Claim
from benchmarks.trifecta.columns import (
    excess,
    gradient_size,
    gradient_variation,
    head_accuracy,
    largest_weight,
    layer_lead,
    loss_of_features,
    seconds_per_epoch,
)


def log_of_largest_weight(content: Content) -> float | None:
    """Return the logarithm to base 2 of the largest weight of all layers."""
    weight = largest_weight(content)
    return math.log2(weight) if weight else None


def steady(line: str, before: int, after: int) -> list[Claim]:
    """Return the claim that weights do not explode between two epochs of a row."""
    text = f"the largest weight changes by less than a factor of 2 from epoch {before} to {after} (powers of 2)"
    row, other = f"{line}-{after}", f"{line}-{before}"
    return [Claim(text, row, other, "no difference", tolerance=1.0, figure=log_of_largest_weight)]


CLAIMS: Mapping[str, list[Claim]] = {
    "table3": [
        Claim(
            "the last three layers classify better than the last one",
            "tff-d-500",
            0.0,
            {"mnist": "+0.04", "fashion-mnist": "+0.13", "svhn": "+0.05", "cifar10": "+0.21"},
            figure=excess("last_three_accuracy", "accuracy"),
        )
    ],
    "figures-dense": [
        *(
            Claim(
                f"gradient norms vary less under batch normalization than under layer normalization, layer {layer} "
                "(standard deviation / mean)",
                "f-layer-100",
                "f-batch-100",
                "less",
                figure=gradient_variation(layer),
            )
            for layer in (0, 5)
        ),
        Claim(
            "gradients of layer 5 are larger under batch normalization than without normalization (powers of 10)",
            "f-batch-100",
            "f-none-100",
            "several",
            figure=gradient_size(5),
        ),
        Claim(
            "the largest weight is smaller under batch normalization than under layer normalization",
            "f-layer-100",
            "f-batch-100",
            "smaller",
            figure=largest_weight,
        ),
        *(
            Claim(
                f"features lose less of their use from layer to layer under {words}",
                more,
                less,
                "less",
                figure=loss_of_features,
            )
            for words, more, less in (
                ("batch normalization than under layer normalization", "f-layer-100", "f-batch-100"),
                ("no normalization than under batch normalization", "f-batch-100", "f-none-100"),
            )
        ),
    ],
    "figures-deep": steady("tff-d-curves", 200, 500),
    "figures-deep-short": steady("tff-d-short", 20, 50),
    "dropout": [
        Claim("dropout makes learning slower: lower after 30 epochs", "tff-s-30", "tff-s-dropout-30", "slower"),
        Claim("with dropout, 100 epochs end equally, up to 1 point", "tff-s-dropout-100", "tff-s-100", "equal", 1.0),
    ],
    "normalization": [
        Claim(
            "the two forms of layer normalization are equal up to 2 points",
            "symba-layernorm-100",
            "symba-100",
            "equal",
            tolerance=2.0,
        )
    ],
    "rolling": [
        Claim("rolling averages cost accuracy", "tff-s-100", "tff-s-rolling-100", "+1.93"),
        Claim("rolling averages cost accuracy in batches of 64", "tff-s-batch64-100", "tff-s-rolling64-100"),
        Claim(
            "with rolling averages, batches of one train as well as batches of 64, up to 3 points",
            "tff-s-rolling64-100",
            "tff-s-rolling1-100",
            "expected",
            tolerance=3.0,
        ),
    ],
    "overlap": [
        Claim("both approaches are equal up to 1 point", "tff-s-olu-both-100", "tff-s-olu-epoch-100", "equal", 1.0),
        Claim(
            "updating both in each step takes longer per epoch (seconds)",
            "tff-s-olu-both-100",
            "tff-s-olu-epoch-100",
            "slower",
            figure=seconds_per_epoch,
        ),
        Claim("gradients through random weights help", "tff-s-feedback-100", "symba-bn-100", "suggested"),
        Claim("the exact gradients help more", "tff-s-100", "tff-s-feedback-100"),
    ],
    "residual": [
        Claim(f"residuals are {word} for TFF/{size} after {epochs} epochs", *pair, paper)
        for size, final in (("s", "-4"), ("d", "-2"))
        for epochs, word, paper in ((30, "better", "better"), (100, "worse", final))
        for pair in [
            (f"tff-{size}-residual-{epochs}", f"tff-{size}-{epochs}")
            if word == "better"
            else (f"tff-{size}-{epochs}", f"tff-{size}-residual-{epochs}")
        ]
    ],
    "sweep-alpha": [
        Claim(f"alpha {alpha} and 4 are equal up to 1 point", f"tff-s-alpha{alpha}-100", "tff-s-100", "equal", 1.0)
        for alpha in (2, 8)
    ],
    "sweep-tau": [
        Claim("a threshold of 10 is better than one of 2", "ftl10-100", "ftl2-100", "+15.01"),
        *(
            Claim(
                f"with threshold {tau}, the first layer is better than the last",
                f"ftl{tau}-100",
                0.0,
                "declines",
                figure=layer_lead(0, -1),
            )
            for tau in (1, 2, 5, 10)
        ),
    ],
    "sweep-decay": [
        Claim(f"weight decay {decay:.0e} costs accuracy", "tff-s-100", f"tff-s-decay{decay:.0e}-100", "significantly")
        for decay in (1e-6, 1e-5, 1e-4)
    ],
    "evaluation": [
        Claim(
            "a random label is better than the neutral one",
            "tff-s-random-100",
            "tff-s-neutral-100",
            "slightly",
            figure=head_accuracy,
        ),
        Claim(
            "the last layer classifies better than the last three in the shallow network",
            "tff-s-neutral-100",
            0.0,
            "no benefit of three",
            figure=excess("accuracy", "last_three_accuracy"),
        ),
        Claim(
            "the last layer classifies better than all layers but the first",
            "tff-s-neutral-100",
            0.0,
            "drastically",
            figure=excess("accuracy", "but_first_accuracy"),
        ),
    ],
}
