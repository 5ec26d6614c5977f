"""The command ``spikeloop``: a thin face over the library, with nothing heavy imported before it is needed.

Data goes to stdout, messages to stderr. Exit codes: 0 fine, 1 the run failed, 2 bad input, 3 a study
partly failed, 130 interrupted.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from spikeloop.simulator.errors import INPUT_ERRORS, SpikeloopError

from . import cli_output as output

FAILED, BAD_INPUT, PARTLY_FAILED, INTERRUPTED = 1, 2, 3, 130
#: Largest seed that every random generator takes.
MAX_SEED = 2**63 - 1

# typer.BadParameter < UsageError < the base of typer's own errors; older versions keep them in click.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]
_TyperError: type[Exception] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="spikeloop",
    help="Train a quantised spiking network, put it on analog crossbar tiles, and see what every bit costs.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

compat = typer.Typer(
    name="compat",
    help="What other programs would say, with their known defects named.",
    rich_markup_mode=None,
)
app.add_typer(compat, short_help="What other programs would say: spikesim.")

HardwareOption = Annotated[
    str, typer.Option("--hw", metavar="PRESET|HW.yaml", help="Accelerator: shipped name or file.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
WorkersOption = Annotated[int, typer.Option(min=1, max=1024, help="Processes; the results do not depend on it.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Continue an interrupted run of the same study.")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code and never raises."""
    try:
        given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
        code = app(args=given, prog_name="spikeloop", standalone_mode=False)
        if code == INTERRUPTED:  # typer turns Ctrl-C into this code without a word
            output.say("spikeloop: interrupted")
        return code if isinstance(code, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        output.say("spikeloop: interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader went away (e.g. `| head`): nothing is left to say, and flushing at exit would complain.
        sys.stdout = None
        return FAILED
    except Exception as error:
        if output.debug_wanted():
            import traceback

            traceback.print_exc()
        output.say(f"spikeloop: {_explain(error)}")
        too_long = isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG
        return BAD_INPUT if too_long or isinstance(error, (*INPUT_ERRORS, _TyperError)) else FAILED


def _explain(error: Exception) -> str:
    if isinstance(error, _UsageError):
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "spikeloop"
        return f"{error.format_message().rstrip('.')}; see '{command} --help'"  # type: ignore[attr-defined]
    if isinstance(error, _TyperError):
        return str(error.format_message())  # type: ignore[attr-defined]
    if isinstance(error, SpikeloopError | OSError):
        return output.sentence(error)
    if isinstance(error, MemoryError):
        return "not enough memory for this run; use fewer images or a smaller network"
    return (
        f"unexpected {type(error).__name__} ({output.sentence(error)}); this is a bug, "
        "run with --debug to see where and report it"
    )


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        output.emit(f"spikeloop {version('spikeloop')}")
        raise typer.Exit


@app.callback()
def _options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more on stderr.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks (or set SPIKELOOP_DEBUG=1).")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    output.configure_logging(verbose=verbose, debug=debug or output.debug_wanted())


@app.command(short_help="Digits to Pareto front and report, in one command.")
def demo(
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("runs/demo"),
    workers: WorkersOption = 1,
    resume: ResumeOption = False,
    quick: Annotated[bool, typer.Option("--quick", help="A two-minute cut of the study, to see the flow.")] = False,
) -> int:
    """Digits -> teacher -> quantised students -> crossbar tiles -> Pareto front -> report.html."""
    from .demo import run_demo

    # The demo always continues a folder of its own; the option is there because a user may expect to need it.
    del resume
    return run_demo(out, workers=workers, quick=quick)


@app.command(short_help="Train a teacher, or a student by distillation.")
def train(
    training: Annotated[str, typer.Argument(metavar="TRAINING.yaml", help="Training file or shipped name.")],
    out: Annotated[Path, typer.Option(help="Folder of the checkpoint.")],
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run of the same file.")] = False,
    device: Annotated[
        str, typer.Option(metavar="auto|cpu|cuda", help="Where to train; auto: a GPU if torch sees one.")
    ] = "cpu",
    checkpoint_every: Annotated[
        float | None, typer.Option(min=0, metavar="MINUTES", help="Save within epochs too; they are saved anyway.")
    ] = None,
) -> int:
    """Train a full-precision teacher, or a quantised student by distillation."""
    from .cli_train import train_network

    return train_network(training, out, resume=resume, device=device, every_min=checkpoint_every)


@app.command(short_help="Write an integer network file.")
def export(
    out: Annotated[Path, typer.Option(help="Network file to write (.safetensors).")],
    checkpoint: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="Folder written by 'train'.")] = None,
    random: Annotated[
        str | None, typer.Option(metavar="NAME", help="Untrained network of the zoo instead of a checkpoint.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of --random.")] = 0,
    weight_bits: Annotated[int, typer.Option(min=2, max=32, help="Weight bits of --random.")] = 4,
    membrane_bits: Annotated[int, typer.Option(min=2, max=32, help="Membrane bits of --random.")] = 6,
    bn_bits: Annotated[int, typer.Option(min=3, max=24, help="Batch-norm bits of --random.")] = 8,
    size: Annotated[int | None, typer.Option(help="Rows and columns of the input of --random, 8 to 224.")] = None,
    channels: Annotated[int | None, typer.Option(help="Input channels of --random.")] = None,
    classes: Annotated[int | None, typer.Option(help="Classes of --random.")] = None,
    events: Annotated[
        bool | None, typer.Option("--events/--pixels", help="Input of --random: events of 2 polarities, or pixels.")
    ] = None,
    input_bits: Annotated[int | None, typer.Option(help="Bits of an input code of --random, 1 to 16.")] = None,
    width: Annotated[float | None, typer.Option(help="Factor on the channels of every layer of --random.")] = None,
) -> int:
    """Write a trained student, or a random network of the zoo, as an integer network file."""
    from .cli_network import export_network

    return export_network(
        checkpoint,
        out,
        random=random,
        seed=seed,
        weight_bits=weight_bits,
        membrane_bits=membrane_bits,
        bn_bits=bn_bits,
        parameters={
            "size": size,
            "channels": channels,
            "classes": classes,
            "events": events,
            "bits": input_bits,
            "width": width,
        },
    )


