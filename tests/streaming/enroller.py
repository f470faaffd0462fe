"""Does what ``training.portrait.worker`` does, as far as a server sees it; the photograph's first word says how.

``well``, ``badly`` (an error in words), ``slowly`` (with a child that holds on), ``dead`` (ends without a word),
``killed`` (by somebody else), ``broken`` (a pack that cannot be opened), ``empty`` (says done, made
nothing), ``chatty`` (junk between its lines), ``long`` (30 steps of 50 ms), ``held`` (halfway it waits until the file
that it leaves beside the avatars, pids-ID, is taken away).
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.streaming.picture import png


def say(**words: object) -> None:
    print(json.dumps(words), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser()
    for name in ("out", "id", "name", "consent"):
        parser.add_argument(f"--{name}", required=True)
    asked = parser.parse_args()
    how = sys.stdin.buffer.read().split(b" ", 1)[0].decode()
    out = Path(asked.out)
    say(step="reading the photograph", share=0.1)
    if how == "badly":
        say(error="no face was found: the photograph must show a person's face from the front, upright and lit")
        return 3
    if how == "dead":
        print("Traceback: out of ideas", file=sys.stderr)
        return 1
    if how == "killed":
        (out.parent / "half").write_text("half done")
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "slowly":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (out.parent / "half").write_text("half done")
        (out.parents[1] / f"pids-{asked.id}").write_text(f"{child.pid}")
        say(step="fitting the head", share=0.4)
        time.sleep(600)
    if how == "chatty":
        print('not json\n[1]\n{"step": 5, "share": NaN}\n' + "x" * 200_000, flush=True)
    if how == "held":
        mark = out.parents[1] / f"pids-{asked.id}"
        mark.touch()
        say(step="fitting the head", share=0.5)
        while mark.exists():
            time.sleep(0.05)
    for k in range(30 if how == "long" else 3):
        time.sleep(0.05)
        say(step="fitting the head", share=0.1 + 0.8 * (k + 1) / (30 if how == "long" else 3))
    if how != "empty":
        partial = out.with_name(".partial")
        partial.mkdir()
        (partial / "avatar.toml").write_text("broken" if how == "broken" else asked.name, encoding="utf-8")
        (partial / "consent.txt").write_text(asked.consent, encoding="utf-8")
        for picture in ("preview", "report"):
            (partial / f"{picture}.png").write_bytes(png(200))
        partial.replace(out)
    say(done={"id": asked.id, "warnings": ["the face is small: the texture will be soft"], "report": "report.png"})
    return 0


if __name__ == "__main__":
    sys.exit(main())
