"""Means with intervals, and pages of pictures."""
