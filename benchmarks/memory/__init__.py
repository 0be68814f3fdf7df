"""Memory of a training step's activations, relative to backpropagation's in the same network.

    python -m benchmarks.memory                      equal layers and the Trifecta's deep network, 16 images, float32
    python -m benchmarks.memory --render             only writes the tables of docs/memory.md

The measure is the peak of the tensors that a step creates and that exist at the same time, without weights, gradients
of weights, optimizer state and images. The allocator's peak is measured too, also of compiled steps; on a GPU it
includes the gradients of weights. Beside plain backpropagation stand what is used to save its memory: gradient
checkpointing, with the number of segments that has the lowest peak, and gradient accumulation over micro-batches. The
step times are measured in turn in one process. The results are written to benchmarks/results/memory.json by default,
and the tables of docs/memory.md from that file.
"""
