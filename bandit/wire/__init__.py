"""The documents of the HTTP interface."""
