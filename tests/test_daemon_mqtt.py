"""Answers to a real MQTT broker, which goes away and comes back; what Home Assistant is told."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from brokers import PATIENCE_S, Broker, Referee, free_port
from daemons import CONFIG, LOUD, Talk, a_site, running
from leo_runtime import shipped
from leo_runtime.daemon.answer import Answer, as_json
from leo_runtime.daemon.counts import Counts
from leo_runtime.daemon.delivering import Delivering
from leo_runtime.daemon.home_assistant import Topics, discovery, identifier, is_own
from leo_runtime.daemon.kinds import Site
from leo_runtime.daemon.sinks import mqtt as mqtt_sink
from leo_runtime.daemon.sinks.mqtt import Address, Mqtt, MqttSink
from leo_runtime.documents.workload import Workload
from leo_runtime.errors import DocumentError, InputError

TOPICS = Topics("kitchen")
ANSWER = Answer(
    graph="wake_word",
    stream="mic",
    release_us=2_000_000,
    at_unix_ns=1_700_000_000_000_000_000,
    outcome="done",
    late=False,
    latency_us=12_345,
    label="okay_nabu",
    score=0.97,
    fired=True,
    values=(0.97,),
    energy_nj=1_234,
)


def wake_word() -> Workload:
    demo = shipped.workload()
    return demo.without("speech", "scene", "activity", "speaker")


@pytest.fixture
def paho(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("paho.mqtt.client", reason="the extra `mqtt` is not installed")
    monkeypatch.setattr(mqtt_sink, "CONNECT_S", PATIENCE_S)


def refusal(mqtt: Mqtt, monkeypatch: pytest.MonkeyPatch) -> str:
    """What is said of answers while there is no connection, once it is known why."""
    monkeypatch.setattr(mqtt_sink, "CONNECT_S", 0.05)
    try:
        while True:
            with pytest.raises(ConnectionError) as refused:
                mqtt.publish(ANSWER)
            if "not answered yet" not in str(refused.value):
                return str(refused.value)
    finally:
        monkeypatch.setattr(mqtt_sink, "CONNECT_S", PATIENCE_S)
        mqtt.close()


def connect(broker: Broker, **changes: Any) -> Mqtt:
    given = {"workload": wake_word(), **changes}
    return Mqtt(Address("127.0.0.1", broker.port), TOPICS, **given)


def site(folder: Path, workload: Workload | None = None) -> Site:
    return replace(a_site(folder), workload=workload or wake_word())


# What Home Assistant is told.


def test_a_graph_that_decides_is_a_binary_sensor_a_label_and_a_score() -> None:
    told = {topic: json.loads(text) for topic, text in discovery(wake_word(), TOPICS, "homeassistant", 3).items()}
    assert list(told) == [
        "homeassistant/binary_sensor/kitchen/wake_word_fired/config",
        "homeassistant/sensor/kitchen/wake_word_label/config",
        "homeassistant/sensor/kitchen/wake_word_score/config",
    ]
    fired, label, score = told.values()
    assert fired["state_topic"] == "leo-runtime/kitchen/wake_word/fired"
    assert (fired["payload_on"], fired["off_delay"]) == ("ON", 3)
    assert label["state_topic"] == score["state_topic"] == "leo-runtime/kitchen/wake_word"
    assert not score["enabled_by_default"]
    assert len({one["unique_id"] for one in told.values()}) == 3
    assert {one["availability_topic"] for one in told.values()} == {"leo-runtime/kitchen/availability"}
    assert all(one["device"] == fired["device"] for one in told.values())
    assert all(is_own(json.dumps(one).encode()) for one in told.values())


def test_templates_say_what_is_in_an_answer() -> None:
    jinja2 = pytest.importorskip("jinja2", reason="jinja2 is not installed")
    _, label, score = [json.loads(text) for text in discovery(wake_word(), TOPICS, "homeassistant", 2).values()]

    def rendered(entity: dict[str, Any], answer: Answer) -> str:
        value = json.loads(json.dumps(as_json(answer)))
        return str(jinja2.Environment(autoescape=False).from_string(entity["value_template"]).render(value_json=value))

    nothing = replace(ANSWER, label=None, score=None)
    assert [rendered(label, ANSWER), rendered(score, ANSWER)] == ["okay_nabu", "0.97"]
    assert [rendered(label, nothing), rendered(score, nothing)] == ["none", ""]


def test_a_graph_that_decides_nothing_is_no_entity() -> None:
    workload = wake_word()
    mute = workload.graphs[0].model_copy(update={"decision": None})
    assert discovery(workload.with_graphs(mute), TOPICS, "homeassistant", 2) == {}


@pytest.mark.parametrize("name", ["küche/1", "a b", "a+b", "#", "a_b"])
def test_names_are_such_as_home_assistant_takes(name: str) -> None:
    assert re.fullmatch("[a-zA-Z0-9_-]+", identifier(name))
    assert len({identifier(one) for one in ("a b", "a_b", "a+b", "a#b")}) == 4


@pytest.mark.parametrize(
    "payload", [b"", b"null", b"[]", b"{", b'{"origin": 1}', b'{"origin": {"name": "x"}}', b"\xff"]
)
def test_what_others_have_retained_is_not_ours(payload: bytes) -> None:
    assert not is_own(payload)


# A real broker.


@pytest.mark.usefixtures("paho")
def test_another_client_is_given_answers_and_told_of_the_device(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker, Referee(broker) as referee:
        mqtt = connect(broker)
        try:
            mqtt.publish(ANSWER)
            mqtt.publish(replace(ANSWER, fired=False, label=None))
        finally:
            mqtt.close()
        mqtt.close()
        referee.wait_for(lambda heard: (TOPICS.availability, "offline", False) in heard)
        heard = referee.heard
    answers = [json.loads(payload) for topic, payload, _ in heard if topic == TOPICS.answer("wake_word")]
    assert [one["label"] for one in answers] == ["okay_nabu", None]
    assert answers[0] == json.loads(json.dumps(as_json(ANSWER)))
    assert [payload for topic, payload, _ in heard if topic == TOPICS.fired("wake_word")] == ["ON"]
    assert [payload for topic, payload, _ in heard if topic == TOPICS.availability] == ["online", "offline"]
    assert sum(topic.startswith("homeassistant/") for topic, _, _ in heard) == 3


@pytest.mark.usefixtures("paho")
def test_who_comes_later_finds_what_is_retained_and_no_graph_that_is_gone(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker:
        where = ("-p", str(broker.port))
        first = connect(broker, workload=shipped.workload())
        first.publish(ANSWER)
        first.close()
        subprocess.run(
            ["mosquitto_pub", *where, "-r", "-q", "1", "-t", "homeassistant/sensor/kitchen/theirs/config", "-m", "{}"],
            check=True,
            timeout=PATIENCE_S,
        )
        with Referee(broker) as referee:
            gone = "homeassistant/sensor/kitchen/speaker_label/config"
            assert json.loads(referee.payload(gone))["name"] == "speaker label"
            # Another start of the daemon, with less in its workload.
            second = connect(broker)
            try:
                referee.wait_for(lambda heard: (gone, "", False) in heard)
                referee.wait_for(lambda heard: (TOPICS.availability, "online", False) in heard)
                # And a reload, with more and then with nothing.
                second.change(site(tmp_path, shipped.workload()))
                referee.wait_for(lambda heard: heard[-1][0].startswith("homeassistant/") and heard[-1][1])
                mute = wake_word().with_graphs(wake_word().graphs[0].model_copy(update={"decision": None}))
                second.change(site(tmp_path, mute))
                referee.wait_for(
                    lambda heard: ("homeassistant/sensor/kitchen/wake_word_label/config", "", False) in heard
                )
            finally:
                second.close()
            referee.wait_for(lambda heard: (TOPICS.availability, "offline", False) in heard)
        with Referee(broker) as later:
            later.wait_for(lambda heard: len(heard) >= 2)
            retained = {topic for topic, payload, is_retained in later.heard if payload and is_retained}
    assert retained == {TOPICS.availability, "homeassistant/sensor/kitchen/theirs/config"}


@pytest.mark.usefixtures("paho")
def test_a_broker_that_is_killed_loses_nothing_but_what_does_not_fit(tmp_path: Path) -> None:
    """The newest answers wait for it, the rest is counted; a broker that remembers nothing is told all of it again."""
    counts = Counts()
    with Broker(tmp_path) as broker:
        sink = Delivering("mqtt", connect(broker), counts, most=5)
        sink.start()
        sink.give(replace(ANSWER, graph="0", fired=False))
        broker.received("leo-runtime-kitchen", TOPICS.answer("0"))
        broker.kill()
        broker.log.clear()
        for frame in range(1, 20):
            sink.give(replace(ANSWER, graph=str(frame), fired=False))
        broker.start()
        received = broker.received("leo-runtime-kitchen", TOPICS.answer("19"))
        sink.end()
        assert sink.join(PATIENCE_S)
    frames = [int(topic.rpartition("/")[2]) for topic in received if topic.startswith("leo-runtime/kitchen/1")]
    # The first may have been on its way, or the one behind it, when all others came.
    assert frames == sorted(frames)
    assert frames[-5:] == [15, 16, 17, 18, 19]
    assert len(frames) in (5, 6)
    assert TOPICS.availability in received
    assert sum(topic.startswith("homeassistant/") for topic in received) == 3
    counted = counts.now().sinks["mqtt"]
    assert (counted.given, counted.published + counted.dropped) == (20, 20)
    assert counted.published - 1 == len(frames)


@pytest.mark.usefixtures("paho")
def test_the_broker_itself_says_that_the_daemon_is_gone(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker, Referee(broker) as referee:
        program = (
            "import sys, os; sys.path.insert(0, os.environ['TESTS']); "
            "from test_daemon_mqtt import *; mqtt = Mqtt(Address('127.0.0.1', int(sys.argv[1])), TOPICS, wake_word()); "
            "mqtt.publish(ANSWER); os.abort()"
        )
        tests = Path(__file__).parent
        ended = subprocess.run(
            [sys.executable, "-c", program, str(broker.port)],
            env=os.environ | {"TESTS": str(tests), "PYTHONPATH": str(tests.parent)},
            timeout=PATIENCE_S,
            cwd=tmp_path,
        )
        assert ended.returncode < 0
        said = ["online", "offline"]
        referee.wait_for(lambda heard: [one[1] for one in heard if one[0] == TOPICS.availability] == said)


@pytest.mark.usefixtures("paho")
def test_two_daemons_of_one_name_are_told_of_it_each_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, leave = threading.Semaphore(0), Mqtt.left
    monkeypatch.setattr(Mqtt, "left", lambda one, why: (leave(one, why), left.release()))
    with Broker(tmp_path) as broker:
        both = [connect(broker), connect(broker)]
        assert all(left.acquire(timeout=PATIENCE_S) for _ in range(2))
        for one in both:
            one.close()
    assert caplog.text.count("does another daemon call itself `kitchen` there?") >= 2


class Turnstile(threading.Thread):
    """Ends every connection at once, after so many bytes of an answer to CONNECT."""

    def __init__(self, says: bytes) -> None:
        super().__init__(name="turnstile", daemon=True)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self._says = says

    def run(self) -> None:
        with suppress(OSError):
            while True:
                with self._listening.accept()[0] as one:
                    one.recv(4096)
                    one.sendall(self._says)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.join(PATIENCE_S)


@pytest.mark.parametrize(
    ("says", "told"),
    [
        (b"\x20\x02\x00\x00", "the connection ended: "),
        (b"", "it ended the connection before it had taken it"),
        (b"\x20\x02\x00\x05", "it says: Not authorized"),
        (b"nonsense", "the connection"),
    ],
)
@pytest.mark.usefixtures("paho")
def test_a_broker_that_ends_each_connection_at_once_is_tried_less_and_less_often(
    says: bytes, told: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[int] = []
    enough = threading.Event()

    def waits(in_vain: int, *_: int) -> int:
        asked.append(in_vain)
        if in_vain == 6:
            enough.set()
        return (in_vain + 1) * 1_000

    monkeypatch.setattr(mqtt_sink, "wait_us", waits)
    monkeypatch.setattr(mqtt_sink, "STEADY", 1_000_000)
    turnstile = Turnstile(says)
    turnstile.start()
    mqtt = Mqtt(Address("127.0.0.1", turnstile.port), TOPICS, wake_word())
    assert enough.wait(PATIENCE_S)
    mqtt.close()
    turnstile.close()
    # Of each try it is asked twice: whether it lasted, and how long to wait, after the first one as little as can be.
    assert asked[:13] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6]
    assert told in caplog.text
    assert len(caplog.records) <= 8


@pytest.mark.usefixtures("paho")
def test_no_broker_is_an_error_of_each_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    said = refusal(Mqtt(Address("127.0.0.1", free_port()), TOPICS, wake_word()), monkeypatch)
    assert re.search(r"no connection to the broker at 127\.0\.0\.1:\d+: .*refused", said)


@pytest.mark.usefixtures("paho")
def test_a_unix_socket_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "broker.sock"
    with Broker(tmp_path, listener=f"listener 0 {path}"):
        mqtt = MqttSink(kind="mqtt", socket="broker.sock", node="kitchen").open(site(tmp_path))
        try:
            mqtt.publish(ANSWER)
        finally:
            mqtt.close()


@pytest.mark.usefixtures("paho")
@pytest.mark.parametrize("place", ["file", "environment"])
def test_a_password_comes_from_a_file_or_the_environment_and_is_in_no_message(
    place: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    users = tmp_path / "users"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(users), "leo", "s3cret"], check=True, timeout=PATIENCE_S)
    with Broker(tmp_path, more=["allow_anonymous false", f"password_file {users}"]) as broker:

        def opened(password: str) -> Mqtt:
            (tmp_path / "password").write_text(password + "\n")
            monkeypatch.setenv("BROKER_PASSWORD", password)
            where = {"password_file": "password"} if place == "file" else {"password_env": "BROKER_PASSWORD"}
            config = {"kind": "mqtt", "host": "127.0.0.1", "port": broker.port, "login": {"user": "leo", **where}}
            return MqttSink.model_validate(config).open(site(tmp_path))

        assert "not authori" in refusal(opened("0ther"), monkeypatch).lower()
        right = opened("s3cret")
        try:
            right.publish(ANSWER)
        finally:
            right.close()
    assert "s3cret" not in caplog.text
    assert "0ther" not in caplog.text
    assert "not authori" in caplog.text.lower()


# paho leaves a socket whose handshake failed to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("paho")
def test_a_connection_is_encrypted_and_the_broker_has_to_be_who_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, timeout=PATIENCE_S, cwd=tmp_path, capture_output=True)

    try:
        for name, subject in (("ca", "/CN=a test"), ("other", "/CN=another")):
            openssl(
                *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"),
                *("-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", subject),
                *("-addext", "subjectAltName=IP:127.0.0.1"),
            )
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    port = free_port()
    more = [f"certfile {tmp_path}/ca.pem", f"keyfile {tmp_path}/ca.key"]
    with Broker(tmp_path, listener=f"listener {port} 127.0.0.1", more=more):

        def opened(ca: str) -> Mqtt:
            config = {"kind": "mqtt", "host": "127.0.0.1", "port": port, "tls": {"ca_file": ca}}
            return MqttSink.model_validate(config).open(site(tmp_path))

        trusted = opened("ca.pem")
        try:
            trusted.publish(ANSWER)
        finally:
            trusted.close()
        assert "certificate verify failed" in refusal(opened("other.pem"), monkeypatch)


@pytest.mark.usefixtures("paho")
def test_a_daemon_that_reloads_has_home_assistant_forget_what_is_gone(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker, Referee(broker) as referee:
        sink = f'[[sinks]]\nkind = "mqtt"\nhost = "127.0.0.1"\nport = {broker.port}\nnode = "kitchen"\n'
        with running(tmp_path, CONFIG + sink) as one:
            Talk(tmp_path).ask(LOUD)
            topic = "homeassistant/binary_sensor/kitchen/loud_fired/config"
            assert referee.payload(TOPICS.fired("loud")) == "ON"
            assert json.loads(referee.payload(topic))["state_topic"] == TOPICS.fired("loud")
            workload = tmp_path / "workload.toml"
            workload.write_text(workload.read_text().replace('name = "loud"\n', 'name = "noise"\n'))
            one.daemon.reload()
            referee.wait_for(lambda heard: (topic, "", False) in heard)
            assert json.loads(referee.payload(topic.replace("loud", "noise")))["name"] == "noise"
        referee.wait_for(lambda heard: (TOPICS.availability, "offline", False) in heard)


# Its config.


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"host": "http://broker"}, r"\$\.host"),
        ({"port": 0}, r"\$\.port"),
        ({"socket": "a", "port": 1}, "neither port nor TLS"),
        ({"node": "a/b"}, r"\$\.node"),
        ({"topic": "a/#"}, r"\$\.topic"),
        ({"login": {"user": "a", "password": "b"}}, r"\$\.login\.password"),
        ({"login": {"user": "a", "password_file": "b", "password_env": "c"}}, "not in both"),
    ],
)
def test_what_cannot_be_is_refused_by_its_place(given: dict[str, Any], said: str) -> None:
    with pytest.raises((DocumentError, ValueError), match=said):
        MqttSink(kind="mqtt", **given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"login": {"user": "leo", "password_file": "none"}}, "cannot be read"),
        ({"login": {"user": "leo", "password_file": "empty"}}, "first line is empty"),
        ({"login": {"user": "leo", "password_env": "LEO_NO_SUCH"}}, "`LEO_NO_SUCH`"),
        ({"tls": {"ca_file": "none"}}, "certificates cannot be used"),
    ],
)
def test_what_is_not_there_is_said_before_it_connects(given: dict[str, Any], said: str, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(InputError, match=said):
        MqttSink.model_validate({"kind": "mqtt", **given}).open(site(tmp_path))


def test_the_broker_is_this_machines_unless_another_is_named() -> None:
    assert MqttSink(kind="mqtt").host == "localhost"
