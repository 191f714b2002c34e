"""What is to be made: every image of a run as one request body, in the order of its global index."""

import csv
import difflib
import io
import json
import math
import random
import re
import sys
from dataclasses import dataclass

from difffit import GenerationRequest


class InputError(Exception):
    """Bad input, said so that it can be put right."""


@dataclass
class Image:
    """Image `index` of the whole run, whatever the shard."""

    index: int
    id: str
    body: dict


def whole(text: str) -> int:
    """Also 3.0, as tables have it where a column has gaps."""
    try:
        return int(text)
    except ValueError:
        number = real(text)
        if not number.is_integer() or abs(number) > 2**53:
            raise
        return int(number)


def real(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def interval(text: str) -> list[float]:
    """Two noise levels, as a table has them: 0.2 0.8."""
    low, high = text.split() if len(text.split()) == 2 else text.split(",")
    return [real(level.strip().rstrip(",").replace(",", ".")) for level in (low, high)]


# What a run settles for all its images, and what is only for who looks at one answer.
NOT_OF_AN_IMAGE = {"metadata", "stream", "partial_images", "size", "response_format", "output_format", "output_compression"}
NOT_OF_AN_IMAGE |= {"quality", "background", "moderation", "style"}
KINDS = {name: kind for name, kind in GenerationRequest.__annotations__.items() if name not in NOT_OF_AN_IMAGE}
READER_OF = {int: whole, float: real, list[float]: interval}
READERS = {name: READER_OF[kind] for name, kind in KINDS.items() if kind in READER_OF}
TEXTS = {name for name, kind in KINDS.items() if kind is str}
# `adapters` and `schedule`, which a table can not hold, stand in JSONL alone.
FIELDS = set(KINDS) | {"id"}


def defaults(options) -> dict:
    names = ["steps", "sampler", "guidance", "guidance_scale", "strength", "cache", "decoder"]
    given = {name: getattr(options, name) for name in names}
    return {key: value for key, value in given.items() if value is not None} | ({"metadata": False} if options.no_metadata else {})


def images_of_file(path: str, options) -> list[Image]:
    """Every request of a file, `n` images each."""
    name = "standard input" if path == "-" else path
    try:
        # Spreadsheets and editors put a byte order mark before the text.
        with io.TextIOWrapper(sys.stdin.buffer if path == "-" else open(path, "rb"), newline="", encoding="utf-8-sig") as file:
            requests = list(table(file, name) if path.lower().endswith((".csv", ".tsv")) else jsonl(file, name))
    except UnicodeDecodeError as error:
        raise InputError(f"'{name}' is not UTF-8 text (byte {error.start}): save it as UTF-8") from None
    except FileNotFoundError:
        raise InputError(f"there is no file '{path}'") from None
    images: list[Image] = []
    for where, written in requests:
        check(where, written)
        request = with_recipe(where, written)
        count, name_of_request = request.pop("n", 1), str(request.pop("id", ""))
        if count < 1:
            raise InputError(f"{where}: 'n' is a whole number from 1, not {count!r}")
        for k in range(count):
            index = len(images)
            body = defaults(options) | request | {"n": 1}
            # With a seed of its own a request counts its images; without, the run's seed and the global index tell them apart.
            body["index_offset"] = request.get("index_offset", 0) + k if "seed" in request else index
            body.setdefault("seed", options.seed)
            images.append(Image(index, name_of_request or str(where).split()[-1], body))
    if not images:
        raise InputError(f"'{name}' holds no request")
    return images


def check_names(where: str, names: list[str]):
    """Only fields, each once."""
    for name in names:
        if name not in FIELDS:
            near = difflib.get_close_matches(name, sorted(FIELDS), 1)
            raise InputError(f"{where}: there is no field '{name}'; " + (f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(FIELDS))}"))
        if names.count(name) > 1:
            raise InputError(f"{where}: '{name}' stands there twice")


def check(where: str, request: dict):
    """Fields of their kinds; what a value may be is the server's to say."""
    check_names(where, list(request))
    for key, value in request.items():
        if READERS.get(key) is whole and type(value) is not int:
            raise InputError(f"{where}: '{key}' is a whole number, not {value!r}")
        if READERS.get(key) is real and type(value) not in (int, float):
            raise InputError(f"{where}: '{key}' is a number, not {value!r}")
        if key in TEXTS and not isinstance(value, str):
            raise InputError(f"{where}: '{key}' is a text, not {value!r}")
        if key == "model" and not value.strip():
            raise InputError(f"{where}: 'model' is empty: the domain or recipe to sample")


def with_recipe(where: str, request: dict) -> dict:
    """The request with its `adapters` or `schedule` written as one recipe in `model`."""
    forms = [name for name in ("model", "adapters", "schedule") if request.get(name) is not None]
    if len(forms) != 1:
        raise InputError(f"{where}: 'model' is missing: the domain or recipe to sample" if not forms else f"{where}: give one of {', '.join(forms)}")
    try:
        if forms == ["adapters"]:
            terms = [f"{real(part.get('weight', 1))!r}*{part['name'].strip()}" for part in request["adapters"]]
            return {key: value for key, value in request.items() if key != "adapters"} | {"model": "+".join(terms) or "base"}
        if forms == ["schedule"]:
            shares, recipes = zip(*request["schedule"], strict=True)
            recipes = [recipe.strip() for recipe in recipes]
            if abs(sum(shares) - 1) > 1e-6:
                raise InputError(f"{where}: the fractions of 'schedule' add up to {sum(shares)}, not to 1")
            starts = [sum(shares[: k + 1]) for k in range(len(shares) - 1)]
            return {key: value for key, value in request.items() if key != "schedule"} | {
                "model": recipes[0] + "".join(f">{start!r}>{recipe}" for start, recipe in zip(starts, recipes[1:], strict=True))
            }
    except (KeyError, TypeError, ValueError, AttributeError):
        example = '[{"name": "flowers", "weight": 0.7}]' if forms == ["adapters"] else '[[0.6, "flowers"], [0.4, "art"]]'
        raise InputError(f"{where}: '{forms[0]}' reads {example}") from None
    return request


def jsonl(lines, name: str):
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            request = json.loads(line, object_pairs_hook=once, parse_constant=no_number)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{name} line {number}: not JSON: {error}") from None
        if not isinstance(request, dict):
            raise InputError(f'{name} line {number}: an object is wanted, such as {{"model": "flowers", "class": "rose"}}')
        # A null is a field that was not given.
        yield f"{name} line {number}", {key: value for key, value in request.items() if value is not None}


def once(pairs: list) -> dict:
    """An object whose keys are all different."""
    keys = [key for key, _ in pairs]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise ValueError(f"'{twice}' stands there twice")
    return dict(pairs)


def no_number(text: str):
    raise ValueError(f"{text} is no number")


def table(file, name: str):
    """Rows under the names in the first line that is not empty."""
    lines = list(file)
    first = next((k for k, line in enumerate(lines) if line.strip()), len(lines))
    # Excel says first what stands between the columns.
    said = re.fullmatch('"?sep=(.)"?[\r\n]*', lines[first], re.IGNORECASE) if lines[first:] else None
    first += said is not None
    # Where the comma is the decimal sign, spreadsheets put semicolons between the columns.
    between = said[1] if said else max(",;\t", key=lines[first].count) if lines[first:] else ","
    reader = csv.reader(lines[first:], delimiter=between, strict=True, skipinitialspace=True)
    try:
        names = [cell.strip().lower() for cell in next(reader, [])]
        check_names(f"{name} line {first + 1}", [key for key in names if key])
        for row in reader:
            where, cells = f"{name} line {first + reader.line_num}", [cell.strip() for cell in row]
            request = {}
            for column, text in enumerate(cells, 1):
                if not text:
                    continue
                if column > len(names):
                    raise InputError(f"{where}: {len(cells)} cells under {len(names)} names; a cell that holds '{between}' stands in double quotes")
                key = names[column - 1]
                if not key:
                    raise InputError(f"{where}: column {column} has no name in the first line")
                try:
                    request[key] = READERS.get(key, str)(decimal(text) if between != "," and READERS.get(key) in (whole, real) else text)
                except ValueError:
                    kind = "two noise levels, 0.2 0.8" if key == "guidance_interval" else "a whole number" if READERS[key] is whole else "a number"
                    raise InputError(f"{where}: '{key}' is {kind}, not '{text}'") from None
            # Spreadsheets leave rows of nothing but separators.
            if request:
                yield where, request
    except csv.Error as error:
        raise InputError(f"{name} line {first + reader.line_num}: {error}") from None


def decimal(text: str) -> str:
    """A number with a comma for its decimal sign, as others have it."""
    return text.replace(",", ".") if text.count(",") == 1 and "." not in text else text


def images_of_adapter(server, options) -> list[Image]:
    """`--n-per-class`, or `--total` over the classes in turn or at random."""
    if (options.n_per_class or 1) < 1 or (options.total or 1) < 1:
        raise InputError("--n-per-class and --total are at least 1")
    classes = server.recipe(options.adapter)["classes"]
    if options.n_per_class and not options.total:
        chosen = [name for name in classes for _ in range(options.n_per_class)]
    elif options.total and not options.n_per_class:
        dice = random.Random(options.seed)
        chosen = [dice.choice(classes) if options.classes == "random" else classes[k % len(classes)] for k in range(options.total)]
    else:
        raise InputError("--adapter takes one of --n-per-class and --total, from 1")
    common = defaults(options) | {"model": options.adapter, "n": 1, "seed": options.seed}
    return [Image(k, name, common | {"class": name, "index_offset": k}) for k, name in enumerate(chosen)]
