"""Lexicons and grammars that do not have the same words."""

import numpy as np
import pytest

from neve.errors import NeveError
from neve.graphs import GraphConfig, build_graph, make_G
from neve.lang import Lang, LangConfig, build_lang
from neve.lm import LmConfig, build_lm, estimate, write_arpa


@pytest.fixture
def place(tmp_path):
    (tmp_path / "text").write_text("u1 YES NO\nu2 NO MAYBE\n")
    names = [f"W{number:02d}" for number in range(12)]
    lexicon = [*("YES y", "NO n", "MAYBE m", "<NOISE> x"), *(f"{w} {w.lower()}" for w in names)]
    (tmp_path / "lexicon.txt").write_text("\n".join(lexicon) + "\n")
    settings = LangConfig(write_pt=False)
    build_lang(settings, [tmp_path / "text"], tmp_path / "lexicon.txt", tmp_path / "lang")
    return tmp_path


def lm(place, **options):
    build_lm(LmConfig(order=2, **options), [place / "text"], place / "lang", place / "lm")
    return place / "lm/G.fst.txt"


def test_words_that_one_of_them_lacks_are_counted_and_named(place, caplog):
    caplog.set_level("INFO")
    graph = build_graph(place / "lang", lm(place, vocabulary="text"))
    assert graph.num_arcs
    said = "12 of the 16 words of the lexicon are not in the grammar, and cannot be recognised: "
    ten = ", ".join(f"W{number:02d}" for number in range(10))
    assert said + ten + " and 2 more" in caplog.text
    caplog.clear()
    build_graph(place / "lang", lm(place))
    assert "cannot be recognised" not in caplog.text
    # a word of words.txt without a pronunciation, as other tools make them
    with np.load(place / "lang/L_disambig.npz") as arrays:
        arcs, outputs = arrays["arcs"], arrays["aux_labels"]
    keep = outputs != Lang.load(place / "lang").words["W03"]
    np.savez(place / "lang/L_disambig.npz", arcs=arcs[keep], aux_labels=outputs[keep])
    build_graph(place / "lang", place / "lm/G.fst.txt")
    assert "1 of the 15 words of the grammar have no pronunciation, and cannot" in caplog.text
    assert "recognised: W03" in caplog.text


def test_ids_that_no_word_has_are_named_with_their_line(place):
    path = lm(place)
    lines = path.read_text().splitlines()
    number = next(i for i, line in enumerate(lines) if len(line.split()) > 3)
    fields = lines[number].split()
    for column in (2, 3):
        lines[number] = " ".join([*fields[:column], "999", *fields[column + 1 :]])
        path.write_text("\n".join(lines) + "\n")
        for make in (
            lambda: build_graph(place / "lang", path),
            lambda: make_G(place / "lang", place / "lm", GraphConfig()),
        ):
            with pytest.raises(NeveError) as error:
                make()
            where = f"{path}:{number + 1}: '{lines[number]}' has the word id 999, which words.txt"
            assert str(error.value).startswith(where) and "stages 3 and 4" in str(error.value)
    lines[number] = " ".join([*fields[:2], "0999", *fields[3:]])  # a number all the same
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(NeveError, match=rf"{path}: it has the word id 999, which words\.txt lacks"):
        build_graph(place / "lang", path)


def test_an_empty_grammar(place):
    path = lm(place)
    for content in ("", "\n\n", "0\n", "0 1 0 0 1.5\n1\n"):
        path.write_text(content)
        with pytest.raises(NeveError, match=r"G\.fst\.txt: the grammar is empty"):
            build_graph(place / "lang", path)


def test_a_model_of_words_in_another_form(place, caplog):
    given = estimate(["yes no", "no perhaps", "YES"], 2, discount_fallback=(0.5, 1.0, 1.5))
    write_arpa(given, place / "given.arpa")
    from neve.text import TextConfig

    settings = LangConfig(write_pt=False)
    files = [place / "text"], place / "lexicon.txt", place / "lang"
    build_lang(settings, *files, text=TextConfig())
    lm(place, arpa=str(place / "given.arpa"))
    assert "2 of its 7 words are in the lang directory in another form: " in caplog.text
    assert "yes for YES" in caplog.text and "no for NO" in caplog.text
    assert "3 of 4 words are not in" in caplog.text  # in G there is YES alone
