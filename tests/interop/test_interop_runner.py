"""The runner of other people's clients: what it takes from scripts, and how it judges."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from interop import __main__ as interop
from interop import page
from interop.clients import Client, FetchError, InstallError, every_client, load, prepare
from interop.execution import Outcome, Report, TellingError, read_line, run
from interop.judgement import Known, differences, known_differences
from interop.recording import KAFKA, OURS, Recording
from interop.steps import EXPECTED, OK
from interop.targets import Target, Unavailable

ALL_GOOD = dict(EXPECTED)
KNOWN = Known("*", "acls", "ok", "SECURITY_DISABLED", "because")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"{", "not JSON"),
        (b'{"steps": 1}', "neither a library nor a step"),
        (b'{"step": "fly", "outcome": "ok"}', "there is no step 'fly'"),
        (b'{"step": "produce", "outcome": "great"}', "no outcome and no error of Kafka's"),
        (b'{"step": "consume", "outcome": "ok"}', "reported twice"),
    ],
)
def test_a_line_that_is_not_as_agreed_is_refused(line: bytes, complaint: str) -> None:
    report = Report("some")
    read_line(report, b'{"step": "consume", "outcome": "ok", "detail": "two\\nlines"}')
    with pytest.raises(TellingError, match=complaint):
        read_line(report, line)
    assert report.outcome("consume").detail == "two lines"
    assert report.outcome("produce").outcome == "missing"


def judged(ours: dict[str, str], kafka: dict[str, str] | None = None) -> list[tuple[str, str, str, str]]:
    """Differences of a client called some."""
    found = differences("some", ALL_GOOD | ours, kafka, [KNOWN])
    return [(each.step, each.ours, each.kafka, each.reason) for each in found]


def test_what_is_as_expected_is_no_difference() -> None:
    assert judged({}) == []
    assert judged({"quotas": "unsupported"}) == []
    assert (
        judged({"fenced_producer": "INVALID_PRODUCER_EPOCH"}, {"fenced_producer": "INVALID_PRODUCER_EPOCH"})
        == []
    )


def test_every_other_outcome_is_one() -> None:
    assert judged({"produce": "failed"}) == [("produce", "failed", OK, "")]
    assert judged({"acls": OK}) == [("acls", OK, "SECURITY_DISABLED", "because")]
    assert judged({"acls": "failed"}) == [("acls", "failed", "SECURITY_DISABLED", "")]
    assert judged({"quotas": "unsupported"}, {"quotas": OK}) == [("quotas", "unsupported", OK, "")]
    assert judged({"produce": "failed"}, {"produce": "failed"}) == [("produce", "failed", "failed", "")]


def test_the_recorded_differences_are_the_known_ones() -> None:
    ours, kafka, known = Recording.read(OURS), Recording.read(KAFKA), known_differences()
    found = [
        each
        for client in ours.clients
        if client in kafka.clients
        for each in page.recorded_differences(client, ours, kafka, known)
    ]
    assert [each for each in found if not each.reason] == []
    unused = [
        listed
        for listed in known
        if not any(listed.covers(each.client, each.step, each.ours, each.kafka) for each in found)
    ]
    assert unused == []


def test_the_page_shows_the_recordings() -> None:
    text = page.generated(Recording.read(OURS), Recording.read(KAFKA), known_differences(), every_client())
    assert f"{page.BEGIN}\n\n{text}\n{page.END}" in page.PAGE.read_text(encoding="utf-8")


def client_of(folder: Path, more: str, monkeypatch: pytest.MonkeyPatch) -> Client:
    """A client with nothing but a `client.toml`; its home is below the folder."""
    monkeypatch.setattr("interop.clients.CACHE", folder / "cache")
    monkeypatch.setattr("interop.clients._LOCK", folder / "lock")
    source = folder / "some"
    source.mkdir()
    (source / "client.toml").write_text(f'title = "some"\nlanguage = "none"\n{more}')
    return load(source)


@pytest.mark.parametrize(
    ("needs", "complaint"),
    [('{ nowhere-to-be-found = "1" }', "is not installed"), ('{ python3 = "99.1" }', "needs python3 99.1")],
)
def test_a_client_whose_needs_are_not_met_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needs: str, complaint: str
) -> None:
    client = client_of(tmp_path, f"needs = {needs}\nrun = []", monkeypatch)
    with pytest.raises(Unavailable, match=complaint):
        prepare(client)


@pytest.mark.parametrize(
    ("named", "there", "status"),
    [
        ((), (), 1),
        ((), ("kcat",), 0),
        (("kcat",), ("kcat",), 0),
        (("java",), (), 1),
        (("kcat", "java"), ("kcat",), 1),
    ],
)
def test_who_was_asked_for_and_is_left_out_has_not_passed(
    named: tuple[str, ...], there: tuple[str, ...], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepared(client: Client) -> None:
        if client.name not in there:
            raise Unavailable(f"{client.name} is not here")

    async def ran(clients: Sequence[Client], against: str, jobs: int) -> tuple[str, list[Report]]:
        outcomes = {step: Outcome(outcome) for step, outcome in ALL_GOOD.items()}
        return "nothing", [Report(each.name, outcomes=outcomes) for each in clients]

    monkeypatch.setattr("interop.__main__.prepare", prepared)
    monkeypatch.setattr("interop.__main__.run_all", ran)
    monkeypatch.setattr("interop.__main__.Recording.read", lambda _: Recording())
    monkeypatch.setattr(sys, "argv", ["interop", *named])
    assert interop.main() == status


def test_installing_happens_once_for_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_of(tmp_path, 'install = [["mkdir", "made"]]\nrun = []', monkeypatch)
    prepare(client)
    prepare(client)
    (client.folder / "other").write_text("")
    with pytest.raises(InstallError, match="mkdir made failed"):
        prepare(client)


def attempts_of(client: Client) -> int:
    return len((client.home / "attempts").read_text())


def installing(script: str) -> str:
    """An `install` that leaves a mark each time it is tried; `$tries` is how often that was."""
    begin = "printf x >> attempts; tries=$(wc -c < attempts);"
    return f'install = [["sh", "-c", "{begin} {script}"]]\nunfetched = ["Could not fetch"]\nrun = []'


def test_an_installation_that_fails_once_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of(tmp_path, installing("test $tries = 2"), monkeypatch)
    prepare(client)
    assert attempts_of(client) == 2


@pytest.mark.parametrize(
    ("words", "kind"), [("Could not fetch x: 503", FetchError), ("Main.java:7: error", InstallError)]
)
def test_who_is_to_blame_for_a_failed_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, kind: type[InstallError]
) -> None:
    client = client_of(tmp_path, installing(f"echo '{words}'; exit 3"), monkeypatch)
    for tried in (2, 4):
        with pytest.raises(InstallError) as caught:
            prepare(client)
        assert type(caught.value) is kind
        assert str(caught.value).splitlines()[-2:] == [words, "status 3"]
        assert attempts_of(client) == tried, "what failed is not taken for installed"


def test_the_last_attempt_tells_who_is_to_blame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "test $tries = 1 && echo 'Could not fetch x'; exit 1"
    with pytest.raises(InstallError) as caught:
        prepare(client_of(tmp_path, installing(script), monkeypatch))
    assert type(caught.value) is InstallError


def test_one_installs_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four at once: whoever comes while another is at it finds the work done."""
    client = client_of(tmp_path, installing("mkdir busy && sleep 0.1 && rmdir busy"), monkeypatch)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(prepare, [client] * 4))
    assert attempts_of(client) == 1


def test_a_key_that_nobody_knows_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match="unknown colour"):
        client_of(tmp_path, 'colour = "red"\nrun = []', monkeypatch)


async def test_a_script_that_hangs_is_killed_with_what_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "\n".join(
        [
            "import json, subprocess, sys",
            "child = subprocess.Popen(['sleep', '600'], stdout=sys.stdout)",
            "print(json.dumps({'step': 'produce', 'outcome': 'ok'}), flush=True)",
            "child.wait()",
        ]
    )
    client = client_of(tmp_path, f"seconds = 2\nrun = ['{sys.executable}', '-c', {script!r}]", monkeypatch)
    prepare(client)
    report = await run(client, Target("nothing", "127.0.0.1:1", 1))
    assert report.trouble == "killed after 2 s"
    assert report.outcome("produce").outcome == OK
