"""A client of adapterd over its Unix socket, or over TCP with a token. Python's standard library only.

    from difffit import Client

    with Client("/run/user/1000/difffit/adapterd.sock") as client:
        for image in client.generate({"model": "flowers", "class": "rose", "seed": 1, "n": 4}).images:
            Path(f"{image.index}.png").write_bytes(image.png)
        for event in client.stream({"model": "birds", "class": "owl", "seed": 1, "n": 1, "partial_images": 2}):
            print(event.name)
        job = client.start_job({"model": "cars", "class": "bus", "n": 64})
        pictures = client.finished(job["id"]).images

What the server refuses is a StatusError with the server's own sentence, what does not answer an UnreachableError. A client keeps one
connection and serves one thread; `clone` gives another thread its own.
"""

from __future__ import annotations

import base64
import http.client
import json
import select
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    import ssl
    import subprocess
    from collections.abc import Iterator
    from typing import Self

# Long enough for a large request in a full queue; a server that has gone closes its connections sooner.
TIMEOUT = 3600.0


class WeightedAdapter(TypedDict, total=False):
    """One term of a request's `adapters`."""

    name: str
    weight: float


# `class` is a word of Python, so the fields stand in a table.
GenerationRequest = TypedDict(
    "GenerationRequest",
    {
        "model": str,
        "class": str,
        "prompt": str,
        "n": int,
        "seed": int,
        "index_offset": int,
        "steps": int,
        "sampler": str,
        "guidance": str,
        "guidance_scale": float,
        "guidance_interval": list[float],
        "strength": float,
        "cache": str,
        "decoder": str,
        "adapters": list[WeightedAdapter],
        "schedule": list[tuple[float, str]],
        "labels_from": str,
        "deadline_ms": int,
        "user": str,
        "metadata": bool,
        "stream": bool,
        "partial_images": int,
        "size": str,
        "response_format": str,
        "output_format": str,
        "output_compression": int,
        "quality": str,
        "background": str,
        "moderation": str,
        "style": str,
    },
    total=False,
)
GenerationRequest.__doc__ = "The body of a generation or a job; every field may be left out but one of `model`, `adapters` and `schedule`."


class UnreachableError(Exception):
    """No server answers, what answers is no adapterd, or an answer was cut off."""


class StatusError(Exception):
    """The server refused a request: its sentence, and what its error says beside it (`param` is the field at fault)."""

    def __init__(self, status: int | None, error: dict[str, Any], retry_after: float | None = None) -> None:
        super().__init__(error["message"])
        # None in a stream, which had begun with 200.
        self.status, self.retry_after = status, retry_after
        self.type: str = error["type"]
        self.code: str = error["code"]
        self.param: str | None = error["param"]


@dataclass(frozen=True)
class Response:
    """An answer of any status. The names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Image:
    """One picture: PNG bytes, and what makes it again."""

    png: bytes = field(repr=False)
    index: int
    seed: int
    class_name: str
    sha256: str

    @classmethod
    def of(cls, item: dict[str, Any]) -> Image:
        return cls(base64.b64decode(item["b64_json"]), item["index"], item["seed"], item["class"], item["sha256"])


@dataclass(frozen=True)
class Generation:
    """The pictures of one request, and the reply's `x_difffit`: digests that ran, and times."""

    images: list[Image]
    size: str
    usage: dict[str, Any]

    @classmethod
    def of(cls, reply: dict[str, Any]) -> Generation:
        return cls([Image.of(item) for item in reply["data"]], reply["size"], reply["x_difffit"])


@dataclass(frozen=True)
class Event:
    """One server-sent event, such as `image_generation.progress` and its fields."""

    name: str
    data: dict[str, Any]

    @property
    def image(self) -> Image | None:
        """The picture of an `image_generation.completed`."""
        return Image.of(self.data) if self.name == "image_generation.completed" else None


