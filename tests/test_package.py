"""Tests of the package as a whole: what it imports, how large it is, what it does not change."""

import ast
import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

import edgel3_np

PACKAGE = Path(edgel3_np.__file__).parent
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if "_weights" not in path.parts)
ALLOWED = {"numpy", "scipy", "soundfile"}
STANDARD = """
__future__ argparse ast base64 bisect cProfile collections concurrent contextlib copy csv ctypes dataclasses decimal
difflib errno fcntl fractions functools glob gzip hashlib heapq html importlib io itertools json math msvcrt
multiprocessing numbers operator os pathlib platform pstats queue re shlex shutil signal stat statistics struct
subprocess sys tempfile textwrap threading time types typing unicodedata warnings wave zipfile zlib
"""
NETWORK = {"asyncio", "ftplib", "http", "imaplib", "smtplib", "socket", "socketserver", "ssl", "urllib", "xmlrpc"}
EXTRA = {  # optional packages, and modules that only these parts may import
    "classify/fit.py": {"sklearn"},
    "collections/clusters.py": {"ray"},
    "collections/export.py": {"pyarrow"},
    "collections/inverted.py": {"faiss"},
    "collections/tables.py": {"pandas"},
    "released/keras.py": {"h5py"},
    "released/download.py": {"http", "socket", "urllib"},
    "compat/hear.py": {"torch"},
    "compat/sklearn.py": {"pandas", "sklearn"},
    "live/microphone.py": {"sounddevice"},
    "pages/map.py": {"umap"},
    "plotting/figure.py": {"matplotlib"},
    "commands/progress.py": {"tqdm"},
}
# The engine turns a recording into embeddings; `tools/vendor.py` copies it, and other parts only on request
ENGINE = {"_version", "errors", "_checks", "_files", "_foreign", "audio", "features", "weights", "network"}
ENGINE |= {"pipeline", "model", "stream", "__init__", "__main__"}
DEPRECATED = {"collection", "jobs", "transformer"}


def source(module):
    return (PACKAGE / module).read_text(encoding="utf-8")


def absolute_imports(module):
    """Yield the top-level names of all that a module imports from outside the package, anywhere in it."""
    for node in ast.walk(ast.parse(source(module))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]


def exists(parts):
    return (PACKAGE.joinpath(*parts).with_suffix(".py") if parts else PACKAGE / "__init__.py").is_file()


def imported_modules(module):
    """Yield the modules of the package that a module imports, anywhere in it, also for types alone."""
    for node in ast.walk(ast.parse(source(module))):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        here = module.parts[: len(module.parts) - node.level]
        assert len(module.parts) >= node.level, f"{module}: an import from above the package"
        base = (*here, *(node.module.split(".") if node.module else ()))
        for alias in node.names:
            for parts in ((*base, alias.name), base, (*base, "__init__")):
                if parts and exists(parts):
                    yield Path(*parts).with_suffix(".py")
                    break
            else:
                raise AssertionError(f"{module}: line {node.lineno}: cannot tell what it imports")


def room(module):
    """Return the part of the package that a module belongs to: a sub-package, or a module at the top."""
    return module.parts[0] if len(module.parts) > 1 else module.stem


