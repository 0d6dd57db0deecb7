"""Settings from a URL and from the environment: their forms, which source wins, and that no error shows a secret."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st
from trio.testing import MockClock

import trio_hs
from tests.trio_hs.support.clients import A, B, C
from tests.trio_hs.support.fake import FakeServer, Network
from tests.trio_hs.support.urls import VALUES, Writer, arguments, settings, writers
from trio_hs import RetryPolicy
from trio_hs._configuration import KEYS, VARIABLES, from_environment, settings_of
from trio_hs._network import NO_SERVERS, Server

READER = Server("inet", "r", 9998)
PRIMARY, STANDBY = Server("inet", "primary", 9999), Server("inet", "standby", 9999)


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def of_url(url: str) -> dict[str, Any]:
    return settings_of(url, None, {})


# ---- there and back


@given(settings, writers)
def test_a_url_gives_the_settings_that_it_was_made_from(chosen: dict[str, Any], writer: Writer) -> None:
    found = of_url(writer.url(chosen))
    if bool("read_servers" in chosen) != bool("write_servers" in chosen):
        other = "read_servers" if "write_servers" in chosen else "write_servers"
        assert found.pop(other) is NO_SERVERS
    assert found == arguments(chosen)


@given(settings, writers)
def test_the_environment_gives_the_settings_that_it_was_made_from(chosen: dict[str, Any], writer: Writer) -> None:
    environment = {**writer.environment(chosen), "HOME": "/", "TRIO_HS_SQL_USER": "of hs-drill"}
    assert arguments(from_environment(environment)) == arguments(chosen)


def test_every_setting_is_tried() -> None:
    assert set(KEYS.values()) | {"read_servers"} == set(VARIABLES.values())
    assert set(VARIABLES.values()) <= {f"{name}{suffix}" for name in VALUES for suffix in ("", "_file")}


# ---- by hand


def test_the_example() -> None:
    found = of_url("handlersocket://reader1:9998,reader2:9998/?write=primary:9999|standby:9999&timeout=2")
    assert found == {
        "read_servers": [[Server("inet", "reader1", 9998), Server("inet", "reader2", 9998)]],
        "write_servers": [[PRIMARY], [STANDBY]],
        "timeout": 2,
    }


@pytest.mark.parametrize(
    "text, server",
    [
        ("db_1.internal", ("inet", "db_1.internal", 9998)),
        ("DB-1:1", ("inet", "DB-1", 1)),
        ("b\u00fccher.example", ("inet", "b\u00fccher.example", 9998)),
        ("b%C3%BCcher.example", ("inet", "b\u00fccher.example", 9998)),
        ("127.0.0.1", ("inet", "127.0.0.1", 9998)),
        ("[::1]", ("inet", "::1", 9998)),
        ("[::1]:65535", ("inet", "::1", 65535)),
        ("%5B::1%5D%3a1", ("inet", "::1", 1)),
        ("[fe80::1%25eth0]", ("inet", "fe80::1%eth0", 9998)),
        ("%2Frun%2Fhs.sock", ("unix", "/run/hs.sock")),
        ("%2Frun%2Fhs:1.sock", ("unix", "/run/hs:1.sock")),
    ],
)
def test_servers(text: str, server: tuple[Any, ...]) -> None:
    assert of_url(f"handlersocket://{text}")["read_servers"] == [[Server(*server)]]


def test_a_url_may_come_from_urlencode() -> None:
    query = urlencode({"write": "primary|/run/hs_wr.sock,[::1]:1", "read_secret": "a+b&c/?#%@"}, quote_via=quote)
    found = of_url(f"handlersocket://r/?{query}")
    assert found["write_servers"] == [[PRIMARY], [Server("unix", "/run/hs_wr.sock"), Server("inet", "::1", 1)]]
    assert found["read_secret"] == "a+b&c/?#%@"


def test_a_plus_is_a_plus() -> None:
    """Secrets in base64 have it."""
    assert of_url("handlersocket:///?read_secret=a+b/c==")["read_secret"] == "a+b/c=="


WRONG_URLS = [
    ("localhost:9998", "read_servers must be a list of servers, or a URL such as handlersocket://"),
    ("redis://localhost", "a URL such as handlersocket://"),
    ("", "a URL such as handlersocket://"),
    ("handlersocket://r /", "a space or a character that cannot be printed"),
    ("handlersocket://r/\n", "a space or a character that cannot be printed"),
    ("handlersocket://r/#x", "contains a #: write it as %23"),
    ("handlersocket://r%/", "a % itself is written %25"),
    ("handlersocket://r%zz", "a % itself is written %25"),
    ("handlersocket://r%ff", "not UTF-8"),
    ("handlersocket://r/database", "has a path: only /\\?key=value"),
    ("handlersocket:///run/hs.sock", "Write / as %2F in the path of a unix socket"),
    ("handlersocket://me@r/", "secrets go behind read_secret= and write_secret="),
    ("handlersocket://r,/", "the host in the URL: a server is missing"),
    ("handlersocket://r|", "the host in the URL: a server is missing"),
    ("handlersocket://:1/", "':1' is no server"),
    ("handlersocket://r:/", "'r:' is no server"),
    ("handlersocket://r:x/", "'r:x' is no server"),
    ("handlersocket://r:\uff11/", "is no server"),
    ("handlersocket://r:0/", "'r:0' is no server: a port is 1 to 65535"),
    ("handlersocket://r:65536/", "a port is 1 to 65535"),
    ("handlersocket://::1/", "'::1' is no server: write an IPv6 address in brackets, such as \\[::1\\]:9998"),
    ("handlersocket://[::x]/", "'\\[::x\\]' is no server: \\[::x\\] is no IPv6 address"),
    ("handlersocket://[r]:1/", "is no IPv6 address"),
    ("handlersocket://[::1/", "'\\[::1' is no server"),
    ("handlersocket://a%20b/", "'a b' is no server"),
    ("handlersocket://a%2Fb/", "'a/b' is no server"),
    ("handlersocket://%2Fa%00/", "is no server"),
    ("handlersocket://r/?write=p:x", "write in the URL: 'p:x' is no server"),
    (
        "handlersocket://r/?timout=2",
        "the URL has an unknown setting 'timout'; did you mean timeout\\? Known are: write, read_secret",
    ),
    ("handlersocket://r/?write_servers=p", "unknown setting 'write_servers'"),
    ("handlersocket://r/?nonsense=2", "the URL has an unknown setting 'nonsense'. Known are: "),
    ("handlersocket://r/?Timeout=2", "did you mean timeout"),
    ("handlersocket://r/?timeout", "gives 'timeout' no value"),
    ("handlersocket://r/?timeout=", "gives 'timeout' no value"),
    ("handlersocket://r/?timeout=1&timeout=2", "gives 'timeout' twice"),
    ("handlersocket://r/?timeout=2s", "timeout in the URL: timeout must be a number, not '2s'"),
    ("handlersocket://r/?timeout=0", "timeout in the URL: timeout must be a positive number of seconds, not 0"),
    ("handlersocket://r/?timeout=nan", "positive number"),
    ("handlersocket://r/?connections=two", "connections in the URL: connections must be an int"),
    ("handlersocket://r/?connections=0", "connections must be 1 to 1000"),
    ("handlersocket://r/?connections=99999999999999999999", "connections must be"),
    ("handlersocket://r/?encoding=utf-99", "encoding in the URL: encoding must be one that Python knows"),
    ("handlersocket://r/?encoding=utf-16", "ASCII"),
    ("handlersocket://r/?write_databases=drill", "write_databases must be pairs such as drill:drill_wt, not 'drill'"),
    ("handlersocket://r/?move_writes_on_silence=yes", "it is true or false, not 'yes'"),
    ("handlersocket://r/?connect=now", "it is eager, not 'now'"),
    ("handlersocket://r/?retry_attempts=0", "the settings that begin with retry_: attempts must be at least 1"),
    ("handlersocket://r/?retry_attempts=1.5", "attempts must be an int"),
    ("handlersocket://r/?retry_deadline=soon", "deadline must be a number"),
    ("handlersocket://r/?retry_repeat_writes=incr", "repeat_writes may hold delete insert update, not 'incr'"),
    (
        "handlersocket://r/?read_secret=a&read_secret_file=/b",
        "give read_secret in the URL or read_secret_file in the URL, not both",
    ),
]


@pytest.mark.parametrize("url, why", WRONG_URLS)
def test_a_wrong_url_says_what_is_wrong(url: str, why: str) -> None:
    with pytest.raises((TypeError, ValueError), match=why) as caught:
        of_url(url)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "variables, why",
    [
        (
            {"TIMOUT": "2"},
            "TRIO_HS_TIMOUT in the environment is no setting; did you mean TRIO_HS_TIMEOUT\\? Known are: TRIO_HS_URL,",
        ),
        ({"TIMOUT": ""}, "TRIO_HS_TIMOUT in the environment is no setting"),
        ({"TIMEOUT": "2s"}, "TRIO_HS_TIMEOUT: timeout must be a number, not '2s'"),
        ({"READ_SERVERS": "a,,b"}, "TRIO_HS_READ_SERVERS: a server is missing"),
        ({"URL": "a:9998"}, "TRIO_HS_URL must begin with handlersocket://"),
        ({"URL": "handlersocket://r/?timeout=x"}, "timeout in TRIO_HS_URL: timeout must be a number"),
        ({"READ_SECRET": "a", "READ_SECRET_FILE": "b"}, "give TRIO_HS_READ_SECRET or TRIO_HS_READ_SECRET_FILE, not both"),
    ],
)
def test_wrong_variables_say_what_is_wrong(variables: Mapping[str, str], why: str) -> None:
    with pytest.raises((TypeError, ValueError), match=why):
        from_environment({f"TRIO_HS_{name}": value for name, value in variables.items()})


# ---- which source wins


@pytest.mark.parametrize("source", ["call", "variable", "url"])
def test_the_call_wins_over_a_variable_and_a_variable_over_the_url(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "TRIO_HS_URL", "handlersocket://r/?write=primary&timeout=1&read_secret=url&retry_attempts=7&retry_deadline=1"
    )
    expected: dict[str, Any] = {"timeout": 1, "read_secret": "url", "retry": RetryPolicy(attempts=7, deadline=1)}
    given: dict[str, Any] = {}
    if source != "url":
        monkeypatch.setenv("TRIO_HS_TIMEOUT", "2")
        monkeypatch.setenv("TRIO_HS_READ_SECRET_FILE", "/f")
        monkeypatch.setenv("TRIO_HS_RETRY_DEADLINE", "2")
        monkeypatch.setenv("TRIO_HS_CONNECTIONS", "")  # counts as not there
        expected = {"timeout": 2, "read_secret": Path("/f"), "retry": RetryPolicy(attempts=7, deadline=2)}
    if source == "call":
        given = {"timeout": 3.0, "read_secret": None, "retry": None}  # the defaults, but given
        expected = given
    assert settings_of(None, None, given) == {"read_servers": [[READER]], "write_servers": [[PRIMARY]], **expected}


def test_the_call_wins_over_its_url() -> None:
    url = "handlersocket://r/?write=primary&timeout=1"
    assert settings_of(url, None, {"timeout": 3.0})["timeout"] == 3.0
    assert settings_of(url, [STANDBY], {})["write_servers"] == [STANDBY]


@pytest.mark.parametrize("named", [(["r"], None), (None, ["w"]), ("handlersocket://r", None)])
def test_a_call_that_names_servers_gets_nothing_from_the_environment(named: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The secret of one deployment must not go to the servers of another."""
    for name, value in (("URL", "nonsense"), ("READ_SECRET", "s"), ("TIMEOUT", "1"), ("NONSENSE", "1")):
        monkeypatch.setenv(f"TRIO_HS_{name}", value)
    read_servers, write_servers = named
    found = settings_of(read_servers, write_servers, {})
    assert set(found) == {"read_servers", "write_servers"}