class Client:
    """One connection to a server: `address` is its socket's path, or `http://127.0.0.1:8080` or `https://...` with a token."""

    def __init__(self, address: str, *, token: str | None = None, timeout: float = TIMEOUT, context: ssl.SSLContext | None = None) -> None:
        self.address, self.token, self.timeout, self.context = address, token, timeout, context
        url = urlsplit(address)
        if url.scheme == "https" and url.hostname:
            self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(url.hostname, url.port, timeout=timeout, context=context)
        elif url.scheme == "http" and url.hostname:
            self._connection = http.client.HTTPConnection(url.hostname, url.port, timeout=timeout)
        else:
            self._connection = _UnixConnection(address, timeout)

    def clone(self) -> Client:
        """The same server by a connection of its own, for another thread."""
        return Client(self.address, token=self.token, timeout=self.timeout, context=self.context)

    def close(self) -> None:
        """Ends the connection, and with it the request that waits on it; the next call opens another."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What to ask

    def generate(self, request: GenerationRequest) -> Generation:
        """Waits for the pictures."""
        return Generation.of(self.call("POST", "/v1/images/generations", request))

    def stream(self, request: GenerationRequest) -> Iterator[Event]:
        """Events as they come, from the place in the queue to the summary. Leaving the loop ends the request."""
        return self._events("POST", "/v1/images/generations", {**request, "stream": True})

    def start_job(self, request: GenerationRequest) -> dict[str, Any]:
        """A job is not its connection's: its `id` asks for it again."""
        return self.call("POST", "/v1/jobs", request)

    def jobs(self) -> list[dict[str, Any]]:
        """The caller's own, newest first, without their pictures."""
        return list(self.call("GET", "/v1/jobs")["data"])

    def job(self, job: str) -> dict[str, Any]:
        return self.call("GET", f"/v1/jobs/{_part(job)}")

    def job_events(self, job: str) -> Iterator[Event]:
        """From the job's start, however late one asks. Leaving the loop does not end the job."""
        return self._events("GET", f"/v1/jobs/{_part(job)}/events")

    def cancel_job(self, job: str) -> dict[str, Any]:
        return self.call("DELETE", f"/v1/jobs/{_part(job)}")

    def finished(self, job: str) -> Generation:
        """Waits until a job has ended."""
        for _ in self.job_events(job):
            pass
        return Generation.of(self.job(job)["result"])

    def capabilities(self) -> dict[str, Any]:
        return self.call("GET", "/v1/capabilities")

    def models(self) -> list[dict[str, Any]]:
        return list(self.call("GET", "/v1/models")["data"])

    def adapters(self) -> list[dict[str, Any]]:
        return list(self.call("GET", "/v1/adapters")["adapters"])

    def adapter(self, reference: str) -> dict[str, Any]:
        return self.call("GET", f"/v1/adapters/{_part(reference)}")

    def recipe(self, text: str) -> dict[str, Any]:
        """A name or a recipe as the server understands it now, with full digests."""
        return self.call("GET", f"/v1/recipes/{_part(text)}")

    def ready(self) -> dict[str, Any]:
        """Answered by the engine itself; a StatusError of 503 where it is not ready."""
        return self.call("GET", "/readyz")

    def metric(self, name: str) -> float:
        """The sum of one metric over its labels."""
        lines = self._checked(self.request("GET", "/metrics")).body.decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name)

    # How

    def call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """The JSON of an answer; a StatusError where it is a refusal."""
        response = self._checked(self.request(method, path, body))
        try:
            reply: dict[str, Any] = response.json()
        except ValueError:
            raise UnreachableError(f"what answers at '{self.address}' is no adapterd") from None
        return reply

    def request(self, method: str, path: str, body: Any = None) -> Response:
        """The whole answer, whatever its status."""
        self.send(method, path, body)
        try:
            response = self._connection.getresponse()
            return Response(response.status, _headers(response), response.read())
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None

    def send(self, method: str, path: str, body: Any = None) -> None:
        """Sends a request and leaves its answer unread; `close` then abandons it."""
        headers = {"content-type": "application/json"}
        if self.token is not None:
            headers["authorization"] = f"Bearer {self.token}"
        try:
            if self._connection.sock is not None and select.select([self._connection.sock], [], [], 0)[0]:
                # Nothing was asked, so what there is to read is the end: the server has closed a connection that was idle for long.
                self.close()
            self._connection.request(method, path, None if body is None else json.dumps(body), headers)
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None

    def _events(self, method: str, path: str, body: Any = None) -> Iterator[Event]:
        self.send(method, path, body)
        is_whole = False
        try:
            response = self._connection.getresponse()
            if response.status >= http.HTTPStatus.BAD_REQUEST:
                self._checked(Response(response.status, _headers(response), response.read()))
            name = ""
            for line in response:
                key, _, value = line.decode().rstrip("\n").partition(": ")
                if key == "event":
                    name = value
                elif key == "data":
                    event = Event(name, json.loads(value))
                    if name == "error":
                        raise StatusError(None, event.data["error"])
                    yield event
                    is_whole = name == "image_generation.summary"
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._unreachable(error) from None
        finally:
            if not is_whole:
                self.close()
        if not is_whole:
            raise UnreachableError(f"the stream from '{self.address}' was cut off")

    def _checked(self, response: Response) -> Response:
        if response.status < http.HTTPStatus.BAD_REQUEST:
            return response
        try:
            error = response.json()["error"]
            wait = response.headers.get("retry-after")
            refusal = StatusError(response.status, error, float(wait) if wait else None)
        except (ValueError, KeyError, TypeError):
            raise UnreachableError(f"what answers at '{self.address}' is no adapterd: status {response.status}") from None
        raise refusal

    def _unreachable(self, error: Exception) -> UnreachableError:
        self.close()
        return UnreachableError(f"no server answers at '{self.address}': {error}")


def wait_until_ready(client: Client, process: subprocess.Popen[Any]) -> None:
    """Until the server that `process` runs is ready; a large base takes long to load, so it is waited for as long as it lives."""
    while True:
        if process.poll() is not None:
            raise UnreachableError(f"adapterd ended with {process.returncode}; what it said stands above")
        try:
            client.ready()
        except (UnreachableError, StatusError):
            time.sleep(0.05)
        else:
            return


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _headers(response: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.getheaders()}


def _part(text: str) -> str:
    """Text as one part of a path, whatever stands in it."""
    return quote(text, safe="", errors="surrogatepass")
