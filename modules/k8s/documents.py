"""Reads YAML as the API server reads it, and prints each document as a line of JSON; empty documents are left out.

usage: documents.py [--exact] [FILE...]     (standard input without a FILE)
  --exact   whoever reads the JSON keeps integers above 2^53; without it they are refused, for jq 1.6 would round them

The API server turns YAML into JSON with go-yaml, which resolves plain scalars by rules of its own: `no` and `y` are
booleans, `0644` is 420, `1e3` is 1000, `12:30:45` and dates stay strings. Duplicate keys, also through `<<`, are
refused, and so is what would exhaust memory. xtask/src/golden/yaml.rs has the same rules; one list of documents that
the API server's own reader was asked about holds both.
"""

import json
import math
import re
import sys
from decimal import Decimal

import yaml

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# The depth that JSON's readers take.
DEPTH = 128
# What aliases may add to a text, in nodes and bytes.
ALIASED = 4 * 1024 * 1024
CORE = "tag:yaml.org,2002:"
BOOLEANS = {
    **dict.fromkeys(["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"], True),
    **dict.fromkeys(["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"], False),
}
NULLS = {"", "~", "null", "Null", "NULL"}
NOWHERE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
INTEGER = re.compile(r"([-+]?)(?:(0[xX][0-9a-fA-F]+)|(0[bB][01]+)|0[oO]([0-7]+)|0([0-7]+)|([1-9][0-9]*|0))")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


class Wrong(Exception):
    """What the API server would not take, and the line that says it."""

    def __init__(self, line, message):
        super().__init__(f"line {line}: {message}" if line else message)
        self.line = line


def whole(number):
    """A double that is whole as the integer that JSON shows: `1.0` is `1`, `1e20` has twenty zeros."""
    return int(Decimal(repr(number))) if number.is_integer() and abs(number) < 1e21 else number


def integer(text):
    """An integer in Go's notation, or None."""
    match = INTEGER.fullmatch(text)
    if not match:
        return None
    sign, hexadecimal, binary, octal, zero, decimal = match.groups()
    for digits, base in ((hexadecimal, 16), (binary, 2), (octal, 8), (zero, 8), (decimal, 10)):
        if digits is not None:
            value = int(digits, base)
            value = -value if sign == "-" else value
            return value if -(2**63) <= value < 2**64 else None
    return None


def plain(text, line):
    """What a scalar without quotes means."""
    if text in NULLS:
        return None
    if text in BOOLEANS:
        return BOOLEANS[text]
    if NOWHERE.fullmatch(text):
        raise Wrong(line, f"`{text}` is a number that JSON does not have")
    if text[0] not in "+-.0123456789":
        return text
    bare = text.replace("_", "")
    number = None if text[0] == "." else integer(bare)
    if number is None and FLOAT.fullmatch(bare):
        number = float(bare)
        # What is too large for a double stays the text that it was.
        number = None if math.isinf(number) else whole(number)
    return text if number is None else number


