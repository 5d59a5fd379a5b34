"""Output to the terminal: names can't control it, and any code page shows them."""

import os
import subprocess
import sys

from keras_a2i.cli.terminal import echo, printable


def test_control_characters_are_shown_as_escapes():
    assert printable("red \x1b[31m, bell \a, back \x9b2J, \udce9, line\n\ttab é 日本") == (
        "red \\x1b[31m, bell \\x07, back \\x9b2J, \\xe9, line\n\ttab é 日本"
    )


def test_echo_keeps_its_own_style_alone(capsys):
    echo("a\x1b[2Jb", err=True, fg="red")
    assert capsys.readouterr().err == "a\\x1b[2Jb\n"


def test_code_page_without_the_letters_of_a_name_shows_escapes(tmp_path):
    folder = tmp_path / "日本 \x1b[31m"
    environment = os.environ | {
        "PYTHONIOENCODING": "cp1252",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    code = "from keras_a2i.cli.main import main; main()"
    arguments = ["build-records", "synthetic:surf:12", "--image-size", "16", "--out", str(folder), "--workers", "1"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, env=environment, check=False, timeout=120
    )
    assert done.returncode == 0 and b"Traceback" not in done.stderr
    assert rb"\u65e5\u672c \x1b[31m: " in done.stdout and (folder / "records.json").is_file()
