"""Simulated users with a known truth."""
