"""`FrontEnd`: the parameters that turn a window of samples into a log-mel spectrogram."""

from typing import NamedTuple


class FrontEnd(NamedTuple):
    """Parameters of a log-mel front end.

    Parameters
    ----------
    sr : int > 0
        Sampling rate, Hz. A window is one second: `sr` samples.
    n_fft : int > 0
        Length of the Fourier transform, samples.
    hop_length : int > 0
        Distance between frames, samples.
    n_mels : int > 0
        Mel bands from 0 Hz to `sr / 2`; on the scale `linear`, the bins of the transform, `1 + n_fft // 2`.
    mel_scale : {'htk', 'slaney', 'linear'}
        Scale on which the bands are equally wide.
    spectrum : {'power', 'magnitude'}
        `power`: a band is the root of its sum of `|X|^2`. `magnitude`: a band is its sum of `|X|`, where X is
        TensorFlow's transform (see `tf_stft`).
    padding : {'same', 'end', 'valid'}
        Where zeros are put so that a window has `ceil(sr / hop_length)` frames: on both sides, or at its end. `valid`:
        nowhere, and only frames inside the window are computed.
    """

    sr: int
    n_fft: int
    hop_length: int
    n_mels: int
    mel_scale: str = "htk"
    spectrum: str = "power"
    padding: str = "same"

    @property
    def n_frames(self):
        """Frames per window."""
        if self.padding == "valid":
            return 1 + (self.sr - self.n_fft) // self.hop_length
        return -(-self.sr // self.hop_length)

    @property
    def pad_left(self):
        """Zeros before a window, in samples."""
        return ((self.n_frames - 1) * self.hop_length + self.n_fft - self.sr) // 2 if self.padding == "same" else 0

    @property
    def whole_frames(self):
        """Number of the first frame that lies inside the window, and of the first after it that does not."""
        return -(-self.pad_left // self.hop_length), (self.pad_left + self.sr - self.n_fft) // self.hop_length + 1
