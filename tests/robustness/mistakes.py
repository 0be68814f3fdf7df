"""Sixty deliberate mistakes in the core modules, chosen from the sources alone, before reading any test.

Each changes the behavior. ``python -m tests.robustness.mutations`` makes them one by one and runs the tests, which
should fail.
"""

from __future__ import annotations

from typing import NamedTuple


class Mistake(NamedTuple):
    """A text of a source file under ``src/forwardforward``, which occurs there once, and a wrong text in its place."""

    file: str
    old: str
    new: str
    description: str


MISTAKES = (
    # The training step
    Mistake(
        "step/layerwise.py",
        "        self._optimizer.zero_grad(*self._stack.names[layer])\n",
        "",
        "gradients of a layer add up from step to step",
    ),
    Mistake(
        "step/layerwise.py",
        "with eval_mode(self._layers[layer]), torch.no_grad(), self._precision():",
        "with torch.no_grad(), self._precision():",
        "layers that are not updated run in training mode",
    ),
    Mistake(
        "step/layerwise.py",
        "gradient, leaf.grad = leaf.grad, None",
        "gradient = leaf.grad",
        "the gradient at a layer's input adds up over overlapping groups",
    ),
    Mistake(
        "step/layerwise.py",
        "self._update([[layer] for layer in finished] if overlap else [finished])",
        "self._update([finished])",
        "overlapping groups share an optimizer state by group",
    ),
    Mistake(
        "step/function.py",
        "return index in self.updated and (not of_objective or index in self.with_loss)",
        "return index in self.updated",
        "in the whole step, objectives that do not count get a gradient of zero",
    ),
    Mistake(
        "step/function.py",
        "codebook = of_codes if codebook is None else codebook + of_codes",
        "codebook = of_codes",
        "in the whole step, label codes learn from the last group only",
    ),
    Mistake(
        "_utils/shards.py",
        "torch.linalg.vector_norm(torch.stack([whole(torch.linalg.vector_norm(x)) for x in tensors]))",
        "torch.stack([whole(torch.linalg.vector_norm(x)) for x in tensors]).sum()",
        "the gradient norm is the sum of the parameters' norms",
    ),
    # Objectives
    Mistake(
        "objectives/base.py",
        "main = next((term for term in terms if term.accuracy is not None), terms[0])",
        "main = terms[0]",
        "a sum of objectives takes accuracy and goodness from its first term, even if it has none",
    ),
    Mistake(
        "objectives/pairs.py",
        "features = spec.features if isinstance(self.goodness, GoodnessByPosition) else spec.size",
        "features = spec.size",
        "the scale of a goodness by position counts all positions",
    ),
    Mistake(
        "targets/classes.py",
        "others = (goodness.sum(1) - true) / (goodness.shape[1] - 1)",
        "others = goodness.mean(1)",
        "the goodness of the other classes includes the true class",
    ),
    Mistake(
        "objectives/batch.py",
        "return LocalLoss(self.weight * self.loss(self.embedding(activations), batch.targets))",
        "return LocalLoss(self.loss(self.embedding(activations), batch.targets))",
        "the weight of a batch objective has no effect",
    ),
    # Losses
    Mistake(
        "losses/pair.py",
        "_softplus((theta - positive) / t).mean() + _softplus((negative - theta) / t).mean()",
        "_softplus((theta - positive) / t).mean() + _softplus(negative - theta).mean()",
        "the temperature applies to positive samples only",
    ),
    Mistake(
        "losses/pair.py",
        "(negative <= self._negative).float()",
        "(negative <= self._positive).float()",
        "negative samples are compared with the positive threshold",
    ),
    Mistake(
        "losses/contrastive.py",
        "return per_sample.sum() / (partners > 0).sum().clamp(min=1)",
        "return per_sample.mean()",
        "samples without a partner count in the mean",
    ),
    Mistake(
        "losses/thresholds.py",
        "return self.k * scale * (layer + 1)",
        "return self.k * scale * layer",
        "pyramidal thresholds begin with 0",
    ),
    # Goodness
    Mistake(
        "goodness/scalar.py",
        "factor = (2 * grads[0]).to(activations.dtype)",
        "factor = grads[0].to(activations.dtype)",
        "the gradient of the squared norm lacks its factor 2",
    ),
    Mistake(
        "goodness/per_class.py",
        "return squared_norm(activations, 2) / activations[0, 0].numel()",
        "return squared_norm(activations, 2) / activations[0].numel()",
        "the mean of squares over space is divided by the channels too",
    ),
    # Normalization
    Mistake(
        "normalization/per_sample.py",
        "return x.features * x.images[0, 0].numel()",
        "return x.images.shape[1] * x.images[0, 0].numel()",
        "the mean of a labeled row does not count the label's features",
    ),
    Mistake(
        "normalization/per_sample.py",
        "return Affine(row_scale=factor, row_shift=-mean * factor)",
        "return Affine(row_scale=factor, row_shift=-mean)",
        "the shift of a layer-normalized labeled input is not scaled",
    ),
    Mistake(
        "normalization/batch_norm.py",
        'self._update(mean, var * count / (count - 1) if self.statistics == "batch" else var + self._drift(mean))',
        "self._update(mean, var)",
        "the running variance of labeled inputs is the biased one",
    ),
    Mistake(
        "normalization/peer_normalization.py",
        "self.means.add_((batch_means - self.means) * (1 - self.decay))",
        "self.means.add_((batch_means - self.means) * self.decay)",
        "the running means forget at once",
    ),
    Mistake(
        "layers/layer.py",
        "positives = len(values.output) // 2 if batch.has_negatives else len(values.output)",
        "positives = len(values.output)",
        "peer normalization includes the negative samples",
    ),
    # Samplers of negatives
    Mistake(
        "negatives.py",
        "step = torch.randint(1, num_classes, labels.shape, generator=generator, device=labels.device)",
        "step = torch.randint(0, num_classes, labels.shape, generator=generator, device=labels.device)",
        "a random wrong label may be the true one",
    ),
    Mistake(
        "negatives.py",
        ').scatter(1, true, float("-inf"))\n    return keys',
        ")\n    return keys",
        "the true label is drawn if all others have probability zero",
    ),
    Mistake(
        "negatives.py",
        "spread = scores.std(1, keepdim=True).clamp(min=1e-12)",
        "spread = scores.std().clamp(min=1e-12)",
        "goodness is standardized over the batch instead of each image's labels",
    ),
    Mistake(
        "negatives.py",
        "    other = torch.empty_like(order)\n    other[order] = order.roll(1)\n    return other\n",
        "    return order\n",
        "an image may be combined with itself",
    ),
    Mistake(
        "negatives.py",
        "        blur /= blur.sum(1, keepdim=True)\n",
        "",
        "masks are darker at the border",
    ),
    # Update schedules and learning-rate schedules
    Mistake(
        "update_schedules.py",
        "layer = epoch * depth // epochs",
        "layer = min(epoch // (epochs // depth), depth - 1)",
        "the last layer gets all remaining epochs",
    ),
    Mistake(
        "update_schedules.py",
        'phase = (epoch if self.alternate == "epoch" else epoch + step) % size',
        'phase = (epoch if self.alternate == "epoch" else step) % size',
        "every epoch begins with the same phase",
    ),
    Mistake(
        "update_schedules.py",
        "if start <= progress < end]",
        "if start <= progress <= end]",
        "a window includes its end",
    ),
    Mistake(
        "lr_schedules.py",
        "phase = (progress - self.warmup) / (1 - self.warmup)",
        "phase = progress",
        "the cosine begins before the end of the warmup",
    ),
    Mistake(
        "lr_schedules.py",
        "dict(sorted(self.factors.items()))",
        "dict(self.factors)",
        "steps out of order are not sorted",
    ),
    # Optimizers
    Mistake(
        "optimizers/smoothed_sgd.py",
        "if p.grad is not None and p.dim() > 1:",
        "if p.grad is not None:",
        "the weight cost acts on biases",
    ),
    Mistake(
        "optimizers/local.py",
        'group["lr"] = group["initial_lr"] * factor',
        'group["lr"] = group["lr"] * factor',
        "learning-rate factors multiply from epoch to epoch",
    ),
    Mistake(
        "optimizers/local.py",
        "            self._set_rates(self._optimizers[names])\n",
        "",
        "an optimizer that is made later has the full learning rate",
    ),
    Mistake(
        "optimizers/local.py",
        "rebuilt.state[successor] = _converted(state, successor, fused)",
        "pass",
        "replacing one parameter resets the state of the others",
    ),
    # Heads, classifiers, scoring
    Mistake(
        "heads.py",
        '        optimizer.zero_grad("head")\n',
        "",
        "gradients of the head add up from step to step",
    ),
    Mistake(
        "classifiers/chosen.py",
        "for run in sorted(runs)}",
        "for run in sorted(runs, reverse=True)}",
        "of equally good runs of layers, the longest is chosen",
    ),
    Mistake(
        "classifiers/sums.py",
        "standardize(self._selected(goodness)).softmax(2).mean(1).log()",
        "standardize(self._selected(goodness)).log_softmax(2).mean(1)",
        "the ensemble averages log-probabilities",
    ),
    # Label encoders
    Mistake(
        "label_encoders/encoder.py",
        "return self._labeled(images, self.codebook.mean(0, keepdim=True), only)",
        "return self._labeled(images, torch.zeros_like(self.codebook[:1]), only)",
        "the neutral label is no label",
    ),
    Mistake(
        "label_encoders/encoder.py",
        "torch.eye(num_classes) * scale if codebook is None",
        "torch.eye(num_classes) if codebook is None",
        "the scale of one-hot labels has no effect",
    ),
    # Data
    Mistake(
        "data/tensors.py",
        "if rest == 1 and stops and not drop_last:",
        "if rest == 1 and stops and drop_last:",
        "a last batch of one sample remains",
    ),
    Mistake(
        "data/batching.py",
        "loader_generator.manual_seed(generator.initial_seed())",
        "pass",
        "the order of a loader depends on earlier epochs",
    ),
    Mistake(
        "data/splits.py",
        "file_order=torch.cat(indices[:2]).argsort(),",
        "file_order=torch.cat(indices[:2]),",
        "training and validation samples are joined in a wrong order",
    ),
    Mistake(
        "data/augmentation.py",
        "shifts = (_uniform(images, 2, generator) * (2 * self.padding + 1)).long()",
        "shifts = (_uniform(images, 2, generator) * (2 * self.padding)).long()",
        "a crop never reaches the last position",
    ),
    Mistake(
        "data/sources/_official.py",
        "return Splits(data_set, train[:border], train[border:], test,",
        "return Splits(data_set, train, train[border:], test,",
        "validation images are training images too",
    ),
    Mistake(
        "data/sources/imdb.py",
        'if not is_plain or parts[:1] != (FOLDER,) or ".." in parts:',
        "if False:",
        "the filter of the archive is off",
    ),
    Mistake(
        "preprocessing.py",
        "variance.sqrt().masked_fill(lowest == highest, 1.0)",
        "variance.sqrt().clamp(min=1e-12)",
        "constant channels are divided by a tiny number",
    ),
    # Training and evaluation
    Mistake(
        "training/epoch.py",
        'order = derive_generator(self.seed, self.epoch, "order")',
        'order = derive_generator(self.seed, 0, "order")',
        "the same sample order in every epoch",
    ),
    Mistake(
        "training/epoch.py",
        'self.negatives = derive_generator(seed, epoch, "negatives", device)',
        'self.negatives = derive_generator(seed, 0, "negatives", device)',
        "the same negatives in every epoch",
    ),
    Mistake(
        "training/epoch.py",
        'seed_global_generators(self.seed, self.epoch, "torch")',
        'seed_global_generators(self.seed, 0, "torch")',
        "the same dropout in every epoch",
    ),
    Mistake(
        "training/epoch.py",
        'self.augmentation = derive_generator(seed, epoch, "augmentation", device)',
        'self.augmentation = derive_generator(seed, 0, "augmentation", device)',
        "the same augmentation in every epoch",
    ),
    Mistake(
        "training/runner.py",
        "        state.model.train()\n",
        "",
        "training runs in evaluation mode after the first validation",
    ),
    Mistake(
        "training/randomness.py",
        'f"{seed}/{epoch}/{purpose}"',
        'f"{seed}/{epoch}"',
        "order, negatives and augmentation draw the same numbers",
    ),
    Mistake(
        "training/meters.py",
        "total, count = totals.get(key, (0.0, 0))",
        "total, count = 0.0, 0",
        "means of a long epoch are those of its last steps",
    ),
    Mistake(
        "training/evaluation.py",
        "total = sum(count * float(value) for count, value in parts if value is not None)\n"
        "        return round(100 * total / sum(count for count, _ in parts), 4)",
        "total = sum(float(value) for _, value in parts if value is not None)\n"
        "        return round(100 * total / len(parts), 4)",
        "a small last batch weighs as much as the others",
    ),
    # Checkpoints
    Mistake(
        "training/checkpoints.py",
        "torch.load(file, map_location=device, weights_only=True)",
        "torch.load(file, map_location=device, weights_only=False)",
        "weights_only=False: a checkpoint may run code",
    ),
    Mistake(
        "training/checkpoints.py",
        "damaged = archive.testzip()",
        "damaged = None",
        "checksums are not compared",
    ),
    Mistake(
        "training/checkpoints.py",
        'differences += [f"unexpected {key}" for key in saved if key not in current]',
        "differences += []",
        "weights that the model does not have are not reported",
    ),
    Mistake(
        "_utils/files.py",
        "            os.fsync(descriptor)\n            if sys",
        "            if sys",
        "a file replaces another before it is on the disk",
    ),
)
