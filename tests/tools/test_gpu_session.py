"""The GPU session's own arithmetic: parcels come out as they went in, calls stay within what a call may be."""

import random
import subprocess
import time

import pytest

from tools.gpu import calls, carry, parcels, phases, session


@pytest.fixture
def files(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name, size in (("a.bin", 70_000), ("b.bin", 30_000), ("empty", 0)):
        (source / name).write_bytes(random.Random(name).randbytes(size))
    return [(path, f"tree/deep/{path.name}") for path in sorted(source.iterdir())]


def test_a_parcel_arrives_whole_whatever_the_order_of_its_parts(tmp_path, files):
    parts = carry.pack("base", files, tmp_path / "out", 30_000, preset=0)
    assert len(parts) > 2 and all((part / "part").stat().st_size <= 30_000 for part in parts)
    kept, trees = tmp_path / "kept", tmp_path / "trees"
    for part in parts[:0:-1]:
        assert carry.receive(part, kept, trees) == {"base": False}
    assert carry.receive(parts[0], kept, trees) == {"base": True}
    assert carry.place(trees / "base" / "tree", tmp_path / "root") == len(files)
    for path, name in files:
        assert (tmp_path / "root" / name.removeprefix("tree/")).read_bytes() == path.read_bytes()
    assert carry.receive(tmp_path / "nothing", kept, trees) == {"base": True}


def test_a_damaged_part_is_refused(tmp_path, files):
    part = carry.pack("base", files, tmp_path / "out", 1 << 20)[0]
    data = bytearray((part / "part").read_bytes())
    data[10] ^= 1
    (part / "part").write_bytes(data)
    with pytest.raises(carry.CarryError, match="part 0 of base is damaged"):
        carry.receive(part, tmp_path / "kept", tmp_path / "trees")


def test_what_comes_back_in_pieces_is_mended_or_said_to_be_broken(tmp_path, files):
    pieces = carry.cut(files[0][0], tmp_path / "out", "weights.pt", 30_000)
    assert len(pieces) == 3
    carry.mend(tmp_path / "out", "weights.pt", tmp_path / "back.pt")
    assert (tmp_path / "back.pt").read_bytes() == files[0][0].read_bytes()
    pieces[1].unlink()
    with pytest.raises(carry.CarryError, match="did not come back whole"):
        carry.mend(tmp_path / "out", "weights.pt", tmp_path / "back.pt")


@pytest.mark.parametrize("minutes", [24, 30, 45])
def test_calls_are_short_enough_to_paste_and_to_run(minutes):
    rows = calls.calls(minutes, {"base": 2, "rtx": 2})
    assert all(len(row.command) <= calls.COMMAND_MOST and 60 < row.seconds <= calls.CALL_MOST for row in rows)
    assert {name for row in rows for name in row.phases} <= set(phases.PHASES)
    order = [row.name for row in rows]
    assert order[:2] == ["base0", "base1"] and order.index("teach") < order.index("tune") < order.index("kernels")
    assert [row.phases for row in calls.calls(14, {"base": 1}, train=False)][1] == ("parity",)
    with pytest.raises(ValueError, match="21 minutes at least"):
        calls.calls(15, {"base": 1})


def repository(folder):
    for name in ("engine/assets/big.bin", "docs/images/a.png", "kernels/a.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x" * 1000)
    for folder_name in parcels.PACKED + parcels.LEFT:
        (folder / folder_name).mkdir(parents=True, exist_ok=True)
        (folder / folder_name / "one").write_bytes(b"y" * 100)
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=folder, check=True)
    return folder


def test_a_thin_tree_leaves_the_heavy_folders_on_disk_and_comes_back(tmp_path):
    root = repository(tmp_path)
    whole, thin = parcels.tree_bytes(root), parcels.thin_bytes(root)
    parcels.thin(root)
    assert parcels.tree_bytes(root) == thin == whole - 2000 - 100 * len(parcels.PACKED + parcels.LEFT)
    assert (root / "engine/assets/big.bin").exists() and not parcels.tracked(root)
    assert session.problems_of([], root) == []
    parcels.thicken(root)
    status = subprocess.run(["git", "status", "--porcelain"], cwd=root, capture_output=True, text=True, check=True)
    assert parcels.tree_bytes(root) == whole and status.stdout == ""
    (root / "engine/assets/big.bin").write_bytes(b"new")
    with pytest.raises(ValueError, match="differ from the last commit"):
        parcels.thin(root)


def test_a_failing_phase_is_told_and_does_not_stop_the_next(tmp_path, monkeypatch):
    ran = []
    monkeypatch.setitem(phases.PHASES, "probe", lambda machine: ran.append("probe"))
    monkeypatch.setitem(phases.PHASES, "teach", lambda machine: machine.python("-c", "print('so'); exit(3)"))
    machine = phases.Machine(tmp_path, tmp_path / "work", tmp_path / "out", time.monotonic() + 60, gpu=False)
    assert not phases.perform(machine, ["teach", "probe"])
    assert ran == ["probe"] and machine.summary["phase.probe"] == "done"
    assert "ended with 3: so" in machine.summary["phase.teach"]
    assert "so" in (tmp_path / "out" / phases.LOG).read_text()


def test_a_command_that_outlasts_the_call_is_ended_and_what_it_said_is_kept(tmp_path):
    machine = phases.Machine(tmp_path, tmp_path / "work", tmp_path, time.monotonic() + 60, gpu=False)
    phases.prepare(machine)
    with pytest.raises(phases.PhaseError, match="early"):
        # Python starts within the limit on a busy machine, too
        machine.python("-c", "import time; print('early', flush=True); time.sleep(60)", limit=5.0)
    assert "early" in (tmp_path / phases.LOG).read_text()
