"""Tables 1 to 3 of the Trifecta: their rows, with the paper's results."""

from __future__ import annotations

from benchmarks.cells import Row
from benchmarks.claims import Claim
from benchmarks.trifecta.columns import layer_lead
from benchmarks.trifecta.parts import BACKPROP, DEEP, FEEDBACK, LOSSES, PEPITA, SHALLOW, shallow, without

FIVE = ("mnist", "fashion-mnist", "svhn", "cifar10", "cifar100")


def figures(*printed: str) -> dict[str, str]:
    """Return the results that a table prints, by data set; "" if it prints none."""
    return dict(zip(FIVE, printed, strict=False))


def reported(line: str, label: str, epochs: int, *printed: str) -> Row:
    """Return a row with reported results only."""
    return Row(line, label, epochs=epochs, paper=figures(*printed))


# Table 1

PARTS = {"": "", "-bn": " + BN", "-olu": " + OLU", "-olu-bn": " + OLU + BN"}
ABLATION = {
    "ftl2": ("29.27 ± 2.49", "41.02 ± 1.89", "48.18 ± 1.87", "57.92 ± 1.11"),
    "ftl10": ("44.28 ± 1.28", "37.31 ± 3.01", "50.85 ± 0.63", "58.99 ± 0.84"),
    "symba": ("59.22 ± 0.49", "68.51 ± 0.27", "65.82 ± 0.78", "75.23 ± 0.65"),
}


def ablated(loss: str, parts: str, paper: str) -> Row:
    """Return a row of Table 1."""
    label, module = LOSSES[loss]
    recipe = without(SHALLOW, norm="bn" not in parts, overlap="olu" not in parts, loss=module)
    line = "tff-s" if (loss, parts) == ("symba", "-olu-bn") else loss + parts
    return shallow(line, label + PARTS[parts], recipe, cifar10=paper)


TABLE_1 = tuple(
    ablated(loss, parts, paper)
    for loss, printed in ABLATION.items()
    for parts, paper in zip(PARTS, printed, strict=True)
)
BY_LOSS = {loss: TABLE_1[4 * number : 4 * number + 4] for number, loss in enumerate(ABLATION)}


def step(before: Row, after: Row, text: str) -> Claim:
    """Return the claim that a row is better than another, with the paper's difference."""
    low, high = (float(row.paper["cifar10"].split()[0]) for row in (before, after))
    return Claim(text, after.name, before.name, paper=f"{high - low:+.2f}")


def claims_of_table1() -> list[Claim]:
    """Return what the paper concludes from Table 1, part by part."""
    claims = [
        step(before, after, f"{after.label} is better than {before.label}")
        for loss in ("ftl2", "ftl10")
        for before, after in zip(BY_LOSS[loss], BY_LOSS["symba"], strict=True)
    ]
    for alone, norm, overlap, both in BY_LOSS.values():
        for before, after in ((alone, norm), (alone, overlap), (norm, both), (overlap, both)):
            claims.append(step(before, after, f"{after.label} is better than {before.label}"))
    alone, norm, overlap, both = BY_LOSS["symba"]
    last_lead = layer_lead(-1, 0)
    return [
        *claims,
        Claim(
            "with SymBa, both parts together add more than the sum of each",
            both.name,
            norm.name,
            "+0.12",
            further={overlap.name: -1.0, alone.name: 1.0},
        ),
        Claim("with SymBa + BN, the last layer is better than the first", norm.name, 0.0, "rises", figure=last_lead),
        Claim(
            "with SymBa, BN gains more from the first to the last layer",
            norm.name,
            alone.name,
            "more",
            figure=last_lead,
        ),
    ]


# Tables 2 and 3

#: Accuracies that the shallow network exceeds in the first 10 epochs.
EARLY = {"mnist": 97.0, "cifar10": 50.0}

