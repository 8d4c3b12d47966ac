"""Holds documents.py to what the API server's own reader made of the same documents, and to its bounds.

Prints a line a failure and the count.
"""

import json
import pathlib
import sys

import yaml

sys.dont_write_bytecode = True
here = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(here.parent))
import documents

# What `sigs.k8s.io/yaml` printed of each document; null where it refused.
ORACLE = here / "../../../xtask/src/base/formats/sigs-yaml.json"
# What is refused beyond the oracle, and why.
REFUSED = {
    "a: 1\nb: 2\na: 1\n": "line 3: key `a` stands twice",
    "base: &base {a: 1}\none: {<<: *base, a: 2}": "key `a` stands twice, once through `<<`",
    "a: " + "[" * 200: "nested deeper than 128 levels",
    "- " * 100_000: "nested deeper than 128 levels",
    "a: &a [*a]": "refers to nothing, or to the value it stands in",
    "a: .inf": "JSON does not have",
    "1.5: a": "quote it",
    "a: !!binary aGk=": "does not fit its tag",
    "a0: &a0 [" + "lol, " * 9 + "]\n" + "".join(f"a{n}: &a{n} [" + f"*a{n - 1}, " * 9 + "]\n" for n in range(1, 12)): "aliases make the document too large",
}


def read(text, exact=True):
    """The documents of a text, or why there are none."""
    try:
        return list(documents.Reader(text.removeprefix("\ufeff"), exact).documents())
    except (documents.Wrong, yaml.YAMLError) as error:
        return str(error)


def failures():
    """Every text that is not read as it should be."""
    oracle = json.loads(ORACLE.read_text(encoding="utf-8"))
    assert len(oracle) > 390
    for text, expected in oracle:
        found = read(text)
        one = isinstance(found, list) and len(found) == 1
        if one != (expected is not None) or (one and found[0] != json.loads(expected)):
            yield f"{text!r}: {found} instead of {expected}"
    for text, why in REFUSED.items():
        if why not in str(read(text)):
            yield f"{text[:60]!r}: {read(text)!s:.200} instead of {why}"
    if read("---\n---\na: 1\r\n---\n# nothing\n...\n---\nb: 1.0\n") != [{"a": 1}, {"b": 1}]:
        yield "empty documents are not left out"
    # jq 1.6 knows doubles only.
    if "jq 1.7" not in str(read("a: 9223372036854775807", exact=False)) or read("a: 4096", exact=False) != [{"a": 4096}]:
        yield "a number that jq would round is not refused"


wrong = list(failures())
print("\n".join(wrong + [f"{len(REFUSED) + 397} readings, {len(wrong)} wrong"]))
sys.exit(1 if wrong else 0)