@app.command(short_help="Accuracy, latency, energy and area of a network.")
def simulate(
    network: Annotated[Path, typer.Argument(metavar="NET.safetensors", help="Network file made by 'export'.")],
    hw: HardwareOption,
    data: Annotated[
        str | None, typer.Option(metavar="NAME", help="Data set; default: the one the network was trained on.")
    ] = None,
    images: Annotated[int | None, typer.Option(min=1, help="Test images; default: the whole test split.")] = None,
    calibration_images: Annotated[int, typer.Option(min=1, help="Training images that set the ADC ranges.")] = 64,
    density: Annotated[
        str | None,
        typer.Option(
            metavar="D|FILE", help="Random spikes of this density (or one a layer, YAML): cost only, no accuracy."
        ),
    ] = None,
    clock_images: Annotated[
        int, typer.Option(min=1, help="Images in a row that the clock runs; 4 or more measure the interval.")
    ] = 1,
    trace: Annotated[
        Path | None, typer.Option(metavar="FILE.json[.gz]", help="Draw a trace for Perfetto or chrome://tracing.")
    ] = None,
    trace_cycles: Annotated[str | None, typer.Option(metavar="A:B", help="Cycles that --trace draws.")] = None,
    trace_steps: Annotated[str | None, typer.Option(metavar="A:B", help="Time steps that --trace draws.")] = None,
    trace_events: Annotated[
        int | None, typer.Option(min=1, help="Most events that --trace draws; default 200000.")
    ] = None,
    timeline: Annotated[
        Path | None, typer.Option(metavar="FILE.png|svg|pdf", help="Draw when each layer worked.")
    ] = None,
    chips: Annotated[
        int, typer.Option(min=1, max=10_000, help="Chips of the design: spread and yield of the accuracy.")
    ] = 1,
    yield_at: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Accuracy of a good chip; default: a hundredth below ideal hardware."),
    ] = None,
    attribution: Annotated[
        bool, typer.Option(help="With --chips: also run every non-ideality alone, layer by layer.")
    ] = True,
    crossbars: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Write ADC range and clipped mass of every crossbar.")
    ] = None,
    column_sums: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Write the histogram of the column sums of every layer.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, max=256, help="Threads of the functional run.")] = 1,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of every random draw.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Also keep the result and its run record here.")] = None,
    as_json: JsonOption = False,
) -> int:
    """Accuracy, latency, energy and area of one network on one accelerator."""
    from .cli_chips import ChipRequest
    from .cli_simulate import simulate_network
    from .cli_trace import TraceRequest

    return simulate_network(
        network,
        hw,
        data=data,
        images=images,
        calibration_images=calibration_images,
        density=density,
        seed=seed,
        out=out,
        as_json=as_json,
        clock_images=clock_images,
        trace=TraceRequest(
            trace=trace, cycles=trace_cycles, steps=trace_steps, max_events=trace_events, timeline=timeline
        ),
        chips=ChipRequest(
            chips=chips,
            yield_at=yield_at,
            attribution=attribution,
            threads=threads,
            crossbars=crossbars,
            column_sums=column_sums,
        ),
    )


