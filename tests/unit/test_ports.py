"""A port that is held for one server: the server has it, nobody else gets it, and without a server nobody answers."""

import socket

import pytest

from api.demo.service import held_port


def test_nobody_else_gets_a_held_port_until_it_is_given_back() -> None:
    with held_port() as port, socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))


@pytest.mark.parametrize("option", [socket.SO_REUSEADDR, socket.SO_REUSEPORT])
def test_a_server_that_names_a_held_port_is_reached_there(option: int) -> None:
    with held_port() as port, socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, option, 1)
        server.bind(("127.0.0.1", port))
        server.listen()
        with socket.create_connection(("127.0.0.1", port), timeout=5) as caller:
            accepted, _ = server.accept()
            with accepted:
                caller.sendall(b"x")
                assert accepted.recv(1) == b"x"


def test_where_no_server_listens_a_connection_is_refused() -> None:
    with held_port() as port, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_two_held_ports_differ() -> None:
    with held_port() as one, held_port() as other:
        assert one != other
