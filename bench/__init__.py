"""Every number that we publish, and the command that gives it."""
