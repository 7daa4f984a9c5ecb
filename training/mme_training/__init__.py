"""Trains and packs XGBoost models, one for each segment of the data."""
