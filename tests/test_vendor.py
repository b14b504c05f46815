"""Copies made by `tools/vendor.py`, run in the ways that people will run them."""

import ast
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from configparser import ConfigParser
from importlib.util import find_spec
from pathlib import Path

import factory
import numpy as np
import pytest
import soundfile
import vendor

import edgel3_np
from edgel3_np.weights import save_weights

PACKAGES = [str(Path(find_spec(name).origin).parent) for name in ("numpy", "scipy")]
PACKAGES = list(dict.fromkeys([os.path.dirname(path) for path in PACKAGES] + [os.path.dirname(soundfile.__file__)]))
HOMES = {  # where a copy is put, in a directory or a zip file, and what it is called there
    "top": ("edgel3_np", False),
    "renamed": ("l3", False),
    "nested": ("myapp/_vendor/edgel3_np", False),
    "zip": ("edgel3_np", True),
    "nested in a zip": ("myapp/_vendor/edgel3_np", True),
}
PROGRAM = """
import sys, importlib, json
name, root, wav, absent, packages = json.loads(sys.argv[1])
sys.path[:0] = [root]
sys.path += packages
sys.modules.update(dict.fromkeys(absent))
if name != "edgel3_np":
    sys.modules["edgel3_np"] = None  # nobody may import it by that name
import numpy
l3 = importlib.import_module(name)
assert l3.__file__.startswith(root), l3.__file__
timing, openl3 = importlib.import_module(name + ".timing"), importlib.import_module(name + ".openl3")
sound = numpy.sin(numpy.arange(30000) ** 1.3)
model = l3.load_model()
(path,) = [path for name, path in l3.list_models().items() if name == "pico-64"]
assert str(path).startswith(root), path
assert l3.load_model(path).sha256 == model.sha256
with l3.Stream(model, 22050) as stream:
    streamed = stream.feed(sound).embedding.tobytes() + stream.flush().embedding.tobytes()
found = [
    model.name,
    model.sha256,
    timing.check("pico-64")["golden"] < 1e-6,
    model.embed(sound, 22050).embedding.tobytes().hex(),
    streamed.hex(),
    l3.embed(wav).embedding.tobytes().hex(),
]
print(json.dumps([found, sorted(sys.modules)]))
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A copy with pico-64."""
    root = tmp_path_factory.mktemp("bundle")
    assert vendor.main([str(root)]) == 0
    return root / "edgel3_np"


@pytest.fixture(scope="module")
def wav_bundle(tmp_path_factory):
    root = tmp_path_factory.mktemp("wav")
    assert vendor.main([str(root), "--wav-only"]) == 0
    return root / "edgel3_np"


