"""AWS's protocols, as botocore's own service models describe them: requests in, answers out."""
