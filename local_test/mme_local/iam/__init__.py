"""IAM, as far as it is enforced: who calls, what that needs, and what policies say."""
