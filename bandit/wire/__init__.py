"""The documents of the HTTP interface, for everything that uses them."""
