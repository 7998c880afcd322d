"""Configuration is read strictly, and every complaint says where."""

from pathlib import Path
from typing import Any

import pytest

from spiffe_mcp.config import Section, read_file
from spiffe_mcp.errors import Reason, Refused

GOOD = """\
name: ingress
port: 8443
key: keys/a.pem
more:
  - b.pem
  - /abs/c.pem
peers:
  - id: one
  - id: two
tls:
  timeout: 10
"""


def build(root: Section) -> dict[str, Any]:
    return {
        "name": root.text("name"),
        "port": root.integer("port", least=1),
        "key": root.path("key"),
        "more": root.paths("more"),
        "peers": root.sections("peers", lambda peer: peer.text("id")),
        "tls": root.optional("tls", lambda tls: tls.integer("timeout", 5)),
        "greeting": root.text("greeting", "hello"),
    }


def read(folder: Path, text: str | bytes) -> dict[str, Any]:
    file = folder / "agent.yaml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_file(file, build)


def complaint(folder: Path, text: str | bytes) -> str:
    with pytest.raises(Refused) as caught:
        read(folder, text)
    assert caught.value.reason is Reason.CONFIG_INVALID
    return caught.value.detail


def test_a_good_file_is_read_with_its_defaults_and_relative_paths(tmp_path: Path) -> None:
    assert read(tmp_path, GOOD) == {
        "name": "ingress",
        "port": 8443,
        "key": tmp_path / "keys/a.pem",
        "more": (tmp_path / "b.pem", Path("/abs/c.pem")),
        "peers": ("one", "two"),
        "tls": 10,
        "greeting": "hello",
    }


def test_an_optional_section_and_lists_may_be_left_out(tmp_path: Path) -> None:
    config = read(tmp_path, "name: n\nport: 1\nkey: k\n")
    assert (config["tls"], config["peers"], config["more"]) == (None, (), ())


