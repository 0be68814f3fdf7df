"""
Saving, loading and resuming
============================

A run that writes checkpoints can be interrupted at any time. On the CPU, with the same number of threads, the resumed
run ends with exactly the weights of an uninterrupted run. Checkpoints load with ``weights_only=True``, and their
entry ``"model"`` is the model's ``state_dict``.
"""

import tempfile

import matplotlib.pyplot as plt
import torch

import forwardforward as ff

data = ff.data.load("digits")
recipe = ff.recipes.get("hinton").for_dataset("digits").replace(widths=(200, 200))


def train(**settings):
    """Return a trained model and its history."""
    torch.manual_seed(0)
    model = recipe.model(data.input_shape, data.num_classes)
    options = {"validation": data.validation, "epochs": 12, "progress": False, **settings}
    return model, recipe.fit(model, data.train, **options)


class Interrupt(ff.training.Callback):
    """Interrupts training when half of the epochs are complete."""

    def on_step_end(self, state, result):
        if len(state.history) == state.epochs // 2:
            raise KeyboardInterrupt


uninterrupted, full_history = train()
checkpoint = f"{tempfile.mkdtemp()}/digits.pt"
try:
    train(checkpoint=checkpoint, callbacks=[Interrupt()])
except KeyboardInterrupt:
    print(f"interrupted after {torch.load(checkpoint, weights_only=True)['epoch']} of 12 epochs")
resumed, resumed_history = train(checkpoint=checkpoint, resume=True)
loaded = recipe.model(data.input_shape, data.num_classes)
ff.training.load_weights(checkpoint, loaded)

weights = uninterrupted.state_dict()
is_equal = all(torch.equal(weights[name], value) for name, value in resumed.state_dict().items())
print(f"resumed and uninterrupted run have equal weights: {is_equal}")
for name, model in {"uninterrupted": uninterrupted, "loaded": loaded}.items():
    print(f"{name}: test error {ff.evaluate(model, data.test).error:.2f} %")

# %%
# The validation errors of the interrupted and resumed run, above those of the uninterrupted run.

epochs, cut = range(1, len(full_history) + 1), len(full_history) // 2
errors = resumed_history.validation("error")
figure, axis = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
axis.plot(epochs, full_history.validation("error"), color="lightgray", linewidth=7, label="uninterrupted")
axis.plot(epochs[:cut], errors[:cut], color="tab:blue", marker="o", label="interrupted")
axis.plot(epochs[cut:], errors[cut:], color="tab:orange", marker="s", label="resumed")
axis.axvline(cut + 0.5, color="black", linestyle=":", linewidth=1, label="interruption")
axis.set(xlabel="epoch", ylabel="validation error, %", ylim=(0, None))
axis.legend(frameon=False)
axis.spines[["top", "right"]].set_visible(False)
plt.show()