@app.command(short_help="Run a design-space study into a folder.")
def explore(
    study: Annotated[str, typer.Argument(metavar="STUDY.yaml", help="Study file or shipped name.")],
    out: Annotated[Path, typer.Option(help="Folder of the study.")],
    workers: WorkersOption = 1,
    resume: ResumeOption = False,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Dask scheduler that runs the points; local: start one here."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the study, count its points, run nothing.")] = False,
    slurm: Annotated[bool, typer.Option("--slurm", help="With --dry-run: print a SLURM script, run nothing.")] = False,
) -> int:
    """Run a design-space study: train, map, simulate, and keep every point in a ledger."""
    from .cli_study import explore_study, print_slurm

    if slurm:
        return print_slurm(study, out, workers=workers, only_plan=dry_run)
    return explore_study(study, out, workers=workers, resume=resume, only_plan=dry_run, scheduler=scheduler)


@app.command(short_help="What few bits cost, layer by layer.")
def sensitivity(
    training: Annotated[str, typer.Argument(metavar="STUDENT.yaml", help="Training file of a student, or its name.")],
    teacher: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Trained teacher; default: the one that the file names.")
    ] = None,
    bits: Annotated[str, typer.Option(metavar="B,B,...", help="Widths to try.")] = "2,3,4,6",
    rest_bits: Annotated[int, typer.Option(min=2, max=32, help="Width of all other layers.")] = 8,
    images: Annotated[int, typer.Option(min=1, help="Test images.")] = 500,
    settle_images: Annotated[int, typer.Option(min=1, help="Training images that settle the batch norms.")] = 512,
    epochs: Annotated[int | None, typer.Option(min=1, help="Also distil each case for so many epochs.")] = None,
    of: Annotated[Literal["weights", "membranes", "both"], typer.Option(help="Whose widths.")] = "both",
    as_json: JsonOption = False,
) -> int:
    """Accuracy and membrane error with one layer at few bits and the others at many, without training."""
    from .cli_layers import show_layer_sensitivity

    return show_layer_sensitivity(
        training,
        teacher,
        bits=bits,
        rest_bits=rest_bits,
        images=images,
        settle_images=settle_images,
        epochs=epochs,
        of=of,
        as_json=as_json,
    )


