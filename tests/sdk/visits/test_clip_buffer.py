"""The last seconds of a camera: within the limit, in order, and of the time that is asked for."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from hmdrn.visits.clip_buffer import ClipBuffer

LIMIT, SECONDS = 500, 3.0
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.floats(-0.5, 1.0), st.integers(1, 200)),
        st.tuples(st.just("take"), st.floats(0.0, 3.0), st.floats(0.0, 3.0)),
        st.tuples(st.just("release"), st.integers(0, 9), st.just(0)),
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_memory_is_bounded_and_clips_have_the_frames_of_their_time(steps):
    buffer, clock, added, takes = ClipBuffer(LIMIT, SECONDS), 0.0, {}, []
    for kind, first, second in steps:
        if kind == "add":
            clock = max(0.0, clock + first)
            if buffer.is_due(clock):
                jpeg = bytes(second)
                buffer.add(clock, jpeg)
                added[id(jpeg)] = jpeg, clock
        elif kind == "take":
            start, end = clock - first - second, clock - first
            frames = buffer.take(start, end)
            slots = [frame.slot for frame in frames]
            assert slots == sorted(set(slots))
            for frame in frames:
                time = added[id(frame.jpeg)][1]
                assert start - 0.1 < time < end + 0.1
                assert clock - SECONDS - 0.1 < time < clock + 0.1
            takes.append(frames)
        elif first < len(takes):
            buffer.release(takes.pop(first))
        alive = {id(frame): frame for frame in buffer.take(0.0, 1e9)}
        buffer.release(alive.values())
        alive.update((id(frame), frame) for frames in takes for frame in frames)
        assert buffer.size == sum(len(frame.jpeg) for frame in alive.values()) <= LIMIT


def test_a_buffer_keeps_one_frame_of_each_tenth_of_a_second():
    buffer = ClipBuffer()
    for number in range(60):  # two seconds at 30 frames a second
        if buffer.is_due(number / 30):
            buffer.add(number / 30, bytes([number]))
    assert [frame.jpeg[0] for frame in buffer.take(0.0, 9.0)] == list(range(0, 60, 3))


def test_the_oldest_frames_leave_first():
    buffer = ClipBuffer(max_bytes=10)
    for number in range(5):
        buffer.add(number, bytes(3))
    assert [frame.slot for frame in buffer.take(0.0, 9.0)] == [20, 30, 40]


def test_a_clock_that_runs_backwards_empties_the_buffer():
    buffer = ClipBuffer()
    for clock in (7.0, 8.0, 0.0, 1.0):
        buffer.add(clock, b"x")
    assert [frame.slot for frame in buffer.take(0.0, 9.0)] == [0, 10]


def test_frames_that_wait_to_be_encoded_count():
    buffer = ClipBuffer(max_bytes=10)
    buffer.add(0.0, bytes(6))
    waiting = buffer.take(0.0, 1.0)
    buffer.add(1.0, bytes(6))
    assert buffer.size == 6
    again = buffer.take(0.0, 2.0)
    assert [frame.slot for frame in again] == [0]
    buffer.release(again)
    buffer.release(waiting)
    buffer.add(2.0, bytes(6))
    assert [frame.slot for frame in buffer.take(0.0, 2.0)] == [20]


def test_frames_that_clips_hold_stay_for_the_next_clip():
    buffer = ClipBuffer(max_bytes=10)
    for number in range(3):
        buffer.add(number, bytes(3))
    waiting = buffer.take(0.0, 1.0)
    buffer.add(3.0, bytes(3))
    assert [frame.slot for frame in buffer.take(0.0, 9.0)] == [0, 10, 30]
    buffer.release(waiting)
