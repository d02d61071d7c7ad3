"""The campaign document: fields, rules, defaults."""
