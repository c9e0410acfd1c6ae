"""The official `openai` package against the gateway at $GATEWAY with $KEY; rows are read back at $CONSOLE with $TOKEN."""

import os

import openai
from rows import row_of

client = openai.OpenAI(base_url=os.environ["GATEWAY"] + "/v1", api_key=os.environ["KEY"], max_retries=0)
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_balance",
            "description": "Balance of an account",
            "parameters": {"type": "object", "properties": {"account": {"type": "string"}}, "required": ["account"]},
        },
    }
]

for model in ("sandbox/small", "mock-openai/gpt-5-mini"):
    messages = [{"role": "user", "content": "What is a ledger?"}]

    raw = client.chat.completions.with_raw_response.create(model=model, messages=messages)
    answer = raw.parse()
    assert answer.choices[0].message.content, answer
    assert answer.choices[0].finish_reason == "stop", answer
    row = row_of(raw.headers["x-tollgate-interaction-id"])
    assert row["outcome"] == "success", row
    assert row["input_tokens"] == answer.usage.prompt_tokens, row
    assert row["output_tokens"] == answer.usage.completion_tokens, row
    print(model, "plain: ok")

    text, usage = "", None
    stream = client.chat.completions.create(
        model=model, messages=messages, stream=True, stream_options={"include_usage": True}
    )
    interaction_id = stream.response.headers["x-tollgate-interaction-id"]
    for chunk in stream:
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
        usage = chunk.usage or usage
    assert text and usage, (text, usage)
    row = row_of(interaction_id)
    assert row["stream"] and row["usage_source"] == "provider", row
    assert row["output_tokens"] == usage.completion_tokens, row
    print(model, "stream with usage: ok")

    # A client that did not ask for usage must not be sent the extra chunk, and its tokens are known all the same.
    stream = client.chat.completions.create(model=model, messages=messages, stream=True)
    interaction_id = stream.response.headers["x-tollgate-interaction-id"]
    chunks = list(stream)
    assert all(chunk.choices for chunk in chunks), "a chunk without choices was sent"
    row = row_of(interaction_id)
    assert row["usage_source"] == "provider" and row["output_tokens"] > 0, row
    print(model, "stream without usage: ok")

    answer = client.chat.completions.create(
        model=model, messages=messages, tools=TOOLS, tool_choice={"type": "function", "function": {"name": "get_balance"}}
    )
    assert answer.choices[0].message.tool_calls[0].function.name == "get_balance", answer
    assert answer.choices[0].finish_reason in ("tool_calls", "stop"), answer
    print(model, "tools: ok")

    arguments = ""
    for chunk in client.chat.completions.create(
        model=model,
        messages=messages,
        tools=TOOLS,
        tool_choice={"type": "function", "function": {"name": "get_balance"}},
        stream=True,
    ):
        for choice in chunk.choices:
            for call in choice.delta.tool_calls or []:
                arguments += call.function.arguments or ""
    assert arguments.startswith("{") and arguments.endswith("}"), arguments
    print(model, "streamed tools: ok")

    stream = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "Write a long story."}], stream=True, max_tokens=400
    )
    interaction_id = stream.response.headers["x-tollgate-interaction-id"]
    next(iter(stream))
    stream.close()
    row = row_of(interaction_id)
    assert row["outcome"] == "cancelled", row
    assert row["usage_source"] in ("provider", "partial", "estimated"), row
    assert row["cost_usd"] is not None, row
    print(model, "cancelled: ok")

for model in ("sandbox/embed", "mock-openai/text-embedding-3-small"):
    vectors = client.embeddings.create(model=model, input=["one", "two"])
    assert len(vectors.data) == 2 and len(vectors.data[0].embedding) > 10, vectors
    print(model, "embeddings: ok")

assert "sandbox/small" in [model.id for model in client.models.list()]
print("models: ok")

try:
    client.chat.completions.create(model="nobody/nothing", messages=[{"role": "user", "content": "x"}])
    raise AssertionError("an unknown model was served")
except openai.NotFoundError as error:
    assert error.code == "model_not_found", error
    row = row_of(error.response.headers["x-tollgate-interaction-id"])
    assert row["outcome"] in ("failed", "denied") and row["error_type"] == "model_not_found", row
print("unknown model: ok")

try:
    stranger = openai.OpenAI(base_url=os.environ["GATEWAY"] + "/v1", api_key="tg-unknown", max_retries=0)
    stranger.chat.completions.create(model="sandbox/small", messages=[{"role": "user", "content": "x"}])
    raise AssertionError("an unknown key was served")
except openai.AuthenticationError as error:
    row = row_of(error.response.headers["x-tollgate-interaction-id"])
    assert row["outcome"] == "denied", row
print("unknown key: ok")

try:
    client.chat.completions.create(
        model="mock-openai/gpt-5-mini",
        messages=[{"role": "user", "content": "x"}],
        extra_headers={"x-mock-status": "429"},
    )
    raise AssertionError("a rate limit was hidden")
except openai.RateLimitError as error:
    row = row_of(error.response.headers["x-tollgate-interaction-id"])
    assert row["outcome"] == "failed" and row["http_status"] == 429, row
print("rate limit: ok")
