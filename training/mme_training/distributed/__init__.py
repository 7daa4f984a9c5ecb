"""One model, trained by several hosts, or by several GPUs of a host, on the rows that each has.

XGBoost's own collective adds up the histograms; Dask keeps count of the hosts, hands out the work
and tells which host failed, where a bare allreduce would wait for ever. Training itself is not
``xgboost.dask.train``: a host's rows are already where they are used, and so each worker runs the
same `mme_training.fit.fit` as a single host does, inside XGBoost's communicator.

Hosts trust each other: Dask and XGBoost exchange pickles. The network of a training job belongs to
the job alone; ``EnableInterContainerTrafficEncryption`` encrypts it.
"""
