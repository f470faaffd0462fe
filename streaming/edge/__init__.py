"""The web process: serves the page and its files, and hands everything else to the worker that has the session."""
