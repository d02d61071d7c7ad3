"""All SQL: one schema for SQLite and PostgreSQL."""
