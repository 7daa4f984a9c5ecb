"""Reads a channel's files into a data set."""
