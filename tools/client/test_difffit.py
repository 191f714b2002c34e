"""The client against a running server and against what is none: python3 tools/client/test_difffit.py SOCKET (a store with flowers and birds)."""

import hashlib
import io
import json
import socket
import sys
import tempfile
import threading
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

from difffit import Client, GenerationRequest, StatusError, UnreachableError

ROSE: GenerationRequest = {"model": "flowers", "class": "rose", "seed": 1, "steps": 2}
# Set from the command line.
SOCKET = ""


class Served(unittest.TestCase):
    def setUp(self) -> None:
        self.client = Client(SOCKET)
        self.addCleanup(self.client.close)

    def test_pictures_come_with_what_makes_them_again(self) -> None:
        generation = self.client.generate({**ROSE, "n": 2})
        self.assertEqual([image.index for image in generation.images], [0, 1])
        for image in generation.images:
            self.assertEqual(hashlib.sha256(image.png).hexdigest(), image.sha256)
            self.assertEqual((image.class_name, image.seed), ("rose", 1))
        [again] = self.client.generate({**ROSE, "index_offset": 1}).images
        self.assertEqual(again, generation.images[1])
        self.assertEqual(generation.size, "32x32")
        self.assertEqual(generation.usage["effective_digest"], self.client.recipe("flowers")["digest"])

    def test_a_stream_is_the_same_pictures(self) -> None:
        events = list(self.client.stream({**ROSE, "partial_images": 1}))
        self.assertEqual(events[-1].name, "image_generation.summary")
        [image] = [event.image for event in events if event.image]
        self.assertEqual([image], self.client.generate(ROSE).images)
        self.assertIn("image_generation.partial_image", {event.name for event in events})

    def test_leaving_a_stream_leaves_a_usable_client(self) -> None:
        for event in self.client.stream({**ROSE, "steps": 1000}):
            self.assertTrue(event.name.startswith("image_generation."))
            break
        self.client.send("POST", "/v1/images/generations", {**ROSE, "steps": 1000})
        self.client.close()
        self.assertEqual(len(self.client.generate(ROSE).images), 1)

    def test_jobs_outlive_the_connection(self) -> None:
        job = self.client.start_job(ROSE)["id"]
        self.client.close()
        self.assertEqual(self.client.finished(job).images, self.client.generate(ROSE).images)
        self.assertEqual(self.client.job(job)["status"], "completed")
        self.assertIn(job, [entry["id"] for entry in self.client.jobs()])
        with self.assertRaises(StatusError) as ended:
            self.client.cancel_job(job)
        self.assertEqual(ended.exception.code, "job_ended")
        running = self.client.start_job({**ROSE, "n": 8, "steps": 1000})["id"]
        self.assertEqual(self.client.cancel_job(running)["id"], running)
        with self.assertRaises(StatusError) as cancelled:
            self.client.finished(running)
        self.assertEqual((cancelled.exception.code, cancelled.exception.status), ("cancelled", None))

    def test_refusals_are_the_servers_sentences(self) -> None:
        with self.assertRaises(StatusError) as unknown:
            self.client.generate({"model": "flowrs", "class": "rose"})
        self.assertEqual((unknown.exception.status, unknown.exception.code, unknown.exception.param), (404, "adapter_not_found", "model"))
        self.assertIn("flowers", str(unknown.exception))
        with self.assertRaises(StatusError) as early:
            next(self.client.stream({**ROSE, "steps": -1}))
        self.assertEqual((early.exception.status, early.exception.param), (400, "steps"))
        self.assertEqual(self.client.request("GET", "/v1/nothing").status, 404)

    def test_what_there_is_can_be_asked(self) -> None:
        self.assertEqual(self.client.ready()["status"], "ready")
        self.assertIn(self.client.capabilities()["defaults"]["sampler"], self.client.capabilities()["samplers"])
        self.assertEqual({model["id"] for model in self.client.models()}, {"base", "birds", "flowers"})
        [flowers] = [adapter for adapter in self.client.adapters() if adapter["name"] == "flowers"]
        self.assertEqual(self.client.adapter("flowers"), flowers)
        self.assertIn("flowers/" + flowers["classes"][0], self.client.recipe("0.7*flowers+0.3*birds")["classes"])
        before = self.client.metric("difffit_images_total")
        self.client.generate(ROSE)
        self.assertGreater(self.client.metric("difffit_images_total"), before)

    def test_every_thread_has_its_own_connection(self) -> None:
        found = {}

        def make(index: int) -> None:
            with self.client.clone() as client:
                found[index] = client.generate({**ROSE, "index_offset": index}).images[0]

        threads = [threading.Thread(target=make, args=(index,)) for index in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([found[index] for index in range(4)], self.client.generate({**ROSE, "n": 4}).images)


class Unserved(unittest.TestCase):
    """One scripted answer over a socket of the test's own."""

    def answered(self, *answers: str) -> Client:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"{folder.name}/s")
        listener.listen()

        def serve() -> None:
            for answer in answers:
                connection, _ = listener.accept()
                with connection:
                    with connection.makefile("rb") as lines:
                        length = 0
                        while (line := lines.readline().strip().lower()) != b"":
                            length = int(line.removeprefix(b"content-length:")) if line.startswith(b"content-length:") else length
                        lines.read(length)
                    connection.sendall(answer.encode())
                self.closed.release()
            listener.close()

        self.closed = threading.Semaphore(0)
        thread = threading.Thread(target=serve)
        thread.start()
        self.addCleanup(thread.join)
        client = Client(f"{folder.name}/s")
        self.addCleanup(client.close)
        return client

    def test_nothing_there(self) -> None:
        with self.assertRaisesRegex(UnreachableError, "no server answers at '/nowhere/s': "):
            Client("/nowhere/s").ready()

    def test_another_kind_of_server(self) -> None:
        page = "HTTP/1.1 {}\r\ncontent-length: 6\r\n\r\n<html>"
        client = self.answered(page.format("200 OK"), page.format("502 Bad Gateway"))
        with self.assertRaisesRegex(UnreachableError, "is no adapterd$"):
            client.ready()
        client.close()
        with self.assertRaisesRegex(UnreachableError, "is no adapterd: status 502"):
            client.ready()

    def test_an_answer_that_is_cut_off(self) -> None:
        cut = 'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"status": '
        stream = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nevent: image_generation.queued\ndata: {}\n\n"
        client = self.answered(cut, stream)
        with self.assertRaises(UnreachableError):
            client.ready()
        with self.assertRaisesRegex(UnreachableError, "was cut off"):
            list(client.stream(ROSE))

    def test_a_connection_that_the_server_closed_is_opened_again(self) -> None:
        body = json.dumps({"status": "ready"})
        answer = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n{body}"
        client = self.answered(answer, answer)
        for _ in range(2):
            self.assertEqual(client.ready(), {"status": "ready"})
            self.closed.acquire()

    def test_how_long_to_wait(self) -> None:
        error = json.dumps({"error": {"message": "The queue is full.", "type": "rate_limit_error", "param": None, "code": "queue_full"}})
        client = self.answered(f"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\ncontent-length: {len(error)}\r\n\r\n{error}")
        with self.assertRaises(StatusError) as full:
            client.generate(ROSE)
        self.assertEqual((full.exception.retry_after, str(full.exception)), (7, "The queue is full."))


if __name__ == "__main__":
    SOCKET = sys.argv.pop(1)
    report = io.StringIO()
    program = unittest.main(exit=False, testRunner=unittest.TextTestRunner(report, verbosity=2))
    print(report.getvalue())
    sys.exit(not program.result.wasSuccessful())