def test_without_any_source_there_are_the_defaults() -> None:
    assert settings_of(None, None, {}) == {}
    assert of_url("handlersocket://") == of_url("handlersocket:///?") == {}


# ---- secrets

#: No piece of it is anywhere else in an error.
SECRET = "Zq7XwK9v"


def seen_in(error: BaseException | None) -> str:
    """All that a report of an error may show."""
    text = ""
    while error is not None:
        text += repr(error) + repr(vars(error)) + repr(getattr(error, "object", ""))
        error = error.__cause__ or error.__context__
    return text


def failure(call: Callable[[], object]) -> Exception | None:
    try:
        call()
    except (TypeError, ValueError) as error:
        return error
    return None


SEPARATORS = "&=?#%/@:|,[] +\\\n\x00\xe9"


@given(
    st.text(SEPARATORS, max_size=6),
    st.text(SEPARATORS, max_size=6),
    st.text(SEPARATORS, max_size=6),
    st.sampled_from(
        [
            "handlersocket://{}/",
            "handlersocket://r,{}@r/?write=p",
            "handlersocket://me:{}@r/?write=p",
            "handlersocket://r/?write=p&read_secret={}&timeout=2",
            "handlersocket://r/?read_secret={}&timeout=x",
            "handlersocket://r/?read_secret=a&write_secret={}&connections=",
            "handlersocket://r/?secret={}",
            "handlersocket://r/?timeout=1&read_secret={}&read_secret_file=a",
            "{}://r/",
        ]
    ),
)
@example("", "&", "=", "handlersocket://r/?read_secret={}&write=p")
@example("", "&", "==", "handlersocket://r/?read_secret={}&write=p")
@example("", "&write=:", "", "handlersocket://r/?read_secret={}")
@example("", "&timeout=", "", "handlersocket://r/?read_secret={}")
@example("", "?", "@", "handlersocket://me:{}r/")
@example("%", "\udcff", "", "handlersocket://r/?read_secret={}")
def test_no_error_shows_a_piece_of_a_secret(before: str, between: str, after: str, url: str) -> None:
    if "@" not in url and "secret=" not in url and "@" not in before + between + after:
        return  # nothing says that there is a secret in it
    text = url.format(f"{before}{SECRET}{between}{SECRET}{after}")
    assert SECRET not in seen_in(failure(lambda: of_url(text)))
    assert SECRET not in seen_in(failure(lambda: from_environment({"TRIO_HS_URL": text})))


