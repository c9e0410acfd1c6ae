"""Official packages of four vendors against the gateway at $GATEWAY with $KEY: each client in its own words, each with models
of providers that speak every format. Rows are read back at $CONSOLE with $TOKEN."""

import json
import os

import anthropic
import boto3
import openai
from botocore.config import Config
from google import genai
from google.genai import types
from rows import row_of

GATEWAY, KEY = os.environ["GATEWAY"], os.environ["KEY"]
MODELS = ("sandbox/small", "mock-openai/m", "mock-anthropic/m", "mock-gemini/m", "mock-bedrock/m")
QUESTION = "What is a ledger?"
SCHEMA = {"type": "object", "properties": {"account": {"type": "string"}}, "required": ["account"]}
ABOUT = "Balance of an account"


def seen(interaction_id: str, *, stream: bool) -> None:
    row = row_of(interaction_id)
    assert row["outcome"] == "success" and row["stream"] == stream, row
    assert row["usage_source"] == "provider" and row["output_tokens"] > 0, row


def chat(model: str) -> None:
    client = openai.OpenAI(base_url=GATEWAY + "/v1", api_key=KEY, max_retries=0)
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]
    raw = client.chat.completions.with_raw_response.create(model=model, messages=messages, max_tokens=200)
    answer = raw.parse()
    assert answer.choices[0].message.content and answer.usage.completion_tokens > 0, answer
    seen(raw.headers["x-tollgate-interaction-id"], stream=False)
    stream = client.chat.completions.create(
        model=model, messages=messages, stream=True, stream_options={"include_usage": True}, max_tokens=200
    )
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices), chunks
    assert chunks[-1].usage.completion_tokens > 0, chunks[-1]
    seen(stream.response.headers["x-tollgate-interaction-id"], stream=True)
    tools = [{"type": "function", "function": {"name": "get_balance", "description": ABOUT, "parameters": SCHEMA}}]
    answer = client.chat.completions.create(
        model=model, messages=messages, tools=tools, max_tokens=200,
        tool_choice={"type": "function", "function": {"name": "get_balance"}},
    )
    (call,) = answer.choices[0].message.tool_calls
    assert call.function.name == "get_balance" and json.loads(call.function.arguments), answer
    messages += [answer.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "12 EUR"}]
    answer = client.chat.completions.create(model=model, messages=messages, tools=tools, max_tokens=200)
    assert answer.choices[0].finish_reason in ("stop", "tool_calls"), answer


def responses(model: str) -> None:
    client = openai.OpenAI(base_url=GATEWAY + "/v1", api_key=KEY, max_retries=0)
    raw = client.responses.with_raw_response.create(model=model, instructions="Be brief.", input=QUESTION)
    answer = raw.parse()
    assert answer.output_text and answer.status == "completed" and answer.usage.output_tokens > 0, answer
    seen(raw.headers["x-tollgate-interaction-id"], stream=False)
    with client.responses.stream(model=model, input=QUESTION) as stream:
        names = [event.type for event in stream]
        final = stream.get_final_response()
    assert names[0] == "response.created" and names[-1] == "response.completed", names
    assert final.output_text and final.usage.output_tokens > 0, final
    tool = {"type": "function", "name": "get_balance", "description": ABOUT, "parameters": SCHEMA, "strict": False}
    answer = client.responses.create(
        model=model, input=QUESTION, tools=[tool], tool_choice={"type": "function", "name": "get_balance"}
    )
    (call,) = [item for item in answer.output if item.type == "function_call"]
    assert call.name == "get_balance" and json.loads(call.arguments), answer
    again = [{"role": "user", "content": QUESTION}, *answer.output]
    again.append({"type": "function_call_output", "call_id": call.call_id, "output": "12 EUR"})
    assert client.responses.create(model=model, input=again, tools=[tool]).status == "completed"
    custom_tool(client, model)


def custom_tool(client: openai.OpenAI, model: str) -> None:
    """A tool that takes free text: told to whoever has such, refused by name to all others."""
    tool = {"type": "custom", "name": "ledger_query", "description": "Takes a line of text"}
    asked = {"model": model, "input": QUESTION, "tools": [tool], "tool_choice": {"type": "custom", "name": "ledger_query"}}
    if model not in ("sandbox/small", "mock-openai/m"):
        try:
            client.responses.create(**asked)
        except openai.BadRequestError as refused:
            assert "`tools[0]` (a tool of the type `custom`" in refused.message, refused
            return
        raise AssertionError(f"{model} was told of a tool that its API does not have")
    (call,) = client.responses.create(**asked).output
    assert call.type == "custom_tool_call" and call.name == "ledger_query" and call.input, call
    with client.responses.stream(**asked) as stream:
        events = list(stream)
    said = "".join(event.delta for event in events if event.type == "response.custom_tool_call_input.delta")
    (done,) = [event.input for event in events if event.type == "response.custom_tool_call_input.done"]
    assert said == done and said, events
    again = [
        {"role": "user", "content": QUESTION},
        call,
        {"type": "custom_tool_call_output", "call_id": call.call_id, "output": "12 EUR"},
    ]
    assert client.responses.create(model=model, input=again, tools=[tool]).output_text


