"""The settings of ``open_manager`` from a URL and from the environment: their names, their forms, and which source wins.

The variables describe one deployment: its servers and their secrets. A call that names servers itself gets nothing from them.
Otherwise the secret of one deployment would go to the servers of another, and a variable would change what a finished program
does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from ._arguments import database_names
from ._dispatch import RetryPolicy
from ._network import NO_SERVERS, check_connections, check_seconds, check_secret
from ._protocol import Codec, located
from ._url import EXAMPLE, SERVERS, Url, is_url, servers_of

P = ParamSpec("P")
T = TypeVar("T")

PREFIX = "TRIO_HS_"
#: Beginnings of names that belong to hs-drill and to this project's tests.
NOT_OURS = ("TRIO_HS_SQL_", "TRIO_HS_LOAD_", "TRIO_HS_RUN", "TRIO_HS_COMMAND", "TRIO_HS_TEST")

READ_PORT, WRITE_PORT = 9998, 9999


@dataclass(frozen=True)
class _Setting:
    """A setting that is given as text."""

    expected: str
    """What its value must be, for people."""
    parse: Callable[[str], Any]
    """Its value. Raises TypeError or ValueError, which may quote the text."""


def _number(name: str, text: str) -> float:
    try:
        return int(text) if text.isdigit() else float(text)
    except ValueError:
        raise ValueError(f"{name} must be a number, not {text!r}") from None


def _seconds(text: str) -> float:
    seconds = _number("timeout", text)
    check_seconds("timeout", seconds)
    return seconds


def _connections(text: str) -> int:
    connections = int(text) if text.isdecimal() and len(text) < 10 else text
    check_connections(connections)
    return int(connections)


def _encoding(text: str) -> str | None:
    return None if text == "none" else Codec(text).encoding


def _secret(text: str) -> str:
    check_secret("a secret", text)
    return text


def _databases(text: str) -> dict[str, str]:
    pairs = [pair.split(":") for pair in text.split(",")]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"write_databases must be pairs such as drill:drill_wt, not {text!r}")
    return database_names(dict(pairs))


def _flag(text: str) -> bool:
    if text not in ("true", "false", "1", "0"):
        raise ValueError(f"it is true or false, not {text!r}")
    return text in ("true", "1")


def _eager(text: str) -> str:
    if text != "eager":
        raise ValueError(f"it is eager, not {text!r}")
    return text


def _writes(text: str) -> tuple[str, ...]:
    return tuple(RetryPolicy(repeat_writes=text.split(",")).repeat_writes)


SETTINGS: dict[str, _Setting] = {
    "read_servers": _Setting(SERVERS, partial(servers_of, default_port=READ_PORT)),
    "write_servers": _Setting(SERVERS, partial(servers_of, default_port=WRITE_PORT)),
    "read_secret": _Setting("a secret", _secret),
    "write_secret": _Setting("a secret", _secret),
    "read_secret_file": _Setting("the path of a file", Path),
    "write_secret_file": _Setting("the path of a file", Path),
    "timeout": _Setting("a positive number of seconds, such as 2 or 0.5", _seconds),
    "connections": _Setting("a whole number", _connections),
    "encoding": _Setting("the name of an encoding such as utf-8, or none for bytes", _encoding),
    "write_databases": _Setting("pairs of databases such as drill:drill_wt,other:other_wt", _databases),
    "move_writes_on_silence": _Setting("true or false", _flag),
    "connect": _Setting("eager", _eager),
    "retry_attempts": _Setting("a whole number", partial(_number, "attempts")),
    "retry_backoff": _Setting("a number of seconds", partial(_number, "backoff")),
    "retry_max_backoff": _Setting("a number of seconds", partial(_number, "max_backoff")),
    "retry_deadline": _Setting("a number of seconds", partial(_number, "deadline")),
    "retry_hedge_after": _Setting("a number of seconds", partial(_number, "hedge_after")),
    "retry_repeat_writes": _Setting("any of insert,update,delete", _writes),
}
#: The keys of a URL. Its servers for reads are in the place of the host.
KEYS = {"write": "write_servers", **{name: name for name in SETTINGS if not name.endswith("_servers")}}
VARIABLES = {f"{PREFIX}{name.upper()}": name for name in SETTINGS}
URL_VARIABLE = f"{PREFIX}URL"


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, known, 1)
    return f"{what}{f'; did you mean {close[0]}?' if close else '.'} Known are: {', '.join(known)}"


def from_url(text: str, where: str = "the URL") -> dict[str, Any]:
    """The settings in a URL, by the names of ``SETTINGS``. Raises TypeError or ValueError, which show no secret."""
    url = Url(text, where)
    found: dict[str, Any] = {}
    texts = {"read_servers": ("the host", url.hosts)} if url.hosts else {}
    for number, (key, value) in enumerate(url.items(), 1):
        if key not in KEYS:
            if url.holds_secret:
                raise url.wrong(f"has an unknown setting, number {number}{url.hint}. Known are: {', '.join(KEYS)}")
            raise ValueError(_unknown(f"{where} has an unknown setting {key!r}", key, KEYS))
        texts[KEYS[key]] = (key, value)
    for name, (key, value) in texts.items():
        wrong: TypeError | ValueError
        try:
            found[name] = SETTINGS[name].parse(value)
            continue
        except (TypeError, ValueError) as error:
            wrong = url.located(key, error, SETTINGS[name].expected)
        raise wrong  # out here it has no context, which could quote a secret
    return _with_files(found, lambda name: f"{name} in {where}")


def from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """The settings in the environment's variables, by the names of ``SETTINGS``. An empty variable counts as not there.

    Raises TypeError or ValueError, which show no secret.
    """
    ours = [name for name in environment if name.startswith(PREFIX) and not name.startswith(NOT_OURS)]
    for variable in ours:
        if variable not in VARIABLES and variable != URL_VARIABLE:
            raise ValueError(_unknown(f"{variable} in the environment is no setting", variable, [URL_VARIABLE, *VARIABLES]))
    url = environment.get(URL_VARIABLE)
    found: dict[str, Any] = {}
    for variable, name in VARIABLES.items():
        text = environment.get(variable)
        wrong: TypeError | ValueError
        if not text:
            continue
        try:
            found[name] = SETTINGS[name].parse(text)
            continue
        except (TypeError, ValueError) as error:
            wrong = located(variable, error)
        raise wrong
    own = _with_files(found, lambda name: f"{PREFIX}{name.upper()}")
    return {**(from_url(url, URL_VARIABLE) if url else {}), **own}


def _with_files(found: dict[str, Any], called: Callable[[str], str]) -> dict[str, Any]:
    """The settings, with the path of a secret's file as the secret. ``called`` is what to call a setting in errors."""
    for name in ("read_secret", "write_secret"):
        path = found.pop(f"{name}_file", None)
        if path is not None and name in found:
            raise ValueError(f"give {called(name)} or {called(f'{name}_file')}, not both")
        if path is not None:
            found[name] = path
    return found


