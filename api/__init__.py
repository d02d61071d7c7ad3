"""Serve: the HTTP service, its worker, its client and its commands."""
