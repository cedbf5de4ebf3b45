"""Answers to an MQTT broker, for Home Assistant and others.

Below `TOPIC/NODE` there is `availability` (`online`, retained; the broker itself says `offline` where the daemon is
gone), a topic a graph with every answer as JSON, and `fired` below that, with `ON` each time its decision fires.
Answers are sent at least once (QoS 1), one after the other: one counts as published when the broker has confirmed it.
While the broker is away they wait in the sink's queue, which drops and counts the oldest; a connection that is lost is
tried again after longer and longer waits.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from leo_runtime.back_off import wait_us
from leo_runtime.clock import WallClock
from leo_runtime.daemon.answer import Answer, as_json
from leo_runtime.daemon.home_assistant import FIRED, OFFLINE, ONLINE, Topics, discovery, identifier, is_own, of_any_node
from leo_runtime.daemon.kinds import SinkConfig, Site, require_extra
from leo_runtime.errors import InputError, MissingExtraError, failure_text
from leo_runtime.frozen import dataclass
from leo_runtime.schema import Name, PathName, Value, reject

if TYPE_CHECKING:
    import ssl

    from paho.mqtt.client import Client, MQTTMessage

    from leo_runtime.documents.workload import Workload

PLAIN_PORT, TLS_PORT = 1883, 8883
KEEPALIVE_S = 30
FIRST_WAIT_US, LONGEST_WAIT_US = 1_000_000, 60_000_000
"""Before a broker is tried again: twice as long each time."""
STEADY = 10
"""A connection that lasted so many times as long as was waited for it was a good one: it is tried again soon."""
CONNECT_S = 1.0
"""How long one answer waits for a connection before its sink says that there is none."""
CONFIRM_S = 5.0
"""How long one answer waits for the broker's word."""
CLOSE_S = 2.0
BRIEF_S = 5.0
"""A connection that the broker ends so soon may be one of two of the same name, of which it keeps the newer."""

log = logging.getLogger(__name__)

Topic = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f+#/$][^\x00-\x1f+#]*$")]


class Login(Value):
    """Who the daemon is to the broker. What is secret is never in the config."""

    user: Name
    password_file: PathName | None = None
    """A file whose first line is the password."""
    password_env: Name | None = None
    """The variable of the environment that holds it."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.password_file is not None and self.password_env is not None:
            reject("the password is in a file or in the environment, not in both", "$.password_env", self.password_env)
        return self


class Tls(Value):
    """How the connection is encrypted."""

    ca_file: PathName | None = None
    """Who may have signed the broker's certificate; None: whom the system trusts."""
    cert_file: PathName | None = None
    """The daemon's own certificate, where the broker asks for one."""
    key_file: PathName | None = None


