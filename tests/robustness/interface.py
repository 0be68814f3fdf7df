"""Bad arguments of the Python interface: every public constructor, function and method, from its signature."""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import math
import numbers
import os
import random
import re
import traceback
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import forwardforward as ff
from forwardforward.recipes import architectures
from tests.robustness import values
from tests.robustness.values import POOLS, evaluate

#: A valid argument for each name of a parameter, as an expression; a call begins with those of the required ones.
VALID = {
    "a": "data()", "activation": "nn.ReLU()", "activations": "torch.rand(12, 6)", "arguments": "None",
    "augmentations": "ff.data.RandomFlip()",
    "b": "data()", "batch": "(images(), labels())", "batch_size": "4", "block": "nn.Linear(6, 5)",
    "codebook": "torch.eye(3)",
    "columns": "torch.arange(3)", "condition": "lambda history: False", "config": "config()",
    "content": "{'model': {}}",
    "corpus": "corpus()", "current": "{'a': 1}", "data": "data()", "degrees": "10.0", "depth": "2", "device": "'cpu'",
    "dimensions": "8", "distance": "1", "documents": "documents()", "embeddings": "torch.rand(12, 8)", "epoch": "0",
    "epochs": "2", "error": "1.0", "evaluation": "evaluation()", "factors": "{0.5: 0.1}", "factory": "torch.optim.Adam",
    "features": "6", "file_order": "None", "files": "[]", "first": "1.0", "folder": "'run'", "function": "len",
    "gradients": "{}", "generator": "torch.Generator()", "goodness": "torch.rand(12, 3)",
    "groups": "[range(1), range(1, 2)]",
    "head_error": "None", "history": "history()", "ids": "np.zeros(2, np.int32)", "images": "images()",
    "in_channels": "1",
    "in_features": "6", "index": "0", "input_shape": "(6,)", "inputs": "images()", "k": "0.5", "key": "'loss'",
    "kernel_size": "3", "label_encoder": "ff.label_encoders.Concatenation(3)", "labels": "labels()",
    "largest_goodness": "None",
    "last": "0.1", "layer": "0", "layer_accuracies": "None", "layer_errors": "None", "layers": "ff.FFLinear(6, 5)",
    "lexicon": "ff.data.text.Lexicon(['a'])", "like": "torch.rand(1)", "loss": "ff.losses.CrossEntropy()",
    "maps": "torch.rand(3, 6, 6)",
    "matrix": "np.ones((1, 3), np.float32)", "model": "pair_model()", "module": "nn.Linear(6, 5)", "name": "'digits'",
    "names": "[('0',), ('1',)]", "negative": "torch.rand(12)", "num_classes": "3", "num_embeddings": "20",
    "num_groups": "2",
    "objectives": "ff.objectives.ClassObjective(ff.goodness.ClassGroups(3), ff.losses.CrossEntropy())",
    "offsets": "np.array([0, 2])", "optimizer": "adam()", "out_channels": "6", "out_features": "5", "p": "2.0",
    "padding": "1",
    "params": "[nn.Parameter(torch.ones(2))]", "part": "'train'", "path": "'file'", "patience": "2",
    "plugin": "ff.losses.Threshold()",
    "positive": "torch.rand(12)", "progress": "0.5", "recipe": "'symba'",
    "representation": "ff.data.text.WordSequence(10, 5)",
    "rows": "{0: torch.rand(12, 5)}", "samples": "12", "saved": "{'a': 1}", "scores": "torch.rand(12, 3)", "seed": "0",
    "sequences": "torch.rand(4, 3, 6)", "shape": "(6,)", "shapes": "[(5,), (4,)]", "size": "6", "sizes": "[6, 6]",
    "source": "'a paper'", "spec": "ff.specs.LayerSpec(0, (6,))", "stack": "stack()", "state": "text_encoder().state()",
    "step": "0", "summary": "'a network'", "superclasses": "[0, 0, 1]", "table": "{}", "targets": "labels()",
    "tensors": "{}",
    "test": "data()", "text": "'A film.'", "texts": "['A film.']", "theta_negative": "0.5", "theta_positive": "1.0",
    "train": "data()",
    "validation": "data()", "vectors": "vectors()", "weight": "1.0", "widths": "(6, 5)", "windows": "[(0, 1)]",
    "words": "['a']", "views": "ff.views.Mirror()", "transforms": "{}", "limit": "8", "length": "2",
    "objective": "ff.objectives.ClassObjective(ff.goodness.ClassGroups(3), ff.losses.CrossEntropy())",
    "pool": "nn.Flatten()", "logits": "torch.rand(12, 3)",
    "x": "images()", "scale": "1.0", "count": "2", "height": "6", "width": "6", "record": "{}",
    "start": "torch.rand(4, 3, 6, 6)",
    "earlier": "torch.rand(4, 3, 6, 6)", "pre_activations": "torch.rand(12, 6)", "bytes": "b''", "text_encoder": "None",
    "class_names": "('a', 'b', 'c')", "result": "None", "every": "1", "probes": "None", "steps": "2",
}  # fmt: skip