def messages(model: str) -> None:
    client = anthropic.Anthropic(base_url=GATEWAY, api_key=KEY, max_retries=0)
    turns = [{"role": "user", "content": QUESTION}]
    raw = client.messages.with_raw_response.create(model=model, system="Be brief.", messages=turns, max_tokens=200)
    answer = raw.parse()
    assert answer.content[0].text and answer.usage.output_tokens > 0 and answer.stop_reason, answer
    seen(raw.headers["x-tollgate-interaction-id"], stream=False)
    with client.messages.stream(model=model, messages=turns, max_tokens=200) as stream:
        assert "".join(stream.text_stream)
        assert stream.get_final_message().usage.output_tokens > 0
    tools = [{"name": "get_balance", "description": ABOUT, "input_schema": SCHEMA}]
    answer = client.messages.create(
        model=model, messages=turns, max_tokens=200, tools=tools, tool_choice={"type": "tool", "name": "get_balance"}
    )
    (call,) = [block for block in answer.content if block.type == "tool_use"]
    assert call.name == "get_balance" and answer.stop_reason == "tool_use", answer
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "12 EUR"}
    turns += [{"role": "assistant", "content": answer.content}, {"role": "user", "content": [result]}]
    assert client.messages.create(model=model, messages=turns, max_tokens=200, tools=tools).stop_reason


def gemini(model: str) -> None:
    client = genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=GATEWAY))
    config = types.GenerateContentConfig(system_instruction="Be brief.", max_output_tokens=200)
    answer = client.models.generate_content(model=model, contents=QUESTION, config=config)
    assert answer.text and answer.usage_metadata.candidates_token_count > 0, answer
    seen(answer.sdk_http_response.headers["x-tollgate-interaction-id"], stream=False)
    chunks = list(client.models.generate_content_stream(model=model, contents=QUESTION, config=config))
    assert "".join(chunk.text or "" for chunk in chunks), chunks
    assert chunks[-1].usage_metadata.candidates_token_count > 0, chunks[-1]
    function = types.FunctionDeclaration(name="get_balance", description=ABOUT, parameters_json_schema=SCHEMA)
    config.tools = [types.Tool(function_declarations=[function])]
    config.tool_config = types.ToolConfig(function_calling_config=types.FunctionCallingConfig(
        mode="ANY", allowed_function_names=["get_balance"]))
    answer = client.models.generate_content(model=model, contents=QUESTION, config=config)
    (call,) = answer.function_calls
    assert call.name == "get_balance", answer
    config.tool_config = None
    turns = [
        types.Content(role="user", parts=[types.Part(text=QUESTION)]),
        answer.candidates[0].content,
        types.Content(role="user", parts=[types.Part.from_function_response(name="get_balance", response={"output": "12"})]),
    ]
    assert client.models.generate_content(model=model, contents=turns, config=config).candidates[0].finish_reason


def bedrock(model: str) -> None:
    client = boto3.client(
        "bedrock-runtime", endpoint_url=GATEWAY, region_name="eu-central-1", config=Config(retries={"max_attempts": 1}),
        aws_access_key_id=KEY, aws_secret_access_key="-",
    )
    turns = [{"role": "user", "content": [{"text": QUESTION}]}]
    limit = {"maxTokens": 200}
    answer = client.converse(modelId=model, system=[{"text": "Be brief."}], messages=turns, inferenceConfig=limit)
    assert answer["output"]["message"]["content"][0]["text"] and answer["usage"]["outputTokens"] > 0, answer
    seen(answer["ResponseMetadata"]["HTTPHeaders"]["x-tollgate-interaction-id"], stream=False)
    events = list(client.converse_stream(modelId=model, messages=turns, inferenceConfig=limit)["stream"])
    assert "".join(e["contentBlockDelta"]["delta"].get("text", "") for e in events if "contentBlockDelta" in e), events
    assert events[-1]["metadata"]["usage"]["outputTokens"] > 0, events[-1]
    tools = {"tools": [{"toolSpec": {"name": "get_balance", "description": ABOUT, "inputSchema": {"json": SCHEMA}}}]}
    forced = {**tools, "toolChoice": {"tool": {"name": "get_balance"}}}
    answer = client.converse(modelId=model, messages=turns, toolConfig=forced, inferenceConfig=limit)
    message = answer["output"]["message"]
    (call,) = [block["toolUse"] for block in message["content"] if "toolUse" in block]
    assert call["name"] == "get_balance" and answer["stopReason"] == "tool_use", answer
    result = {"toolResult": {"toolUseId": call["toolUseId"], "content": [{"text": "12 EUR"}]}}
    turns += [message, {"role": "user", "content": [result]}]
    assert client.converse(modelId=model, messages=turns, toolConfig=tools, inferenceConfig=limit)["stopReason"]


for client in (chat, responses, messages, gemini, bedrock):
    for model in MODELS:
        client(model)
        print(client.__name__, model, "ok")
