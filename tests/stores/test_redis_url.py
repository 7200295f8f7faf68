"""What the URL of a Redis store may say, and that nothing repeats it."""
# ruff: noqa: S106 - passwords of nobody

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueactors import OptionsError
from queueactors.stores._redis import RedisStore
from queueactors.stores._redis_url import RedisUrl, parse_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://", RedisUrl(hosts=(("localhost", 6379),))),
        ("redis://db", RedisUrl(hosts=(("db", 6379),))),
        ("redis://:7000", RedisUrl(hosts=(("localhost", 7000),))),
        ("redis://db/", RedisUrl(hosts=(("db", 6379),))),
        ("redis://db:7000/3", RedisUrl(hosts=(("db", 7000),), database=3)),
        ("rediss://[::1]:7000", RedisUrl(hosts=(("::1", 7000),), tls=True)),
        ("redis://a,b:7000,[::1]", RedisUrl(hosts=(("a", 6379), ("b", 7000), ("::1", 6379)))),
        ("redis://:pw@db", RedisUrl(hosts=(("db", 6379),), password="pw")),
        ("redis://bob@db", RedisUrl(hosts=(("db", 6379),), username="bob")),
        (
            "redis://b%40b:p%3Aw/%25@db",
            RedisUrl(hosts=(("db", 6379),), username="b@b", password="p:w/%"),
        ),
        (
            "redis://bob:p:@/#?w@db",
            RedisUrl(hosts=(("db", 6379),), username="bob", password="p:@/#?w"),
        ),
        ("unix:///run/s", RedisUrl(path="/run/s")),
        ("unix:///run/a@b?db=2", RedisUrl(path="/run/a@b", database=2)),
        ("unix://bob:pw@/run/s", RedisUrl(path="/run/s", username="bob", password="pw")),
    ],
)
def test_a_url_says_where_servers_are_and_how_to_log_in(url: str, expected: RedisUrl) -> None:
    assert parse_url(url) == expected


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("db:6379", "to begin with redis://, rediss:// or unix://"),
        ("http://db", "to begin with redis://, rediss:// or unix://"),
        ("redis://:hunter2@db:0", "to have ports from 1 to 65535"),
        ("redis://:hunter2@db:65536", "to have ports from 1 to 65535"),
        ("redis://:hunter2@db:six", "to have ports from 1 to 65535"),
        ("redis://:hunter2@db/six", "to end with the host, or with the number of a database"),
        ("redis://:hunter2@db/0?a=1", "to end with the host, or with the number of a database"),
        ("unix://:hunter2@", "to name a socket by its whole path, as unix:///run/redis.sock"),
        ("unix:///run/s?a=1", "to have nothing behind the path but ?db=NUMBER"),
    ],
)
def test_a_wrong_url_is_refused_without_being_shown(url: str, rule: str) -> None:
    with pytest.raises(OptionsError) as caught:
        RedisStore(url=url)
    assert caught.value.faults == (("url", f"expected url {rule}"),)


@given(st.text())
def test_any_url_is_read_or_refused(url: str) -> None:
    for scheme in ("redis://", "unix://"):
        try:
            parse_url(scheme + url)
        except ValueError as error:
            assert str(error).startswith("to ")  # noqa: PT017 - it may be read, too


@given(st.text(min_size=1), st.text())
def test_any_password_can_be_given(username: str, password: str) -> None:
    from urllib.parse import quote

    login = f"{quote(username, safe='')}:{quote(password, safe='')}"
    for place in ("db/1", "/run/s?db=1"):
        scheme = "unix" if place.startswith("/") else "redis"
        url = parse_url(f"{scheme}://{login}@{place}")
        assert (url.username, url.password or "", url.database) == (username, password, 1)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"prefix": "a{b"}, "expected prefix to be without braces, got 'a{b'"),
        ({"tls_ca": "ca.pem"}, "expected tls_ca to be given with a rediss:// url only"),
        ({"tls_cert": "ca.pem"}, "expected tls_cert to be given with a rediss:// url only"),
        (
            {"url": "rediss://db", "tls_key": "a.pem"},
            "expected tls_key to be given with tls_cert only, got 'a.pem'",
        ),
        (
            {"url": "unix:///run/s", "sentinel": "main"},
            "expected url to have hosts, with a sentinel",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, str], fault: str) -> None:
    with pytest.raises(OptionsError) as caught:
        RedisStore(**options)  # type: ignore[arg-type] # any
    assert [told for _, told in caught.value.faults] == [fault]


def test_sentinels_have_a_port_of_their_own() -> None:
    assert RedisStore(url="redis://a", sentinel="main").parsed_url().hosts == (("a", 26379),)


def test_a_password_is_in_no_repr() -> None:
    url = "redis://bob:hunter2@db"
    assert "hunter2" not in repr(RedisStore(url=url)) + repr(parse_url(url))
