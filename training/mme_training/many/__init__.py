"""Trains one model for each segment of a table: a city, a customer, a product."""
