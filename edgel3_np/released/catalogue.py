"""The released models: the official file of each, and what its authors say of it."""

from typing import NamedTuple

LAYER_SPARSITIES = {  # of conv1 ... conv8 in per cent (EdgeL3 paper), by the sparsity of the model
    "53.5": (0, 30, 40, 50, 30, 50, 50, 60),
    "63.5": (0, 40, 50, 60, 40, 60, 60, 70),
    "72.3": (0, 40, 50, 60, 40, 70, 70, 80),
    "73.5": (0, 60, 60, 70, 50, 70, 70, 80),
    "81.0": (0, 70, 70, 75, 60, 80, 80, 85),
    "87.0": (0, 80, 80, 85, 40, 85, 85, 95),
    "90.5": (30, 85, 85, 90, 60, 90, 90, 95),
    "95.45": (0, 85, 85, 85, 75, 95, 98, 98),
}
_EDGEL3 = "MIT, Copyright (c) 2019 Sangeeta Kumari"
_OPENL3 = "CC BY 4.0, the OpenL3 authors (Cramer, Wu, Salamon, Bello)"
LICENSES = {"sparse": _EDGEL3, "sea": _EDGEL3, "openl3": _OPENL3}  # by family
CITATIONS = {
    "sparse": "S. Kumari, D. Roy, M. Cartwright, J. P. Bello, A. Arora. EdgeL3: Compressing L3-Net for Mote Scale "
    "Urban Noise Monitoring. PAISE 2019.",
    "openl3": "J. Cramer, H.-H. Wu, J. Salamon, J. P. Bello. Look, Listen and Learn More: Design Choices for Deep "
    "Audio Embeddings. ICASSP 2019.",
    "sea": "S. Srivastava, D. Roy, M. Cartwright, J. P. Bello, A. Arora. Specialized Embedding Approximation for Edge "
    "Intelligence: A Case Study in Urban Sound Classification. ICASSP 2021.",
}


ACCURACIES = {  # per cent: ESC-50, UrbanSound8K; Kumari et al., PAISE 2019, and Srivastava et al., ICASSP 2021
    "sparse-ft-95.45": (72.6, 74.4),
    "sea-64": (44.0, 64.8),
    "sea-128": (49.8, 67.3),
    "sea-256": (51.2, 65.5),
    "sea-512": (61.3, 70.7),
}
GOOD_FOR = {  # by family, and the models that come with the package
    "pico-64": "urban, everyday, up to 4 kHz",
    "pico-64-stream": "like pico-64, hops below 0.5 s",
    "sea": "urban sound, up to 4 kHz",
    "sparse": "urban sound, animals, birds",
    "openl3": "everyday sound, birds, music",
}


class OfficialFile(NamedTuple):
    """The official file of the weights of a released model."""

    family: str  # 'sparse', 'sea' or 'openl3'
    address: str  # of the directory that holds the file
    name: str
    git_blob_sha1: str  # git's hash of the file as it is downloaded (gzipped): SHA-1 of b"blob %d\0" % size + content


_EDGEL3_ADDRESS = "https://github.com/ksangeeta2429/edgel3/raw/models/"
_OPENL3_ADDRESS = "https://github.com/marl/openl3/raw/models/"


def _sparse(how, sparsity, sha1):
    file = f"edgel3_{how}_audio_sparsity_{sparsity}.h5.gz"
    return OfficialFile("sparse", _EDGEL3_ADDRESS, file, sha1)


def _sea(dim, sha1):
    file = f"edgel3_sea_ust_audio_emb_{dim}.h5.gz"
    return OfficialFile("sea", _EDGEL3_ADDRESS, file, sha1)


def _openl3(input_repr, content_type, sha1):
    file = f"openl3_audio_{input_repr}_{content_type}-v0_4_0.h5.gz"
    return OfficialFile("openl3", _OPENL3_ADDRESS, file, sha1)


FILES = {
    "sparse-ft-53.5": _sparse("ft", "53.5", "145a4a61614c1b0b9f68339a844a3c92a431e118"),
    "sparse-ft-63.5": _sparse("ft", "63.5", "ce456a346803f8251505f137c8c3d04dcdcb8e67"),
    "sparse-ft-72.3": _sparse("ft", "72.3", "3bee3a0a90c82d7cd5ff77f3012eb51f6b818ef8"),
    "sparse-ft-73.5": _sparse("ft", "73.5", "6bf23ad68e5bf2e9e41c83659032234e18f5402e"),
    "sparse-ft-81.0": _sparse("ft", "81.0", "550d3c64ced38a3f61c8333f2775259bce216464"),
    "sparse-ft-87.0": _sparse("ft", "87.0", "a3537e20cd83b5d55708af7b1141a8e0c092488c"),
    "sparse-ft-90.5": _sparse("ft", "90.5", "fbf4d3742f46fe40960e9f7ff75ca2a2656877d0"),
    "sparse-ft-95.45": _sparse("ft", "95.45", "f04c05f436a6f95eea6f30573cb70c68841e16de"),
    "sparse-kd-53.5": _sparse("kd", "53.5", "28681887520bd12b87221c13beab11a766cb10dd"),
    "sparse-kd-63.5": _sparse("kd", "63.5", "c2bad561ef1f1cdd919f73f4c4f34f5672f58b4b"),
    "sparse-kd-72.3": _sparse("kd", "72.3", "2bc10ef8b9cec44354c5564173106ca5128cdc92"),
    "sparse-kd-73.5": _sparse("kd", "73.5", "81374e4a0a082eae689da873ef4079485576641d"),
    "sparse-kd-81.0": _sparse("kd", "81.0", "f522214d1f7e55cc2dd5c260051aa8b7b3fd0c65"),
    "sparse-kd-87.0": _sparse("kd", "87.0", "04fd3b2bf1d461bd6bc9a33925651797705e8b56"),
    "sparse-kd-90.5": _sparse("kd", "90.5", "24ec812c198b397c6c56da04ccde84b363e17a35"),
    "sparse-kd-95.45": _sparse("kd", "95.45", "ddefcd4c49a216f2ccec92db15105ed1499a6a35"),
    "sea-64": _sea(64, "f3535405c91fe8da71f6456adb8a061213324239"),
    "sea-128": _sea(128, "162576876259e8267eb6cefe09470dbf153ed6fc"),
    "sea-256": _sea(256, "6be46fee2c278b79d9f77f064146a9493eff2f83"),
    "sea-512": _sea(512, "116703e97997cc316d7163ede5d2f5e4d4018f87"),
    "openl3-linear-env": _openl3("linear", "env", "7837407f033f3564c7e8d53fc4a4241fe160478b"),
    "openl3-linear-music": _openl3("linear", "music", "4e2e61beb17865481c8b8791c72eac8307e2753a"),
    "openl3-mel128-env": _openl3("mel128", "env", "8c3dfee140f7776373841e5938a3e76c54f28942"),
    "openl3-mel128-music": _openl3("mel128", "music", "73ff29de441865318c4b3a3f98c40763c4773e7c"),
    "openl3-mel256-env": _openl3("mel256", "env", "34dbd7a91cdd2de6a3d6d036ac0a24d27d78e3cc"),
    "openl3-mel256-music": _openl3("mel256", "music", "15e483646fa3d4091a463f0affbb706e6bbbb098"),
}
