"""What every client is put through, and what is then expected of its rows and of the provider behind the gateway.

Rows are looked at client by client, since asking for them one by one takes longer than the calls. $UPSTREAMS says, per format: `name` of the model here, `model` and `provider` as rows name them, `url` of the mock provider and
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
        return {"x-mock-error-rate": "0.5", "x-mock-error-status": "429"}


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

    def good(self, rows: list[dict], *, stream: bool = False, count: int = 1, outcome: str = "success") -> dict:
        """The last of `count` rows, after it was found to be what a good call's must be."""
        assert len(rows) == count, f"{len(rows)} rows, not {count}"
        row = rows[-1]
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

    def failed(self, rows: list[dict], status: int, error_type: str | None = None) -> None:
        (row,) = rows
        assert (row["outcome"], row["http_status"]) == ("failed", status), row
        assert row["error_type"] and error_type in (None, row["error_type"]), row
        assert row["cost_usd"] is None, row


def counts(row: dict, text: str, usage: tuple[int, int] | None) -> None:
    assert text, "no text"
    assert (row["output_tokens"], row["cache_read_input_tokens"]) == (OUTPUT_TOKENS, CACHED_TOKENS), row
    if usage:
        assert usage == (row["input_tokens"], row["output_tokens"]), f"the client counts {usage}: {row}"


def whole(case: Case):
    text, usage = case.client.whole(case, case.headers)
    return lambda rows: counts(case.good(rows), text, usage)


def streamed(case: Case):
    pieces, usage = case.client.stream(case, case.headers)
    assert len([piece for piece in pieces if piece]) > 3, f"hardly a stream: {pieces}"
    return lambda rows: counts(case.good(rows, stream=True), "".join(pieces), usage)


def tools(case: Case):
    name, arguments, text = case.client.tools(case, case.headers)
    assert name == TOOL and isinstance(arguments["account"], str) and text, (name, arguments, text)
    assert RESULT in case.provider.ask("last")["body"], "the tool's result did not reach the provider"
    return lambda rows: case.good(rows, count=2)


def structured(case: Case):
    payment = case.client.structured(case, case.headers)
    assert set(payment) == {"account", "amount"} and isinstance(payment["amount"], int), payment
    return case.good


def vision(case: Case):
    assert case.client.vision(case, case.headers)
    assert PNG in case.provider.ask("last")["body"], "the picture did not reach the provider"
    return case.good


def retried(case: Case):
    headers = case.headers | case.provider.fail_next()
    # A client that comes back before the time it was told is refused by the gateway, which keeps to it.
    if case.client.honours_retry_after:
        headers["x-mock-retry-after-s"] = "1"
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

    def check(rows: list[dict]) -> None:
        case.good(rows, count=2)
        case.failed(rows[:1], 429)

    return check


def cancelled(case: Case):
    case.client.abort(case, case.headers | {"x-mock-chunk-delay-ms": "40", "x-mock-output-tokens": "25"})

    def check(rows: list[dict]) -> None:
        # The provider's answer was read to its end, and so it is what the provider counts that is charged.
        row = case.good(rows, stream=True, outcome="cancelled")
        assert row["output_tokens"] == 25, row

    return check


def refused(status: int):
    def refused(case: Case):
        expect(case, status, case.headers | {"x-mock-status": str(status)}, {})
        return lambda rows: case.failed(rows, status)

    return refused


def stranger(case: Case):
    # What a stranger says of the call is not kept, so its row is counted at the end.
    expect(case, 401, case.headers, {"key": "tg-unknown"})
    return None


def unknown_model(case: Case):
    case.name = "nobody/nothing"
    expect(case, 404, case.headers, {})
    return lambda rows: case.failed(rows, 404, "model_not_found")


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


def rows_of(client, spoken: str, conversations: set[str]) -> dict[str, list[dict]]:
    """The rows of one client's cases with one upstream by conversation, once none is still in flight."""
    deadline, rows = time.monotonic() + 60, {}
    start = f"{client.name} {spoken} "
    while missing := conversations - rows.keys():
        assert time.monotonic() < deadline, f"no rows of {missing}"
        time.sleep(0.2)
        found = query(f"select * from interactions where starts_with(conversation_id, '{start}') order by started_at")
        rows = {}
        for row in found:
            rows.setdefault(row["conversation_id"], []).append(row)
    return rows


def run(clients: list) -> None:
    """Puts every client through every case with every upstream; those of one upstream follow each other."""

    def with_upstream(spoken: str) -> list[str]:
        failures = []

        def tried(client, name: str, step):
            try:
                return step()
            except Exception:
                failures.append(f"{client.name}, {spoken}, {name}:\n{traceback.format_exc(limit=-4)}")

        for client in clients:
            checks = {}
            for name, body in CASES.items():
                case = Case(client, spoken, name)
                check = tried(client, name, lambda: body(case))
                if check:
                    checks[case.conversation] = (name, check)
            rows = tried(client, "rows", lambda: rows_of(client, spoken, set(checks)))
            for conversation, (name, check) in checks.items() if rows else ():
                tried(client, name, lambda: check(rows.get(conversation, [])))
        return failures

    with ThreadPoolExecutor(len(UPSTREAMS)) as pool:
        failures = [failure for failures in pool.map(with_upstream, UPSTREAMS) for failure in failures]
    denied = query("select dialect from interactions where outcome = 'denied' and error_type = 'key_unknown'")
    strangers = sorted(client.dialect for client in clients for _ in UPSTREAMS)
    if sorted(row["dialect"] for row in denied) != strangers:
        failures.append(f"rows of strangers: {denied}")
    print(f"{len(clients)} clients, {len(UPSTREAMS)} upstreams, {len(CASES)} cases each: {len(failures)} failures")
    assert not failures, "\n".join(failures)
