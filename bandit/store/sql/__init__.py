"""The schema, connections, migrations and locks of both databases."""
