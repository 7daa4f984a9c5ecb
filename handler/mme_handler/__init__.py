"""Serves many XGBoost models behind multi-model-server: what runs inside the container."""
