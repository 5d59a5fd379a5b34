"""The `keras-a2i` command: a group of commands, each in its own module and loaded when it is called."""

import importlib
import logging
import os
import signal
import sys
import threading
import traceback

import click

from keras_a2i.cli.progress import transfers_shown
from keras_a2i.cli.system_errors import describe_system_error
from keras_a2i.cli.terminal import accept_any_text, echo
from keras_a2i.errors import KerasA2IError, MissingPackageError, did_you_mean
from keras_a2i.memory import keep_freed_memory
from keras_a2i.version import __version__

_COMMANDS = {
    "quickstart": "perform all steps on a rendered data set",
    "build-records": "build records from videos, from pairs of audio and images, or from rendered data",
    "inspect": "inspect records: counts, leaks, duplicates, silence; write a contact sheet",
    "recipes": "list the recipes (networks and trainings), or show the measured results and settings of one",
    "models": "list the trained models that come with the library",
    "fit": "train a model on records",
    "sweep": "train every combination of settings, with several seeds, and rank them",
    "baselines": "score baselines that need no model on records",
    "evaluate": "evaluate a model and compare it with baselines that receive no audio",
    "compare": "compare evaluated runs, with seeds as replicates",
    "runs": "list the runs in folders; write a page with their curves and newest images",
    "card": "write the model card of an evaluated run",
    "generate": "generate images or videos from audio files",
    "fit-audio-token": "train an embedder that turns audio into a word for a pretrained Stable Diffusion 3 model",
    "fit-image-to-audio": "train the other direction: a network from images to audio",
    "generate-audio": "generate audio from images",
    "search": "find the images that fit a clip, or the clips that fit an image",
    "live": "generate images from a microphone or a file in real time",
    "demo": "open a page that runs a model in your browser",
    "export": "export a trained model to one file or folder for serving",
}

_INTERRUPTED = 128 + signal.SIGINT

# What keras-a2i-runtime, the installation without TensorFlow, lacks.
_FULL_INSTALLATION = ("tensorflow", "keras", "pandas", "matplotlib", "google_crc32c", "jinja2")


class _LazyGroup(click.Group):
    """Lists its commands by name, and imports the module of a command only when that command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module = importlib.import_module(f"keras_a2i.cli.{name.replace('-', '_')}")
        return module.command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def resolve_command(self, ctx, args):
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            hint = did_you_mean(args[0], _COMMANDS, f"There are {', '.join(_COMMANDS)}.")
            raise click.UsageError(f"No such command {args[0]!r}. {hint}", ctx) from error


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="keras-a2i")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Train small models that turn audio into images.

    \b
    The usual steps:
      keras-a2i build-records my_videos/ --out records
      keras-a2i inspect records --sheet sheet.png
      keras-a2i fit records --out run
      keras-a2i generate run audio.wav --out images
      keras-a2i export run --out model.tflite
    """
    click.get_current_context().with_resource(transfers_shown())


def _silence_native_logs() -> None:
    """Keeps TensorFlow's messages about machine and retracing off the terminal; Python's own stderr remains."""
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)


def main() -> None:
    """Runs the command; a user's mistake ends in one sentence, with a traceback only under --debug.

    The exit status is 0; 1 where the input or the machine is at fault; 2 for wrong usage; 130 after Ctrl-C; 143
    after SIGTERM, which ends a command as Ctrl-C does.
    """
    received = _end_on_sigterm()
    accept_any_text()
    keep_freed_memory()
    debug = "--debug" in sys.argv[1:]
    if not debug:
        _silence_native_logs()
    try:
        status = cli.main(prog_name="keras-a2i", standalone_mode=False)
    except click.exceptions.Exit as error:
        status = error.exit_code
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        echo("\nStopped.", err=True)
        status = _INTERRUPTED
    except KerasA2IError as error:
        if debug:
            traceback.print_exc()
        echo(f"Error: {error}", err=True)
        status = error.exit_status
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if debug or package not in _FULL_INSTALLATION:
            raise
        echo(f"Error: {MissingPackageError(package, None, 'This command')}", err=True)
        status = 1
    except BrokenPipeError:
        # The reader of the output (head, less) has finished.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        status = 1
    except OSError as error:
        if debug:
            traceback.print_exc()
        echo(f"Error: {describe_system_error(error, sys.argv[1:])}", err=True)
        status = 1
    if received and status in (1, _INTERRUPTED):
        status = 128 + received[0]
    status = status if isinstance(status, int) else 0
    if processes := sys.modules.get("keras_a2i.training.process_group"):
        processes.leave_broken(status)
    sys.exit(status)


def _end_on_sigterm() -> list[int]:
    """Makes SIGTERM end the command as Ctrl-C does; returns a list that will hold the signal."""
    received: list[int] = []

    def interrupt(number: int, _: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, interrupt)
    return received
