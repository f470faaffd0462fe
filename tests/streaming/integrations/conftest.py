"""One real engine for all adapters: small pictures, painted without a network."""

import pytest

from engine.config import EngineConfig, RenderConfig
from engine.engine import Engine


@pytest.fixture(scope="session")
def real_engine() -> Engine:
    engine = Engine(EngineConfig(render=RenderConfig(128, 128, renderer="geometric")))
    engine.warm_up()
    return engine
