"""Estimators for embeddings, steps and parts of actions."""
