"""The paper's claims about its appendices, by study."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.claims import Claim
from benchmarks.trifecta.columns import head_accuracy, seconds_per_epoch

CLAIMS: Mapping[str, list[Claim]] = {
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
    "alpha": [
        Claim(f"alpha {alpha} and 4 are equal up to 1 point", f"tff-s-alpha{alpha}-100", "tff-s-100", "equal", 1.0)
        for alpha in (2, 8)
    ],
    "tau": [
        Claim("a threshold of 10 is better than one of 2", "ftl10-100", "ftl2-100", "+15.01"),
    ],
    "decay": [
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
    ],
}
