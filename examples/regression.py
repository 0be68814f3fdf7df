"""Regression: real-valued targets, as the goodness of ordered bins.

Every layer predicts the target by itself, and the network by the mean of its layers. The figure compares predictions
with targets; error bars are the spread of the bins' probabilities.

    python examples/regression.py
"""

import argparse
from pathlib import Path

import torch
from matplotlib.figure import Figure

import forwardforward as ff

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--out", type=Path, default=Path("runs/figures"), help="output folder of the figure")
args = parser.parse_args()

data = ff.data.load("diabetes")  # ten features; the progression of the disease after one year
torch.manual_seed(0)
model = ff.FFSequential(
    ff.FFLinear(10, 100),
    ff.FFLinear(100, 100),
    goodness=ff.goodness.LearnedProjection(30),
    loss=ff.losses.OrdinalCrossEntropy(),
    normalization=ff.normalization.RMSNorm(),
    preprocessing=ff.preprocessing.Preprocessing(standardize=True),
)
ff.fit(model, data.train, validation=data.validation, epochs=args.epochs, batch_size=50, progress=False)
print(ff.evaluate(model, data.test))

predicted, bins = model.predict(data.test), model.predict_proba(data.test)
centers = model.target_scaling.inverse(torch.linspace(-3, 3, 30))
spread = (bins @ centers.square() - (bins @ centers).square()).clamp(min=0).sqrt()
figure = Figure(figsize=(5, 4.5), layout="constrained")
axis = figure.subplots()
axis.errorbar(data.test.targets, predicted, spread, fmt="o", markersize=4, elinewidth=0.5, color="tab:blue")
ends = [float(data.test.targets.min()), float(data.test.targets.max())]
axis.plot(ends, ends, color="black", linewidth=1)
axis.set(xlabel="target", ylabel="prediction")
axis.spines[["top", "right"]].set_visible(False)
args.out.mkdir(parents=True, exist_ok=True)
figure.savefig(args.out / "regression.png", dpi=80)
