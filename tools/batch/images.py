"""What is to be made: every image of a run as one request body, in the order of its global index."""

import csv
import json
import random
import sys
from dataclasses import dataclass


class Wrong(Exception):
    """Bad input, said so that it can be put right."""


@dataclass
class Image:
    """Image `index` of the whole run, whatever the shard."""

    index: int
    id: str
    body: dict


def interval(text: str) -> list[float]:
    """Two noise levels, as a table has them: 0.2 0.8."""
    low, high = text.replace(",", " ").split()
    return [float(low), float(high)]


READERS = {
    "n": int, "seed": int, "index_offset": int, "steps": int, "guidance_scale": float, "guidance_interval": interval, "strength": float,
    "deadline_ms": int,
}
# What a table can not hold stands in JSONL alone.
FIELDS = set(READERS) | {"id", "model", "adapters", "schedule", "class", "prompt", "sampler", "guidance", "labels_from", "cache", "user"}


def defaults(options) -> dict:
    names = ["steps", "sampler", "guidance", "guidance_scale", "strength", "cache"]
    given = {name: getattr(options, name) for name in names}
    return {key: value for key, value in given.items() if value is not None} | ({"metadata": False} if options.no_metadata else {})


def images_of_file(path: str, options) -> list[Image]:
    """Every request of a file, `n` images each."""
    if path == "-":
        requests = jsonl((line.lstrip("\ufeff") for line in sys.stdin), "standard input")
    else:
        try:
            # Spreadsheets and editors put a byte order mark before the text.
            with open(path, newline="", encoding="utf-8-sig") as file:
                requests = list(table(file, path) if path.lower().endswith(".csv") else jsonl(file, path))
        except UnicodeDecodeError as error:
            raise Wrong(f"'{path}' is not UTF-8 text (byte {error.start}): save it as UTF-8") from None
        except FileNotFoundError:
            raise Wrong(f"there is no file '{path}'") from None
    images: list[Image] = []
    for where, request in requests:
        unknown = sorted(set(request) - FIELDS)
        if unknown:
            raise Wrong(f"{where}: there is no field '{unknown[0]}'; known are {', '.join(sorted(FIELDS))}")
        request = with_recipe(where, request)
        count, id = request.pop("n", 1), str(request.pop("id", ""))
        if not isinstance(count, int) or count < 1:
            raise Wrong(f"{where}: 'n' is a whole number from 1, not {count!r}")
        for k in range(count):
            index = len(images)
            body = defaults(options) | request | {"n": 1}
            # With a seed of its own a request counts its images; without, the run's seed and the global index tell them apart.
            body["index_offset"] = request.get("index_offset", 0) + k if "seed" in request else index
            body.setdefault("seed", options.seed)
            images.append(Image(index, id or str(where).split()[-1], body))
    if not images:
        raise Wrong(f"'{path}' holds no request")
    return images


def with_recipe(where: str, request: dict) -> dict:
    """The request with its `adapters` or `schedule` written as one recipe in `model`."""
    forms = [name for name in ("model", "adapters", "schedule") if request.get(name) is not None]
    if len(forms) != 1:
        raise Wrong(f"{where}: 'model' is missing: the domain or recipe to sample" if not forms else f"{where}: give one of {', '.join(forms)}")
    try:
        if forms == ["adapters"]:
            terms = [f"{float(part.get('weight', 1))!r}*{part['name']}" for part in request["adapters"]]
            return {key: value for key, value in request.items() if key != "adapters"} | {"model": "+".join(terms) or "base"}
        if forms == ["schedule"]:
            shares, recipes = zip(*request["schedule"])
            if abs(sum(shares) - 1) > 1e-6:
                raise Wrong(f"{where}: the fractions of 'schedule' add up to {sum(shares)}, not to 1")
            starts = [sum(shares[: k + 1]) for k in range(len(shares) - 1)]
            return {key: value for key, value in request.items() if key != "schedule"} | {
                "model": recipes[0] + "".join(f">{start!r}>{recipe}" for start, recipe in zip(starts, recipes[1:]))}
    except (KeyError, TypeError, ValueError, AttributeError):
        example = '[{"name": "flowers", "weight": 0.7}]' if forms == ["adapters"] else '[[0.6, "flowers"], [0.4, "art"]]'
        raise Wrong(f"{where}: '{forms[0]}' reads {example}") from None
    return request


def jsonl(lines, name: str):
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            request = json.loads(line)
        except ValueError as error:
            raise Wrong(f"{name} line {number}: not JSON: {error}") from None
        if not isinstance(request, dict):
            raise Wrong(f"{name} line {number}: an object is wanted, such as {{\"model\": \"flowers\", \"class\": \"rose\"}}")
        yield f"{name} line {number}", request


def table(file, name: str):
    head = file.readline()
    file.seek(0)
    # Where the comma is the decimal sign, spreadsheets put semicolons between the columns.
    between = max(",;\t", key=head.count)
    for number, row in enumerate(csv.DictReader(file, delimiter=between), 2):
        request = {}
        for key, text in row.items():
            if key is None or text in (None, ""):
                continue
            try:
                request[key] = READERS.get(key, str)(text)
            except ValueError:
                raise Wrong(f"{name} line {number}: '{key}' is {'two noise levels, 0.2 0.8' if key == 'guidance_interval' else 'a number'}, not '{text}'") from None
        yield f"{name} line {number}", request


def images_of_adapter(server, options) -> list[Image]:
    """`--n-per-class`, or `--total` over the classes in turn or at random."""
    if (options.n_per_class or 1) < 1 or (options.total or 1) < 1:
        raise Wrong("--n-per-class and --total are at least 1")
    classes = server.recipe(options.adapter)["classes"]
    if options.n_per_class and not options.total:
        chosen = [name for name in classes for _ in range(options.n_per_class)]
    elif options.total and not options.n_per_class:
        dice = random.Random(options.seed)
        chosen = [dice.choice(classes) if options.classes == "random" else classes[k % len(classes)] for k in range(options.total)]
    else:
        raise Wrong("--adapter takes one of --n-per-class and --total, from 1")
    common = defaults(options) | {"model": options.adapter, "n": 1, "seed": options.seed}
    return [Image(k, name, common | {"class": name, "index_offset": k}) for k, name in enumerate(chosen)]
