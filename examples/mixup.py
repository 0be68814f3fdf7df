"""
Mixup
=====

Training on means of two images and of their labels, for a network with one goodness per class. Targets become
probabilities of the classes, which the cross-entropy accepts.
"""

import matplotlib.pyplot as plt
import torch

import forwardforward as ff

data = ff.data.load("digits")
for augment in (None, ff.data.Mixup(0.2)):
    torch.manual_seed(0)
    recipe = ff.recipes.get("mono-mixup").replace(widths=(300, 300), augment=augment)
    model = recipe.model(data.input_shape, data.num_classes)
    recipe.fit(model, data.train, epochs=20, batch_size=50, progress=False)
    print(f"augment={augment}: validation {ff.evaluate(model, data.validation)}")

# %%
# Mixed digits, with the share of each label.

images, classes = data.train[:8].inputs, data.train[:8].targets
targets = torch.nn.functional.one_hot(classes, data.num_classes).float()
mixed, shares = ff.data.Mixup(1.0).mix(images, targets, torch.Generator().manual_seed(0))
figure, axes = plt.subplots(1, 8, figsize=(10, 1.9), layout="constrained")
for axis, image, share in zip(axes, mixed, shares, strict=True):
    axis.imshow(image[0], cmap="gray_r")
    names = [f"{data.class_names[k]}: {share[k]:.2f}" for k in share.argsort(descending=True)[:2] if share[k] > 0]
    axis.set_title("\n".join(names), fontsize=10)
    axis.axis("off")
plt.show()
