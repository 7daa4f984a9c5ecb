"""The models of an endpoint: archives under versioned keys, and which of them is current."""
