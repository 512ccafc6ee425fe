"""Command grammars: what sentences they have and how likely those are, and what is refused."""

import itertools
import math

import numpy as np
import pytest

from neve.cli.main import main
from neve.errors import NeveError
from neve.graphs import GraphConfig, load_graph, make_G, read_grammar
from neve.kernels import one_best, remove_epsilon
from neve.lang import Lang, LangConfig, SymbolTable, build_lang

HEAD = "#JSGF V1.0 UTF-8 en;\ngrammar home;\n"
WORDS = ["TURN", "ON", "OFF", "THE", "LIGHT", "FAN", "PLEASE", "AND", "ÖFFNE", "NEW", "YORK", "NOW"]


@pytest.fixture
def table():
    return SymbolTable(["<eps>", *sorted(WORDS), "#0", "<s>", "</s>"])


def sentences(graph, table, most=6):
    """{sentence: probability} of all sentences of at most `most` words."""
    found = {}
    rows = graph.row_splits

    def walk(state, words, score):
        for arc in range(rows[state], rows[state + 1]):
            total = score + float(graph.scores[arc])
            if graph.labels[arc] == -1:
                assert words not in found
                found[words] = math.exp(total)
            elif len(words) < most:
                assert graph.labels[arc] > 0
                walk(graph.dst[arc], (*words, table[int(graph.labels[arc])]), total)

    walk(0, (), 0.0)
    return {" ".join(words): p for words, p in found.items()}


def read(tmp_path, table, text, name="commands.jsgf", **options):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return sentences(read_grammar(tmp_path / name, None, str.upper).graph(table), table, **options)


def test_alternatives_weights_groups_and_optional_parts(tmp_path, table):
    text = (
        HEAD
        + """
/* a comment
   of two lines */
public <command> = <action> the (light {LAMP} | fan) [please];  // and one at the end
<action> = /3/ turn on | /1/ turn off;
"""
    )
    found = read(tmp_path, table, text)
    wanted = {}
    for (action, p), thing, (end, q) in itertools.product(
        (("TURN ON", 0.75), ("TURN OFF", 0.25)),
        ("LIGHT", "FAN"),
        ((" PLEASE", 0.5), ("", 0.5)),
    ):
        wanted[f"{action} THE {thing}{end}"] = p * q / 2
    assert found == pytest.approx(wanted)
    assert sum(found.values()) == pytest.approx(1.0)


def test_repeats(tmp_path, table):
    found = read(tmp_path, table, HEAD + "public <a> = now* on;", most=4)
    assert found == pytest.approx(
        {"ON": 0.5, "NOW ON": 0.25, "NOW NOW ON": 0.125, "NOW NOW NOW ON": 0.0625}
    )
    found = read(tmp_path, table, HEAD + "public <a> = (now | on)+;", most=2)
    pairs = {f"{a} {b}": 1 / 16 for a in ("NOW", "ON") for b in ("NOW", "ON")}
    assert found == pytest.approx({"NOW": 0.25, "ON": 0.25, **pairs})


def test_a_rule_may_end_with_itself(tmp_path, table):
    text = HEAD + "public <a> = light | fan and <a>;"
    found = read(tmp_path, table, text, most=5)
    assert found == pytest.approx(
        {"LIGHT": 0.5, "FAN AND LIGHT": 0.25, "FAN AND FAN AND LIGHT": 0.125}
    )
    text = HEAD + "public <a> = on <b>; <b> = off [<c>]; <c> = now <b>;"
    found = read(tmp_path, table, text, most=4)
    assert found == pytest.approx({"ON OFF": 0.5, "ON OFF NOW OFF": 0.25})


def test_quotes_unicode_special_rules_and_several_public_rules(tmp_path, table):
    text = (
        "\ufeff"
        + HEAD
        + """
public <größe> = "new york" | öffne <NULL> | on <VOID>;
public <b> = now;
"""
    )
    # the way that cannot be said has its third, as its author gave it one
    found = read(tmp_path, table, text)
    assert found == pytest.approx({"NEW YORK": 1 / 6, "ÖFFNE": 1 / 6, "NOW": 0.5})


