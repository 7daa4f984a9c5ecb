"""CloudWatch metrics and logs, under AWS's names."""
