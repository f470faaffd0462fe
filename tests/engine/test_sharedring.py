"""Frames in shared memory: what is read is what was painted, or known not to be."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.sharedring import RingError, SharedFrameRing

EVEN = st.integers(1, 9).map(lambda half: 2 * half)


def pair(slots: int = 8, height: int = 6, width: int = 10) -> tuple[SharedFrameRing, SharedFrameRing]:
    """The reader's ring, which made the memory, and the painter's."""
    reader = SharedFrameRing.create(slots, height, width)
    return reader, SharedFrameRing.of(os.dup(reader.descriptor))


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 9), EVEN, EVEN)
def test_a_frame_is_there_until_its_slot_is_claimed_again(slots: int, height: int, width: int) -> None:
    reader, painter = pair(slots, height, width)
    for number in range(2 * slots + 1):
        picture = painter.claim()
        picture[:] = 0xFF  # what is half painted is nobody's to see
        assert reader.look(number) is None
        picture[:] = number
        assert painter.publish(picture) == number
        seen = reader.look(number)
        assert seen is not None and seen.shape == (height * 3 // 2, width) and (seen == number).all()
        for other in range(number + 1):
            assert reader.intact(other) == (other > number - slots)
    reader.close()
    painter.close()


def test_a_frame_that_is_painted_over_while_it_is_read_is_known_to_be() -> None:
    reader, painter = pair(slots=3)
    painter.claim()[:] = 1
    painter.publish(painter._pictures[0])
    seen = reader.look(0)
    assert seen is not None
    for _ in range(2):
        painter.publish(painter.claim())
    assert reader.intact(0)
    painter.claim()[:3] = 9
    assert (seen[:3] == 9).all() and not reader.intact(0)


def test_a_picture_from_elsewhere_is_copied_into_the_ring_with_its_transparency() -> None:
    reader, painter = pair()
    painter.publish(painter.claim())
    dressed = np.full((9, 10), 7, np.uint8)
    stacked = np.full((18, 10), 8, np.uint8)
    number = painter.publish(dressed, stacked)
    seen = reader.look(number)
    assert number == 1 and seen is not None and (seen == 7).all() and (reader.stacked(number) == 8).all()


def test_the_same_picture_shown_again_keeps_its_number() -> None:
    reader, painter = pair()
    picture = painter.claim()
    assert painter.publish(picture) == painter.publish(picture) == 0
    assert reader.look(0) is not None


def test_a_painter_that_comes_after_another_goes_on_counting() -> None:
    reader, painter = pair()
    for _ in range(5):
        painter.publish(painter.claim())
    painter.claim()  # it ends in the middle of a frame
    heir = SharedFrameRing.of(os.dup(reader.descriptor))
    assert not reader.intact(5)
    assert heir.publish(heir.claim()) == 6 and reader.intact(6)


def test_another_process_paints_into_it() -> None:
    reader = SharedFrameRing.create(4, 4, 6)
    script = (
        "import sys; from engine.sharedring import SharedFrameRing as R; r = R.of(int(sys.argv[1])); p = r.claim(); "
        "p[:] = 42; print(r.publish(p))"
    )
    fd = reader.descriptor
    done = subprocess.run([sys.executable, "-c", script, str(fd)], pass_fds=(fd,), capture_output=True, check=True)
    seen = reader.look(int(done.stdout))
    assert seen is not None and (seen == 42).all()


def test_a_picture_outlives_the_ring_that_gave_it() -> None:
    reader, painter = pair()
    picture = painter.claim()
    picture[:] = 3
    seen = reader.look(painter.publish(picture))
    reader.close()
    painter.close()
    del reader, painter, picture
    assert seen is not None and (seen == 3).all()


def test_memory_that_is_no_ring_is_refused_and_let_go() -> None:
    for content in (
        b"",
        b"vvframes",
        b"x" * 4096,
        b"vvframes" + bytes([1, 0, 0, 0, 8, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0]),
    ):
        descriptor = os.memfd_create("test") if hasattr(os, "memfd_create") else os.open(os.devnull, os.O_RDWR)
        os.write(descriptor, content)
        with pytest.raises(RingError):
            SharedFrameRing.of(descriptor)
        with pytest.raises(OSError):
            os.fstat(descriptor)


@pytest.mark.parametrize("shape", [(1, 4, 4), (2, 3, 4), (2, 4, 5), (2, 0, 4)])
def test_a_ring_of_impossible_shape_is_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(RingError, match="even sides"):
        SharedFrameRing.create(*shape)
