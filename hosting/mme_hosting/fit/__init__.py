"""How many models fit on an instance, how many instances the traffic needs, and what they cost.

`measure` loads a sample of the archives into a real server here; everything else is reckoned from
what it finds, and from traffic, real or assumed.
"""
