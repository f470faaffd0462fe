import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bench import peers
from bench.cues import Cue, read_cues, write_cues
from bench.peers import PEERS, BrokenPeer, Heard, MissingPeer, Peer, ask, install, parse_report, require, write_wav
from bench.peers.__main__ import app, read_sound, read_texts

FOX = Heard(np.linspace(-0.5, 0.5, 8000, dtype=np.float32), "the quick fox")


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(peers, "HOME", tmp_path / "peers")
    return tmp_path / "peers"


@pytest.fixture
def echo(home: Path, monkeypatch: pytest.MonkeyPatch) -> Peer:
    """A peer of our own with a driver that says "PP" at the length of the sound, and "aa" when it is given a text."""
    drivers = home.parent / "drivers"
    drivers.mkdir()
    (drivers / "echo_driver.py").write_text(
        "import json, sys, wave\n"
        "for job in json.load(open(sys.argv[1])):\n"
        "    if job['text'] == 'fail': sys.exit('I am broken')\n"
        "    length = wave.open(job['wav']).getnframes() / 16000\n"
        "    name = 'aa' if job['text'] else 'PP'\n"
        "    open(job['out'], 'w').write(f'time,viseme\\n{length},{name}\\n')\n"
        "print('chatter')\n"
        "print(json.dumps({'seconds': 0.25}))\n"
    )
    monkeypatch.setattr(peers, "DRIVERS", drivers)
    peer = Peer("echo", "echo", "1.2", "MIT", "says what it heard", "python", "echo_driver.py", reads=True)
    (peer.folder / "venv/lib/python3.11/site-packages/echo-1.2.dist-info").mkdir(parents=True)
    peer.python.parent.mkdir(parents=True)
    peer.python.symlink_to(sys.executable)
    return peer


def test_a_peer_hears_the_sound_and_is_asked_once(echo: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    short = Heard(FOX.pcm[:1600], "")
    assert ask(echo, [FOX, short]) == [[Cue(0.5, "aa")], [Cue(0.1, "PP")]]
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("it was asked again"))
    assert ask(echo, [short, FOX], kept_only=True) == [[Cue(0.1, "PP")], [Cue(0.5, "aa")]]


def test_another_sound_another_text_or_another_driver_is_asked_anew(echo: Peer) -> None:
    ask(echo, [FOX])
    for other in (Heard(FOX.pcm * 0.5, FOX.text), Heard(FOX.pcm, "the slow fox")):
        with pytest.raises(MissingPeer, match="1 of 1 answers are not kept"):
            ask(echo, [other], kept_only=True)
    driver = peers.DRIVERS / echo.driver
    driver.write_text(driver.read_text() + "# changed\n")
    with pytest.raises(MissingPeer, match="not kept"):
        ask(echo, [FOX], kept_only=True)


def test_who_does_not_read_is_known_by_the_sound_alone() -> None:
    assert FOX.key(False) == Heard(FOX.pcm, "else").key(False) and FOX.key(True) != Heard(FOX.pcm, "else").key(True)


def test_a_driver_that_fails_is_quoted_and_nothing_is_kept(echo: Peer) -> None:
    with pytest.raises(BrokenPeer, match=r"exit status 1.*I am broken"):
        ask(echo, [Heard(FOX.pcm, "fail")])
    assert not list(echo.cache.glob("*.csv"))


@pytest.mark.parametrize("out", ["", "no json", '{"minutes": 1}', "[]", "null"])
def test_a_report_that_is_none_is_a_broken_peer(out: str) -> None:
    with pytest.raises(BrokenPeer, match="x failed"):
        parse_report("x", 0, out, "")


def test_a_report_is_the_last_line() -> None:
    assert parse_report("x", 0, 'loading\n{"seconds": 1.5}\n', "warning") == 1.5


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_that_is_not_here_says_how_to_get_it(name: str, home: Path) -> None:
    with pytest.raises(MissingPeer, match=f"python -m bench.peers install {name}"):
        require(PEERS[name])


def test_a_peer_of_another_version_is_not_used(echo: Peer) -> None:
    require(echo)
    package = echo.folder / "venv/lib/python3.11/site-packages/echo-1.2.dist-info"
    package.rename(package.with_name("echo-1.3.dist-info"))
    with pytest.raises(MissingPeer, match=r"is here as 1\.3, not 1\.2"):
        require(echo)


