"""One page about many models: how good they are, which are the worst, and what failed."""
