"""The `mme` command: thin commands over the packages."""