def floors():
    """Read the levels of the package, the highest first, from a sentence of docs/architecture.md."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    sentence = re.search(r"Imports go one way: (.*?)\.\s", text, re.DOTALL)[1]
    return [[name.strip(" `\n") for name in floor.split(",")] for floor in sentence.split("→")]


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_nothing_but_the_standard_library_numpy_scipy_and_soundfile(module):
    allowed = ALLOWED | set(STANDARD.split()) | EXTRA.get(module.as_posix(), set())
    assert set(absolute_imports(module)) <= allowed


def test_only_the_downloader_uses_the_network_and_only_the_installer_uses_the_downloader():
    for module in MODULES:
        if module.as_posix() != "released/download.py":
            assert not set(absolute_imports(module)) & NETWORK, module
            assert "__import__" not in source(module) and "_socket" not in source(module)
    users = {module.as_posix() for module in MODULES if Path("released/download.py") in imported_modules(module)}
    assert users == {"released/install.py"}


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_only_commands_print(module):
    calls = [node for node in ast.walk(ast.parse(source(module))) if isinstance(node, ast.Call)]
    printing = [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
    assert not printing or room(module) == "commands"


def test_imports_go_one_way():
    """A part imports from itself and from lower levels. Doors may import everything, and nothing imports a door."""
    height = {name: -number for number, names in enumerate(floors()) for name in names}
    doors = {module.stem for module in MODULES if len(module.parts) == 1} - set(height) - {"__init__", "__main__"}
    assert set(height) == {room(module) for module in MODULES} - doors - {"__init__", "__main__"}
    for module in MODULES:
        if room(module) in doors | {"__init__", "__main__"}:
            continue
        for other in imported_modules(module):
            assert room(other) not in doors, f"{module} imports the door {other}"
            assert other != Path("__init__.py"), f"{module} imports the package's __init__"
            lower = height[room(other)] < height[room(module)]
            assert lower or room(other) == room(module), f"{module} imports {other}, which is not below it"


def test_imports_have_no_cycle():
    graph, done = {module: set(imported_modules(module)) for module in MODULES}, set()

    def visit(module, above):
        assert module not in above, " -> ".join(map(str, [*above, module]))
        if module not in done:
            for other in graph[module]:
                visit(other, [*above, module])
            done.add(module)

    for module in MODULES:
        visit(module, [])


def test_the_engine_imports_no_other_part():
    for module in MODULES:
        if room(module) in ENGINE - {"__init__", "__main__"}:
            assert {room(other) for other in imported_modules(module)} <= ENGINE - {"__init__", "__main__"}, module


DOORS = [module for module in MODULES if len(module.parts) == 1 and module.stem not in ENGINE | {"_deprecated"}]


@pytest.mark.parametrize("module", DOORS, ids=str)
def test_doors_only_import(module):
    """A file at the top that is not part of the engine (a door) has no code of its own: users import from it."""
    for node in ast.parse(source(module)).body:
        assert isinstance(node, (ast.Import, ast.ImportFrom, ast.Assign, ast.If, ast.Expr)), node.lineno
    assert len(source(module).splitlines()) <= 35


def functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def docstring_lines(node):
    first = node.body[0]
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return first.end_lineno - first.lineno + 1 if is_docstring and isinstance(first.value.value, str) else 0


def depth(statements, level=0):
    """Return how deep the blocks of a function are nested: a single `if` is 1, and its `elif` is no deeper."""
    deepest = level
    for node in statements:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            continue  # it is counted by itself
        blocks = [getattr(node, "body", []), getattr(node, "orelse", []), getattr(node, "finalbody", [])]
        blocks += [handler.body for handler in getattr(node, "handlers", [])]
        for block in filter(None, blocks):
            elif_ = isinstance(node, ast.If) and block is node.orelse and isinstance(block[0], ast.If)
            deepest = max(deepest, depth(block, level if elif_ else level + 1))
    return deepest


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_modules_and_functions_are_short_and_flat(module):
    assert len(source(module).splitlines()) <= 350
    for function in functions(ast.parse(source(module))):
        lines = function.end_lineno - function.lineno + 1 - docstring_lines(function)
        assert lines <= 60, f"{function.name}: {lines} lines"
        nesting = depth(function.body)
        assert nesting <= 4, f"{function.name}: nested {nesting} deep"


def test_the_engine_is_small():
    """Docstrings and blank lines are not counted."""
    lines = 0
    for module in MODULES:
        if room(module) in ENGINE:
            tree, text = ast.parse(source(module)), source(module)
            documented = [tree, *functions(tree), *(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))]
            lines += sum(bool(line.strip()) for line in text.splitlines()) - sum(map(docstring_lines, documented))
    assert 1500 < lines < 4000  # models of whole numbers take 400 of them, and networks for streams 420


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_everything_has_a_docstring_that_begins_with_a_sentence(module):
    """This holds for modules, and for every function and class whose name is public."""
    tree = ast.parse(source(module))
    documented = [node for node in functions(tree) if not node.name.startswith("_")]
    documented += [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    assert ast.get_docstring(tree)
    nested = {inner for outer in functions(tree) for inner in functions(outer) if inner is not outer}
    for node in documented:
        if node not in nested:
            first = (ast.get_docstring(node) or "").split("\n")[0]
            assert first[:1].isupper() or first[:1] in "`0123456789", f"{node.name}: {first!r}"


def test_old_names_work_and_warn_with_the_new_names():
    import edgel3_np.collection
    import edgel3_np.jobs
    import edgel3_np.plot
    import edgel3_np.transformer
    from edgel3_np.collections.embed import embed_files, find_jobs
    from edgel3_np.collections.jobs import Job, Report, embed_file
    from edgel3_np.embedder import Embedder
    from edgel3_np.plotting.figure import plot_recording

    moved = {
        (edgel3_np.collection, "embed_files"): embed_files,
        (edgel3_np.collection, "find_jobs"): find_jobs,
        (edgel3_np.jobs, "Job"): Job,
        (edgel3_np.jobs, "Report"): Report,
        (edgel3_np.jobs, "embed_file"): embed_file,
        (edgel3_np.transformer, "Embedder"): Embedder,
        (edgel3_np.plot, "embedding"): plot_recording,
    }
    public = {Job: "edgel3_np.collections.jobs", embed_file: "edgel3_np.collections.jobs"}
    public.update({find_jobs: "edgel3_np.collections.embed", Embedder: "edgel3_np.embedder"})
    public[plot_recording] = "edgel3_np.plot"
    for (module, name), thing in moved.items():
        new = public.get(thing, "edgel3_np").replace(".", r"\.")
        assert name in module.__all__ or module is edgel3_np.plot
        with pytest.warns(DeprecationWarning, match=rf"{name} is now {new}\.{thing.__name__}$") as caught:
            assert getattr(module, name) is thing
        assert caught[0].filename == __file__
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            module.nothing  # noqa: B018


def test_doors_lead_to_what_users_import():
    """Users write these imports, as README and the documents show them."""
    from edgel3_np import bench, edgel3, hear, install, models, openl3, plot, similar

    assert callable(bench.main) and callable(hear.get_scene_embeddings) and callable(install.install)
    assert callable(edgel3.get_embedding) and edgel3_np.get_embedding is edgel3.get_embedding
    assert edgel3_np.models is models and callable(models.load_embedding_model) and models.Model is edgel3_np.Model
    assert callable(openl3.get_audio_embedding) and callable(openl3.models.load_audio_embedding_model)
    assert callable(plot.save) and callable(similar.similar)
    assert set(edgel3_np.__all__) <= set(dir(edgel3_np))
    namespace = {}
    exec("from edgel3_np import *", namespace)
    assert set(edgel3_np.__all__) <= set(namespace)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        edgel3_np.nothing  # noqa: B018


@pytest.mark.parametrize("name", ["collection", "edgel3", "jobs", "models"])
def test_modules_that_can_be_used_after_the_plain_import(name):
    out = run(f"import edgel3_np; print(edgel3_np.{name}.__name__)").stdout
    assert out == f"edgel3_np.{name}\n"


def run(code, **options):
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        env=environment,
        timeout=100,
        **options,
    )


def test_import_is_light_and_quiet():
    ran = run("import sys, edgel3_np; import json; print(json.dumps(sorted(sys.modules)))")
    assert ran.returncode == 0 and ran.stderr == ""
    loaded = set(json.loads(ran.stdout))
    assert "numpy" in loaded
    assert not loaded & {"scipy", "soundfile", "h5py", "argparse", "tempfile", "multiprocessing", "concurrent"}
    assert not loaded & (NETWORK - {"urllib"})  # pathlib imports urllib.parse


def test_embedding_an_array_with_a_dense_model_loads_neither_scipy_nor_soundfile(small_npz):
    ran = run(
        "import sys, numpy, edgel3_np\n"
        f"edgel3_np.embed(numpy.ones(9000), 8000, model={str(small_npz)!r})\n"
        "assert not {'scipy', 'soundfile'} & set(sys.modules)\n"
    )
    assert ran.returncode == 0, ran.stderr


def test_everything_but_the_installer_works_without_sockets(small_npz, tmp_path):
    """In a process, and in all that it starts, an audit hook refuses sockets and look-ups of names."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "def hook(event, arguments):\n"
        "    made = event == 'socket.__new__' and arguments[1] != 1  # 1: AF_UNIX, with which processes may talk\n"
        "    if made or event in ('socket.getaddrinfo', 'socket.gethostbyname'):\n"
        "        print('the network was touched', file=sys.stderr, flush=True)\n"
        "        raise RuntimeError(event)\n"
        "sys.addaudithook(hook)\n"
    )
    code = (
        "import sys, numpy, soundfile, edgel3_np\n"
        "from edgel3_np.commands import main as cli\n"
        f"folder, model = {str(tmp_path)!r}, {str(small_npz)!r}\n"
        "sound = numpy.sin(numpy.arange(60000) / 9)\n"
        "if __name__ == '__main__':\n"
        "    for name in 'abc':\n"
        "        soundfile.write(f'{folder}/{name}.wav', sound, 8000)\n"
        "    edgel3_np.embed(sound, 44100)\n"
        "    edgel3_np.Stream(edgel3_np.load_model(model), sr=8000).feed(sound)\n"
        "    assert {report.status for report in edgel3_np.iter_files(folder, folder + '/out')} == {'done'}\n"
        "    assert cli.main([folder, '-m', model, '-j', '2', '-o', folder + '/2', '--progress']) == 0\n"
        "    assert cli.main([folder + '/a.wav', '-m', 'sea-64']) == 2  # says how to get it, does not get it\n"
        "    assert cli.main(['--list-models']) == cli.main(['install', '--list']) == 0\n"
        "    if sys.argv[1:]:\n"
        "        cli.main(['install', 'sea-64', '--to', folder, '--url', sys.argv[1]])\n"
    )
    (tmp_path / "program.py").write_text(code)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(PACKAGE.parent)])}
    options = {"capture_output": True, "text": True, "env": environment, "timeout": 200}
    ran = subprocess.run([sys.executable, tmp_path / "program.py"], **options)
    assert ran.returncode == 0 and "the network was touched" not in ran.stderr, ran.stderr
    assert "install sea-64" in ran.stderr and "3 done" in ran.stderr
    if importlib.util.find_spec("h5py"):  # this shows that the hook works
        ran = subprocess.run([sys.executable, tmp_path / "program.py", "http://127.0.0.1:9"], **options)
        assert ran.returncode == 1 and "the network was touched" in ran.stderr, ran.stderr