STAGES = {
    ("s", 10): ("97.44 ± 0.49", "76.81 ± 2.37", "84.62 ± 1.34", "50.32 ± 0.32", "11.32 ± 1.57"),
    ("s", 100): ("99.23 ± 0.11", "88.00 ± 0.67", "92.57 ± 0.67", "75.23 ± 0.65", "28.71 ± 0.42"),
    ("s", 200): ("99.53 ± 0.04", "91.38 ± 0.38", "94.25 ± 0.54", "80.01 ± 0.60", "35.79 ± 0.17"),
    ("d", 100): ("99.32 ± 0.11", "85.62 ± 0.53", "91.49 ± 0.34", "71.12 ± 0.77", "24.42 ± 0.55"),
    ("d", 200): ("99.28 ± 0.03", "87.90 ± 0.42", "92.60 ± 0.27", "78.99 ± 1.16", "28.88 ± 0.80"),
    ("d", 500): ("99.58 ± 0.06", "91.44 ± 0.49", "94.31 ± 0.07", "83.51 ± 0.78", "35.26 ± 0.23"),
}
NETWORKS = {"s": (SHALLOW, 200), "d": (DEEP, 500)}


def stage(size: str, epochs: int, *printed: str) -> Row:
    """Return a row of the shallow or the deep network after some of its epochs."""
    recipe, total = NETWORKS[size]
    return Row(f"tff-{size}", f"TFF/{size}", recipe, epochs, total_epochs=total, paper=figures(*printed))


def baseline(name: str, epochs: int, *printed: str) -> Row:
    """Return a row of a baseline after some of its 100 epochs."""
    label, recipe = {"fa-f": ("FA/f", FEEDBACK), "pep-t": ("PEP/t", PEPITA), "bp-d": ("BP/d", BACKPROP)}[name]
    return Row(name, label, recipe, epochs, total_epochs=100, paper=figures(*printed))


TABLE_2 = (
    baseline("fa-f", 100, "98.60 ± 0.08", "85.87 ± 0.19", "71.11 ± 0.66", "53.39 ± 0.24", "23.00 ± 0.28"),
    baseline("pep-t", 100, "98.29 ± 0.13", "", "", "56.33 ± 1.35", "27.56 ± 0.60"),
    reported("vff-t", "VFF/t", 60, "98.6"),
    reported("vff-t", "VFF/t", 500, "99.4", "", "", "59"),
    *(stage(size, epochs, *printed) for (size, epochs), printed in STAGES.items()),
    baseline("bp-d", 100, "99.07 ± 0.10", "93.61 ± 0.11", "94.01 ± 0.20", "89.32 ± 0.45", "59.64 ± 0.46"),
)


def claims_of_table2() -> list[Claim]:
    """Return what the paper concludes from Table 2."""
    rows = {row.name: row for row in TABLE_2}

    def better(text: str, name: str, other: str) -> Claim:
        pairs = {data: (rows[name].paper[data], rows[other].paper[data]) for data in FIVE}
        paper = {data: f"{float(a.split()[0]) - float(b.split()[0]):+.2f}" for data, (a, b) in pairs.items()}
        return Claim(text, name, other, paper)

    return [
        Claim(
            f"TFF/s exceeds {EARLY['mnist']:g} % on MNIST and {EARLY['cifar10']:g} % on CIFAR-10 after 10 epochs",
            "tff-s-10",
            EARLY,
            {"mnist": "+0.44", "cifar10": "+0.32"},
        ),
        better("after 100 epochs, the shallow network is better than the deep one", "tff-s-100", "tff-d-100"),
        better("at the end, the deep network is better than the shallow one", "tff-d-500", "tff-s-200"),
    ]


#: The first 10 epochs of every training of Table 2; the paper prints one of them.
MNIST_10 = (
    baseline("fa-f", 10),
    baseline("pep-t", 10),
    stage("s", 10, "97.44 ± 0.49"),
    stage("d", 10),
    baseline("bp-d", 10),
)

TABLE_3 = (
    Row(
        "tff-d",
        "TFF/d, only last layer",
        DEEP,
        500,
        total_epochs=500,
        paper=figures("99.58 ± 0.06", "91.38 ± 0.38", "94.31 ± 0.07", "83.51 ± 0.78"),
    ),
    Row(
        "tff-d",
        "TFF/d, three last layers",
        DEEP,
        500,
        total_epochs=500,
        paper=figures("99.62 ± 0.02", "91.51 ± 0.27", "94.36 ± 0.04", "83.72 ± 0.80"),
        metric="last_three_accuracy",
    ),
)
