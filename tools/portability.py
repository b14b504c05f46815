#!/usr/bin/env python3
"""Run `verify` and tests on other processors and with other BLAS libraries, in Debian systems made for it.

    python tools/portability.py                      # all of them
    python tools/portability.py --list               # what there is
    python tools/portability.py i386 blis            # some
    python tools/portability.py i386 --tests tests/audio

Needs Linux on x86-64, and mmdebstrap and qemu-user-static (Debian packages). 32-bit x86 and the BLAS libraries run
natively, other processors are emulated. Each system is unpacked once into a folder and runs there in namespaces of its
own: nothing is installed, registered or mounted outside. What each prints is in the folder, in `<name>.log`.

Exit codes: 0 if everything passed, 1 if something failed, 2 if a program is missing.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = "python3-numpy python3-scipy python3-soundfile python3-pytest python3-hypothesis python3-h5py dash coreutils"
PACKAGES += " git libc-bin libopenblas0-pthread"
OTHER_BLAS = "libblas3 liblapack3 libopenblas0-openmp libopenblas0-serial libblis4-pthread libatlas3-base"
NUMBERS = (
    "tests/network/test_threads.py",
    "tests/features",
    "tests/audio/test_resample.py",
    "tests/audio/test_taps.py",
)
NUMBERS += ("tests/network/test_whole.py", "tests/diagnostics/test_everywhere.py")
EMULATED = (
    "tests/weights/test_npz.py",
    "tests/collections/test_results.py",
    "tests/audio",
    "tests/features",
    "tests/live",
)

# In private namespaces: emulators for foreign programs, /dev and /proc of the system, then the command inside it
ENTER = """
root=$1; shift
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
for emulator in aarch64 arm s390x; do cat /usr/lib/binfmt.d/qemu-$emulator.conf >/proc/sys/fs/binfmt_misc/register; done
mkdir -p "$root/dev" "$root/proc"
mount --rbind /dev "$root/dev"
mount --rbind /proc "$root/proc"
exec unshare --root="$root" --wd=/edgel3_np "$@"
"""


class Platform(NamedTuple):
    """A system, a BLAS in it, and the tests that run there besides `verify`."""

    what: str
    architecture: str  # Debian's name
    blas: str = ""  # folder of another BLAS than OpenBLAS with threads
    tests: tuple = NUMBERS


PLATFORMS = {
    "i386": Platform("32 bits", "i386", tests=("tests",)),
    "s390x": Platform("big-endian", "s390x", tests=EMULATED),
    "arm64": Platform("ARM, 64 bits", "arm64", tests=EMULATED),
    "armhf": Platform("ARM, 32 bits", "armhf", tests=EMULATED),
    "openblas-pthread": Platform("Debian's OpenBLAS", "amd64"),
    "openblas-openmp": Platform("OpenBLAS on OpenMP", "amd64", "openblas-openmp"),
    "openblas-serial": Platform("OpenBLAS without threads", "amd64", "openblas-serial"),
    "blis": Platform("BLIS", "amd64", "blis-pthread"),
    "atlas": Platform("ATLAS", "amd64", "atlas"),
    "reference": Platform("the reference BLAS", "amd64", "blas"),
}


def mirror():
    """Return release and address of the package archive that this machine uses."""
    release = re.search(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.MULTILINE)[1]
    wanted = ["Created-By: Packages", f"Codename: {release}", "Component: main"]
    targets = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", *wanted], capture_output=True, text=True, check=True
    )
    if not targets.stdout.strip():
        raise SystemExit(f"portability: expected package lists of {release}, found none; run apt-get update")
    return release, targets.stdout.split()[0]


def unpack(folder, architecture):
    """Unpack a system into `folder/architecture` unless it is there, and put the checkout into it."""
    root = folder / architecture
    if not root.exists():
        packages = f"{PACKAGES} {OTHER_BLAS}" if architecture == "amd64" else PACKAGES
        unfinished = root.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        subprocess.run(
            ["mmdebstrap", "--quiet", "--variant=extract", f"--architectures={architecture}"]
            + ["--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr", f"--include={packages.replace(' ', ',')}"]
            + [mirror()[0], str(unfinished), mirror()[1]],
            check=True,
        )
        unfinished.rename(root)
    checkout = root / "edgel3_np"
    shutil.rmtree(checkout, ignore_errors=True)
    names = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in filter(None, subprocess.run(names, cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")):
        source, target = ROOT / os.fsdecode(name), checkout / os.fsdecode(name)
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    libraries = [f"/{path.relative_to(root)}\n" for path in (root / "usr/lib").glob("*-linux-gnu*/openblas-pthread")]
    (root / "etc/ld.so.conf").write_text("".join(libraries) + "include /etc/ld.so.conf.d/*.conf\n")
    (root / "usr/lib/python3/dist-packages/edgel3_np.pth").write_text("/edgel3_np\n")
    enter(root, ["/sbin/ldconfig"], {}, None)


def enter(root, command, environment, log):
    """Run a command in a system; return its exit code."""
    spaces = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", ENTER, "sh"]
    settings = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/tmp", "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(
        [*spaces, str(root), *command], env={**settings, **environment}, stdout=log, stderr=subprocess.STDOUT
    )
    return ran.returncode


def examine(folder, name, tests):
    """Run `verify` and the tests on a platform; return whether both passed, and their last lines.

    `verify` compares the bytes of the bundled models with those of every machine, step by step.
    """
    platform, root = PLATFORMS[name], folder / PLATFORMS[name].architecture
    environment = {"OMP_NUM_THREADS": "4", "OPENBLAS_NUM_THREADS": "4"}
    if platform.blas:
        environment["LD_LIBRARY_PATH"] = ":".join(
            f"/usr/lib/x86_64-linux-gnu/{name}" for name in (platform.blas, "lapack")
        )
    verify = ["/usr/bin/python3", "-m", "edgel3_np", "verify"]
    pytest = ["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", *(tests or platform.tests)]
    path = folder / f"{name}.log"
    with open(path, "w") as log:
        codes = [enter(root, command, environment, log) for command in (verify, pytest)]
    text = path.read_text(errors="replace")
    checks, counted = (
        len(re.findall("^ok  ", text, re.MULTILINE)),
        re.findall(r"^\d+ .* in [\d.]+s.*", text, re.MULTILINE),
    )
    tests = counted[-1] if counted else f"exit code {codes[1]}"
    same = re.findall(r"(ok|failed) +(\S+): (the same bytes as everywhere): (.*)", text)
    compared = (f"{name}: {what if state == 'ok' else f'OTHER BYTES: {why}'}" for state, name, what, why in same)
    found = ", ".join(compared) or "not compared"
    verified = f"verify: {checks} checks passed, exit code {codes[0]}"
    return not any(codes), f"{found}; {verified}; tests: {tests}"


def main(arguments=None):
    """Examine platforms; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], epilog="Exit codes: " + __doc__.split("Exit codes: ")[1]
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="platforms (default: all)")
    parser.add_argument("--list", action="store_true", help="list the platforms and exit")
    parser.add_argument("--tests", nargs="+", help="run these tests instead of those of each platform")
    parser.add_argument("--folder", type=Path, default=ROOT / ".venv" / "portability", help="where systems are kept")
    options = parser.parse_args(arguments)
    if options.list:
        for name, platform in PLATFORMS.items():
            print(f"{name:17} {platform.architecture:6} {platform.what}")
        return 0
    unknown = sorted(set(options.names) - set(PLATFORMS))
    if unknown:
        parser.error(f"expected names of platforms ({', '.join(PLATFORMS)}), found {', '.join(unknown)}")
    needed = {"mmdebstrap": shutil.which("mmdebstrap"), "qemu-user-static": shutil.which("qemu-s390x-static")}
    if not all(needed.values()):
        missing = " ".join(name for name, found in needed.items() if not found)
        parser.error(f"expected {' and '.join(needed)}, found no {missing}; install: apt-get install {missing}")
    names, failures = options.names or list(PLATFORMS), 0
    options.folder.mkdir(parents=True, exist_ok=True)
    for architecture in sorted({PLATFORMS[name].architecture for name in names}):
        unpack(options.folder.resolve(), architecture)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda name: examine(options.folder.resolve(), name, options.tests), names)
        for name, (passed, summary) in zip(names, found):
            print(f"{'ok' if passed else 'failed':6} {name} ({PLATFORMS[name].what}): {summary}", flush=True)
            failures += not passed
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
