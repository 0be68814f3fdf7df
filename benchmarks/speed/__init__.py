"""Durations of training steps beside backpropagation, the plain script, fflib and the arithmetic floor.

    python -m benchmarks.speed                                     every stack, float32 and bf16
    python -m benchmarks.speed --stacks 784-500-500@128 --precision bf16 --rounds 30
    python -m benchmarks.speed --device cuda
    python -m benchmarks.speed --render                            only writes the tables of docs/speed.md

All kinds of steps run in turn in one process, on the same batch and with the same optimizer; ratios are taken in each
round, and their median and quartiles are the result. Each stack and precision replaces its entry in the file of
results, benchmarks/results/speed.json by default, as soon as it is measured, and the tables of docs/speed.md are
written from that file.

A stack is INPUTS-WIDTHS@BATCH, in which 4x100 stands for four layers of 100 units; RECIPE@BATCH or
RECIPE/DIVISOR@BATCH for the convolutions of a recipe, with its widths divided; or fflib, the network of fflib's
example, which is compared where fflib is installed (pip install --no-deps fflib).
"""