def test_global_state_is_left_alone(small_npz):
    ran = run(
        "import os, random, warnings, numpy, edgel3_np\n"
        "state = lambda: (list(warnings.filters), random.getstate(), str(numpy.random.get_state()), dict(os.environ),\n"
        "                 numpy.geterr(), numpy.get_printoptions(), os.getcwd(), os.umask(0o22))\n"
        "os.umask(0o22); before = state()\n"
        f"edgel3_np.embed(numpy.ones(9000), 8000, model={str(small_npz)!r})\n"
        "assert state() == before\n"
    )
    assert ran.returncode == 0, ran.stderr


def test_function_and_method_have_the_same_options():
    function = inspect.signature(edgel3_np.embed).parameters
    method = inspect.signature(edgel3_np.Model.embed).parameters
    assert [name for name in function if name not in ("model", "dim")] == [name for name in method if name != "self"]
    for name, parameter in method.items():
        if name != "self":
            assert parameter == function[name]


@pytest.mark.parametrize("name", edgel3_np.__all__)
def test_public_names_are_documented(name):
    thing = getattr(edgel3_np, name)
    assert thing.__doc__ and len(thing.__doc__.splitlines()[0]) > 20
    if inspect.isfunction(thing):
        for parameter in inspect.signature(thing).parameters:
            assert re.search(rf"\b{parameter}\b[^\n]* :", thing.__doc__)


