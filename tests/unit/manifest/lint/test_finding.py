"""A finding can be printed anywhere."""

from spiffe_mcp.manifest.lint import Finding, Rule


def test_what_was_found_is_escaped_and_cut() -> None:
    finding = Finding.at(Rule.TERMINAL, "$.description", "\x1b[2K\u200bhidden" + "x" * 200)

    assert finding.found.startswith("\\x1b[2K\\u200bhidden")
    assert finding.found.isascii()
    assert finding.found.isprintable()
    assert finding.found.count("x") < 90


def test_each_rule_has_a_code_of_its_own() -> None:
    assert len({rule.code for rule in Rule}) == len(list(Rule))
