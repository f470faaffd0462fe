"""How each command of the documentation is tried: by the first rule that fits. The table is in docs/development.md."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

RUN, START, ASK, PARSE, SYSTEM, READ = "run", "started", "asked", "parsed", "checked", "only read"
MEANS: Final = {
    RUN: "runs to its end, in a temporary folder, with small inputs, pictures of 96 x 96 and the geometric renderer",
    START: "is started, asked for `/v1/health`, and stopped",
    ASK: "is sent to a server that was started so; addresses of others lead to a closed port of this machine",
    PARSE: "its program's own parser takes exactly these arguments; nothing runs",
    SYSTEM: "what it names is looked up: packages, extras, targets, files, profiles; in copies where it writes",
    READ: "nothing but this table",
}


class Rule(NamedTuple):
    """Commands that match ``pattern`` are tried in this ``way``. ``by``: the test that runs such a thing, smaller."""

    pattern: str
    way: str
    by: str = ""
    extra: tuple[str, ...] = ()  # arguments that are added when it runs


PORTRAIT, DUB = "tests/training/portrait/test_enrol.py", "tests/training/portrait/test_dub_film.py"
RULES: Final = (
    Rule(r"visavis serve\b", START),
    Rule(r"visavis say\b", ASK, "tests/visavis/test_client.py"),
    Rule(r"visavis doctor --server\b", PARSE, "tests/visavis/test_doctor.py"),
    Rule(r"visavis doctor\b", RUN, "tests/visavis/test_doctor.py", ("--no-speed",)),
    Rule(r"visavis enroll\b", PARSE, PORTRAIT),
    Rule(r"visavis dub\b", PARSE, DUB),
    Rule(r"visavis export\b", PARSE, "tests/visavis/test_export.py"),
    Rule(r"visavis present\b", PARSE, "tests/visavis/test_present.py"),
    Rule(r"visavis cluster\b", PARSE, "tests/streaming/cluster/test_cluster.py"),
    Rule(r"visavis drive --webcam\b", PARSE, "tests/visavis/test_drive.py"),
    Rule(r"visavis detect-watermark\b", PARSE, "tests/visavis/test_watermark.py"),  # it looks for seconds
    Rule(r"visavis (render|drive|motion|avatars|avatar|devices)\b", RUN),
    Rule(r"python bench/run\.py\b", PARSE),
    Rule(r"python bench/page\.py\b", READ),
    Rule(r"python -m bench\.(motion_report|render_report|judges\.\w+)\b", SYSTEM),
    Rule(r"python -m (bench|training)\b", PARSE),
    Rule(r"(sudo )?python tools/dockerdry\.py\b", PARSE),
    Rule(r"python tools/(clidoc|configdoc)\.py$", SYSTEM, "tests/docs/test_generated.py"),
    Rule(r"python tools/\S+\.py\b", PARSE),
    Rule(r"python examples/agent_websocket\.py\b", PARSE, "tests/visavis/test_client.py"),
    Rule(r"python -m http\.server\b", PARSE),
    Rule(r"python -m tests\.docs\.table\b", SYSTEM, "tests/docs/test_generated.py"),
    Rule(r"python -m pytest\b|pytest\b", SYSTEM),
    Rule(r"mkdocs (build|serve)\b", SYSTEM, "tests/docs/test_site.py"),
    Rule(r"(S=\$\()?curl\b", ASK),
    Rule(r"make\b", SYSTEM),
    Rule(r"(sudo )?apt(-get)? install\b", SYSTEM),
    Rule(r"(\S*/)?pip install\b|python3 -m venv\b", SYSTEM),
    Rule(r"docker\b", SYSTEM, "tests/tools/test_deploy.py"),
    Rule(r"ray\b", SYSTEM),
    Rule(r"systemctl\b", SYSTEM, "tests/tools/test_deploy.py"),
    Rule(r"(\. \.venv/bin/activate|cd deploy|mkdir -p \w+|cp|sh secrets\.sh|install -d|\(umask)\b.*", SYSTEM),
    Rule(r"debootstrap\b|sudo modprobe\b|journalctl\b", READ),
)


def rule_of(command: str) -> Rule | None:
    """How ``command`` is tried; None when nobody has said so."""
    return next((rule for rule in RULES if re.match(rule.pattern, command)), None)