@pytest.mark.parametrize("variable", ["READ_SECRET", "WRITE_SECRET"])
def test_no_error_about_a_variable_shows_a_secret(variable: str) -> None:
    with pytest.raises(ValueError, match=f"TRIO_HS_{variable}: a secret has a character") as caught:
        from_environment({f"TRIO_HS_{variable}": f"{SECRET}\udcff"})
    assert SECRET not in seen_in(caught.value)


async def test_no_state_shows_the_secret_of_a_url(
    nursery: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    fakes = {port: FakeServer(nursery) for port in (1, 3)}
    url = f"handlersocket://fake:1/?write=fake:3&read_secret={SECRET}&write_secret={SECRET}"
    async with trio_hs.open_manager(url, connect=Network(fakes).connect) as hs:
        assert await hs.get("d", "t", ["id"], 1) == [("id", "1")]
        await hs.incr("d", "t", "=", ["n"], [1])
        fakes[1].answer = lambda line: line + b"\n"
        fakes[1].connections[-1].reset()
        with pytest.raises(trio_hs.ConnectionError) as caught:
            await hs.get("d", "t", ["id"], 1)
        shown = [repr(hs), repr(hs.statistics()), repr(await hs.ping()), seen_in(caught.value), caplog.text]
        assert not any(SECRET in text for text in shown)
    assert fakes[1].lines[0] == f"A\t1\t{SECRET}".encode()


# ---- open_manager


async def test_open_manager_reads_url_and_environment(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    fakes = {port: FakeServer(nursery) for port in (1, 2, 3)}
    connect = Network(fakes).connect
    monkeypatch.setenv("TRIO_HS_URL", "handlersocket://fake:1/?write=fake:3&read_secret=r")
    async with trio_hs.open_manager(connect=connect) as hs:
        await hs.get("d", "t", ["id"], 1)
        await hs.incr("d", "t", "=", ["n"], [1])
    assert fakes[1].lines[0] == b"A\t1\tr"
    assert fakes[3].requests
    async with trio_hs.open_manager("handlersocket://fake:2/?write=fake:3&encoding=none", connect=connect) as hs:
        assert await hs.get("d", "t", ["id"], 1) == [("id", b"1")]
    assert fakes[2].lines[0] == b"A\t1\t"
    async with trio_hs.open_manager([A, B], [C], connect=connect) as hs:
        await hs.get("d", "t", ["id"], 1)
    assert fakes[1].lines[0] == b"A\t1\tr"


async def test_without_servers_for_writes_a_write_says_so(nursery: trio.Nursery) -> None:
    """It does not go to localhost, which nobody named."""
    connect = Network({1: FakeServer(nursery)}).connect
    async with trio_hs.open_manager("handlersocket://fake:1", connect=connect) as hs:
        await hs.connect()
        assert hs.ready()
        assert not hs.ready(reads=False)
        assert await hs.get("d", "t", ["id"], 1) == [("id", "1")]
        with pytest.raises(ValueError, match=r"this Manager has no servers for writes: its URL has none \(write=\)"):
            await hs.incr("d", "t", "=", ["n"], [1])
        with pytest.raises(ValueError, match="no servers for writes"):
            await hs.insert_many("d", "t", ["id"], [[1]])
        with pytest.raises(ValueError, match="no servers for writes"):
            await hs.connect(reads=False)
        async with hs.suspended():
            assert not hs.statistics().writers
            assert not (await hs.ping()).writers
        assert "no servers" in repr(hs)
    async with trio_hs.open_manager("handlersocket:///?write=fake:1", connect=connect) as hs:
        await hs.incr("d", "t", "=", ["n"], [1])
        with pytest.raises(ValueError, match=r"no servers for reads.*TRIO_HS_READ_SERVERS"):
            await hs.get("d", "t", ["id"], 1)


async def test_a_url_may_connect_at_once(nursery: trio.Nursery) -> None:
    fake = FakeServer(nursery)
    async with trio_hs.open_manager("handlersocket://fake:1/?connect=eager", connect=fake.connect):
        assert not fake.connections  # the argument wins
    with pytest.raises(trio_hs.ConnectionError, match="no server is usable"):
        async with trio_hs.open_manager("handlersocket://%2Fnowhere%2Fhs.sock/?connect=eager"):
            pass


@pytest.mark.parametrize("url", [b"handlersocket://r", Path("handlersocket://r"), 3])
async def test_what_is_no_url_is_taken_for_a_list(url: Any) -> None:
    with pytest.raises(TypeError, match="read_servers must be a list of servers"):
        async with trio_hs.open_manager(url):
            pass


def test_the_alphabet_of_separators_is_not_of_the_secret() -> None:
    assert not set(SEPARATORS) & set(SECRET)
    assert set(SECRET) <= set(string.ascii_letters + string.digits)
