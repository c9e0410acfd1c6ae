"""What every client is put through, and what is then expected of its rows and of the provider behind the gateway.

$UPSTREAMS says, per format: `name` of the model here, `model` and `provider` as rows name them, `url` of the mock provider and
`usd_per_mtok` (input, input from the cache, output). Each case names a conversation, by which its rows are found."""

import base64
import json
import os
import struct
import time
import traceback
import urllib.request
import zlib
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

from rows import query

GATEWAY, KEY = os.environ["GATEWAY"], os.environ["KEY"]
UPSTREAMS = json.loads(os.environ["UPSTREAMS"])
QUESTION = "Which account pays the toll on the northern bridge?"
TOOL, ABOUT, RESULT = "get_balance", "Balance of an account", "12 EUR"
SCHEMA = {
    "title": "Payment",
    "description": "A payment",
    "type": "object",
    "properties": {"account": {"type": "string"}, "amount": {"type": "integer"}},
    "required": ["account", "amount"],
    "additionalProperties": False,
}
ARGUMENTS = {"type": "object", "properties": {"account": {"type": "string"}}, "required": ["account"]}
OUTPUT_TOKENS, CACHED_TOKENS = 17, 5


def picture() -> str:
    """A PNG of 8 by 8 red pixels, as base64."""
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + b"\xc8\x10\x10" * 8 for _ in range(8))
    head = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return base64.b64encode(png).decode()


PNG = picture()


class Provider:
    """The mock provider behind one model. One case at a time talks to it, so its counts are exact."""

    def __init__(self, upstream: dict) -> None:
        self.url = upstream["url"]

    def ask(self, what: str):
        with urllib.request.urlopen(f"{self.url}/mock/{what}", timeout=30) as response:
            return json.load(response)

    def fail_next(self) -> dict:
        """With an error rate of one half every second request fails: asks until the next one is due, and returns the headers."""
        while self.ask("stats")["requests"] % 2 == 0:
            pass
        return {"x-mock-error-rate": "0.5", "x-mock-error-status": "429", "x-mock-retry-after-s": "1"}


class Case:
    """One conversation of one client with one model."""

    def __init__(self, client, spoken: str, name: str) -> None:
        self.client, self.spoken, self.upstream = client, spoken, UPSTREAMS[spoken]
        self.provider = Provider(self.upstream)
        self.name = self.upstream["name"]
        self.conversation = f"{client.name} {spoken} {name}"
        self.headers = {
            "x-tollgate-conversation": self.conversation,
            "x-mock-echo": "1",
            "x-mock-output-tokens": str(OUTPUT_TOKENS),
            "x-mock-cached-tokens": str(CACHED_TOKENS),
        }

    def rows(self, count: int) -> list[dict]:
        deadline = time.monotonic() + 15
        while True:
            found = query(
                f"select * from interactions where conversation_id = '{self.conversation}' order by started_at"
            )
            if len(found) >= count:
                assert len(found) == count, f"{len(found)} rows, not {count}: {found}"
                return found
            assert time.monotonic() < deadline, f"{len(found)} rows of {count}"
            time.sleep(0.05)

    def good(self, *, stream: bool = False, count: int = 1, outcome: str = "success") -> dict:
        """The last of `count` rows, after it was found to be what a good call's must be."""
        row = self.rows(count)[-1]
        told = {name: row[name] for name in ("outcome", "stream", "model_requested", "model_served", "provider")}
        assert told == {
            "outcome": outcome,
            "stream": stream,
            "model_requested": self.name,
            "model_served": self.upstream["model"],
            "provider": self.upstream["provider"],
        }, told
        assert (row["dialect"], row["upstream_dialect"]) == (self.client.dialect, self.spoken), row
        assert row["usage_source"] == "provider" and row["cost_source"] == "catalog", row
        rates = [Decimal(rate) for rate in self.upstream["usd_per_mtok"]]
        cached = row["cache_read_input_tokens"] or 0
        tokens = [row["input_tokens"] - cached, cached, row["output_tokens"]]
        assert all(many >= 0 for many in tokens) and row["output_tokens"] > 0, row
        cost = sum(many * rate for many, rate in zip(tokens, rates)) / 1_000_000
        assert Decimal(row["cost_usd"]) == cost, f"{row['cost_usd']} is not {cost}"
        return row

    def bad(self, outcome: str, status: int, error_type: str | None = None) -> None:
        (row,) = self.rows(1)
        assert (row["outcome"], row["http_status"]) == (outcome, status), row
        assert row["error_type"] and error_type in (None, row["error_type"]), row
        assert row["cost_usd"] is None, row


