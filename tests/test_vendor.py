"""Tests of copies that `tools/vendor.py` makes, in the ways that people use them."""

import ast
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from importlib.util import find_spec
from pathlib import Path

import factory
import numpy as np
import pytest
import soundfile
import vendor

import edgel3_np
from edgel3_np.commands.options import COMMANDS
from edgel3_np.weights.format import save_weights

PACKAGES = [str(Path(find_spec(name).origin).parent) for name in ("numpy", "scipy")]
PACKAGES = list(dict.fromkeys([os.path.dirname(path) for path in PACKAGES] + [os.path.dirname(soundfile.__file__)]))
HOMES = {  # the path of a copy, and whether it is in a zip file
    "top": ("edgel3_np", False),
    "renamed": ("l3", False),
    "nested": ("myapp/_vendor/edgel3_np", False),
    "zip": ("edgel3_np", True),
    "nested in a zip": ("myapp/_vendor/edgel3_np", True),
}
PROGRAM = """
import sys, importlib, json
name, root, wav, whole, absent, packages = json.loads(sys.argv[1])
sys.path[:0] = [root]
sys.path += packages
sys.modules.update(dict.fromkeys(absent))
if name != "edgel3_np":
    sys.modules["edgel3_np"] = None  # nobody may import it by that name
import numpy
l3 = importlib.import_module(name)
assert l3.__file__.startswith(root), l3.__file__
sound = numpy.sin(0.3 * numpy.arange(30000) ** 1.05)
model = l3.load_model()
(path,) = [path for name, path in l3.list_models().items() if name == "pico-64"]
assert str(path).startswith(root), path
assert l3.load_model(path).sha256 == model.sha256
with l3.Stream(model, 22050) as stream:
    streamed = stream.feed(sound).embedding.tobytes() + stream.flush().embedding.tobytes()
right = []
if whole:
    openl3, checks = (importlib.import_module(name + part) for part in (".openl3", ".diagnostics.checks"))
    right = [check.ok for check in checks.check_model("pico-64")]
found = [
    model.name,
    model.sha256,
    right,
    model.embed(sound, 22050).embedding.tobytes().hex(),
    streamed.hex(),
    l3.embed(wav).embedding.tobytes().hex(),
]
print(json.dumps([found, sorted(sys.modules)]))
"""
IMPORTS = """
import importlib, json, os, sys
root, name = sys.argv[1:]
sys.path.insert(0, root)
names = [name]
for folder, _, files in os.walk(os.path.join(root, *name.split("."))):
    path = os.path.relpath(folder, root).split(os.sep)
    names += [".".join([*path, file[:-3]]) for file in files if file.endswith(".py") and file[:2] != "__"]
failed = {}
for name in sorted(names):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        failed[name] = error.name
print(json.dumps(failed))
"""


def make_copy(factory, *arguments):
    root = factory.mktemp("copy")
    assert vendor.main([str(root), *arguments]) == 0
    return root / "edgel3_np"


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """Make a copy of the engine, with pico-64."""
    return make_copy(tmp_path_factory)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Make a copy of all parts, with pico-64."""
    return make_copy(tmp_path_factory, "--with", *vendor.NEEDS_PARTS)


@pytest.fixture(scope="module")
def wav_engine(tmp_path_factory):
    return make_copy(tmp_path_factory, "--wav-only")


@pytest.fixture(scope="module")
def wav_whole(tmp_path_factory):
    return make_copy(tmp_path_factory, "--wav-only", "--with", *vendor.NEEDS_PARTS)


@pytest.fixture(params=["engine", "whole"])
def bundle(request):
    """Run a test with the copy of the engine, and then with that of all parts."""
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["wav_engine", "wav_whole"])
def wav_bundle(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def wav(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "sound.wav"
    noise = np.cumsum(np.random.default_rng(0).standard_normal((60000, 2)), axis=0) / 2000
    soundfile.write(path, noise, 44100, subtype="PCM_24")
    return path


@pytest.fixture(scope="module")
def numbers(wav):
    """Compute the embeddings that a copy must give."""
    sound, model = np.sin(0.3 * np.arange(30000) ** 1.05), edgel3_np.load_model()
    of_array, of_file = model.embed(sound, 22050).embedding, model.embed(wav).embedding
    return [x.tobytes().hex() for x in (of_array, of_array, of_file)]


def check_facts(numbers, root, name, wav, absent=(), flags=("-S", "-E"), before=""):
    """Run `PROGRAM` on a copy and compare what it finds; return the names of the modules that it loads."""
    entry = Path(root) if os.path.isdir(root) else zipfile.Path(root)
    is_whole = entry.joinpath("/".join([*name.split("."), "diagnostics"])).is_dir()
    arguments = json.dumps([name, root, str(wav), is_whole, absent, PACKAGES])
    found, modules = json.loads(start(["-c", before + PROGRAM, arguments], flags, cwd=Path(root).parent))
    assert found == ["pico-64", edgel3_np.load_model().sha256, [True] * 9 * is_whole, *numbers]
    return set(modules)


def place(bundle, home, folder):
    """Put a copy into its place; return the entry for `sys.path` and the name to import."""
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
    """Run Python without this checkout; with `root`, it finds that folder and the packages that a copy needs."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH" and not key.startswith("EDGEL3")}
    if root:
        env["PYTHONPATH"] = os.pathsep.join([root, *PACKAGES])
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "universal_newlines": True}
    ran = subprocess.run([sys.executable, *flags, *arguments], env=env, timeout=200, **pipes, **options)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    return ran.stdout


