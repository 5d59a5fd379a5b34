"""`keras-a2i demo`: a model on a page in the browser of this machine."""

import contextlib
import time
import webbrowser

import click

from keras_a2i.cli.flag_names import flag_names
from keras_a2i.cli.locations import LocalPath, ModelPath
from keras_a2i.cli.terminal import echo

_SECONDS_BETWEEN_CHECKS = 0.5


@click.command("demo")
@click.argument("model", required=False, type=ModelPath())
@click.option(
    "--runtime",
    type=LocalPath(),
    help="Folder of the npm package @litertjs/core 2.5.3, or cdn, with which the browser loads it from "
    "cdn.jsdelivr.net. Exported pages don't need this option.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8000,
    show_default=True,
    help="Port of the page; 0 picks a free port.",
)
@click.option("--no-browser", is_flag=True, help="Print the address without opening a browser.")
def command(model, runtime, port, no_browser):
    """Open a page on which MODEL generates images from a microphone or a file, within your browser.

    MODEL is a folder that export --format web wrote, a run folder, a .keras file, a .tflite file whose input is a
    waveform, or the name of a shipped model; without MODEL, the page offers all shipped models. Unless MODEL is such a
    folder, the page is written to a temporary folder. The model runs in the browser, and no audio leaves the machine.
    The page is at http://127.0.0.1:PORT/ and isn't reachable from other machines. Ctrl-C ends the server.
    """
    from keras_a2i.serving.page_server import PageServer, choice_folder, page_folder

    made = choice_folder(runtime) if model is None else page_folder(model, runtime)
    what = "The shipped models are" if model is None else f"{model} is"
    stopped = contextlib.suppress(KeyboardInterrupt)
    # The server is opened first: a port in use shows before the model takes seconds to load. `stopped` is innermost:
    # from the first moment at which someone sees the page, Ctrl-C closes it.
    with flag_names(), contextlib.closing(PageServer(port)) as server, made as folder, stopped:
        (server.show_choice if model is None else server.show)(folder)
        echo(f"{what} shown at {server.where}. Press Ctrl-C to stop the server", err=True)
        if not no_browser and not webbrowser.open(server.where):
            echo("No browser could be opened. Open the address in a browser yourself", err=True)
        while True:
            time.sleep(_SECONDS_BETWEEN_CHECKS)
    echo(f"The page at {server.where} is closed.", err=True)
