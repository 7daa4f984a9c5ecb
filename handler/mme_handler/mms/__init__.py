"""All that is known of multi-model-server: how it starts, launches workers and speaks to them."""
