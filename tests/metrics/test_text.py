"""The text formats: what prometheus_client's parsers read is what was written."""

from __future__ import annotations

from math import inf, isnan, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from queueactors._histogram import Buckets, Doubling, Histogram
from queueactors.metrics import Family, FamilyType, Labels
from queueactors.metrics._text import OPENMETRICS, SLICE, TEXT, Format, choose_format

ONE = Labels(("queue", "a"))
NONSENSE = st.text(st.characters(exclude_categories=[]))


def written(format_: Format, *families: Family) -> str:
    return "".join(format_.chunks(families))


def parsed(format_: Format, family: Family) -> list[tuple[str, dict[str, str], float]]:
    """Return the samples that a parser finds: name, labels and value."""
    text = written(format_, family)
    parse = parse_openmetrics if format_ is OPENMETRICS else parse_text
    (found,) = list(parse(text))
    assert found.type == family.type
    return [(each.name, each.labels, each.value) for each in found.samples]


# -- what it looks like ----------------------------------------------------------------------------


def test_a_counter_is_written_as_prometheus_wants_it() -> None:
    family = Family("q_sent", "counter", 'What\nwent \\ "in".', samples=((ONE, 3),))

    assert written(TEXT, family) == (
        '# HELP q_sent_total What\\nwent \\\\ "in".\n'
        "# TYPE q_sent_total counter\n"
        'q_sent_total{queue="a"} 3\n'
    )


def test_a_counter_is_written_as_openmetrics_wants_it() -> None:
    family = Family("q_sent", "counter", 'What\nwent \\ "in".', samples=((ONE, 3),))

    assert written(OPENMETRICS, family) == (
        '# HELP q_sent What\\nwent \\\\ \\"in\\".\n'
        "# TYPE q_sent counter\n"
        'q_sent_total{queue="a"} 3\n'
        "# EOF\n"
    )


def test_a_unit_is_said_to_openmetrics_only() -> None:
    family = Family("q_age_seconds", "gauge", "Age.", "seconds", ((Labels(), 0.5),))

    assert "# UNIT q_age_seconds seconds\nq_age_seconds 0.5\n" in written(OPENMETRICS, family)
    assert written(TEXT, family).endswith("gauge\nq_age_seconds 0.5\n")


@pytest.mark.parametrize("format_", [TEXT, OPENMETRICS])
def test_a_histogram_is_cumulative_up_to_infinity(format_: Format) -> None:
    buckets = Buckets((0.5, 2.0), (1, 2, 4), 12.5)
    family = Family("q_seconds", "histogram", "Time.", "seconds", ((ONE, buckets),))

    assert parsed(format_, family) == [
        ("q_seconds_bucket", {"queue": "a", "le": "0.5"}, 1),
        ("q_seconds_bucket", {"queue": "a", "le": "2.0"}, 3),
        ("q_seconds_bucket", {"queue": "a", "le": "+Inf"}, 7),
        ("q_seconds_count", {"queue": "a"}, 7),
        ("q_seconds_sum", {"queue": "a"}, 12.5),
    ]


@pytest.mark.parametrize(("value", "text"), [(nan, "NaN"), (inf, "+Inf"), (-inf, "-Inf")])
def test_numbers_that_are_none_have_words(value: float, text: str) -> None:
    family = Family("q", "gauge", "A number.", samples=((Labels(), value),))

    assert written(TEXT, family).endswith(f"\nq {text}\n")


def test_a_long_family_comes_in_pieces() -> None:
    samples = tuple((Labels(("queue", str(n))), n) for n in range(2 * SLICE + 1))
    chunks = list(TEXT.chunks([Family("q", "gauge", "Many.", samples=samples)]))

    assert [chunk.count("\n") for chunk in chunks] == [2, SLICE, SLICE, 1]


# -- what is not written ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "1q", "q-q", "q_total", "q_bucket", "q\n", "ü", "q_info"])
def test_what_is_no_name_of_a_family_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"^expected name to be letters, digits and _, without"):
        Family(name, "gauge", "")