#: Valid arguments of single callables that differ from those above.
SPECIAL: dict[str, dict[str, str]] = {
    "FFLayer": {"block": "nn.Linear(6, 6)"}, "FFLinear": {"out_features": "6"},
    "FFSequential": {"layers": "ff.FFLinear(6, 6)", "goodness": "ff.goodness.ClassGroups(3)",
                     "loss": "ff.losses.CrossEntropy()"},
    "FFSequential.append": {"layer": "nn.LazyLinear(6)"}, "FFSequential.local_losses": {},
    "LocalOptimizer.step": {"names": "'0'"}, "LocalOptimizer.zero_grad": {"names": "'0'"},
    "Augmentation.__call__": {"images": "torch.rand(4, 1, 6, 6)"},
    "Compose.__call__": {"images": "torch.rand(4, 1, 6, 6)"},
    "Cutout.__call__": {"images": "torch.rand(4, 1, 6, 6)"},
    "RandomCrop.__call__": {"images": "torch.rand(4, 1, 6, 6)"},
    "RandomFlip.__call__": {"images": "torch.rand(4, 1, 6, 6)"},
    "RandomRotation.__call__": {"images": "torch.rand(4, 1, 6, 6)"},
    "Kornia.__call__": {"images": "torch.rand(4, 1, 6, 6)"},
    **{f"{name}.mix": {"images": "torch.rand(4, 1, 6, 6)", "targets": "torch.eye(4)"}
       for name in ("Compose", "Cutout", "Kornia", "RandomCrop", "RandomFlip", "RandomRotation", "Mixup", "CutMix")},
    "mean_over_views": {"images": "torch.rand(4, 1, 6, 6)", "function": "torch.flatten"},
    "PatchWhitening.fit": {"inputs": "maps()"}, "PatchWhitening.output_shape": {"input_shape": "(1, 6, 6)"},
    "LocalVGG.__call__": {"input_shape": "(1, 32, 32)", "widths": "(8, 8)"},
    "Mixup.__call__": {"images": "torch.rand(4, 1, 6, 6)"}, "CutMix.__call__": {"images": "torch.rand(4, 1, 6, 6)"},
    "RealValues": {"low": "-3.0", "high": "3.0"},
    "LinearHead.forward": {"features": "torch.rand(12, 4)"},
    "LinearHead.step": {"features": "torch.rand(12, 4)", "optimizer": "adam().attach(head_model())"},
    "HybridMask.__call__": {"images": "maps()", "label_encoder": "None"},
    "SelfContrast.__call__": {"label_encoder": "None"},
    "BatchObjective.forward": {"batch": "ff.Batch(images(), labels())"},
    "ClassObjective.forward": {"batch": "ff.Batch(images(), labels())"},
    "PairObjective.forward": {"batch": "batch()", "activations": "torch.rand(24, 6)"},
    "SumObjective.forward": {"batch": "ff.Batch(images(), labels())"},
    "FFLayer.local_loss": {"batch": "ff.Batch(images(), labels())"},
    "FFLinear.local_loss": {"batch": "ff.Batch(images(), labels())"},
    "ClassObjective.check_goodness": {"goodness": "torch.rand(1, 3)"},
    "PairObjective.check_goodness": {"goodness": "torch.rand(1)"},
    "SumObjective.check_goodness": {"goodness": "torch.rand(1, 3)"},
    "setup_plugin": {"plugin": "ff.normalization.BatchNorm()"},
    "Recipe": {"name": "'mine'", "goodness": "ff.goodness.ClassGroups", "loss": "ff.losses.CrossEntropy()",
               "widths": "(6, 6)"},
    "Run.begin": {"resume": "True"}, "Staggered": {"windows": "[(0, 1), (0, 1), (0, 0.5)]"},
    "DeeperForward.__call__": {"input_shape": "(3, 32, 32)", "widths": "(8, 16, 32)", "num_classes": "4"},
    "Staggered.__call__": {"depth": "3"}, "Stack.updates": {"groups": "ff.step.check_groups([range(1)], 1)"},
    "Batch": {"inputs": "torch.rand(24, 6)"},
    "Lp": {"p": "2.0"}, "RandomFlip": {"p": "0.5"}, "Negated": {"goodness": "ff.goodness.SumOfSquares()"},
    "WithoutLabel": {"goodness": "ff.goodness.SumOfSquares()"},
    "ClassObjective": {"goodness": "ff.goodness.ClassGroups(3)"},
    "PairObjective": {"goodness": "ff.goodness.SumOfSquares()", "loss": "ff.losses.SymBa()"},
    "BatchObjective": {"loss": "ff.losses.SupervisedContrastive()"},
    "ContrastiveObjective": {"goodness": "ff.goodness.ClassGroups"},
    "LabelChannel": {"maps": "torch.rand(3, 6, 6)"}, "LocallyConnected2d": {"kernel_size": "3"},
    "MaxPool2d": {"size": "2"}, "Cutout": {"size": "2"}, "WordVectors": {"words": "('a',)"},
    "LabeledInput": {"images": "torch.rand(1, 4, 3)", "codebook": "torch.eye(2)",
                     "index": "torch.tensor([[0, 1, 1, 0]])",
                     "columns": "torch.arange(2)", "features": "5"},
    "Stack": {"layers": "pair_model().stack"}, "Splits": {"name": "'mine'"},
    "RunConfig": {"data": "'digits'", "recipe": "'symba'"},
    "WholeStep.run": {"batch": "batch()", "groups": "[range(1), range(1, 2)]"},
    "WholeStep.gradients": {"batch": "batch()"},
    "LayerwiseStep": {"batch": "batch()"}, "Ramp": {"first": "1.0"},
    "GrowNetwork": {"layer": "lambda index: ff.FFLinear(4, 4)"},
    "LayerSpec": {"index": "0", "shape": "(6,)"}, "TextEncoder": {"words": "['a', 'film']"}, "PerClassGoodness": {},
    "Evaluation": {"error": "1.0"}, "Residual.forward": {"x": "torch.rand(4, 3, 6, 6)"},
    "FFEmbedding": {"features": "6"},
    "SkipConnection.forward": {"x": "torch.rand(4, 3, 6, 6)"},
    "SpatialPool.forward": {"maps": "torch.rand(4, 3, 6, 6)"},
    "MaxPool2d.forward": {"maps": "torch.rand(4, 3, 6, 6)"}, "get": {"name": "'symba'"},
    "probe": {"model": "class_model()"},
    "load": {"name": "'digits'"}, "read_vectors": {"path": "vector_file()"},
    "load_checkpoint": {"path": "checkpoint()"},
    "load_weights": {"path": "checkpoint()"}, "ReviewFolder": {"folder": "review_folder()"},
    "ff.load": {"folder": "trained_run().folder"}, "from_config": {"config": "{'class': 'goodness.L1'}"},
    "Inference": {"model": "class_model()"}, "to_config": {"value": "ff.goodness.L1()"},
    "LocallyConnected2d.forward": {"x": "torch.rand(2, 1, 6, 6)"},
    "GoodnessReadout.fit": {"goodness": "torch.rand(12, 2, 3)"},
    "GoodnessReadout.forward": {"goodness": "torch.rand(12, 2, 3)"},
    "BestInterval.forward": {"goodness": "torch.rand(12, 2, 3)"},
    "BestInterval.choose": {"goodness": "torch.rand(12, 2, 3)"},
    "WeightedSum.forward": {"goodness": "torch.rand(12, 2, 3)"},
    "WeightedSum.choose": {"goodness": "torch.rand(12, 2, 3)"},
    "fit_weights": {"scores": "torch.rand(12, 2, 3)"}, "Ensemble": {"runs": "trained_runs()"},
    "Ensemble.summary": {"evaluation": "ff.runs.EnsembleEvaluation(2.5, (3.0, 2.75), samples=4)"},
    "Ensemble.predict": {"inputs": "torch.rand(4, 1, 8, 8)"},
    "Ensemble.predict_proba": {"inputs": "torch.rand(4, 1, 8, 8)"},
    "LayerEnsemble.__call__": {"goodness": "torch.rand(12, 2, 3)"},
    "SumOverLayers.__call__": {"goodness": "torch.rand(12, 2, 3)"},
    "Documents": {"offsets": "np.array([0, 2])"}, "GroupNorm.forward": {"x": "torch.rand(4, 6)"},
    "PeerNormalization.forward": {"activations": "torch.rand(12, 6)"}, "FFConv2d": {"kernel_size": "3"},
    "augment": {"images": "torch.rand(4, 1, 6, 6)"}, "LinearHead.setup": {"shapes": "[(5,), (4,)]"},
    "SuperclassCrossEntropy.forward": {"targets": "labels()"}, "TextEncoder.__call__": {}, "HybridMask": {"blurs": "1"},
    "choose_layers": {"model": "pair_model(classifier=ff.classifiers.BestInterval())"},
    "layers": {"input_shape": "(6,)"},
    "Recipe.splits": {"data": "'digits'"}, "Recipe.for_dataset": {"data": "'digits'"},
    "Recipe.fit": {"model": "recipe().model((6,), 3)"},
    "Run.set_epochs": {},
    "set_fields": {"recipe": "ff.recipes.get('symba')", "changes": "{'lr': '0.01'}"},
    "plugin_names": {"field": "'loss'"},
    "Finding": {"cause": "'dead units'", "layers": "(1,)", "text": "'a text.'", "remedy": "'a remedy.'"},
    "Splits.to": {}, "LabelEncoder.candidates": {},
    "LocalOptimizer.load_state_dict": {"state": "adam().attach(pair_model()).state_dict()"},
    "CompiledStep": {"model": "pair_model()"}, "BagOfWords.__call__": {"input_shape": "(7,)"},
    "WordConvolutions.__call__": {"input_shape": "(7,)"},
    "Convolutions.__call__": {"input_shape": "(1, 12, 12)"},
    "Rotation.transform": {"images": "maps()"}, "Rotation.__call__": {"data": "ff.TensorData(maps(), labels())"},
    "Flip.transform": {"images": "maps()"}, "Flip.__call__": {"data": "ff.TensorData(maps(), labels())"},
    "Jigsaw.transform": {"images": "maps()"}, "Jigsaw.__call__": {"data": "ff.TensorData(maps(), labels())"},
    "InvertedBottlenecks.__call__": {"input_shape": "(1, 12, 12)"},
    "SmoothedSGD.add_param_group": {"param_group": "{'params': [nn.Parameter(torch.ones(1))]}"},
    "Pyramidal.__call__": {"scale": "6.0"},
    "Uniform.__call__": {"scale": "6.0"}, "Network.check_labels": {}, "Cosine.__call__": {},
    "History.layer": {"index": "0"},
    "from_module": {"module": "nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))", "num_classes": "3"},
    "Corpus": {"train": "['a film', 'a plot'] * 3", "test": "['a film']"}, "split": {"sizes": "[6, 6]"},
}  # fmt: skip

