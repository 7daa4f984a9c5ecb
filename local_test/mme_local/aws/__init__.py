"""AWS around the local SageMaker: moto's server, and clients of it."""
