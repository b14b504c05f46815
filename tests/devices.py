"""A stand-in for the module sounddevice: its devices are lists of blocks."""

import threading
import types


class PortAudioError(Exception):
    """As sounddevice's."""


def fake_sounddevice(pieces, *, refuse=None, rate=16000.0, forever=False):
    """Make a module with the functions that `microphone` calls.

    Parameters
    ----------
    pieces : iterable of (bytes, int, float, bool)
        Content, frames, time and overflow of each call of the callback, which a thread makes.
    refuse : str, optional
        Message of the error with which the device refuses to start.
    rate : float
        The device's own sampling rate, Hz.
    forever : bool
        Whether the device stays active after its last piece.
    """
    module = types.ModuleType("sounddevice")
    module.PortAudioError, module.opened, module.closed = PortAudioError, [], []

    class RawInputStream:
        active = True

        def __init__(self, **options):
            module.opened.append(options)
            self._callback = options["callback"]

        def start(self):
            if refuse:
                raise PortAudioError(refuse)
            threading.Thread(target=self._record, daemon=True).start()

        def _record(self):
            for content, frames, time, overflowed in pieces:
                if module.closed:
                    return
                clock = types.SimpleNamespace(inputBufferAdcTime=time)
                self._callback(memoryview(content), frames, clock, types.SimpleNamespace(input_overflow=overflowed))
            self.active = forever

        def close(self):
            module.closed.append(True)

    def query_devices(device, kind):
        assert kind == "input"
        if device == "none":
            raise ValueError("No input device matching 'none'")
        return {"default_samplerate": rate}

    module.RawInputStream, module.query_devices = RawInputStream, query_devices
    return module
