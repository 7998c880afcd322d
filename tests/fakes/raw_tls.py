"""A TLS 1.3 peer that presents what no TLS library would: any bytes as certificates, signed with any key.

    peer = await RawTls.connect(host, port, presented)   # as a client: its handshake is complete
    await peer.send(b"GET / ...")
    await peer.read()                                    # bytes; b"" at a goodbye; raises Alert, EOFError

    async with RawServer().serving(answer) as server:    # as a server: `answer(peer)` once it is secured
        server.presented = presented

Just as much of RFC 8446 as two honest ends need: x25519, TLS_AES_128_GCM_SHA256, no resumption. It believes
whatever the other end shows and checks nothing: for tests of those who do.
"""

import asyncio
import hashlib
import hmac
import os
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from enum import IntEnum
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import load_der_private_key

from tests.fakes.mini_ca import Presented

_X25519: Final = 0x001D
_SUITE: Final = 0x1301
_TLS13: Final = b"\x03\x04"
_RECORD: Final = 16 * 1024
_HASH: Final = 32
_ZEROS: Final = bytes(_HASH)
_SCHEMES: Final = (0x0403, 0x0503, 0x0603, 0x0804, 0x0807)
_CONTEXT: Final = b" " * 64 + b"TLS 1.3, %s CertificateVerify\0"


class _Type(IntEnum):
    CLIENT_HELLO = 1
    SERVER_HELLO = 2
    NEW_SESSION_TICKET = 4
    ENCRYPTED_EXTENSIONS = 8
    CERTIFICATE = 11
    CERTIFICATE_REQUEST = 13
    CERTIFICATE_VERIFY = 15
    FINISHED = 20


class _Content(IntEnum):
    CHANGE_CIPHER_SPEC = 20
    ALERT = 21
    HANDSHAKE = 22
    DATA = 23


class Alert(Exception):  # noqa: N818  it is what RFC 8446 section 6 calls it
    """The other end has refused, and says why (`description`)."""

    def __init__(self, description: int) -> None:
        super().__init__(f"alert {description}")
        self.description = description


# -- key schedule (RFC 8446 section 7.1) --------------------------------------------------------------------


def _extract(salt: bytes, secret: bytes) -> bytes:
    return hmac.digest(salt, secret, "sha256")


