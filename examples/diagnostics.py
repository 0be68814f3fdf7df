"""Reading the diagnostics of a run that goes wrong.

fit keeps for every layer and epoch the loss, the separation of goodness, the gradient's norm and more. Here a network is
trained as it should be, and once without normalization between its layers: each layer then reads off the length of its
input what the first has found, and the history shows it long before the test error does.

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
parser.add_argument("--out", type=Path, default=Path("runs/figures"), help="folder of the picture")
args = parser.parse_args()

data = ff.data.load(args.data, args.data_dir)
runs = {"with normalization": ff.normalization.RMSNorm(), "without": None}
histories = {}
for name, normalization in runs.items():
    torch.manual_seed(0)
    model = ff.FFSequential(
        ff.FFLinear(data.train.inputs[0].numel() + 10, 300, normalization=ff.normalization.RMSNorm()),
        ff.FFLinear(300, 300),
        ff.FFLinear(300, 300),
        goodness=ff.goodness.SumOfSquares(),
        loss=ff.losses.Threshold(theta="width"),
        normalization=normalization,
        labels=ff.labels.Concatenation(num_classes=10),
    )
    histories[name] = ff.fit(
        model, data.train, validation=data.validation, epochs=args.epochs, batch_size=50, progress=False
    )
    print(name)
    for layer, error in enumerate(ff.evaluate(model, data.test).layer_errors):
        last = histories[name][-1]["layers"][layer]
        print(
            f"  layer {layer + 1}: loss {last['loss']:.3f}, separation {last['separation']:.0f}, "
            f"gradient norm {last['gradient_norm']:.2f}, largest weight {last['largest_weight']:.2f}, "
            f"test error {error:.1f} %"
        )