#: Label encoders that need images of several pixels, and arguments for their methods.
MAP_ENCODERS = ("Border", "LabelChannel", "LearnedChannel", "RandomChannel", "WaveChannel")
ON_MAPS = {"images": "maps()", "shape": "(1, 6, 6)"}

#: Objects with methods; other classes get theirs from the constructor's valid call.
OBJECTS = {
    "FFSequential": ("pair_model()", "class_model()", "head_model()"),
    "Backpropagation": ("baseline()",),
    "FeedbackAlignment": (
        "ff.baselines.FeedbackAlignment(ff.FFLinear(6, 5), ff.FFLinear(5, 4), num_classes=3, input_shape=(6,))",
    ),
    "SignSymmetry": (
        "ff.baselines.SignSymmetry(ff.FFLinear(6, 5), ff.FFLinear(5, 4), num_classes=3, input_shape=(6,))",
    ),
    "DirectFeedbackAlignment": (
        "ff.baselines.DirectFeedbackAlignment(ff.FFLinear(6, 5), ff.FFLinear(5, 4), num_classes=3, input_shape=(6,))",
    ),
    "DirectRandomTargetProjection": (
        "ff.baselines.DirectRandomTargetProjection(ff.FFLinear(6, 5), num_classes=3, input_shape=(6,))",
    ),
    "Pepita": ("ff.baselines.Pepita(ff.FFLinear(6, 5), ff.FFLinear(5, 4), num_classes=3, input_shape=(6,))",),
    "LocalOptimizer": ("adam().attach(pair_model())",),
    "LinearHead": ("head_model().head",),
    "History": ("history()",),
    "Recipe": ("recipe()",),
    "Run": ("trained_run()",), "Ensemble": ("ff.runs.Ensemble(trained_runs())",),
    "TextEncoder": ("text_encoder()",),
    "GoodnessReadout": ("ff.classifiers.GoodnessReadout(3, 2)",),
    "WeightedSum": ("ff.classifiers.WeightedSum(2)",),
    "Lexicon": ("ff.data.text.Lexicon(['a', 'film'])",),
    "Compose": ("ff.data.Compose(ff.data.RandomFlip())",),
    "Threshold": ("ff.losses.Threshold(theta=1.0)",),
    "FFConv2d": (), "FFEmbedding": (), "FFEmbeddingBag": (),
    "FFLayer": ("ff.FFLinear(6, 6, goodness=ff.goodness.ClassGroups(3), loss=ff.losses.CrossEntropy())",),
    "SumObjective": (
        "ff.objectives.SumObjective("
        "ff.objectives.ClassObjective(ff.goodness.ClassGroups(3), ff.losses.CrossEntropy()))",
    ),
    "BatchNorm": ("ff.normalization.BatchNorm()",), "LayerwiseStep": (), "WholeStep": (), "CompiledStep": (),
    "Stack": (), "MicroBatches": (),
    # scikit-learn's own checks and Lightning's Trainer call the methods
    "FFClassifier": (), "FFFeatures": (), "FFModule": (),
    "FFLinear": ("ff.FFLinear(6, 6, goodness=ff.goodness.ClassGroups(3), loss=ff.losses.CrossEntropy())",),
    "SmoothedSGD": ("ff.optimizers.SmoothedSGD([nn.Parameter(torch.ones(2))])",),
}  # fmt: skip

#: Names without a call of their own, with the reason.
LEFT_OUT = {
    "Source": "a protocol", "Schedule": "a protocol", "NeedsSetup": "a protocol", "HasParameterGroups": "a protocol",
    "Network": "an abstract base, tested by its subclasses", "Baseline": "an abstract base, tested by its subclasses",
    "Pretext": "an abstract base, tested by its subclasses",
    "Representation": "an abstract base", "LabelEncoder": "an abstract base, tested by its subclasses",
    "PerClassGoodness": "an abstract base, tested by its subclasses", "LabelNegatives": "an abstract base",
    "Augmentation": "an abstract base", "Affine": "a result", "LayerOutput": "a result", "Evaluation": "a result",
    "ReplicaEvaluation": "a result", "EnsembleEvaluation": "a result",
    "EpochState": "made by fit", "Interrupted": "an exception",
    "LabeledInput": "made by label encoders in every step", "Documents": "made by Lexicon", "Stack": "made by step",
    "LayerwiseStep": "made by step", "LocalLoss": "a result",
    "Configurable": "a protocol",
    "StepResult": "a result", "Gradients": "a result", "Group": "a result", "Defaults": "made by FFSequential",
    "FitState": "made by fit", "SmoothedSGD.step": "torch's", "SmoothedSGD.add_param_group": "torch's",
    "check_groups": "called in every step", "CompilationError": "an exception", "CheckpointError": "an exception",
    "TrainingDiverged": "an exception", "Recipe.with_vectors": "the test's recipe uses none",
    "Plugin": "a base without a constructor", "Tracker": "an abstract base, tested by its subclasses",
    "to_executorch": "as to_onnx; its package is rarely installed",
    "WandbLog": "needs a run of Weights & Biases",
    "TargetKind": "an abstract base", "Figures": "a result", "TargetScaling": "made by networks",
    "Share": "a protocol", "Reduction": "a protocol",
    "Parallel": "a base without a constructor", "RankError": "an exception", "Ranks": "made by process_group",
    "Message": "made by Ranks",
    "process_group": "starts processes", "DataParallel": "needs processes", "Pipeline": "needs processes",
    "layer_seconds": "needs a source", "FFSequential.samples": "called in every step",
    "FFSequential.prepared_batch": "called in every step", "FFSequential.make_batch": "called in every step",
    "FFSequential.training_stack": "called in every step", "LocalOptimizer.parameters": "called in every step",
}  # fmt: skip
LEFT_OUT_METHODS = {
    "adopt", "release", "claim", "extra_repr", "on_restore", "on_fit_begin", "on_step_end", "on_epoch_end",
    "on_epoch_begin", "on_step_begin", "on_evaluation_begin", "part",
    "on_fit_end", "get_config", "push_to_hub",
    "write", "split_forward", "check_input", "as_affine", "outputs", "output_and_goodness", "plot", "discard",
    "observe",
    "load_state_dict", "place", "encode", "check_available", "classify",
    "gradients", "logits", "attach", "augment",
    "prepare", "check_labels", "check_targets", "decide", "predictions", "naming_shape", "signal",
    "try_objective", "try_on",
}  # fmt: skip

