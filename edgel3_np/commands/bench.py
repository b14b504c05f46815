"""`edgel3-np bench`: how fast models are on this machine, where the time goes, and whether the numbers are right."""

from __future__ import annotations

import cProfile
import io
import json
import pstats

from ..diagnostics.checks import synthesise
from ..diagnostics.environment import environment
from ..diagnostics.timing import time_import, time_layers, time_model
from ..model import load_model
from ..network.threads import one_blas_thread
from ..weights.locate import list_models
from ..weights.registry import DEFAULT
from .ending import FAILED, OK, finish, tell, wrong_usage
from .options import make_parser, whole_number, whole_numbers

PROGRAM = "edgel3-np bench"
MAX_NUMBER = 256  # of threads, and of repeats


def main(arguments: list[str] | None = None) -> int:
    """Run the bench command; return its exit code."""
    return finish(PROGRAM, lambda: _run_bench(arguments))


def _run_bench(arguments):
    parser = build_parser()
    options = parser.parse_args(arguments)
    if (options.plan or options.profile) and (options.audio or options.threads):
        parser.error("--plan and --profile time generated audio on one thread: expected neither --audio nor --threads")
    reports = []
    with wrong_usage():
        for name in (list(list_models()) if options.all else options.model) or [DEFAULT]:
            tell(PROGRAM, f"timing {name} ...")
            reports.append(bench_model(name, options))
    facts = {**environment(), "import": time_import()}
    if options.json:
        print(json.dumps({"environment": facts, "reports": reports}, indent=2))
    else:
        print("\n".join(format_reports(facts, reports, options.md)))
    return OK if all(is_right(report) for report in reports) else FAILED


def build_parser():
    """Build the parser of the bench command's options."""
    parser = make_parser(
        PROGRAM,
        "Time models on this machine: from file to embedding, step by step, layer by layer.",
        ["edgel3-np bench                  # the default model", "edgel3-np bench --all --plan"],
        "The check compares an embedding with float64 computations. Steps and layers are timed on one thread. "
        "Exit codes: 0 done, 1 a model computes wrong numbers, 2 wrong usage, no such model, or a file that cannot be "
        "read, 130 interrupted.",
    )
    add = parser.add_argument
    models = parser.add_mutually_exclusive_group()
    models.add_argument(
        "-m", "--model", action="append", metavar="NAME|PATH", help=f"may be given several times (default: {DEFAULT})"
    )
    models.add_argument("--all", action="store_true", help="time every installed model")
    add("-a", "--audio", metavar="FILE", help="sound file (default: a few seconds of generated audio)")
    add(
        "-r",
        "--repeats",
        type=whole_number(high=MAX_NUMBER),
        default=5,
        help="timed calls, after one to warm up (default: %(default)s)",
    )
    threads = {"type": whole_numbers(high=MAX_NUMBER), "metavar": "N,N..."}
    add("--threads", **threads, help="numbers of threads to time whole embeddings with (default: one thread per core)")
    add("--plan", action="store_true", help="only the layers: algorithm, estimated and measured time, GFLOP/s")
    add("--profile", action="store_true", help="only where Python spends the time of embedding on one thread")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--md", action="store_true", help="print Markdown tables")
    return parser


def bench_model(name, options):
    """Time one model.

    Parameters
    ----------
    name : str
        Name or path.
    options : argparse.Namespace
        From `build_parser`.

    Returns
    -------
    report : dict
        As `time_model` returns it; with --plan or --profile `model` and `sha256`, and `plan` or `profile` or both.
    """
    if not (options.plan or options.profile):
        return time_model(name, options.repeats, options.threads or (None,), options.audio)
    model = load_model(name)
    report = {"model": model.name, "sha256": model.sha256}
    if options.plan:
        with one_blas_thread():
            report["plan"] = time_layers(model.network, options.repeats)
    if options.profile:
        report["profile"] = profile_model(model)
    return report


def profile_model(model):
    """Profile the embedding of generated audio on one thread; return the table of functions as text."""
    sound = synthesise(model.sr, 4.0)
    profiler = cProfile.Profile()
    profiler.runcall(model.embed, sound, model.sr, hop_size=0.5, threads=1)
    text = io.StringIO()
    pstats.Stats(profiler, stream=text).strip_dirs().sort_stats("tottime").print_stats(20)
    return text.getvalue()


