"""Acts the cases of docs/forwarding.md over each path and prints their table.

usage: promises.py CLIENT-NAMESPACE BACKEND-NAMESPACE PORT PAUSE 'COLUMN=ADDRESS:PORT'...
"""

import ctypes
import os
import socket
import struct
import sys
import threading
import time

CLONE_NEWNET = 0x40000000
DEADLINE = 10
MEGABYTE = 1_000_000
ANSWER = b"HTTP/1.1 413 Payload Too Large\r\n\r\n"


def enter(namespace):
    """A socket belongs to the namespace in which its thread is when it makes it."""
    handle = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(handle, CLONE_NEWNET) != 0:
        sys.exit(f"promises.py: the namespace {namespace} cannot be entered: {os.strerror(ctypes.get_errno())}")
    os.close(handle)


class Pair:
    """A client's connection over a path, and the server's end of it."""

    def __init__(self, listener, target):
        self.client = socket.create_connection(target, timeout=DEADLINE)
        self.server, _ = listener.accept()
        self.server.settimeout(DEADLINE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()
        self.server.close()


def reset(end):
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()


def read_to_end(end, deadline=DEADLINE):
    """What came, and how it ended."""
    end.settimeout(deadline)
    got = bytearray()
    try:
        while piece := end.recv(1 << 20):
            got += piece
    except ConnectionResetError:
        return got, "reset"
    except socket.timeout:
        return got, "nothing"
    return got, "end of stream"


def in_background(work):
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def send_quietly(end, count):
    """Sends as much as it may; says what went wrong."""
    try:
        end.sendall(bytes(count))
    except BrokenPipeError:
        return "broken pipe"
    except ConnectionResetError:
        return "reset"
    except socket.timeout:
        return "stuck"
    except OSError as fault:
        return os.strerror(fault.errno or 0)
    return ""


def amount(got, expected, trouble=""):
    if got == expected:
        return "all"
    return trouble or ("nothing" if got == 0 else f"{got:,} of {expected:,} bytes")


def server_speaks_first(listener, target):
    with Pair(listener, target) as pair:
        pair.server.sendall(b"220 ready\r\n")
        return "works" if pair.client.recv(100) == b"220 ready\r\n" else "nothing"


def client_ends_its_half(listener, target):
    with Pair(listener, target) as pair:
        pair.client.sendall(b"all of it, please")
        pair.client.shutdown(socket.SHUT_WR)
        asked, _ = read_to_end(pair.server)
        if not asked:
            return "the end comes without the question"

        def answer():
            # As one that has to work for it.
            time.sleep(1)
            send_quietly(pair.server, 10 * MEGABYTE)
            pair.server.close()

        in_background(answer)
        got, _ = read_to_end(pair.client)
        return amount(len(got), 10 * MEGABYTE)


def server_ends_its_half(listener, target):
    with Pair(listener, target) as pair:
        pair.server.shutdown(socket.SHUT_WR)
        read_to_end(pair.client)
        received = []
        reading = in_background(lambda: received.append(read_to_end(pair.server)[0]))
        trouble = send_quietly(pair.client, 2 * MEGABYTE)
        if not trouble:
            pair.client.shutdown(socket.SHUT_WR)
        reading.join(2 * DEADLINE)
        return amount(len(received[0]) if received else 0, 2 * MEGABYTE, trouble)


def server_resets(listener, target):
    with Pair(listener, target) as pair:
        pair.client.sendall(b"x")
        pair.server.recv(1)
        reset(pair.server)
        return read_to_end(pair.client)[1]


def client_resets(listener, target):
    seen = []
    for _ in range(5):
        with Pair(listener, target) as pair:
            pair.client.sendall(b"x")
            pair.server.recv(1)
            reset(pair.client)
            seen.append(read_to_end(pair.server)[1])
    kinds = sorted(set(seen), key=seen.count, reverse=True)
    return kinds[0] if len(kinds) == 1 else ", ".join(f"{seen.count(kind)} {kind}" for kind in kinds)


def early_answer(listener, target, size):
    """Whether a client that uploads reads the answer that came before it was done."""
    with Pair(listener, target) as pair:
        uploading = in_background(lambda: send_quietly(pair.client, size))
        pair.server.recv(1_000)
        pair.server.sendall(ANSWER)
        # With the rest of the upload unread, which the kernel answers with a reset.
        pair.server.close()
        uploading.join(2 * DEADLINE)
        return bytes(read_to_end(pair.client)[0]) == ANSWER


def early_answers(listener, target):
    return f"{sum(early_answer(listener, target, 20 * MEGABYTE) for _ in range(30))}"


def short_early_answer(listener, target):
    return "read" if all(early_answer(listener, target, 50_000) for _ in range(5)) else "lost"


CASES = [
    ("server speaks first", server_speaks_first),
    ("client ends its half, 10 MB come back a second later", client_ends_its_half),
    ("server ends its half, 2 MB go there", server_ends_its_half),
    ("server resets: the client sees", server_resets),
    ("client resets, five times: the server sees", client_resets),
    ("early 413 to an upload of 20 MB: of 30 clients so many read it", early_answers),
    ("early 413 to an upload of 50 KB", short_early_answer),
]


def attempt(case, *arguments):
    try:
        return case(*arguments)
    except (OSError, socket.timeout) as fault:
        return f"fails: {fault}"


def paused_reads(listener, targets, pause):
    """A reader pauses with its window closed: over all paths at once, since it takes minutes."""
    size = 40 * MEGABYTE
    pairs = [Pair(listener, target) for target in targets]
    results = [""] * len(pairs)

    def read(index, pair):
        def write():
            pair.server.settimeout(pause + 6 * DEADLINE)
            send_quietly(pair.server, size)
            pair.server.close()

        in_background(write)
        got = len(pair.client.recv(1))
        time.sleep(pause)
        rest, _ = read_to_end(pair.client, 6 * DEADLINE)
        got += len(rest)
        results[index] = "whole" if got == size else f"{got:,} bytes"

    threads = [in_background(lambda i=i, p=p: read(i, p)) for i, p in enumerate(pairs)]
    for thread in threads:
        thread.join()
    return results


def main():
    client, backend, port, pause = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    columns = [argument.rsplit("=", 1) for argument in sys.argv[5:]]
    targets = [(place.rsplit(":", 1)[0], int(place.rsplit(":", 1)[1])) for _, place in columns]
    enter(backend)
    listener = socket.create_server(("0.0.0.0", port), backlog=128)
    listener.settimeout(DEADLINE)
    enter(client)
    print("| case | " + " | ".join(name for name, _ in columns) + " |")
    print("|---|" + "---|" * len(columns))
    for title, case in CASES:
        row = [attempt(case, listener, target) for target in targets]
        print(f"| {title} | " + " | ".join(row) + " |", flush=True)
    row = paused_reads(listener, targets, pause)
    print(f"| 40 MB to a reader that pauses for {pause} s | " + " | ".join(row) + " |")


main()
