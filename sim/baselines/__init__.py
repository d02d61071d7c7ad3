"""Policies that the service is compared with."""
