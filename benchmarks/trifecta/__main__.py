"""Command line of the Trifecta's studies."""

from benchmarks.trifecta import BENCH

if __name__ == "__main__":
    BENCH.main()