PLUGIN_METHODS = {
    "forward", "__call__", "accuracy", "scale", "masks", "wrong_labels", "augment", "goodness_of", "check_goodness",
    "indices", "rows", "read", "join", "candidates", "neutral", "choose", "set_progress", "local_loss", "joined_shape",
    "replace_codebook", "fit_plugin", "is_empty", "encode", "step_head", "setup",
}  # fmt: skip

#: Plug-ins whose methods layers, networks and trainings call, in every step or at setup, with tensors and numbers that
#: have been checked. They check nothing themselves, as torch's own modules, and fail in torch's words.
CALLED_BY_LIBRARY = {
    "Goodness", "GoodnessByPosition", "PerClassGoodness", "PairLoss", "ClassLoss", "BatchLoss", "Objective",
    "Embedding",
    "Normalization", "PeerNormalization", "LabelEncoder", "Negatives", "LinearHead", "MeanPool", "SpatialPool",
    "SequencePool", "LimitedPool", "SimilarityEmbedding", "WithHead", "CarryLabel", "FallingTemperature",
    "MaxPool2d", "LocallyConnected2d", "Residual", "SkipConnection", "SumOverLayers", "LayerEnsemble",
    "BestInterval", "WeightedSum", "GoodnessReadout", "Candidates", "Pyramidal", "Uniform",
    "Cooldown", "Cosine", "Ramp", "Steps",
    "FromTorch", "Joint", "Greedy", "Overlapping", "Staggered", "Blocks", "EndToEnd", "FFLayer", "LocalOptimizer",
    "TargetKind",
}  # fmt: skip
PUBLIC_METHODS = {"GoodnessReadout.fit", "LocalOptimizer.step", "LocalOptimizer.zero_grad", "FFLayer.setup"}

#: Words that name a parameter as well as its name does.
ALIASES = {
    "layers": ("block", "layer", "head"), "batch": ("images", "labels", "inputs", "targets", "batch"),
    "train": ("data", "images", "labels", "inputs", "targets"),
    "validation": ("data", "images", "labels", "inputs", "targets"),
    "data": ("images", "labels", "inputs", "targets", "loader"),
    "test": ("data", "images", "labels", "inputs", "targets"),
    "inputs": ("images", "data", "embedding indices", "targets"), "images": ("image", "inputs"),
    "layer": ("block",), "targets": ("labels",),
    "labels": ("targets",),
    "block": ("layer", "layers"), "x": ("images", "inputs", "input"), "loss": ("objective",),
    "goodness": ("objective", "num_classes"),
    "superclasses": ("targets",), "augmentations": ("augmentation", "augment"), "objectives": ("objective",),
    "factory": ("optimizer",), "state": ("state_dict",), "groups": ("group",), "windows": ("window",),
    "factors": ("factor",), "callbacks": ("callback",), "path": ("file", "folder"), "folder": ("path", "run"),
    "widths": ("width", "features"), "words": ("word",), "size": ("kernel_size", "input_shape"), "train_": ("texts",),
    "schedule": ("groups", "group", "window"), "compile": (), "cuda_graph": (), "augment": ("augmentation",),
    "input_shape": ("shape", "inputs"),
    "name": ("recipe", "data"), "activations": ("activation", "features"), "maps": ("map",), "spec": ("features",),
}  # fmt: skip

#: Ranges of numbers that make sense, by the name of the parameter; others may have any finite value.
POSITIVE = {
    "in_features", "out_features", "in_channels", "out_channels", "kernel_size", "stride", "dilation", "num_classes",
    "num_embeddings", "features", "batch_size", "epochs", "chunk_size", "size", "temperature", "num_groups", "blurs_",
    "vocabulary", "longest", "length", "min_texts", "window", "min_count", "negative_", "workers", "patience", "every",
    "monitor_every", "dimensions", "pool", "distance", "widths", "threads", "depth", "steps", "eps_", "input_shape",
    "alpha_", "p_lp",
}  # fmt: skip
AT_LEAST_0 = {
    "padding",
    "seed",
    "lr",
    "weight_cost",
    "init_std",
    "hidden",
    "layer_",
    "index_",
    "epoch",
    "step",
    "blurs",
}
FRACTIONS = {"dropout", "p", "label_smoothing", "momentum", "decay", "smoothing", "warmup", "progress", "strength_"}