def test_a_name_without_its_unit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^expected name to end in _seconds, its unit, got 'q'$"):
        Family("q", "gauge", "", "seconds")


@pytest.mark.parametrize("name", ["", "a b", "le", "__a", "1a"])
def test_what_is_no_name_of_a_label_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"^expected a label to be letters, digits and _, got "):
        Labels((name, "x"))


def test_bounds_must_ascend() -> None:
    with pytest.raises(ValueError, match=r"^expected bounds to ascend, got \(1.0, 1.0\)$"):
        Histogram((1.0, 1.0))


def test_a_histogram_counts_a_value_up_to_its_bound() -> None:
    histogram = Histogram((1.0, 2.0))

    for value in (0.5, 1.0, 1.5, 2.0, 2.5):
        histogram.observe(value)

    assert histogram.buckets() == Buckets((1.0, 2.0), (2, 2, 1), 7.5)
    assert histogram.buckets().n == 5


def test_whole_numbers_are_counted_up_to_powers_of_two() -> None:
    doubling = Doubling(256)

    for number in (1, 2, 3, 4, 5, 255, 256, 257):
        doubling.observe(number)

    buckets = doubling.buckets()
    assert buckets.bounds == (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
    assert buckets.counts == (1, 1, 2, 1, 0, 0, 0, 0, 2, 1)
    assert buckets.sum == 783


# -- nonsense --------------------------------------------------------------------------------------


@pytest.mark.slow
@given(
    format_=st.sampled_from([TEXT, OPENMETRICS]),
    type_=st.sampled_from(["counter", "gauge"]),
    help_=NONSENSE,
    labels=st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True), NONSENSE),
    value=st.floats(min_value=0) | st.integers(0, 2**60),
)
def test_whatever_labels_say_a_parser_reads_it(
    format_: Format, type_: FamilyType, help_: str, labels: dict[str, str], value: float
) -> None:
    labels.pop("le", None)
    family = Family("q_x", type_, help_, samples=((Labels(*labels.items()), value),))

    ((name, found, number),) = parsed(format_, family)

    whole = {k: v.encode("utf-8", "backslashreplace").decode() for k, v in labels.items()}
    assert name == ("q_x_total" if type_ == "counter" else "q_x")
    assert found == whole
    assert number == value
    assert written(format_, family).encode()


@pytest.mark.slow
@given(help_=NONSENSE)
def test_help_comes_through_openmetrics_as_it_is(help_: str) -> None:
    family = Family("q_x", "gauge", help_, samples=((Labels(), 1),))

    (found,) = list(parse_openmetrics(written(OPENMETRICS, family)))  # type: ignore[no-untyped-call]

    # The parser takes spaces before it for a separator.
    whole = help_.encode("utf-8", "backslashreplace").decode()
    assert found.documentation.lstrip() == whole.lstrip()


def test_a_value_that_is_none_is_read_as_one() -> None:
    family = Family("q_x", "gauge", "", samples=((Labels(), nan),))

    assert isnan(parsed(OPENMETRICS, family)[0][2])


# -- which one -------------------------------------------------------------------------------------

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;q=0.3,"
    "text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)


@pytest.mark.parametrize(
    ("accept", "format_"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/plain", TEXT),
        ("text/html", TEXT),
        (PROMETHEUS, OPENMETRICS),
        ("application/openmetrics-text", OPENMETRICS),
        ("Application/OpenMetrics-Text; Version=1.0.0", OPENMETRICS),
        ("application/openmetrics-text;version=2.0.0", TEXT),
        ("application/openmetrics-text;q=0", TEXT),
        ("application/openmetrics-text;q=0.4, text/plain;q=0.5", TEXT),
        ("application/openmetrics-text;q=rubbish", TEXT),
        ("application/openmetrics-text;q=nan", TEXT),
    ],
)
def test_the_format_is_the_one_that_is_wanted_most(accept: str, format_: Format) -> None:
    assert choose_format(accept) is format_


@pytest.mark.slow
@given(st.text())
def test_any_rubbish_is_answered_in_some_format(accept: str) -> None:
    assert choose_format(accept) in {TEXT, OPENMETRICS}