@pytest.mark.parametrize("flags", [("-W", "error"), ("-W", "error", "-S", "-E")], ids=["plain", "-S -E"])
@pytest.mark.parametrize("home", HOMES)
def test_a_copy_gives_the_same_bytes_in_every_place(bundle, wav, numbers, tmp_path, home, flags):
    check_facts(numbers, *place(bundle, home, tmp_path), wav, flags=flags)


@pytest.mark.parametrize("home", ["top", "nested in a zip"])
def test_wav_only_needs_nothing_but_numpy(wav_bundle, wav, numbers, tmp_path, home):
    check_facts(numbers, *place(wav_bundle, home, tmp_path), wav, absent=["scipy", "soundfile"])


def test_wav_only_does_not_ask_for_soundfile(wav_bundle, wav, numbers, tmp_path):
    assert "soundfile" not in check_facts(numbers, *place(wav_bundle, "renamed", tmp_path), wav)


def test_without_soundfile_a_copy_reads_wav(bundle, wav, numbers, tmp_path):
    check_facts(numbers, *place(bundle, "renamed", tmp_path), wav, absent=["scipy", "soundfile"])


def test_a_copy_works_where_nothing_can_be_written(bundle, wav, numbers, tmp_path):
    """An audit hook refuses what a read-only file system refuses, because root may write everywhere."""
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
    check_facts(numbers, root, name, wav, before=before)
    assert sorted(Path(root).rglob("*")) == names


@pytest.mark.parametrize("home", ["nested", "nested in a zip"])
def test_command_line_and_processes(whole, wav, numbers, tmp_path, home):
    root, name = place(whole, home, tmp_path)
    run = ["-m", name, str(wav), "-o", str(tmp_path / "out"), "--quiet"]
    assert start(run, root=root, cwd=tmp_path) == ""
    with np.load(tmp_path / "out" / "sound.npz") as archive:
        assert archive["embedding"].tobytes().hex() == numbers[-1]
    assert re.match(r"name .*\npico-64 +8 kHz +64 +120 kB ", start(["-m", name, "--list-models"], root=root))
    spawned = (
        "import multiprocessing, sys\n"
        f"from {name} import iter_files\n"
        "if __name__ == '__main__':\n"
        "    multiprocessing.set_start_method('spawn')\n"
        "    print([report.status for report in iter_files(sys.argv[1], sys.argv[2], jobs=2)])\n"
    )
    (tmp_path / "spawned.py").write_text(spawned)
    out = start([str(tmp_path / "spawned.py"), str(wav.parent), str(tmp_path / "spawned")], root=root)
    assert out == "['done']\n"
    assert (tmp_path / "spawned" / "sound.npz").stat().st_size == (tmp_path / "out" / "sound.npz").stat().st_size


def test_new_processes_of_the_bench_import_the_copy(whole, tmp_path):
    root, name = place(whole, "nested in a zip", tmp_path)
    code = f"import json, {name}.diagnostics.timing as t; print(json.dumps([t.time_import(1), t.in_a_new_process("
    code += f"'import {name}; print({name}.__file__)')]))"
    cost, file = json.loads(start(["-c", code], root=root))
    assert file.startswith(root) and cost["seconds"] > cost["numpy"] > 0


