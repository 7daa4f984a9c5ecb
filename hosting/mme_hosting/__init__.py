"""Takes the image to AWS. Runs on the machine of whoever deploys, and never in the container."""
