"""Every table, figure and claim of the papers, with the studies that reproduce them."""

from benchmarks.reproduce.papers.dynamics import ADAMSON
from benchmarks.reproduce.papers.extending import GANDHI
from benchmarks.reproduce.papers.hinton import HINTON
from benchmarks.reproduce.papers.item import Item, Paper
from benchmarks.reproduce.papers.self_supervision import BRENIG
from benchmarks.reproduce.papers.trifecta import DOOMS

__all__ = ["ABSENT", "PAPERS", "Item", "Paper"]

#: Data sets that have not been at hand for the finished cells in the repository.
ABSENT = ("svhn", "cifar100")

PAPERS = (HINTON, GANDHI, ADAMSON, BRENIG, DOOMS)
