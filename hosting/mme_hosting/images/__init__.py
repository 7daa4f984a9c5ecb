"""The image: checked, pushed to a registry, read back. `push` is where to begin."""
