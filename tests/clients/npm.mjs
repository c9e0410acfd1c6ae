// The npm packages `openai`, `@anthropic-ai/sdk` and Vercel's `ai` against the gateway; see `cases.mjs`.
import OpenAI from "openai";
import Anthropic from "@anthropic-ai/sdk";
import { APICallError, RetryError, generateText, jsonSchema, Output, streamText, tool } from "ai";
import { createOpenAI } from "@ai-sdk/openai";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { ABOUT, ARGUMENTS, GATEWAY, KEY, PNG, QUESTION, RESULT, SCHEMA, TOOL, run } from "./cases.mjs";

const LIMIT = 200;

/** Whether an error of a vendor's own package is of the class that its status calls for. */
function wrongOf(vendor) {
  const classes = {
    401: vendor.AuthenticationError, 404: vendor.NotFoundError, 429: vendor.RateLimitError, 500: vendor.InternalServerError,
  };
  return (error, status) => {
    if (error.constructor !== classes[status]) return `it is a ${error.constructor.name}`;
    return error.status === status ? null : `it says ${error.status}`;
  };
}

class Chat {
  name = "openai chat";
  dialect = "openai";
  wrong = wrongOf(OpenAI);
  ask(one, headers, body, { key = KEY, retries = 0 } = {}) {
    const client = new OpenAI({ baseURL: `${GATEWAY}/v1`, apiKey: key, maxRetries: retries });
    const messages = [{ role: "user", content: QUESTION }];
    return client.chat.completions.create({ model: one.name, messages, ...body }, { headers });
  }
  async whole(one, headers, more) {
    const answer = await this.ask(one, headers, {}, more);
    return [answer.choices[0].message.content, [answer.usage.prompt_tokens, answer.usage.completion_tokens]];
  }
  async stream(one, headers) {
    const [pieces, usage] = [[], []];
    for await (const chunk of await this.ask(one, headers, { stream: true, stream_options: { include_usage: true } })) {
      pieces.push(...chunk.choices.map((choice) => choice.delta.content ?? ""));
      if (chunk.usage) usage.push(chunk.usage.prompt_tokens, chunk.usage.completion_tokens);
    }
    return [pieces, usage];
  }
  async tools(one, headers) {
    const tools = [{ type: "function", function: { name: TOOL, description: ABOUT, parameters: ARGUMENTS } }];
    const messages = [{ role: "user", content: QUESTION }];
    const choice = { type: "function", function: { name: TOOL } };
    const asked = (await this.ask(one, headers, { messages, tools, tool_choice: choice })).choices[0].message;
    const [call] = asked.tool_calls;
    messages.push(asked, { role: "tool", tool_call_id: call.id, content: RESULT });
    const answer = await this.ask(one, headers, { messages, tools });
    return [call.function.name, JSON.parse(call.function.arguments), answer.choices[0].message.content];
  }
  async structured(one, headers) {
    const json_schema = { name: "payment", strict: true, schema: SCHEMA };
    const answer = await this.ask(one, headers, { response_format: { type: "json_schema", json_schema } });
    return JSON.parse(answer.choices[0].message.content);
  }
  async vision(one, headers) {
    const image_url = { url: `data:image/png;base64,${PNG}` };
    const content = [{ type: "text", text: QUESTION }, { type: "image_url", image_url }];
    return (await this.ask(one, headers, { messages: [{ role: "user", content }] })).choices[0].message.content;
  }
  async abort(one, headers) {
    const stream = await this.ask(one, headers, { stream: true });
    for await (const _ of stream) break;
    stream.controller.abort();
  }
}