def imports_of(path, root):
    """Yield what a module imports of this package, as pairs of a path below the root and a time.

    The path is that of a module, without `.py`, or of a sub-package. The time is `always`; `lazily`, for an import in a
    function; or `as a program`, for one that runs only if the module is the program.
    """
    tree, folder, when = ast.parse(path.read_text(encoding="utf-8")), path.parent, {}
    for block in ast.walk(tree):
        if isinstance(block, (ast.FunctionDef, ast.If)):
            is_program = isinstance(block, ast.If) and "__main__" in ast.dump(block.test)
            when.update({id(node): "as a program" if is_program else "lazily" for node in ast.walk(block)})
    for node in ast.walk(tree):
        assert not (isinstance(node, ast.Import) and any("edgel3_np" in alias.name for alias in node.names))
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [folder, *folder.parents][node.level - 1].joinpath(*(node.module or "").split("."))
            assert base == root or root in base.parents
            names = [base / alias.name for alias in node.names if (base / alias.name).with_suffix(".py").exists()]
            for found in names or [base]:
                yield found.relative_to(root).as_posix(), when.get(id(node), "always")


def part_of(path):
    """Return the part that a path below the root belongs to, or None for the engine."""
    first = path.split("/")[0].partition(".")[0]
    doors = {door: part for part, doors in vendor.DOORS.items() for door in doors}
    return first if first in vendor.NEEDS_PARTS else doors.get(first)


