"""Stock multi-model-server against this container, measured side by side in one run."""