class Reader:
    """The documents of one text."""

    def __init__(self, text, exact):
        self.events = yaml.parse(text, Loader=LOADER)
        self.exact = exact
        self.anchors = {}
        self.aliased = 0

    def documents(self):
        """Every document that is not empty."""
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                # Anchors do not outlive their document.
                self.anchors.clear()
                value, _ = self.value(next(self.events), 0)
                if value is not None:
                    yield value

    def value(self, event, depth):
        """The value that begins with this event, and its weight in nodes and bytes."""
        line = event.start_mark.line + 1
        if depth >= DEPTH:
            raise Wrong(line, f"nested deeper than {DEPTH} levels")
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                raise Wrong(line, f"the alias `{event.anchor}` refers to nothing, or to the value it stands in")
            value, weight = self.anchors[event.anchor]
            self.add(weight, line)
            return value, weight
        if isinstance(event, yaml.ScalarEvent):
            value, weight = self.scalar(event, line), 1 + len(event.value)
        elif isinstance(event, yaml.SequenceStartEvent):
            refuse_tag(event, "seq", line)
            value, weight = [], 1
            for inner in iter(lambda: next(self.events), None):
                if isinstance(inner, yaml.SequenceEndEvent):
                    break
                item, more = self.value(inner, depth + 1)
                value.append(item)
                weight += more
        else:
            refuse_tag(event, "map", line)
            value, weight = self.mapping(depth, line)
        if event.anchor is not None:
            self.add(weight, line)
            self.anchors[event.anchor] = (value, weight)
        return value, weight

    def add(self, weight, line):
        """Counts what an anchor or alias adds."""
        self.aliased += weight
        if self.aliased > ALIASED:
            raise Wrong(line, "aliases make the document too large")

    def mapping(self, depth, line):
        """A mapping with what it merges."""
        result, merges, weight = {}, [], 1
        for event in iter(lambda: next(self.events), None):
            if isinstance(event, yaml.MappingEndEvent):
                break
            at = event.start_mark.line + 1
            merge = isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]
            key, more = self.value(event, depth + 1)
            name = key_of(key, at)
            value, inner = self.value(next(self.events), depth + 1)
            weight += more + inner
            if merge:
                merges.append((value, at))
            elif name in result:
                raise Wrong(at, f"key `{name}` stands twice")
            else:
                result[name] = value
        for merged, at in merges:
            for source in merged if isinstance(merged, list) else [merged]:
                if not isinstance(source, dict):
                    raise Wrong(at, "only a mapping can be merged with `<<`")
                for name, value in source.items():
                    if name in result:
                        raise Wrong(at, f"key `{name}` stands twice, once through `<<`")
                    result[name] = value
        return result, weight

    def scalar(self, event, line):
        """A scalar by its quotes, tag or text."""
        tag = event.tag
        if tag is None:
            value = plain(event.value, line) if event.implicit[0] and not event.style else event.value
        elif tag == CORE + "str" or tag.startswith("!"):
            # A tag of one's own means only that nothing is resolved.
            value = event.value
        else:
            value = plain(event.value, line)
            kinds = {
                CORE + "null": value is None,
                CORE + "bool": isinstance(value, bool),
                CORE + "int": isinstance(value, int) and not isinstance(value, bool),
                CORE + "float": isinstance(value, (int, float)) and not isinstance(value, bool),
            }
            if not kinds.get(tag):
                raise Wrong(line, f"`{event.value}` does not fit its tag `{tag}`")
        if isinstance(value, int) and not self.exact and whole(float(value)) != value:
            raise Wrong(line, f"jq 1.7 or newer is needed, older ones would round the number {value}")
        return value


def key_of(key, line):
    """A key as JSON has it: the text of a number or boolean."""
    if isinstance(key, str):
        return key
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, int) and key < 2**63:
        return str(key)
    if isinstance(key, (int, float)):
        raise Wrong(line, f"the key `{key}` is a number that is no integer of 64 bits, quote it")
    raise Wrong(line, "a key is null" if key is None else "a key is a list or a mapping")


def refuse_tag(event, own, line):
    """Tags for sets, binary data and the like."""
    if event.tag not in (None, "!", CORE + own):
        raise Wrong(line, f"tag `{event.tag}` is not taken here")


def source(text, line):
    """The template that rendered this line, as Helm notes it."""
    for above in reversed(text.split("\n")[:line]):
        if above.startswith("# Source: "):
            return f"{above[len('# Source: '):].strip()}: "
    return ""


def main(arguments):
    """Prints every document of every file."""
    exact = "--exact" in arguments
    files = [argument for argument in arguments if argument != "--exact"]
    for file in files or [None]:
        where = f"{file}: " if file else ""
        line, text = 0, ""
        try:
            with open(file, "rb") if file else sys.stdin.buffer as stream:
                text = stream.read().decode("utf-8").removeprefix("\ufeff")
            for document in Reader(text, exact).documents():
                print(json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")))
            continue
        except Wrong as wrong:
            line, message = wrong.line, str(wrong)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 0
            message = f"line {line}: {error.problem or error.context}"
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            message = str(error).replace("\n", " ")
        sys.exit(f"render: {where}{source(text, line)}{message}")


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")
    main(sys.argv[1:])
