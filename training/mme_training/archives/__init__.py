"""Model archives: made, looked into, named, uploaded, and tried on a real server."""
