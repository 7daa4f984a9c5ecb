"""The local SageMaker: endpoints and training jobs on one machine, for AWS's own clients."""
