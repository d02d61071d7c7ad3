"""Decisions, feedback and receipts, stored and answered."""
