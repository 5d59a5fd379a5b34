"""The web page: what its folder holds, that it is written whole or not at all, and that its runtime is pinned."""

import json
import re

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from support.web_page import make_page, make_runtime

from keras_a2i.cli.main import cli
from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import ModelError, UsageError
from keras_a2i.exporters import FORMATS, web
from keras_a2i.exporters.export import export
from keras_a2i.exporters.formats import find_format, make_options
from keras_a2i.models.model_file import ModelMetadata, embed_metadata
from keras_a2i.serving.predictor import load


@pytest.fixture
def runtime(tmp_path, monkeypatch):
    return make_runtime(tmp_path / "core", monkeypatch)


@pytest.fixture(scope="module")
def waveform_model():
    """A model of clips of 800 samples at 16 kHz."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((800,), name="waveform")
    image = keras.layers.Reshape((16, 16, 3))(keras.layers.Dense(768, activation="tanh")(inputs))
    return keras.Model(inputs, image)


def content_of(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_page_of_the_cdn_holds_no_runtime_but_its_address_and_hashes(tmp_path):
    page = make_page(tmp_path / "page", "cdn")
    assert content_of(page) == {name for name in web.CONTENT if not name.startswith("runtime/")}
    assert web.missing_files(page) == [] and FORMATS["web"].is_export(page)
    description = json.loads((page / "model.json").read_text())
    assert description["runtime_address"] == "https://cdn.jsdelivr.net/npm/@litertjs/core@2.5.3/wasm/"
    assert description["runtime_sha256"] == web.RUNTIME_FILES
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', (page / "index.html").read_text())[1]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["connect-src"] == "'self' https://cdn.jsdelivr.net" and rules["default-src"] == "'none'"
    assert rules["script-src"] == "'self' blob: 'wasm-unsafe-eval'" and rules["worker-src"] == "blob:"
    (page / "worker.js").unlink()
    assert web.missing_files(page) == ["worker.js"]


@pytest.mark.training
def test_export_writes_a_page_with_model_description_and_runtime(waveform_model, runtime, tmp_path):
    done = export(waveform_model, tmp_path / "page", format="web", runtime=runtime, license="CC0-1.0")
    assert done.format == "web" and content_of(done.path) == set(web.CONTENT) and done.agreement.max <= 1e-4
    assert done.size == sum(path.stat().st_size for path in done.path.rglob("*") if path.is_file())
    assert "keras-a2i demo" in done.notes[0] and "https" in done.notes[0]
    description = json.loads((done.path / "model.json").read_text())
    assert description["kind"] == "keras-a2i page" and description["model"] == "model.tflite"
    assert (description["samples"], description["sample_rate"]) == (800, 16_000)
    assert (description["image_size"], description["channels"]) == (16, 3)
    assert description["labels"] == [] and description["style_units"] == 0 and description["license"] == "CC0-1.0"
    assert description["runtime"] == "@litertjs/core 2.5.3 (Apache-2.0)"
    assert description["runtime_address"] == "runtime/" and description["runtime_sha256"] == {}
    assert web.missing_files(done.path) == [] and "jsdelivr" not in (done.path / "index.html").read_text()
    for name in web.RUNTIME_FILES:
        assert (done.path / "runtime" / name).read_bytes() == (runtime / "wasm" / name).read_bytes()
    assert not list(tmp_path.glob(".*"))
    clips = np.random.default_rng(0).uniform(-1, 1, (2, 800)).astype(np.float32)
    images = load(done.path).predict(clips)
    np.testing.assert_allclose(images, waveform_model.predict(np.round(clips * 32768) / 32768, verbose=0), atol=1e-3)


@pytest.mark.training
def test_page_of_a_model_of_features_receives_audio(make_model, runtime, tmp_path):
    model = make_model("features")
    done = export(model, tmp_path / "page", format="web", runtime=runtime, quantize="float16")
    assert load(done.path).metadata.input == "waveform" and done.options.quantize == "float16"
    assert json.loads((done.path / "model.json").read_text())["samples"] == 16_000
    with pytest.raises(UsageError, match=r"input must be 'waveform' with format='web'. Received: input='features'"):
        export(model, tmp_path / "other", format="web", runtime=runtime, input="features")


@pytest.mark.training
def test_page_of_a_model_of_embeddings_is_refused(runtime, tmp_path):
    inputs = keras.Input((48,), name="features")
    model = keras.Model(inputs, keras.layers.Reshape((16, 16, 3))(keras.layers.Dense(768)(inputs)))
    metadata = ModelMetadata(features=FeatureConfig(embedding=48), image=ImageConfig(size=16))
    with pytest.raises(UsageError, match=r"The input of this model must be .*48.*, not audio"):
        export(model, tmp_path / "page", format="web", runtime=runtime, metadata=metadata)
    assert not (tmp_path / "page").exists()


@pytest.mark.training
def test_overwrite_replaces_an_earlier_page_and_nothing_else(waveform_model, runtime, tmp_path):
    page = export(waveform_model, tmp_path / "page", format="web", runtime=runtime).path
    with pytest.raises(UsageError, match=r"path must not exist. Received: .*page. Choose another, or pass overwrite"):
        export(waveform_model, page, format="web", runtime=runtime)
    (page / "page.js").unlink()
    export(waveform_model, page, format="web", runtime=runtime, overwrite=True)
    assert content_of(page) == set(web.CONTENT)
    for name in ("my.html", "runtime/mine.js"):
        (page / name).write_text("mine")
        with pytest.raises(UsageError, match=r"path must be free or an earlier export, .* which is something else"):
            export(waveform_model, page, format="web", runtime=runtime, overwrite=True)
        assert (page / name).read_text() == "mine"
        (page / name).unlink()
    (page / "model.json").write_text("[]")
    assert not FORMATS["web"].is_export(page) and not FORMATS["web"].is_export(tmp_path / "nothing")


@pytest.mark.training
def test_page_that_fails_to_be_written_leaves_nothing(waveform_model, runtime, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(web, "write_json", fail)
    with pytest.raises(OSError, match="disk full"):
        export(waveform_model, tmp_path / "page", format="web", runtime=runtime)
    assert {path.name for path in tmp_path.iterdir()} == {"core"}


def test_runtime_that_is_missing_or_changed_is_refused(runtime, tmp_path):
    wanted = (
        r"runtime must be the folder of the npm package @litertjs/core 2.5.3, which runs the model in the browser. "
    )
    how = r"Run npm install @litertjs/core@2.5.3 and name node_modules/@litertjs/core"
    with pytest.raises(UsageError, match=rf"{wanted}Received: runtime=None. {how}"):
        make_options(FORMATS["web"], {})
    with pytest.raises(UsageError, match=rf"{wanted}Received: .*, which lacks wasm/litert_wasm_internal.js. {how}"):
        make_options(FORMATS["web"], {"runtime": tmp_path})
    with pytest.raises(UsageError, match=rf"{wanted}Received: .*nowhere, which is no folder. {how}"):
        make_options(FORMATS["web"], {"runtime": tmp_path / "nowhere"})
    file = runtime / "wasm" / "litert_wasm_compat_internal.wasm"
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(
        UsageError, match=rf"{wanted}Received: .*, whose {file.parent.name}/{file.name} is another file"
    ):
        make_options(FORMATS["web"], {"runtime": runtime})


def test_pinned_runtime_has_both_builds_with_their_sha256():
    assert {name.partition(".")[0] for name in web.RUNTIME_FILES} == {
        "litert_wasm_internal",
        "litert_wasm_compat_internal",
    }
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in web.RUNTIME_FILES.values())


def test_integer_io_is_refused_and_no_suffix_chooses_a_page(runtime, tmp_path):
    with pytest.raises(UsageError, match=r"integer_io must be left out with format='web'.* Received: integer_io=True"):
        make_options(FORMATS["web"], {"runtime": runtime, "quantize": "int8", "integer_io": True})
    assert find_format(None, tmp_path / "page").id == "saved-model"
    with pytest.raises(UsageError, match=r"runtime must be an option of web only. Received: runtime='x'"):
        make_options(FORMATS["tflite"], {"runtime": "x"})


def test_export_command_without_runtime_says_how_to_get_it(tmp_path):
    done = CliRunner().invoke(cli, ["export", "run", "--format", "web", "--out", str(tmp_path / "page")])
    assert isinstance(done.exception, UsageError)
    assert "npm install @litertjs/core@2.5.3" in str(done.exception)
    assert str(done.exception).endswith("On the command line: --runtime")
    help_text = CliRunner().invoke(cli, ["export", "--help"]).output
    assert help_text.count("--quantize") == 1 and "TFLite, Web page only." in " ".join(help_text.split())


def test_page_allows_its_own_files_alone_and_no_inline_code(runtime, tmp_path):
    page = make_page(tmp_path / "page", runtime)
    html = (page / "index.html").read_text()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html)[1]
    directives = {part.split()[0]: part.split()[1:] for part in policy.split(";")}
    assert directives["default-src"] == ["'none'"] and directives["connect-src"] == ["'self'"]
    assert directives["script-src"] == ["'self'", "'wasm-unsafe-eval'"] and directives["worker-src"] == ["blob:"]
    assert directives["base-uri"] == directives["form-action"] == ["'none'"]
    assert not any("http" in source or source == "*" for sources in directives.values() for source in sources)
    assert html.index("Content-Security-Policy") < html.index("<script")
    assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|\sstyle=", html)
    for name in web.PAGE_FILES:
        assert not re.search(r"https?://|innerHTML|eval\(", (page / name).read_text()), name


def test_page_works_by_keyboard_and_names_its_controls(runtime, tmp_path):
    page = make_page(tmp_path / "page", runtime)
    html, style = (page / "index.html").read_text(), (page / "page.css").read_text()
    keys = re.findall(r'<button[^>]*aria-keyshortcuts="(\w+)"', html)
    assert len(keys) == len(re.findall("<button", html)) == len(set(keys)) == 8
    assert all(re.search(rf'<label>[^<]*<input id="{name}"', html) for name in ("seed", "temperature"))
    assert ":focus-visible" in style and "outline: none" not in style
    assert 'role="status"' in html and 'name="viewport"' in html and '<html lang="en">' in html


def test_tflite_file_becomes_a_page_unless_it_needs_features(tmp_path, monkeypatch):
    folder = tmp_path / "page"
    folder.mkdir()
    path = tmp_path / "model.tflite"
    path.write_bytes(b"model")
    received = []
    monkeypatch.setattr(FORMATS["tflite"], "load", lambda path: (None, received[0]))
    received[:] = [ModelMetadata()]
    with pytest.raises(
        ModelError, match=r"must accept a waveform as float32. Received: model.tflite, which has no conf"
    ):
        web.copy_model(path, folder)
    embed_metadata(path, ModelMetadata())
    with pytest.raises(ModelError, match=r"which has features. Export it again with input='waveform'"):
        web.copy_model(path, folder)
    received[:] = [ModelMetadata(input="waveform", quantization={"input": (1.0, 0)})]
    with pytest.raises(ModelError, match=r"which has integers"):
        web.copy_model(path, folder)
    received[:] = [ModelMetadata(input="waveform")]
    assert web.copy_model(path, folder).input == "waveform"
    assert (folder / "model.tflite").read_bytes() == path.read_bytes()