@pytest.fixture(scope="module")
def wav(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "sound.wav"
    noise = np.random.default_rng(0).standard_normal((60000, 2)) / 9
    soundfile.write(path, noise, 44100, subtype="PCM_24")
    return path


@pytest.fixture(scope="module")
def expected(wav):
    """What a copy must find."""
    sound, model = np.sin(np.arange(30000) ** 1.3), edgel3_np.load_model()
    of_array, of_file = model.embed(sound, 22050).embedding, model.embed(wav).embedding
    return ["pico-64", model.sha256, True, *(x.tobytes().hex() for x in (of_array, of_array, of_file))]


def place(bundle, home, folder):
    """Put a copy there: the entry for `sys.path`, and the name to import."""
    path, zipped = HOMES[home]
    root = folder / "root"
    shutil.copytree(bundle, root / path)
    for parent in (root / path).parents:
        if parent == root:
            break
        (parent / "__init__.py").touch()
    if zipped:
        root = Path(shutil.make_archive(str(folder / "all"), "zip", root))
    return str(root), path.replace("/", ".")


def start(arguments, flags=(), root=None, **options):
    """Run Python elsewhere; the packages that a copy needs can be found, unless it is told otherwise."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH" and not key.startswith("EDGEL3")}
    if root:
        env["PYTHONPATH"] = os.pathsep.join([root, *PACKAGES])
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "universal_newlines": True}
    ran = subprocess.run([sys.executable, *flags, *arguments], env=env, timeout=200, **pipes, **options)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    return ran.stdout


def facts(root, name, wav, absent=(), flags=("-S", "-E"), before=""):
    arguments = [name, root, str(wav), absent, PACKAGES]
    found, modules = json.loads(start(["-c", before + PROGRAM, json.dumps(arguments)], flags, cwd=Path(root).parent))
    return found, set(modules)


@pytest.mark.parametrize("flags", [("-W", "error"), ("-W", "error", "-S", "-E")], ids=["plain", "-S -E"])
@pytest.mark.parametrize("home", HOMES)
def test_the_same_bytes_wherever_it_lies(bundle, wav, expected, tmp_path, home, flags):
    assert facts(*place(bundle, home, tmp_path), wav, flags=flags)[0] == expected


@pytest.mark.parametrize("home", ["top", "nested in a zip"])
def test_wav_only_needs_nothing_but_numpy(wav_bundle, wav, expected, tmp_path, home):
    found, modules = facts(*place(wav_bundle, home, tmp_path), wav, absent=["scipy", "soundfile"])
    assert found == expected


def test_wav_only_does_not_ask_for_soundfile(wav_bundle, wav, expected, tmp_path):
    found, modules = facts(*place(wav_bundle, "renamed", tmp_path), wav)
    assert found == expected and "soundfile" not in modules


def test_without_soundfile_a_copy_reads_wav(bundle, wav, expected, tmp_path):
    assert facts(*place(bundle, "renamed", tmp_path), wav, absent=["scipy", "soundfile"])[0] == expected


def test_from_where_nothing_can_be_written(bundle, wav, expected, tmp_path):
    """An audit hook refuses what a file system that is read-only would (tests may run as root, who writes anywhere)."""
    root, name = place(bundle, "nested", tmp_path)
    before = f"""
import sys, os
def refuse(event, arguments, root={root!r}):
    writes = event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.utime", "os.chmod")
    writes = writes or event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if writes and str(arguments[0]).startswith(root):
        raise PermissionError(str(arguments[0]))
sys.addaudithook(refuse)
sys.dont_write_bytecode = False
try:
    open(os.path.join({root!r}, "new"), "w")
    raise SystemExit("the hook does nothing")
except PermissionError:
    pass
"""
    names = sorted(Path(root).rglob("*"))
    assert facts(root, name, wav, before=before)[0] == expected
    assert sorted(Path(root).rglob("*")) == names


@pytest.mark.parametrize("home", ["nested", "nested in a zip"])
def test_command_line_and_processes(bundle, wav, expected, tmp_path, home):
    root, name = place(bundle, home, tmp_path)
    run = ["-m", name, str(wav), "-o", str(tmp_path / "out"), "--quiet"]
    assert start(run, root=root, cwd=tmp_path) == ""
    with np.load(tmp_path / "out" / "sound.npz") as archive:
        assert archive["embedding"].tobytes().hex() == expected[-1]
    assert re.match(r"pico-64 +8000 Hz +64-d +14\d\d\d\d bytes ", start(["-m", name, "--list-models"], root=root))
    spawned = (
        "import multiprocessing, sys\n"
        f"from {name} import embed_files\n"
        "if __name__ == '__main__':\n"
        "    multiprocessing.set_start_method('spawn')\n"
        "    print([report.status for report in embed_files(sys.argv[1], sys.argv[2], jobs=2)])\n"
    )
    (tmp_path / "spawned.py").write_text(spawned)
    out = start([str(tmp_path / "spawned.py"), str(wav.parent), str(tmp_path / "spawned")], root=root)
    assert out == "['done']\n"
    assert (tmp_path / "spawned" / "sound.npz").stat().st_size == (tmp_path / "out" / "sound.npz").stat().st_size


def test_new_processes_of_the_bench_import_the_copy(bundle, tmp_path):
    root, name = place(bundle, "nested in a zip", tmp_path)
    code = f"import json, {name}.timing as t; print(json.dumps([t.time_import(1), t.in_a_new_process("
    code += f"'import {name}; print({name}.__file__)')]))"
    cost, file = json.loads(start(["-c", code], root=root))
    assert file.startswith(root) and cost["seconds"] > cost["numpy"] > 0


def test_what_is_in_it(bundle, capsys):
    files = sorted(path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file())
    package = {path.name for path in Path(edgel3_np.__file__).parent.glob("*.py")}
    left_out = {f"{name}.py" for name in vendor.LEFT_OUT}
    weights = {"_weights/pico-64.npz", "_weights/pico-64.golden.npy"}
    assert set(files) == (package - left_out) | weights | {"LICENSE", "VENDORED.txt", "py.typed"}
    for path in bundle.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert node.level == 1
                assert node.module is None or f"{node.module}.py" in files, f"{path.name} imports {node.module}"
                for alias in node.names if node.module is None else ():
                    assert f"{alias.name}.py" in files or hasattr(edgel3_np, alias.name)
            else:
                assert not (isinstance(node, ast.Import) and any("edgel3_np" in alias.name for alias in node.names))


def test_pico_64_is_under_400_kb(bundle, tmp_path, capsys):
    size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
    assert vendor.main([str(tmp_path)]) == 0
    assert f"{size / 1000:.1f} kB" in capsys.readouterr().out
    assert size < 400_000


def test_the_note_tells_what_it_is_and_needs(bundle, wav_bundle):
    text = (bundle / "VENDORED.txt").read_text()
    hashes = dict(re.findall(r"(?m)^([0-9a-f]{64})  (.*)$", text))
    files = {path for path in bundle.rglob("*") if path.is_file() and path.name != "VENDORED.txt"}
    assert {bundle / path for path in hashes.values()} == files
    for digest, path in hashes.items():
        assert hashlib.sha256((bundle / path).read_bytes()).hexdigest() == digest
    needs = re.search(r"(?m)^needs +(.*)", text)[1]
    config = ConfigParser()
    config.read(vendor.ROOT / "setup.cfg")
    for line in config["options"]["install_requires"].split("\n")[1:]:
        assert line in needs
    assert edgel3_np.__version__ in text and edgel3_np.load_model().sha256 in text
    assert "soundfile" not in re.search(r"(?m)^needs +(.*)", (wav_bundle / "VENDORED.txt").read_text())[1]
    different = [
        path.name for path in files if path.read_bytes() != (wav_bundle / path.relative_to(bundle)).read_bytes()
    ]
    assert different == ["audio.py"]


def test_the_note_does_not_depend_on_when_and_where(bundle, tmp_path):
    assert vendor.main([str(tmp_path / "a" / "b")]) == 0
    assert (tmp_path / "a" / "b" / "edgel3_np" / "VENDORED.txt").read_text() == (bundle / "VENDORED.txt").read_text()


def test_models_by_name_and_path(tmp_path, monkeypatch, small_npz):
    sparse = factory.random_weights((64,) * 8, density=0.01, name="sparse")
    save_weights(tmp_path / "mine.npz", sparse)
    monkeypatch.setenv("EDGEL3_NP_WEIGHTS", str(small_npz.parent))
    assert vendor.main([str(tmp_path / "d"), "--models", "small", str(tmp_path / "mine.npz")]) == 0
    names = sorted(path.name for path in (tmp_path / "d" / "edgel3_np" / "_weights").iterdir())
    assert names == ["mine.npz", "small.npz"]
    assert "scipy >= 1.5.4 (for mine)" in (tmp_path / "d" / "edgel3_np" / "VENDORED.txt").read_text()
    code = "import sys, json; sys.path.insert(0, sys.argv[1]); import edgel3_np as l3\n"
    code += "print(sorted(l3.list_models()), l3.load_model('mine').name)\n"
    code += "try:\n    l3.load_model()\n"
    code += "except l3.EdgeL3Error as error:\n    print('does not come with this copy' in str(error))"
    assert start(["-c", code, str(tmp_path / "d")]) == "['mine', 'small'] sparse\nTrue\n"


def test_wrong_models(tmp_path, capsys, small_npz):
    save_weights(tmp_path / "pico-64.npz", factory.random_weights())
    (tmp_path / "small.npz").write_bytes(small_npz.read_bytes())
    for models, message in (
        (["none"], "expected an installed model"),
        ([str(tmp_path / "pico-64.npz")], "the pico-64 of this version"),
        ([str(small_npz), str(tmp_path / "small.npz")], "small twice"),
        ([__file__.replace(".py", ".npz")], "No such file"),
    ):
        assert vendor.main([str(tmp_path / "dest"), "--models", *models]) == 1
        assert message in capsys.readouterr().err
    assert not (tmp_path / "dest").exists()
    with pytest.raises(SystemExit) as caught:
        vendor.main([])
    assert caught.value.code == 2


def test_an_earlier_copy_is_replaced_and_nothing_else(tmp_path, capsys):
    folder = tmp_path / "edgel3_np"
    assert vendor.main([str(tmp_path), "--wav-only"]) == 0
    (folder / "old.py").touch()
    assert vendor.main([str(tmp_path)]) == 0
    assert (
        not (folder / "old.py").exists() and "False" in re.search("WAV_ONLY = .*", (folder / "audio.py").read_text())[0]
    )
    (folder / "VENDORED.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    assert vendor.main([str(tmp_path)]) == 1 and "found something else" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before
    for other in (lambda: folder.mkdir(), lambda: folder.touch(), lambda: folder.symlink_to(tmp_path / "none")):
        shutil.rmtree(folder, ignore_errors=True)
        folder.unlink() if os.path.lexists(folder) else None
        other()
        assert vendor.main([str(tmp_path)]) == 1
        assert os.listdir(tmp_path) == ["edgel3_np"]


@pytest.mark.parametrize("broken", ["write_bytes", "rename"])
@pytest.mark.parametrize("earlier", [False, True])
def test_all_or_nothing(tmp_path, monkeypatch, broken, earlier, capsys):
    dest = tmp_path / "dest"
    if earlier:
        assert vendor.main([str(dest)]) == 0
    before = {path: path.read_bytes() for path in dest.rglob("*") if path.is_file()}
    calls = []

    def fail(original, at, *args):
        calls.append(1)
        if len(calls) == at:
            raise OSError(28, "No space left on device")
        return original(*args)

    if broken == "rename":
        original = os.rename
        monkeypatch.setattr(vendor.os, "rename", lambda *args: fail(original, 2 if earlier else 1, *args))
    else:
        original = Path.write_bytes
        monkeypatch.setattr(Path, "write_bytes", lambda *args: fail(original, 9, *args))
    assert vendor.main([str(dest)]) == 1 and "No space left" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in dest.rglob("*") if path.is_file()} == before
    assert [path.name for path in dest.iterdir()] == ["edgel3_np"] * earlier


def test_commands_that_were_left_out_say_so(monkeypatch, capsys):
    from edgel3_np import cli

    monkeypatch.setattr(cli, "COMMANDS", {"nothing": "does nothing"})
    assert cli.main(["nothing", "--help"]) == cli.USAGE
    assert "nothing is not in this copy" in capsys.readouterr().err
