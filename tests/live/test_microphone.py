"""Tests of the microphone, with a stand-in for sounddevice."""

import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from devices import fake_sounddevice

from edgel3_np import EdgeL3Error
from edgel3_np.live import microphone
from edgel3_np.live.microphone import Waiting, open_microphone


@pytest.fixture(autouse=True)
def short_patience(monkeypatch):
    take = Waiting.take
    monkeypatch.setattr(Waiting, "take", lambda self, _: take(self, 0.05))


@pytest.fixture(scope="module")
def sound():
    return np.random.default_rng(0).integers(-9000, 9000, (24_000, 2)).astype(np.int16)


def pieces_of(sound, frames=800, sr=16000):
    for start in range(0, len(sound), frames):
        part = sound[start : start + frames]
        yield part.tobytes(), len(part), 5.0 + start / sr, False


def record(monkeypatch, module, device=None, sr=None, channels=2, stop=None):
    """Return rate, blocks, notices and the error at the end."""
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    blocks, notices, error = [], [], None
    try:
        with open_microphone(device, sr, channels, notices.append) as source:
            for block in source.blocks:
                blocks.append(block)
                if len(blocks) == stop:
                    break
    except EdgeL3Error as failure:
        error = failure
    assert len(module.closed) == len(module.opened)
    return source.sr if blocks else None, blocks, notices, error


def test_blocks_arrive_in_order(sound, monkeypatch):
    module = fake_sounddevice(pieces_of(sound))
    sr, blocks, notices, error = record(monkeypatch, module)
    assert sr == 16000 and notices == [] and {block.lost for block in blocks} == {0}
    assert np.array_equal(np.concatenate([block.samples for block in blocks]), sound.mean(axis=1) / 32768)
    options = module.opened[0]
    assert (options["samplerate"], options["channels"], options["dtype"], options["blocksize"], options["device"]) == (
        16000,
        2,
        "int16",
        800,
        None,
    )
    assert "found none for 1 s: the device has stopped" in str(error) and error.kind == "damaged"


def test_a_rate_and_a_device_of_ones_own(sound, monkeypatch):
    module = fake_sounddevice(pieces_of(sound), rate=44100.0)
    assert record(monkeypatch, module, "usb", 8000, stop=1)[0] == 8000
    assert module.opened[0]["device"] == "usb" and module.opened[0]["blocksize"] == 400
    assert record(monkeypatch, fake_sounddevice(pieces_of(sound), rate=44100.0), stop=1)[0] == 44100


def test_a_device_that_sends_nothing(monkeypatch):
    monkeypatch.setattr(microphone, "PATIENCE", 3)
    error = record(monkeypatch, fake_sounddevice([], forever=True))[3]
    assert "expected samples, found none for 3 s" in str(error)


@pytest.mark.parametrize(
    "device, refuse, message",
    [
        ("none", None, "cannot record from device 'none': No input device matching 'none'; `python -m sounddevice`"),
        (None, "Invalid sample rate", "cannot record from the default device: Invalid sample rate; "),
    ],
)
def test_a_device_that_refuses(device, refuse, message, monkeypatch):
    error = record(monkeypatch, fake_sounddevice([], refuse=refuse), device)[3]
    assert f"microphone: {message}" in str(error)


def test_an_impossible_rate(monkeypatch):
    error = record(monkeypatch, fake_sounddevice([], rate=0.0))[3]
    assert str(error).startswith("microphone: expected a sampling rate from 100")


def test_samples_that_the_sound_system_loses(sound, monkeypatch):
    """Its clock says how many; if it cannot be right, there is at least one."""
    pieces = list(pieces_of(sound))
    late = [(content, frames, time + 0.25, number == 3) for number, (content, frames, time, _) in enumerate(pieces)]
    late[:3] = pieces[:3]
    _, blocks, notices, _ = record(monkeypatch, fake_sounddevice(late))
    assert [block.lost for block in blocks] == [0, 0, 0, 4000] + [0] * (len(blocks) - 4)
    assert notices == [
        "microphone: about 4000 samples (0.25 s) of sound are lost in the sound system, by its clock; is this machine "
        "busy?"
    ]
    for clock in (0.0, 1e300, np.nan, np.inf):
        flagged = [(*pieces[0][:2], 0.0, True), (*pieces[1][:2], clock, True)]
        assert [block.lost for block in record(monkeypatch, fake_sounddevice(flagged))[1]] == [1, 1]


def test_sound_that_comes_too_fast_is_lost_in_one_piece():
    """While nobody takes them, pieces wait until there are too many; then all are lost until none waits any more."""
    waiting, now = Waiting(1000, 4), 0

    def put(count):
        nonlocal now
        for _ in range(count):
            waiting.put(b"%d" % now, 100, now / 10, False)
            now += 1

    put(10)
    assert waiting.take(0) == (b"0", 0, 0)
    put(1)  # there is room, but three still wait
    assert [waiting.take(0) for _ in range(3)] == [(b"1", 0, 0), (b"2", 0, 0), (b"3", 0, 0)]
    put(5)
    assert [waiting.take(0) for _ in range(4)] == [(b"11", 700, 0), (b"12", 0, 0), (b"13", 0, 0), (b"14", 0, 0)]
    put(1)
    assert waiting.take(0) == (b"16", 100, 0)


def test_losing_is_reported(sound, monkeypatch):
    """Four pieces wait, sixteen are lost, and ten arrive as the others are taken."""
    monkeypatch.setattr(microphone, "WAITING", 0.2)
    notices, taken, lost, sent = [], [], 0, threading.Event()

    def pieces():
        for number, piece in enumerate(pieces_of(sound)):
            if number == 20:
                sent.set()
            while len(taken) < number - 16 and number >= 20:
                time.sleep(0.001)
            yield piece

    monkeypatch.setitem(sys.modules, "sounddevice", fake_sounddevice(pieces()))
    with pytest.raises(EdgeL3Error), open_microphone(None, None, 2, notices.append) as source:
        assert sent.wait(10)
        for block in source.blocks:
            taken.append(block.samples)
            lost += block.lost
    kept = np.concatenate([sound[: 4 * 800], sound[20 * 800 :]])
    assert np.array_equal(np.concatenate(taken), kept.mean(axis=1) / 32768) and lost == 16 * 800
    assert notices == [
        "microphone: 12800 samples (0.80 s) of sound are lost: it comes faster than it is embedded; take a longer hop "
        "or a smaller model"
    ]


@pytest.mark.parametrize(
    "failure", ["raise ImportError('No module named x')", "raise OSError('PortAudio library not found')"]
)
def test_without_sounddevice_or_portaudio(failure, tmp_path, monkeypatch):
    (tmp_path / "sounddevice.py").write_text(failure)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    with pytest.raises(EdgeL3Error) as caught, open_microphone(None, None, 1, print):
        pass
    text = str(caught.value)
    for part in ("pip install sounddevice", "apt install libportaudio2", "arecord -f S16_LE", "edgel3-np listen -"):
        assert part in text
    assert "\n" not in text


def test_sounddevice_is_imported_only_where_it_is_used():
    code = "import sys, edgel3_np.commands.listen; sys.exit('sounddevice' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=100).returncode == 0
