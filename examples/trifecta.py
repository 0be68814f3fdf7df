"""The Trifecta and its ablation, on a small budget.

With three changes deep Forward-Forward networks learn: a loss without a threshold (SymBa), batch normalization (BN)
and overlapping local updates (OLU), in which a layer is also trained with the objective of the next layer. A recipe is
a paper's table of hyperparameters; this example removes the three changes one by one.

    python examples/trifecta.py
    python examples/trifecta.py --data cifar10 --epochs 100 --device cuda
"""

import argparse
from pathlib import Path

import torch
from matplotlib.figure import Figure

import forwardforward as ff

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data", default="digits", help="digits, cifar10, svhn, mnist or fashion-mnist")
parser.add_argument("--data-dir", type=Path, help="folder of the data sets")
parser.add_argument("--epochs", type=int, default=8)
parser.add_argument("--device", default="cpu")
parser.add_argument("--out", type=Path, default=Path("runs/figures"), help="output folder of the figure")
args = parser.parse_args()

trifecta = ff.recipes.get("trifecta-s").for_dataset(args.data)
without_olu = trifecta.replace(schedule=ff.update_schedules.Joint(), label_encoder=ff.label_encoders.RandomChannel)
without_bn = without_olu.replace(normalization=ff.normalization.LayerNorm())
without_symba = without_bn.replace(loss=ff.losses.Threshold(theta=2.0))
ablation = {
    "threshold loss": without_symba,
    "SymBa": without_bn,
    "SymBa + BN": without_olu,
    "SymBa + BN + OLU\n= Trifecta": trifecta,
}

data = ff.data.load(args.data, args.data_dir)
results = {}
for name, recipe in ablation.items():
    torch.manual_seed(0)
    model = recipe.model(data.input_shape, data.num_classes).to(args.device)
    recipe.fit(model, data.train, epochs=args.epochs, progress=False)
    results[name] = ff.evaluate(model, data.test)
    print(f"{' '.join(name.split())}: test accuracy {results[name].accuracy:.2f} %")

figure = Figure(figsize=(10, 3.8), layout="constrained")
left, right = figure.subplots(1, 2)
styles = {"color": ["lightgray", "tab:gray", "tab:orange", "tab:blue"], "marker": ["s", "D", "^", "o"]}
bars = left.barh(list(results), [result.accuracy for result in results.values()], color=styles["color"])
left.bar_label(bars, fmt="%.1f", padding=3)
left.set(xlabel="test accuracy, %", xlim=(0, 110), xticks=range(0, 101, 20))
left.invert_yaxis()
for result, color, marker in zip(results.values(), *styles.values(), strict=True):
    accuracies = [100 - error for error in result.layer_errors]
    right.plot(range(len(accuracies)), accuracies, color=color, marker=marker)
right.set(xlabel="layer", ylabel="test accuracy of the layer alone, %", ylim=(0, 100))
for axis in (left, right):
    axis.spines[["top", "right"]].set_visible(False)
args.out.mkdir(parents=True, exist_ok=True)
figure.savefig(args.out / "trifecta.png", dpi=80)
