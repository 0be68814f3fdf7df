"""Whether the diagnosis of a run names the cause of its failure."""
