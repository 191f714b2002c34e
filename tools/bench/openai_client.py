"""The stock OpenAI client library against adapterd over loopback TCP: it gets its models, its images and its errors.

Usage: python3 tools/bench/openai_client.py      (build first: swift build -c release; and: pip install openai)
Ends with a failed assertion where something is not as that library expects it.
"""

import base64
import os
import socket
import sys
import tempfile

sys.dont_write_bytecode = True

import openai

from adapterd import DOMAINS, Adapterd

TOKEN = "openai-client-check-token"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def refusal(call) -> openai.APIStatusError:
    try:
        call()
    except openai.APIStatusError as error:
        return error
    raise AssertionError("this should have been refused")


def main():
    port = free_port()
    with tempfile.NamedTemporaryFile(mode="w") as token:
        os.chmod(token.name, 0o600)
        token.write(TOKEN)
        token.flush()
        with Adapterd("--port", str(port), "--token-file", token.name) as server:
            client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=TOKEN, max_retries=0)
            assert [model.id for model in client.models.list()] == ["base", *DOMAINS]
            assert client.models.retrieve("flowers").id == "flowers" and client.models.retrieve("base").object == "model"

            result = client.images.generate(
                model="flowers", prompt="rose", n=3, size="32x32", response_format="b64_json", user="ann", extra_body={"seed": 5, "steps": 8}
            )
            pictures = [base64.b64decode(image.b64_json) for image in result.data]
            assert len(pictures) == 3 and all(picture.startswith(b"\x89PNG\r\n\x1a\n") for picture in pictures)
            assert len({image.sha256 for image in result.data}) == 3 and result.output_format == "png" and result.size == "32x32"
            assert result.x_difffit["effective_digest"] == client.models.retrieve("flowers").digest

            events = list(client.images.generate(model="flowers", prompt="rose", stream=True, partial_images=2, extra_body={"seed": 5, "steps": 8}))
            partial = [event for event in events if event.type == "image_generation.partial_image"]
            completed = [event for event in events if event.type == "image_generation.completed"]
            assert [event.partial_image_index for event in partial] == [0, 1] and base64.b64decode(completed[0].b64_json) == pictures[0]

            wrong = refusal(lambda: client.images.generate(model="flowrs", prompt="rose"))
            assert isinstance(wrong, openai.NotFoundError) and wrong.code == "adapter_not_found" and "flowers" in wrong.message
            wrong = refusal(lambda: client.images.generate(model="flowers", prompt="rosse"))
            assert isinstance(wrong, openai.BadRequestError) and wrong.param in ("class", "prompt")
            wrong = refusal(lambda: client.images.generate(model="flowers", prompt="rose", response_format="url"))
            assert isinstance(wrong, openai.BadRequestError) and wrong.param == "response_format"
            wrong = refusal(client.with_options(api_key="wrong").models.list)
            assert isinstance(wrong, openai.AuthenticationError)
            assert TOKEN not in str(wrong) and server.process.poll() is None
    print(f"openai {openai.__version__}: models, images, stream and errors arrive as its library expects them")


main()
