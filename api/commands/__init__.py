"""The commands of sendopt."""
