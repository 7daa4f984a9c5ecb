"""The processes that serve models, and the pool that decides which model goes where."""