def code_of(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.py"))


SOURCE = Path(edgel3_np.__file__).parent
DISPATCHERS = ("__init__.py", "__main__.py")  # they name things of other parts, which a copy may lack


def test_a_plain_copy_holds_only_the_engine(engine):
    files = {path.relative_to(engine).as_posix() for path in engine.rglob("*") if path.is_file()}
    code = {path for path in code_of(SOURCE) if part_of(path) is None}
    weights = {"_weights/pico-64.npz", "_weights/pico-64.golden.npy"}
    assert files == code | weights | {"LICENSE", "VENDORED.txt", "py.typed"}
    assert {path.split("/")[0] for path in code if "/" in path} == set(vendor.ENGINE)
    for path in files:
        assert not path.endswith(".py") or part_of(path) is None
    for path in code - set(DISPATCHERS):
        for module, _ in imports_of(engine / path, engine):
            assert (engine / f"{module}.py").exists() or module == "", f"{path} imports {module}"


def test_all_parts_are_the_whole_package(whole):
    assert code_of(whole) == code_of(SOURCE)
    folders = {path.split("/")[0] for path in code_of(SOURCE) if "/" in path}
    assert folders == {*vendor.ENGINE, *vendor.NEEDS_PARTS}
    assert set(vendor.DOORS) | set(vendor.EXTRAS) <= set(vendor.NEEDS_PARTS)
    assert all((SOURCE / f"{door}.py").exists() for doors in vendor.DOORS.values() for door in doors)


@pytest.mark.parametrize("part", vendor.NEEDS_PARTS)
def test_the_table_of_parts_agrees_with_their_imports(part):
    """The table leaves out what only commands and programs import; they say so if it is missing."""
    needed = set()
    for path in (path for path in code_of(SOURCE) if part_of(path) == part):
        is_command = path in [f"commands/{name}.py" for name in COMMANDS]
        for module, when in imports_of(SOURCE / path, SOURCE):
            if not is_command and (when == "always" or when == "lazily" and part != "commands"):
                needed.add(part_of(module))
    assert needed - {part, None} == set(vendor.NEEDS_PARTS[part])
    assert vendor.choose_parts([part]) == [name for name in vendor.NEEDS_PARTS if name in {part, *needed}]


@pytest.mark.parametrize("part", vendor.NEEDS_PARTS)
def test_a_part_comes_with_what_it_imports(part, tmp_path, capsys):
    """Each module of the copy can be imported, except commands whose part is missing, which say so."""
    assert vendor.main([str(tmp_path), "--with", part]) == 0
    copy = tmp_path / "edgel3_np"
    shutil.move(str(copy), str(tmp_path / "l3"))
    failed = json.loads(start(["-c", IMPORTS, str(tmp_path), "l3"], cwd=tmp_path))
    there = {"l3", *(f"l3.{name}" for name in vendor.choose_parts([part]))}
    for name, missing in failed.items():
        command = name.rpartition(".")[2]
        assert part == "commands" and command in COMMANDS, f"{name} needs {missing}"
        assert missing.startswith("l3.") and missing not in there
        if name == f"l3.commands.{command}":
            code, err = fails(["-m", "l3", command, "--help"], tmp_path)
            assert code == 2 and f"{command}: expected the part" in err and "Traceback" not in err
    assert part != "commands" or {f"l3.commands.{name}" for name in ("bench", "info", "install", "plot")} <= set(failed)


def fails(arguments, root):
    """Run Python with a copy; return its exit code and messages."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *PACKAGES])}
    ran = subprocess.run(
        [sys.executable, *arguments], env=env, cwd=root, timeout=100, stderr=subprocess.PIPE, text=True
    )
    return ran.returncode, ran.stderr


def test_the_engine_alone_has_no_commands(engine, wav):
    code, err = fails(["-m", "edgel3_np", str(wav)], engine.parent)
    assert code == 2 and "Traceback" not in err and len(err.splitlines()) == 1 and "not in this copy" in err


def test_the_engine_lists_no_names_that_it_lacks(engine):
    code = "import edgel3_np as l3; print([name for name in dir(l3) if not hasattr(l3, name)])"
    assert start(["-c", code], root=str(engine.parent)) == "[]\n"


def test_the_bench_of_a_copy_without_diagnostics_says_so(tmp_path, capsys):
    assert vendor.main([str(tmp_path), "--with", "commands"]) == 0
    code, err = fails(["-m", "edgel3_np.bench"], tmp_path)
    assert code == 2 and "expected the part diagnostics" in err and "Traceback" not in err


def test_names_that_the_engine_lacks_raise_import_or_attribute_errors(engine):
    code = (
        "import edgel3_np as l3\n"
        "for name in sorted(set(l3.__all__)):\n"
        "    try:\n"
        "        getattr(l3, name)\n"
        "    except (AttributeError, ImportError) as error:\n"
        "        print(name, type(error).__name__)\n"
    )
    lacking = [line.split()[0] for line in start(["-c", code], root=str(engine.parent)).splitlines()]
    assert not {"EdgeL3Error", "EdgeL3Warning", "Embedding", "Model", "Stream", "embed"} & set(lacking)
    assert not {"list_models", "load_model"} & set(lacking)


@pytest.mark.parametrize("parts, size", [([], 455_000), (list(vendor.NEEDS_PARTS), 1_120_000)])
def test_size(parts, size, tmp_path, capsys):
    assert vendor.main([str(tmp_path), *(["--with", *parts] if parts else [])]) == 0
    found = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert f"{found / 1000:.1f} kB" in capsys.readouterr().out
    assert found < size


def test_the_note_says_what_the_copy_is_and_needs(engine, wav_engine):
    text = (engine / "VENDORED.txt").read_text()
    hashes = dict(re.findall(r"(?m)^([0-9a-f]{64})  (.*)$", text))
    files = {path for path in engine.rglob("*") if path.is_file() and path.name != "VENDORED.txt"}
    assert {engine / path for path in hashes.values()} == files
    for digest, path in hashes.items():
        assert hashlib.sha256((engine / path).read_bytes()).hexdigest() == digest
    needs = re.search(r"(?m)^needs +(.*)", text)[1]
    config = ConfigParser()
    config.read(vendor.ROOT / "setup.cfg")
    for line in config["options"]["install_requires"].split("\n")[1:]:
        assert line in needs
    assert edgel3_np.__version__ in text and edgel3_np.load_model().sha256 in text
    assert "soundfile" not in re.search(r"(?m)^needs +(.*)", (wav_engine / "VENDORED.txt").read_text())[1]
    different = [path for path in files if path.read_bytes() != (wav_engine / path.relative_to(engine)).read_bytes()]
    assert different == [engine / "audio" / "reading.py"]


def test_the_note_says_which_parts_are_left_out(engine, whole, tmp_path):
    def line(folder, key):
        return re.search(f"(?m)^{key} +(.*)", (folder / "VENDORED.txt").read_text())[1]

    assert (line(engine, "parts"), line(engine, "left out")) == ("engine", ", ".join(vendor.NEEDS_PARTS))
    assert (line(whole, "parts"), line(whole, "left out")) == (", ".join(["engine", *vendor.NEEDS_PARTS]), "nothing")
    assert "matplotlib (for plotting)" in line(whole, "needs") and "h5py" not in line(engine, "needs")
    assert vendor.main([str(tmp_path), "--with", "compat"]) == 0
    copy = tmp_path / "edgel3_np"
    assert line(copy, "parts") == "engine, collections, compat"
    assert line(copy, "left out") == "classify, commands, diagnostics, live, pages, plotting, released"


def test_the_note_does_not_depend_on_time_and_place(engine, tmp_path):
    assert vendor.main([str(tmp_path / "a" / "b")]) == 0
    assert (tmp_path / "a" / "b" / "edgel3_np" / "VENDORED.txt").read_text() == (engine / "VENDORED.txt").read_text()


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


def test_a_model_for_streams(tmp_path):
    assert vendor.main([str(tmp_path), "--models", "pico-64-stream"]) == 0
    sound = np.sin(0.3 * np.arange(12000))
    np.save(tmp_path / "sound.npy", sound)
    code = "import sys, numpy; sys.path.insert(0, sys.argv[1]); import edgel3_np as l3\n"
    code += "sound = numpy.load(sys.argv[1] + '/sound.npy')\n"
    code += "print(l3.embed(sound, 8000, model='pico-64-stream').sha256())"
    found = start(["-c", code, str(tmp_path)]).strip()
    assert found == edgel3_np.embed(sound, 8000, model="pico-64-stream").sha256()


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
    for wrong in ([], [str(tmp_path), "--with", "engine"], [str(tmp_path), "--with"]):
        with pytest.raises(SystemExit) as caught:
            vendor.main(wrong)
        assert caught.value.code == 2


def test_an_earlier_copy_is_replaced_and_nothing_else(tmp_path, capsys):
    folder = tmp_path / "edgel3_np"
    assert vendor.main([str(tmp_path), "--wav-only"]) == 0
    (folder / "old.py").touch()
    assert vendor.main([str(tmp_path)]) == 0
    line = re.search("WAV_ONLY = .*", (folder / "audio" / "reading.py").read_text())[0]
    assert not (folder / "old.py").exists() and "False" in line
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
def test_a_copy_is_written_completely_or_not_at_all(tmp_path, monkeypatch, broken, earlier, capsys):
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


def made_up(model, **changes):
    """Make a classifier for a model."""
    from edgel3_np.classify.classifier import Classifier

    rng, dim = np.random.default_rng(0), model.dim
    arrays = (np.zeros(dim), np.ones(dim), rng.standard_normal((2, dim)), np.zeros(2))
    fields = dict(zip(("mean", "scale", "coefficients", "intercepts"), arrays))
    said = {"model_name": model.name, "model_sha256": model.sha256, "contract": vendor.CONTRACT, "report": {}}
    return Classifier(("dog", "cat"), np.array([0.5, 0.5]), **{**said, **fields, **changes})


def test_a_classifier_comes_along_and_needs_nothing_but_numpy(wav, tmp_path, capsys):
    from edgel3_np.classify.classifier import save_classifier

    model = edgel3_np.load_model()
    save_classifier(tmp_path / "dogs.npz", made_up(model))
    arguments = ["--wav-only", "--with", "commands", "live", "--classifier", str(tmp_path / "dogs.npz")]
    assert vendor.main([str(tmp_path / "d"), *arguments]) == 0
    note = (tmp_path / "d" / "edgel3_np" / "VENDORED.txt").read_text()
    assert "classifier        dogs (load_classifier('dogs'))" in note and "classify" in note
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(['scipy', 'soundfile', 'sklearn', 'pyarrow']))\n"
        "import edgel3_np as l3\n"
        "classifier = l3.load_classifier('dogs')\n"
        "print(classifier.predict(l3.embed(sys.argv[1])).tobytes().hex())\n"
        "print(l3.detect_files(sys.argv[1], sys.argv[2], 'dogs').statuses['done'])\n"
        "from edgel3_np.commands.main import main\n"
        "sys.exit(main(['listen', sys.argv[1], '-c', 'dogs']))\n"
    )
    expected = made_up(model).predict(model.embed(wav)).tobytes().hex()
    zipped = shutil.make_archive(str(tmp_path / "all"), "zip", tmp_path / "d")
    for root in (str(tmp_path / "d"), zipped):
        lines = start(["-c", code, str(wav), str(tmp_path / "o")], root=root, cwd=tmp_path).splitlines()
        assert lines[:2] == [expected, "1"] and lines[2].startswith("     0.00 s")
        shutil.rmtree(tmp_path / "o")


def test_wrong_classifiers(tmp_path, capsys, small_model):
    from edgel3_np.classify.classifier import save_classifier

    save_classifier(tmp_path / "small.npz", made_up(small_model))
    (tmp_path / "bad.npz").write_bytes(b"no zip")
    (tmp_path / "a").mkdir()
    for name in ("same.npz", "a/same.npz"):
        save_classifier(tmp_path / name, made_up(edgel3_np.load_model()))
    for names, message in (
        (["small.npz"], "expected its model, small of sha256"),
        (["bad.npz"], "expected an npz"),
        (["same.npz", "a/same.npz"], "found same twice"),
    ):
        paths = [str(tmp_path / name) for name in names]
        assert vendor.main([str(tmp_path / "dest"), "--classifier", *paths]) == 1
        assert message in capsys.readouterr().err and not (tmp_path / "dest").exists()
