"""Loading, checking, describing and saving configurations."""

import re
import subprocess
import sys
from dataclasses import dataclass, field

import pytest

from neve.config import describe, load, option, save, to_dict
from neve.errors import ConfigError


@dataclass
class Lm:
    order: int = option(3, "order of the n-gram")
    cutoff: float = option(0.5, "a fraction")
    words: list[str] = option([], "words to add")
    scales: list[float] = option([1.0], "scales to try")
    sizes: list[int] = option([4], "sizes")
    weights: dict[str, float] = option({}, "weight of each text")
    seed: int | None = option(None, "seed, or null")


@dataclass
class Root:
    tag: str = option("first", "name of the experiment")
    lm: Lm = field(default_factory=Lm)
    kind: str = option("phone", "what a token is", choices=("phone", "bpe"))
    place: str = option("data/${lm.order}gram", "where it goes")


def write(path, text):
    path.write_text(text)
    return path


def test_defaults_and_interpolation():
    config = load(Root)
    assert isinstance(config, Root) and isinstance(config.lm, Lm)
    assert (config.lm.order, config.place) == (3, "data/3gram")


def test_later_files_and_overrides_win(tmp_path):
    one = write(tmp_path / "one.yaml", "lm: {order: 4, cutoff: 1e-3, words: [a, b]}\ntag: one\n")
    two = write(tmp_path / "two.yaml", "lm:\n  order: 5\n")
    config = load(Root, [one, two], ["tag=two words", ("lm.cutoff", "0.25")])
    assert (config.lm.order, config.lm.cutoff, config.tag) == (5, 0.25, "two words")
    assert config.lm.words == ["a", "b"]
    assert config.place == "data/5gram"


def test_base_is_loaded_first_and_relative(tmp_path):
    (tmp_path / "sub").mkdir()
    write(tmp_path / "root.yaml", "tag: base\nkind: bpe\n")
    write(tmp_path / "sub" / "mid.yaml", "base: ../root.yaml\nlm: {order: 2}\n")
    top = write(tmp_path / "top.yaml", "base: [sub/mid.yaml]\ntag: top\n")
    config = load(Root, [top])
    assert (config.tag, config.kind, config.lm.order) == ("top", "bpe", 2)


def test_base_in_a_circle_and_missing(tmp_path):
    one = write(tmp_path / "one.yaml", "base: two.yaml\n")
    write(tmp_path / "two.yaml", "base: one.yaml\n")
    with pytest.raises(ConfigError, match="leads back"):
        load(Root, [one])
    three = write(tmp_path / "three.yaml", "base: nowhere.yaml\n")
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: there is no such.*three\.yaml"):
        load(Root, [three])


def test_dashes_equal_underscores_but_not_in_the_users_own_keys(tmp_path):
    @dataclass
    class Dashed:
        max_duration: float = option(1.0, "seconds")
        weights: dict[str, float] = option({}, "user's keys")

    file = write(tmp_path / "a.yaml", "max-duration: 2\nweights: {my-text: 1}\n")
    config = load(Dashed, [file])
    assert config.max_duration == 2.0 and config.weights == {"my-text": 1.0}
    assert load(Dashed, [], ["max-duration=3"]).max_duration == 3.0
    assert load(Dashed, [], ["weights.my-text=3"]).weights == {"my-text": 3.0}


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("lm.words=a,b", "words", ["a", "b"]),
        ("lm.words=[a, b]", "words", ["a", "b"]),
        ("lm.words=a", "words", ["a"]),
        ("lm.words=", "words", []),
        ("lm.seed=7", "seed", 7),
        ("lm.seed=null", "seed", None),
        ("lm.weights={a: 2}", "weights", {"a": 2.0}),
        ("lm.cutoff=1e-3", "cutoff", 1e-3),
    ],
)
def test_command_line_values_take_the_type_of_their_key(override, key, value):
    assert getattr(load(Root, [], [override]).lm, key) == value


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("0.1:1.0:0.1", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
        ("0:1:.3", [0.0, 0.3, 0.6, 0.9]),
        ("1:3:1", [1.0, 2.0, 3.0]),  # 3781 to YAML, and 1:20:10.5 is 4810.5
        ("1:20:10.5", [1.0, 11.5]),
        ("2:-1:-1.5", [2.0, 0.5, -1.0]),
        ("0.5:0.5:1", [0.5]),
        ("[0, 0.5:1:0.25, 4]", [0.0, 0.5, 0.75, 1.0, 4.0]),
        ("[1:3:1]", [1.0, 2.0, 3.0]),
        ("1e-3:3e-3:1e-3", [0.001, 0.002, 0.003]),
    ],
)
def test_a_list_of_numbers_takes_ranges(tmp_path, text, numbers):
    file = write(tmp_path / "one.yaml", f"lm:\n  scales: {text}\n")
    for config in (load(Root, [file]), load(Root, [], [("lm.scales", text)])):
        assert config.lm.scales == numbers
        save(config, tmp_path / "saved.yaml")
        assert load(Root, [tmp_path / "saved.yaml"]) == config
    if not text.startswith("["):
        assert load(Root, [], [("lm.scales", f"7,{text}")]).lm.scales == [7.0, *numbers]


