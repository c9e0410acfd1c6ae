"""LangChain and LiteLLM against the gateway, in every API they speak, with providers that speak three; see `cases`."""

import json
import os

# LiteLLM would fetch prices from the internet when it is imported.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import langchain_anthropic.chat_models as of_anthropic
import langchain_openai.chat_models.base as of_openai
import litellm
from cases import ABOUT, ARGUMENTS, GATEWAY, KEY, PNG, QUESTION, RESULT, SCHEMA, TOOL, run
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI

FUNCTION = {"type": "function", "function": {"name": TOOL, "description": ABOUT, "parameters": ARGUMENTS}}


def errors_of(package, prefix: str, not_found: str, server: str) -> dict:
    names = {401: "AuthenticationError", 404: not_found, 429: "RateLimitError", 500: server}
    return {status: getattr(package, prefix + name) for status, name in names.items()}


class LangChain:
    honours_retry_after = True

    def __init__(self, name: str, dialect: str, package, vendor: str, build) -> None:
        self.name, self.dialect, self.build = name, dialect, build
        # Its own, each of them one of the vendor's too.
        self.errors = errors_of(package, vendor, "ModelNotFoundError", "APIError")

    def model(self, case, headers, key=KEY, retries=0):
        return self.build(model=case.name, api_key=key, max_retries=retries, default_headers=headers)

    def whole(self, case, headers, **more):
        answer = self.model(case, headers, **more).invoke(QUESTION)
        return answer.text, (answer.usage_metadata["input_tokens"], answer.usage_metadata["output_tokens"])

    def stream(self, case, headers):
        chunks = list(self.model(case, headers).stream(QUESTION))
        total = sum(chunks[1:], chunks[0]).usage_metadata
        return [chunk.text for chunk in chunks], (total["input_tokens"], total["output_tokens"])

    def tools(self, case, headers):
        model, turns = self.model(case, headers), [HumanMessage(QUESTION)]
        asked = model.bind_tools([FUNCTION], tool_choice=TOOL).invoke(turns)
        (call,) = asked.tool_calls
        turns += [asked, ToolMessage(RESULT, tool_call_id=call["id"])]
        return call["name"], call["args"], model.bind_tools([FUNCTION]).invoke(turns).text

    def structured(self, case, headers):
        return self.model(case, headers).with_structured_output(SCHEMA, method="json_schema").invoke(QUESTION)

    def vision(self, case, headers):
        picture = {"type": "image", "base64": PNG, "mime_type": "image/png"}
        return self.model(case, headers).invoke([HumanMessage([{"type": "text", "text": QUESTION}, picture])]).text

    def abort(self, case, headers):
        stream = self.model(case, headers).stream(QUESTION)
        next(stream)
        stream.close()


class LiteLlm:
    honours_retry_after = False

    def __init__(self, name: str, dialect: str, prefix: str, base: str) -> None:
        self.name, self.dialect, self.prefix, self.base = name, dialect, prefix, base
        self.errors = errors_of(litellm, "", "NotFoundError", "InternalServerError")

    def ask(self, case, headers, key=KEY, retries=0, content=QUESTION, messages=None, **more):
        return litellm.completion(
            model=f"{self.prefix}/{case.name}", api_base=self.base, api_key=key, extra_headers=headers,
            max_retries=0, num_retries=retries, messages=messages or [{"role": "user", "content": content}], **more,
        )

    def whole(self, case, headers, **more):
        answer = self.ask(case, headers, **more)
        return answer.choices[0].message.content, (answer.usage.prompt_tokens, answer.usage.completion_tokens)

    def stream(self, case, headers):
        chunks = list(self.ask(case, headers, stream=True, stream_options={"include_usage": True}))
        usage = chunks[-1].usage
        pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
        return pieces, (usage.prompt_tokens, usage.completion_tokens)

    def tools(self, case, headers):
        turns = [{"role": "user", "content": QUESTION}]
        choice = {"type": "function", "function": {"name": TOOL}}
        # From `gpt-5` in a name that is not in its own list it concludes that a tool cannot be chosen.
        more = {"tool_choice": choice, "allowed_openai_params": ["tool_choice"]}
        asked = self.ask(case, headers, messages=turns, tools=[FUNCTION], **more).choices[0].message
        (call,) = asked.tool_calls
        turns += [asked, {"role": "tool", "tool_call_id": call.id, "content": RESULT}]
        text = self.ask(case, headers, messages=turns, tools=[FUNCTION]).choices[0].message.content
        return call.function.name, json.loads(call.function.arguments), text

    def structured(self, case, headers):
        wanted = {"type": "json_schema", "json_schema": {"name": "payment", "strict": True, "schema": SCHEMA}}
        return json.loads(self.ask(case, headers, response_format=wanted).choices[0].message.content)

    def vision(self, case, headers):
        picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + PNG}}
        answer = self.ask(case, headers, content=[{"type": "text", "text": QUESTION}, picture])
        return answer.choices[0].message.content

    def abort(self, case, headers):
        stream = self.ask(case, headers, stream=True)
        next(iter(stream))
        stream.completion_stream.close()


def chat(**settings):
    return ChatOpenAI(base_url=GATEWAY + "/v1", stream_usage=True, **settings)


def responses(**settings):
    return ChatOpenAI(base_url=GATEWAY + "/v1", use_responses_api=True, **settings)


def messages(**settings):
    return ChatAnthropic(base_url=GATEWAY, max_tokens=200, **settings)


run([
    LangChain("langchain-openai chat", "openai", of_openai, "OpenAI", chat),
    LangChain("langchain-openai responses", "responses", of_openai, "OpenAI", responses),
    LangChain("langchain-anthropic", "anthropic", of_anthropic, "Anthropic", messages),
    LiteLlm("litellm openai", "openai", "openai", GATEWAY + "/v1"),
    LiteLlm("litellm anthropic", "anthropic", "anthropic", GATEWAY),
])
