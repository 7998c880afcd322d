"""Rego source that the engine would misread is refused, with its line."""

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.policy.source import read_modules


def read(source: str) -> tuple[str, frozenset[str], frozenset[tuple[str, ...]]]:
    """What one module says, to an engine whose only unlisted built-in is `abs`."""
    (module,) = read_modules({"a.rego": source}, {"abs"}.__contains__)
    return module.package, module.heads, module.reads


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ("input.tool.name", ("tool", "name")),
        ("input.arguments[_]", ("arguments",)),
        ('input.arguments["to"]', ("arguments",)),
        ("input.a.b . c", ("a", "b")),
        ("input", ()),
        ("input[x]", ()),
        ('input["tool"]', ()),
        ("input . tool", ()),
        ("input\n.tool", ()),
        ("walk(input)", ()),
        ("x with input as {}", ()),
        ("x with input.user as {}", ("user",)),
        ('[input.tool, "input.user # input"]', ("tool",)),
        ("`\n` == input.tool # input.user\n", ("tool",)),
        ('"\\\\" == input.tool', ("tool",)),
        ('"\\"" == input.tool', ("tool",)),
    ],
)
def test_what_a_module_reads_of_the_input_is_never_underestimated(body: str, path: tuple[str, ...]) -> None:
    """The empty path stands for all; texts and comments read nothing."""
    assert read(f"package p\nx := {body}")[2] == {path}


def test_an_imported_part_of_the_input_is_read() -> None:
    """An alias hides the name, not the reading."""
    assert read("package p\nimport input.arguments as args\nx := args.a")[2] == {("arguments",)}


def test_heads_and_package_are_found() -> None:
    """Comments, defaults, functions, imports and partial rules included."""
    package, heads, _ = read(
        "# head\npackage mcp.authz\nimport rego.v1\nimport data.lib as l\nimport data.other.fn\n"
        "default decision := {}\nallow if {\n  inner := 1\n}\nf(x) := x\nvisible contains t if { t := 1 }\n"
    )
    assert package == "mcp.authz"
    assert heads >= {"decision", "allow", "f", "visible", "l", "fn"}
    assert "inner" not in heads


@pytest.mark.parametrize(
    ("body", "line", "what"),
    [
        ('regex.match("a", input.x)', 2, "regex.match"),
        ('\n  glob.match("a", [], input.x)', 3, "glob.match"),
        ("http.send({})", 2, "http.send"),
        ('net.cidr_contains("10.0.0.0/8", input.x)', 2, "net.cidr_contains"),
        ("opa.runtime()", 2, "opa.runtime"),
        ("time.now_ns ()", 2, "time.now_ns"),
        ("true if\n  abs(input.x) < 1", 3, "abs"),
        ("true if\n  net.cidr_is_valid(input.x)", 3, "net.cidr_is_valid"),
        ("true if\n  print(input.x)", 3, "print"),
        ("unknown(1)", 2, "unknown"),
        ("regex . match(input.x)", 2, "match"),
        ('regex["match"](input.x)', 2, "name its function"),
        ('"\\u0041"', 2, "\\u"),
        ('"\\/"', 2, "\\/"),
        ('$"{input.x}"', 2, "interpolation"),
        ('"open', 2, "not closed"),
        ("`open", 2, "not closed"),
        ('sprintf("%d", [1])', 2, "%v only"),
        ('sprintf("%s", [1])', 2, "%v only"),
        ("sprintf(`%q`, [1])", 2, "%v only"),
        ("max(input.x)", 2, "max"),
        ("1 # \rinput.x", 2, "control character"),
        ('1 # "\x00', 2, "control character"),
    ],
)
def test_what_the_engine_would_misread_is_refused_with_its_line(body: str, line: int, what: str) -> None:
    """Each gap between a policy's text and the engine's reading of it is closed before it is compiled."""
    with pytest.raises(Refused) as caught:
        read(f"package p\nx := {body}")
    assert caught.value.reason is Reason.POLICY_INVALID
    assert caught.value.detail.startswith(f"a.rego:{line}: ")
    assert what in caught.value.detail


@pytest.mark.parametrize(
    "body",
    [
        'startswith(input.x, "a")',
        'strings.any_prefix_match(input.x, ["a"])',
        'sprintf("%v is %v%%", ["a", 1])',
        '"\\\\u0041"',
        '"100%d"',
        "own(1)\nown(y) := y",
        "data.lib.f(1)",
        "set()",
        '"regex.match(1)" # http.send()',
    ],
)
def test_what_the_engine_reads_rightly_is_let_through(body: str) -> None:
    """Verified functions, the policy's own, and whatever stands in texts and comments."""
    read(f"package p\nx := {body}")


def test_a_module_without_package_is_refused() -> None:
    """The engine would compile it to nothing."""
    with pytest.raises(Refused) as caught:
        read("decision := 1")
    assert caught.value.reason is Reason.POLICY_INVALID


def test_functions_of_one_module_may_be_called_from_another() -> None:
    """Through an import, under its alias."""
    read_modules(
        {
            "a.rego": "package a\nimport data.lib as l\nx := l.f(1)",
            "b.rego": "package lib\nf(x) := x",
        },
        {"abs"}.__contains__,
    )
