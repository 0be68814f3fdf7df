"""Saving, loading and resuming.

A run that writes checkpoints may be killed at any moment. Resumed, it ends with the weights of a run that was left
alone, bit for bit on the CPU with one number of threads. A checkpoint loads with weights_only=True, and under "model"
it holds a plain state_dict.

    python examples/saving.py
"""

import argparse
import tempfile
from pathlib import Path

import torch
from matplotlib.figure import Figure

import forwardforward as ff

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data", default="digits", help="digits, mnist or fashion-mnist")
parser.add_argument("--data-dir", type=Path, help="folder of the data sets")
parser.add_argument("--epochs", type=int, default=12)
parser.add_argument("--out", type=Path, default=Path("runs/figures"), help="folder of the picture")
args = parser.parse_args()

data = ff.data.load(args.data, args.data_dir)
recipe = ff.recipes.get("hinton").for_dataset("digits").replace(widths=(200, 200))


class PowerCut(ff.training.Callback):
    """Ends the program in the middle of the run."""

    def on_epoch_end(self, state):
        if len(state.history) == (state.epochs + 1) // 2:
            raise KeyboardInterrupt


def train(**settings):
    """Return a trained model and its history."""
    torch.manual_seed(0)
    model = recipe.model(data.input_shape, data.num_classes)
    settings |= {"validation": data.validation, "batch_size": recipe.batch_size, "optimizer": recipe.optimizer()}
    return model, ff.fit(model, data.train, epochs=args.epochs, progress=False, **settings)


alone, whole = train()
with tempfile.TemporaryDirectory() as folder:
    checkpoint = Path(folder) / "digits.pt"
    try:
        train(checkpoint=checkpoint, callbacks=[PowerCut()])
    except KeyboardInterrupt:
        kept = torch.load(checkpoint, weights_only=True)
        print(f"cut off; the checkpoint holds {kept['epoch']} of {kept['epochs']} epochs")
    resumed, history = train(checkpoint=checkpoint, resume=True)
    loaded = recipe.model(data.input_shape, data.num_classes)
    ff.training.load_weights(checkpoint, loaded)

same = all(torch.equal(alone.state_dict()[name], value) for name, value in resumed.state_dict().items())
print(f"resumed run and run left alone have the same weights: {same}")
print(f"test error {ff.evaluate(alone, data.test).error:.2f} %, loaded {ff.evaluate(loaded, data.test).error:.2f} %")

figure = Figure(figsize=(6.5, 3.6), layout="constrained")
axis = figure.subplots()
errors = [one.validation("error") for one in (whole, history)]
epochs = range(1, len(history) + 1)
cut = kept["epoch"]
axis.plot(epochs, errors[0], color="lightgray", linewidth=7, label="left alone")
axis.plot(epochs[:cut], errors[1][:cut], color="tab:blue", marker="o", label="cut off")
axis.plot(epochs[cut:], errors[1][cut:], color="tab:orange", marker="s", label="resumed")
axis.axvline(cut + 0.5, color="black", linestyle=":", linewidth=1)
axis.set(xlabel="epoch", ylabel="validation error, %", ylim=(0, None))
axis.legend(frameon=False)
axis.spines[["top", "right"]].set_visible(False)
args.out.mkdir(parents=True, exist_ok=True)
figure.savefig(args.out / "saving.png", dpi=80)
