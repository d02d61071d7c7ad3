"""Schema versions, oldest first. They import nothing of ours: what they say must not change with it."""
