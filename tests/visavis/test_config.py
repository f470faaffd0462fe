from pathlib import Path

import pytest

from visavis.config import Config, ConfigError, load

ROOT = Path(__file__).parents[2]


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return path


def test_the_file_in_the_repository_says_the_defaults() -> None:
    assert load(ROOT / "config.toml") == Config()


def test_a_value_in_the_file_replaces_the_default(tmp_path: Path) -> None:
    assert load(write(tmp_path, "[render]\nwidth = 640\n")).render.width == 640


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[render]\nwidht = 640", r'unknown key "render\.widht"; did you mean "render\.width"'),
        ("[redner]\nwidth = 640", r'unknown key "redner"; did you mean "render"'),
        ('[render]\nwidth = "wide"', r'"render\.width" must be int'),
        ("[render]\nwidth = true", r'"render\.width" must be int'),
        ("[render]\nwidth = 511", r"even number"),
        ('[render]\nframing = "feet"', r"framing must be"),
        ("[gpu]\nsessions = 65", r"\[gpu\] sessions must be from 1 to 64, got 65"),
        ("[gpu]\nsteps = 3", r"\[gpu\] steps must be one of 1, 2, 4, got 3"),
        ('[render]\nbackend = "cuda"', r'\[render\] backend must be one of auto, tensorrt, .*, got "cuda"'),
        ('[watermark]\nkey = ""', r"\[watermark\] key must not be empty"),
        ("[watermark]\nenabled = 1", r'"watermark\.enabled" must be bool'),
        ("render = 3", r'"render" is a section'),
        ("[render\n", r"config\.toml"),
        ("x = " + "[" * 2000, r"nested too deeply"),
    ],
)
def test_a_bad_key_or_value_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(write(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load(tmp_path / "nowhere.toml")


def test_a_secret_that_cannot_be_used_is_not_shown(tmp_path: Path) -> None:
    for text in (
        "[server]\ntoken = 123456789",
        '[server]\ntoken_key = ["123456789"]',
        "[[server.tokens]]\nsecret = 123456789",
    ):
        with pytest.raises(ConfigError) as problem:
            load(write(tmp_path, text))
        assert "123456789" not in str(problem.value)


def test_tokens_with_names_are_read(tmp_path: Path) -> None:
    text = '[server]\ntokens = [{ name = "studio", secret = "of sixteen letters", scopes = ["open"] }]'
    (token,) = load(write(tmp_path, text)).server.tokens
    assert (token.name, token.scopes) == ("studio", ("open",))
    assert "of sixteen letters" not in repr(token)
