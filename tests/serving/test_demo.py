"""The page on this machine: its files with the right types, for this machine alone, in bounded memory."""

import concurrent.futures
import contextlib
import gzip
import http.client
import pathlib
import random
import signal
import socket
import subprocess
import sys
import threading
import tracemalloc

import pytest
from support.web_page import make_page, make_runtime

from keras_a2i.errors import ModelError, UsageError
from keras_a2i.exporters import web
from keras_a2i.models.shipped import shipped_models
from keras_a2i.serving.local_server import MAX_CONNECTIONS
from keras_a2i.serving.page_server import PageServer, choice_folder, page_folder


@pytest.fixture
def runtime(tmp_path, monkeypatch):
    return make_runtime(tmp_path / "core", monkeypatch)


@pytest.fixture
def page(tmp_path, runtime):
    return make_page(tmp_path / "page", runtime)


@pytest.fixture
def server(page):
    (page.parent / "secret.txt").write_text("secret")
    (page / "notes.txt").write_text("not of the export")
    with contextlib.closing(PageServer(0)) as server:
        server.show(page)
        yield server


def get(server, path, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer, answer.read()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/index.html", "text/html; charset=utf-8"),
        ("/page.js?1", "text/javascript; charset=utf-8"),
        ("/page.css", "text/css; charset=utf-8"),
        ("/model.json", "application/json"),
        ("/model.tflite", "application/octet-stream"),
        ("/runtime/litert_wasm_internal.js", "text/javascript; charset=utf-8"),
        ("/runtime/litert_wasm_internal.wasm", "application/wasm"),
    ],
)
def test_files_have_the_types_that_browsers_demand(server, page, path, kind):
    answer, content = get(server, path)
    assert answer.status == 200 and answer.headers["Content-Type"] == kind
    name = path.partition("?")[0].strip("/") or "index.html"
    assert content == (page / name).read_bytes()
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "frame-ancestors 'none'"


def test_browsers_that_accept_gzip_get_texts_and_the_runtime_compressed_once(server, page, monkeypatch):
    calls = []
    compress = gzip.compress
    monkeypatch.setattr(gzip, "compress", lambda *args, **options: calls.append(1) or compress(*args, **options))
    names = ("index.html", "page.js", "page.css", "model.json", "runtime/litert_wasm_internal.wasm")
    for name in (*names, *names):
        answer, content = get(server, f"/{name}", **{"Accept-Encoding": "br;q=1, gzip;q=0.8"})
        assert answer.headers["Content-Encoding"] == "gzip" and int(answer.headers["Content-Length"]) == len(content)
        assert gzip.decompress(content) == (page / name).read_bytes()
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert len(calls) == len(names) and len(get(server, "/page.js", **{"Accept-Encoding": "GZIP"})[1]) < 10_000
    (page / "page.css").write_text("body {}")
    assert gzip.decompress(get(server, "/page.css", **{"Accept-Encoding": "gzip"})[1]) == b"body {}"
    for accepted in ("identity", "gzip;q=0", "gzip; q=0.00", "br"):
        answer, content = get(server, "/page.css", **{"Accept-Encoding": accepted})
        assert "Content-Encoding" not in answer.headers and content == b"body {}"
    assert "Content-Encoding" not in get(server, "/model.tflite", **{"Accept-Encoding": "gzip"})[0].headers


def test_compressed_files_are_sent_in_chunks_for_each_of_which_the_socket_waits(server, page, monkeypatch):
    content, sizes = random.Random(0).randbytes(200_000), []
    (page / "page.js").write_bytes(content)
    send = socket.socket.sendall
    monkeypatch.setattr(socket.socket, "sendall", lambda own, data: sizes.append(len(data)) or send(own, data))
    for accepted in ("gzip", "identity"):
        sizes.clear()
        _, received = get(server, "/page.js", **{"Accept-Encoding": accepted})
        assert (gzip.decompress(received) if accepted == "gzip" else received) == content
        assert sum(sizes) > 200_000 and max(sizes) <= 65_536