NEAR = {
    int: "numbers", float: "numbers", complex: "numbers", str: "texts", os.PathLike: "texts", Path: "texts",
    bool: "numbers",
    Tensor: "tensors", np.ndarray: "tensors", nn.Module: "plugins", torch.device: "texts", slice: "others",
    ff.TensorData: "tensors", tuple: "numbers", torch.utils.data.Dataset: "tensors",
    torch.utils.data.DataLoader: "tensors",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Case:
    """A call with one bad argument."""

    category: str
    target: str  # what is called, as an expression
    name: str  # of the class or function, for reports and SPECIAL
    arguments: tuple[tuple[str, str], ...]  # valid ones
    parameter: str
    value: str
    positional: bool  # whether the parameter is *args
    hint: Any
    holder: str = ""  # the object of a method

    @property
    def expression(self) -> str:
        listed = [text for name, text in self.arguments if name.startswith("*") and name[1:] != self.parameter]
        named = [
            f"{name}={text}" for name, text in self.arguments if not name.startswith("*") and name != self.parameter
        ]
        if self.positional:
            listed = [*listed, *(text for name, text in self.arguments if name == f"*{self.parameter}"), self.value]
        else:
            named.append(f"{self.parameter}={self.value}")
        return f"{self.target}({', '.join([*listed, *named])})"


@dataclasses.dataclass(frozen=True)
class Subject:
    """A callable with valid arguments."""

    category: str
    target: str
    name: str
    arguments: tuple[tuple[str, str], ...]
    parameters: tuple[tuple[str, Any, bool], ...]  # name, type hint, whether it is *args
    holder: str = ""

    def case(self, parameter: str, hint: Any, positional: bool, value: str) -> Case:
        return Case(
            self.category, self.target, self.name, self.arguments, parameter, value, positional, hint, self.holder
        )


#: Parameters without a valid argument; the script reports them.
MISSING: list[str] = []


def subjects() -> list[Subject]:
    """Return every public constructor, function and method."""
    found: list[Subject] = []
    for module, name, value in public():
        if name in LEFT_OUT:
            continue
        target = f"{module}.{name}"
        if inspect.isclass(value):
            constructor = _subject("constructors", target, name, value)
            if constructor is not None and constructor.parameters:
                found.append(constructor)
            found += _methods(value, name, constructor, target)
        elif inspect.isroutine(value) and name not in LEFT_OUT:
            found.append(_subject("functions and methods", target, name, value))  # type: ignore[arg-type]
    return [subject for subject in found if subject is not None]


def public() -> Iterator[tuple[str, str, Any]]:
    """Yield the public names with the module, each object once."""
    seen: set[int] = set()

    def walk(module: types.ModuleType, path: str) -> Iterator[tuple[str, str, Any]]:
        for name in module.__all__:
            value = getattr(module, name)
            if isinstance(value, types.ModuleType):
                yield from walk(value, f"{path}.{name}")
            elif id(value) not in seen:
                seen.add(id(value))
                yield path, name, value

    yield from walk(ff, "ff")
    yield from ((path.replace("ff.recipes.architectures", "architectures"), name, value)
                for path, name, value in walk(architectures, "architectures"))  # fmt: skip


def _methods(kind: type, name: str, constructor: Subject | None, target: str) -> Iterator[Subject]:
    members = [
        member
        for member in dir(kind)
        if (not member.startswith("_") or member == "__call__")
        and inspect.isfunction(inspect.getattr_static(kind, member, None))
        and (getattr(kind, member).__module__ or "").startswith("forwardforward")
    ]
    if name in OBJECTS:
        holders: tuple[str, ...] = OBJECTS[name]
    elif constructor is None:
        return
    else:
        holders = (f"{target}({', '.join(f'{n}={t}' for n, t in constructor.arguments if not n.startswith('*'))})",)
    for member in members:
        if member in LEFT_OUT_METHODS or f"{name}.{member}" in LEFT_OUT:
            continue
        for holder in holders:
            if {
                base.__name__ for base in kind.__mro__
            } & CALLED_BY_LIBRARY and f"{name}.{member}" not in PUBLIC_METHODS:
                continue
            category = "plug-in calls" if member in PLUGIN_METHODS and not _is_model(name) else "functions and methods"
            if _is_abstract(getattr(kind, member)) or (member == "head_logits" and not holder.startswith("head")):
                continue
            subject = _subject(
                category, f"holder.{member}", f"{name}.{member}", getattr(kind, member), holder, skip_first=True
            )
            if subject is not None and subject.parameters:
                yield subject


def _is_model(name: str) -> bool:
    return name in (
        "FFSequential",
        "Backpropagation",
        "FeedbackAlignment",
        "Pepita",
        "SignSymmetry",
        "DirectFeedbackAlignment",
        "DirectRandomTargetProjection",
        "Run",
        "Recipe",
        "Preprocessing",
        "PatchWhitening",
    )


def _is_abstract(function: Any) -> bool:
    try:
        return any(word in inspect.getsource(function) for word in ("raise NotImplementedError", "this network has no"))
    except (OSError, TypeError):
        return False


def _subject(
    category: str, target: str, name: str, function: Any, holder: str = "", skip_first: bool = False
) -> Subject | None:
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):
        return None
    hints = _hints(function)
    valid = {
        **VALID,
        **(ON_MAPS if name.split(".")[0] in MAP_ENCODERS and "." in name else {}),
        **SPECIAL.get(name.rpartition(".")[2], {}),
        **SPECIAL.get(name, {}),
        **SPECIAL.get(target, {}),
    }
    arguments: list[tuple[str, str]] = []
    parameters: list[tuple[str, Any, bool]] = []
    for parameter in list(signature.parameters.values())[1 if skip_first else 0 :]:
        hint = hints.get(parameter.name, Any)
        if parameter.name == "args":  # of a class without a constructor of its own
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            if parameter.name == "plugins":
                layer = _hints(ff.FFLayer)
                parameters += [(key, layer.get(key, Any), False) for key in inspect.signature(ff.FFLayer).parameters
                               if key != "block"]  # fmt: skip
            continue
        positional = parameter.kind is parameter.VAR_POSITIONAL
        parameters.append((parameter.name, hint, positional))
        if positional or parameter.default is parameter.empty:
            if parameter.name not in valid:
                MISSING.append(f"{name}.{parameter.name}")
                return None
            arguments.append((f"*{parameter.name}" if positional else parameter.name, valid[parameter.name]))
    known = {key for key, *_ in parameters}
    names = [key for key, _ in arguments]
    arguments += [
        (key, text)
        for key, text in {**SPECIAL.get(name, {})}.items()
        if key in known and key not in names and f"*{key}" not in names
    ]
    distinct = {
        key: (key, hint, positional) for key, hint, positional in reversed(parameters)
    }  # a constructor's before a layer's
    return Subject(category, target, name, tuple(arguments), tuple(reversed(distinct.values())), holder)


def _hints(function: Any) -> dict[str, Any]:
    target = function
    if inspect.isclass(function):
        if hasattr(function, "_fields"):
            target = function
        elif "__init__" in {name for part in function.__mro__ for name in vars(part)}:
            target = function.__init__
    target = inspect.unwrap(target)
    annotations = {name: hint for name, hint in getattr(target, "__annotations__", {}).items() if name != "return"}
    scope = target.__globals__ if hasattr(target, "__globals__") else vars(inspect.getmodule(function))
    return typing.get_type_hints(types.SimpleNamespace(__annotations__=annotations), scope, include_extras=True)


def cases(count: int, generator: random.Random) -> list[Case]:
    """Return ``count`` calls with a bad argument: as many for each parameter, most of them from the nearest pool."""
    every = subjects()
    parts = {"constructors": 0.6, "functions and methods": 0.36, "plug-in calls": 0.04}
    chosen: list[Case] = []
    for category, share in parts.items():
        slots = [(subject, *entry) for subject in every if subject.category == category for entry in subject.parameters]
        quota = count * share / len(slots)
        for subject, parameter, hint, positional in slots:
            number = int(quota) + (generator.random() < quota - int(quota))
            near = [value for pool in sorted(_near(hint)) for value in POOLS[pool]]
            far = [value for pool, values in POOLS.items() if pool not in _near(hint) for value in values]
            close = generator.sample(near, min(len(near), math.ceil(number * 0.7)))
            picked = [*close, *generator.sample(far, min(len(far), number - len(close)))]
            chosen += [subject.case(parameter, hint, positional, value) for value in picked]
    return chosen


def _near(hint: Any) -> set[str]:
    pools = set()
    for kind in _leaves(hint):
        if kind in NEAR:
            pools.add(NEAR[kind])
        elif kind is not None and kind is not type(None):
            pools.add("plugins" if callable(kind) else "others")
    return pools or {"others"}


def _leaves(hint: Any) -> Iterator[Any]:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        for part in typing.get_args(hint):
            yield from _leaves(part)
    elif origin is typing.Annotated:
        yield from _leaves(typing.get_args(hint)[0])
    elif origin is typing.Literal:
        yield str
    elif origin is collections.abc.Callable:
        yield nn.Module
    elif origin in (collections.abc.Sequence, collections.abc.Iterable, collections.abc.Mapping, tuple, list, dict):
        yield collections.abc.Sequence
        yield from (leaf for part in typing.get_args(hint) if part is not Ellipsis for leaf in _leaves(part))
    elif origin is not None:
        yield origin
    else:
        yield hint


# Outcomes


def run_case(case: Case) -> dict[str, Any]:
    """Make a call, use what it returns, and return the outcome."""
    torch.manual_seed(0)
    names: dict[str, Any] = {}
    if case.holder:
        names["holder"] = evaluate(case.holder)
    before = _state(names.get("holder"))
    try:
        arguments, call = _arguments(case, names)
    except Exception as error:  # the value itself cannot be made, which is a fault of this script
        return {"outcome": "not made", "message": f"{type(error).__name__}: {error}"}
    try:
        result = call()
    except Exception as error:
        outcome = describe_error(error, case, "call")
        if outcome["outcome"].startswith("refused") and case.holder:
            after = _state(names["holder"])
            if before != after:
                return {**outcome, "outcome": "damaged", "message": f"the object has changed; {outcome['message']}"}
        return outcome
    bad = arguments
    if not case.holder or case.category == "functions and methods":
        try:
            result = [result if _is_data(result) else None, use(result)]
        except Exception as error:
            return describe_error(error, case, "use")
    return _accepted(case, bad, result)


