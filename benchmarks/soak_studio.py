"""The studio under load: many requests at once, clients that leave, malformed requests, memory, and how it starts.

    python benchmarks/soak_studio.py [--requests 1000] [--parallel 16] [--malformed 2000]

A server of its own, on a free port of this machine. Each request of a mixed load is answered 200, with the very answer
that it gets alone, or 503 with Retry-After; memory grows by 5 % at most after the first 200. A client that leaves ends
its work within a second. No malformed request has a 500, hangs, or writes a file. Ends with 1 where that did not hold.
Printed besides: latencies, the seconds until the first token of each kind, of the start, and the memory of all models.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from malformed import malformed

SETTLED, GROWTH = 200, 1.05  # requests before memory is taken; how much it may grow after them
FIRST = 0.3  # seconds until the first words, pixels or notes, on two idle cores
START = 5.0  # times the import of numpy, starlette and uvicorn, until the first page
MEMORY = 500.0  # megabytes with all models loaded
IMPORTS = ("-c", "import numpy, starlette, uvicorn")
TEXTS = ("A dog runs.", "Two men are playing chess.", "A woman in a red coat.", "Children on a beach.")


class Server:
    """A studio in a process of its own."""

    def __init__(self, port: int, process: subprocess.Popen[str], seconds: float) -> None:
        self.port, self.process, self.seconds = port, process, seconds

    def ask(self, path: str, body: Any = None) -> tuple[int, Any, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=150)
        try:
            data = None if body is None else json.dumps(body).encode()
            connection.request("GET" if body is None else "POST", path, data, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def first(self, path: str, body: Any) -> float:
        """Seconds until the first event after the start."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        began = time.perf_counter()
        data = json.dumps({**body, "stream": True})
        connection.request("POST", path, data, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        while not answer.readline().startswith((b"event: partial", b"event: pixels", b"event: notes", b"event: done")):
            pass
        seconds = time.perf_counter() - began
        connection.close()
        return seconds

    def megabytes(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text("ascii")
        return int(status.split("VmRSS:")[1].split()[0]) / 1024


@contextmanager
def served(folder: Path) -> Iterator[Server]:
    began = time.perf_counter()
    command = [sys.executable, "-m", "triptych.cli.main", "studio", "--no-browser", "--port", "0", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder)
    assert process.stdout is not None
    port = int(json.loads(process.stdout.readline())["address"].rsplit(":", 1)[1].strip("/"))
    server = Server(port, process, 0)
    assert server.ask("/")[0] == 200
    server.seconds = time.perf_counter() - began
    try:
        yield server
    finally:
        process.terminate()
        process.wait(20)


def load(number: int) -> tuple[str, dict[str, Any]]:
    """A request of the mixed load, one of 40 different ones."""
    kind, seed = number % 5, number % 8
    if kind == 0:
        return "/api/translate", {"text": TEXTS[seed % 4], "nbest": 2}
    if kind == 1:
        return "/api/paint", {"count": 1, "label": "bag", "seed": seed}
    if kind == 2:
        return "/api/compose", {"steps": 32, "seed": seed}
    if kind == 3:
        return "/api/compose", {"model": "piano", "seconds": 2, "seed": seed}
    return "/translate", {"q": TEXTS[seed % 4], "source": "en", "target": "de"}


def under_load(server: Server, requests: int, parallel: int) -> bool:
    """Send the load; print the statuses, latencies and memory. Whether all held."""
    alone = {json.dumps(load(number)): server.ask(*load(number))[2] for number in range(40)}
    statuses: Counter[int] = Counter()
    seconds, wrong, memory, lock = list[float](), list[str](), list[float](), threading.Lock()
    numbers = iter(range(requests))

    def work() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            began = time.perf_counter()
            status, headers, data = server.ask(*load(number))
            with lock:
                statuses[status] += 1
                seconds.append(time.perf_counter() - began)
                held = data == alone[json.dumps(load(number))] if status == 200 else "Retry-After" in headers
                if not held or status not in (200, 503):
                    wrong.append(f"{load(number)}: {status} {data[:200]!r}")
                if len(seconds) in (SETTLED, requests):
                    memory.append(server.megabytes())

    threads = [threading.Thread(target=work) for _ in range(parallel)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shares = statistics.quantiles(seconds, n=100)
    growth = memory[-1] / memory[0]
    print(
        f"{requests} requests, {parallel} at once: {dict(statuses)}; wrong answers: {len(wrong)}", *wrong[:3], sep="\n"
    )
    print("latency, seconds: " + ", ".join(f"p{share} {shares[share - 1]:.2f}" for share in (50, 90, 95, 99)))
    print(f"memory after {SETTLED} requests {memory[0]:.0f} MB, at the end {memory[-1]:.0f} MB ({growth:.3f} times)")
    return not wrong and growth <= GROWTH


def leaving(server: Server) -> bool:
    """Clients that leave in the middle; whether a request after them comes at once."""
    slow = []
    for stream in (False, True) * 5:
        body = json.dumps({"model": "chorales", "steps": 1024, "seed": 1, "stream": stream}).encode()
        for _ in range(2):  # all threads work
            with socket.create_connection(("127.0.0.1", server.port)) as connection:
                head = f"POST /api/compose HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: application/json"
                connection.sendall(f"{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
                time.sleep(0.3)
        began = time.perf_counter()
        server.ask("/api/positions", {"length": 4})
        slow.append(time.perf_counter() - began)
    print(f"after clients have left, an answer takes {statistics.median(slow):.2f} s, at most {max(slow):.2f} s")
    return max(slow) <= 1.0


def broken(server: Server, count: int, folder: Path) -> bool:
    """Malformed requests; whether none had a 500, hung or wrote."""
    described = json.loads(server.ask("/api/openapi.json")[2])
    statuses: Counter[int] = Counter()
    wrong = []
    for request in malformed(described, count, seed=2026):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        try:
            connection.request(request.method, request.path, request.body, dict(request.headers))
            answer = connection.getresponse()
            answer.read()
            statuses[answer.status] += 1
            if answer.status >= 500 and answer.status != 503:
                wrong.append(f"{request}"[:300])
        except TimeoutError:
            wrong.append(f"no answer to {request}"[:300])
        except (ConnectionError, http.client.HTTPException, ValueError):
            statuses[0] += 1  # closed, or none that a client can send
        finally:
            connection.close()
    written = [path.name for path in folder.iterdir()]
    print(
        f"{count} malformed requests: {dict(sorted(statuses.items()))}; wrong: {len(wrong)}; files written: {written}"
    )
    print(*wrong[:5], sep="\n")
    return not wrong and not written and server.ask("/api/health")[0] == 200


def started(server: Server) -> None:
    """Print the start beside the import, the memory with all models, and the seconds until the first token."""
    imports = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run([sys.executable, *IMPORTS], check=True)
        imports.append(time.perf_counter() - began)
    times = server.seconds / statistics.median(imports)
    print(f"start to the first page {server.seconds:.2f} s, {times:.1f} times the import (bar {START:g})")
    examples = json.loads(server.ask("/api/models")[2])["examples"]
    for name, bodies in examples.items():
        for body in bodies:
            server.ask(f"/api/{name}", body)
    print(f"memory with all models loaded {server.megabytes():.0f} MB (bar {MEMORY:g})")
    kinds: Sequence[tuple[str, dict[str, Any]]] = [
        ("translate", examples["translate"][0]), ("paint", examples["paint"][0]),
        ("complete", examples["complete"][0]), ("upscale", examples["upscale"][0]),
        *(("compose", body) for body in examples["compose"]),
        ("harmonize", examples["harmonize"][0]), ("infill", examples["infill"][0]),
    ]  # fmt: skip
    for name, body in kinds:
        seconds = statistics.median(server.first(f"/api/{name}", body) for _ in range(5))
        print(f"first of {name} ({body['model']}) after {1000 * seconds:.0f} ms (bar {1000 * FIRST:g})")


def main() -> int:
    """Run all parts; 0 where they held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--parallel", type=int, default=16)
    parser.add_argument("--malformed", type=int, default=2000)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.2f} before")
    with tempfile.TemporaryDirectory() as name, served(Path(name)) as server:
        started(server)
        held = [
            under_load(server, options.requests, options.parallel),
            leaving(server),
            broken(server, options.malformed, Path(name)),
        ]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
