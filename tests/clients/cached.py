"""The official `openai` package against an alias that keeps answers: whole and streamed, asked twice, and in other words."""

import os
import sys

import openai
from rows import row_of

client = openai.OpenAI(base_url=os.environ["GATEWAY"] + "/v1", api_key=os.environ["KEY"], max_retries=0)
PASS = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("PASS", "first")


def whole(model: str, text: str, **more) -> tuple[str, dict, str]:
    raw = client.chat.completions.with_raw_response.create(
        model=model, messages=[{"role": "user", "content": text}], **more
    )
    row = row_of(raw.headers["x-tollgate-interaction-id"])
    return raw.headers.get("x-tollgate-cache", ""), row, raw.parse().choices[0].message.content


def streamed(model: str, text: str) -> tuple[str, dict, list]:
    stream = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": text}], stream=True, stream_options={"include_usage": True}
    )
    headers = stream.response.headers
    chunks = [chunk.model_dump() for chunk in stream]
    return headers.get("x-tollgate-cache", ""), row_of(headers["x-tollgate-interaction-id"]), chunks


if PASS == "first":
    label, first, said = whole("faq", "What is a ledger?")
    assert (label, first["outcome"]) == ("miss", "success"), (label, first)
    label, again, repeated = whole("faq", "What is a ledger?", user="somebody")
    assert (label, repeated) == ("hit", said), (label, repeated, said)
    assert again["outcome"] == "cached" and again["cache_kind"] == "exact", again
    assert again["cached_from"] == first["interaction_id"], again
    assert again["cost_saved_usd"] == first["cost_usd"] and float(again["cost_saved_usd"]) > 0, (again, first)
    assert float(again["cost_usd"]) == 0 and again["cost_source"] == "cache", again
    assert again["input_tokens"] is None and again["provider"] is None, again

    label, first, chunks = streamed("faq", "Tell me of ledgers")
    assert label == "miss" and len(chunks) > 3, (label, chunks)
    label, again, repeated = streamed("faq", "Tell me of ledgers")
    assert label == "hit" and repeated == chunks, (label, repeated, chunks)
    assert again["stream"] and again["cost_saved_usd"] == first["cost_usd"], again

    label, _, _ = whole("faq", "What is a ledger?", extra_headers={"cache-control": "no-store"})
    assert label == "bypass", label

    label, first, said = whole("near", "how do I close my account at the bank")
    assert label == "miss", label
    label, again, repeated = whole("near", "how do I close my account at the bank?")
    assert (label, repeated) == ("semantic", said), (label, repeated, said)
    assert again["cache_kind"] == "semantic" and 0.5 <= float(again["cache_similarity"]) < 1, again
    assert again["cached_from"] == first["interaction_id"], again
    label, _, _ = whole("near", "weather in Bergen tomorrow morning, with wind")
    assert label == "miss", label
else:
    # After `kill -9` and a restart: what was answered before is still there.
    label, again, _ = whole("faq", "What is a ledger?")
    assert (label, again["outcome"]) == ("hit", "cached"), (label, again)
print(PASS, "ok")
