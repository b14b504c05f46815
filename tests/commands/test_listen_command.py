"""Tests of the listen command: `edgel3-np listen`, with pipes, files and a stand-in for the microphone."""

import io
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
from devices import fake_sounddevice

import edgel3_np
from edgel3_np.commands import ending
from edgel3_np.commands.main import main
from edgel3_np.live.examples import load_examples, nearest
from edgel3_np.live.microphone import Waiting

posix = pytest.mark.skipif(os.name != "posix", reason="signals and pipes as POSIX has them")
SR = 16000


def tone(frequency, seconds=2.0, sr=SR):
    return np.sin(2 * np.pi * frequency * np.arange(int(seconds * sr)) / sr)


def sounds():
    """Make three sounds that differ much."""
    clicks = (np.arange(2 * SR) % 1600 < 2).astype(float)
    return {"low": 0.5 * tone(150), "high": 0.3 * tone(3500), "clicks": 0.9 * clicks}


def as_s16(x):
    return np.round(x * 32767).astype("<i2")


@pytest.fixture(scope="module")
def sound():
    """Six seconds and a half: each of the sounds, then noise."""
    noise = 0.1 * np.random.default_rng(0).standard_normal(SR // 2)
    return as_s16(np.concatenate([*sounds().values(), noise]).clip(-1, 1))


@pytest.fixture
def examples(tmp_path):
    """Write an example of each sound, at another level: three folders."""
    for name, x in sounds().items():
        (tmp_path / "examples" / name).mkdir(parents=True)
        soundfile.write(tmp_path / "examples" / name / "1.wav", 0.4 * x, SR)
    return tmp_path / "examples"


def start(*arguments, **more):
    """Start `edgel3-np listen` in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(Path(edgel3_np.__file__).parent.parent)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "edgel3_np", "listen", *map(str, arguments)], env=environment, **pipes
    )


def listen(content, *arguments, size=None):
    """Feed standard input in pieces; return the exit code, the lines on stdout, and stderr."""
    program = start(*arguments)
    for first in range(0, len(content) if size else 0, size or 1):
        program.stdin.write(content[first : first + size])
        program.stdin.flush()
    out, err = program.communicate(None if size else content, timeout=100)
    return program.returncode, out.decode().splitlines(), err.decode()


def listen_here(monkeypatch, content, *arguments):
    """Run the command in this process, with these bytes as standard input; return its exit code."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    return main(["listen", "-", *map(str, arguments)])


@pytest.mark.parametrize("size", [None, 4001, 173])
def test_a_pipe_gives_what_embed_gives(sound, examples, size):
    """The same windows, times, levels and nearest examples, whatever the pieces."""
    code, lines, err = listen(sound.tobytes(), "-", "--json", "--examples", examples, "-t", 0.25, size=size)
    assert (code, err) == (0, "")
    model = edgel3_np.load_model()
    expected = model.embed(sound, SR, hop_size=0.25, center=False)
    loaded = load_examples(examples, model, pytest.fail)
    found = [json.loads(line) for line in lines]
    assert [moment["time"] for moment in found] == expected.timestamps.tolist()
    assert [(moment["label"], moment["cosine"]) for moment in found] == [nearest(loaded, v) for v in expected.embedding]
    x, ends = sound / 32768, [0, *(int((time + 1) * SR) for time in expected.timestamps)]
    for moment, first, last in zip(found, ends, ends[1:]):
        assert moment["level"] == pytest.approx(10 * np.log10(np.mean(x[first:last] ** 2)), abs=0.0051)


def test_each_sound_is_named(sound, examples):
    code, lines, err = listen(sound.tobytes(), "-", "--examples", examples)
    assert (code, err) == (0, "")
    fields = [line.split() for line in lines]
    assert [field[0] for field in fields] == [f"{number}.00" for number in range(7)]
    assert [field[-1] for field in fields[:6]] == ["low", "low", "high", "high", "clicks", "clicks"]
    assert all(field[1] == "s" and field[3] == "dBFS" and len(field) == 6 for field in fields)
    assert float(fields[0][2]) == pytest.approx(20 * np.log10(0.5 / 2**0.5), abs=0.06)


def test_embeddings_of_examples(sound, examples, tmp_path):
    list(edgel3_np.iter_files(examples, tmp_path / "npz", center=False))
    found = [listen(sound.tobytes(), "-", "--json", "--examples", folder) for folder in (examples, tmp_path / "npz")]
    assert found[0] == found[1] and found[0][0] == 0


def with_unknown_size(samples, size=0x80000000, **options):
    file = io.BytesIO()
    soundfile.write(file, samples, **options, format="WAV")
    content = file.getvalue()
    return content[:40] + struct.pack("<I", size) + content[44:]


@pytest.mark.parametrize("size", [0, 0x80000000, 0xFFFFFFFF])
def test_a_wav_of_unknown_size(sound, size):
    """Its header overrules the options."""
    expected = listen(sound.tobytes(), "-", "--rate", SR)
    assert expected[0] == 0 and len(expected[1]) == 7
    content = with_unknown_size(sound, size, samplerate=SR, subtype="PCM_16")
    assert listen(content, "-", "--rate", 44100, "--channels", 2, "--format", "f32", size=999) == expected


def test_numpy_alone_is_enough(sound):
    """With pico-64 and standard input; small computers need not install the rest."""
    code = (
        "import sys\n"
        "sys.modules.update(scipy=None, soundfile=None, sounddevice=None)\n"
        "from edgel3_np.commands.main import main\n"
        "sys.exit(main(['listen', '-']))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(edgel3_np.__file__).parent.parent)}
    options = {"input": sound.tobytes(), "stdout": subprocess.PIPE, "env": environment, "timeout": 100}
    ran = subprocess.run([sys.executable, "-c", code], **options)
    assert ran.returncode == 0 and ran.stdout.decode().splitlines() == listen(sound.tobytes(), "-")[1]


def test_formats_and_channels(sound):
    expected = listen(sound.tobytes(), "-")
    stereo = np.stack([sound, sound], axis=1)
    assert listen(stereo.tobytes(), "-", "--channels", 2) == expected
    assert listen((sound.astype("<i4") << 16).tobytes(), "-", "--format", "s32") == expected
    assert listen((sound / 32768).astype("<f4").tobytes(), "-", "--format", "f32") == expected


def test_a_wav_file(sound, tmp_path, monkeypatch, capsys):
    soundfile.write(tmp_path / "a.wav", sound, SR)
    assert listen_here(monkeypatch, sound.tobytes(), "--json") == 0
    expected = capsys.readouterr().out
    assert main(["listen", str(tmp_path / "a.wav"), "--json"]) == 0
    assert capsys.readouterr() == (expected, "")


@posix
def test_lines_come_while_the_sound_goes_on(sound):
    program = start("-")
    program.stdin.write(sound[: SR + SR // 2].tobytes())
    program.stdin.flush()
    assert program.stdout.readline().startswith(b"     0.00 s")  # the pipe is open: nothing is held back
    program.stdin.write(sound[:SR].tobytes())
    program.stdin.flush()
    assert program.stdout.readline().startswith(b"     1.00 s")
    out, err = program.communicate(timeout=100)
    assert program.returncode == 0 and err == b"" and out.startswith(b"     2.00 s")


@posix
def test_an_interrupt():
    program = start("-", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    program.stdin.write(bytes(3 * SR))
    program.stdin.flush()
    program.stdout.readline()
    program.send_signal(signal.SIGINT)
    _, err = program.communicate(timeout=100)
    assert program.returncode == ending.INTERRUPTED and err == b"edgel3-np listen: interrupted\n"


@posix
def test_nobody_reads_the_lines():
    program = start("-", "-t", "0.1")
    program.stdin.write(bytes(3 * SR))
    program.stdin.flush()
    program.stdout.readline()
    program.stdout.close()
    while program.poll() is None:
        try:
            program.stdin.write(bytes(SR))
            program.stdin.flush()
        except BrokenPipeError:
            break
    assert program.wait(timeout=100) == ending.NO_READER and program.stderr.read() == b""
    program.stderr.close()
    with suppress(BrokenPipeError):
        program.stdin.close()


@posix
def test_seconds_end_a_sound_that_does_not():
    program = start("-", "--seconds", "2.5", "--json")
    program.stdin.write(b"\1\0" * (3 * SR))
    program.stdin.flush()
    lines = [json.loads(line) for line in program.stdout]  # until the program ends, though its input does not
    assert program.wait(timeout=100) == 0 and [line["time"] for line in lines] == [0.0, 1.0, 2.0]
    program.communicate()


def test_odd_streams(sound, monkeypatch, capsys):
    flac = io.BytesIO()
    soundfile.write(flac, sound, SR, format="FLAC")
    nan = np.full(SR, np.nan, "<f4").tobytes()
    wav = with_unknown_size(sound, samplerate=SR)
    for content, arguments, message in (
        (b"", [], "standard input: expected at least one sample, found the end of the stream"),
        (b"x", [], "standard input: expected at least one sample"),
        (wav[:30], [], "standard input: expected a chunk of samples ('data'), found the end of the file"),
        (wav[:44], [], "standard input: expected at least one sample"),
        (
            flac.getvalue(),
            [],
            "standard input: expected WAV or samples without a header, found FLAC; use arecord -t raw",
        ),
        (nan, ["--format", "f32"], "standard input: expected finite samples"),
    ):
        assert listen_here(monkeypatch, content, *arguments) == ending.FAILED
        out, err = capsys.readouterr()
        assert out == "" and f"edgel3-np listen: {message}" in err


def test_warnings_are_messages(sound, monkeypatch, capsys):
    assert listen_here(monkeypatch, sound.tobytes() + b"x") == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 7
    assert err == (
        "edgel3-np listen: warning: standard input: expected whole frames of 2 bytes, found 1 of the last one; it is "
        "left out\n"
    )
    assert listen_here(monkeypatch, bytes(1000), "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"time": 0.0, "level": None}
    assert "shorter than a window" in err and "every sample is zero" in err and err.count("warning: ") == 2


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["-t", "0"], "expected a number of seconds above 0"),
        (["--rate", "5"], "expected a whole number from 100"),
        (["--channels", "0"], "expected a whole number from 1"),
        (["--format", "u8"], "u8"),
        (["--seconds", "-1"], "--seconds"),
    ],
)
def test_wrong_options(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["listen", "-", *arguments])
    assert stopped.value.code == ending.USAGE and message in capsys.readouterr().err


def test_wrong_usage(tmp_path, monkeypatch, capsys):
    for arguments, message in (
        (["-m", "nothing"], "nothing"),
        (["-t", "1e-9"], "hop_size: expected at least one sample"),
        (["--examples", tmp_path / "nothing"], "expected a folder of examples"),
        (["--examples", tmp_path], "expected recordings, or embeddings"),
    ):
        assert listen_here(monkeypatch, b"", *arguments) == ending.USAGE
        assert message in capsys.readouterr().err
    monkeypatch.setattr(sys, "stdin", None)
    assert main(["listen", "-"]) == ending.USAGE
    assert "expected a stream of sound, found none that is open" in capsys.readouterr().err
    terminal = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stdin", terminal)
    assert main(["listen", "-"]) == ending.USAGE
    assert "found a terminal; for example: arecord" in capsys.readouterr().err


def test_wrong_files(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("no sound, but text")
    for path, message in (
        (tmp_path / "a.txt", "expected a WAV file"),
        (tmp_path, "a directory"),
        (tmp_path / "b", "b: "),
    ):
        assert main(["listen", str(path)]) == ending.FAILED
        out, err = capsys.readouterr()
        assert out == "" and message in err and len(err.splitlines()) == 1


def test_examples_that_cannot_be_read_are_passed_over(sound, examples, monkeypatch, capsys):
    (examples / "bad.npz").write_bytes(b"no zip")
    assert listen_here(monkeypatch, sound.tobytes(), "--examples", examples) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 7 and err.startswith(f"edgel3-np listen: passed over: {examples / 'bad.npz'}: ")


def pieces_of(sound, frames=800):
    for first in range(0, len(sound), frames):
        part = sound[first : first + frames]
        yield part.tobytes(), len(part), first / SR, first == SR * 2


def test_the_microphone(sound, monkeypatch, capsys):
    """Its device loses samples after two seconds, and ends after six and a half."""
    take = Waiting.take
    monkeypatch.setattr(Waiting, "take", lambda self, _: take(self, 0.05))
    module = fake_sounddevice(pieces_of(sound), rate=float(SR))
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    assert main(["listen", "--device", "3", "--json"]) == ending.FAILED
    out, err = capsys.readouterr()
    assert module.opened[0]["device"] == 3 and module.opened[0]["channels"] == 1 and module.closed
    times = [json.loads(line)["time"] for line in out.splitlines()]
    assert times == pytest.approx([0, 1, *(2 + 1 / SR + number for number in range(4))])
    assert "warning: microphone: about 1 samples" in err and "the device has stopped" in err


def test_some_seconds_of_the_microphone(sound, monkeypatch, capsys):
    module = fake_sounddevice(pieces_of(sound), rate=48000.0)
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    assert main(["listen", "--device", "usb", "--rate", str(SR), "--seconds", "2"]) == ending.OK
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == ["0.00", "1.00"] and err == ""
    assert module.opened[0]["device"] == "usb" and module.opened[0]["samplerate"] == SR and module.closed


def test_without_sounddevice(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert main(["listen"]) == ending.USAGE
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1
    assert "pip install sounddevice" in err and "apt install libportaudio2" in err and "arecord" in err


def test_an_interrupt_at_the_microphone(monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Waiting, "take", interrupt)
    module = fake_sounddevice([], forever=True)
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    assert main(["listen"]) == ending.INTERRUPTED
    assert capsys.readouterr() == ("", "edgel3-np listen: interrupted\n") and module.closed


@pytest.mark.skipif(shutil.which("arecord") is None, reason="needs arecord (alsa-utils)")
@pytest.mark.parametrize("kind", ["wav", "raw"])
def test_arecord(kind):
    """ALSA's device `null` needs no sound card."""
    recorder = subprocess.Popen(
        ["arecord", "-q", "-D", "null", "-f", "S16_LE", "-r", str(SR), "-c", "1", "-t", kind],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    program = start("-", "--seconds", 3, "--json", stdin=recorder.stdout)
    recorder.stdout.close()
    out, err = program.communicate(timeout=100)
    deadline = time.monotonic() + 20
    while recorder.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    recorder.kill()
    recorder.wait()
    assert program.returncode == 0, err
    assert [json.loads(line)["time"] for line in out.splitlines()] == [0.0, 1.0, 2.0]
