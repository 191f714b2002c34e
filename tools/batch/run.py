"""The folder of a run: images/, results.jsonl, run.json and samples.npz, always resumable."""

import hashlib
import json
import queue
import sys
import threading
import time
from pathlib import Path

from difffit import StatusError, UnreachableError
from files import replace
from images import InputError
from npz import write_npz

LONGEST_WAIT = 60


class Run:
    def __init__(self, folder, images, server, shard: int, shards: int, options):
        self.folder, self.server, self.options = Path(folder), server, options
        self.whole = len(images)
        self.images = [image for image in images if image.index % shards == shard]
        models = sorted({image.body["model"] for image in images})
        # Hashed as asked for, before names give way to digests.
        requests = hashlib.sha256(json.dumps([image.body for image in images], sort_keys=True).encode()).hexdigest()
        recipes = {model: server.recipe(model) for model in models}
        for image in self.images:
            # Bound to the content now: a name that moves during the run moves nothing here.
            image.body["model"] = recipes[image.body["model"]]["recipe"]
        capabilities = server.capabilities()
        self.facts = {
            "images": self.whole,
            "shard": shard + 1,
            "shards": shards,
            "adapters": {model: recipe["digest"] for model, recipe in recipes.items()},
            "base_digest": capabilities["base_digest"],
            "build": capabilities["build"],
            "requests_sha256": requests,
        }
        self.lock = threading.Lock()

    def path(self, index: int) -> Path:
        return self.folder / "images" / f"{index:06d}.png"

    def estimate(self) -> str:
        shard = f"this shard ({self.facts['shard']}/{self.facts['shards']})"
        return f"{len(self.images)} of {counted(self.whole, 'image')} in {shard}, {counted(len(self.facts['adapters']), 'domain')}, into {self.folder}"

    def open(self):
        """Makes the folder, or finds it to be of this very run."""
        if self.folder.exists() and not self.folder.is_dir():
            raise InputError(f"'{self.folder}' is no folder: name a new one, or that of a run to go on with")
        (self.folder / "images").mkdir(parents=True, exist_ok=True)
        file = self.folder / "run.json"
        # What no run made is nobody's to write over.
        if not file.exists() and not self.options.force and ((self.folder / "results.jsonl").exists() or any((self.folder / "images").iterdir())):
            raise InputError(f"'{self.folder}' holds images or results, but no '{file}' that says of which run: give another folder, or --force")
        if file.exists() and not self.options.force:
            known = facts(self.folder)
            for key, value in self.facts.items():
                if known.get(key) != value:
                    raise InputError(f"'{self.folder}' belongs to another run: its {key} is {known.get(key)}, not {value}; give another folder, or --force")
        replace(file, json.dumps(self.facts, indent=1, sort_keys=True).encode() + b"\n")
        self.results = recorded(self.folder)

    def is_done(self, image) -> bool:
        """There, and with the bytes that were recorded; a failed one counts as done until it is asked for again."""
        result = self.results.get(image.index)
        if result is None:
            return False
        if result.get("error"):
            return not self.options.retry_failed
        path = self.path(image.index)
        return path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == result["sha256"]

    def generate(self, is_stopped) -> int:
        """Makes what is missing. Returns how many images of this shard failed, now or before."""
        missing = [image for image in self.images if not self.is_done(image)]
        asked = {image.index for image in missing}
        before = [image.index for image in self.images if image.index not in asked and self.results[image.index].get("error")]
        waiting: queue.SimpleQueue = queue.SimpleQueue()
        for image in missing:
            waiting.put(image)
        self.progress = Progress(len(missing), len(self.images) - len(missing), self.options.json_progress)
        self.failure = None
        with open(self.folder / "results.jsonl", "a", encoding="utf-8") as log:
            workers = [threading.Thread(target=self.work, args=(waiting, log, is_stopped)) for _ in range(min(self.options.in_flight, len(missing)))]
            for worker in workers:
                worker.start()
            # Joined in short waits, so that signals are seen.
            for worker in workers:
                while worker.is_alive():
                    worker.join(0.2)
        self.progress.finish()
        if self.failure:
            raise self.failure
        now = [index for index in sorted(asked) if self.results.get(index, {}).get("error")]
        self.tell("failed", now)
        self.tell("failed in an earlier call and not tried again (--retry-failed)", before)
        return len(now) + len(before)

    def tell(self, what: str, indices: list[int]):
        """The failures, by their reasons."""
        if not indices:
            return
        print(f"{counted(len(indices), 'image')} {what}:", file=sys.stderr)
        reasons: dict[str, list[int]] = {}
        for index in indices:
            reasons.setdefault(self.results[index]["error"], []).append(index)
        for reason, those in list(reasons.items())[:10]:
            ids = ", ".join(str(self.results[index].get("id") or index) for index in those[:5])
            print(f"  {reason} ({ids}{f' and {len(those) - 5} more' if len(those) > 5 else ''})", file=sys.stderr)
        if len(reasons) > 10:
            print(f"  and {len(reasons) - 10} more reasons, in {self.folder / 'results.jsonl'}", file=sys.stderr)

    def work(self, waiting, log, is_stopped):
        client = self.server.clone()
        while not is_stopped() and not self.failure:
            try:
                image = waiting.get_nowait()
            except queue.Empty:
                return
            # A full disk ends the run as a server that is gone does: every image after it would meet the same.
            try:
                result = self.make(client, image, is_stopped)
                if result is None:
                    return
                with self.lock:
                    self.results[image.index] = result
                    log.write(json.dumps(result, sort_keys=True) + "\n")
                    log.flush()
                    self.progress.step(bool(result.get("error")))
            except (UnreachableError, OSError) as error:
                self.failure = error
                return

    def make(self, client, image, is_stopped) -> dict | None:
        """One image on disk, and its record; nil where the run was stopped while the line was full."""
        start = time.monotonic()
        record = {"id": image.id, "index": image.index, "class": image.body.get("class", image.body.get("prompt"))}
        while True:
            try:
                generation = client.generate(image.body)
                break
            except StatusError as error:
                if error.status not in (429, 503):
                    return record | {"error": str(error), "status": error.status}
                if is_stopped():
                    return None
                time.sleep(min(error.retry_after or 1, LONGEST_WAIT))
        [picture] = generation.images
        replace(self.path(image.index), picture.png)
        return record | {
            "adapter": generation.usage["effective_digest"],
            "class": picture.class_name,
            "seed": picture.seed,
            "index_offset": picture.index,
            "sha256": hashlib.sha256(picture.png).hexdigest(),
            "ms": round((time.monotonic() - start) * 1e3),
        }

    def write_npz(self):
        if not self.images:
            return
        indices = [image.index for image in self.images]
        classes = [self.results[index]["class"] for index in indices]
        write_npz(self.folder / "samples.npz", [self.path(index) for index in indices], classes)


