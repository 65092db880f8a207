"""How Colonies v1 spells what we spell otherwise: every such word is here, and nowhere else.

They are understood and left out of the help. A list in one of their options is split at its commas,
as it was there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

NOUNS = {"keychain": "key"}
"""Nouns, and what we call them."""

PLACES = {"worker": "colonies.cli.worker"}
"""The module of a noun that is there for the reference's sake alone."""

VERBS = {
    "colony register": "add",
    "colony unregister": "rm",
    "cron delete": "rm",
    "generator delete": "rm",
    "key add": "import",
    "key generate": "new",
    "key get": "id",
    "process delete": "rm",
    "process deleteall": "rm --all",
    "process ps": "ls --state running",
    "process psf": "ls --state failed",
    "process pss": "ls --state success",
    "process psw": "ls --state waiting",
    "runtime register": "add",
    "runtime unregister": "rm",
    "server stat": "stats",
    "workflow delete": "rm",
    "workflow deleteall": "rm --all",
    "workflow ps": "ls --state running",
    "workflow psf": "ls --state failed",
    "workflow pss": "ls --state success",
    "workflow psw": "ls --state waiting",
}
"""Verbs, and the verb with options of the same noun that we have for them."""

GONE = {
    "database create": "a hub makes its tables when it starts",
    "database drop": "stop the hub, and drop its database as you drop any other",
    "database reset": "`colonies server reset`",
    "monitor start": "a hub gives its metrics at /metrics, on the port that it serves",
}
"""What is not there, and what there is instead."""

ANYWHERE = ""

HERE = "<here>"
"""The value is an argument: there is no option for it."""

NOTHING, NOTHING_WITH_VALUE = "<flag>", "<option>"
"""It has no meaning with us, and is passed over."""

OPTIONS: dict[str, dict[str, str]] = {
    ANYWHERE: {
        "--colonyprvkey": "$COLONIES_COLONYPRVKEY",
        "--runtimeprvkey": "$COLONIES_RUNTIMEPRVKEY",
        "--serverprvkey": "$COLONIES_SERVERPRVKEY",
        "--skip-tls-verify": "--no-tls-verify",
    },
    "attribute get": {"--attributeid": HERE},
    "cron get": {"--cronid": HERE},
    "cron rm": {"--cronid": HERE},
    "cron run": {"--cronid": HERE},
    "generator get": {"--generatorid": HERE},
    "generator pack": {"--generatorid": HERE, "--arg": HERE},
    "generator rm": {"--generatorid": HERE},
    "key id": {"--id": HERE},
    "process close": {"-p": HERE, "--processid": HERE},
    "process fail": {"-p": HERE, "--processid": HERE, "--errors": "--error"},
    "process get": {"-p": HERE, "--processid": HERE, "--out": "--output"},
    "process rm": {"--processid": HERE},
    "process run": {
        "--func": HERE,
        "--args": HERE,
        "--maxexectime": "--max-exec-time",
        "--maxretries": "--max-retries",
        "--maxwaittime": "--max-wait-time",
        "--targetid": "--only",
        "--targettype": "--type",
    },
    "runtime resolve": {"--targetname": HERE},
    "server start": {
        "--dbhost": "$COLONIES_DBHOST",
        "--dbpassword": "$COLONIES_DBPASSWORD",
        "--dbport": "$COLONIES_DBPORT",
        "--dbuser": "$COLONIES_DBUSER",
        "--etcdclientport": NOTHING_WITH_VALUE,
        "--etcddatadir": NOTHING_WITH_VALUE,
        "--etcdhost": NOTHING_WITH_VALUE,
        "--etcdname": NOTHING_WITH_VALUE,
        "--etcdpeerport": NOTHING_WITH_VALUE,
        "--initial-cluster": NOTHING_WITH_VALUE,
        "--insecure": NOTHING,
        "--relayport": NOTHING_WITH_VALUE,
        "--tlscert": "--tls-cert",
        "--tlskey": "--tls-key",
    },
    "workflow get": {"--workflowid": HERE},
    "workflow rm": {"--workflowid": HERE},
}
"""Options of a command (or of any), and the option, variable or argument that we have for them."""

LISTS = {
    "process close": ("--out",),
    "process fail": ("--errors",),
    "process run": ("--args", "--env"),
}
"""Options whose value is split at its commas where a command is spelled the reference's way."""


@dataclass
class Translation:
    """The words as we spell them, variables that some stood for, and what is to be said of it."""

    words: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def command(noun: str, words: Sequence[str]) -> list[str]:
    """Give the words after a noun, the verb as we call it."""
    ours = VERBS.get(f"{noun} {words[0]}", words[0])
    return [*ours.split(), *words[1:]]


def verbs_of(noun: str) -> list[str]:
    """List the reference's verbs of a noun."""
    return [one.partition(" ")[2] for one in VERBS if one.partition(" ")[0] == noun]


def translate(path: str, words: Sequence[str]) -> Translation:
    """Give the words after a verb as we spell them; ``path`` is the noun and our verb."""
    known = {**OPTIONS[ANYWHERE], **OPTIONS.get(path, {})}
    ours, rest = _until_dashes(words)
    names = [word.partition("=")[0] for word in ours]
    if not any(name in known for name in names):
        return Translation(list(words))
    lists = LISTS.get(path, ())
    read = Translation()
    arguments: list[tuple[int, list[str]]] = []
    coming = iter(ours)
    for word in coming:
        name, _, joined = word.partition("=")
        target = known.get(name, name if name in lists else None)
        if target is None:
            read.words.append(word)
            continue
        values = _values(target, joined if "=" in word else None, coming)
        if name in lists:
            values = [part for value in values for part in value.split(",")]
        if target == HERE:
            arguments.append((list(known).index(name), values))
        else:
            _apply(read, name, target, values)
    given = [value for _, values in sorted(arguments) for value in values]
    read.words += ["--", *given, *rest] if given or rest else []
    return read


def _until_dashes(words: Sequence[str]) -> tuple[list[str], list[str]]:
    at = words.index("--") if "--" in words else len(words)
    return list(words[:at]), list(words[at + 1 :])


def _values(target: str, joined: str | None, coming: Iterator[str]) -> list[str]:
    """Give the value of an option, if it takes one and there is one."""
    if target in (NOTHING, "--no-tls-verify", "--output"):
        return []
    value = next(coming, None) if joined is None else joined
    return [] if value is None else [value]


def _apply(read: Translation, name: str, target: str, values: list[str]) -> None:
    if target in (NOTHING, NOTHING_WITH_VALUE):
        read.remarks.append(f"{name} means nothing here, and is passed over")
    elif target.startswith("$"):
        variable = target.removeprefix("$")
        read.variables |= dict.fromkeys([variable], *values or [""])
        if variable.endswith("PRVKEY"):
            read.remarks.append(f"{name}: others here can see it; better set {variable}")
    else:
        read.words += [word for value in values for word in (target, value)] or [target]
