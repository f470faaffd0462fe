"""One photograph of a person to a fitted, bakeable avatar. Needs the extra `portrait`."""
