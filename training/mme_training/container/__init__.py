"""The contract of a SageMaker training job: what ``train`` reads and writes below ``/opt/ml``."""