@app.command(short_help="Write the report, table and figures of a study.")
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a study.")],
    parquet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write every point of the ledger as Parquet.")
    ] = None,
) -> int:
    """Write report.html, front.csv and figures/ of a study from its ledger."""
    from .cli_study import report_study

    return report_study(folder, parquet=parquet)


@app.command(short_help="What every component of an accelerator costs.")
def cost(
    hw: Annotated[str, typer.Argument(metavar="HW", help="Accelerator: shipped name or file.")],
    compare: Annotated[str | None, typer.Option(metavar="HW2", help="Second accelerator, side by side.")] = None,
    sensitivity: Annotated[
        bool, typer.Option("--sensitivity", help="Rank the numbers of the technology file by what they move.")
    ] = False,
    network: Annotated[
        Path | None,
        typer.Option(metavar="NET.safetensors", help="With --sensitivity: network to run; default a VGG-9, T = 5."),
    ] = None,
    density: Annotated[
        str | None, typer.Option(metavar="D|FILE", help="With --sensitivity: density of the spikes; default 0.15.")
    ] = None,
    factor: Annotated[
        float | None, typer.Option(help="With --sensitivity: numbers are divided and multiplied by it; default 2.")
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE.png|svg|pdf", help="With --sensitivity: draw the tornado chart.")
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """What every component of an accelerator costs, with the source of each number."""
    from .cli_cost import show_cost
    from .cli_sensitivity import SensitivityRequest, show_sensitivity

    request = SensitivityRequest(wanted=sensitivity, network=network, density=density, factor=factor, figure=figure)
    request.check(compare=compare)
    if sensitivity:
        return show_sensitivity(hw, request, as_json=as_json)
    return show_cost(hw, compare=compare, as_json=as_json)


@compat.command("spikesim", short_help="Area, energy and latency as the SpikeSim program computes them.")
def compat_spikesim(
    file: Annotated[str, typer.Argument(metavar="FILE.yaml", help="Layer list in SpikeSim's names, or shipped name.")],
    each_fix: Annotated[
        bool, typer.Option("--each-fix", help="Also say what curing each known defect changes.")
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Area, energy and latency as the SpikeSim program computes them; 'fix:' in the file cures its defects."""
    from .cli_compat import show_spikesim

    return show_spikesim(file, as_json=as_json, each_fix=each_fix)


@app.command(short_help="What data sets are here; check, fetch or make one.")
def data(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Data set; without it all are listed.")] = None,
    folder: Annotated[
        Path | None, typer.Option("--dir", metavar="DIR", help="Folder of all data sets; default: SPIKELOOP_DATA.")
    ] = None,
    download: Annotated[bool, typer.Option(help="Fetch what is not there from its publisher.")] = True,
    images_of: Annotated[
        str | None, typer.Option("--from", metavar="NAME", help="Images that synthetic_nmnist is made of.")
    ] = None,
    images: Annotated[int | None, typer.Option(min=1, help="Most images of each split for synthetic_nmnist.")] = None,
    camera: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="Simulated event camera of synthetic_nmnist.")
    ] = "saccades_34",
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of the simulated camera.")] = 0,
) -> int:
    """Say what a data set is and whether its files are whole; fetch it, or make it, if it is not there."""
    from .cli_data import show_data

    return show_data(name, folder, download=download, images_of=images_of, n_images=images, camera=camera, seed=seed)


@app.command(short_help="Say what a file is and whether it is valid.")
def check(file: Annotated[Path, typer.Argument(metavar="FILE", help="Any file, or a study folder.")]) -> int:
    """Say what a file is (network, accelerator, technology, study, training) and whether it is valid."""
    from .cli_check import describe

    output.emit(describe(file))
    return 0


def run() -> None:
    """Entry point of ``python -m spikeloop.codesign.cli``."""
    sys.exit(main())


if __name__ == "__main__":
    run()