def test_node_packages_are_found_with_their_version(home: Path) -> None:
    peer = PEERS["headaudio"]
    manifest = peer.folder / "node_modules/@met4citizen/headaudio/package.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text('{"version": "0.1.0"}')
    assert peer.installed_version() == "0.1.0" and peer.folder.name == "headaudio"


def test_installing_runs_pinned_commands_in_the_peers_own_folder(home: Path) -> None:
    ran: list[tuple[list[str], Path]] = []

    def run(command: list[str], cwd: Path, check: bool) -> None:
        assert check and cwd.is_dir()
        ran.append((command, cwd))

    for name in PEERS:
        with pytest.raises(MissingPeer):  # nothing came
            install(PEERS[name], run)
    said = [" ".join(command) for command, _ in ran]
    for peer in PEERS.values():
        assert any(f"{peer.package}{sign}{peer.version}" in words for words in said for sign in ("@", "=="))
    assert all(cwd.parent == home for _, cwd in ran) and "--ignore-scripts" in said[0]


def test_every_driver_is_there_and_every_licence_is_free() -> None:
    for peer in PEERS.values():
        assert (peers.DRIVERS / peer.driver).is_file() and peer.licence == "MIT"


def test_sound_files_are_read_as_the_peers_get_them(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", FOX.pcm)
    with wave.open(str(tmp_path / "a.wav")) as sound:
        assert (sound.getnchannels(), sound.getframerate(), sound.getnframes()) == (1, 16000, 8000)
    assert (tmp_path / "a.wav").stat().st_size == 44 + 16000
    assert np.abs(read_sound(tmp_path / "a.wav") - FOX.pcm).max() < 1e-4
    (tmp_path / "b.wav").write_bytes(b"RIFF nothing")
    with pytest.raises(ValueError, match=r"b\.wav: not a sound file"):
        read_sound(tmp_path / "b.wav")


def test_transcripts_need_their_columns(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("name,text\na,hello there\n")
    assert read_texts(tmp_path / "t.csv") == {"a": "hello there"}
    (tmp_path / "t.csv").write_text("name,words\na,hello\n")
    with pytest.raises(ValueError, match="expected the columns name and text"):
        read_texts(tmp_path / "t.csv")


def test_folders_of_answers_are_scored_against_a_folder_of_truth(tmp_path: Path) -> None:
    true = [Cue(0.0, "sil"), Cue(0.3, "PP"), Cue(0.4, "aa"), Cue(0.6, "SS"), Cue(0.7, "sil")]
    write_cues(tmp_path / "truth" / "a.csv", true)
    write_cues(tmp_path / "late" / "a.csv", [Cue(round(c.time + 0.05, 3), c.viseme) for c in true])
    result = CliRunner().invoke(app, ["score", str(tmp_path / "truth"), str(tmp_path / "late")])
    cells = [[word.strip() for word in line.split("│")[1:-1]] for line in result.output.splitlines() if "│" in line]
    lines = {row[2]: row[3:] for row in cells}
    assert lines["lag_ms"][0] == "50" and lines["f1_15"][0] == "1.0000" and float(lines["f1_15"][1]) < 0.8


def test_a_peer_that_reads_wants_transcripts(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", FOX.pcm)
    result = CliRunner().invoke(app, ["predict", "openfacefx", str(tmp_path), str(tmp_path / "out")])
    assert isinstance(result.exception, ValueError) and "needs the transcript of a" in str(result.exception)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["headaudio", "rhubarb"])
def test_an_installed_peer_answers_in_its_alphabet(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    peer = PEERS[name]
    try:
        require(peer)
    except MissingPeer as error:
        pytest.skip(str(error))
    monkeypatch.setattr(Peer, "cache", tmp_path / "answers")
    voice = read_sound(peers.ROOT / "streaming" / "web" / "sample.wav")[:32000]
    cues = ask(peer, [Heard(voice, "")])[0]
    assert cues and all(0 <= c.time <= 2.2 for c in cues)
    assert read_cues(next((tmp_path / "answers").glob("*.csv"))) == cues
