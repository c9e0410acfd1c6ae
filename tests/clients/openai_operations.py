"""What the official `openai` package does beside chat, against the gateway at $GATEWAY with $KEY; rows are read back at
$CONSOLE with $TOKEN."""

import io
import json
import os
import time

import openai
from openai.types.chat import ChatCompletion
from rows import row_of

client = openai.OpenAI(base_url=os.environ["GATEWAY"] + "/v1", api_key=os.environ["KEY"], max_retries=0)


def row(raw, operation: str) -> dict:
    """The row of a raw response, which must be that of a success."""
    found = row_of(raw.headers["x-tollgate-interaction-id"])
    assert found["operation"] == operation and found["outcome"] == "success", found
    return found


def recording() -> tuple:
    return ("a.wav", io.BytesIO(b"RIFF\x00\x01\xff\xfe" + bytes(4_000)), "audio/wav")


for provider in ("sandbox", "mock-openai"):
    model = provider + "/small"

    raw = client.completions.with_raw_response.create(model=model, prompt="Once upon a time", max_tokens=20)
    answer = raw.parse()
    assert answer.choices[0].text and answer.object == "text_completion", answer
    assert row(raw, "completions")["output_tokens"] == answer.usage.completion_tokens
    stream = client.completions.create(model=model, prompt="Once", max_tokens=20, stream=True)
    interaction_id = stream.response.headers["x-tollgate-interaction-id"]
    chunks = list(stream)
    assert "".join(chunk.choices[0].text for chunk in chunks) and all(chunk.usage is None for chunk in chunks)
    found = row_of(interaction_id)
    assert found["stream"] and found["usage_source"] == "provider" and found["output_tokens"] > 0, found
    print(provider, "completions: ok")

    raw = client.moderations.with_raw_response.create(model=model, input=["I will attack you", "good morning"])
    flagged = [result.flagged for result in raw.parse().results]
    assert flagged == [True, False], flagged
    row(raw, "moderations")
    print(provider, "moderations: ok")

    raw = client.images.with_raw_response.generate(model=model, prompt="a grey square", n=2)
    pictures = raw.parse()
    assert len(pictures.data) == 2 and all(picture.b64_json for picture in pictures.data), pictures
    found = row(raw, "images")
    assert found["image_output_tokens"] == pictures.usage.output_tokens == found["output_tokens"], found
    events = list(client.images.generate(model=model, prompt="a grey square", stream=True))
    assert [event.type for event in events] == ["image_generation.partial_image", "image_generation.completed"], events
    raw = client.images.with_raw_response.edit(
        model=model, image=("a.png", b"\x89PNG\r\n\x1a\n\x00\xff", "image/png"), prompt="a hat on it"
    )
    assert raw.parse().data[0].b64_json
    assert row(raw, "images")["image_input_tokens"] > 0
    print(provider, "images: ok")

    with client.audio.speech.with_streaming_response.create(model=model, voice="alloy", input="Good morning") as spoken:
        sound = b"".join(spoken.iter_bytes())
        interaction_id = spoken.headers["x-tollgate-interaction-id"]
        assert spoken.headers["content-type"] == "audio/mpeg", spoken.headers
    assert sound.startswith(b"\xff\xfb"), sound[:8]
    found = row_of(interaction_id)
    assert found["operation"] == "speech" and found["response_bytes"] == len(sound), found
    assert found["usage_source"] == "none" and found["cost_usd"] is None, found
    print(provider, "speech: ok")

    raw = client.audio.transcriptions.with_raw_response.create(model=model, file=recording())
    heard = raw.parse()
    found = row(raw, "transcription")
    assert heard.text and found["audio_input_tokens"] == heard.usage.input_token_details.audio_tokens, found
    subtitles = client.audio.transcriptions.create(model=model, file=recording(), response_format="srt")
    assert "-->" in subtitles, subtitles
    events = list(client.audio.transcriptions.create(model=model, file=recording(), stream=True))
    assert events[-1].type == "transcript.text.done" and events[-1].text, events[-1]
    raw = client.audio.translations.with_raw_response.create(model=model, file=recording())
    assert raw.parse().text
    row(raw, "translation")
    print(provider, "transcripts: ok")

# The sandbox keeps nothing, and of the providers only one speaks a format that has files.
assert list(client.files.list()) == []
lines = [
    {
        "custom_id": name,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "small", "messages": [{"role": "user", "content": f"Tell me of {name}"}]},
    }
    for name in ("ledgers", "tolls", "bridges")
]
written = "".join(json.dumps(line) + "\n" for line in lines).encode()
uploaded = client.files.create(file=("batch.jsonl", written), purpose="batch")
assert uploaded.object == "file" and uploaded.purpose == "batch", uploaded
raw = client.files.with_raw_response.retrieve(uploaded.id)
assert raw.parse().id == uploaded.id
assert row(raw, "files")["provider"] == "mock-openai"
assert client.files.content(uploaded.id).read() == written
assert [file.id for file in client.files.list(purpose="batch")] == [uploaded.id]
batch = client.batches.create(input_file_id=uploaded.id, endpoint="/v1/chat/completions", completion_window="24h")
assert batch.input_file_id == uploaded.id, batch
states = [batch.status]
deadline = time.monotonic() + 120
while batch.status not in ("completed", "failed", "expired", "cancelled"):
    assert time.monotonic() < deadline, batch
    time.sleep(0.02)
    batch = client.batches.retrieve(batch.id)
    if batch.status != states[-1]:
        states.append(batch.status)
assert states[0] == "validating" and states[-1] == "completed", states
counts = batch.request_counts
assert (counts.total, counts.completed, counts.failed, batch.error_file_id) == (3, 3, 0, None), batch
raw = client.files.with_raw_response.content(batch.output_file_id)
answers = [json.loads(line) for line in raw.parse().read().splitlines()]
assert [answer["custom_id"] for answer in answers] == ["ledgers", "tolls", "bridges"], answers
for answer in answers:
    completion = ChatCompletion.model_validate(answer["response"]["body"])
    assert answer["response"]["status_code"] == 200 and completion.choices[0].message.content, answer
assert batch.usage.total_tokens == sum(answer["response"]["body"]["usage"]["total_tokens"] for answer in answers), batch
row(raw, "files")
assert [listed.id for listed in client.batches.list()] == [batch.id]
try:
    client.batches.cancel(batch.id)
except openai.BadRequestError as refused:
    assert batch.id in refused.message, refused
else:
    raise AssertionError("a batch that is over was cancelled")
second = client.batches.create(
    input_file_id=uploaded.id,
    endpoint="/v1/chat/completions",
    completion_window="24h",
    extra_headers={"x-mock-batch-step-ms": "60000"},
)
raw = client.batches.with_raw_response.cancel(second.id)
assert raw.parse().status == "cancelling"
row(raw, "batches")
assert client.files.delete(uploaded.id).deleted
print("files and batches: ok")

try:
    client.images.generate(model="mock-anthropic/small", prompt="a grey square")
except openai.BadRequestError as refused:
    assert refused.code == "operation_not_supported" and "`mock-openai`" in refused.message, refused
else:
    raise AssertionError("a provider without pictures drew one")
try:
    client.audio.speech.create(model="mock-openai/small", voice="alloy", input="x", extra_headers={"x-mock-status": "503"})
except openai.InternalServerError as failed:
    assert failed.status_code == 503, failed
else:
    raise AssertionError("a failure was passed off as sound")
print("errors: ok")