def counts(row: dict, text: str, usage: tuple[int, int] | None) -> None:
    assert text, "no text"
    assert (row["output_tokens"], row["cache_read_input_tokens"]) == (OUTPUT_TOKENS, CACHED_TOKENS), row
    if usage:
        assert usage == (row["input_tokens"], row["output_tokens"]), f"the client counts {usage}: {row}"


def whole(case: Case) -> None:
    text, usage = case.client.whole(case, case.headers)
    counts(case.good(), text, usage)


def streamed(case: Case) -> None:
    pieces, usage = case.client.stream(case, case.headers)
    assert len([piece for piece in pieces if piece]) > 3, f"hardly a stream: {pieces}"
    counts(case.good(stream=True), "".join(pieces), usage)


def tools(case: Case) -> None:
    name, arguments, text = case.client.tools(case, case.headers)
    assert name == TOOL and isinstance(arguments["account"], str) and text, (name, arguments, text)
    assert RESULT in json.dumps(case.provider.ask("last")["body"]), "the tool's result did not reach the provider"
    case.good(count=2)


def structured(case: Case) -> None:
    payment = case.client.structured(case, case.headers)
    assert set(payment) == {"account", "amount"} and isinstance(payment["amount"], int), payment
    case.good()


def vision(case: Case) -> None:
    assert case.client.vision(case, case.headers)
    assert PNG in case.provider.ask("last")["body"], "the picture did not reach the provider"
    case.good()


def retried(case: Case) -> None:
    headers = case.headers | case.provider.fail_next()
    before, started = case.provider.ask("stats"), time.monotonic()
    # Asking twice keeps the next request the one that fails.
    case.provider.ask("stats")
    text, _ = case.client.whole(case, headers, retries=1)
    waited, after = time.monotonic() - started, case.provider.ask("stats")
    # Two calls of the client, and two questions of ours.
    assert text and after["requests"] - before["requests"] == 4, (before, after)
    assert after["by_status"]["429"] - before["by_status"].get("429", 0) == 1, (before, after)
    if case.client.honours_retry_after:
        assert waited >= 1, f"it waited {waited} s, not the second it was told"
    failed = case.rows(2)[0]
    assert (failed["outcome"], failed["http_status"], failed["cost_usd"]) == ("failed", 429, None), failed
    case.good(count=2)


def cancelled(case: Case) -> None:
    slow = {"x-mock-chunk-delay-ms": "40", "x-mock-output-tokens": "25"}
    case.client.abort(case, case.headers | slow)
    row = case.good(stream=True, outcome="cancelled")
    assert row["output_tokens"] == 25, row


def refused(status: int):
    def refused(case: Case) -> None:
        expect(case, status, case.headers | {"x-mock-status": str(status)}, {})
        case.bad("failed", status)

    return refused


def stranger(case: Case) -> None:
    # What a stranger says of the call is not kept, so its row is counted at the end.
    expect(case, 401, case.headers, {"key": "tg-unknown"})


def unknown_model(case: Case) -> None:
    case.name = "nobody/nothing"
    expect(case, 404, case.headers, {})
    case.bad("failed", 404, "model_not_found")


def expect(case: Case, status: int, headers: dict, more: dict) -> None:
    kind = case.client.errors[status]
    try:
        case.client.whole(case, headers, **more)
    except kind as error:
        assert type(error) is kind, f"{type(error)} is not {kind}"
        return
    raise AssertionError(f"{status} raised nothing")


CASES = {
    "whole": whole,
    "stream": streamed,
    "tools": tools,
    "structured": structured,
    "vision": vision,
    "retry": retried,
    "cancel": cancelled,
    "status 429": refused(429),
    "status 500": refused(500),
    "unknown key": stranger,
    "unknown model": unknown_model,
}


def run(clients: list) -> None:
    """Puts every client through every case with every upstream; those of one upstream follow each other."""

    def with_upstream(spoken: str) -> list[str]:
        failures = []
        for client in clients:
            for name, case in CASES.items():
                try:
                    case(Case(client, spoken, name))
                except Exception:
                    failures.append(f"{client.name}, {spoken}, {name}:\n{traceback.format_exc(limit=-4)}")
        return failures

    with ThreadPoolExecutor(len(UPSTREAMS)) as pool:
        failures = [failure for failures in pool.map(with_upstream, UPSTREAMS) for failure in failures]
    denied = query("select dialect from interactions where outcome = 'denied' and error_type = 'key_unknown'")
    strangers = sorted(client.dialect for client in clients for _ in UPSTREAMS)
    if sorted(row["dialect"] for row in denied) != strangers:
        failures.append(f"rows of strangers: {denied}")
    total = len(clients) * len(UPSTREAMS) * len(CASES)
    print(f"{total - len(failures)} of {total} cases passed")
    assert not failures, "\n".join(failures)
