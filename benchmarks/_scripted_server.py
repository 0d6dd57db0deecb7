"""A server in a process of its own that answers at once whatever a request names: for measuring the client alone.

It speaks just enough of the protocol for `benchmarks.stops`. A find by the key ``value:N`` gets N bytes, one by ``text:N`` N
characters, one by ``pieces:N`` N bytes in pieces of 1,400, each sent when the one before it has probably been received.
"""

from __future__ import annotations

import socket
import threading
import time

PIECE = 1400
REST = b"\t0\tpayload of a row, 32 bytes long."


def answer(line: bytes) -> bytes:
    tokens = line.split(b"\t", 9)
    if tokens[0] in (b"A", b"P") or tokens[1] == b"+":
        return b"0\t1\n"
    if len(tokens) > 6 and tokens[6] == b"@":
        return b"0\t3" + b"".join([b"\t" + key + REST for key in tokens[9].split(b"\t")]) + b"\n"
    if len(tokens) > 6:
        return b"0\t1\t1\n"
    kind, _, size = tokens[3].partition(b":")
    if kind == b"rows":
        return b"0\t3" + b"".join([b"\t%d" % number + REST for number in range(int(size))]) + b"\n"
    if kind == b"value":
        return b"0\t3\t1\t0\t" + b"two\x01Jx" * (int(size) // 5) + b"\n"
    if kind == b"pieces":
        return b"0\t3\t1\t0\t" + bytes(int(size)).replace(b"\0", b"x") + b"\n"
    if kind == b"text":
        return b"0\t3\t1\t0\t" + "é".encode() * int(size) + b"\n"
    return b"0\t3\t" + tokens[3] + REST + b"\n"


def serve(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    buffer = bytearray()
    while data := connection.recv(1 << 20):
        buffer += data
        end = buffer.rfind(b"\n", len(buffer) - len(data))
        if end < 0:
            continue
        lines = bytes(buffer[:end]).split(b"\n")
        del buffer[: end + 1]
        answers = b"".join(map(answer, lines))
        if b"\tpieces:" in lines[-1]:
            for start in range(0, len(answers), PIECE):
                connection.send(answers[start : start + PIECE])
                time.sleep(0)
        else:
            connection.sendall(answers)


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