def test_ways_to_say_the_same(tmp_path, table):
    found = read(tmp_path, table, HEAD + "public <a> = /1/ on | /3/ on | /4/ off;")
    assert found == pytest.approx({"ON": 3 / 8, "OFF": 0.5})


def test_rules_one_a_line(tmp_path, table):
    text = """# commands of a house
command = turn <state> the light   # on or off
    [please] | now
state = on | off
"""
    found = read(tmp_path, table, text, "commands.rules")
    assert found == pytest.approx(
        {
            "TURN ON THE LIGHT": 0.125,
            "TURN ON THE LIGHT PLEASE": 0.125,
            "TURN OFF THE LIGHT": 0.125,
            "TURN OFF THE LIGHT PLEASE": 0.125,
            "NOW": 0.5,
        }
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEAD, "g.jsgf: the grammar is empty"),
        (HEAD + "<a> = on;", "g.jsgf: no rule is public"),
        (HEAD + "public <a> = ;", "g.jsgf:3:14: expected words, found ;"),
        (HEAD + "public <a> = on | ;", "g.jsgf:3:19: expected words"),
        (HEAD + "public <a> = on", "g.jsgf:3:16: expected ; at the end of a rule, found the end"),
        (HEAD + "public <a> = (on | off;", r"g.jsgf:3:23: expected \) for the \( at .*:3:14"),
        (HEAD + "public <a> = on) off;", r"g.jsgf:3:16: expected ;.*found \)"),
        (HEAD + "public <a> = [on;", r"g.jsgf:3:17: expected \]"),
        (HEAD + "public <a> = <b>;", "g.jsgf:3:14: the rule <b> is not defined"),
        (HEAD + "public <a> = on;\n<a> = off;", "g.jsgf:4:1: the rule <a> is defined already"),
        (HEAD + "public <a> = /2/ on | off;", "g.jsgf:3:23: either all alternatives"),
        (HEAD + "public <a> = on /2/ off;", "g.jsgf:3:17: a weight stands at the beginning"),
        (HEAD + "public <a> = /0/ on | /0/ off;", "g.jsgf:3:14: all weights are 0"),
        (HEAD + "import <com.acme.*>;\n", "g.jsgf:3:1: import is not supported"),
        (HEAD + "public a = on;", "g.jsgf:3:8: expected a rule name as <name>, found a"),
        (HEAD + "rule = on;", "g.jsgf:3:1: expected a rule"),
        (HEAD + 'public <a> = "on;', "g.jsgf:3:14: '\"' does not belong here; it has no \""),
        (HEAD + "public <a> = on {tag;", "g.jsgf:3:17: '{' does not belong here; it has no }"),
        (HEAD + "public <a> = on /* off;", "g.jsgf:3:17: '/' does not belong here"),
        ("#JSGF V2.0;\ngrammar a;\n", "g.jsgf:1:1: expected `#JSGF V1.0"),
        ("#JSGF V1.0;\n<a> = on;", "g.jsgf:2:1: expected `grammar NAME;`"),
        (HEAD + "public <a> = on door;", r"(?s)not in the lexicon:\n.*g.jsgf:3:17: DOOR\nadd them"),
        (HEAD + "public <a> = <a> on | off;", "g.jsgf:3:14: left recursion: <a> -> <a>"),
        (
            HEAD + "public <a> = [on] <b>;\n<b> = <c>;\n<c> = now* <a> off;",
            "left recursion: <a> -> <b> -> <c> -> <a>",
        ),
        (HEAD + "public <a> = on <a> off | now;", "g.jsgf:3:17: <a> contains itself and goes on"),
        (HEAD + "public <a> = on (<a>)* | now;", "g.jsgf:3:18: <a> contains itself and goes on"),
        (HEAD + "public <a> = on <a>;", "g.jsgf: no sentence can be said"),
        (HEAD + "public <a> = on <VOID>;", "g.jsgf: no sentence can be said"),
        (HEAD + "public <a> = <NULL>;", "g.jsgf: the grammar has only the empty sentence"),
        (HEAD + "public <a> = " + "(" * 99 + "on" + ")" * 99 + ";", "more than 60 groups"),
        ("", "g.jsgf: the grammar is empty"),
        ("a on\n", "g.jsgf:1:3: expected = after the name of a rule, found on"),
        ("a = on\na = off\n", "g.jsgf:2:1: the rule a stands there already"),
        ("a = on )\n", r"g.jsgf:1:8: \) does not belong here"),
        ("a = on\n  | <b>\n", "g.jsgf:2:5: the rule <b> is not defined"),
    ],
)
def test_errors_say_where(tmp_path, table, text, words):
    (tmp_path / "g.jsgf").write_text(text, encoding="utf-8")
    with pytest.raises(NeveError, match=words):
        read_grammar(tmp_path / "g.jsgf", None, str.upper).graph(table)


