"""The report of an evaluation: its data, writing and reading."""

import hashlib
import html
import json
import pathlib

from keras_a2i.errors import AddressNotFoundError, ModelError, UsageError
from keras_a2i.evaluation.report_data import HEADLINE, ReportData
from keras_a2i.evaluation.report_format import printable
from keras_a2i.evaluation.report_html import render_html
from keras_a2i.evaluation.report_text import render_text
from keras_a2i.media.durable import written_whole
from keras_a2i.media.json_file import write_json
from keras_a2i.remote.address import Address, Location, as_location, local_path
from keras_a2i.remote.copies import temporary_folder
from keras_a2i.remote.store import find_kind, read_bytes, upload
from keras_a2i.training.run_folder import REPORT_FILES

JSON_NAME, HTML_NAME, CSV_NAME = REPORT_FILES


class Report(ReportData):
    """The result of `evaluate`: `print` shows the verdict and the tables, a notebook shows the HTML report.

    The attributes are those of `ReportData`.
    """

    def __repr__(self) -> str:
        scores = self.contenders[0].means
        score = f"; {HEADLINE} {scores[HEADLINE]:.3f}" if HEADLINE in scores else ""
        return f"Report({self.model!r}: {self.level!r}; {self.n_pairs} pairs of {self.records!r}, {self.split}{score})"

    def __str__(self) -> str:
        return "\n".join([*(str(printable(sentence)) for sentence in self.verdict), "", render_text(self)])

    def _repr_html_(self) -> str:
        """The HTML report in a frame of its own, so that its styles and anchors don't affect a notebook's page."""
        page = html.escape(render_html(self))
        style = "width: 100%; height: 40rem; border: 0; resize: vertical"
        return f'<iframe sandbox srcdoc="{page}" title="Evaluation report" style="{style}"></iframe>'

    def save(self, path: str | Location) -> Location:
        """Writes the report; a file is complete or not written at all.

        Args:
            path: a file that ends in .html, .json or .csv (one row per pair); or a folder, which is made, for
                report.json, report.html and per_pair.csv; or the address of either in an object store.

        Returns:
            The file, or report.html in the folder.

        Raises:
            UsageError: if the path has another suffix, or is a file without one.
            RemoteError: if an object store can't be written to.
        """
        path = as_location(path)
        if isinstance(path, Address):
            return self._upload(path)
        if _is_folder(path):
            path.mkdir(parents=True, exist_ok=True)
            for name in (JSON_NAME, CSV_NAME, HTML_NAME):
                self.save(path / name)
            return path / HTML_NAME
        if path.suffix == ".json":
            write_json(path, json.loads(json.dumps(self.to_dict())))
        elif path.suffix == ".csv":
            replace_file(path, self.pairs().to_csv(index=False, lineterminator="\n"))
        else:
            replace_file(path, render_html(self))
        return path

    def _upload(self, address: Address) -> Address:
        is_folder = _is_folder(address)
        with temporary_folder() as temporary:
            if not is_folder:
                self.save(temporary / address.name)
                upload(temporary / address.name, address)
                return address
            self.save(temporary)
            for name in (JSON_NAME, CSV_NAME, HTML_NAME):
                upload(temporary / name, address / name)
            return address / HTML_NAME


def check_report_path(path: Location, model: str, *, overwrite: bool, is_own: bool) -> None:
    """Checks, before an evaluation, that `Report.save` may write its report.

    Args:
        path: as of `Report.save`.
        model: the model, as its report names it, whose earlier report may be replaced.
        overwrite: whether any file may be replaced.
        is_own: whether the folder is the model's own, where a report of any model may be replaced.

    Raises:
        UsageError: if the path has another suffix, or other files would be replaced and `overwrite` is False.
    """
    is_folder = _is_folder(path)
    if overwrite:
        return
    files = [path / name for name in REPORT_FILES] if is_folder else [path]
    found = [file for file in files if _kind(file) == "file"]
    if found and not (is_folder and _holds_report(path, None if is_own else model)):
        raise UsageError(
            f"path must not exist, unless it is a folder with an earlier report of the same model. Received: {path}, "
            f"where {found[0].name} would be replaced. Choose another, or pass overwrite=True"
        )


def _is_folder(path: Location) -> bool:
    """Whether a report is written as three files. Raises a UsageError for a path that is neither these nor a report."""
    if path.suffix in (".html", ".json", ".csv"):
        return _kind(path) == "folder"
    if _kind(path) == "file" or (path.suffix and _kind(path) != "folder"):
        raise UsageError(f"path must be a folder or end in .html, .json or .csv. Received: {path}")
    return True


def _kind(path: Location) -> str:
    if isinstance(path, Address):
        return find_kind(path)
    return "folder" if path.is_dir() else "file" if path.exists() else ""


def _holds_report(folder: Location, model: str | None) -> bool:
    """Whether a folder holds the report of a model, or with None of any, of this version or another."""
    path = folder / JSON_NAME
    try:
        values = json.loads(read_bytes(path) if isinstance(path, Address) else path.read_bytes())
        return "contenders" in values and model in (None, values["model"])
    except (OSError, AddressNotFoundError, ValueError, TypeError, KeyError):
        return False


def read_report(path: str | pathlib.Path) -> Report:
    """Reads a report.json, or the one in a folder; it comes without its examples.

    Raises:
        ModelError: if there is none, it isn't a report of this version, or it is of another model than the model.keras
            beside it, such as the one before a retraining.
    """
    path = local_path(path, "path")
    if not path.exists() and path.suffix != ".json":
        raise ModelError(f"A run folder or a report.json must exist. Received: {path}, which doesn't")
    path = path / JSON_NAME if path.is_dir() else path
    if not path.is_file():
        raise ModelError(
            f"There must be a {JSON_NAME}. Received: {path}, which doesn't exist. Evaluate the model first"
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} isn't JSON: {error}. Evaluate the model again") from error
    report = Report.from_dict(values)
    model = path.parent / "model.keras"
    # Reports of functions, of folders and of older versions have no digest.
    if report.model_digest and model.is_file() and model_digest(model) != report.model_digest:
        raise ModelError(
            f"A report must be of the model in its folder. Received: {path}, which is of another model than {model}: "
            "the model was trained, resumed or calibrated since, or the report is of another file. Evaluate the model "
            "again"
        )
    return report


def model_digest(path: pathlib.Path) -> str:
    """Returns the SHA-256 of a model's file in hexadecimal digits, of a run's `model.keras`; "" where there is none."""
    path = path / "model.keras" if path.is_dir() else path
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def replace_file(path: pathlib.Path, text: str) -> None:
    """Writes a text file, whole or not at all."""
    with written_whole(path, durable=False) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