def _expand(secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
    info = struct.pack("!HB", length, 6 + len(label)) + b"tls13 " + label + _vector(context, 1)
    return hmac.digest(secret, info + b"\x01", "sha256")[:length]  # one block is enough: 32 bytes at most


def _derived(secret: bytes) -> bytes:
    return _expand(secret, b"derived", hashlib.sha256().digest(), _HASH)


class _Direction:
    """The keys of one direction, and its record number."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._aead = AESGCM(_expand(secret, b"key", b"", 16))
        self._iv = int.from_bytes(_expand(secret, b"iv", b"", 12), "big")
        self._number = 0

    def finished(self, transcript: bytes) -> bytes:
        return _extract(_expand(self._secret, b"finished", b"", _HASH), transcript)

    def seal(self, content: _Content, data: bytes) -> bytes:
        header = b"\x17\x03\x03" + struct.pack("!H", len(data) + 17)
        return header + self._aead.encrypt(self._nonce(), data + bytes([content]), header)

    def open(self, header: bytes, body: bytes) -> tuple[int, bytes]:
        inner = self._aead.decrypt(self._nonce(), body, header).rstrip(b"\0")
        return inner[-1], inner[:-1]

    def _nonce(self) -> bytes:
        nonce = (self._iv ^ self._number).to_bytes(12, "big")
        self._number += 1
        return nonce


# -- messages -----------------------------------------------------------------------------------------------


def _vector(data: bytes, size: int) -> bytes:
    return len(data).to_bytes(size, "big") + data


def _message(kind: _Type, body: bytes) -> bytes:
    return bytes([kind]) + _vector(body, 3)


def _extension(number: int, data: bytes) -> bytes:
    return struct.pack("!H", number) + _vector(data, 2)


def _share(key: X25519PrivateKey) -> bytes:
    return struct.pack("!H", _X25519) + _vector(key.public_key().public_bytes_raw(), 2)


def _schemes() -> bytes:
    return _extension(13, _vector(b"".join(struct.pack("!H", scheme) for scheme in _SCHEMES), 2))


def _client_hello(key: X25519PrivateKey) -> bytes:
    extensions = (
        _extension(43, _vector(_TLS13, 1))
        + _extension(10, _vector(struct.pack("!H", _X25519), 2))
        + _extension(51, _vector(_share(key), 2))
        + _schemes()
    )
    suites = _vector(struct.pack("!H", _SUITE), 2)
    hello = b"\x03\x03" + os.urandom(32) + _vector(b"", 1) + suites + _vector(b"\0", 1)
    return _message(_Type.CLIENT_HELLO, hello + _vector(extensions, 2))


def _server_hello(key: X25519PrivateKey, session_id: bytes) -> bytes:
    extensions = _extension(43, _TLS13) + _extension(51, _share(key))
    hello = b"\x03\x03" + os.urandom(32) + _vector(session_id, 1) + struct.pack("!HB", _SUITE, 0)
    return _message(_Type.SERVER_HELLO, hello + _vector(extensions, 2))


def _take(data: bytes, size: int) -> tuple[bytes, bytes]:
    """The vector at the beginning, and what follows it."""
    end = size + int.from_bytes(data[:size], "big")
    return data[size:end], data[end:]


def _hello(body: bytes, *, of_client: bool) -> tuple[bytes, X25519PublicKey]:
    """The session ID and the key share of a hello."""
    session_id, rest = _take(body[34:], 1)
    if of_client:
        _, rest = _take(rest, 2)
        _, rest = _take(rest, 1)
    else:
        rest = rest[3:]
    extensions, _ = _take(rest, 2)
    while extensions:
        number, (data, extensions) = extensions[:2], _take(extensions[2:], 2)
        if number == b"\0\x33":
            shares = _take(data, 2)[0] if of_client else data
            return session_id, _x25519_of(shares)
    raise AssertionError("no key share")


def _x25519_of(shares: bytes) -> X25519PublicKey:
    while shares:
        group, (key, shares) = shares[:2], _take(shares[2:], 2)
        if group == struct.pack("!H", _X25519):
            return X25519PublicKey.from_public_bytes(key)
    raise AssertionError("no share of x25519")


def _certificate(chain: tuple[bytes, ...]) -> bytes:
    entries = b"".join(_vector(der, 3) + _vector(b"", 2) for der in chain)
    return _message(_Type.CERTIFICATE, _vector(b"", 1) + _vector(entries, 3))


def _certificates(body: bytes) -> Iterator[bytes]:
    """What a Certificate message holds."""
    _, rest = _take(body, 1)
    entries, _ = _take(rest, 3)
    while entries:
        der, entries = _take(entries, 3)
        _, entries = _take(entries, 2)
        yield der


def _certificate_verify(key_pkcs8: bytes, role: bytes, transcript: bytes) -> bytes:
    scheme, signature = _signed(key_pkcs8, _CONTEXT % role + transcript)
    return _message(_Type.CERTIFICATE_VERIFY, struct.pack("!H", scheme) + _vector(signature, 2))


def _signed(key_pkcs8: bytes, content: bytes) -> tuple[int, bytes]:
    key = load_der_private_key(key_pkcs8, password=None)
    if isinstance(key, rsa.RSAPrivateKey):
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
        return 0x0804, key.sign(content, pss, hashes.SHA256())
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return 0x0807, key.sign(content)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    # secp256k1 has no scheme in TLS 1.3: it calls itself P-256 here, as a liar would.
    scheme, digest = {384: (0x0503, hashes.SHA384()), 521: (0x0603, hashes.SHA512())}.get(
        key.curve.key_size, (0x0403, hashes.SHA256())
    )
    return scheme, key.sign(content, ec.ECDSA(digest))


# -- the connection -----------------------------------------------------------------------------------------


class RawTls:
    """One end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._transcript = hashlib.sha256()
        self._sealing: _Direction | None = None
        self._opening: _Direction | None = None
        self._handshake = b""  # received and not read yet
        self.peer_chain: tuple[bytes, ...] = ()  # what the other end showed, whoever it is

    @classmethod
    async def connect(cls, host: str, port: int, presented: Presented) -> "RawTls":
        """A client that has completed its handshake; what the server thinks of it shows later."""
        peer = cls(*await asyncio.open_connection(host, port))
        try:
            await peer._as_client(presented)
        except BaseException:
            peer.abort()
            raise
        return peer

    @property
    def address(self) -> str:
        """Our end, as the other one sees it."""
        host, port = self._writer.get_extra_info("sockname")
        return f"{host}:{port}"

    async def send(self, data: bytes) -> None:
        """Application data."""
        await self._write(_Content.DATA, data)

    async def read(self) -> bytes:
        """What the other end says next; `b""` is its goodbye. Raises `Alert` or `EOFError`."""
        while True:
            content, data = await self._record()
            if content == _Content.DATA:
                return data
            if content == _Content.ALERT:  # 0 is close_notify
                return b""

    async def ends(self) -> None:
        """Wait for the end: an alert, a goodbye or a cut. Data instead is an `AssertionError`."""
        with suppress(Alert, EOFError):
            assert await self.read() == b"", "the other end has something to say"

    def abort(self) -> None:
        self._writer.transport.abort()

    async def _as_client(self, presented: Presented) -> None:
        key = X25519PrivateKey.generate()
        await self._say(_client_hello(key))
        _, share = _hello(await self._next(_Type.SERVER_HELLO), of_client=False)
        master = self._switch_to_handshake_keys(key.exchange(share), client=True)
        while await self._message() is not _Type.FINISHED:
            pass
        ours, theirs = self._application(master, client=True)
        await self._say(_certificate(presented.chain))
        if presented.chain:
            await self._prove(presented, b"client")
        await self._finish()
        self._sealing, self._opening = _Direction(ours), _Direction(theirs)

    async def _as_server(self, presented: Presented) -> None:
        key = X25519PrivateKey.generate()
        session_id, share = _hello(await self._next(_Type.CLIENT_HELLO), of_client=True)
        await self._say(_server_hello(key, session_id))
        master = self._switch_to_handshake_keys(key.exchange(share), client=False)
        await self._say(_message(_Type.ENCRYPTED_EXTENSIONS, _vector(b"", 2)))
        await self._say(_message(_Type.CERTIFICATE_REQUEST, _vector(b"", 1) + _vector(_schemes(), 2)))
        await self._say(_certificate(presented.chain))
        await self._prove(presented, b"server")
        await self._finish()
        ours, theirs = self._application(master, client=False)
        self._sealing = _Direction(ours)
        while await self._message() is not _Type.FINISHED:
            pass
        self._opening = _Direction(theirs)

    async def _prove(self, presented: Presented, role: bytes) -> None:
        await self._say(_certificate_verify(presented.key, role, self._transcript.digest()))

    async def _finish(self) -> None:
        assert self._sealing is not None
        await self._say(_message(_Type.FINISHED, self._sealing.finished(self._transcript.digest())))

    def _switch_to_handshake_keys(self, shared: bytes, *, client: bool) -> bytes:
        """Seal and open with the handshake's secrets from now on; returns the master secret."""
        secret = _extract(_derived(_extract(_ZEROS, _ZEROS)), shared)
        hellos = self._transcript.digest()
        secrets = [_expand(secret, label, hellos, _HASH) for label in (b"c hs traffic", b"s hs traffic")]
        ours, theirs = secrets if client else reversed(secrets)
        self._sealing, self._opening = _Direction(ours), _Direction(theirs)
        return _extract(_derived(secret), _ZEROS)

    def _application(self, master: bytes, *, client: bool) -> tuple[bytes, bytes]:
        """Our secret and theirs; to be asked for when the server's Finished is the newest message."""
        heard = self._transcript.digest()
        secrets = [_expand(master, label, heard, _HASH) for label in (b"c ap traffic", b"s ap traffic")]
        return (secrets[0], secrets[1]) if client else (secrets[1], secrets[0])

    async def _say(self, message: bytes) -> None:
        self._transcript.update(message)
        for start in range(0, len(message), _RECORD):
            await self._write(_Content.HANDSHAKE, message[start : start + _RECORD])

    async def _write(self, content: _Content, data: bytes) -> None:
        if self._sealing is None:
            self._writer.write(bytes([content]) + b"\x03\x03" + _vector(data, 2))
        else:
            self._writer.write(self._sealing.seal(content, data))
        # Whoever refuses us may close at once; what it said is still to be read.
        with suppress(ConnectionError):
            await self._writer.drain()

    async def _next(self, wanted: _Type) -> bytes:
        """The body of the next handshake message, which has to be `wanted`."""
        while not self._whole():
            await self._more()
        assert self._handshake[0] == wanted
        body, rest = _take(self._handshake[1:], 3)
        if wanted is _Type.CERTIFICATE:
            self.peer_chain = tuple(_certificates(body))
        self._transcript.update(self._handshake[: len(self._handshake) - len(rest)])
        self._handshake = rest
        return body

    async def _message(self) -> _Type:
        """Take note of the next handshake message, whatever it is."""
        while not self._whole():
            await self._more()
        kind = _Type(self._handshake[0])
        await self._next(kind)
        return kind

    def _whole(self) -> bool:
        buffered = self._handshake
        return len(buffered) >= 4 and len(buffered) >= 4 + int.from_bytes(buffered[1:4], "big")

    async def _more(self) -> None:
        content, data = await self._record()
        assert content == _Content.HANDSHAKE, content
        self._handshake += data

    async def _record(self) -> tuple[int, bytes]:
        """The next record but for change_cipher_spec, which says nothing in TLS 1.3."""
        while True:
            try:
                header = await self._reader.readexactly(5)
                body = await self._reader.readexactly(int.from_bytes(header[3:], "big"))
            except ConnectionError:
                raise EOFError from None
            content = header[0]
            if content == _Content.DATA and self._opening is not None:
                content, body = self._opening.open(header, body)
            if content == _Content.ALERT and body[1]:
                raise Alert(body[1])
            if content != _Content.CHANGE_CIPHER_SPEC:
                return content, body


class RawServer:
    """A server on a port of the kernel's choice; what it presents can be changed between connections."""

    def __init__(self) -> None:
        self.presented = Presented((), b"")
        self.outcomes: asyncio.Queue[Alert | EOFError | None] = asyncio.Queue()
        self.port = 0

    @asynccontextmanager
    async def serving(self, answer: Callable[[RawTls], Awaitable[None]]) -> AsyncIterator["RawServer"]:
        """Serve; `outcomes` gets how each connection ended for us: None if `answer` had its way."""

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            peer = RawTls(reader, writer)
            outcome: Alert | EOFError | None = None
            try:
                await peer._as_server(self.presented)
                await answer(peer)
            except (Alert, EOFError) as error:
                outcome = error
            finally:
                writer.close()
                self.outcomes.put_nowait(outcome)

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self
