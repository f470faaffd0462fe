"""What every test of the page is given (pages.py); and no example of a property is too slow on a busy machine."""

from hypothesis import HealthCheck, settings

from .pages import address, browser, driver, engine, page

__all__ = ["address", "browser", "driver", "engine", "page"]

settings.register_profile(
    "busy", settings.default, deadline=None,
    suppress_health_check=[*settings.default.suppress_health_check, HealthCheck.too_slow],
)  # fmt: skip
settings.load_profile("busy")
