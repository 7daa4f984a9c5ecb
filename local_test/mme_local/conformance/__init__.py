"""The contract of a multi-model container of SageMaker, as checks that any image can be put to.

`registry` says what a check is and holds them all; the modules `image`, `start`, `management`,
`invocation`, `concurrency`, `memory` and `signals` are the checks; `clauses` is where each is from.
`target` is what they are put to: a container of an image, or a server at a URL. `run` runs them,
`report` tells what came of it.
"""
