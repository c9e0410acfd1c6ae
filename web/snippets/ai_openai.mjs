import { generateText } from "ai";
import { createOpenAI } from "@ai-sdk/openai";

const gateway = createOpenAI({ baseURL: "GATEWAY_URL/v1", apiKey: process.env.TOLLGATE_KEY });
const { text } = await generateText({ model: gateway("MODEL_NAME"), prompt: "Hello" });
console.log(text);
