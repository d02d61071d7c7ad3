"""Decide and learn: the send-optimizer without HTTP and without simulation."""