def _arguments(case: Case, names: dict[str, Any]) -> tuple[Any, Callable[[], Any]]:
    function = evaluate(case.target, **names)
    listed = [evaluate(text) for name, text in case.arguments if name.startswith("*")]
    named = {
        name: evaluate(text) for name, text in case.arguments if not name.startswith("*") and name != case.parameter
    }
    value = evaluate(case.value)
    if case.positional:
        listed.append(value)
    else:
        named[case.parameter] = value
    return value, lambda: _call(function, listed, named)


def _call(function: Any, listed: list[Any], named: dict[str, Any]) -> Any:
    result = function(*listed, **named)
    if isinstance(result, collections.abc.Iterator):
        result = list(result)
    return result


def _state(holder: Any) -> str:
    if not isinstance(holder, nn.Module):
        return ""
    return str({key: (tuple(x.shape), float(x.double().sum())) if isinstance(x, Tensor) else None
                for key, x in holder.state_dict().items()})  # fmt: skip


def _is_data(result: Any) -> bool:
    return not isinstance(result, nn.Module)


def use(result: Any) -> Any:
    """Use a new object as a user would, and return numbers that must be finite."""
    if isinstance(result, ff.network.Network):
        return _trained(result)
    if isinstance(result, ff.FFLayer):
        return _use_layer(result)
    for kind, function in USES:
        if isinstance(result, kind):
            return function(result)
    return None


def _values(loss: Any) -> Tensor:
    """Return real-valued targets of a loss, one per sample or nine."""
    targets = torch.rand(12, 9, generator=torch.Generator().manual_seed(1))
    return targets if isinstance(loss, ff.losses.SquaredError) else targets[:, 0]


def _trained(model: Any, inputs: Tensor | None = None, targets: Tensor | None = None) -> Any:
    if inputs is None:
        inputs = torch.rand(12, *(model.input_shape or (6,)), generator=torch.Generator().manual_seed(0))
    targets = values.labels() if targets is None else targets
    history = ff.fit(model, (inputs, targets), epochs=1, batch_size=6, progress=False)
    outputs: list[Any] = [history[-1]["layers"], [x for x in model.state_dict().values() if isinstance(x, Tensor)]]
    if model.layers_classify or model.head is not None or not isinstance(model, ff.FFSequential):
        outputs.append(model.predict_proba(inputs) if model.target_scaling is None else model.predict(inputs))
    return outputs


def _use_layer(layer: Any) -> Any:
    plugins: dict[str, Any] = {"goodness": ff.goodness.ClassGroups(3), "loss": ff.losses.CrossEntropy()}
    objective = layer.objective
    if objective is not None:
        plugins = {}
        if objective.uses_negatives:
            plugins = {"negatives": ff.negatives.SelfContrast()}
    if isinstance(layer, ff.layers.FFEmbedding | ff.layers.FFEmbeddingBag):
        inputs: Tensor = torch.arange(48).view(12, 4) % 20
    elif isinstance(layer, ff.FFConv2d):
        inputs = values.maps()
    else:
        inputs = values.images()
    return _trained(ff.FFSequential(layer, **plugins, num_classes=3), inputs)


def _progress(schedule: Any) -> Any:
    return [schedule(progress) for progress in (0.0, 0.3, 0.5, 1.0)]


def _groups(schedule: Any) -> Any:
    for epochs in (1, 4):
        for epoch in range(epochs):
            for step in (0, 1):
                ff.step.check_groups(schedule(3, epoch, step, epochs), 3)


def _optimizer(optimizer: Any) -> Any:
    model = values.pair_model()
    ff.fit(model, values.data(), optimizer=optimizer, epochs=1, progress=False)
    return list(model.parameters())


def _label_encoder(encoder: Any) -> Any:
    if type(encoder).__name__ in ("Concatenation", "Overlay", "Border"):
        shape = (1, 6, 6) if type(encoder).__name__ == "Border" else (6,)
        layer = nn.Sequential(nn.Flatten(), nn.LazyLinear(5))
        model = ff.FFSequential(layer, goodness=ff.goodness.SumOfSquares(), loss=ff.losses.SymBa(),
                                label_encoder=encoder, input_shape=shape)  # fmt: skip
        return _trained(model)
    inputs = values.maps()
    channels = encoder.joined_shape((1, 6, 6))[0]
    model = ff.FFSequential(ff.FFConv2d(channels, 4, 3), goodness=ff.goodness.SumOfSquares(), loss=ff.losses.SymBa(),
                            label_encoder=encoder, input_shape=(1, 6, 6))  # fmt: skip
    return _trained(model, inputs)


def _recipe(recipe: Any) -> Any:
    model = recipe.model((6,), 3)
    history = recipe.fit(model, values.data(), progress=False, epochs=1)
    return [history[-1]["layers"], list(model.parameters()), recipe.table() and None]


def _representation(representation: Any) -> Any:
    if isinstance(representation, ff.data.text.MeanVectors):
        return None
    return representation(values.corpus())(["a good film"])


def _estimator(estimator: Any) -> Any:
    return estimator.fit(values.images().numpy(), values.labels().numpy()).history_[-1]["layers"]


