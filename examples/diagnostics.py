"""Reading the diagnostics of a run that fails.

The history of a run contains the loss, the separation of goodness, the gradient norm and other metrics of every layer
and epoch. Two runs differ only in the learning rate. With the larger rate layer 0 still trains; the history shows that
the later layers do not: their losses stay high, and each layer is worse than the layer before.

    python examples/diagnostics.py
"""

import argparse
from pathlib import Path

import torch
from matplotlib.figure import Figure

import forwardforward as ff

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data", default="digits", help="digits, mnist or fashion-mnist")
parser.add_argument("--data-dir", type=Path, help="folder of the data sets")
parser.add_argument("--epochs", type=int, default=15)
parser.add_argument("--out", type=Path, default=Path("runs/figures"), help="output folder of the figure")
args = parser.parse_args()

data = ff.data.load(args.data, args.data_dir)
runs = {"learning rate 0.001": 0.001, "learning rate 0.03": 0.03}

figure = Figure(figsize=(8.5, 3.8), layout="constrained")
axes = figure.subplots(2, 4, sharex=True, sharey="col")
for row, (name, lr) in zip(axes, runs.items(), strict=True):
    torch.manual_seed(0)
    model = ff.FFSequential(
        ff.FFLinear(data.train.inputs[0].numel() + 10, 300),
        ff.FFLinear(300, 300),
        ff.FFLinear(300, 300),
        goodness=ff.goodness.SumOfSquares(),
        loss=ff.losses.Threshold(theta="width"),
        normalization=ff.normalization.RMSNorm(),
        label_encoder=ff.label_encoders.Concatenation(num_classes=10),
    )
    history = ff.fit(
        model,
        data.train,
        validation=data.validation,
        epochs=args.epochs,
        batch_size=50,
        optimizer=ff.LocalOptimizer(torch.optim.Adam, lr=lr),
        progress=False,
    )
    print(name)
    epochs = range(1, len(history) + 1)
    for layer, color in enumerate(["tab:blue", "tab:orange", "black"]):
        style = {"color": color, "label": f"layer {layer}"}
        for axis, key in zip(row, ["loss", "separation", "gradient_norm"], strict=False):
            axis.plot(epochs, history.layer(layer, key), **style)
        errors = [record["validation"]["layer_errors"][layer] for record in history]
        row[3].plot(epochs, errors, **style)
        last = history[-1]["layers"][layer]
        print(
            f"  layer {layer}: loss {last['loss']:.2f}, separation {last['separation']:.1f}, "
            f"gradient norm {last['gradient_norm']:.0f}, validation error {errors[-1]:.1f} %"
        )
    row[0].set_ylabel(name)
for axis, title in zip(axes[0], ["loss", "separation", "gradient norm", "validation error, %"], strict=True):
    axis.set_title(title)
axes[0, 0].set(yscale="log", ylim=(0.1, 1000))
axes[0, 2].set(yscale="log", ylim=(5, 1000))
axes[0, 0].legend(frameon=False)
figure.supxlabel("epoch")
for axis in axes.flat:
    axis.spines[["top", "right"]].set_visible(False)
args.out.mkdir(parents=True, exist_ok=True)
figure.savefig(args.out / "diagnostics.png", dpi=68)
