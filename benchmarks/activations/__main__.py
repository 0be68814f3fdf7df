"""Command line of the studies of activations and weights."""

from benchmarks.activations import BENCH

if __name__ == "__main__":
    BENCH.main()