def test_missing_and_unreadable_files(tmp_path):
    with pytest.raises(NeveError, match="absent.jsgf: No such file"):
        read_grammar(tmp_path / "absent.jsgf")
    (tmp_path / "g.jsgf").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(NeveError, match="g.jsgf: not a text file"):
        read_grammar(tmp_path / "g.jsgf")


def test_rules_used_many_times_are_bounded(tmp_path, table, monkeypatch):
    from neve.graphs.command_grammar import _Builder

    monkeypatch.setattr(_Builder, "MOST", 1000)
    rules = "".join(f"<r{i}> = <r{i + 1}> <r{i + 1}>;\n" for i in range(20))
    text = HEAD + rules + "<r20> = on;\npublic <a> = <r0>;"
    (tmp_path / "g.jsgf").write_text(text)
    with pytest.raises(NeveError, match="more than 1,000 arcs"):
        read_grammar(tmp_path / "g.jsgf", None, str.upper).graph(table)


def test_classes_in_a_grammar(tmp_path, table):
    table.write(tmp_path / "words.txt")
    (tmp_path / "class_thing.txt").write_text("light\t3\nfan\t1\n")
    (tmp_path / "g.jsgf").write_text(HEAD + "public <a> = turn on the $THING | now;")
    config = GraphConfig(grammar=str(tmp_path / "g.jsgf"), classes=str(tmp_path))
    graph = make_G(tmp_path, None, config, normal=str.upper)
    silent = graph.labels > table.max_id
    graph.labels[silent] = 0
    graph, _, _ = remove_epsilon(graph)
    found = sentences(graph, table)
    assert found == pytest.approx(
        {"TURN ON THE LIGHT": 3 / 8, "TURN ON THE FAN": 1 / 8, "NOW": 0.5}
    )
    config = GraphConfig(grammar=str(tmp_path / "g.jsgf"))
    with pytest.raises(NeveError, match=r"class_thing.txt: .*graph.classes"):
        make_G(tmp_path, None, config, normal=str.upper)


def test_graph_stage_with_a_grammar(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    lines = ["TURN ON THE LIGHT", "TURN OFF THE FAN NOW"]
    (tmp_path / "text").write_text("".join(f"u{i} {line}\n" for i, line in enumerate(lines)))
    config = LangConfig(kind="char", write_pt=False)
    build_lang(config, [tmp_path / "text"], None, tmp_path / "lang")
    lang = Lang.load("lang")
    (tmp_path / "home.jsgf").write_text(HEAD + "public <a> = turn (on | off) the light;")
    words = ["graph", "--paths.lang", "lang", "--paths.graph", "graph"]
    words += ["--graph.grammar", "home.jsgf"]
    assert main(words) == 0
    graph = load_graph("graph")
    for spoken, wanted in (("TURN OFF THE LIGHT", 1), ("TURN OFF THE FAN NOW", 0)):
        frames = [x for token in lang.encode(spoken) for x in (token, 0)]
        scores = np.full((1, len(frames), lang.num_tokens), np.log(0.01), np.float32)
        scores[0, np.arange(len(frames)), frames] = np.log(0.9)
        (path,) = one_best(graph, scores, [len(frames)], 1e9, 0, 10**9)
        found = " ".join(lang.words[int(w)] for w in graph.words(path.arcs)[0])
        assert (found == spoken) == bool(wanted)  # a command that the grammar lacks is not found
    capsys.readouterr()
    (tmp_path / "home.jsgf").write_text(HEAD + "public <a> = turn it on;")
    assert main(words) == 1
    assert "home.jsgf:3:19: IT" in capsys.readouterr().err