def is_right(report):
    """Whether the differences that a report holds are within its limit; NaN is not."""
    differences = [report[key] for key in ("difference", "golden") if report.get(key) is not None]
    return all(difference <= report["limit"] for difference in differences)


def format_reports(facts, reports, markdown):
    """Format what `edgel3-np bench --json` prints as text.

    Parameters
    ----------
    facts : dict
        Versions and hardware, and `import`, as `time_import` returns it.
    reports : list of dict
        From `bench_model`.
    markdown : bool

    Yields
    ------
    line : str
    """
    yield ", ".join(f"{key} {value}" for key, value in facts.items() if key != "import")
    yield _format_import(facts["import"])
    for report in reports:
        yield ""
        yield ("## " if markdown else "") + report["model"]
        for title, heads, rows in _tables(report):
            yield ""
            yield title
            yield from _format_table(heads, rows, markdown)
        if "profile" in report:
            yield ""
            yield ("```\n" if markdown else "") + report["profile"].rstrip() + ("\n```" if markdown else "")
        if "difference" in report:
            yield ""
            yield from _format_check(report)


def _format_import(cost):
    loaded = ", ".join(f"{name} {'loaded' if cost[name] else 'not loaded'}" for name in ("scipy", "scipy.signal"))
    return (
        f"import in a new process: {1e3 * cost['seconds']:.0f} ms, of which NumPy {1e3 * cost['numpy']:.0f} ms; "
        f"{cost['modules']} modules, {loaded}"
    )


def _tables(report):
    """Yield the title, the column heads and the rows of each table of a report; cells are texts."""
    if "steps" in report:
        heads = ["step", "ms", "range", "per"]
        yield "steps, one thread", heads, [_step_row(*step) for step in report["steps"].items()]
    if "plan" in report:
        heads = ["layer", "channels x frames x mels", "density", "algorithm", "estimated us", "measured us"]
        heads += ["GFLOP/s as if dense", "real GFLOP/s"]
        yield (
            "layers on one thread: one window, or one column of a network for streams",
            heads,
            [_layer_row(layer) for layer in report["plan"]],
        )
    if "embed" in report:
        heads = ["hop", "threads", "windows per second", "range", "seconds of audio per second"]
        rows = [_embed_row(speed) for speed in report["embed"]]
        yield f"from file to embeddings, {report['seconds']:.1f} s of audio", heads, rows


def _step_row(name, times):
    return [name, f"{times['median']:.3f}", f"{times['min']:.3f} to {times['max']:.3f}", times["unit"]]


def _layer_row(layer):
    return [
        layer["layer"],
        "x".join(map(str, layer["map"])) + f" -> {layer['filters']}",
        f"{layer['density']:.0f} %",
        layer["algorithm"],
        *(f"{layer[key]:.0f}" for key in ("estimated", "measured")),
        *(f"{layer[key]:.1f}" for key in ("effective", "real")),
    ]


def _embed_row(speed):
    rate = speed["windows_per_second"]
    return [
        f"{speed['hop_size']:g} s",
        str(speed["threads"] or "default"),
        f"{rate['median']:.1f}",
        f"{rate['min']:.1f} to {rate['max']:.1f}",
        f"{speed['realtime_factor']:.1f}",
    ]


def _format_table(heads, rows, markdown):
    """Yield the lines of a table, all cells of a column equally wide."""
    widths = [max(map(len, column)) for column in zip(heads, *rows)]
    if markdown:
        yield ""
    for number, row in enumerate([heads, *rows]):
        cells = [cell.ljust(width) for cell, width in zip(row, widths)]
        yield ("| " + " | ".join(cells) + " |" if markdown else "  " + "  ".join(cells)).rstrip()
        if markdown and number == 0:
            yield "|" + "---|" * len(heads)


def _format_check(report):
    if report["peak_memory_mib"] is not None:
        memory = report["peak_memory_mib"]
        yield f"peak memory of a process that embeds this audio, with a hop of 1 s: {memory:.0f} MiB"
    golden = "none comes with it" if report["golden"] is None else f"{report['golden']:.1e}"
    yield (
        f"check: {'right' if is_right(report) else 'WRONG'}: relative difference from float64 "
        f"{report['difference']:.1e}, from the golden embedding {golden}; allowed {report['limit']:.0e}"
    )
