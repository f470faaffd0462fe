"""What every test of the page is given (pages.py)."""

from .pages import address, browser, driver, engine, page

__all__ = ["address", "browser", "driver", "engine", "page"]
