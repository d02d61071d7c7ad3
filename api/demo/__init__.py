"""The demo: the real service and simulated users."""