def facts(folder: Path) -> dict:
    """What the run in a folder is."""
    file = folder / "run.json"
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        if not all(type(known[key]) is int for key in ("images", "shard", "shards")):
            raise ValueError(file)
        return known
    except FileNotFoundError:
        raise InputError(f"'{folder}' holds no run: there is no '{file}'") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"'{file}' cannot be read as the facts of a run: give another folder") from None


def recorded(folder: Path) -> dict[int, dict]:
    """The last word on each image; a line cut off by a kill is passed over."""
    results = {}
    file = folder / "results.jsonl"
    for line in file.read_bytes().splitlines() if file.exists() else []:
        try:
            result = json.loads(line)
            results[result["index"]] = result
        except (ValueError, KeyError, TypeError):
            continue
    return results


def counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


class Progress:
    """Images a second and time left: a moving line on a terminal, else a line every five seconds."""

    def __init__(self, total: int, before: int, as_json: bool):
        self.total, self.before, self.as_json = total, before, as_json
        self.done = self.failed = 0
        self.start = self.last = time.monotonic()
        self.is_terminal = sys.stderr.isatty() and not as_json

    def step(self, failed: bool):
        self.done += 1
        self.failed += failed
        now = time.monotonic()
        if now - self.last >= (0.2 if self.is_terminal else 5):
            self.last = now
            self.show()

    def show(self):
        rate = self.done / max(time.monotonic() - self.start, 1e-9)
        left = (self.total - self.done) / max(rate, 1e-9)
        if self.as_json:
            facts = {"done": self.done, "total": self.total, "before": self.before, "failed": self.failed}
            text = json.dumps(facts | {"images_per_second": round(rate, 3), "seconds_left": round(left)})
        else:
            time_left = f"{int(left) // 60}:{int(left) % 60:02d} left"
            text = f"{self.done}/{counted(self.total, 'image')} ({self.before} before), {self.failed} failed, {rate:.2f} images/s, {time_left}"
        print(f"\r\033[K{text}" if self.is_terminal else text, end="" if self.is_terminal else "\n", file=sys.stderr, flush=True)

    def finish(self):
        self.show()
        if self.is_terminal:
            print(file=sys.stderr)
