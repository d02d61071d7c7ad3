"""Keys, parsing, errors, metrics: what every route needs."""
