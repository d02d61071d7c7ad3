"""Vowpal Wabbit, and the allow-list of its arguments."""
