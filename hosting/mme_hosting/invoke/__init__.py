"""Requests to a target model of an endpoint."""
