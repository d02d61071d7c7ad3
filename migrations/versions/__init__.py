"""Schema versions, oldest first. They import nothing of ours, because they must not change with it."""
