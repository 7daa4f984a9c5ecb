"""The hyperparameters of a training: one table says which there are, and checks them."""
