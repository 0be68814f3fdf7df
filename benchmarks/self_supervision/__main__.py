"""Command line of the study: `python -m benchmarks.self_supervision`."""

from benchmarks.self_supervision import BENCH

if __name__ == "__main__":
    BENCH.main()
