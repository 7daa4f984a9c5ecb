"""Containers of the image, in Docker or as processes, laid out as SageMaker's are."""