class Responses {
  name = "openai responses";
  dialect = "responses";
  wrong = wrongOf(OpenAI);
  ask(one, headers, body, { key = KEY, retries = 0 } = {}) {
    const client = new OpenAI({ baseURL: `${GATEWAY}/v1`, apiKey: key, maxRetries: retries });
    return client.responses.create({ model: one.name, input: QUESTION, ...body }, { headers });
  }
  async whole(one, headers, more) {
    const answer = await this.ask(one, headers, {}, more);
    return [answer.output_text, [answer.usage.input_tokens, answer.usage.output_tokens]];
  }
  async stream(one, headers) {
    const [pieces, usage] = [[], []];
    for await (const event of await this.ask(one, headers, { stream: true })) {
      if (event.type === "response.output_text.delta") pieces.push(event.delta);
      if (event.type === "response.completed") usage.push(event.response.usage.input_tokens, event.response.usage.output_tokens);
    }
    return [pieces, usage];
  }
  async tools(one, headers) {
    const tools = [{ type: "function", name: TOOL, description: ABOUT, parameters: ARGUMENTS, strict: false }];
    const asked = await this.ask(one, headers, { tools, tool_choice: { type: "function", name: TOOL } });
    const call = asked.output.find((item) => item.type === "function_call");
    const result = { type: "function_call_output", call_id: call.call_id, output: RESULT };
    const answer = await this.ask(one, headers, { tools, input: [{ role: "user", content: QUESTION }, ...asked.output, result] });
    return [call.name, JSON.parse(call.arguments), answer.output_text];
  }
  async structured(one, headers) {
    const format = { type: "json_schema", name: "payment", strict: true, schema: SCHEMA };
    return JSON.parse((await this.ask(one, headers, { text: { format } })).output_text);
  }
  async vision(one, headers) {
    const image = { type: "input_image", detail: "auto", image_url: `data:image/png;base64,${PNG}` };
    const content = [{ type: "input_text", text: QUESTION }, image];
    return (await this.ask(one, headers, { input: [{ role: "user", content }] })).output_text;
  }
  async abort(one, headers) {
    const stream = await this.ask(one, headers, { stream: true });
    for await (const event of stream) if (event.type === "response.output_text.delta") break;
    stream.controller.abort();
  }
}

class Messages {
  name = "@anthropic-ai/sdk";
  dialect = "anthropic";
  wrong = wrongOf(Anthropic);
  client({ key = KEY, retries = 0 } = {}) {
    return new Anthropic({ baseURL: GATEWAY, apiKey: key, maxRetries: retries }).messages;
  }
  body(one, more) {
    return { model: one.name, max_tokens: LIMIT, messages: [{ role: "user", content: QUESTION }], ...more };
  }
  ask(one, headers, body, more) {
    return this.client(more).create(this.body(one, body), { headers });
  }
  usage({ usage }) {
    return [usage.input_tokens + usage.cache_read_input_tokens, usage.output_tokens];
  }
  async whole(one, headers, more) {
    const answer = await this.ask(one, headers, {}, more);
    return [answer.content[0].text, this.usage(answer)];
  }
  async stream(one, headers) {
    const pieces = [];
    const stream = this.client().stream(this.body(one, {}), { headers }).on("text", (text) => pieces.push(text));
    return [pieces, this.usage(await stream.finalMessage())];
  }
  async tools(one, headers) {
    const tools = [{ name: TOOL, description: ABOUT, input_schema: ARGUMENTS }];
    const messages = [{ role: "user", content: QUESTION }];
    const asked = await this.ask(one, headers, { messages, tools, tool_choice: { type: "tool", name: TOOL } });
    const call = asked.content.find((block) => block.type === "tool_use");
    const result = { type: "tool_result", tool_use_id: call.id, content: RESULT };
    messages.push({ role: "assistant", content: asked.content }, { role: "user", content: [result] });
    return [call.name, call.input, (await this.ask(one, headers, { messages, tools })).content[0].text];
  }
  async structured(one, headers) {
    const answer = await this.ask(one, headers, { output_config: { format: { type: "json_schema", schema: SCHEMA } } });
    return JSON.parse(answer.content[0].text);
  }
  async vision(one, headers) {
    const source = { type: "base64", media_type: "image/png", data: PNG };
    const content = [{ type: "text", text: QUESTION }, { type: "image", source }];
    return (await this.ask(one, headers, { messages: [{ role: "user", content }] })).content[0].text;
  }
  async abort(one, headers) {
    const stream = await this.ask(one, headers, { stream: true });
    for await (const event of stream) if (event.type === "content_block_delta") break;
    stream.controller.abort();
  }
}

