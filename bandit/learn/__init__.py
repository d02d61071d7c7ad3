"""Rewards, label check, training, canary, publication."""
