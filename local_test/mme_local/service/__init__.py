"""SageMaker's API as botocore describes it: requests checked by it, answers shaped by it."""
