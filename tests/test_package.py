"""Promises about the package as a whole: what it imports, how large it is, what it leaves alone."""

import ast
import importlib.util
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import edgel3_np

PACKAGE = Path(edgel3_np.__file__).parent
MODULES = sorted(PACKAGE.glob("*.py"))
ALLOWED = {"numpy", "scipy", "soundfile"}
STANDARD = """
__future__ argparse ast collections concurrent contextlib cProfile ctypes dataclasses fractions functools glob gzip
hashlib heapq importlib io itertools json math multiprocessing numbers os pathlib platform pstats re signal stat
statistics struct subprocess sys tempfile threading time types typing warnings wave zipfile zlib
"""
NETWORK = {"asyncio", "ftplib", "http", "imaplib", "smtplib", "socket", "socketserver", "ssl", "urllib", "xmlrpc"}
EXTRA = {  # imported where they are used, and done without where they are not installed; and of the standard library
    "convert.py": {"h5py"},
    "download.py": {"http", "socket", "urllib"},
    "hear.py": {"torch"},
    "plot.py": {"matplotlib"},
    "progress.py": {"tqdm"},
    "transformer.py": {"pandas", "sklearn"},
}


def imported(path):
    """Top-level names of everything that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." if node.level else node.module.split(".")[0]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_nothing_but_the_standard_library_numpy_scipy_and_soundfile(path):
    assert set(imported(path)) <= ALLOWED | set(STANDARD.split()) | EXTRA.get(path.name, set()) | {"."}


def test_only_the_downloader_knows_the_network_and_only_the_installer_knows_the_downloader():
    users = set()
    for path in MODULES:
        if path.name != "download.py":
            assert not set(imported(path)) & NETWORK, path.name
            assert "__import__" not in path.read_text() and "_socket" not in path.read_text()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and "download" in (node.module, *(part.name for part in node.names)):
                users.add(path.name)
    assert users == {"install.py"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_no_module_is_long(path):
    assert len(path.read_text().splitlines()) <= 300


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_only_the_command_lines_print(path):
    """These modules, and the functions `main` of the others."""
    tree = ast.parse(path.read_text())
    mains = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main"]
    printing = [
        {
            (call.lineno, call.col_offset)
            for call in ast.walk(part)
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "print"
        }
        for part in (tree, *mains)
    ]
    assert printing[0] == set().union(*printing[1:]) or path.name in ("cli.py", "bench.py", "progress.py")


def test_imports_run_one_way():
    """No module imports one that imports it, however far round."""
    graph = {}
    for path in MODULES:
        names = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                names.update([node.module] if node.module else [alias.name for alias in node.names])
        graph[path.stem] = {name for name in names if (PACKAGE / f"{name}.py").exists()}
    done = set()

    def visit(name, above):
        assert name not in above, f"{' -> '.join([*above, name])}"
        if name not in done:
            for below in graph[name]:
                visit(below, [*above, name])
            done.add(name)

    for name in graph:
        visit(name, [])


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
    """In a process, and all that it starts, where whoever makes a socket or looks up a name is told off."""
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
        "from edgel3_np import cli\n"
        f"folder, model = {str(tmp_path)!r}, {str(small_npz)!r}\n"
        "sound = numpy.random.default_rng(0).standard_normal(20000) / 9\n"
        "if __name__ == '__main__':\n"
        "    for name in 'abc':\n"
        "        soundfile.write(f'{folder}/{name}.wav', sound, 8000)\n"
        "    edgel3_np.embed(sound, 44100)\n"
        "    edgel3_np.Stream(edgel3_np.load_model(model), sr=8000).feed(sound)\n"
        "    assert {report.status for report in edgel3_np.embed_files(folder, folder + '/out')} == {'done'}\n"
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
    if importlib.util.find_spec("h5py"):  # the installer is told off, so the others would have been
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
            assert f"{parameter} :" in thing.__doc__


def test_typed():
    assert (PACKAGE / "py.typed").is_file()


def test_silent_in_development_mode(small_npz, tmp_path):
    """Warnings are errors, and Python looks for files left open and the like."""
    code = (
        "import pathlib, numpy, soundfile, edgel3_np\n"
        f"path = {str(tmp_path / 'a.wav')!r}\n"
        "soundfile.write(path, numpy.random.default_rng(0).standard_normal(90000) / 9, 44100)\n"
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
    """The signal, at 48 kHz in float64, would be 230 MB; after a first second, 48 MB more must do."""
    code = (
        "import pathlib, resource, numpy, soundfile, edgel3_np\n"
        f"path = {str(tmp_path / 'long.wav')!r}\n"
        "block = numpy.random.default_rng(0).standard_normal(48000) / 9\n"
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