/** Vercel's `ai` with one of its providers. `model` gives the model of a name, with a key. */
class Vercel {
  constructor(name, dialect, model) {
    Object.assign(this, { name, dialect, model });
  }
  wrong(error, status) {
    const last = RetryError.isInstance(error) ? error.lastError : error;
    if (!APICallError.isInstance(last)) return `it is a ${last.constructor.name}`;
    if (last.isRetryable !== (status === 429 || status >= 500)) return `it says isRetryable ${last.isRetryable}`;
    return last.statusCode === status ? null : `it says ${last.statusCode}`;
  }
  settings(one, headers, body, { key = KEY, retries = 0 } = {}) {
    return { model: this.model(key, one.name), prompt: QUESTION, maxRetries: retries, headers, ...body };
  }
  ask(one, headers, body, more) {
    return generateText(this.settings(one, headers, body, more));
  }
  async whole(one, headers, more) {
    const { text, usage } = await this.ask(one, headers, {}, more);
    return [text, [usage.inputTokens, usage.outputTokens]];
  }
  async stream(one, headers) {
    const result = streamText(this.settings(one, headers, { onError: ({ error }) => { throw error; } }));
    const pieces = [];
    for await (const piece of result.textStream) pieces.push(piece);
    const usage = await result.usage;
    return [pieces, [usage.inputTokens, usage.outputTokens]];
  }
  async tools(one, headers) {
    const offered = { [TOOL]: tool({ description: ABOUT, inputSchema: jsonSchema(ARGUMENTS) }) };
    const asked = await this.ask(one, headers, { tools: offered, toolChoice: { type: "tool", toolName: TOOL } });
    const [call] = asked.toolCalls;
    const output = { type: "text", value: RESULT };
    const result = { type: "tool-result", toolCallId: call.toolCallId, toolName: TOOL, output };
    const messages = [{ role: "user", content: QUESTION }, ...asked.response.messages, { role: "tool", content: [result] }];
    const answer = await this.ask(one, headers, { prompt: undefined, messages, tools: offered });
    return [call.toolName, call.input, answer.text];
  }
  async structured(one, headers) {
    const output = Output.object({ schema: jsonSchema(SCHEMA), name: "payment" });
    return (await this.ask(one, headers, { output })).output;
  }
  async vision(one, headers) {
    const content = [{ type: "text", text: QUESTION }, { type: "image", image: PNG, mediaType: "image/png" }];
    return (await this.ask(one, headers, { prompt: undefined, messages: [{ role: "user", content }] })).text;
  }
  async abort(one, headers) {
    const controller = new AbortController();
    const result = streamText(this.settings(one, headers, { abortSignal: controller.signal, onError() {} }));
    for await (const _ of result.textStream) break;
    controller.abort();
  }
}

const openai = (apiKey) => createOpenAI({ baseURL: `${GATEWAY}/v1`, apiKey });
const anthropic = (apiKey) => createAnthropic({ baseURL: `${GATEWAY}/v1`, apiKey });
const google = (apiKey) => createGoogleGenerativeAI({ baseURL: `${GATEWAY}/v1beta`, apiKey });

await run([
  new Chat(),
  new Responses(),
  new Messages(),
  new Vercel("ai openai", "responses", (key, name) => openai(key)(name)),
  new Vercel("ai openai chat", "openai", (key, name) => openai(key).chat(name)),
  new Vercel("ai anthropic", "anthropic", (key, name) => anthropic(key)(name)),
  new Vercel("ai google", "gemini", (key, name) => google(key)(`models/${name}`)),
]);
