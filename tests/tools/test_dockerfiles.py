"""Dockerfiles as they are read here, and requirements as other systems see them."""

from pathlib import Path

import pytest

from tools import dockerfiles, wheels

TEXT = """
# a comment
ARG BASE=debian
FROM ${BASE}:12 AS build
ARG WHAT=one,two
COPY a.txt b /into/
RUN echo "$WHAT" \\
 && true  # not the end
FROM debian
COPY --from=build /into /there
ENV HERE=/there PATH=/there/bin:$PATH
USER 7:7
HEALTHCHECK --interval=1s CMD ["check", "it"]
ENTRYPOINT ["run"]
CMD run --all
"""


@pytest.fixture
def stages(tmp_path: Path) -> list[dockerfiles.Stage]:
    (tmp_path / "Dockerfile").write_text(TEXT)
    return dockerfiles.read(tmp_path / "Dockerfile")


def test_stages_steps_and_variables_are_read(stages: list[dockerfiles.Stage]) -> None:
    build, last = stages
    assert (build.image, build.name, last.image, last.name) == ("debian:12", "build", "debian", "1")
    assert [step.word for step in build.steps] == ["COPY", "RUN"]
    assert build.steps[1].command == ["/bin/sh", "-c", 'echo "$WHAT"  && true  # not the end']
    assert last.steps[0].options == {"from": "build"} and last.steps[0].words == ["/into", "/there"]
    assert last.environment({"PATH": "/bin"}) == {"PATH": "/there/bin:/bin", "HERE": "/there"}
    assert dockerfiles.said(last.last("ENTRYPOINT")) == ["run"] and dockerfiles.said(last.last("CMD")) == [
        "run",
        "--all",
    ]


def test_what_is_not_known_is_refused_not_skipped(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM debian\nADD https://example.org/x /x\n")
    with pytest.raises(ValueError, match="ADD is not known"):
        dockerfiles.read(tmp_path / "Dockerfile")


def test_what_a_copy_lacks_is_named(stages: list[dockerfiles.Stage]) -> None:
    assert dockerfiles.missing(stages, ["a.txt", "b/c"]) == []
    assert dockerfiles.missing(stages, ["b/c"]) == ["a.txt"]


def test_requirements_are_those_of_the_other_system() -> None:
    names = {system: " ".join(wheels.needed([], *known[1:])) for system, known in wheels.SYSTEMS.items()}
    assert "uvloop" not in names["Windows x86-64"]
    assert all("uvloop" in names[system] for system in names if not system.startswith("Windows"))
    assert all("prometheus-client" in given and ";" not in given for given in names.values())
