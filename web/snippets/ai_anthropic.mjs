import { generateText } from "ai";
import { createAnthropic } from "@ai-sdk/anthropic";

const gateway = createAnthropic({ baseURL: "GATEWAY_URL/v1", apiKey: process.env.TOLLGATE_KEY });
const { text } = await generateText({ model: gateway("MODEL_NAME"), prompt: "Hello" });
console.log(text);
