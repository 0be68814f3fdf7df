"""
The Trifecta and its ablation
=============================

With three changes deep Forward-Forward networks learn: a loss without a threshold (SymBa), batch normalization (BN)
and overlapping local updates (OLU), in which a layer is also trained with the objective of the next layer. A recipe
is a paper's table of hyperparameters; this example removes the three changes one by one, on a small budget.
"""

import matplotlib.pyplot as plt
import torch

import forwardforward as ff

data = ff.data.load("digits")  # the paper's data set is "cifar10", which needs a GPU and 100 epochs
trifecta = ff.recipes.get("trifecta-s").for_dataset("digits")
without_olu = trifecta.replace(schedule=ff.update_schedules.Joint(), label_encoder=ff.label_encoders.RandomChannel)
without_bn = without_olu.replace(normalization=ff.normalization.LayerNorm())
without_symba = without_bn.replace(loss=ff.losses.Threshold(theta=2.0))
ablation = {
    "threshold loss": without_symba,
    "SymBa": without_bn,
    "SymBa + BN": without_olu,
    "SymBa + BN + OLU\n= Trifecta": trifecta,
}

results = {}
for name, recipe in ablation.items():
    torch.manual_seed(0)
    model = recipe.model(data.input_shape, data.num_classes)
    recipe.fit(model, data.train, epochs=8, progress=False)
    results[name] = ff.evaluate(model, data.test)
    print(f"{' '.join(name.split())}: test accuracy {results[name].accuracy:.2f} %")

# %%
# The test accuracy of each variant, and of each of its layers alone.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
colors, markers = ["black", "gray", "tab:orange", "tab:blue"], ["s", "D", "^", "o"]
bars = left.barh(list(results), [result.accuracy for result in results.values()], color=colors)
left.bar_label(bars, fmt="%.1f", padding=3)
left.set(xlabel="test accuracy, %", xlim=(0, 110), xticks=range(0, 101, 20), title="network")
left.invert_yaxis()
for (name, result), color, marker in zip(results.items(), colors, markers, strict=True):
    accuracies = [100 - error for error in result.layer_errors]
    right.plot(range(len(accuracies)), accuracies, color=color, marker=marker, label=name)
right.set(xlabel="layer", ylabel="test accuracy, %", ylim=(0, 100), title="each layer alone")
right.legend(frameon=False, loc="lower right")
for axis in (left, right):
    axis.spines[["top", "right"]].set_visible(False)
plt.show()