USES: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (ff.sklearn.FFClassifier, _estimator),
    (ff.sklearn.FFFeatures, _estimator),
    (ff.goodness.Logits, lambda x: x(torch.rand(2, 3))),
    (ff.goodness.PerClassGoodness, lambda x: _trained(values.class_model(goodness=x))),
    (
        ff.goodness.GoodnessByPosition,
        lambda x: _trained(
            values.conv_model(goodness=x, loss=ff.losses.SymBa(), negatives=ff.negatives.SelfContrast()), values.maps()
        ),
    ),
    (ff.goodness.Goodness, lambda x: _trained(values.pair_model(goodness=x))),
    (ff.losses.PairLoss, lambda x: _trained(values.pair_model(loss=x))),
    (
        ff.losses.BinaryCrossEntropy,
        lambda x: _trained(values.class_model(loss=x), targets=torch.eye(3)[values.labels()]),
    ),
    (
        (ff.losses.OrdinalCrossEntropy, ff.losses.SquaredError),
        lambda x: _trained(values.class_model(goodness=ff.goodness.LearnedProjection(9), loss=x), targets=_values(x)),
    ),
    (ff.losses.ClassLoss, lambda x: _trained(values.class_model(loss=x))),
    (ff.losses.BatchLoss, lambda x: _trained(values.class_model(goodness=None, loss=x, num_classes=3))),
    (ff.losses.Pyramidal, lambda x: _trained(values.pair_model(loss=ff.losses.Threshold(x)))),
    (ff.losses.Uniform, lambda x: _trained(values.pair_model(loss=ff.losses.Threshold(x)))),
    (ff.objectives.PairObjective, lambda x: _trained(values.pair_model(goodness=None, loss=None, objective=x))),
    (
        ff.objectives.Objective,
        lambda x: _trained(values.class_model(goodness=None, loss=None, objective=x, num_classes=3)),
    ),
    (
        ff.objectives.Embedding,
        lambda x: _trained(
            values.class_model(
                goodness=None,
                loss=None,
                num_classes=3,
                objective=ff.objectives.BatchObjective(ff.losses.SupervisedContrastive(), x),
            )
        ),
    ),
    (ff.objectives.SimilarityEmbedding, lambda x: x(torch.rand(2, 3, 6, 6))),
    (ff.normalization.PeerNormalization, lambda x: _trained(values.class_model(peer=x))),
    (
        ff.normalization.GroupNorm,
        lambda x: (
            _trained(values.conv_model(ff.FFConv2d(1, 6, 3), ff.FFConv2d(6, 6, 3), normalization=None), values.maps())
            and x(torch.rand(4, 6, 3, 3))
        ),
    ),
    (ff.normalization.Normalization, lambda x: _trained(values.class_model(normalization=x))),
    (ff.label_encoders.LabelEncoder, _label_encoder),
    (
        ff.negatives.HybridMask,
        lambda x: _trained(
            values.conv_model(goodness=ff.goodness.SumOfSquares(), loss=ff.losses.SymBa(), negatives=x, num_classes=3),
            values.maps(),
        ),
    ),
    (ff.negatives.SelfContrast, lambda x: _trained(values.pair_model(label_encoder=None, negatives=x, num_classes=3))),
    (ff.negatives.Negatives, lambda x: _trained(values.pair_model(negatives=x, num_classes=3))),
    (ff.heads.LinearHead, lambda x: _trained(values.pair_model(head=x))),
    (ff.pooling.MeanPool, lambda x: x(torch.rand(2, 3, 6, 6))),
    (ff.pooling.SpatialPool, lambda x: x(torch.rand(2, 3, 6, 6))),
    (ff.pooling.LimitedPool, lambda x: x(torch.rand(2, 3, 6, 6))),
    (ff.pooling.SequencePool, lambda x: x(torch.rand(2, 3, 6))),
    (ff.layers.CarryLabel, lambda x: None),
    (ff.layers.MaxPool2d, lambda x: x(torch.rand(2, 3, 6, 6))),
    (ff.layers.LocallyConnected2d, lambda x: _trained(values.conv_model(ff.FFLayer(x)), values.maps())),
    (ff.layers.Residual, lambda x: x(torch.rand(2, 3, 6, 6), torch.rand(2, 3, 6, 6))),
    (ff.layers.SkipConnection, lambda x: x(torch.rand(2, 3, 6, 6), torch.rand(2, 3, 6, 6))),
    ((ff.classifiers.GoodnessReadout, ff.classifiers.WeightedSum), lambda x: x(torch.rand(4, 2, 3))),
    (
        (
            ff.classifiers.SumOverLayers,
            ff.classifiers.MeanOverLayers,
            ff.classifiers.LayerEnsemble,
            ff.classifiers.BestInterval,
        ),
        lambda x: _trained(values.pair_model(classifier=x)),
    ),
    (
        ff.classifiers.WithHead,
        lambda x: _trained(values.class_model(classifier=x, head=ff.heads.LinearHead(3))),
    ),
    (ff.views.Mirror, lambda x: x(torch.rand(4, 1, 6, 6))),
    (ff.preprocessing.PatchWhitening, lambda x: x.fit(values.maps())(values.maps())),
    (ff.preprocessing.Preprocessing, lambda x: _trained(values.pair_model(preprocessing=x))),
    ((ff.data.Mixup, ff.data.CutMix), lambda x: x.mix(torch.rand(4, 1, 6, 6), torch.eye(4))),
    (ff.data.Kornia, lambda x: None),  # kornia may not be installed
    (ff.data.Augmentation, lambda x: x(torch.rand(4, 1, 6, 6))),
    ((ff.lr_schedules.Cooldown, ff.lr_schedules.Cosine, ff.lr_schedules.Ramp, ff.lr_schedules.Steps), _progress),
    (
        (
            ff.update_schedules.Joint,
            ff.update_schedules.Greedy,
            ff.update_schedules.Overlapping,
            ff.update_schedules.Staggered,
            ff.update_schedules.Blocks,
            ff.update_schedules.EndToEnd,
        ),
        _groups,
    ),
    (ff.LocalOptimizer, _optimizer),
    (ff.optimizers.SmoothedSGD, lambda x: x.step()),
    (
        ff.TensorData,
        lambda x: (
            [x.inputs, x.num_classes, ff.evaluate(values.pair_model(), x).error]
            if x.targets is not None
            and x.targets.dtype == torch.int64
            and x.targets.dim() == 1
            and x.inputs.shape[1:] == (6,)
            and x.num_classes <= 3
            else x.inputs
        ),
    ),
    (ff.data.text.Representation, _representation),
    (ff.data.text.Word2Vec, lambda x: x.train(values.corpus()).matrix),
    (ff.data.text.Corpus, lambda x: ff.data.text.WordSequence(10, 5)(x)(["a film"])),
    (ff.recipes.Recipe, _recipe),
    (ff.runs.RunConfig, lambda x: x.settings()),
    (ff.runs.Ensemble, lambda x: x.evaluate()),
    (ff.training.Evaluation, lambda x: x.to_dict()),
    (ff.training.CompiledStep, lambda x: None),
    (
        ff.training.GrowNetwork,
        lambda x: ff.fit(values.pair_model(), values.data(), epochs=2, callbacks=[x], progress=False) and None,
    ),
    (
        ff.training.Callback,
        lambda x: (
            ff.fit(
                values.pair_model(), values.data(), epochs=2, callbacks=[x], progress=False, validation=values.data()
            )
            and None
        ),
    ),
    (ff.training.History, lambda x: [repr(x), len(x)]),
)

LIBRARY = str(Path(ff.__file__).parent)
PYTHONS_OWN = (AttributeError, KeyError, IndexError, AssertionError, NameError, UnboundLocalError, RecursionError)


def describe_error(error: BaseException, case: Any, stage: str) -> dict[str, Any]:
    """Return whether an error names the argument on one line, raised by the library on purpose."""
    message = f"{type(error).__name__}: {error}"
    names = {case.parameter, *ALIASES.get(case.parameter, ())}
    value = evaluate(case.value)
    if isinstance(value, str | os.PathLike) and len(str(value)) > 1:
        names.add(str(value))  # a file
    clear = is_clear(error, names)
    if not clear and stage == "use" and _right(case):
        clear = _raised_by_library(error) and "\n" not in str(
            error
        )  # of a size or kind that the other parts do not fit
    return {
        "outcome": "refused clearly" if clear else "refused unclearly",
        "stage": stage,
        "message": message[:400],
        "where": _where(error),
    }


def _right(case: Any) -> bool:
    """Return whether a value is right by itself."""
    return bool(reason_to_accept(case, evaluate(case.value)))


def is_clear(error: BaseException, names: set[str]) -> bool:
    text = str(error).strip()
    if not text or "\n" in text or isinstance(error, PYTHONS_OWN):
        return False
    named = any(re.search(rf"(?<![a-z]){re.escape(name)}s?(?![a-z])", text, re.IGNORECASE) for name in names)
    finite = (
        "finite" in text or "NaN" in text or "diverged" in text
    )  # a huge number that overflows is refused where it does
    return (named or finite) and (_raised_by_library(error) or _wrong_call(error))


def _frames(error: BaseException) -> list[traceback.FrameSummary]:
    return traceback.extract_tb(error.__traceback__)


def _raised_by_library(error: BaseException) -> bool:
    last = _frames(error)[-1]
    return last.filename.startswith(LIBRARY) and (last.line or "").startswith("raise")


