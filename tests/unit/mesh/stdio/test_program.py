"""What a program may be, and what it finds in its environment: what was chosen, and nothing else."""

import pytest

from spiffe_mcp.mesh.stdio.program import Processes, Program


def test_its_environment_is_what_is_passed_and_what_is_given() -> None:
    own = {
        "PATH": "/bin",
        "HOME": "/h",
        "LANG": "C",
        "AWS_SECRET_ACCESS_KEY": "s",
        "SPIFFE_ENDPOINT_SOCKET": "x",
    }
    program = Program(("serve",), env=(("TOKEN", "t"), ("HOME", "/elsewhere")))
    assert program.environment(own) == {"PATH": "/bin", "HOME": "/elsewhere", "LANG": "C", "TOKEN": "t"}


def test_what_is_not_there_is_not_passed() -> None:
    assert Program(("serve",)).environment({}) == {}


@pytest.mark.parametrize("command", [(), ("",), ("a\0b",), ("a", "\0")])
def test_what_cannot_be_started_is_no_program(command: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="no command"):
        Program(command)


@pytest.mark.parametrize("name", ["", "A-B", "1A", "A=B", "A\n", "É"])
def test_a_variable_has_a_name(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        Program(("serve",), env=((name, "x"),))


def test_a_session_has_a_process_of_its_own_unless_said_otherwise() -> None:
    assert Program(("serve",)).processes is Processes.SESSION


def test_what_it_is_given_is_not_shown() -> None:
    program = Program(("serve",), env=(("A", "secret-1"), ("B", "secret-longer"), ("C", "true")))
    assert "secret" not in repr(program)
    assert program.secrets == ("secret-longer", "secret-1")
