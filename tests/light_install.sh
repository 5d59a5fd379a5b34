#!/usr/bin/env bash
# Installs keras-a2i-runtime, the distribution without TensorFlow and Keras, in a fresh environment outside the checkout,
# and uses an exported model there: load, images, a video, a live session.
set -euo pipefail
checkout=$(cd "$(dirname "$0")/.." && pwd)
model=${1:-$checkout/saved_models/surf/model.tflite}
work=$(mktemp -d)
# What the build leaves in the checkout would pass for an installed distribution in the tests.
trap 'rm -rf "$work" "$checkout"/keras_a2i_runtime.egg-info "$checkout"/packaging/runtime/{build,LICENSE}' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_PROGRESS_BAR=off
unset PYTHONPATH

python -m build --quiet --wheel --outdir "$work/dist" "$checkout/packaging/runtime"
python -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet "$(echo "$work"/dist/*.whl)[video]"
cp "$model" "$work/model.tflite"
cd "$work"
if "$work/venv/bin/python" -m pip list | grep -i -E '^(tensorflow|keras|pandas|matplotlib) '; then
    echo "The light installation pulled a package of the full one" >&2
    exit 1
fi

"$work/venv/bin/python" - <<'PY'
import numpy as np
import soundfile

import keras_a2i as a2i

samples = 0.3 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 16_000)
soundfile.write("a.wav", samples, 16_000)
predictor = a2i.load("model.tflite")
images = predictor.predict("a.wav")
assert images.shape == (3, *predictor.metadata.image.shape) and np.isfinite(images).all()
np.testing.assert_allclose(predictor.predict(samples, 16_000), images, atol=0.05)
PY
"$work/venv/bin/keras-a2i" generate model.tflite a.wav --out images
test -s images/a/0002.png && test -s images/a.png
"$work/venv/bin/keras-a2i" models > models.txt
grep --quiet '^digits ' models.txt
"$work/venv/bin/keras-a2i" generate digits a.wav --out digits --samples 2
test -s digits/a/0002-2.png
"$work/venv/bin/keras-a2i" generate model.tflite a.wav --out videos --video --fps 5
test -s videos/a.mp4
"$work/venv/bin/keras-a2i" live model.tflite --input a.wav --to live --rate 4
test -s live/000003.png
"$work/venv/bin/keras-a2i" live model.tflite --input a.wav --port 0 --seconds 1

# The page's runtime isn't there: the command must get as far as saying so.
for command in "fit nowhere --out run" "search nowhere a.wav images" "demo model.tflite --port 0"; do
    # shellcheck disable=SC2086
    if "$work/venv/bin/keras-a2i" $command 2> error.txt; then
        echo "$command must fail" >&2
        exit 1
    fi
    test "$(wc -l < error.txt)" = 1 && grep -q '^Error: ' error.txt || { cat error.txt >&2; exit 1; }
done
echo "the light installation works"
