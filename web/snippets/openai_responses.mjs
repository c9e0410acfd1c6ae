import OpenAI from "openai";

const client = new OpenAI({ baseURL: "GATEWAY_URL/v1", apiKey: process.env.TOLLGATE_KEY });
const answer = await client.responses.create({ model: "MODEL_NAME", input: "Hello" });
console.log(answer.output_text);