NOT_A_PORT = "agent.yaml:2: port: expected a whole number"
WRONG = {
    "an unknown key": (
        GOOD + "porrt: 1\n",
        "agent.yaml:12: porrt: unknown key; expected one of: name, port, key, more, peers, tls, greeting",
    ),
    "an unknown key inside a section": (
        GOOD + "  tiemout: 1\n",
        "agent.yaml:12: tls.tiemout: unknown key; expected one of: timeout",
    ),
    "an unknown key inside a list": (
        GOOD.replace("- id: two", "- id: two\n    ib: x"),
        "agent.yaml:10: peers[1].ib: unknown key; expected one of: id",
    ),
    "a merge key": (GOOD + "<<: {name: x}\n", "agent.yaml:12: <<: unknown key; expected one of: name, "),
    "a missing key": (
        GOOD.replace("name: ingress\n", ""),
        "agent.yaml:1: top level: 'name' is missing; expected a text",
    ),
    "a missing key inside a list": (
        GOOD.replace("- id: two", "- {}"),
        "agent.yaml:9: peers[1]: 'id' is missing; expected a text",
    ),
    "a duplicate key": (GOOD + "name: other\n", "agent.yaml:12: name: stands here twice"),
    "a duplicate key spelt otherwise": (GOOD + '"name": other\n', "agent.yaml:12: name: stands here twice"),
    "a duplicate key inside a section": (
        GOOD + "  timeout: 11\n",
        "agent.yaml:12: tls.timeout: stands here twice",
    ),
    "a word for a number": (
        GOOD.replace("8443", "many"),
        "agent.yaml:2: port: expected a whole number of at least 1, found 'many'",
    ),
    "a number too small": (
        GOOD.replace("8443", "0"),
        "agent.yaml:2: port: expected a whole number of at least 1, found '0'",
    ),
    "a number with a sign": (GOOD.replace("8443", "+8443"), NOT_A_PORT),
    "a number with a separator": (GOOD.replace("8443", "8_443"), NOT_A_PORT),
    "a number of another script": (GOOD.replace("8443", "٨"), NOT_A_PORT),
    "a number beyond all bounds": (
        GOOD.replace("8443", "9" * 5000),
        NOT_A_PORT,
    ),
    "a list for a text": (GOOD.replace("ingress", "[a]"), "agent.yaml:1: name: expected a text"),
    "a mapping for a text": (GOOD.replace("ingress", "{a: b}"), "agent.yaml:1: name: expected a text"),
    "nothing for a text": (GOOD.replace("name: ingress", "name:"), "agent.yaml:1: name: expected a text"),
    "an empty text": (GOOD.replace("ingress", '""'), "agent.yaml:1: name: expected a text"),
    "a text for a list": (
        GOOD.replace("more:\n  - b.pem\n  - /abs/c.pem", "more: b.pem"),
        "agent.yaml:4: more: expected a list",
    ),
    "a text for a section": (
        GOOD.replace("tls:\n  timeout: 10", "tls: 10"),
        "agent.yaml:10: tls: expected a mapping (key: value)",
    ),
    "a text in a list of sections": (
        GOOD.replace("- id: two", "- two"),
        "agent.yaml:9: peers[1]: expected a mapping (key: value)",
    ),
    "a list in a list of paths": (GOOD.replace("b.pem", "[b.pem]"), "agent.yaml:5: more[0]: expected a path"),
    "a key that is a list": (GOOD + "[a, b]: c\n", "agent.yaml:12: ?: expected a plain key"),
    "an alias": (GOOD.replace("ingress", "&x y") + "greeting: *x\n", "agent.yaml:12: top level: aliases"),
    "an alias of itself": ("name: &x [*x]\n", "agent.yaml:1: top level: aliases and tags are not read"),
    "a tag": (GOOD.replace("ingress", "!secret x"), "agent.yaml:1: top level: aliases and tags are not read"),
    "a tag of Python": (
        GOOD.replace("ingress", "!!python/object/apply:os.system [x]"),
        "agent.yaml:1: top level: aliases and tags are not read",
    ),
    "a list at the top": ("- a\n", "agent.yaml:1: top level: expected a mapping (key: value)"),
    "a text at the top": ("hello\n", "agent.yaml:1: top level: expected a mapping (key: value)"),
    "nothing at all": ("", "agent.yaml:1: top level: expected a mapping (key: value)"),
    "two documents": (GOOD + "---\nname: x\n", "agent.yaml:1: top level: expected a single document"),
    "no YAML": ("name: [\n", "agent.yaml:1: top level: while parsing a flow"),
    "a control character": ("name: a\x07\n", "agent.yaml:1: top level: unacceptable character"),
    "no UTF-8": (b"name: \xff\n", "agent.yaml:1: top level: 'utf-8' codec can't decode byte 0xff"),
    "nesting without end": ("[" * 100_000, "agent.yaml:1: top level: nested too deeply"),
    "too much": ("#" * (1024 * 1024) + "\n", "agent.yaml:1: top level: larger than 1048576 bytes"),
}


@pytest.mark.parametrize(("text", "expected"), WRONG.values(), ids=WRONG)
def test_a_wrong_file_is_refused_with_its_place(text: str | bytes, expected: str, tmp_path: Path) -> None:
    assert complaint(tmp_path, text).startswith(expected)


def test_a_complaint_shows_at_most_the_beginning_of_a_value(tmp_path: Path) -> None:
    assert len(complaint(tmp_path, GOOD.replace("8443", "x" * 9000))) < 200


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"none\.yaml:1: top level: No such file or directory"):
        read_file(tmp_path / "none.yaml", build)


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="Is a directory"):
        read_file(tmp_path, build)


def test_a_missing_section_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("a: b\n")
    with pytest.raises(Refused, match=r"a\.yaml:1: top level: 'tls' is missing; expected a mapping"):
        read_file(file, lambda root: root.section("tls", lambda tls: tls.text("x")))


def test_a_component_may_refuse_a_rule_between_keys_of_its_section(tmp_path: Path) -> None:
    def both(root: Section) -> str:
        root.refuse("a or b, not both")

    file = tmp_path / "a.yaml"
    file.write_text("a: b\n")
    with pytest.raises(Refused, match=r"a\.yaml:1: top level: a or b, not both"):
        read_file(file, both)


def test_what_the_reader_of_a_value_refuses_is_said_with_its_place(tmp_path: Path) -> None:
    def picky(text: str) -> str:
        raise Refused(Reason.ID_MALFORMED, text)

    file = tmp_path / "a.yaml"
    file.write_text("a: b\n")
    with pytest.raises(Refused, match=r"config\.invalid: a\.yaml:1: a: expected an ID, found 'b'"):
        read_file(file, lambda root: root.value("a", picky, "an ID"))
