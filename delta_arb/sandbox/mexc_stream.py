"""MEXC's websockets: subscriptions and their limits, PING, listen keys, and the sockets the venue closes.

A socket is closed by the venue after 30 s without a valid subscription, after 60 s in which neither a push went out nor
a ping came in, and after a day in any case. A listen key lives 60 minutes after its creation or last extension; when it
dies, its sockets stay open and fall silent, pongs included, which is what clients have reported.
"""

import asyncio
import json
import secrets
from dataclasses import dataclass

from delta_arb.sandbox.faults import Fault
from delta_arb.sandbox.http import VenueApi, answer_over_socket, dumps
from delta_arb.sandbox.mexc_messages import symbol_of
from delta_arb.sandbox.mexc_push import Pushes, Stream, schema
from delta_arb.sandbox.mexc_requests import MexcError
from delta_arb.sandbox.network import Socket

INVALID_KEY = "Invalid listen key"


@dataclass(frozen=True, slots=True)
class Limits:
    """What the venue allows; the defaults are the documented ones."""

    streams: int = 30  # per socket
    listen_keys: int = 60  # per account
    sockets: int = 5  # per listen key
    listen_key_s: float = 3600.0
    unsubscribed_s: float = 30.0
    silent_s: float = 60.0
    lifetime_s: float = 86_400.0


class ListenKeys:
    """Keys to the private streams, each with its end in venue seconds since the start."""

    def __init__(self, api: VenueApi, limits: Limits) -> None:
        self._api, self._limits = api, limits
        self._until_s: dict[str, float] = {}

    def alive(self) -> list[str]:
        now_s = self._api.engine.clock.seconds()
        return [key for key, until_s in self._until_s.items() if until_s > now_s]

    def create(self) -> str:
        if len(self.alive()) >= self._limits.listen_keys:
            raise MexcError(730708)
        key = secrets.token_hex(32)
        self._live(key)
        return key

    def extend(self, key: str) -> None:
        self._check(key)
        self._live(key)

    def delete(self, key: str) -> None:
        """End a key now, and close its sockets."""
        self._check(key)
        del self._until_s[key]
        for socket in self._sockets(key):
            socket.close()

    def kill(self) -> None:
        """All keys die at once, as if their time were up."""
        for key in list(self._until_s):
            self._until_s[key] = 0.0
            self._die(key)

    def admits(self, key: str) -> bool:
        """Whether a further socket may be opened with this key."""
        return key in self.alive() and len(self._sockets(key)) <= self._limits.sockets

    def _check(self, key: str) -> None:
        if not key:
            raise MexcError(700004, param="listenKey")
        if key not in self.alive():
            raise MexcError(730708)

    def _live(self, key: str) -> None:
        self._until_s[key] = self._api.engine.clock.seconds() + self._limits.listen_key_s
        if self._api.engine.later:
            self._api.engine.later(self._limits.listen_key_s + 0.001, lambda: self._die(key))

    def _die(self, key: str) -> None:
        """Silence the sockets of a key, unless it was extended meanwhile."""
        if key in self._until_s and key not in self.alive():
            del self._until_s[key]
            for socket in self._sockets(key):
                socket.data["dead"] = True
                for topic in list(socket.topics):
                    self._api.hub.leave(socket, topic)

    def _sockets(self, key: str) -> list[Socket]:
        return [socket for socket in self._api.hub.sockets if socket.data.get("key") == key]


