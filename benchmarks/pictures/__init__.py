"""Pictures of the code for docs/pictures, drawn from the code itself."""
