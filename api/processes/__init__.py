"""The server, the worker, and how they end."""
