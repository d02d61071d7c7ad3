"""Sentences about decisions and models for people."""