def test_the_package_is_marked_as_typed():
    assert (PACKAGE / "py.typed").is_file()


def test_silent_in_development_mode(small_npz, tmp_path):
    """Warnings are errors, and Python also warns of files that are left open."""
    code = (
        "import pathlib, numpy, soundfile, edgel3_np\n"
        f"path = {str(tmp_path / 'a.wav')!r}\n"
        "soundfile.write(path, numpy.sin(numpy.arange(90000) / 9), 44100)\n"
        f"model = edgel3_np.load_model({str(small_npz)!r})\n"
        "print(len(model.embed(path).embedding), len(model.embed(pathlib.Path(path).read_bytes()).embedding))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    ran = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        env=environment,
        timeout=100,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "17 17\n", "")


@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space are kept on Linux")
def test_ten_minutes_under_a_limit_of_memory(small_npz, tmp_path):
    """The signal would take 230 MB in float64; after a first second, the process may use only 48 MB more."""
    code = (
        "import pathlib, resource, numpy, soundfile, edgel3_np\n"
        f"path = {str(tmp_path / 'long.wav')!r}\n"
        "block = numpy.sin(numpy.arange(48000) / 9)\n"
        "with soundfile.SoundFile(path, 'w', 48000, 1) as file:\n"
        "    for _ in range(600):\n"
        "        file.write(block)\n"
        f"model = edgel3_np.load_model({str(small_npz)!r})\n"
        "model.embed(block, 48000, threads=1, center=False)\n"
        "used = int(pathlib.Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (48 << 20),) * 2)\n"
        "print(len(model.embed(path, hop_size=5.0, threads=1).embedding))\n"
        "try:\n"
        "    soundfile.read(path)\n"
        "except MemoryError:\n"
        "    print('limited')\n"
    )
    ran = run(code)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["121", "limited"]
