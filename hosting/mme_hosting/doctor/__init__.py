"""What an endpoint needs before it is deployed, checked one by one: `run.examine` does it all.

A module a subject. A check is a function of a `Setup` that yields findings; what it raises becomes
one, so that none hides another.
"""
