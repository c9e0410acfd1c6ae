"""The Realtime API of the official `openai` package against the gateway at $GATEWAY with $KEY. The provider, `voice`, is a
WebSocket server at $PORT that this script itself is; with $CONSOLE and $TOKEN, the rows are read back."""

import asyncio
import base64
import json
import os

import openai
import websockets
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

GATEWAY, KEY, PORT = os.environ["GATEWAY"], os.environ["KEY"], int(os.environ["PORT"])
SOUND = base64.b64encode(bytes(24_000)).decode()
USAGE = {
    "total_tokens": 275,
    "input_tokens": 127,
    "output_tokens": 148,
    "input_token_details": {
        "text_tokens": 100,
        "audio_tokens": 27,
        "image_tokens": 0,
        "cached_tokens": 80,
        "cached_tokens_details": {"text_tokens": 60, "audio_tokens": 20, "image_tokens": 0},
    },
    "output_token_details": {"text_tokens": 36, "audio_tokens": 112},
}
asked = []


async def provide(socket):
    """Greets, and answers each `response.create` with words, sound and a count."""
    asked.append(socket.request)
    send = lambda event: socket.send(json.dumps(event))  # noqa: E731
    await send({"type": "session.created", "event_id": "e0", "session": {"type": "realtime", "model": "gpt-realtime"}})
    async for message in socket:
        event = json.loads(message)
        if event["type"] != "response.create":
            continue
        response = {"id": "r1", "object": "realtime.response", "status": "in_progress", "output": []}
        await send({"type": "response.created", "event_id": "e1", "response": response})
        part = {"event_id": "e2", "response_id": "r1", "item_id": "i1", "output_index": 0, "content_index": 0}
        await send({"type": "response.output_audio_transcript.delta", "delta": "Hello.", **part})
        for _ in range(40):
            await send({"type": "response.output_audio.delta", "delta": SOUND, **part})
        done = {**response, "status": "completed", "usage": USAGE}
        await send({"type": "response.done", "event_id": "e3", "response": done})


async def talk(client):
    async with client.realtime.connect(model="voice/gpt-realtime") as connection:
        sound, usage = 0, None
        await connection.session.update(session={"type": "realtime", "instructions": "Be brief."})
        await connection.input_audio_buffer.append(audio=SOUND)
        await connection.response.create()
        async for event in connection:
            if event.type == "response.output_audio.delta":
                sound += len(base64.b64decode(event.delta))
            if event.type == "response.done":
                usage = event.response.usage
                break
        headers = connection._connection.response.headers
    assert sound == 40 * 24_000, sound
    assert usage.output_token_details.audio_tokens == 112, usage
    return headers["x-tollgate-interaction-id"]


async def main():
    # As OpenAI does: a page has to offer one and gets it back, a program need not.
    chosen = lambda socket, offered: "realtime" if "realtime" in offered else None  # noqa: E731
    async with serve(provide, "127.0.0.1", PORT, select_subprotocol=chosen, max_size=None):
        client = openai.AsyncOpenAI(base_url=GATEWAY + "/v1", api_key=KEY, max_retries=0)
        ids = [await talk(client) for _ in range(2)]
        request = asked[0]
        assert request.path == "/v1/realtime?model=gpt-realtime", request.path
        assert request.headers["authorization"] == "Bearer sk-voice", request.headers
        print("openai: ok")

        # As a page in a browser has to: no headers, the key among the subprotocols.
        url = GATEWAY.replace("http", "ws", 1) + "/v1/realtime?model=voice%2Fgpt-realtime"
        async with connect(url, subprotocols=["realtime", f"openai-insecure-api-key.{KEY}"]) as socket:
            assert socket.subprotocol == "realtime", socket.subprotocol
            assert json.loads(await socket.recv())["type"] == "session.created"
            await (await socket.ping())
        print("websockets: ok")

        try:
            async with client.realtime.connect(model="voice/gpt-realtim", extra_headers={"authorization": "Bearer no"}):
                raise AssertionError("nobody asked who calls")
        except websockets.exceptions.InvalidStatus as refused:
            body = json.loads(refused.response.body)
            assert (refused.response.status_code, body["error"]["code"]) == (401, "key_unknown"), body
        print("refused: ok")
    if "CONSOLE" in os.environ:
        from rows import row_of

        for interaction_id in ids:
            row = row_of(interaction_id)
            assert (row["operation"], row["outcome"], row["usage_source"]) == ("realtime", "success", "provider"), row
            assert (row["input_tokens"], row["output_tokens"]) == (127, 148), row
            assert (row["cache_read_input_tokens"], row["audio_output_tokens"]) == (80, 112), row
            # 40 words fresh and 80 tokens cached, 7 of sound heard; 36 of words and 112 of sound said.
            expected = (40 * 4 + 80 * 0.4 + 7 * 32 + 36 * 16 + 112 * 64) / 1_000_000
            assert abs(float(row["cost_usd"]) - expected) < 1e-12, (row["cost_usd"], expected)
        print("rows: ok")


asyncio.run(main())
