"""Training jobs: channels, containers, artifacts, metrics, logs."""
