"""Policies compete in simulated worlds."""
