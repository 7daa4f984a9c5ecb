"""The page of the local SageMaker: static files, and the JSON that they show."""
