"""What CloudWatch has measured of an endpoint, as numbers and as pictures."""
