"""`python -m edgel3_np.bench`: how fast a model is on this machine, where the time goes, and whether it is right."""

import argparse
import cProfile
import io
import json
import pstats
import sys

from . import parallel
from .errors import EdgeL3Error
from .info import environment
from .locate import DEFAULT, list_models
from .models import load_model
from .timing import synthesise, time_import, time_layers, time_model

EPILOG = """\
The check compares an embedding with computations in float64; if it fails, the exit code is 1. Steps and layers are
timed on one thread. Exit codes: 0 done, 1 a model gives wrong numbers, 2 wrong options, model or file, 130 interrupted.
"""


def build_parser():
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m edgel3_np.bench",
        description="Time models on this machine: from file to embedding, step by step, layer by layer.",
        epilog=EPILOG,
    )
    add = parser.add_argument
    models = parser.add_mutually_exclusive_group()
    models.add_argument(
        "-m", "--model", action="append", metavar="NAME|PATH", help=f"may be repeated (default: {DEFAULT})"
    )
    models.add_argument("--all", action="store_true", help="time every installed model")
    add("-a", "--audio", metavar="FILE", help="sound file (default: a few seconds of generated sound)")
    add("-r", "--repeats", type=_positive, default=5, help="timed calls, after one to warm up (default: %(default)s)")
    add(
        "-t",
        "--threads",
        type=lambda text: [_positive(part) for part in text.split(",")],
        metavar="N,N...",
        help="numbers of threads to time whole embeddings with (default: one a core)",
    )
    add("--plan", action="store_true", help="only the layers: kernel, estimated and measured time, GFLOP/s")
    add("--profile", action="store_true", help="only where Python spends its time while embedding on one thread")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--md", action="store_true", help="print Markdown tables")
    return parser


def _positive(text):
    if not text.isdecimal() or not 1 <= int(text) <= 256:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to 256, found {text!r}")
    return int(text)


def tables(report):
    """Title, columns and rows of each table that shows a report; cells are texts."""
    if "steps" in report:
        rows = [
            [name, f"{times['median']:.3f}", f"{times['min']:.3f} to {times['max']:.3f}", times["unit"]]
            for name, times in report["steps"].items()
        ]
        yield "steps, one thread", ["step", "ms", "range", "per"], rows
    if "plan" in report:
        rows = [
            [
                layer["layer"],
                "x".join(map(str, layer["map"])) + f" -> {layer['filters']}",
                f"{layer['density']:.0f} %",
                layer["kernel"],
                *(f"{layer[key]:.0f}" for key in ("estimated", "measured")),
                *(f"{layer[key]:.1f}" for key in ("effective", "real")),
            ]
            for layer in report["plan"]
        ]
        heads = ["layer", "channels x frames x mels", "density", "kernel", "estimated us", "measured us"]
        yield "layers, one window on one thread", [*heads, "GFLOP/s as if dense", "real GFLOP/s"], rows
    if "embed" in report:
        rows = [
            [
                f"{run['hop_size']:g} s",
                str(run["threads"] or "default"),
                f"{run['windows_per_second']['median']:.1f}",
                "{min:.1f} to {max:.1f}".format(**run["windows_per_second"]),
                f"{run['realtime_factor']:.1f}",
            ]
            for run in report["embed"]
        ]
        heads = ["hop", "threads", "windows per second", "range", "seconds of audio per second"]
        yield f"from file to embeddings, {report['seconds']:.1f} s of audio", heads, rows


def show(facts, reports, markdown):
    """Lines of text that show reports."""
    cost, others = facts["import"], {key: value for key, value in facts.items() if key != "import"}
    yield ", ".join(f"{key} {value}" for key, value in others.items())
    loaded = ", ".join(f"{name} {'loaded' if cost[name] else 'not loaded'}" for name in ("scipy", "scipy.signal"))
    yield (
        f"import in a new process: {1e3 * cost['seconds']:.0f} ms, of which NumPy {1e3 * cost['numpy']:.0f} ms; "
        f"{cost['modules']} modules, {loaded}"
    )
    for report in reports:
        yield ""
        yield ("## " if markdown else "") + report["model"]
        for title, heads, rows in tables(report):
            widths = [max(map(len, column)) for column in zip(heads, *rows)]
            yield ""
            yield title
            if markdown:
                yield ""
            for number, row in enumerate([heads, *rows]):
                cells = [cell.ljust(width) for cell, width in zip(row, widths)]
                yield ("| " + " | ".join(cells) + " |" if markdown else "  " + "  ".join(cells)).rstrip()
                if markdown and number == 0:
                    yield "|" + "---|" * len(heads)
        if "profile" in report:
            yield ""
            yield ("```\n" if markdown else "") + report["profile"].rstrip() + ("\n```" if markdown else "")
        if "difference" in report:
            yield ""
            memory = report["peak_memory_mib"]
            if memory is not None:
                yield f"peak memory of a process that embeds this sound, hop 1 s: {memory:.0f} MiB"
            golden = "none came with it" if report["golden"] is None else f"{report['golden']:.1e}"
            yield (
                f"check: {'right' if is_right(report) else 'WRONG'}: relative difference from float64 "
                f"{report['difference']:.1e}, from the golden embedding {golden}; allowed {report['limit']:.0e}"
            )


def is_right(report):
    """Whether the numbers that a report checked are within its limit; NaN is not."""
    differences = [report[key] for key in ("difference", "golden") if report.get(key) is not None]
    return all(difference <= report["limit"] for difference in differences)


def profile(model):
    """Where Python spends its time while a model embeds generated sound on one thread: text."""
    sound = synthesise(model.sr, 4.0)
    profiler = cProfile.Profile()
    profiler.runcall(model.embed, sound, model.sr, hop_size=0.5, threads=1)
    text = io.StringIO()
    pstats.Stats(profiler, stream=text).strip_dirs().sort_stats("tottime").print_stats(20)
    return text.getvalue()


def run(name, options):
    """The report of one model."""
    if not (options.plan or options.profile):
        return time_model(name, options.repeats, options.threads or (None,), options.audio)
    model = load_model(name)
    report = {"model": model.name, "sha256": model.sha256}
    if options.plan:
        with parallel.one_blas_thread():
            report["plan"] = time_layers(model.network, options.repeats)
    if options.profile:
        report["profile"] = profile(model)
    return report


def main(arguments=None):
    """Run the command line; return its exit code."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if (options.plan or options.profile) and (options.audio or options.threads):
        parser.error("--plan and --profile time generated sound on one thread: expected neither --audio nor --threads")
    reports = []
    try:
        for name in (list(list_models()) if options.all else options.model) or [DEFAULT]:
            print(f"timing {name} ...", file=sys.stderr)
            reports.append(run(name, options))
    except EdgeL3Error as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 130
    facts = {**environment(), "import": time_import()}
    if options.json:
        print(json.dumps({"environment": facts, "reports": reports}, indent=2))
    else:
        print("\n".join(show(facts, reports, options.md)))
    return 0 if all(is_right(report) for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main())
