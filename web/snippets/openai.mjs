import OpenAI from "openai";

const client = new OpenAI({ baseURL: "GATEWAY_URL/v1", apiKey: process.env.TOLLGATE_KEY });
const answer = await client.chat.completions.create({
  model: "MODEL_NAME",
  messages: [{ role: "user", content: "Hello" }],
});
console.log(answer.choices[0].message.content);
