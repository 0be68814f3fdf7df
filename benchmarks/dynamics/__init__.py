"""Training dynamics of Forward-Forward networks (Adamson, arXiv 2504.11229): accuracy of layers and model over epochs."""
