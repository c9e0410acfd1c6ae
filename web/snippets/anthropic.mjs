import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({ baseURL: "GATEWAY_URL", apiKey: process.env.TOLLGATE_KEY });
const answer = await client.messages.create({
  model: "MODEL_NAME",
  max_tokens: 256,
  messages: [{ role: "user", content: "Hello" }],
});
console.log(answer.content[0].text);
