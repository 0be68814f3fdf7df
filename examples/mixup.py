"""
Mixup and CutMix
================

Training on mixtures of two images and of their labels, for a network with one goodness per class. Mixup takes a
weighted mean of two images, CutMix replaces a rectangle of an image by that of another. Targets become probabilities
of the classes, which the cross-entropy accepts. On these few small digits neither lowers the validation error.
"""

import matplotlib.pyplot as plt
import torch

import forwardforward as ff

data = ff.data.load("digits")
for augment in (None, ff.data.Mixup(0.2), ff.data.CutMix(0.2)):
    torch.manual_seed(0)
    recipe = ff.recipes.get("mono-mixup").replace(widths=(300, 300), augment=augment)
    model = recipe.model(data.input_shape, data.num_classes)
    recipe.fit(model, data.train, epochs=20, batch_size=50, progress=False)
    print(f"augment={augment}: validation {ff.evaluate(model, data.validation)}")

# %%
# Mixed digits, with the share of each label.

images, classes = data.train[:8].inputs, data.train[:8].targets
targets = torch.nn.functional.one_hot(classes, data.num_classes).float()
figure, axes = plt.subplots(2, 8, figsize=(10, 3.8), layout="constrained")
for row, augment in zip(axes, [ff.data.Mixup(1.0), ff.data.CutMix(1.0)], strict=True):
    mixed, shares = augment.mix(images, targets, torch.Generator().manual_seed(0))
    for axis, image, share in zip(row, mixed, shares, strict=True):
        axis.imshow(image[0], cmap="gray_r")
        names = [f"{data.class_names[k]}: {share[k]:.2f}" for k in share.argsort(descending=True)[:2] if share[k] > 0]
        axis.set_title("\n".join(names), fontsize=10)
        axis.set(xticks=[], yticks=[])
    row[0].set_ylabel(type(augment).__name__)
plt.show()