def _arguments(found: dict[str, Any]) -> dict[str, Any]:
    """Settings as arguments of ``open_manager``."""
    policy = {name.removeprefix("retry_"): found[name] for name in found if name.startswith("retry_")}
    arguments = {name: value for name, value in found.items() if not name.startswith("retry_")}
    if policy:
        try:
            arguments["retry"] = RetryPolicy(**policy)
        except (TypeError, ValueError) as error:
            raise located("the settings that begin with retry_", error) from None
    return arguments


def settings_of(read_servers: object, write_servers: object, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of ``open_manager``: those of the call, those of its URL, and where it names no servers those of the
    environment. The first of them that has a setting wins."""
    named = {"read_servers": read_servers, "write_servers": write_servers}
    explicit = {name: servers for name, servers in named.items() if servers is not None}
    if isinstance(read_servers, str):
        if not is_url(read_servers):  # not quoted: nobody knows what it is
            raise ValueError(f"read_servers must be a list of servers, or a URL such as {EXAMPLE}")
        del explicit["read_servers"]
        found = from_url(read_servers)
    elif not explicit:
        found = from_environment(os.environ)
    else:
        return {**named, **given}
    servers = {**{name: found[name] for name in named if name in found}, **explicit}
    if servers:
        servers = {**dict.fromkeys(named, NO_SERVERS), **servers}
    return {**_arguments({**found, **servers}), **given}


def configured(opener: Callable[P, T]) -> Callable[P, T]:
    """Lets ``open_manager`` take its arguments from a URL and from the environment as well.

    A wrapper, because only a call knows which arguments were given: one that is given as its default wins all the same.
    """

    open_with: Callable[..., T] = opener

    @wraps(opener)
    def open_configured(read_servers: object = None, write_servers: object = None, **given: Any) -> T:
        return open_with(**settings_of(read_servers, write_servers, given))

    return cast("Callable[P, T]", open_configured)
