"""The multi-model platform: what AWS does between InvokeEndpoint and the container."""