def test_every_file_of_a_page_is_served(server):
    for name in web.CONTENT:
        assert get(server, f"/{name}")[0].status == 200, name


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example"])
def test_another_host_name_is_refused(server, host):
    for path in ("/", "/model.tflite"):
        answer, content = get(server, path, Host=host)
        assert answer.status == 403 and b"must be 127.0.0.1 or localhost" in content
    assert get(server, "/", Host="localhost:1")[0].status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/runtime/../../secret.txt",
        "//etc/passwd",
        "/..\\secret.txt",
        "/notes.txt",
        "/runtime",
        "/runtime/",
        "http://127.0.0.1/../secret.txt",
    ],
)
def test_path_that_is_no_file_of_the_page_is_refused(server, path):
    answer, content = get(server, path)
    assert answer.status == 404 and b"secret" not in content and b"The page has no such file." in content


@pytest.mark.training
def test_twenty_visitors_at_once_get_all_files_in_bounded_memory(server, page):
    names = ["", *web.CONTENT]
    expected = {name: (page / (name or "index.html")).read_bytes() for name in names}

    def visit(_):
        # As a browser does, over one connection.
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        with contextlib.closing(connection):
            for name in names:
                connection.request("GET", f"/{name}")
                answer = connection.getresponse()
                left = memoryview(expected[name])
                while part := answer.read(65_536):
                    assert left[: len(part)] == part
                    left = left[len(part) :]
                assert answer.status == 200 and not left
        return True

    before = threading.active_count()
    tracemalloc.start()
    try:
        with concurrent.futures.ThreadPoolExecutor(20) as visitors:
            assert all(visitors.map(visit, range(60)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # 20 models would be 20 MB.
    assert peak < 10e6
    assert threading.active_count() <= before + MAX_CONNECTIONS


def test_close_frees_the_port_even_while_a_visitor_reads(page):
    server = PageServer(0)
    server.show(page)
    with socket.create_connection(("127.0.0.1", server.port)) as slow:
        slow.sendall(b"GET /model.tflite HTTP/1.1\r\nHost: localhost\r\n\r\n")
        slow.recv(10)
        with pytest.raises(UsageError, match=rf"port must be free. Received: port={server.port}, but another program"):
            PageServer(server.port)
        server.close()
    with contextlib.closing(PageServer(server.port)):
        pass


def test_exported_page_is_shown_as_it_is(page, runtime):
    with page_folder(page) as folder:
        assert folder == page
    with pytest.raises(
        UsageError, match=r"runtime must be left out for an exported page: it was chosen at its export. Received: "
    ):
        page_folder(page, runtime).__enter__()
    (page / "worker.js").unlink()
    with pytest.raises(ModelError, match=r"A page must hold all files of its export. Received: .* lacks worker.js"):
        page_folder(page).__enter__()


def test_model_that_does_not_exist_raises_before_the_runtime_is_asked_for(tmp_path):
    with pytest.raises(ModelError, match=r"A model must exist, or be a shipped one .* Received: .*nowhere, which"):
        page_folder(tmp_path / "nowhere").__enter__()


def test_shipped_models_are_offered_each_on_a_page_of_its_own(runtime):
    with choice_folder(runtime) as folder, contextlib.closing(PageServer(0)) as server:
        server.show_choice(folder)
        answer, content = get(server, "/")
        assert answer.status == 200 and "default-src 'none'" in content.decode()
        for name, shipped in shipped_models().items():
            assert f'<a href="{name}/"><b>{name}</b><p>' in content.decode()
            assert b'<script type="module" src="page.js">' in get(server, f"/{name}/")[1]
            assert get(server, f"/{name}/model.tflite")[1] == (shipped / "model.tflite").read_bytes()
            answer, sheet = get(server, f"/{name}/held_out.png")
            assert answer.headers["Content-Type"] == "image/png" and sheet == (shipped / "held_out.png").read_bytes()
        assert get(server, "/page.js")[0].status == 404
    assert not folder.exists()
    with pytest.raises(UsageError, match=r"npm install @litertjs/core@2.5.3"):
        choice_folder(None).__enter__()
    with page_folder("surf", runtime) as folder:
        assert (folder / "model.tflite").read_bytes() == (shipped_models()["surf"] / "model.tflite").read_bytes()


def test_tflite_file_is_shown_on_a_page_that_is_removed_again(tmp_path, runtime, monkeypatch):
    from keras_a2i.models.model_file import ModelMetadata, embed_metadata

    path = tmp_path / "model.tflite"
    path.write_bytes(b"model")
    embed_metadata(path, ModelMetadata(input="waveform"))
    monkeypatch.setattr(web.FORMATS["tflite"], "load", lambda path: (None, ModelMetadata(input="waveform")))
    with page_folder(path, runtime) as folder:
        assert (folder / "model.tflite").read_bytes() == path.read_bytes()
        assert all((folder / name).is_file() for name in web.CONTENT)
    assert not folder.exists()
    with pytest.raises(UsageError, match=r"npm install @litertjs/core@2.5.3"):
        page_folder(path).__enter__()


@pytest.mark.training
def test_run_folder_is_exported_to_a_page_first(tmp_path, runtime):
    from support.networks import tiny_network

    from keras_a2i.config import ImageConfig
    from keras_a2i.models.model_file import ModelMetadata, save_model

    save_model(tiny_network(image_size=16), tmp_path / "m.keras", ModelMetadata(image=ImageConfig(size=16)))
    with page_folder(tmp_path / "m.keras", runtime) as folder:
        assert all((folder / name).is_file() for name in web.CONTENT)
    assert not folder.exists()


DEMO = [sys.executable, "-c", "from keras_a2i.cli.main import main; main()", "demo"]


@pytest.mark.training
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_demo_command_serves_until_a_signal_without_tensorflow(page, number):
    # A process that is started by a shell in the background ignores Ctrl-C, and so would its children.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "sys.modules['tensorflow'] = sys.modules['keras'] = None; "
        "from keras_a2i.cli.main import main; main()"
    )
    command = [sys.executable, "-c", code, "demo", str(page), "--port", "0", "--no-browser"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    line = process.stderr.readline()
    assert f"{page} is shown at http://127.0.0.1:" in line and "Press Ctrl-C to stop the server" in line
    port = int(line.partition("127.0.0.1:")[2].partition("/")[0])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/")
    assert b"<title>" in connection.getresponse().read()
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0 and f"The page at http://127.0.0.1:{port}/ is closed." in errors


@pytest.mark.training
def test_demo_command_opens_the_browser_or_says_that_it_can_t(page, monkeypatch):
    from click.testing import CliRunner

    from keras_a2i.cli import demo
    from keras_a2i.cli.main import cli

    opened = []

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo.time, "sleep", interrupt)
    for succeeds in (True, False):
        monkeypatch.setattr(demo.webbrowser, "open", lambda where, succeeds=succeeds: opened.append(where) or succeeds)
        done = CliRunner().invoke(cli, ["demo", str(page), "--port", "0"], catch_exceptions=False)
        assert done.exit_code == 0 and opened[-1].startswith("http://127.0.0.1:")
        assert ("No browser could be opened. Open the address in a browser yourself" in done.output) is not succeeds
    done = CliRunner().invoke(cli, ["demo", str(page), "--port", "0", "--runtime", "x"])
    assert str(done.exception).endswith("On the command line: --runtime")


@pytest.mark.training
def test_demo_command_of_something_else_ends_in_a_sentence(tmp_path):
    done = subprocess.run([*DEMO, str(tmp_path), "--port", "0"], capture_output=True, text=True)
    assert done.returncode == 2 and "npm install @litertjs/core@2.5.3" in done.stderr and "Traceback" not in done.stderr
    assert list(pathlib.Path(tmp_path).iterdir()) == []
