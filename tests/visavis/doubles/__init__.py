"""Stand-ins for third-party modules of devices, found before them when their folder is on the path."""
