"""The official `anthropic` package against the gateway at $GATEWAY with $KEY; rows are read back at $CONSOLE."""

import os

import anthropic
from rows import row_of

client = anthropic.Anthropic(base_url=os.environ["GATEWAY"], api_key=os.environ["KEY"], max_retries=0)
TOOLS = [
    {
        "name": "get_balance",
        "description": "Balance of an account",
        "input_schema": {"type": "object", "properties": {"account": {"type": "string"}}, "required": ["account"]},
    }
]

for model in ("sandbox/small", "mock-anthropic/claude-sonnet-4-5"):
    messages = [{"role": "user", "content": "What is a ledger?"}]

    raw = client.messages.with_raw_response.create(model=model, max_tokens=200, messages=messages)
    answer = raw.parse()
    assert answer.content[0].text and answer.stop_reason, answer
    row = row_of(raw.headers["x-tollgate-interaction-id"])
    assert row["outcome"] == "success" and row["dialect"] == "anthropic", row
    assert row["input_tokens"] >= answer.usage.input_tokens, row
    assert row["output_tokens"] == answer.usage.output_tokens, row
    print(model, "plain: ok")

    with client.messages.stream(model=model, max_tokens=200, messages=messages) as stream:
        interaction_id = stream.response.headers["x-tollgate-interaction-id"]
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text and final.usage.output_tokens > 0, final
    row = row_of(interaction_id)
    assert row["stream"] and row["usage_source"] == "provider", row
    assert row["output_tokens"] == final.usage.output_tokens, row
    print(model, "stream: ok")

    answer = client.messages.create(
        model=model,
        max_tokens=200,
        messages=messages,
        tools=TOOLS,
        tool_choice={"type": "tool", "name": "get_balance"},
    )
    assert any(block.type == "tool_use" and block.name == "get_balance" for block in answer.content), answer
    print(model, "tools: ok")

    with client.messages.stream(
        model=model, max_tokens=400, messages=[{"role": "user", "content": "Write a long story."}]
    ) as stream:
        interaction_id = stream.response.headers["x-tollgate-interaction-id"]
        next(iter(stream.text_stream))
    row = row_of(interaction_id)
    assert row["outcome"] == "cancelled" and row["cost_usd"] is not None, row
    print(model, "cancelled: ok")

try:
    client.messages.create(model="nobody/nothing", max_tokens=5, messages=[{"role": "user", "content": "x"}])
    raise AssertionError("an unknown model was served")
except anthropic.NotFoundError as error:
    assert error.body["type"] == "error", error.body
    row = row_of(error.response.headers["x-tollgate-interaction-id"])
    assert row["error_type"] == "model_not_found", row
print("unknown model: ok")

try:
    client.messages.create(
        model="mock-openai/gpt-5-mini", max_tokens=5, messages=[{"role": "user", "content": "x"}], extra_body={"top_k": 5}
    )
    raise AssertionError("`top_k` was lost unsaid")
except anthropic.BadRequestError as error:
    assert "unsupported_field" in str(error) and "`top_k`" in str(error), error
print("nothing is lost unsaid: ok")

try:
    stranger = anthropic.Anthropic(base_url=os.environ["GATEWAY"], api_key="tg-unknown", max_retries=0)
    stranger.messages.create(model="sandbox/small", max_tokens=5, messages=[{"role": "user", "content": "x"}])
    raise AssertionError("an unknown key was served")
except anthropic.AuthenticationError:
    pass
print("unknown key: ok")