def test_ranges_of_whole_numbers_and_no_ranges_elsewhere(tmp_path):
    config = load(Root, [], ["lm.sizes=2:8:3", "lm.words=[1:3:1, a]", "tag=1:3:1"])
    assert config.lm.sizes == [2, 5, 8]
    assert (config.lm.words, config.tag) == (["1:3:1", "a"], "1:3:1")
    file = write(tmp_path / "one.yaml", "lm: {words: [1:3:1]}\ntag: 1:30:00\n")
    assert (load(Root, [file]).lm.words, load(Root, [file]).tag) == (["1:3:1"], "1:30:00")
    with pytest.raises(ConfigError, match="lm.sizes: the range '0:1:0.5' has numbers that are not"):
        load(Root, [], ["lm.sizes=0:1:0.5"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.1:1.0", "'0.1:1.0' is not a range start:stop:step, such as 0.1:1.0:0.1"),
        ("1:0:0.5", "the range '1:0:0.5' does not lead from 1 to 0"),
        ("0:1:0", "the range '0:1:0' does not lead from 0 to 1"),
        ("0:1:1e-6", "has 1000001 numbers; 10000 is the most"),
    ],
)
def test_what_is_no_range_is_named_with_its_key(tmp_path, text, message):
    file = write(tmp_path / "one.yaml", f"lm: {{scales: [{text}]}}\n")
    for where, given in ((str(file), ([file],)), ("the command line", ([], [("lm.scales", text)]))):
        with pytest.raises(ConfigError, match=re.escape(f"{where}: lm.scales: ")) as error:
            load(Root, *given)
        assert message in str(error.value)


def test_text_stays_text_on_the_command_line():
    assert load(Root, [], ["tag=1e3"]).tag == "1e3"
    assert load(Root, [], ["tag=[a"]).tag == "[a"


@pytest.mark.parametrize(
    ("override", "nearest"),
    [
        ("lm.ordr=3", "lm.order"),
        ("order=3", "lm.order"),
        ("knd=bpe", "kind"),
        ("lmm.order=2", "lm"),
    ],
)
def test_unknown_key_names_the_nearest(override, nearest):
    with pytest.raises(ConfigError, match=f"command line.*no key.*{nearest}"):
        load(Root, [], [override])


def test_unknown_key_names_the_file(tmp_path):
    file = write(tmp_path / "typo.yaml", "lm:\n  oder: 3\n")
    with pytest.raises(ConfigError, match=r"typo\.yaml: there is no key lm\.oder; .*lm\.order"):
        load(Root, [file])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lm: {order: three}", r"bad\.yaml: lm\.order: .*int"),
        ("lm: {order: 2.5}", r"bad\.yaml: lm\.order: "),
        ("lm: {words: x}", r"bad\.yaml: lm\.words: .*list of str"),
        ("lm: 3", r"bad\.yaml: lm is a section"),
        ("lm: {order: null}", r"bad\.yaml: lm\.order: "),
        ("kind: phones", r"bad\.yaml: kind: 'phones' is not one of phone, bpe; did you mean phone"),
        ("tag: ${nothing.here}", r"bad\.yaml: tag: .*nothing\.here"),
        ("- a\n- b", r"bad\.yaml: must hold"),
        ("a: [", r"bad\.yaml: is not valid YAML"),
        ("tag: a\ntag: b", r"bad\.yaml: is not valid YAML: .*stands twice"),
    ],
)
def test_bad_files_are_named_with_the_key(tmp_path, text, message):
    with pytest.raises(ConfigError, match="(?s)" + message):
        load(Root, [write(tmp_path / "bad.yaml", text)])


def test_missing_file_and_malformed_override(tmp_path):
    with pytest.raises(ConfigError, match="no such configuration file"):
        load(Root, [tmp_path / "absent.yaml"])
    with pytest.raises(ConfigError, match="is not section.key=value"):
        load(Root, [], ["lm.order"])


def test_saved_configuration_loads_back(tmp_path):
    config = load(Root, [], ["lm.words=a,b", "lm.weights={x: 1.5}", "lm.order=7"])
    save(config, tmp_path / "config.yaml")
    assert load(Root, [tmp_path / "config.yaml"]) == config
    assert to_dict(config)["lm"]["weights"] == {"x": 1.5}


def test_describe_lists_every_key():
    rows = {key: rest for key, *rest in describe(Root)}
    assert list(rows)[:2] == ["tag", "lm.order"]
    assert rows["lm.order"] == ["int", 3, "order of the n-gram"]
    assert rows["lm.words"][0] == "list of str"
    assert rows["lm.seed"] == ["int or null", None, "seed, or null"]
    assert rows["kind"][0] == "phone|bpe"


def test_defaults_are_not_shared():
    one, two = Lm(), Lm()
    one.words.append("x")
    assert two.words == []


def test_declaring_a_section_does_not_import_the_loader():
    code = "import sys, neve.config; neve.config.option; print('omegaconf' in sys.modules)"
    answer = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert answer.strip() == "False"
