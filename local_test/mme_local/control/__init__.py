"""The control plane: what SageMaker's API creates, describes, lists and deletes."""
