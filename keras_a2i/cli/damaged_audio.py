"""Sentences in place of warnings about audio files that break off or are damaged."""

import contextlib
import warnings
from collections.abc import Iterator

from keras_a2i.cli.terminal import echo
from keras_a2i.errors import SourceError


@contextlib.contextmanager
def damage_shown(strict: bool = False) -> Iterator[None]:
    """Shows a sentence for a file that breaks off or is damaged; with `strict` raises it as a SourceError."""
    from keras_a2i.media.audio import DamagedAudioWarning

    usual = warnings.showwarning

    def show(message, category, *rest):
        if issubclass(category, DamagedAudioWarning):
            echo(f"damaged, but used: {message}", err=True)
        else:
            usual(message, category, *rest)

    with warnings.catch_warnings():
        warnings.simplefilter("error" if strict else "always", DamagedAudioWarning)
        warnings.showwarning = show
        try:
            yield
        except DamagedAudioWarning as error:
            raise SourceError(f"{error}. The command stops at it (--strict)") from None
