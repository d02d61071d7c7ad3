"""Trials of the estimators and of the promotion gate."""
