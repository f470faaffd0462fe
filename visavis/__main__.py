"""``python -m visavis`` is ``visavis``."""

from visavis.cli import main

main()
