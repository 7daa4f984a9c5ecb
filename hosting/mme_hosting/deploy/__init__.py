"""An endpoint on SageMaker: what there should be, what there is, and the way from one to the other.

`resources` says what there should be, and calls nothing.
"""
