"""Speech as a Source: resampled, paced, bounded, interrupted; its events come once, in order, when they are true."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from engine.clock import FRAME, VOICE_FRAME, VOICE_RATIO
from engine.motion.turn import PAUSE
from streaming import protocol
from streaming.speech import FADE, FADE_IN, LEAD, Event, Finished, Resampler, Speech, SpeechError, Started
from streaming.tracks import OutFrame

TICK = 960  # samples of a turn of the Live's clock
LAG = 3  # frames by which pictures are behind the voice


class Stage:
    """Stands where a Live does, and keeps what it is told."""

    def __init__(self) -> None:
        self.state = "idle"
        self.messages: list[protocol.Message] = []
        self.resumed: list[int] = []
        self.position = 0

    def obey(self, message: protocol.Message) -> bool:
        self.messages.append(message)
        if isinstance(message, protocol.SetState):
            self.state = message.name
        return True

    def resume(self) -> None:
        self.resumed.append(self.position)


class Room:
    """Speech on a stage, with a clock that is turned by hand: every turn takes 20 ms of sound, and every second one
    shows a frame, LAG behind."""

    def __init__(self, max_queue_s: float = 120.0) -> None:
        self.stage, self.events, self.heard = Stage(), [], []
        self.speech = Speech(self.stage, self.note, max_queue_s)
        self.shown = 0

    events: list[Event]
    heard: list[np.ndarray]

    def note(self, event: Event) -> None:
        self.events.append(event)

    def turn(self, ticks: int = 1) -> np.ndarray:
        """The sound of so many ticks."""
        pieces = []
        for _ in range(ticks):
            pieces.append(self.speech.take(TICK, self.stage.position))
            self.stage.position += TICK
            while (self.shown + 1) * VOICE_FRAME + LAG * VOICE_FRAME <= self.stage.position:
                self.speech.shown(OutFrame(self.shown * FRAME, np.zeros(0, np.uint8), {}))
                self.shown += 1
        self.heard += pieces
        return np.concatenate(pieces)

    def say(self, seconds: float, id: str = "a", value: int = 8000, rate: int = 48_000) -> None:
        self.speech.begin(id, rate)
        self.speech.push(constant(seconds, value, rate))
        self.speech.end()


@pytest.fixture
def room() -> Room:
    room = Room()
    room.turn(20)  # the avatar is there
    return room


def constant(seconds: float, value: int = 8000, rate: int = 48_000) -> bytes:
    return np.full(int(seconds * rate), value, "<i2").tobytes()


def loud(sound: np.ndarray) -> np.ndarray:
    """Where there is sound."""
    return np.flatnonzero(np.abs(sound) > 1e-4)


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_pieces_of_any_size_are_resampled_as_the_whole_is(rate: int, channels: int) -> None:
    time = np.arange(rate // 2) / rate
    tone = np.repeat((12_000 * np.sin(2 * np.pi * 440 * time)).astype("<i2"), channels).tobytes()
    one, many, rng = Resampler(rate, channels), Resampler(rate, channels), np.random.default_rng(1)
    whole = np.concatenate([one.push(tone), one.flush()])
    cuts = [0, *np.cumsum(rng.integers(1, 999, 400)), len(tone)]  # odd ones too: in the middle of a sample
    pieces = [many.push(tone[begin:end]) for begin, end in itertools.pairwise(cuts)]
    np.testing.assert_array_equal(np.concatenate([*pieces, many.flush()]), whole)
    assert abs(len(whole) - 24_000) <= 1
    truth = 12_000 / 32_768 * np.sin(2 * np.pi * 440 * np.arange(len(whole)) / 48_000)
    np.testing.assert_allclose(whole[500:-500], truth[500:-500], atol=1e-3)


def test_what_is_pushed_is_said_whole_and_its_events_tell_when(room: Room) -> None:
    begin = room.stage.position
    room.say(0.5, rate=16_000)
    sound = room.turn(40)
    assert len(loud(sound)) == 24_000 and loud(sound)[0] == 0 and np.ptp(loud(sound)) == 23_999
    assert room.events == [
        Started("a", begin // VOICE_RATIO),
        Finished("a", 0.5, False, (begin + 24_000) // VOICE_RATIO),
    ]
    assert not room.speech.active and room.speech.queued_ms == 0


def test_events_wait_for_the_frame_that_carries_them(room: Room) -> None:
    room.say(0.1)
    room.turn(2 * LAG)
    assert room.events == []
    room.turn(2)
    assert [type(event) for event in room.events] == [Started]
    room.turn(4)
    assert [type(event) for event in room.events] == [Started, Finished]


def test_segments_follow_each_other_without_a_gap(room: Room) -> None:
    for name in "abc":
        room.say(0.09, name)
    assert np.ptp(loud(room.turn(30))) == 3 * int(0.09 * 48_000) - 1
    assert [event.id for event in room.events] == list("aabbcc")
    assert [event.position for event in room.events if isinstance(event, Finished)] == pytest.approx([0.09] * 3)


def test_a_segment_begins_with_its_first_milliseconds_and_goes_on_after_it_ran_dry(room: Room) -> None:
    room.speech.begin("a", 48_000)
    room.speech.push(constant(0.02))
    assert not len(loud(room.turn(3)))  # too little to begin with
    room.speech.push(constant(0.04))
    first = room.turn(10)
    assert len(loud(first)) >= LEAD and loud(first)[0] == 0
    room.speech.push(constant(0.1))
    room.speech.end()
    room.turn(20)
    sound = np.concatenate(room.heard)
    assert len(loud(sound)) == int(0.16 * 48_000)
    inside = sound[loud(sound)[0] : loud(sound)[-1] + 1]
    assert len(inside) > len(loud(sound)) and np.abs(np.diff(inside)).max() < 2 * 0.25 / FADE  # a gap, no clicks
    assert isinstance(room.events[-1], Finished) and room.events[-1].position == pytest.approx(0.16)
    assert len(room.events) == 2


def test_nothing_is_said_before_there_is_anybody_to_say_it() -> None:
    room = Room()
    room.say(0.1)
    sound = room.turn(40)
    assert len(loud(sound)) == 4800 and loud(sound)[0] >= LAG * VOICE_FRAME


def test_an_interruption_tells_at_once_what_was_heard_of_each_segment(room: Room) -> None:
    begin = room.stage.position
    room.say(1.0, "a")
    room.say(1.0, "b")
    room.say(1.0, "c")
    room.turn(60)  # 1.2 s: a is said, and shown; b is on
    room.speech.interrupted()
    finished = [event for event in room.events if isinstance(event, Finished)]
    assert [(event.id, event.interrupted) for event in finished] == [("a", False), ("b", True), ("c", True)]
    assert finished[1].position == pytest.approx(0.2, abs=0.01) and finished[2].position == 0.0
    assert finished[1].pts == (begin + 60 * TICK) // VOICE_RATIO
    assert [event.id for event in room.events if isinstance(event, Started)] == ["a", "b"]
    tail = room.turn(20)
    assert len(loud(tail)) <= FADE and np.abs(np.diff(tail)).max() < 0.01  # no click
    assert room.speech.queued_ms == 0 and not room.speech.active
    count = len(room.events)
    room.speech.interrupted()
    room.speech.close()
    assert len(room.events) == count


def test_sound_on_its_way_to_an_interrupted_segment_is_dropped_without_a_word(room: Room) -> None:
    room.speech.begin("a", 48_000)
    room.speech.push(constant(0.1))
    room.turn(2)
    room.speech.interrupted()
    room.speech.push(constant(0.5))
    room.speech.end()
    assert len(loud(room.turn(10))) <= FADE
    with pytest.raises(SpeechError, match="begin one"):
        room.speech.push(constant(0.1))


def test_speech_after_an_interruption_is_announced_after_a_pause_and_nothing_of_it_is_lost(room: Room) -> None:
    room.say(1.0, "a")
    room.turn(10)
    room.speech.interrupted()
    cut, announced = room.stage.position, len(room.stage.resumed)
    room.say(0.5, "b")
    sound = room.turn(60)[FADE:]
    begin = loud(sound)[0] + FADE
    assert len(loud(sound)) == 24_000 and begin >= PAUSE * 48_000
    resumed = room.stage.resumed[announced:]
    assert len(resumed) == 1 and resumed[0] <= cut + begin - FADE_IN  # the voice is open again before it begins


def test_text_emotion_and_state_come_when_the_segment_is_said(room: Room) -> None:
    room.say(0.3, "a")
    room.speech.begin("b", 48_000, text="Hello.", emotion="happy", intensity=0.4)
    room.speech.push(constant(0.3))
    room.speech.end()
    room.turn(5)
    happy = protocol.SetManner("speech.begin", {"emotion": "happy", "intensity": 0.4})
    assert room.stage.state == "speaking" and happy not in room.stage.messages
    room.turn(15)
    assert happy in room.stage.messages and protocol.SetText("Hello.", hint=True) in room.stage.messages
    room.say(0.1, "c")
    room.turn(30)
    assert room.stage.state == "idle"
    texts = [message for message in room.stage.messages if isinstance(message, protocol.SetText)]
    assert texts == [protocol.SetText("Hello.", hint=True), protocol.SetText("", hint=True)]


def test_a_state_that_was_set_meanwhile_stays(room: Room) -> None:
    room.say(0.3)
    room.turn(5)
    room.stage.obey(protocol.SetState("listening"))
    room.turn(30)
    assert room.stage.state == "listening" and not room.speech.active


def test_an_empty_segment_is_finished_in_its_turn_without_having_started(room: Room) -> None:
    room.say(0.1, "a")
    room.speech.begin("b", 24_000)
    room.speech.end()
    room.say(0.1, "c")
    room.turn(30)
    assert [(type(event), event.id) for event in room.events] == [
        (Started, "a"), (Finished, "a"), (Finished, "b"), (Started, "c"), (Finished, "c"),
    ]  # fmt: skip


def test_a_worker_that_skips_ahead_loses_no_event(room: Room) -> None:
    room.say(0.3, "a")
    room.say(0.3, "b")
    for _ in range(50):
        room.speech.take(TICK, room.stage.position)
        room.stage.position += TICK
    assert room.events == []
    room.speech.shown(OutFrame(room.stage.position // VOICE_RATIO, np.zeros(0, np.uint8), {}))
    assert [(type(event), event.id) for event in room.events] == [
        (Started, "a"), (Finished, "a"), (Started, "b"), (Finished, "b"),
    ]  # fmt: skip


def test_the_queue_is_bounded_and_says_how_much_fits() -> None:
    room = Room(max_queue_s=2.0)
    room.turn(20)
    room.speech.begin("a", 24_000)
    room.speech.push(constant(1.5, rate=24_000))
    with pytest.raises(SpeechError, match=r"1\.5 s of speech wait and 0\.5 s more fit") as full:
        room.speech.push(constant(0.6, rate=24_000))
    assert full.value.code == "queue_full" and room.speech.free_ms == pytest.approx(500, abs=2)
    room.speech.push(constant(0.4, rate=24_000))  # nothing of the refused piece was taken
    room.speech.end()
    room.turn(150)
    assert isinstance(room.events[-1], Finished) and room.events[-1].position == pytest.approx(1.9, abs=1e-3)


@pytest.mark.parametrize(
    ("rate", "channels", "emotion", "intensity", "words"),
    [
        (7999, 1, None, 0.5, "8000..48000"),
        (96_000, 1, None, 0.5, "8000..48000"),
        (24_000, 3, None, 0.5, "1 or 2 channels"),
        (24_000, 1, "bored", 0.5, "neutral"),
        (24_000, 1, "happy", 7.0, "intensity"),
    ],
)
def test_a_segment_that_cannot_be_is_refused_and_leaves_nothing(
    room: Room, rate: int, channels: int, emotion: str | None, intensity: float, words: str
) -> None:
    with pytest.raises(SpeechError, match=words):
        room.speech.begin("a", rate, channels, emotion=emotion, intensity=intensity)
    assert not room.speech.active
    room.say(0.1, "a")
    with pytest.raises(SpeechError, match="id of its own"):
        room.speech.begin("a", 48_000)
    room.speech.begin("b", 48_000)
    with pytest.raises(SpeechError, match="still open"):
        room.speech.begin("c", 48_000)
