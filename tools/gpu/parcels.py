"""What is packed for a GPU machine without a network: the heavy part of the repository, wheels, loaders, speech."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.gpu import carry
from tools.gpu.calls import BASE, CARRIED_MOST, RTX

ROOT = Path(__file__).parents[2]
# Folders that do not travel with the tree, because it would be too large: packed, or not needed there.
PACKED = ("engine/assets", "training/assets", "training/bake/assets")
LEFT = ("docs/images", "training/portrait/assets")
NOT_NEEDED = ("engine/assets/face_mesh.onnx", "engine/assets/face_detection.onnx")
MARGIN = 1 << 20
# Of our requirements, what a CUDA image with torch, ONNX and the usual scientific packages does not have.
WHEELS = ("av>=14", "moderngl>=5.12", "glcontext", "zstandard>=0.22")
RTX_WHEELS = ("tensorrt-rtx-cu13-libs==1.7.1.116", "tensorrt-rtx-cu13-bindings==1.7.1.116")
RTX_SOURCE = "tensorrt-rtx-cu13==1.7.1.116"  # pure Python, an sdist
LOADERS = ("libegl1", "libglvnd0", "libopengl0", "libgl1", "libglx0", "libgles2", "libvulkan1")  # of Debian
PLATFORMS = tuple(f"manylinux_2_{n}_x86_64" for n in (34, 31, 28, 27, 17, 5)) + ("manylinux2014_x86_64",)


def tree_bytes(root: Path = ROOT) -> int:
    """Bytes of the working tree that travels: tracked and untracked files that git does not ignore."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=root,
                            capture_output=True, text=True, check=True).stdout  # fmt: skip
    return sum(path.stat().st_size for name in set(listed.split("\0")) - {""} if (path := root / name).is_file())


def thin_bytes(root: Path = ROOT) -> int:
    """The same once PACKED and LEFT stay behind."""
    heavy = sum(
        path.stat().st_size for folder in (*PACKED, *LEFT) for path in (root / folder).rglob("*") if path.is_file()
    )
    return max(tree_bytes(root) - (heavy if tracked(root) else 0), 0)


def tracked(root: Path = ROOT) -> bool:
    """Whether the heavy folders are in git's index, and so travel."""
    listed = subprocess.run(["git", "ls-files", PACKED[0]], cwd=root, capture_output=True, text=True, check=True)
    return bool(listed.stdout.strip())


def limit(root: Path = ROOT) -> int:
    """Bytes that a part may have."""
    return CARRIED_MOST - thin_bytes(root) - MARGIN


def pack_base(out: Path, speech: Path, most_speech: int, python: str, fetched: Path) -> list[Path]:
    """Assets, wheels, loaders and up to ``most_speech`` bytes of each split of ``speech``."""
    wheels = fetch(WHEELS, python, fetched / "wheels")
    loaders = fetch_loaders(fetched / "loaders")
    files = [*assets(), *((path, f"wheels/{path.name}") for path in wheels)]
    files += [(path, f"loaders/{path.name}") for path in loaders]
    files += [(path, f"tree/data/speech/{path.name}") for path in some_speech(speech, most_speech)]
    return carry.pack(BASE, files, out, limit())


def pack_rtx(out: Path, python: str, fetched: Path) -> list[Path]:
    """TensorRT for RTX. Its wheels are compressed already."""
    folder = fetched / "rtx"
    fetch(RTX_WHEELS, python, folder)
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), RTX_SOURCE], check=True)
    return carry.pack(RTX, [(p, f"wheels/{p.name}") for p in folder.glob("*.whl")], out, limit(), preset=0)


def assets(root: Path = ROOT) -> Iterator[tuple[Path, str]]:
    """The heavy files that are needed there."""
    for folder in PACKED:
        for path in sorted((root / folder).rglob("*")):
            name = path.relative_to(root).as_posix()
            if path.is_file() and name not in NOT_NEEDED and "__pycache__" not in name:
                yield path, f"tree/{name}"


def some_speech(folder: Path, most: int) -> list[Path]:
    """Shards of every split that the studio asks for, smallest first, up to ``most`` bytes a split, one at least.

    Raises ValueError when a split has none."""
    chosen = []
    for split in ("train", "sentence", "speaker"):
        shards = sorted(folder.glob(f"{split}-*.npz"), key=lambda path: path.stat().st_size)
        if not shards:
            raise ValueError(
                f"no {split} speech in {folder}; make some: python -m training.speech make --hours 0.2 --out {folder} "
                "--voices flite_slt,flite_rms,flite_awb,espeak,flite_kal"
            )
        room = most
        for shard in shards:
            if shard is shards[0] or shard.stat().st_size <= room:
                chosen.append(shard)
                room -= shard.stat().st_size
    return chosen


def fetch(packages: tuple[str, ...], python: str, folder: Path) -> list[Path]:
    """Wheels for ``python`` (3.12) on x86-64 Linux, without what they depend on."""
    folder.mkdir(parents=True, exist_ok=True)
    for package in packages:
        platforms = [word for name in PLATFORMS for word in ("--platform", name)]
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", str(folder),
                   "--python-version", python, "--implementation", "cp", *platforms, package]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ValueError(f"{package}: no wheel for Python {python}: {done.stderr.strip().splitlines()[-1]}")
    return sorted(folder.glob("*.whl"))


def fetch_loaders(folder: Path) -> list[Path]:
    """Debian's OpenGL and Vulkan loaders, for a machine that has the driver alone. None where apt is not."""
    folder.mkdir(parents=True, exist_ok=True)
    if not list(folder.glob("*.deb")):
        try:
            subprocess.run(["apt-get", "-q", "download", *LOADERS], cwd=folder, capture_output=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return []
    return sorted(folder.glob("*.deb"))


def thin(root: Path = ROOT) -> None:
    """Takes PACKED and LEFT out of git's index and lets git ignore them, so that they do not travel; no file changes.

    Raises ValueError when one of them differs from the last commit. `thicken` is the way back: commit nothing before.
    """
    heavy = [*PACKED, *LEFT]
    changed = subprocess.run(["git", "status", "--porcelain", "--", *heavy], cwd=root, capture_output=True, text=True,
                             check=True).stdout.strip()  # fmt: skip
    if changed:
        raise ValueError(f"these differ from the last commit; commit or undo them first:\n{changed}")
    exclude(root, add=heavy)
    subprocess.run(["git", "rm", "-r", "-q", "--cached", "--", *heavy], cwd=root, check=True)


def thicken(root: Path = ROOT) -> None:
    """Undoes `thin`."""
    heavy = [*PACKED, *LEFT]
    subprocess.run(["git", "reset", "-q", "HEAD", "--", *heavy], cwd=root, check=True)
    exclude(root, remove=heavy)


def exclude(root: Path, add: list[str] | None = None, remove: list[str] | None = None) -> None:
    """Has git ignore folders in this clone alone, or no longer."""
    folder = subprocess.run(["git", "rev-parse", "--git-common-dir"], cwd=root, capture_output=True, text=True,
                            check=True).stdout.strip()  # fmt: skip
    path = root / folder / "info" / "exclude"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    ours = {f"/{name}/" for name in (add or remove or [])}
    lines = [line for line in lines if line not in ours] + (sorted(ours) if add else [])
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
