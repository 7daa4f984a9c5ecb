"""The other side of the comparison: multi-model-server as it comes, one process per model."""