def _wrong_call(error: BaseException) -> bool:
    """Return whether Python itself refused the arguments' names, which its message lists."""
    return isinstance(error, TypeError) and bool(
        re.search(r"unexpected keyword argument|missing .*argument: '", str(error))
    )


def _where(error: BaseException) -> str:
    inside = [f for f in _frames(error) if f.filename.startswith(LIBRARY)]
    return f"{Path(inside[-1].filename).relative_to(LIBRARY)}:{inside[-1].lineno}" if inside else ""


def _accepted(case: Case, value: Any, result: Any) -> dict[str, Any]:
    nan = has_nan(result)
    if nan:
        if case.name.rpartition(".")[2] in ("forward", "activations", "prepare", "__call__", "mix") and has_nan(value):
            return {"outcome": "accepted", "reason": "a forward pass passes NaN and infinity on, as torch's modules do"}
        if case.name == "Batch":
            return {"outcome": "accepted", "reason": "a container of the values that it was given, which steps check"}
        return {"outcome": "silent NaN", "message": f"{nan}"}
    reason = reason_to_accept(case, value)
    if reason:
        return {"outcome": "accepted", "reason": reason}
    return {"outcome": "accepted without a reason", "message": f"{case.parameter}: {_shown(case.hint)}"}


def _shown(hint: Any) -> str:
    return str(hint).replace("forwardforward.", "")[:120]


def has_nan(value: Any, depth: int = 0) -> str:
    """Return which NaN or infinity a result contains, or an empty string."""
    if depth > 6 or value is None or isinstance(value, str | bytes | bool | int):
        return ""
    if isinstance(value, float | np.floating):
        return "" if math.isfinite(value) else repr(value)
    if isinstance(value, Tensor):
        if (
            value.device.type == "meta"
            or not (value.is_floating_point() or value.is_complex())
            or value.layout != torch.strided
        ):
            return ""
        finite = bool(value.isfinite().all())
        return "" if finite else f"tensor {tuple(value.shape)} with NaN or infinity"
    if isinstance(value, np.ndarray):
        return "" if value.dtype.kind not in "fc" or np.isfinite(value).all() else "array with NaN or infinity"
    if isinstance(value, ff.TensorData):
        return has_nan(value.inputs)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return has_nan([getattr(value, field.name, None) for field in dataclasses.fields(value)], depth + 1)
    if isinstance(value, Mapping):
        return has_nan(list(value.values()), depth + 1)
    if isinstance(value, list | tuple):
        return next(filter(None, (has_nan(item, depth + 1) for item in value[:100])), "")
    return ""


def reason_to_accept(case: Case, value: Any) -> str:
    """Return why a value is right, or an empty string."""
    number = isinstance(value, numbers.Real | np.number) and not isinstance(value, bool | np.bool_)
    if number and case.name != "Lp" and not _in_range(case.parameter, value):
        return ""
    if (
        isinstance(value, tuple | list)
        and case.parameter in POSITIVE
        and not all(not isinstance(item, numbers.Real) or _in_range(case.parameter, item) for item in value)
    ):
        return ""
    return conforms(value, case.hint)


def _in_range(name: str, value: Any) -> bool:
    if isinstance(value, float | np.floating) and not math.isfinite(value):
        return False
    if name in POSITIVE:
        return value > 0
    if name in AT_LEAST_0:
        return value >= 0
    if name in FRACTIONS:
        return 0 <= value <= 1
    return True


DECLARED = "of the declared type and in range, and its use gives finite numbers"


@cache
def _protocol(kind: type) -> bool:
    return getattr(kind, "_is_protocol", False)


def conforms(value: Any, hint: Any) -> str:
    """Return why a value has the declared type, or an empty string."""
    origin = typing.get_origin(hint)
    if hint is Any or hint is object or hint is inspect.Parameter.empty:
        return "declared to be any object"
    if origin is typing.Annotated:
        kind, *ranges = typing.get_args(hint)
        reason = conforms(value, kind)
        limits = [limit for limit in ranges if type(limit).__name__ == "Range"]
        return reason if not reason or all(value in limit for limit in limits) else ""
    if origin in (typing.Union, types.UnionType):
        return next(filter(None, (conforms(value, part) for part in typing.get_args(hint))), "")
    if origin is typing.Literal:
        return (
            DECLARED
            if any(
                value is choice or (type(value) is type(choice) and value == choice) for choice in typing.get_args(hint)
            )
            else ""
        )
    if hint is None or hint is type(None):
        return DECLARED if value is None else ""
    if isinstance(hint, typing.TypeVar):
        return conforms(value, hint.__bound__ or Any)
    if origin in (collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection, tuple, list):
        return _sequence(value, hint, origin)
    if origin in (collections.abc.Mapping, dict):
        return DECLARED if isinstance(value, Mapping) else ""
    if origin is collections.abc.Callable or hint is collections.abc.Callable:
        return _callable(value, *typing.get_args(hint))
    if origin is type:
        return DECLARED if isinstance(value, type) else ""
    kind = origin or hint
    if not isinstance(kind, type):
        return ""
    if kind is bool:
        return DECLARED if type(value) in (bool, np.bool_) else ""
    if kind is int:
        return _whole(value)
    if kind is float:
        return _real(value)
    if kind is Tensor and isinstance(value, Tensor):
        return DECLARED
    if kind in (os.PathLike, Path) and isinstance(value, str | os.PathLike):
        return DECLARED
    if isinstance(value, str) and kind is torch.device:
        return DECLARED
    if _protocol(kind):
        return "a callable serves as a plug-in" if callable(value) and not isinstance(value, type) else ""
    return DECLARED if isinstance(value, kind) else ""


def _callable(value: Any, parameters: Any = ..., result: Any = Any) -> str:
    if isinstance(value, type):
        result = typing.get_origin(result) or result
        fits = result is Any or (isinstance(result, type) and issubclass(value, result))
        return "a class serves as a function that makes its instances" if fits else ""
    return "a callable serves as a plug-in" if callable(value) else ""


def _sequence(value: Any, hint: Any, origin: Any) -> str:
    if isinstance(value, str | bytes) or not isinstance(value, collections.abc.Iterable):
        return ""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if origin is tuple and not isinstance(value, tuple | list | range):
        return ""
    if origin is collections.abc.Sequence and isinstance(value, collections.abc.Iterator | set | dict):
        return ""
    parts = [part for part in typing.get_args(hint) if part is not Ellipsis]
    if isinstance(value, collections.abc.Sequence) and not value[1000:] and len(parts) == 1:
        return DECLARED if all(conforms(item, parts[0]) for item in value) else ""
    return DECLARED


def _whole(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return ""
    if isinstance(value, int):
        return DECLARED
    if isinstance(value, np.integer) or (
        isinstance(value, np.ndarray | Tensor) and value.ndim == 0 and _integer(value)
    ):
        return "integers of numpy and 0-d tensors and arrays of integers are whole numbers"
    return ""


def _integer(value: Any) -> bool:
    return (
        value.dtype.kind in "iu"
        if isinstance(value, np.ndarray)
        else not value.is_floating_point() and value.dtype != torch.bool
    )


def _real(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return ""
    if isinstance(value, float | int):
        return DECLARED
    if isinstance(value, np.number | numbers.Real):
        return "numbers of numpy and fractions are numbers"
    if isinstance(value, np.ndarray | Tensor) and value.ndim == 0:
        return "0-d tensors and arrays of numbers are numbers"
    return ""
