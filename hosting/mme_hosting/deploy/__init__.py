"""An endpoint on SageMaker: what there should be, what there is, and the way from one to the other.

`resources` says what there should be, `present` reads what there is, `plan` compares the two and
calls nothing, and `apply` carries a plan out.
"""
