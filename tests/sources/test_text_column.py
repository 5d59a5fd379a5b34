"""Columns of texts: every text comes back, equal texts are found, and a row takes a few bytes."""

import numpy as np
import pytest

import keras_a2i.sources.text_index
from keras_a2i.sources.text_column import TextChunk, TextColumn
from keras_a2i.sources.text_index import TextIndex

TEXTS = ["wav/ä.wav", "", "two\nlines", "wav/ä.wav", "日本", "\udcff", "", "b", "日本", "wav/a\0.wav"]


def column_of(texts, rows=4):
    return TextColumn(TextChunk.encode(texts[start : start + rows]) for start in range(0, len(texts), rows))


def test_texts_come_back_whatever_they_hold():
    column = column_of(TEXTS)
    assert list(column) == TEXTS and len(column) == len(TEXTS)
    assert [column[i] for i in range(-10, 10)] == TEXTS * 2
    assert column[2:9:3] == TEXTS[2:9:3] and column[::-1] == TEXTS[::-1]
    with pytest.raises(IndexError):
        column[10]


def test_rows_are_taken_in_any_order_and_more_than_once():
    column = column_of(TEXTS)
    for rows in ([], [3, 0, 0], [9, 0, 4, 4, 1, 8]):
        assert column.take(np.array(rows, int)) == [TEXTS[row] for row in rows]


def test_a_repeated_text_is_stored_once_in_a_chunk():
    chunk = TextChunk.encode(["speaker"] * 5_000 + ["other"] * 3_000)
    assert chunk.data == b"speakerother" and chunk.codes.nbytes == 8_000


def test_many_different_texts_come_back():
    texts = [f"{i:05d}" * 3 for i in range(70_000)]
    assert column_of(texts, 70_000)[:] == texts


@pytest.mark.parametrize("hash_text", [hash, len, lambda text: 0, lambda text: len(text) % 2 * -(2**63)])
def test_equal_texts_are_found_even_where_hashes_collide(monkeypatch, hash_text):
    monkeypatch.setattr(keras_a2i.sources.text_index, "hash", hash_text, raising=False)
    texts = [f"text {i * i % 41 % 17}" + "x" * (i % 3) for i in range(500)] + TEXTS
    column = column_of(texts, 32)
    index = TextIndex(column)
    assert index.first_rows().tolist() == [texts.index(text) for text in texts]
    assert [index.find(text) for text in texts] == [texts.index(text) for text in texts]
    assert index.find("text") is None and index.find("c") is None
    assert column.rows_with("text 0").tolist() == [i for i, text in enumerate(texts) if text == "text 0"]


def test_an_empty_column_has_no_rows():
    column = TextColumn()
    assert len(column) == 0 and list(column) == [] and column.rows_with("").tolist() == []
    assert TextIndex(column).first_rows().tolist() == [] and TextIndex(column).find("") is None