class MexcStream:
    """Subscriptions and pushes of all sockets."""

    def __init__(self, api: VenueApi, limits: Limits, aggregated: bool) -> None:
        self.keys, self.pushes = ListenKeys(api, limits), Pushes(api, aggregated)
        self._api, self._limits = api, limits
        self._symbols = {symbol_of(pair) for pair in api.engine.listings}

    def opened(self, socket: Socket) -> None:
        socket.data["heard_s"] = self._api.engine.clock.seconds()
        socket.spawn(self._watch(socket))
        key = socket.query.get("listenKey")
        if key is None:
            return
        socket.data["key"] = key
        if not self.keys.admits(key):
            socket.data["dead"] = True
            socket.send(INVALID_KEY)

    def received(self, socket: Socket, message: str | bytes) -> None:
        if socket.data.get("dead"):
            return
        try:
            request = json.loads(message)
            method, params, number = str(request["method"]).upper(), request.get("params") or [], request.get("id", 0)
        except (ValueError, TypeError, KeyError, AttributeError):
            socket.send(dumps(_ack("Invalid request")))
            return
        if method == "PING":
            socket.data["heard_s"] = self._api.engine.clock.seconds()
            socket.send(dumps(_ack("PONG", number)))
        elif method == "SUBSCRIPTION":
            answer_over_socket(
                self._api,
                socket,
                ",".join(map(str, params)),
                lambda: _ack(self._subscribe(socket, params), number),
                lambda answer: socket.send(dumps(answer.body)),
            )
        elif method == "UNSUBSCRIPTION":
            for channel in params:
                self._api.hub.leave(socket, str(channel))
            socket.send(dumps(_ack(",".join(map(str, params)), number)))
        else:
            socket.send(dumps(_ack(f"Invalid method {method}", number)))

    def begin_fault(self, fault: Fault) -> None:
        """Listen keys die, or every socket gets a message that no client knows; MEXC has no notices of its own."""
        if fault.do == "listen_key_death":
            self.keys.kill()
            return
        now_ms, channel = self._api.engine.clock.now_ms(), "spot@public.unknown.v3.api.pb"
        for socket in self._api.hub.sockets:
            if fault.code == "channel":
                socket.send(schema()(channel=channel, sendTime=now_ms).SerializeToString())
            elif fault.code == "shape":
                for topic in socket.topics:
                    socket.send(schema()(channel=topic, sendTime=now_ms).SerializeToString())
            elif fault.code == "text":
                socket.send("maintenance")

    def _subscribe(self, socket: Socket, params: list) -> str:
        """Join the channels; the text of the acknowledgement, which is also how the venue refuses."""
        channels = [str(channel) for channel in params]
        blocked = [channel for channel in channels if not self._allows(socket, channel)]
        for channel in channels:
            if channel in blocked:
                continue
            if len(socket.topics) >= self._limits.streams and channel not in socket.topics:
                blocked.append(channel)
            else:
                self._api.hub.join(socket, channel)
        if blocked:
            return f"Not Subscribed successfully! [{','.join(blocked)}].  Reason： Blocked! "
        return ",".join(channels)

    def _allows(self, socket: Socket, channel: str) -> bool:
        stream = Stream.parse(channel)
        if stream is None:
            return False
        return "key" in socket.data if stream.private else stream.symbol in self._symbols

    async def _watch(self, socket: Socket) -> None:
        """Close the socket when its time is up."""
        clock, limits = self._api.engine.clock, self._limits
        opened_s = clock.seconds()
        while True:
            await asyncio.sleep(min(limits.unsubscribed_s, limits.silent_s) / 10)
            if socket.topics:
                socket.data["subscribed_s"] = clock.seconds()
            unsubscribed_s = clock.seconds() - socket.data.get("subscribed_s", opened_s)
            if (
                unsubscribed_s > limits.unsubscribed_s
                or self._silent_s(socket) > limits.silent_s
                or clock.seconds() - opened_s > limits.lifetime_s
            ):
                socket.close()
                return

    def _silent_s(self, socket: Socket) -> float:
        pushed = self.pushes.last_s
        last_s = max((pushed.get(topic, 0.0) for topic in socket.topics), default=0.0)
        return self._api.engine.clock.seconds() - max(last_s, socket.data["heard_s"])


def _ack(msg: str, number: object = 0) -> dict:
    return {"id": number, "code": 0, "msg": msg}