class MqttSink(SinkConfig):
    """A broker, the one of this machine unless another is named."""

    kind: Literal["mqtt"]
    host: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[0-9A-Za-z.:_-]+$")] = "localhost"
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    """None: 1883, or with `tls` 8883."""
    socket: PathName | None = None
    """A Unix socket of the broker, in place of host and port."""
    tls: Tls | None = None
    login: Login | None = None
    node: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-zA-Z0-9_-]+$")] | None = None
    """The daemon's name, which no other on the same broker has. None: this machine's."""
    topic: Topic = "leo-runtime"
    discovery: Topic | Literal[""] = "homeassistant"
    """Where Home Assistant looks for devices; empty: it is not told."""
    on_s: Annotated[int, Field(ge=1, le=86_400)] = 2
    """For how long Home Assistant shows that a decision fired."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.socket is not None and (self.tls is not None or self.port is not None):
            reject("a Unix socket has neither port nor TLS", "$.socket", self.socket)
        return self

    @property
    def uses_network(self) -> bool:
        """Unless the broker is at a Unix socket."""
        return self.socket is None

    def check(self, site: Site) -> None:  # noqa: ARG002  # A broker may come later.
        """Whether its extra is installed."""
        require_extra("paho", "a sink of kind `mqtt`", "mqtt")

    def open(self, site: Site) -> Mqtt:
        """Begin to connect; the broker may come later. Raises `InputError`, `MissingExtraError`."""
        node = self.node or identifier(socket.gethostname())[:64]
        path = None if self.socket is None else str(site.path(self.socket))
        port = self.port or (PLAIN_PORT if self.tls is None else TLS_PORT)
        return Mqtt(
            Address(path or self.host, port, path is not None),
            Topics(node, self.topic),
            site.workload,
            discovery_prefix=self.discovery,
            on_s=self.on_s,
            login=None if self.login is None else (self.login.user, _password(self.login, site, os.environ)),
            tls=None if self.tls is None else _context(self.tls, site),
        )


@dataclass(frozen=True, slots=True)
class Address:
    """Where a broker is: a host and a port, or a path."""

    host: str
    port: int
    is_path: bool = False

    def __str__(self) -> str:
        """As messages name it."""
        return self.host if self.is_path else f"{self.host}:{self.port}"


def _password(login: Login, site: Site, environment: Mapping[str, str]) -> str | None:
    if login.password_env is not None:
        if login.password_env not in environment:
            raise InputError(
                f"the environment has no `{login.password_env}`, where the password of `{login.user}` should be",
                hint="with systemd: LoadCredential= or EnvironmentFile=",
            )
        return environment[login.password_env]
    if login.password_file is None:
        return None
    path = site.path(login.password_file)
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the password of `{login.user}` cannot be read from {path}: {failure_text(error)}") from None
    if not lines or not lines[0]:
        raise InputError(f"the password of `{login.user}` is not in {path}: its first line is empty")
    return lines[0]


def _context(tls: Tls, site: Site) -> ssl.SSLContext:
    import ssl

    def path(given: str | None) -> Path | None:
        return None if given is None else site.path(given)

    try:
        context = ssl.create_default_context(cafile=path(tls.ca_file))
        if tls.cert_file is not None:
            context.load_cert_chain(site.path(tls.cert_file), path(tls.key_file))
    except (OSError, ValueError) as error:
        files = ", ".join(name for name in (tls.ca_file, tls.cert_file, tls.key_file) if name is not None)
        raise InputError(f"certificates cannot be used ({files}): {failure_text(error)}") from None
    return context


class Mqtt:
    """One broker. `publish` is for one thread at a time, all else for any."""

    def __init__(
        self,
        address: Address,
        topics: Topics,
        workload: Workload,
        *,
        discovery_prefix: str = "homeassistant",
        on_s: int = 2,
        login: tuple[str, str | None] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """It connects by itself, and again. `login` is user and password. Raises `MissingExtraError`."""
        self._address = address
        self._topics = topics
        self._prefix = discovery_prefix
        self._on_s = on_s
        self._told = self._discovery(workload)
        self._connected = threading.Event()
        self._ended = threading.Event()
        self._why = "it has not answered yet"
        self._came: WallClock | None = None
        """Runs since the broker took the connection; None: it has not."""
        self._refused = False
        self._waits_for: tuple[Answer, frozenset[int]] | None = None
        """The answer that is on its way, and the numbers of its messages."""
        self._confirmed: set[int] = set()
        self._rang = threading.Event()
        self._client = _client(self, topics, address, login, tls)
        self._thread = threading.Thread(target=self._go, name="leo mqtt", daemon=True)
        self._thread.start()

    def publish(self, answer: Answer) -> None:
        """Send one answer, and wait for the broker's word. Raises `OSError` where that does not come.

        Called again with the same answer, it waits on: nothing is sent twice that the broker may still confirm.
        """
        if not self._connected.wait(CONNECT_S):
            raise ConnectionError(f"no connection to the broker at {self._address}: {self._why}")
        if self._waits_for is None or self._waits_for[0] is not answer:
            self._confirmed.clear()
            text = json.dumps(as_json(answer), ensure_ascii=False)
            messages = [(self._topics.answer(answer.graph), text)]
            if answer.fired:
                messages.append((self._topics.fired(answer.graph), FIRED))
            numbers = [self._client.publish(topic, payload, qos=1).mid for topic, payload in messages]
            self._waits_for = answer, frozenset(numbers)
        if not self._is_confirmed(self._waits_for[1], CONFIRM_S):
            raise TimeoutError(f"the broker at {self._address} has not confirmed an answer for {CONFIRM_S:g} s")
        self._waits_for = None

    def change(self, site: Site) -> None:
        """Another workload runs: what Home Assistant is told of graphs that are gone is taken away."""
        before, self._told = self._told, self._discovery(site.workload)
        if self._connected.is_set():
            self._tell(dict.fromkeys(before, "") | self._told)

    def close(self) -> None:
        """Say `offline`, and end the connection. Waits some seconds at most; closing twice is fine."""
        if self._ended.is_set():
            return
        self._ended.set()
        if self._connected.is_set():
            number = self._client.publish(self._topics.availability, OFFLINE, qos=1, retain=True).mid
            self._is_confirmed(frozenset([number]), CLOSE_S)
        self._client.disconnect()
        self._thread.join(CLOSE_S)

    def _is_confirmed(self, numbers: frozenset[int], timeout_s: float) -> bool:
        """Wait for the broker's word on these messages."""
        began = WallClock()
        while not numbers <= self._confirmed:
            self._rang.clear()
            if numbers <= self._confirmed:  # It came meanwhile.
                break
            if not self._rang.wait(max(0.0, timeout_s - began.now_us() / 1e6)):
                return numbers <= self._confirmed
        return True

    def _discovery(self, workload: Workload) -> dict[str, str]:
        return discovery(workload, self._topics, self._prefix, self._on_s) if self._prefix else {}

    def _tell(self, retained: Mapping[str, str]) -> None:
        """Whoever connects again says all of it again: it need not be confirmed."""
        for topic, payload in retained.items():
            self._client.publish(topic, payload, retain=True)

    # On the client's own thread.

    def _go(self) -> None:
        in_vain = 0
        while not self._ended.is_set():
            lasted_us = self._connection()
            # One that the broker takes and ends at once is in vain as well: two of one name would do so for ever.
            if lasted_us >= STEADY * wait_us(in_vain, FIRST_WAIT_US, LONGEST_WAIT_US):
                in_vain = 0
            self._ended.wait(wait_us(in_vain, FIRST_WAIT_US, LONGEST_WAIT_US) / 1e6)
            in_vain += 1

    def _connection(self) -> int:
        """Connect, and serve that until it ends; how long it lasted, from when the broker took it."""
        self._came, self._refused = None, False
        try:
            self._client.reconnect()
            self._client.loop_forever()
        except OSError as error:
            self.left(failure_text(error))
        except Exception as error:  # What is read from the network must end no thread.
            log.warning("the connection to the broker at %s went wrong: %s", self._address, failure_text(error))
            self.left(failure_text(error))
        return 0 if self._came is None else self._came.now_us()

    def came(self, client: Client) -> None:
        """The broker took the connection."""
        if self._ended.is_set():  # The daemon ended meanwhile.
            client.disconnect()
            return
        log.info("connected to the broker at %s", self._address)
        if self._prefix:
            client.subscribe(of_any_node(self._prefix, self._topics.node))
        self._tell({self._topics.availability: ONLINE} | self._told)
        self._why, self._came = "", WallClock()
        self._connected.set()

    def refused(self, reason: str) -> None:
        """The broker does not take the connection, and says why."""
        self._refused = True
        self.left(f"it says: {reason}")

    def ended(self, reason: str) -> None:
        """The connection is gone."""
        if self._refused:  # Why is known.
            return
        if not self._connected.is_set():
            self.left(f"it ended the connection before it had taken it: {reason}")
            return
        brief = self._came is not None and self._came.now_us() < BRIEF_S * 1e6
        hint = f"; does another daemon call itself `{self._topics.node}` there? `node` gives each a name of its own"
        self.left(f"the connection ended: {reason}{hint if brief else ''}")

    def left(self, why: str) -> None:
        """There is no connection, or no more."""
        if why != self._why and not self._ended.is_set():
            log.warning("no connection to the broker at %s: %s", self._address, why)
        self._why = why
        self._connected.clear()

    def confirmed(self, number: int) -> None:
        """It has a message."""
        self._confirmed.add(number)
        self._rang.set()

    def heard(self, message: MQTTMessage) -> None:
        """What is retained of entities of this node: those that nobody has any more are taken away."""
        if message.retain and message.topic not in self._told and is_own(bytes(message.payload)):
            self._tell({message.topic: ""})


def _client(
    mqtt: Mqtt, topics: Topics, address: Address, login: tuple[str, str | None] | None, tls: ssl.SSLContext | None
) -> Client:
    """A client that tells `mqtt` what happens. Nothing that is secret is in a message of it."""
    try:
        from paho.mqtt import client as paho
        from paho.mqtt.enums import CallbackAPIVersion
    except ImportError:
        raise MissingExtraError("a sink of kind `mqtt`", "mqtt") from None
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id=f"leo-runtime-{topics.node}",
        transport="unix" if address.is_path else "tcp",
        reconnect_on_failure=False,  # Ours to do: paho waits a second each time that a broker has taken the connection.
    )
    if login is not None:
        client.username_pw_set(*login)
    if tls is not None:
        client.tls_set_context(tls)
    client.will_set(topics.availability, OFFLINE, qos=1, retain=True)

    def on_connect(one: Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        mqtt.refused(str(reason)) if reason.is_failure else mqtt.came(one)

    def on_disconnect(_one: Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        mqtt.ended(str(reason))

    client.on_connect = on_connect
    client.on_disconnect = on_disconnect
    client.on_publish = lambda _one, _data, number, _reason, _properties: mqtt.confirmed(number)
    client.on_message = lambda _one, _data, message: mqtt.heard(message)
    client.connect_async(address.host, address.port, keepalive=KEEPALIVE_S)
    return client
